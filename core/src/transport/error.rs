//! How a request fails.

use std::time::Duration;

/// How a request failed without a usable answer. Only `Unreachable` and `Refused` promise that the server saw nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection: no network, no such host, nobody listening, no trusted certificate. The server saw nothing.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The connection broke, or the answer came cut. The server may have done what was asked.
    #[error("connection lost: {0}")]
    Lost(String),
    /// Nothing came for so long. The server may have done what was asked.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer is larger, decompressed, than this device takes in (D19); it was dropped.
    #[error("answer is larger than {limit} bytes; ask for smaller pages or raise the limit")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The event stream was answered with another status than 200.
    #[error("event stream answered with status {0}")]
    Status(u16),
    /// The request or the configuration is wrong; nothing was sent.
    #[error("request refused: {0}")]
    Refused(String),
}
