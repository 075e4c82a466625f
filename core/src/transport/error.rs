//! Errors of a request.

use std::time::Duration;

/// A request failed without a usable response. Only after `Unreachable` and `Refused` it is certain
/// that the server received nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection: no network, unknown host, refused, untrusted certificate. Nothing was sent.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The connection broke, or the response is truncated. The server may have processed the
    /// request.
    #[error("connection lost: {0}")]
    Lost(String),
    /// No data for this long. The server may have processed the request.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The decompressed response exceeds this device's limit; it was dropped.
    #[error("answer is larger than {limit} bytes; ask for smaller pages or raise the limit")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The event stream returned another status than 200.
    #[error("event stream answered with status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The request or the configuration is invalid; nothing was sent.
    #[error("request refused: {0}")]
    Refused(String),
}
