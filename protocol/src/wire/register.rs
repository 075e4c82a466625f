//! `POST /sync/register`: the device's identity and the capabilities of both sides.

use serde::{Deserialize, Serialize};

/// A register request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisterRequest {
    /// The device's id, a UUID of the engine. Plain peers may omit it.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub client_id: String,
    /// The display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// `ios`, `android`, `linux`, ...
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub platform: String,
    /// The app's version, `MAJOR.MINOR.PATCH`.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub app_version: String,
    /// The device's schema version; 0 if it has none yet.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_version: i64,
    /// Its hash; empty if it has none yet.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_hash: String,
    /// Rejoin's extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<Hello>,
}

/// Extensions of a Rejoin device.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// Version of the extensions.
    pub protocol: u32,
    /// The device's capabilities ([`crate::capability`]).
    pub capabilities: Vec<String>,
    /// Number of openings of this file on this device.
    pub incarnation: i64,
    /// A random name of this opening, which distinguishes two copies of a file with the same
    /// number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub opening: String,
    /// The previous id after `client_replaced`, until the first register under the new id succeeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The cursor of the last pull, to detect a restored server immediately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The log tip of the last push that no pull has reached yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
}

/// The register response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisterResponse {
    /// The server's id for this device.
    pub id: String,
    /// The server's clock, RFC 3339.
    pub server_time: String,
    /// When this device last pulled or pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_at: Option<String>,
    /// The last position that the device pulled; 0 if none. Plain peers only.
    #[serde(default)]
    pub checkpoint: i64,
    /// The server's schema.
    pub schema_version: i64,
    /// Its hash.
    pub schema_hash: String,
    /// Rejoin's extensions; absent from a plain server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<Welcome>,
}

/// Extensions of a Rejoin server.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Welcome {
    /// Version of the extensions.
    pub protocol: u32,
    /// The capabilities of both sides.
    pub capabilities: Vec<String>,
    /// The epoch of the server's log; another one means a restored or new server.
    pub epoch: String,
    /// The user of the credentials.
    pub subject: String,
    /// The hash of the manifest's extensions; if it differs, the device fetches the schema again.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rules_hash: String,
    /// Whether the device's cursor is still valid; `false` requires a snapshot.
    pub cursor_valid: bool,
    /// Whether another server signed the device's cursor or log tip. Then this server has none of
    /// the mutations that the other one accepted, unless its operator copied them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other_server: bool,
    /// Maximum request body in bytes, decompressed.
    pub max_body: u64,
    /// Maximum number of groups per push.
    pub max_groups: u32,
    /// Maximum number of rows per page.
    pub max_page: u32,
}
