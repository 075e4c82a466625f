//! HTTP over reqwest: rustls on ring with bundled roots, so that no platform needs initialization.
//!
//! A response is complete or an error. Its decompressed size is limited, and a silence longer than
//! the request's timeout ends it. Redirects are not followed: the sync server sends none, captive
//! portals do. Must be polled on a tokio runtime.

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use rustls::crypto::ring;

use super::error::TransportError;
use super::events::EventStream;
use super::exchange::{HttpRequest, HttpResponse, OnHeaders, Transport, seconds_of};
use crate::death::{self, Failpoint};
use crate::error::{Error, Result};

/// Default limit of the decompressed response size: 64 MiB.
pub const ANSWER_LIMIT: u64 = 64 * 1024 * 1024;

/// Connection timeout.
const CONNECT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept: many gateways drop it after a minute.
const KEEP: Duration = Duration::from_secs(50);

/// The default transport.
#[derive(Clone)]
pub struct HttpTransport {
    base: Arc<str>,
    limit: u64,
    client: Arc<RwLock<reqwest::Client>>,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the URL, which may contain a password.
        out.debug_struct("HttpTransport").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl HttpTransport {
    /// A transport to `server` (`https://host/prefix`, or `http://` for development) that
    /// accepts responses of at most `answer_limit` bytes ([`ANSWER_LIMIT`]). Opens no connection.
    /// [`Error::Configuration`] describes an invalid URL.
    pub fn new(server: &str, answer_limit: u64) -> Result<Self> {
        let base = checked(server).map_err(|why| Error::Configuration(vec![why]))?;
        let client = client().map_err(Error::Internal)?;
        Ok(Self { base: base.into(), limit: answer_limit, client: Arc::new(RwLock::new(client)) })
    }

    fn begin(&self, request: HttpRequest) -> Result<reqwest::RequestBuilder, TransportError> {
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|error| TransportError::Refused(error.to_string()))?;
        let url = format!("{}{}", self.base, request.path);
        let mut builder =
            self.client.read().unwrap_or_else(PoisonError::into_inner).request(method, url);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        Ok(match request.body {
            Some(body) => builder.body(body),
            None => builder,
        })
    }
}

impl Transport for HttpTransport {
    fn send(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        self.send_with(request, Box::new(|_| ()))
    }

    fn send_with(
        &self,
        request: HttpRequest,
        on_headers: OnHeaders,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        let (timeout, limit) = (request.timeout, self.limit);
        let begun = self.begin(request);
        async move {
            let answer = within(timeout, begun?.send()).await?;
            death::pass(Failpoint::RequestSent);
            let status = answer.status().as_u16();
            let headers = headers_of(&answer);
            on_headers(&headers);
            let body = whole(answer, timeout, limit).await?;
            Ok(HttpResponse { status, headers, body })
        }
        .boxed()
    }

    fn events(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<EventStream, TransportError>> {
        let timeout = request.timeout;
        let begun = self.begin(request);
        async move {
            let answer = within(timeout, begun?.send()).await?;
            let status = answer.status().as_u16();
            let headers = headers_of(&answer);
            let is_stream = headers.iter().any(|(name, value)| {
                name == "content-type" && value.starts_with("text/event-stream")
            });
            if status != 200 || !is_stream {
                let status = if status == 200 { 404 } else { status };
                let retry_after = seconds_of(&headers, "retry-after");
                return Err(TransportError::Status { status, retry_after });
            }
            let pieces = stream::unfold(answer, |mut answer| async move {
                let piece = answer.chunk().await.map_err(|error| failure(&error));
                piece.transpose().map(|piece| (piece, answer))
            });
            Ok(EventStream::new(pieces.boxed()))
        }
        .boxed()
    }

    fn disconnect(&self) {
        // The old client's idle connections close with it; if no new client can be created, it
        // stays.
        if let Ok(fresh) = client() {
            *self.client.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
}

/// The base of all URLs, without a trailing slash, or why the URL is invalid.
fn checked(server: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(server)
        .map_err(|error| format!("server: {error}; write https://host or https://host/prefix"))?;
    let wrong = match url.scheme() {
        "http" | "https" if !url.has_host() => Some("it names no host"),
        "http" | "https" if url.query().is_some() || url.fragment().is_some() => {
            Some("it may have no query and no fragment")
        }
        "http" | "https" => None,
        _ => Some("only http and https are spoken"),
    };
    match wrong {
        Some(why) => Err(format!("server: {why}")),
        None => Ok(url.as_str().trim_end_matches('/').to_owned()),
    }
}

fn client() -> Result<reqwest::Client, String> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("setting up TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("rejoin/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .pool_idle_timeout(KEEP)
        // Each probe would wake the radio; requests and streams have time limits of their own.
        .tcp_keepalive(None)
        .tcp_keepalive_interval(None)
        .tcp_keepalive_retries(None)
        .build()
        .map_err(|error| format!("setting up HTTP: {error}"))
}

/// Awaits one step of the exchange with the idle timeout.
async fn within<T>(
    timeout: Duration,
    step: impl Future<Output = Result<T, reqwest::Error>>,
) -> Result<T, TransportError> {
    match tokio::time::timeout(timeout, step).await {
        Ok(outcome) => outcome.map_err(|error| failure(&error)),
        Err(_) => Err(TransportError::Timeout(timeout)),
    }
}

/// Reads the complete body, decompressed, up to `limit`.
async fn whole(
    mut answer: reqwest::Response,
    timeout: Duration,
    limit: u64,
) -> Result<Bytes, TransportError> {
    // If an uncompressed body declares a larger length, it need not be read.
    if answer.content_length().is_some_and(|length| length > limit) {
        return Err(TransportError::TooLarge { limit });
    }
    let mut body = BytesMut::new();
    while let Some(piece) = within(timeout, answer.chunk()).await? {
        if body.len() as u64 + piece.len() as u64 > limit {
            return Err(TransportError::TooLarge { limit });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

fn headers_of(answer: &reqwest::Response) -> Vec<(String, String)> {
    let text = |value: &reqwest::header::HeaderValue| value.to_str().ok().map(str::to_owned);
    answer
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?)))
        .collect()
}

/// The error with reqwest's causes, without the URL, which may contain a password.
fn failure(error: &reqwest::Error) -> TransportError {
    let mut why = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        why.push(inner.to_string());
        cause = inner.source();
    }
    let why = if why.is_empty() { "no cause given".to_owned() } else { why.join(": ") };
    if error.is_builder() {
        TransportError::Refused(why)
    } else if error.is_connect() {
        TransportError::Unreachable(why)
    } else {
        TransportError::Lost(why)
    }
}
