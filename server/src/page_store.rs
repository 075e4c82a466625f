//! Storage of shared pages outside of the database: a folder, or an S3 bucket.
//!
//! A page is stored as it is sent, compressed by zstd, with a digest. The name of its object is a hash of the page's
//! address and of the database's, so copies of a database have objects of their own. Only a page that was read from the
//! database is stored: an object also shows that its address was checked.
//!
//! Storage that is slow, damaged or away costs the work of reading a page from the database, and one log line in ten
//! seconds. Nothing is deleted here: a page is ignored after [`KEPT`], and a rule of the storage removes it.

mod bucket;

use std::error::Error as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::log_limit::LogLimit;

/// How a value begins that names a bucket.
const S3: &str = "s3://";

/// Seconds for which a page is used, as by a cache in front of the server.
pub(crate) const KEPT: i64 = 86_400;

/// Ages in seconds that are used: clocks may differ by an hour.
const AGES: Range<i64> = -3_600..KEPT;

/// The longest wait for a page. Reading it from the database takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Pages that are read at the same time, and stored. Reads that hang are counted, so that they leave threads to others.
const READS: usize = 32;
const WRITES: usize = 4;

/// The longest text of an error in the log.
const TEXT: usize = 200;

/// Pages in a folder or in a bucket.
#[derive(Debug)]
pub(crate) struct PageStore {
    objects: Box<dyn ObjectStore>,
    folder: Path,
    /// A hash of the database's address.
    database: Sha256,
    reads: Arc<Semaphore>,
    writes: Semaphore,
    failures: LogLimit<&'static str>,
}

/// A stored page.
pub(crate) struct StoredPage {
    /// The value of the response's header about the end of the page; may be empty.
    pub(crate) end: String,
    /// The body, compressed by zstd.
    pub(crate) body: Bytes,
    /// For how many seconds it may still be used.
    pub(crate) rest: i64,
}

impl PageStore {
    /// Whether this names a folder or a bucket; an error otherwise.
    pub(crate) fn check(place: &str) -> Result<(), &'static str> {
        match place.strip_prefix(S3) {
            Some(bucket) => bucket::check(bucket),
            None if place.is_empty() || place.contains("://") => {
                Err("pages are stored in a folder, or in s3://bucket/folder")
            }
            None => Ok(()),
        }
    }

    /// Opens a folder, which is created, or a bucket, with the settings `AWS_...` of this environment. A bucket is not
    /// contacted.
    pub(crate) fn open(
        place: &str,
        database: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, String> {
        let (objects, folder) = match place.strip_prefix(S3) {
            Some(bucket) => bucket::open(bucket, environment)?,
            None => (in_folder(place)?, Path::default()),
        };
        Ok(Self {
            objects,
            folder,
            database: Sha256::new_with_prefix(database).chain_update([0]),
            reads: Arc::new(Semaphore::new(READS)),
            writes: Semaphore::new(WRITES),
            failures: LogLimit::default(),
        })
    }

    /// The page with this address, if it is stored and was so less than a day before `now`, in microseconds since 1970.
    #[allow(clippy::disallowed_methods)] // A read that hangs keeps its permit.
    pub(crate) async fn get(self: &Arc<Self>, address: &str, now: i64) -> Option<StoredPage> {
        let Ok(permit) = Arc::clone(&self.reads).try_acquire_owned() else {
            return self.failed("read", "too many reads are open");
        };
        let (store, name) = (Arc::clone(self), self.name(address));
        let read = tokio::spawn(async move {
            let _permit = permit;
            let object = store.objects.get(&name).await?;
            let age = now / 1_000_000 - object.meta.last_modified.timestamp();
            Ok(if AGES.contains(&age) {
                Some((object.bytes().await?, KEPT - age, name))
            } else {
                None
            })
        });
        match timeout(PATIENCE, read).await {
            Ok(Ok(Ok(object))) => {
                let (object, rest, name) = object?;
                let page = unpack(&name, &object);
                page.map(|(end, body)| StoredPage { end, body, rest: rest.min(KEPT) })
                    .or_else(|| self.failed("read", "it is damaged"))
            }
            Ok(Ok(Err(Error::NotFound { .. }))) => None,
            Ok(Ok(Err(error))) => self.failed("read", &cause(&error)),
            Ok(Err(error)) => self.failed("read", &error.to_string()),
            Err(_) => self.failed("read", "no response in time"),
        }
    }

    /// Stores a page, whose body is not compressed, unless several are being stored.
    pub(crate) async fn put(
        self: Arc<Self>,
        address: String,
        end: String,
        body: Bytes,
        level: i32,
    ) {
        let Ok(_permit) = self.writes.try_acquire() else {
            return self.failed("stored", "too many writes are open").unwrap_or_default();
        };
        let name = self.name(&address);
        let named = name.clone();
        let packed = tokio::task::spawn_blocking(move || pack(&named, &end, &body, level));
        let _: Option<()> = match packed.await {
            Ok(Ok(object)) => match self.objects.put(&name, object.into()).await {
                Ok(_) => None,
                Err(error) => self.failed("stored", &cause(&error)),
            },
            Ok(Err(error)) => self.failed("compressed", &error.to_string()),
            Err(error) => self.failed("compressed", &error.to_string()),
        };
    }

    fn name(&self, address: &str) -> Path {
        self.folder.clone().join(hexadecimal(self.database.clone().chain_update(address)))
    }

    fn failed<T>(&self, doing: &'static str, why: &str) -> Option<T> {
        if let Some(count) = self.failures.count(doing) {
            tracing::warn!(why, count, "page_store: a shared page was not {doing}");
        }
        None
    }
}

fn in_folder(folder: &str) -> Result<Box<dyn ObjectStore>, String> {
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| error.to_string())?;
    Ok(Box::new(store))
}

/// An object: a digest of its name and the rest, the end of the page, and the compressed body.
fn pack(name: &Path, end: &str, body: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
    let mut rest = format!("\n{end}\n").into_bytes();
    rest.extend(zstd::encode_all(body, level)?);
    let mut object = digest(name, &rest).into_bytes();
    object.extend(rest);
    Ok(object)
}

/// The end of the page, and the compressed body; `None` if the object is damaged.
fn unpack(name: &Path, object: &Bytes) -> Option<(String, Bytes)> {
    let (found, rest) = object.split_at_checked(64)?;
    if digest(name, rest).as_bytes() != found {
        return None;
    }
    let end = rest.iter().skip(1).position(|byte| *byte == b'\n')? + 1;
    let text = std::str::from_utf8(&rest[1..end]).ok()?.to_owned();
    Some((text, object.slice(64 + end + 1..)))
}

fn digest(name: &Path, rest: &[u8]) -> String {
    hexadecimal(Sha256::new_with_prefix(name.as_ref()).chain_update(rest))
}

fn hexadecimal(hash: Sha256) -> String {
    let bytes: Vec<String> = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.concat()
}

/// The cause of an error without the requests around it, cut: a server's response may be long, and repeat what is
/// secret at its end.
fn cause(error: &Error) -> String {
    let (mut text, mut inner) = (error.to_string(), error.source());
    while let Some(source) = inner {
        (text, inner) = (source.to_string(), source.source());
    }
    text.chars().take(TEXT).collect()
}

#[cfg(test)]
mod tests;
