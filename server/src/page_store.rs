//! Storage of shared pages outside of the database: a folder, or an S3 bucket.
//!
//! A page is stored as it is sent, compressed by zstd, under the hash of its address. All servers over the same storage
//! have it then, and one that starts again. The name of an object is as hard to guess as an address, and only a server
//! that has checked the address stores one.
//!
//! Storage that is slow or fails costs the work of reading a page from the database, and one log line in ten seconds.
//! Nothing is deleted here: a page is ignored after [`KEPT`], and a rule of the storage removes it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, Error, ObjectStore, ObjectStoreExt as _, RetryConfig};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use crate::http;
use crate::log_limit::LogLimit;

/// How a value begins that names a bucket.
const S3: &str = "s3://";

/// How long a page is used, as by a cache in front of the server.
const KEPT: Duration = Duration::from_hours(24);

/// The longest wait for a page. Reading it from the database takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest time for storing a page, which no response waits for.
const STORING: Duration = Duration::from_secs(30);

/// The largest object, which is far above that of a page.
const LARGEST: usize = 64 << 20;

/// Pages in a folder or in a bucket.
#[derive(Debug)]
pub(crate) struct PageStore {
    objects: Box<dyn ObjectStore>,
    folder: Path,
    failures: LogLimit<&'static str>,
}

/// A stored page.
pub(crate) struct StoredPage {
    /// The value of the response's header about the end of the page.
    pub(crate) end: String,
    /// The body, compressed by zstd.
    pub(crate) body: Bytes,
}

impl PageStore {
    /// Whether this names a folder or a bucket; an error otherwise.
    pub(crate) fn check(place: &str) -> Result<(), &'static str> {
        match place.strip_prefix(S3) {
            Some(bucket) if bucket.is_empty() || bucket.starts_with('/') => {
                Err("name the bucket: s3://bucket/folder")
            }
            None if place.is_empty() || place.contains("://") => {
                Err("pages are stored in a folder, or in s3://bucket/folder")
            }
            _ => Ok(()),
        }
    }

    /// Opens a folder, which is created, or a bucket, with the settings `AWS_...` of this environment. A bucket is not
    /// contacted.
    pub(crate) fn open(
        place: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, String> {
        let (objects, folder) = match place.strip_prefix(S3) {
            Some(bucket) => {
                let (bucket, folder) = bucket.split_once('/').unwrap_or((bucket, ""));
                (in_bucket(bucket, environment)?, folder)
            }
            None => (in_folder(place)?, ""),
        };
        Ok(Self { objects, folder: Path::from(folder), failures: LogLimit::new() })
    }

    /// The page with this address, if it is stored and was so less than a day before `now`, in microseconds since 1970.
    pub(crate) async fn get(&self, address: &str, now: i64) -> Option<StoredPage> {
        let read = async {
            let object = self.objects.get(&self.name(address)).await?;
            let age = now / 1_000_000 - object.meta.last_modified.timestamp();
            let is_fresh = age < i64::try_from(KEPT.as_secs()).unwrap_or(i64::MAX);
            Ok(if is_fresh { Some(object.bytes().await?) } else { None })
        };
        match timeout(PATIENCE, read).await {
            Ok(Ok(object)) => StoredPage::of(&object?),
            Ok(Err(Error::NotFound { .. })) => None,
            Ok(Err(error)) => self.failed("read", &error),
            Err(_) => self.failed("read", &"no response in time"),
        }
    }

    /// Stores a page, whose body is not compressed.
    pub(crate) async fn put(
        self: Arc<Self>,
        address: String,
        end: String,
        body: Bytes,
        level: i32,
    ) {
        let name = self.name(&address);
        let object = tokio::task::spawn_blocking(move || {
            let mut object = end.into_bytes();
            object.push(b'\n');
            object.extend(zstd::encode_all(&*body, level)?);
            std::io::Result::Ok(object)
        });
        let _: Option<()> = match object.await {
            Ok(Ok(object)) => {
                match timeout(STORING, self.objects.put(&name, object.into())).await {
                    Ok(Ok(_)) => None,
                    Ok(Err(error)) => self.failed("stored", &error),
                    Err(_) => self.failed("stored", &"no response in time"),
                }
            }
            Ok(Err(error)) => self.failed("compressed", &error),
            Err(error) => self.failed("compressed", &error),
        };
    }

    fn name(&self, address: &str) -> Path {
        let hash = Sha256::digest(address.as_bytes());
        let hash: Vec<String> = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.clone().join(hash.concat())
    }

    fn failed<T>(&self, doing: &'static str, why: &dyn std::fmt::Display) -> Option<T> {
        if let Some(count) = self.failures.count(doing) {
            tracing::warn!(%why, count, "a shared page was not {doing}; page_store must be reachable");
        }
        None
    }
}

fn in_folder(folder: &str) -> Result<Box<dyn ObjectStore>, String> {
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| error.to_string())?;
    Ok(Box::new(store))
}

fn in_bucket(
    bucket: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Box<dyn ObjectStore>, String> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in environment.filter(|(name, _)| name.starts_with("AWS_")) {
        // Other programs have variables of their own.
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let again = RetryConfig { max_retries: 1, ..RetryConfig::default() };
    let builder = builder.with_bucket_name(bucket).with_http_connector(Connector).with_retry(again);
    let store = builder.build();
    Ok(Box::new(store.map_err(|error| error.to_string())?))
}

impl StoredPage {
    fn of(object: &Bytes) -> Option<Self> {
        let end = object.iter().position(|byte| *byte == b'\n')?;
        let text = std::str::from_utf8(&object[..end]).ok()?;
        Some(Self { end: text.to_owned(), body: object.slice(end + 1..) })
    }
}

/// The server's own HTTP client.
#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Self))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let response = http::ask(axum::http::Request::from_parts(parts, body), LARGEST).await;
        let failed =
            |why: String| HttpError::new(HttpErrorKind::Unknown, std::io::Error::other(why));
        Ok(response.map_err(failed)?.map(Into::into))
    }
}

#[cfg(test)]
mod tests;
