//! An S3 bucket as page store, reached by the server's own HTTP client.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest,
    HttpResponse, HttpService,
};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use tokio::time::timeout;

use crate::http;

/// The largest response, far above that with a page.
const LARGEST: usize = 64 << 20;

/// The longest time of a request.
const LONGEST: Duration = Duration::from_secs(30);

/// Checks the name of a bucket and its folder.
pub(super) fn check(bucket: &str) -> Result<(), &'static str> {
    let (bucket, _) = split(bucket);
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if bucket.is_empty() || !bucket.bytes().all(is_of_names) {
        return Err("name the bucket: s3://bucket/folder");
    }
    Ok(())
}

fn split(bucket: &str) -> (&str, &str) {
    bucket.split_once('/').unwrap_or((bucket, ""))
}

/// The bucket, and the folder in it.
pub(super) fn open(
    bucket: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(Box<dyn ObjectStore>, Path), String> {
    let (bucket, folder) = split(bucket);
    let mut builder = AmazonS3Builder::new();
    for (name, value) in environment.filter(|(name, _)| name.starts_with("AWS_")) {
        // Other programs have variables of their own.
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let http = builder.get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
    for key in
        [AmazonS3ConfigKey::Endpoint, AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::StsEndpoint]
    {
        let endpoint = builder.get_config_value(&key);
        check_endpoint(key.as_ref(), endpoint.as_deref(), http.as_deref() == Some("true"))?;
    }
    let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let builder = builder.with_bucket_name(bucket).with_retry(once);
    let store =
        builder.with_http_connector(Connector).build().map_err(|error| error.to_string())?;
    Ok((Box::new(store), Path::from(folder)))
}

fn check_endpoint(name: &str, endpoint: Option<&str>, allow_http: bool) -> Result<(), String> {
    let name = name.to_ascii_uppercase();
    let Some(endpoint) = endpoint else { return Ok(()) };
    let parsed = endpoint.parse::<axum::http::Uri>().ok().filter(|uri| uri.host().is_some());
    match parsed.as_ref().and_then(axum::http::Uri::scheme_str) {
        Some("https") => Ok(()),
        Some("http") if allow_http => Ok(()),
        Some("http") => Err(format!("{name} has no TLS: set AWS_ALLOW_HTTP=true to permit it")),
        _ => Err(format!("{name} is no address such as https://s3.example.com")),
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
        let body: Bytes = body.collect().await?.to_bytes();
        let asked = http::ask(axum::http::Request::from_parts(parts, body), LARGEST);
        let failed =
            |why: String| HttpError::new(HttpErrorKind::Unknown, std::io::Error::other(why));
        let response =
            timeout(LONGEST, asked).await.unwrap_or_else(|_| Err("no response in time".into()));
        Ok(response.map_err(failed)?.map(Into::into))
    }
}
