//! The transport interface: requests with complete responses, and event streams.

use std::fmt::Debug;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::error::TransportError;
use super::events::EventStream;

/// Minimum body size for compression; below it, gzip's overhead exceeds the gain.
const COMPRESS_FROM: usize = 1024;

/// Is called with the headers of a response, with names in lower case.
pub type OnHeaders = Box<dyn FnOnce(&[(String, String)]) + Send>;

/// Sends requests to one server.
///
/// A future may be dropped at any time: the request is then abandoned, and it is unknown whether
/// the server received it.
pub trait Transport: Send + Sync + Debug + 'static {
    /// Sends one request and returns the complete response, whatever its status.
    fn send(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>>;

    /// [`Transport::send`] that calls `on_headers` before the response's body has arrived. Optional:
    /// without it, a first sync requests each page only after the one before it.
    fn send_with(
        &self,
        request: HttpRequest,
        on_headers: OnHeaders,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        drop(on_headers);
        self.send(request)
    }

    /// Opens the event stream; [`TransportError::Status`] if the server refuses,
    /// [`TransportError::Refused`] if the transport has no streams: it is then not called again.
    fn events(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<EventStream, TransportError>>;

    /// Closes all open connections: after a suspension they may be dead.
    fn disconnect(&self) {}
}

/// A request, relative to the server's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Path and query, with the leading slash.
    pub path: String,
    /// Names in any case.
    pub headers: Vec<(String, String)>,
    /// The body as sent over the wire.
    pub body: Option<Bytes>,
    /// Idle timeout: until the response begins, and between two chunks of it.
    pub timeout: Duration,
}

impl HttpRequest {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        value_of(&self.headers, name)
    }

    /// Compresses the body with gzip, if that makes it smaller.
    #[must_use]
    pub fn compressed(mut self) -> Self {
        let Some(body) = self.body.as_ref().filter(|body| body.len() >= COMPRESS_FROM) else {
            return self;
        };
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        // Writing into memory does not fail; otherwise the plain body is sent.
        if let Ok(small) = encoder.write_all(body).and_then(|()| encoder.finish())
            && small.len() < body.len()
        {
            self.body = Some(Bytes::from(small));
            self.headers.push(("content-encoding".into(), "gzip".into()));
        }
        self
    }
}

/// A response, decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The complete body.
    pub body: Bytes,
}

impl HttpResponse {
    /// A response with a JSON body, for in-memory handlers.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type".into(), "application/json".into())];
        Self { status, headers, body: body.into() }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        value_of(&self.headers, name)
    }

    /// `Retry-After` in whole seconds; a date is ignored.
    pub fn retry_after(&self) -> Option<Duration> {
        seconds_of(&self.headers, "retry-after")
    }

    /// `Age` in whole seconds: the time that the response spent in caches.
    pub fn age(&self) -> Option<Duration> {
        seconds_of(&self.headers, "age")
    }

    /// Whether this is an HTML page, which a proxy or captive portal sent instead of the sync
    /// server.
    pub fn is_page(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.trim_start().starts_with("text/html"))
    }
}

/// A header in whole seconds.
pub(super) fn seconds_of(headers: &[(String, String)], name: &str) -> Option<Duration> {
    value_of(headers, name)?.trim().parse().ok().map(Duration::from_secs)
}

pub(crate) fn value_of<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use bytes::Bytes;

    use super::{HttpRequest, HttpResponse};

    fn request(body: Vec<u8>) -> HttpRequest {
        HttpRequest {
            method: "POST",
            path: "/sync/push".into(),
            headers: Vec::new(),
            body: Some(Bytes::from(body)),
            timeout: Duration::from_secs(10),
        }
    }

    #[test]
    fn bodies_are_compressed_only_if_they_shrink() {
        let noise: Vec<u8> = (0_u32..4000)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 ^ (n % 251) as u8)
            .collect();
        let table: [(&str, Vec<u8>, bool); 4] = [
            ("small", vec![b'a'; 1023], false),
            ("large", vec![b'a'; 1024], true),
            ("empty", Vec::new(), false),
            (
                "already dense",
                {
                    let dense = request(noise).compressed().body.unwrap();
                    [dense.as_ref(), dense.as_ref()].concat()[..1100.min(dense.len())].to_vec()
                },
                false,
            ),
        ];
        for (name, body, expected) in table {
            let sent = request(body.clone()).compressed();
            assert_eq!(sent.header("content-encoding") == Some("gzip"), expected, "{name}");
            let bytes = sent.body.unwrap();
            if expected {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(bytes.as_ref()).read_to_end(&mut plain).unwrap();
                assert_eq!(plain, body, "{name}");
            } else {
                assert_eq!(bytes, body, "{name}");
            }
        }
    }

    #[test]
    fn retry_after_reads_seconds_and_ignores_dates() {
        let table = [
            (Some("7"), Some(7)),
            (Some(" 0 "), Some(0)),
            (Some("Wed, 21 Oct 2026 07:28:00 GMT"), None),
            (Some("-1"), None),
            (None, None),
        ];
        for (header, expected) in table {
            let headers = header
                .map(|text| ("Retry-After".to_owned(), text.to_owned()))
                .into_iter()
                .collect();
            let answer = HttpResponse { status: 503, headers, body: Bytes::new() };
            assert_eq!(answer.retry_after(), expected.map(Duration::from_secs), "{header:?}");
        }
    }
}
