//! Registered devices, and the schema versions that were served to them.

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

/// A device that comes back after more days than the log is kept for a silent one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleClient {
    /// The user of the device.
    pub user: String,
    /// The device.
    pub client_id: String,
    /// When it last pulled or pushed, in canonical text.
    pub last_sync_at: String,
}
