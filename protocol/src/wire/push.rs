//! `POST /sync/push`: plain changes, or groups with one verdict each.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use crate::manifest::hex_sha256;

use super::row::{Record, RowImage, RowName};

/// The operation on a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Inserts a row.
    Create,
    /// Updates columns.
    Update,
    /// Deletes the row.
    Delete,
}

/// A push of either kind; a request with both `changes` and `rejoin.groups` is refused
/// (`mixed_push`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushRequest {
    /// The device.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub client_id: String,
    /// Plain changes; empty from a Rejoin device to a Rejoin server.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub changes: Vec<PushRecord>,
    /// The schema of the values.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_version: i64,
    /// Its hash.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_hash: String,
    /// Rejoin's extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<PushAsk>,
}

/// A plain change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushRecord {
    /// The key as text.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub id: String,
    /// Its table.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub table_name: String,
    /// `create`, `update` or `delete`; a string, so that an unknown one gets a result.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub operation: String,
    /// The columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The client's clock, RFC 3339; empty if absent.
    #[serde(
        default,
        deserialize_with = "super::null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub client_updated_at: String,
    /// The version that was edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_updated_at: Option<String>,
}

/// The groups of a push.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PushAsk {
    /// Rises with each request of a device; echoed in the answer.
    pub request: i64,
    /// The device's epoch; if the server has another one, nothing is applied.
    pub epoch: String,
    /// The log tip of the last push that no pull has reached yet; empty if there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub witness: String,
    /// The device has the verdict of every mutation below this number.
    pub acked_below: i64,
    /// The groups, in queue order.
    pub groups: Vec<Group>,
    /// Mutations to cancel; decided before the groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cancel: Vec<Cancel>,
}

/// A sent mutation that was discarded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cancel {
    /// The mutation.
    pub id: String,
    /// Its number in the device's queue.
    #[serde(default)]
    pub seq: i64,
    /// The rows that it changed; the answer has their current images.
    #[serde(default)]
    pub rows: Vec<RowName>,
}

/// One mutation, applied completely or not at all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// The mutation's random id, hyphenated lower case.
    pub id: String,
    /// Its number in the device's queue.
    #[serde(default)]
    pub seq: i64,
    /// Rises when the content is rebuilt or retried after a verdict.
    pub attempt: i64,
    /// Opaque content hash: another hash for the same attempt is an error.
    pub hash: String,
    /// Earlier unaccepted mutations that this one depends on.
    #[serde(default)]
    pub after: Vec<String>,
    /// When it was written, by the device's clock.
    pub time: String,
    /// Milliseconds between the write and the request, by the device's clock; only for tables with
    /// the policy `last_write_wins`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<i64>,
    /// The schema version of this mutation, if it is not the request's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<i64>,
    /// Whether an action made it. Then only old values are compared, and a delete needs its row: an
    /// equal new value must not hide a lost increment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub old_only: bool,
    /// Whether this is the last attempt: another server failure makes the rejection final.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last_try: bool,
    /// Rows that an action read by key, with the columns that it read and did not write; `absent`
    /// if missing. They are compared before anything is written. A row without columns must only
    /// exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<RowImage>,
    /// The action, for a server with check queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Performed>,
    /// The content, if the device has staged it ([`super::stage`]). Then `reads`, `action` and
    /// `changes` are empty, and the push has no other group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Staged>,
    /// The changes, one entry per row.
    pub changes: Vec<Change>,
}

/// A group's content that the server has received in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub content: String,
    /// Its length in bytes.
    pub bytes: u64,
}

impl Staged {
    /// Names these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { content: hex_sha256(bytes), bytes: bytes.len() as u64 }
    }
}

/// The content of a staged group: the same members as in [`Group`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct GroupContent {
    /// Rows that an action read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<RowImage>,
    /// The action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Performed>,
    /// The changes.
    pub changes: Vec<Change>,
}

/// The action that made a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Performed {
    /// Its name.
    pub name: String,
    /// The version that was performed.
    pub version: i64,
    /// Its arguments, by parameter name; null ones may be omitted.
    #[serde(default)]
    pub arguments: Map<String, Json>,
}

/// The change of one row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    /// The operation.
    pub operation: Operation,
    /// The row's table.
    pub table_name: String,
    /// The row's key as text.
    pub id: String,
    /// New values of the changed columns; all written columns of a create; absent for a delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Old values of the changed columns; all user columns of a delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Box<RawValue>>,
    /// The row version that the device saw. A delete with the current version compares nothing
    /// else. An update has one if the table does not merge columns or uses `last_write_wins`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether to overwrite the server's row, as the table's policy allows after three conflicts. A
    /// server with another policy compares all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// The response to a push.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushResponse {
    /// Plain changes that were applied.
    #[serde(default)]
    pub accepted: Vec<PushResult>,
    /// Plain changes that were not applied.
    #[serde(default)]
    pub rejected: Vec<PushResult>,
    /// Always 0.
    #[serde(default)]
    pub checkpoint: i64,
    /// The server's clock.
    pub server_time: String,
    /// The server's schema.
    pub schema_version: i64,
    /// Its hash.
    pub schema_hash: String,
    /// Rejoin's extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<PushAnswer>,
}

/// The result of a plain change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushResult {
    /// The key as text.
    pub id: String,
    /// Its table.
    pub table_name: String,
    /// The operation, as sent.
    pub operation: String,
    /// `applied`, `conflict`, `rejected_terminal` or `rejected_retryable`.
    pub status: String,
    /// The reason code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    /// The reason as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The conflicting row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version: Option<Record>,
    /// The row's new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_updated_at: Option<String>,
    /// When the row was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_deleted_at: Option<String>,
}

/// The verdicts of a push.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PushAnswer {
    /// The request's number.
    pub request: i64,
    /// The server's epoch; if it is not the request's, nothing was applied.
    pub epoch: String,
    /// One per cancelled mutation, then one per group, in request order.
    pub verdicts: Vec<Verdict>,
    /// The current image of every row that the groups touch.
    pub rows: Vec<RowImage>,
    /// The user's buckets at this answer.
    pub held: Vec<String>,
    /// The log position after this push, with its tag; opaque. The device sends it until a pull has
    /// reached it, which detects a server that was restored to an earlier state.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub witness: String,
}

/// The kind of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Applied completely; final for every attempt.
    Accepted,
    /// A rule of the server rejects the content.
    Rejected,
    /// A row has changed since.
    Conflict,
    /// The server rejects it without evaluating it: denied, read-only, not registered.
    Refused,
    /// A mutation that it depends on is not accepted; send it again as the next attempt.
    Blocked,
    /// Cancelled by the device; final for every attempt.
    Cancelled,
    /// Nothing was decided; send the same attempt again.
    Retry,
}

/// The stored verdict on one attempt of one mutation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The mutation.
    pub id: String,
    /// The evaluated attempt.
    pub attempt: i64,
    /// The kind of verdict.
    pub verdict: Ending,
    /// The reason code ([`super::error::code`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Whether the same content may be accepted later.
    #[serde(default)]
    pub retryable: bool,
    /// The table concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_name: Option<String>,
    /// The row concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_id: Option<String>,
    /// The column concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// For an accepted mutation: the before-image of each row, in the changed columns; absent if
    /// there was no row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub displaced: Vec<RowImage>,
    /// For an accepted mutation: the columns in which the server stored another value than the one
    /// that was sent, or that it computed from others, with the stored value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<RowImage>,
    /// Of the columns in `left` that the mutation did not write: the value that was there before. An
    /// edit that expects this value is compared with the one in `left`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub computed: Vec<RowImage>,
    /// The reason as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Verdict {
    /// A verdict without code, place, images or message.
    pub fn new(id: String, attempt: i64, verdict: Ending) -> Self {
        Self {
            id,
            attempt,
            verdict,
            code: None,
            retryable: false,
            table_name: None,
            record_id: None,
            column: None,
            displaced: Vec::new(),
            left: Vec::new(),
            computed: Vec::new(),
            message: None,
        }
    }
}
