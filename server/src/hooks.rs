//! Hooks: what a host program is told of while the server works, and what it may decide.
//!
//! [`accepted`](Hooks::accepted) is asked within the transaction of a push and may write in it or refuse; [`stale_client`](Hooks::stale_client)
//! is asked before any work. The others are told afterwards, and change nothing. A server without hooks pays nothing for
//! them; `docs/hooks.md` is the page for people.

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

/// What a host program does where the server calls it; whatever is left out does nothing.
///
/// Requests are answered side by side, and so are hooks called. Whoever waits in one makes a device wait, and in `accepted`
/// everybody who wants the same rows (over a file: everybody who writes). A hook does not call the server that calls it.
pub trait Hooks: Send + Sync + Debug {
    /// The changes of a group are written and stand in the transaction of the push; what is said here decides whether they
    /// stay. `within` runs SQL in the same transaction: it is kept or undone with the group.
    ///
    /// Not asked about a group that has its verdict already. Asked again if the transaction has to be done again (PostgreSQL,
    /// after a deadlock): whatever is no SQL through `within` may be done for a group that is not kept in the end.
    /// A panic decides nothing: the group is undone and the device sends it again.
    fn accepted(&self, accepted: &Accepted<'_>, within: &Within<'_>) -> Result<(), Veto> {
        let _ = (accepted, within);
        Ok(())
    }

    /// A change met a row that had become another since it was made; never a change that met nobody. After the transaction.
    fn conflict(&self, conflict: &Conflict) {
        let _ = conflict;
    }

    /// A device was given what changed, one page of it. After the transaction, before the answer is sent.
    fn pull_complete(&self, pulled: &Pulled<'_>) {
        let _ = pulled;
    }

    /// A device was turned away because its app is older than the server serves (426).
    fn schema_incompatible(&self, refused: &Incompatible<'_>) {
        let _ = refused;
    }

    /// A device comes back that neither pulled nor pushed for longer than the log is kept for it. Whether it is let in, which
    /// it is by default; it takes a snapshot if the log no longer reaches back to it. One that is not is refused (403), now and
    /// whenever it comes again. Asked at each request until it has pulled or pushed. A panic lets nobody in: 503.
    fn stale_client(&self, client: &StaleClient) -> bool {
        let _ = client;
        true
    }

    /// The log was compacted.
    fn compaction(&self, done: &Compaction) {
        let _ = done;
    }

    /// A device was told to take a snapshot, for whatever reason.
    fn snapshot_required(&self, required: &SnapshotRequired<'_>) {
        let _ = required;
    }
}

/// What stands in the transaction: the changes of one group, or one record of a plain peer.
#[derive(Debug)]
pub struct Accepted<'a> {
    /// Who sent it.
    pub user: &'a str,
    /// From which device.
    pub client_id: &'a str,
    /// The mutation's id; the same however often it is sent. A record of a plain peer has none.
    pub mutation: Option<&'a str>,
    /// The action that made it, if the device says so: it does where the server has checks.
    pub action: Option<&'a Performed>,
    /// The server's time in canonical text, which stamps what this transaction writes.
    pub now: &'a str,
    /// The rows, as the device named them.
    pub changes: Vec<Changed<'a>>,
}

/// A row of an accepted group. What is in it is asked by SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed<'a> {
    /// The table.
    pub table: &'a str,
    /// The row's key as text.
    pub id: &'a str,
    /// What the device did.
    pub operation: Operation,
}

/// Why a group does not stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Veto {
    /// For good: the device parks it, and its user reads these words.
    Refuse(String),
    /// For now: nothing is decided, and the device sends it again later.
    Later(String),
    /// The hook could not do its work. As `Later`, but these words are for the log alone.
    Failed(String),
}

impl From<SqlError> for Veto {
    /// Nothing is decided where a statement failed; its words may hold values, and are nobody's but the log's.
    fn from(error: SqlError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A change that met another row than it was made on.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// Who sent it.
    pub user: String,
    /// From which device.
    pub client_id: String,
    /// The mutation's id; a record of a plain peer has none.
    pub mutation: Option<String>,
    /// The table.
    pub table: String,
    /// The row's key as text.
    pub id: String,
    /// The column that differs, where it is one.
    pub column: Option<String>,
    /// What it would have done; `None` if an action had only read the row.
    pub operation: Option<Operation>,
    /// How they met, by the codes of the wire: `row.changed`, `row.exists`, `row.deleted`, `row.superseded`.
    pub code: &'static str,
    /// The row as it stood, by column; empty where it is gone, and of an action.
    pub present: BTreeMap<String, Value>,
    /// What was sent; empty for a delete, and of an action.
    pub sent: BTreeMap<String, Value>,
    /// What became of it.
    pub settled: Settled,
}

/// How a conflict ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The row stands as it was; the device is told, and goes by its policy.
    Kept,
    /// The change went over the row, or what a resolver made of it.
    Written,
    /// A resolver refuses the change for good.
    Refused,
}

/// A page that a device was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulled<'a> {
    /// Whose device.
    pub user: &'a str,
    /// The device.
    pub client_id: &'a str,
    /// Up to where in the log it has read.
    pub position: i64,
    /// Rows in the page, gone ones too.
    pub rows: usize,
    /// Whether more waits.
    pub has_more: bool,
}

/// An app that is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incompatible<'a> {
    /// Whose device.
    pub user: &'a str,
    /// The device; `None` where a header told the version, before the request was read.
    pub client_id: Option<&'a str>,
    /// Its version.
    pub app_version: &'a str,
    /// The oldest that is served.
    pub least: &'a str,
}

/// A device that was told to take a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotRequired<'a> {
    /// Whose device.
    pub user: &'a str,
    /// The device.
    pub client_id: &'a str,
    /// From where in the log it asked last, as far as that was noted.
    pub position: Option<i64>,
    /// From where on the log is kept.
    pub watermark: i64,
    /// Why.
    pub reason: SnapshotReason,
}

/// Why a device has to take a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotReason {
    /// It has read nothing yet, or says that it has nothing.
    Initial,
    /// The log no longer reaches back to it, or cannot tell what changed for it in its buckets.
    Retention,
    /// The log has another epoch than the one that the device has read: another database, or a restored one.
    Epoch,
    /// A snapshot that was under way can no longer go on.
    Restart,
}
