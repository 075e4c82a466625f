//! A bucket, by the requests that a page store sends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::{PageStore, READS};

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// A bucket with the requests of S3 that a page store sends, on a port of its own.
#[allow(clippy::disallowed_methods)] // As long as the test.
async fn bucket() -> (Objects, String) {
    let objects = Objects::default();
    let kept = Arc::clone(&objects);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let endpoint = format!("http://{address}");
    let answer = async move |request: Request| {
        let (parts, body) = request.into_parts();
        assert_eq!(parts.headers[header::HOST], address, "it is signed");
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
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (objects, endpoint)
}

fn open(
    database: &str,
    (name, endpoint): (&str, &str),
    allow_http: &str,
) -> Result<PageStore, String> {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        (name, endpoint),
        ("AWS_ALLOW_HTTP", allow_http),
        ("AWS_BUCKET", "of another program"),
        ("AWS_PROFILE", "default"),
        ("PATH", "/bin"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    PageStore::open("s3://pages/of/rejoin", database, variables.into_iter())
}

fn store(endpoint: &str) -> Arc<PageStore> {
    Arc::new(open("app.db", ("AWS_ENDPOINT", endpoint), "true").unwrap())
}

/// 2026-11-20 at eight.
const STORED: i64 = 1_795_161_600_000_000;

#[tokio::test]
async fn bucket_stores_pages_for_all_servers() {
    let (objects, endpoint) = bucket().await;
    assert!(store(&endpoint).get("address", STORED).await.is_none());
    store(&endpoint).put("address".into(), "end".into(), Bytes::from_static(b"page"), 4).await;
    let page = store(&endpoint).get("address", STORED).await.unwrap();
    assert_eq!((page.rest, objects.lock().unwrap().len()), (86_400, 1));
    let copy = Arc::new(open("copy.db", ("AWS_ENDPOINT", &endpoint), "true").unwrap());
    assert!(copy.get("address", STORED).await.is_none(), "a copy of the database has its own");
    assert_eq!(
        (page.end.as_str(), zstd::decode_all(&*page.body).unwrap().as_slice()),
        ("end", &b"page"[..])
    );
    let names: Vec<String> = objects.lock().unwrap().keys().cloned().collect();
    assert!(names.len() == 1 && names[0].starts_with("/pages/of/rejoin/"), "{names:?}");
    assert!(!names[0].contains("address"), "the address is a secret of the devices");
    let hour_later = STORED + 3_600_000_000;
    assert_eq!(store(&endpoint).get("address", hour_later).await.unwrap().rest, 82_800);
    let day_later = STORED + 25 * 3_600_000_000;
    assert!(store(&endpoint).get("address", day_later).await.is_none());
}

#[tokio::test]
async fn bucket_that_does_not_answer_has_no_page() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let slow = store(&endpoint);
    let reads = (0..2 * READS).map(|_| slow.get("address", STORED));
    assert!(join_all(reads).await.iter().all(Option::is_none), "in two seconds");
    let mut connections = Vec::new();
    while let Ok(connection) = timeout(Duration::from_millis(50), listener.accept()).await {
        connections.push(connection.unwrap());
    }
    assert_eq!(connections.len(), READS);
    let at_once = timeout(Duration::from_millis(500), slow.get("address", STORED)).await;
    assert!(at_once.unwrap().is_none(), "while others wait");
    drop((listener, connections));
    assert!(store(&endpoint).get("address", STORED).await.is_none());
    store(&endpoint).put("address".into(), "end".into(), Bytes::new(), 4).await;
}

#[tokio::test]
async fn damaged_object_is_no_page() {
    let (objects, endpoint) = bucket().await;
    store(&endpoint).put("address".into(), "end".into(), Bytes::from_static(b"page"), 4).await;
    let (name, whole) = objects.lock().unwrap().pop_first().unwrap();
    let mut damaged: Vec<Vec<u8>> =
        (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
    for at in 0..whole.len() {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 1;
        damaged.push(flipped);
    }
    for object in damaged {
        objects.lock().unwrap().insert(name.clone(), object.into());
        assert!(store(&endpoint).get("address", STORED).await.is_none());
    }
    objects.lock().unwrap().insert(name, whole);
    assert!(store(&endpoint).get("address", STORED).await.is_some());
}

#[test]
fn endpoint_is_an_address_with_tls_unless_permitted() {
    for name in ["AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS"] {
        let is_open = |endpoint: &str, allow: &str| open("app.db", (name, endpoint), allow).is_ok();
        assert!(is_open("https://s3.example.com:8443", "false"));
        assert!(is_open("http://minio:9000", "true"));
        for endpoint in ["http://minio:9000", "minio:9000", "minio", "", "https:///", "s 3"] {
            assert!(!is_open(endpoint, "false"), "{name} {endpoint}");
        }
    }
}
