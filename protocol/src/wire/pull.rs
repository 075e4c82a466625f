//! `POST /sync/pull`: changes since the cursor.

use serde::{Deserialize, Serialize};

use super::row::{Record, RowName, RowSet};
use super::subscription::SubscriptionState;

/// A pull request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PullRequest {
    /// The device.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub client_id: String,
    /// A plain peer's position.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub checkpoint: i64,
    /// Restricts the pull to these tables; Rejoin devices do not use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<Vec<String>>,
    /// Maximum number of entries in the page, up to the server's `max_page`, 1,000 for a plain peer; 100
    /// if absent or not positive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// The buckets that a plain peer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_buckets: Option<Vec<String>>,
    /// The device's schema.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_version: i64,
    /// Its hash.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_hash: String,
    /// Rejoin's extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<PullAsk>,
}

/// Extensions of a Rejoin device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PullAsk {
    /// Rises with each request of a device; echoed in the answer.
    pub request: i64,
    /// The opaque cursor of the last pull or snapshot; empty before the first.
    pub cursor: String,
    /// The log tip of the last push that no pull has reached yet; empty if there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub witness: String,
    /// Rows to send again, because access changed since a push.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recheck: Vec<RowName>,
    /// Whether the app waits for what the server has now: a replica, which may be behind, does not answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub current: bool,
}

/// The changes, in complete server transactions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PullResponse {
    /// Plain rows; empty when `rejoin.sets` carries them.
    #[serde(default)]
    pub changes: Vec<Record>,
    /// Rows that were deleted or that the user may no longer see.
    #[serde(default)]
    pub deletes: Vec<RowName>,
    /// A plain peer's next position.
    #[serde(default)]
    pub checkpoint: i64,
    /// Whether there are more pages.
    #[serde(default)]
    pub has_more: bool,
    /// Whether the position is too old, so that a snapshot is required.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot_required: bool,
    /// Why: `initial_sync_required`, `checkpoint_before_retention`, `epoch_changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_reason: Option<String>,
    /// Changes of a plain peer's buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_updates: Option<BucketUpdates>,
    /// The server's schema.
    pub schema_version: i64,
    /// Its hash.
    pub schema_hash: String,
    /// Rejoin's extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<PullAnswer>,
}

/// Buckets that were added or removed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BucketUpdates {
    /// Held now, not listed by the peer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Listed by the peer, no longer held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

/// Extensions of a Rejoin server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PullAnswer {
    /// The request's number.
    pub request: i64,
    /// The server's epoch.
    pub epoch: String,
    /// The cursor after this page; opaque, at most 64 KiB.
    pub cursor: String,
    /// The buckets of this answer, or the hash of many; the cursor names them.
    pub held: Vec<String>,
    /// The changed rows, one set per table.
    pub sets: Vec<RowSet>,
    /// Number of log entries after this page; for progress display.
    pub remaining: i64,
    /// Whether this page ends inside a server transaction that exceeds a page: stage it, and apply
    /// it with the next page that is complete.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// The states of the request's subscriptions, in the order of its header.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<SubscriptionState>,
}
