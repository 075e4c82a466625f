//! `POST /sync/snapshot`: every row the user may see, in pages by key.

use serde::{Deserialize, Serialize};

use super::row::{Record, RowSet};

/// Asks for the next page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// The device.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub client_id: String,
    /// Where the last page ended; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<SnapshotCursor>,
    /// Most rows in the page: 1 to 1,000, 100 if absent or not positive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// The device's schema.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_version: i64,
    /// Its hash.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_hash: String,
    /// Our extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<SnapshotAsk>,
}

/// Where a page ended. Anything opaque lives inside `after_id` (D19): plain clients re-encode these three members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotCursor {
    /// The log's head when the first page was read.
    pub checkpoint: i64,
    /// The table, by the order of the manifest's tables sorted by name.
    pub table_idx: i64,
    /// The last key of it, or opaque.
    pub after_id: String,
}

/// What a Rejoin device adds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotAsk {
    /// Rises with each request of a device; the answer echoes it (O5).
    pub request: i64,
    /// The epoch in which the first page was read; empty for the first page. Another one starts anew.
    pub epoch: String,
    /// The witness that no pull has passed yet, or the last cursor: a server that was restored to before it begins a new epoch.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub witness: String,
}

/// A page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotResponse {
    /// Plain rows; empty when `rejoin.sets` carries them.
    #[serde(default)]
    pub records: Vec<Record>,
    /// Where this page ended; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<SnapshotCursor>,
    /// The log's head when the first page was read.
    #[serde(default)]
    pub checkpoint: i64,
    /// Whether another page waits.
    #[serde(default)]
    pub has_more: bool,
    /// The server's schema.
    pub schema_version: i64,
    /// Its hash.
    pub schema_hash: String,
    /// Our extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<SnapshotAnswer>,
}

/// What a Rejoin server adds to a page.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotAnswer {
    /// The request's number.
    pub request: i64,
    /// The server's epoch.
    pub epoch: String,
    /// The pull cursor as of the **first** page: where the tail pull starts (C5). Same on every page.
    pub pull_cursor: String,
    /// The key ranges that this page covers: a row of the device in a range that is not in the page is gone.
    pub ranges: Vec<KeyRange>,
    /// The rows, a set per table, in key order.
    pub sets: Vec<RowSet>,
    /// All rows of the snapshot as counted at its first page; for progress only.
    pub total: i64,
    /// Whether the position can no longer be served, or the user's buckets have changed: start the snapshot again (C5).
    pub restart: bool,
    /// Where the log ended when the page was read. It takes the place of the request's witness, which the server has seen, and is
    /// kept until a pull has come so far: `pull_cursor` may be older than this page's rows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub witness: String,
}

/// A range of one table's keys: after `after` (exclusive), up to `through` (inclusive); absent means open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyRange {
    /// The table.
    pub table_name: String,
    /// Exclusive lower end, as id text. Integer keys compare as numbers, text keys by bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Inclusive upper end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
}
