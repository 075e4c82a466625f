//! What a store tells an operator: which devices it knows, which schemas it has served, how it stands.

use crate::error::Fault;

/// A registered device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// The server's id for it.
    pub id: String,
    /// A name for people.
    pub client_name: Option<String>,
    /// Its platform.
    pub platform: String,
    /// Its app's version.
    pub app_version: String,
    /// How often its file was opened (D10).
    pub incarnation: i64,
    /// The name of its opening that spoke last; empty from a device that gives none.
    pub opening: String,
    /// Every mutation below has reached it as a verdict.
    pub acked_below: i64,
    /// Verdicts below may be gone; what is older and unknown is `expired`.
    pub purged_below: i64,
    /// The last position it asked from.
    pub position: Option<i64>,
    /// When it last pulled.
    pub last_pull_at: Option<String>,
    /// When it last pushed.
    pub last_push_at: Option<String>,
    /// When it first came.
    pub created_at: String,
    /// When it last spoke.
    pub seen_at: String,
}

/// A registered device, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownClient {
    /// The user.
    pub user: String,
    /// The device's own id.
    pub client_id: String,
    /// What is known of it.
    pub client: Client,
}

/// A schema that was served once, or is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestVersion {
    /// Its version.
    pub version: i64,
    /// Its hash.
    pub hash: String,
    /// When it was read first, in canonical text.
    pub created_at: String,
}

/// The connections of a store to its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Those at work.
    pub used: u64,
    /// Those that wait for work.
    pub idle: u64,
    /// How often somebody had to wait for one, since the start.
    pub waits: u64,
}

/// Why a store takes no writes.
#[derive(Debug, thiserror::Error)]
pub enum WriteProblem {
    /// The disk, or what the database may take of it.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The file or the database is read-only, a standby for example.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] Fault),
}
