//! Custom HTTP transports of the app.

use std::fmt;
use std::sync::Arc;

use futures_util::future::{BoxFuture, ready};
use rejoin_core::Transport;
use rejoin_core::transport::http::ANSWER_LIMIT;
use rejoin_core::transport::{self as core, EventStream, TransportError};
use rejoin_ffi_bytes::FfiBytes;

use crate::error::{RejoinError, Result, calm};
use crate::value::small;

/// A header of a request or response.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct HttpHeader {
    /// Its name, in any case.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A request to the server.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct HttpRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// The complete URL; without a configured server, path and query only.
    pub url: String,
    /// The headers, to be sent unchanged. They carry the user's token: do not log them.
    pub headers: Vec<HttpHeader>,
    /// The body as sent over the wire, if there is one.
    pub body: Option<FfiBytes>,
    /// Idle timeout in milliseconds: until the response begins, and between two parts of it.
    pub timeout_ms: u32,
}

/// The server's response.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct HttpResponse {
    /// The HTTP status, including errors.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<HttpHeader>,
    /// The complete body, decompressed.
    pub body: FfiBytes,
}

/// Sends requests to the server, in place of the built-in HTTP.
///
/// With a custom transport there are no server events: the client pulls at its interval and after
/// local writes.
#[uniffi::export(with_foreign)]
#[async_trait::async_trait]
pub trait HttpTransport: Send + Sync {
    /// Sends one request and returns the complete response, whatever its status. It must not follow
    /// redirects or retry.
    ///
    /// Throw `Offline` only if the request cannot have reached the server. After any other
    /// exception the result is unknown: the request is sent again later. The engine may drop a
    /// response.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse>;

    /// Closes all open connections: after a suspension they may be dead.
    fn disconnect(&self) -> Result<()>;
}

/// The core's adapter for the app's transport.
pub(crate) struct ForeignTransport {
    transport: Arc<dyn HttpTransport>,
    /// The server's URL without a trailing slash.
    base: String,
}

impl ForeignTransport {
    pub(crate) fn new(transport: Arc<dyn HttpTransport>, server: Option<&str>) -> Self {
        let base = server.unwrap_or_default().trim_end_matches('/').to_owned();
        Self { transport, base }
    }

    fn request(&self, request: core::HttpRequest) -> HttpRequest {
        let headers = request.headers.into_iter();
        HttpRequest {
            method: request.method.to_owned(),
            url: format!("{}{}", self.base, request.path),
            headers: headers.map(|(name, value)| HttpHeader { name, value }).collect(),
            body: request.body.map(FfiBytes),
            timeout_ms: small(u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl From<HttpResponse> for core::HttpResponse {
    fn from(response: HttpResponse) -> Self {
        let headers = response.headers.into_iter();
        Self {
            status: response.status,
            headers: headers.map(|it| (it.name.to_ascii_lowercase(), it.value)).collect(),
            body: response.body.0,
        }
    }
}

/// The core's error for an exception of the transport.
fn failed(error: RejoinError) -> TransportError {
    match error {
        RejoinError::Offline { reason } => TransportError::Unreachable(reason),
        other => TransportError::Lost(other.to_string()),
    }
}

impl Transport for ForeignTransport {
    fn send(
        &self,
        request: core::HttpRequest,
    ) -> BoxFuture<'static, Result<core::HttpResponse, TransportError>> {
        let (transport, request) = (Arc::clone(&self.transport), self.request(request));
        Box::pin(async move {
            let answer =
                calm(async move { transport.send(request).await }).await.map_err(failed)?;
            if answer.body.0.len() as u64 > ANSWER_LIMIT {
                return Err(TransportError::TooLarge { limit: ANSWER_LIMIT });
            }
            Ok(answer.into())
        })
    }

    fn events(
        &self,
        _: core::HttpRequest,
    ) -> BoxFuture<'static, Result<EventStream, TransportError>> {
        // The client then pulls at its interval.
        Box::pin(ready(Err(TransportError::Refused(
            "a transport of the app's has no events".to_owned(),
        ))))
    }

    fn disconnect(&self) {
        if let Err(error) = self.transport.disconnect() {
            tracing::warn!(%error, "a transport threw while disconnecting");
        }
    }
}

impl fmt::Debug for ForeignTransport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ForeignTransport").field("base", &self.base).finish_non_exhaustive()
    }
}
