//! What a transport is asked for and gives: one request, one whole answer, or a stream of events.

use std::fmt::Debug;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::error::TransportError;
use super::events::EventStream;

/// Bodies from this size on are compressed, where the server can read it; below, gzip's frame eats the gain.
const COMPRESS_FROM: usize = 1024;

/// Carries requests to one server.
///
/// Futures may be dropped at any moment: the request is then abandoned, and nobody knows whether the server saw it.
pub trait Transport: Send + Sync + Debug + 'static {
    /// Sends one request and takes in the whole answer, whatever its status.
    fn send(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>>;

    /// Opens the stream of events; [`TransportError::Status`] where the server refuses, [`TransportError::Refused`] from a
    /// transport that carries no streams: it is not asked again.
    fn events(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<EventStream, TransportError>>;

    /// Drops every open connection: after a suspension they are dead without knowing it.
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
    /// The body, as it goes over the wire.
    pub body: Option<Bytes>,
    /// The longest silence: until the answer begins, and between two pieces of it.
    pub timeout: Duration,
}

impl HttpRequest {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        value_of(&self.headers, name)
    }

    /// The same request with its body gzipped, if that is worth it.
    #[must_use]
    pub fn compressed(mut self) -> Self {
        let Some(body) = self.body.as_ref().filter(|body| body.len() >= COMPRESS_FROM) else {
            return self;
        };
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        // Writing into memory does not fail; if it did, the plain body would do as well.
        if let Ok(small) = encoder.write_all(body).and_then(|()| encoder.finish())
            && small.len() < body.len()
        {
            self.body = Some(Bytes::from(small));
            self.headers.push(("content-encoding".into(), "gzip".into()));
        }
        self
    }
}

/// An answer, decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
}

impl HttpResponse {
    /// An answer with a JSON body, for handlers in memory.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type".into(), "application/json".into())];
        Self { status, headers, body: body.into() }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        value_of(&self.headers, name)
    }

    /// How long the server asks to be left alone: `Retry-After` in whole seconds; a date counts as not given.
    pub fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
    }

    /// How long the answer was in a cache: `Age` in whole seconds, which every cache on the way adds.
    pub fn age(&self) -> Option<Duration> {
        self.header("age")?.trim().parse().ok().map(Duration::from_secs)
    }

    /// Whether this is a page for people: a proxy's or a hotel's, never our server's.
    pub fn is_page(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.trim_start().starts_with("text/html"))
    }
}

fn value_of<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
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
    fn only_bodies_that_gain_by_it_are_compressed() {
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
    fn retry_after_is_read_in_seconds_and_a_date_is_not_given() {
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
