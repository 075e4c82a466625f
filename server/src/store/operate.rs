//! What a store tells an operator: which devices it knows, which schemas it has served, how it stands.

use super::Client;
use crate::error::Fault;

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
