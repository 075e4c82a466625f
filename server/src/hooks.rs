//! Hooks: callbacks by which a host program observes the server and takes part in its decisions.
//!
//! [`accepted`](Hooks::accepted) runs within the push transaction and may write to it or reject a
//! group. [`stale_client`](Hooks::stale_client) runs before the request. The others run afterwards
//! and change nothing. See the guide `docs/hooks.md`.

use std::collections::BTreeMap;
use std::fmt::Debug;

use rejoin_protocol::Value;
use rejoin_protocol::wire::push::{Operation, Performed};

use crate::model::Compaction;
pub use crate::model::StaleClient;

mod sql;
mod within;

pub use sql::{HookSql, SqlError};
pub use within::Within;

/// Callbacks of a host program; the default implementations do nothing.
///
/// Hooks run concurrently, like requests. A hook that blocks makes its device wait; in `accepted`,
/// also all requests for the same rows (with SQLite, all writers). A hook must not call the server
/// that calls it.
pub trait Hooks: Send + Sync + Debug {
    /// Called after the changes of a group are written, within the push transaction; decides
    /// whether they are kept. `within` runs SQL in the same transaction, committed or rolled back
    /// with the group.
    ///
    /// Not called for a group that already has its verdict. Called again if the transaction is
    /// retried (PostgreSQL, after a deadlock): side effects other than SQL through `within` may
    /// belong to a group that is not kept. A panic leaves the group undecided: it is rolled back
    /// and the device retries.
    fn accepted(&self, accepted: &AcceptedChanges<'_>, within: &Within<'_>) -> Result<(), Veto> {
        let _ = (accepted, within);
        Ok(())
    }

    /// A change conflicted with a row that has changed since it was made. Called after the
    /// transaction.
    fn conflict(&self, conflict: &Conflict) {
        let _ = conflict;
    }

    /// A device received one page of changes. Called after the transaction, before the response is
    /// sent.
    fn pull_complete(&self, pulled: &Pulled<'_>) {
        let _ = pulled;
    }

    /// A device was refused because its app is too old (426).
    fn schema_incompatible(&self, refused: &Incompatible<'_>) {
        let _ = refused;
    }

    /// A device returns that neither pulled nor pushed for longer than the log is kept for it.
    /// Returns whether to admit it (default `true`); if the log no longer covers it, it takes a
    /// snapshot. Otherwise it is refused (403). Called for every request until the device has
    /// pulled or pushed. A panic refuses the request: 503.
    fn stale_client(&self, client: &StaleClient) -> bool {
        let _ = client;
        true
    }

    /// The log was compacted.
    fn compaction(&self, done: &Compaction) {
        let _ = done;
    }

    /// A device was sent to take a snapshot.
    fn snapshot_required(&self, required: &SnapshotRequired<'_>) {
        let _ = required;
    }
}

/// The written changes of one group, or of one record of a plain peer.
#[derive(Debug)]
pub struct AcceptedChanges<'a> {
    /// The user who pushed it.
    pub user: &'a str,
    /// The device that pushed it.
    pub client_id: &'a str,
    /// The mutation's id, the same on every retry. A record of a plain peer has none.
    pub mutation: Option<&'a str>,
    /// The action that made it, if the device reports it: it does if the server has checks.
    pub action: Option<&'a Performed>,
    /// The server's time in canonical text, used for all writes of this transaction.
    pub now: &'a str,
    /// The rows named by the device.
    pub changes: Vec<Changed<'a>>,
}

/// A row of an accepted group. Its values can be read by SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed<'a> {
    /// The table.
    pub table: &'a str,
    /// The row's key as text.
    pub id: &'a str,
    /// What the device did.
    pub operation: Operation,
}

/// Why a group is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Veto {
    /// Permanently: the device parks it with this message, which is shown to the user.
    Refuse(String),
    /// Temporarily: no verdict is stored, and the device retries later.
    Later(String),
    /// The hook failed. Like `Later`, but the message is only logged.
    Failed(String),
}

impl From<SqlError> for Veto {
    /// A failed statement leaves the group undecided; its message may contain values and is only
    /// logged.
    fn from(error: SqlError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A change that conflicted with a row changed in the meantime.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// The user who pushed it.
    pub user: String,
    /// The device that pushed it.
    pub client_id: String,
    /// The mutation's id; a record of a plain peer has none.
    pub mutation: Option<String>,
    /// The table.
    pub table: String,
    /// The row's key as text.
    pub id: String,
    /// The conflicting column, if it is one.
    pub column: Option<String>,
    /// The operation of the change; `None` if an action only read the row.
    pub operation: Option<Operation>,
    /// The kind of conflict, as a wire code: `row.changed`, `row.exists`, `row.deleted`,
    /// `row.superseded`.
    pub code: &'static str,
    /// The stored row by column; empty if it is missing, and for an action.
    pub present: BTreeMap<String, Value>,
    /// The sent values; empty for a delete, and for an action.
    pub sent: BTreeMap<String, Value>,
    /// The resolution.
    pub settled: Settled,
}

/// The resolution of a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The row is unchanged; the device applies its policy.
    Kept,
    /// The change, or the result of a resolver, was written to the row.
    Written,
    /// A resolver rejected the change permanently.
    Refused,
}

/// A page sent to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulled<'a> {
    /// The device's user.
    pub user: &'a str,
    /// The device.
    pub client_id: &'a str,
    /// The log position up to which it has read.
    pub position: i64,
    /// Number of rows in the page, including deleted ones.
    pub rows: usize,
    /// Whether more pages follow.
    pub has_more: bool,
}

/// An app that is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incompatible<'a> {
    /// The device's user.
    pub user: &'a str,
    /// The device; `None` if the version came from a header, before the request was read.
    pub client_id: Option<&'a str>,
    /// The app's version.
    pub app_version: &'a str,
    /// The oldest accepted version.
    pub least: &'a str,
}

/// A device that was sent to take a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotRequired<'a> {
    /// The device's user.
    pub user: &'a str,
    /// The device.
    pub client_id: &'a str,
    /// The last recorded position it pulled from.
    pub position: Option<i64>,
    /// The position from which the log is kept.
    pub watermark: i64,
    /// The reason.
    pub reason: SnapshotReason,
}

/// Why a device has to take a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotReason {
    /// It has not read anything yet, or reports an empty database.
    Initial,
    /// The log no longer covers its position, or the changes of its buckets.
    Retention,
    /// The log's epoch differs from the device's: another database, or a restored one.
    Epoch,
    /// A snapshot in progress can no longer be continued.
    Restart,
}
