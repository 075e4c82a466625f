//! The platform's own HTTP, where an app prefers it to the built-in one.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use rejoin_core::Transport;
use rejoin_core::transport::http::ANSWER_LIMIT;
use rejoin_core::transport::{self as core, EventStream, TransportError};

use crate::error::{RejoinError, Result, calm};
use crate::value::small;

/// A header of a request or of an answer.
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
    /// The whole address; without a configured server, path and query alone.
    pub url: String,
    /// To be sent as they are. They carry the user's token: do not log them.
    pub headers: Vec<HttpHeader>,
    /// The body as it goes over the wire, if there is one.
    pub body: Option<Vec<u8>>,
    /// The longest silence, in milliseconds: until the answer begins, and between two pieces of it.
    pub timeout_ms: u32,
}

/// The server's answer.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct HttpResponse {
    /// The HTTP status, whatever it is.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<HttpHeader>,
    /// The whole body, decompressed.
    pub body: Vec<u8>,
}

/// Carries requests to the server, in place of the built-in HTTP.
///
/// With one of these the server's events are not listened to: the client asks at its interval, and when something was
/// written.
#[uniffi::export(with_foreign)]
#[async_trait::async_trait]
pub trait HttpTransport: Send + Sync {
    /// Sends one request and takes in the whole answer, whatever its status. Follows no redirect and tries nothing twice.
    ///
    /// Throw the error `Offline` only where the server cannot have seen the request. Any other exception means that nobody
    /// knows: the request is made again later. The engine may lose interest in an answer, which is then dropped.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse>;

    /// Drops every open connection: after a suspension they are dead without knowing it.
    fn disconnect(&self) -> Result<()>;
}

/// What the core holds.
pub(crate) struct ForeignTransport {
    transport: Arc<dyn HttpTransport>,
    /// The server's address without a slash at its end.
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
            body: request.body.map(Vec::from),
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
            body: Bytes::from(response.body),
        }
    }
}

/// What became of a request whose transport threw.
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
            if answer.body.len() as u64 > ANSWER_LIMIT {
                return Err(TransportError::TooLarge { limit: ANSWER_LIMIT });
            }
            Ok(answer.into())
        })
    }

    fn events(
        &self,
        _: core::HttpRequest,
    ) -> BoxFuture<'static, Result<EventStream, TransportError>> {
        // The client then asks at its interval.
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
