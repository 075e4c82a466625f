//! `POST /sync/pull`: what changed since the cursor.

use serde::{Deserialize, Serialize};

use super::row::{Record, RowName, RowSet};

/// Asks for what changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PullRequest {
    /// The device.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub client_id: String,
    /// A plain peer's position.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub checkpoint: i64,
    /// Only these tables; a plain option that Rejoin devices do not use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<Vec<String>>,
    /// Most entries in the page: 1 to 1,000, 100 if absent or not positive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// Buckets a plain peer believes it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_buckets: Option<Vec<String>>,
    /// The device's schema.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_version: i64,
    /// Its hash.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_hash: String,
    /// Our extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<PullAsk>,
}

/// What a Rejoin device adds to a pull.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PullAsk {
    /// Rises with each request of a device; the answer echoes it (O5).
    pub request: i64,
    /// The opaque cursor of the last pull or snapshot; empty before the first.
    pub cursor: String,
    /// The witness of the last push that no pull has passed yet; empty if there is none (O14).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub witness: String,
    /// Rows to be named again, because access changed between a push and now (O9).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recheck: Vec<RowName>,
}

/// The changes, in whole transactions of the server (D15).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PullResponse {
    /// Plain rows; empty when `rejoin.sets` carries them.
    #[serde(default)]
    pub changes: Vec<Record>,
    /// Rows that are gone or no longer this user's.
    #[serde(default)]
    pub deletes: Vec<RowName>,
    /// A plain peer's next position.
    #[serde(default)]
    pub checkpoint: i64,
    /// Whether another page waits.
    #[serde(default)]
    pub has_more: bool,
    /// Whether the position can no longer be served.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot_required: bool,
    /// Why: `initial_sync_required`, `checkpoint_before_retention`, `epoch_changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_reason: Option<String>,
    /// How a plain peer's buckets changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_updates: Option<BucketUpdates>,
    /// The server's schema.
    pub schema_version: i64,
    /// Its hash.
    pub schema_hash: String,
    /// Our extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<PullAnswer>,
}

/// Buckets that were added or removed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BucketUpdates {
    /// Held now, not known to the peer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Known to the peer, no longer held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

/// What a Rejoin server adds to a pull.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PullAnswer {
    /// The request's number.
    pub request: i64,
    /// The server's epoch.
    pub epoch: String,
    /// The cursor after this page; opaque, at most 4 KiB.
    pub cursor: String,
    /// Buckets held at this answer; the cursor carries them too.
    pub held: Vec<String>,
    /// The changed rows, a set per table.
    pub sets: Vec<RowSet>,
    /// How many entries the log still holds behind this page; for progress only.
    pub remaining: i64,
    /// Whether this page ends inside a transaction of the server, because that is larger than a page: stage it, and apply
    /// it with the first page after it that is whole (D15).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}
