//! Storage backend of the server: stores and finds rows, log entries, verdicts and devices.
//!
//! It makes no decision about access, conflicts, epochs, cursors or pages. Reads see one snapshot, writes run in one exclusive
//! transaction. Every [`Store`] must pass the contract suite in `tests/it/contract.rs`.

use std::fmt::Debug;
use std::sync::Arc;

use crate::error::Fault;
use crate::model::{Connections, Feed, PlanStep, ReplicaReads, Touched};

pub(crate) use admit::Strictness;
pub use batch::{ApplyError, Batch, Load, Loaded, Planned, PlannedWrite, RowIds};
pub use log::{LogRowError, LogTables, Misfit, fits};
pub use prefetch::{Prefetch, ReadHint};
pub use reading::{
    FurtherBuckets, Images, ReadDevices, ReadLog, ReadRows, ReadSchema, Reading, Truths,
};
pub use work::{read, read_replica, write, write_to_end};
pub use writing::{
    Maintain, Savepoints, StoreWrite, WriteDevices, WriteError, WriteKind, WriteRows, Writing,
};

mod access;
mod admit;
mod batch;
mod chosen;
mod describe;
mod log;
pub mod postgres;
mod prefetch;
mod quote;
mod reading;
pub mod sqlite;
mod trial;
mod work;
mod writing;

/// A database with the application's tables and the server's own.
pub trait Store: Send + Sync + Debug {
    /// Runs `work` on one snapshot of the database. It may run again, and its last run counts: a store
    /// may find at its first statement that the application's tables have changed.
    fn read(&self, work: &mut dyn FnMut(&dyn Reading) -> Result<(), Fault>) -> Result<(), Fault>;

    /// Runs `work` on one snapshot of a replica, if the store has one that is available. The snapshot may be behind the
    /// database, but has everything that this store has read or was notified of. Returns whether it was served there and `work`
    /// returned `true`; otherwise nothing of it counts.
    fn read_replica(&self, work: &mut dyn FnMut(&dyn Reading) -> Result<bool, Fault>) -> bool {
        let _ = work;
        false
    }

    /// The use of the replica; `None` if there is none.
    fn replica_reads(&self) -> Option<ReplicaReads> {
        None
    }

    /// Runs `work` in one exclusive transaction and commits it if `work` succeeds. `now` is
    /// canonical text; it is the time of all writes. The log entries of the transaction are never
    /// split over pages. `work` may run again, also after it lost against another transaction.
    fn write(
        &self,
        now: &str,
        work: &mut dyn FnMut(&dyn Writing) -> Result<(), Fault>,
    ) -> Result<(), Fault>;

    /// The last position of the log. It changes whenever any process commits a change to the log. Cheap.
    fn pulse(&self) -> Result<i64, Fault>;

    /// The number of committed changes without a position in the log, without assigning any; a store may stop counting at
    /// 100,000. `None` if changes are committed with their positions.
    fn unnumbered(&self) -> Result<Option<u64>, Fault> {
        Ok(None)
    }

    /// Commits a write that changes nothing, unless another writer is active. By default writes are assumed to succeed.
    fn try_write(&self) -> Result<(), WriteProblem> {
        Ok(())
    }

    /// The store's connections to its database; `None` if their number is not limited.
    fn connections(&self) -> Option<Connections> {
        None
    }

    /// The steps in which the database runs a query of the operator.
    fn plan(&self, sql: &str) -> Result<Vec<PlanStep>, Fault> {
        let _ = sql;
        Ok(Vec::new())
    }

    /// The backlog of bucket resolvers, and whether a feeder is active.
    fn feed(&self) -> Result<Feed, Fault> {
        Ok(Feed::NONE)
    }

    /// The buckets of the entries after `after` and up to `upto`; `None` if they are not known for all entries.
    fn touched(&self, after: i64, upto: i64) -> Result<Option<Vec<Touched>>, Fault> {
        let _ = (after, upto);
        Ok(None)
    }

    /// Calls `notify` when another process has changed the last position, or has committed entries of the log model. A store
    /// without notifications does nothing: the position is polled too.
    fn listen(&self, notify: NoticeListener) {
        drop(notify);
    }

    /// Notifies other processes that entries of the log model were committed, which concern these buckets. Called after the
    /// commit; does not wait, and may lose the notice. A store of one process does nothing.
    fn notify_log(&self, touched: &[Touched]) {
        let _ = touched;
    }

    /// Like [`write`](Self::write), and reads the end of the log after the commit. The outer error is that of the transaction,
    /// the inner one that of the read.
    fn write_to_end(
        &self,
        now: &str,
        work: &mut dyn FnMut(&dyn Writing) -> Result<(), Fault>,
    ) -> Result<Result<End, Fault>, Fault> {
        self.write(now, work)?;
        Ok(read(self, |reading| {
            let head = reading.log_state()?.head;
            Ok((head, reading.tag(head)?.unwrap_or_default()))
        }))
    }
}

/// The last position of the log, and its tag.
pub type End = (i64, i64);

/// What another process reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeNotice {
    /// The last position of the change log.
    Head(i64),
    /// The buckets that new entries of the log model concern.
    Log(Vec<Touched>),
}

/// Called with each notice; returns `false` to end the notifications.
pub type NoticeListener = Arc<dyn Fn(NodeNotice) -> bool + Send + Sync>;

/// Why a store takes no writes.
#[derive(Debug, thiserror::Error)]
pub enum WriteProblem {
    /// The disk is full, or the quota of the database.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The file or the database is read-only, for example a standby.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// Any other failure.
    #[error(transparent)]
    Other(#[from] Fault),
}
