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
    /// Number of times its file was opened.
    pub incarnation: i64,
    /// The name of its most recent opening; empty if the device sends none.
    pub opening: String,
    /// The device has received the verdicts on all mutations below this number.
    pub acked_below: i64,
    /// Verdicts below this number may be deleted; unknown older mutations are `expired`.
    pub purged_below: i64,
    /// The last position it pulled from.
    pub position: Option<i64>,
    /// When it last pulled.
    pub last_pull_at: Option<String>,
    /// When it last pushed.
    pub last_push_at: Option<String>,
    /// When it first registered.
    pub created_at: String,
    /// When it last sent a request.
    pub seen_at: String,
}

/// A registered device and its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownClient {
    /// The user.
    pub user: String,
    /// The device's own id.
    pub client_id: String,
    /// Its registration.
    pub client: Client,
}

/// A schema version that is or was served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestVersion {
    /// Its version.
    pub version: i64,
    /// Its hash.
    pub hash: String,
    /// When it was first read, in canonical text.
    pub created_at: String,
}

/// A device that returns after more days than the log is kept for inactive devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleClient {
    /// The user of the device.
    pub user: String,
    /// The device.
    pub client_id: String,
    /// When it last pulled or pushed, in canonical text.
    pub last_sync_at: String,
}
