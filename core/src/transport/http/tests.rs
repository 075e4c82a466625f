//! Tests of the HTTP transport over real sockets, with a minimal server that sends given bytes.

use std::io::Write;
use std::time::Duration;

use rejoin_protocol::wire::event::{Event, HelloEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::HttpTransport;
use crate::error::Error;
use crate::runtime::{SpawnedTask, Spawner};
use crate::transport::{HttpRequest, HttpResponse, Transport, TransportError};

/// Sends each connection a list of chunks, then closes it or keeps it open silently.
struct Server {
    url: String,
    requests: SpawnedTask<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    Silence,
}

impl Server {
    async fn saying(answers: Vec<(Vec<u8>, Then)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/prefix/", listener.local_addr().unwrap());
        let requests = Spawner::current().spawn(async move {
            let mut received = Vec::new();
            let mut open = Vec::new();
            for (bytes, then) in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                received.push(request_of(&mut socket).await);
                socket.write_all(&bytes).await.unwrap();
                if then == Then::Silence {
                    open.push(socket);
                }
            }
            if open.is_empty() { received } else { std::future::pending().await }
        });
        Self { url, requests }
    }

    fn transport(&self, limit: u64) -> HttpTransport {
        HttpTransport::new(&self.url, limit).unwrap()
    }
}

/// Reads head and body, the body by its content-length.
async fn request_of(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = socket.read(&mut piece).await.unwrap();
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
        });
        if count == 0 || body.len() >= length.unwrap_or(0) {
            return text;
        }
    }
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat()
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// 100,000 times `a`, by `zstd -3`.
const ZSTD_OF_100_000_A: &[u8] = &[
    0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x55, 0x00, 0x00, 0x10, 0x61, 0x61, 0x01, 0x00, 0x9b, 0x86,
    0x39, 0xc0, 0x02,
];

fn request(timeout: Duration) -> HttpRequest {
    HttpRequest {
        method: "POST",
        path: "/sync/push".into(),
        headers: vec![("x-user-id".into(), "ana".into())],
        body: Some("{\"changes\":[]}".into()),
        timeout,
    }
}

const PATIENT: Duration = Duration::from_secs(20);

async fn one(bytes: Vec<u8>, limit: u64) -> Result<HttpResponse, TransportError> {
    let server = Server::saying(vec![(bytes, Then::Close)]).await;
    server.transport(limit).send(request(PATIENT)).await
}

#[tokio::test]
async fn request_has_prefix_headers_and_body() {
    let bytes = answer("200 OK\r\ncontent-length: 2\r\nRetry-After: 3", b"{}");
    let server = Server::saying(vec![(bytes, Then::Close)]).await;
    let got = server.transport(100).send(request(PATIENT)).await.unwrap();
    assert_eq!((got.status, got.body.as_ref()), (200, b"{}".as_slice()));
    assert_eq!(got.retry_after(), Some(Duration::from_secs(3)));
    let received = server.requests.await.unwrap().remove(0);
    assert!(received.starts_with("POST /prefix/sync/push HTTP/1.1\r\n"), "{received}");
    assert!(received.contains("x-user-id: ana\r\n"), "{received}");
    assert!(received.contains("accept-encoding: zstd,gzip\r\n"), "{received}");
    assert!(received.ends_with("{\"changes\":[]}"), "{received}");
}

#[tokio::test]
async fn compressed_request_has_content_encoding() {
    let bytes = answer("200 OK\r\ncontent-length: 0", b"");
    let server = Server::saying(vec![(bytes, Then::Close)]).await;
    let mut large = request(PATIENT);
    large.body = Some("a".repeat(5000).into());
    server.transport(100).send(large.compressed()).await.unwrap();
    let received = server.requests.await.unwrap().remove(0);
    assert!(received.contains("content-encoding: gzip\r\n"), "{received}");
    assert!(received.len() < 1000);
}

#[tokio::test]
async fn truncated_response_is_an_error() {
    let lost = |outcome: &Result<HttpResponse, TransportError>| {
        matches!(outcome, Err(TransportError::Lost(_)))
    };
    let cut = one(answer("200 OK\r\ncontent-length: 100", b"{\"rows\":"), 1000).await;
    assert!(lost(&cut), "cut body: {cut:?}");
    let chunked = "200 OK\r\ntransfer-encoding: chunked";
    let cut = one(answer(chunked, b"5\r\n{\"row\r\n"), 1000).await;
    assert!(lost(&cut), "cut between chunks: {cut:?}");
    let zipped = gzipped(&b"{\"rows\":[]}".repeat(50));
    let half = &zipped[..zipped.len() / 2];
    let head = format!("200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}", half.len());
    let cut = one(answer(&head, half), 10_000).await;
    assert!(lost(&cut), "cut gzip: {cut:?}");
    let gone = one(Vec::new(), 1000).await;
    assert!(lost(&gone), "closed without a response: {gone:?}");
    let whole = one(answer(chunked, b"2\r\n{}\r\n0\r\n\r\n"), 1000).await;
    assert_eq!(whole.unwrap().body.as_ref(), b"{}");
}

#[tokio::test]
async fn limit_applies_to_decompressed_bytes() {
    let body = vec![b'a'; 100_000];
    for (encoding, packed) in [("gzip", gzipped(&body)), ("zstd", ZSTD_OF_100_000_A.to_vec())] {
        assert!(packed.len() < 1000);
        let length = packed.len();
        let head = format!("200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {length}");
        let taken = one(answer(&head, &packed), 100_000).await.unwrap();
        assert_eq!(taken.body.as_ref(), body, "{encoding}");
        let refused = one(answer(&head, &packed), 99_999).await;
        assert_eq!(refused, Err(TransportError::TooLarge { limit: 99_999 }), "{encoding}");
        let half = &packed[..length / 2];
        let head = head.replace(&length.to_string(), &half.len().to_string());
        let cut = one(answer(&head, half), 100_000).await;
        assert!(matches!(cut, Err(TransportError::Lost(_))), "{encoding}: {cut:?}");
    }
}

#[tokio::test]
async fn html_page_is_detected_and_redirect_is_not_followed() {
    let html = "200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: 6";
    assert!(one(answer(html, b"<html>"), 1000).await.unwrap().is_page());
    let json = "200 OK\r\ncontent-type: application/json\r\ncontent-length: 2";
    assert!(!one(answer(json, b"{}"), 1000).await.unwrap().is_page());
    let moved = "302 Found\r\nlocation: http://127.0.0.1:1/login\r\ncontent-length: 0";
    assert_eq!(one(answer(moved, b""), 1000).await.unwrap().status, 302);
}

#[tokio::test]
async fn silence_times_out_before_and_during_a_response() {
    let short = Duration::from_millis(50);
    for bytes in [Vec::new(), answer("200 OK\r\ncontent-length: 100", b"{\"ro")] {
        let server = Server::saying(vec![(bytes, Then::Silence)]).await;
        let outcome = server.transport(1000).send(request(short)).await;
        assert_eq!(outcome, Err(TransportError::Timeout(short)));
    }
}

#[tokio::test]
async fn refused_connection_and_bad_certificate_are_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let transport = HttpTransport::new(&format!("http://{address}"), 1000).unwrap();
    let outcome = transport.send(request(PATIENT)).await;
    assert!(matches!(outcome, Err(TransportError::Unreachable(_))), "{outcome:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let _server = Spawner::current().spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"this is not TLS").await.unwrap();
        std::future::pending::<()>().await;
    });
    let outcome = HttpTransport::new(&url, 1000).unwrap().send(request(PATIENT)).await;
    assert!(matches!(outcome, Err(TransportError::Unreachable(_))), "{outcome:?}");
}

#[tokio::test]
async fn connections_are_reused_until_disconnect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Spawner::current().spawn(async move {
        // Two requests on the first connection, one on the second.
        for count in [2, 1] {
            let (mut socket, _) = listener.accept().await.unwrap();
            for _ in 0..count {
                request_of(&mut socket).await;
                let bytes = answer("200 OK\r\ncontent-length: 2", b"{}");
                socket.write_all(&bytes).await.unwrap();
            }
            if count == 2 {
                // Closed by the client: end of the stream.
                assert_eq!(socket.read(&mut [0; 10]).await.unwrap_or(0), 0);
            }
        }
    });
    let transport = HttpTransport::new(&url, 1000).unwrap();
    transport.send(request(PATIENT)).await.unwrap();
    transport.send(request(PATIENT)).await.unwrap();
    transport.disconnect();
    transport.send(request(PATIENT)).await.unwrap();
    accepted.await.unwrap();
}

#[tokio::test]
async fn events_arrive_over_a_socket_and_refusal_is_reported() {
    let head = "200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
    let body = b"17\r\nevent: hello\ndata: {}\n\n\r\n10\r\n: ping\n\nevent: c\r\na\r\nhanged\ndat\r\n7\r\na: {}\n\n\r\n0\r\n\r\n";
    let absent = answer("404 Not Found\r\ncontent-length: 0", b"");
    let server = Server::saying(vec![
        (answer(head, body), Then::Close),
        (absent, Then::Close),
        (answer("503 Busy\r\nretry-after: 60\r\ncontent-length: 0", b""), Then::Close),
        (answer("200 OK\r\ncontent-type: text/html\r\ncontent-length: 0", b""), Then::Close),
    ])
    .await;
    let transport = server.transport(1000);
    let mut ask = request(PATIENT);
    (ask.method, ask.body) = ("GET", None);
    let mut stream = transport.events(ask.clone()).await.unwrap();
    assert_eq!(stream.next().await, Some(Event::Hello(HelloEvent::default())));
    assert_eq!(stream.next().await, Some(Event::Changed));
    assert_eq!(stream.next().await, None);
    let minute = Some(Duration::from_mins(1));
    for (status, retry_after) in [(404, None), (503, minute), (404, None)] {
        let refused = transport.events(ask.clone()).await.unwrap_err();
        assert_eq!(refused, TransportError::Status { status, retry_after });
    }
}

/// A probe every 15 seconds, the default of the library, would wake the radio of a phone each time.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn silent_connection_is_not_probed() {
    let head = "200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
    let hello = b"17\r\nevent: hello\ndata: {}\n\n\r\n";
    let server = Server::saying(vec![(answer(head, hello), Then::Silence)]).await;
    let mut ask = request(PATIENT);
    (ask.method, ask.body) = ("GET", None);
    let mut stream = server.transport(1000).events(ask).await.unwrap();
    assert_eq!(stream.next().await, Some(Event::Hello(HelloEvent::default())));
    let port = server.url.rsplit(':').next().unwrap().trim_end_matches("/prefix/");
    let port = format!(":{:04X}", port.parse::<u16>().unwrap());
    let sockets = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    // The remote address, the state, and the running timer: 2 is that of probes. Closed connections
    // to an earlier server on this port are listed too; 1 is open.
    let sockets = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = |cells: &Vec<&str>| cells[2].ends_with(&port) && cells[3] == "01";
    let mut timers = sockets.filter(ours).map(|cells| cells[5]);
    let timer = timers.next().unwrap();
    assert!(timer.starts_with("00:"), "{timer}");
}

#[test]
fn invalid_server_is_refused_with_the_reason() {
    let table = [
        ("https://sync.example.org", None),
        ("https://sync.example.org/a/b/", None),
        ("http://127.0.0.1:8080", None),
        ("sync.example.org", Some("https://host")),
        ("", Some("https://host")),
        ("ftp://sync.example.org", Some("only http and https")),
        ("https://sync.example.org/?a=b", Some("no query")),
        ("https://sync.example.org/#a", Some("no query")),
    ];
    for (url, expected) in table {
        match (HttpTransport::new(url, 1), expected) {
            (Ok(_), None) => {}
            (Err(Error::Configuration(problems)), Some(part)) => {
                assert!(problems[0].contains(part), "{url}: {problems:?}");
            }
            (outcome, _) => panic!("{url}: {outcome:?}"),
        }
    }
}
