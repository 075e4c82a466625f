//! Requests and responses of a session, and its configuration.

use std::time::Duration;

use bytes::Bytes;

/// The device's identity and its limits.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The app's name of the user; `None` uses the server's.
    pub user_id: Option<String>,
    /// The display name.
    pub device_name: Option<String>,
    /// `ios`, `android`, `linux`, ...
    pub platform: String,
    /// The app's version, `MAJOR.MINOR.PATCH`.
    pub app_version: String,
    /// Maximum number of rows per page; the server may return fewer.
    pub page_size: u32,
    /// Maximum number of mutations per push; the server may accept fewer.
    pub batch_size: u32,
}

/// The purpose of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Phase {
    /// None.
    #[default]
    Idle,
    /// Registering the device.
    Registering,
    /// Fetching the schema.
    FetchingSchema,
    /// Sending mutations.
    Pushing,
    /// Fetching changes.
    Pulling,
    /// Fetching all rows.
    Snapshot,
}

/// A request to send; paths are relative to the server's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// `/sync/...`.
    pub path: String,
    /// Whether to send `Rejoin-Protocol: 1`; a plain server must not see any extension.
    pub extended: bool,
    /// JSON; `None` for a GET.
    pub body: Option<Vec<u8>>,
    /// The value of the header [`rejoin_protocol::SUBSCRIPTIONS_HEADER`]; `None` without subscriptions,
    /// and for a server without streams.
    pub subscriptions: Option<String>,
    /// Its purpose.
    pub phase: Phase,
}

/// A response.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The `Retry-After` header; used by the driver only.
    pub retry_after: Option<Duration>,
    /// The body, decompressed.
    pub body: Bytes,
    /// From the request to the end of the response.
    pub took: Duration,
}
