//! What a session sends and gets, as data, and what it is told about the device.

use std::time::Duration;

use bytes::Bytes;

/// Who the device is, and how much it asks for at a time.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The app's name for the user; `None` takes the server's word for it.
    pub user_id: Option<String>,
    /// A name for people.
    pub device_name: Option<String>,
    /// `ios`, `android`, `linux`, ...
    pub platform: String,
    /// The app's version, `MAJOR.MINOR.PATCH`.
    pub app_version: String,
    /// Most rows in a page; the server may give fewer.
    pub page_size: u32,
    /// Most mutations in a push; the server may take fewer.
    pub batch_size: u32,
}

/// What a session is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Phase {
    /// Nothing.
    #[default]
    Idle,
    /// Saying who the device is.
    Registering,
    /// Fetching the server's tables.
    FetchingSchema,
    /// Sending mutations.
    Pushing,
    /// Fetching what changed.
    Pulling,
    /// Fetching everything.
    Snapshot,
}

/// A request to send; paths are relative to the server's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// `/sync/...`.
    pub path: String,
    /// Whether `Rejoin-Protocol: 1` goes with it; a peer known to be plain sees nothing of it (D20).
    pub extended: bool,
    /// JSON; `None` for a GET.
    pub body: Option<Vec<u8>>,
    /// What it is about.
    pub phase: Phase,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The `Retry-After` header; for the driver, the session does not look at it.
    pub retry_after: Option<Duration>,
    /// The body, decompressed.
    pub body: Bytes,
}
