//! `POST /sync/register`: who the device is, and what both sides can do.

use serde::{Deserialize, Serialize};

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisterRequest {
    /// The device's id, a UUID that the engine made. Plain peers may leave it out.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub client_id: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// `ios`, `android`, `linux`, ...
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub platform: String,
    /// The app's version, `MAJOR.MINOR.PATCH`.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub app_version: String,
    /// The schema that the device has; 0 when it has none yet.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_version: i64,
    /// Its hash; empty when it has none yet.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_hash: String,
    /// Our extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<Hello>,
}

/// What a Rejoin device offers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// Version of the extensions.
    pub protocol: u32,
    /// What the device can do ([`crate::capability`]).
    pub capabilities: Vec<String>,
    /// Counts the openings of this file on this device (D10).
    pub incarnation: i64,
    /// A random name of this opening, by which two copies of one file are told apart that count the same number (D10).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub opening: String,
    /// The id that the device had until it was told `client_replaced`, until the first register under the new one is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The cursor of the last pull, so that a restored server is seen at once (O14).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The witness of the last push that no pull has passed yet (O14).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
}

/// The server's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisterResponse {
    /// The server's id for this device.
    pub id: String,
    /// The server's clock, RFC 3339.
    pub server_time: String,
    /// When this device last pulled or pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_at: Option<String>,
    /// The last position the device pulled; 0 if none. Plain peers only.
    #[serde(default)]
    pub checkpoint: i64,
    /// The server's schema.
    pub schema_version: i64,
    /// Its hash.
    pub schema_hash: String,
    /// Our extensions; absent from a plain server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<Welcome>,
}

/// What a Rejoin server offers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Welcome {
    /// Version of the extensions.
    pub protocol: u32,
    /// What both sides can do.
    pub capabilities: Vec<String>,
    /// The life of the server's log; another one means a restored or new server (D13).
    pub epoch: String,
    /// Whom the credentials name.
    pub subject: String,
    /// The hash of the manifest's extensions; another one than the device's asks for the schema again.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rules_hash: String,
    /// Whether the cursor that was offered still holds; `false` asks for a snapshot.
    pub cursor_valid: bool,
    /// Whether the cursor or the witness that was offered was signed by another server, so that this one holds nothing of what that
    /// one had accepted, unless its operator has put it there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other_server: bool,
    /// Largest request body in bytes, decompressed.
    pub max_body: u64,
    /// Most groups in one push.
    pub max_groups: u32,
    /// Most rows in one page.
    pub max_page: u32,
}
