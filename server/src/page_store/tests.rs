//! A bucket, by the requests that a page store sends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::PageStore;

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// A bucket with the requests of S3 that a page store sends, on a port of its own.
#[allow(clippy::disallowed_methods)] // As long as the test.
async fn bucket() -> (Objects, String) {
    let objects = Objects::default();
    let kept = Arc::clone(&objects);
    let answer = async move |request: Request| {
        let (parts, body) = request.into_parts();
        let signed =
            parts.headers.get(header::AUTHORIZATION).map(|it| it.to_str().unwrap().to_owned());
        if !signed.is_some_and(|it| it.starts_with("AWS4-HMAC-SHA256 Credential=key/")) {
            return (StatusCode::FORBIDDEN, HeaderMap::new(), Bytes::new()).into_response();
        }
        let body = body.collect().await.unwrap().to_bytes();
        let path = parts.uri.path().to_owned();
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, "\"x\"".parse().unwrap());
        headers.insert(header::LAST_MODIFIED, "Fri, 20 Nov 2026 08:00:00 GMT".parse().unwrap());
        let mut kept = kept.lock().unwrap();
        match (parts.method, kept.get(&path)) {
            (Method::PUT, _) => {
                kept.insert(path, body);
                (StatusCode::OK, headers, Bytes::new()).into_response()
            }
            (_, Some(object)) => (StatusCode::OK, headers, object.clone()).into_response(),
            (_, None) => StatusCode::NOT_FOUND.into_response(),
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (objects, address)
}

fn store(endpoint: &str) -> Arc<PageStore> {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_BUCKET", "of another program"),
        ("AWS_PROFILE", "default"),
        ("PATH", "/bin"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Arc::new(PageStore::open("s3://pages/of/rejoin", variables.into_iter()).unwrap())
}

/// 2026-11-20 at eight.
const STORED: i64 = 1_795_161_600_000_000;

#[tokio::test]
async fn bucket_stores_pages_for_all_servers() {
    let (objects, endpoint) = bucket().await;
    assert!(store(&endpoint).get("address", STORED).await.is_none());
    store(&endpoint).put("address".into(), "end".into(), Bytes::from_static(b"page"), 4).await;
    let page = store(&endpoint).get("address", STORED).await.unwrap();
    assert_eq!(
        (page.end.as_str(), zstd::decode_all(&*page.body).unwrap().as_slice()),
        ("end", &b"page"[..])
    );
    let names: Vec<String> = objects.lock().unwrap().keys().cloned().collect();
    assert!(names.len() == 1 && names[0].starts_with("/pages/of/rejoin/"), "{names:?}");
    assert!(!names[0].contains("address"), "the address is a secret of the devices");
    let day_later = STORED + 25 * 3_600_000_000;
    assert!(store(&endpoint).get("address", day_later).await.is_none());
}

#[tokio::test]
async fn bucket_that_does_not_answer_has_no_page() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    assert!(store(&endpoint).get("address", STORED).await.is_none(), "in two seconds");
    drop(listener);
    assert!(store(&endpoint).get("address", STORED).await.is_none());
    store(&endpoint).put("address".into(), "end".into(), Bytes::new(), 4).await;
}
