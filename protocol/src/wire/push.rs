//! `POST /sync/push`: plain changes, or groups with a verdict each (O1 to O4).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use super::row::{Record, RowImage, RowName};

/// What a change does to its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// A row that was not there.
    Create,
    /// Columns of a row.
    Update,
    /// The row.
    Delete,
}

/// A push of either kind; both `changes` and `rejoin.groups` in one request are refused (`mixed_push`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushRequest {
    /// The device.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub client_id: String,
    /// Plain changes; empty from a Rejoin device to a Rejoin server.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub changes: Vec<PushRecord>,
    /// The schema in which the values are written.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_version: i64,
    /// Its hash.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_hash: String,
    /// Our extensions.
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
    /// `create`, `update` or `delete`; a string, because an unknown one is answered, not a broken request.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub operation: String,
    /// The columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The client's clock, RFC 3339; empty if the peer left it out.
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
    /// Rises with each request of a device; the answer echoes it (O5).
    pub request: i64,
    /// The epoch the device believes in; another one applies nothing (O14).
    pub epoch: String,
    /// The witness of the last push that no pull has passed yet; empty if there is none (O14).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub witness: String,
    /// Every mutation below this number has reached the device as a verdict.
    pub acked_below: i64,
    /// The groups, in the order of the queue.
    pub groups: Vec<Group>,
    /// Mutations that the device withdraws (O12); decided before the groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cancel: Vec<Cancel>,
}

/// A mutation that was sent, and is given up (O12).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cancel {
    /// The mutation.
    pub id: String,
    /// Its number in the device's queue.
    #[serde(default)]
    pub seq: i64,
    /// The rows that it names; they are answered as they stand.
    #[serde(default)]
    pub rows: Vec<RowName>,
}

/// One mutation, all or nothing (O1).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// The mutation's random id, hyphenated lower case.
    pub id: String,
    /// Its number in the device's queue.
    #[serde(default)]
    pub seq: i64,
    /// Rises when the content is rebuilt or offered again after a verdict.
    pub attempt: i64,
    /// Opaque content hash: another hash at the same attempt is an error (O2).
    pub hash: String,
    /// Earlier unaccepted mutations that this one stands on (O4).
    #[serde(default)]
    pub after: Vec<String>,
    /// When it was written, by the device's clock.
    pub time: String,
    /// How many milliseconds ago it was written when it was sent, by the device's clock; where a table of it has the policy
    /// `last_write_wins`, and it may be decided by time (O11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<i64>,
    /// The schema in which this mutation was written, if it is not the request's (S1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<i64>,
    /// Whether an action made it: old values alone decide, and a delete needs its row (O1). That a row has the new value
    /// already is no excuse: then one of two equal takings would be lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub old_only: bool,
    /// Whether the device gives up after this try: a server that fails on it once more refuses the attempt for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last_try: bool,
    /// Rows that an action read by their keys, in the columns that it read and did not write; `absent` where it found none
    /// (O8). They are compared before anything is written. A row without columns only has to be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<RowImage>,
    /// What the app performed, for a server that asks before it takes it (O8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Performed>,
    /// What it changes, one entry per row.
    pub changes: Vec<Change>,
}

/// The action that made a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Performed {
    /// Its name.
    pub name: String,
    /// The version that was performed.
    pub version: i64,
    /// Its arguments, by the names of the parameters; null ones may be left out.
    #[serde(default)]
    pub arguments: Map<String, Json>,
}

/// The change of one row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    /// What is done.
    pub operation: Operation,
    /// The row's table.
    pub table_name: String,
    /// The row's key as text.
    pub id: String,
    /// New values of the changed columns; all written columns for a create; absent for a delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The values that the changed columns had; all user columns for a delete (D8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Box<RawValue>>,
    /// The version of the row that the device saw. A delete's: if it still is the row's, nothing else is compared. An update
    /// has one where rows do not merge, or where the later one wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Over whatever stands there, because the table's policy asks for it after three conflicts (O10). A server whose own
    /// policy is another one compares all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// The answer to a push.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushResponse {
    /// Plain changes that were applied.
    #[serde(default)]
    pub accepted: Vec<PushResult>,
    /// Plain changes that were not.
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
    /// Our extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<PushAnswer>,
}

/// What became of a plain change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushResult {
    /// The key as text.
    pub id: String,
    /// Its table.
    pub table_name: String,
    /// The operation, as it was sent.
    pub operation: String,
    /// `applied`, `conflict`, `rejected_terminal` or `rejected_retryable`.
    pub status: String,
    /// Why, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The row that stood in the way.
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
    /// One per mutation to cancel, then one per group, in the order of the request.
    pub verdicts: Vec<Verdict>,
    /// Every row that the groups touch, as it now stands (O3).
    pub rows: Vec<RowImage>,
    /// Buckets the user held when this was answered (O9).
    pub held: Vec<String>,
    /// The position after this push, with its tag; opaque. The device offers it until a pull has come so far, so that a
    /// server that was restored to before this answer is found out (O14).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub witness: String,
}

/// How a group ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Applied, whole; final for every attempt.
    Accepted,
    /// A rule of the server refuses the content.
    Rejected,
    /// A row has changed since.
    Conflict,
    /// The server will not look at it: denied, read-only, not registered.
    Refused,
    /// Something it stands on is not accepted (O4); offer it again as the next attempt.
    Blocked,
    /// Withdrawn by the device; final for every attempt.
    Cancelled,
    /// Nothing was decided; send the same attempt again.
    Retry,
}

/// The verdict on one attempt of one mutation (O2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The mutation.
    pub id: String,
    /// The attempt that was judged.
    pub attempt: i64,
    /// How it ended.
    pub verdict: Ending,
    /// Why, in one word ([`super::error::code`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Whether the same content may be accepted later.
    #[serde(default)]
    pub retryable: bool,
    /// The table at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_name: Option<String>,
    /// The row at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_id: Option<String>,
    /// The column at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Of an accepted one: each row before it, in the columns that it names; absent where there was none (O13).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub displaced: Vec<RowImage>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
