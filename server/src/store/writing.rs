//! Operations of a write transaction, by purpose: savepoints, rows, devices and verdicts,
//! maintenance.

use rejoin_protocol::Value;

use super::batch::Batch;
use super::reading::Reading;
use crate::error::Fault;
use crate::hooks::HookSql;
use crate::model::{Client, Grant, KeyLock, Replayed, StagedPart, StoredVerdict, Table, Violation};

/// An exclusive transaction.
pub trait Writing: Reading + Savepoints + WriteRows + WriteDevices + Maintain + HookSql {}

/// Why a row was not written.
#[derive(Debug)]
pub enum WriteError {
    /// The content violates a rule of the table.
    Rule(Violation),
    /// The write may succeed later, or the server failed.
    Fault(Fault),
}

impl From<Fault> for WriteError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A write of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreWrite {
    /// Inserts a row of these cells, its key among them.
    Insert {
        /// The cells by column position.
        cells: Vec<(usize, Value)>,
    },
    /// Sets these cells.
    Update {
        /// The key of the row.
        key: Value,
        /// The cells by column position.
        cells: Vec<(usize, Value)>,
    },
    /// Removes the row.
    Delete {
        /// The key of the row.
        key: Value,
    },
}

/// A kind of write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// Inserts a row.
    Insert,
    /// Updates cells of a row.
    Update,
    /// Deletes a row.
    Delete,
}

impl StoreWrite {
    /// The kind of this write.
    #[must_use]
    pub fn kind(&self) -> WriteKind {
        match self {
            Self::Insert { .. } => WriteKind::Insert,
            Self::Update { .. } => WriteKind::Update,
            Self::Delete { .. } => WriteKind::Delete,
        }
    }

    /// The key of the row; NULL if the database assigns it at insert.
    #[must_use]
    pub fn key(&self, table: &Table) -> &Value {
        match self {
            Self::Insert { cells } => {
                let key = cells.iter().find(|(at, _)| *at == table.key);
                key.map_or(&Value::Null, |(_, key)| key)
            }
            Self::Update { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Savepoints and locks.
pub trait Savepoints {
    /// Reserves these keys until the transaction ends. Waits for other transactions that reserved
    /// one of them, unless both only read it. Missing rows cannot be locked themselves. A store
    /// with one writer at a time ignores it.
    fn lock_keys(&self, keys: &[KeyLock]) -> Result<(), Fault> {
        let _ = keys;
        Ok(())
    }

    /// Batched load and apply; `None` for a local store.
    fn batch(&self) -> Option<&dyn Batch> {
        None
    }

    /// Whether another write of this store waits for this transaction to end. A store that writes at
    /// the same time always returns `false`.
    fn is_awaited(&self) -> bool {
        false
    }

    /// Begins a savepoint; they nest.
    fn begin(&self) -> Result<(), Fault>;

    /// Releases the savepoint and keeps its writes.
    fn keep(&self) -> Result<(), Fault>;

    /// Rolls back the writes of the savepoint.
    fn undo(&self) -> Result<(), Fault>;

    /// Checks constraints that can be deferred only at [`check_constraints`](Self::check_constraints),
    /// or until the savepoint is rolled back. Returns whether there may be any.
    fn defer_constraints(&self) -> Result<bool, Fault> {
        Ok(false)
    }

    /// Checks the deferred constraints, and defers none from then on. `written`: the writes since.
    fn check_constraints(&self, written: &[(&Table, &StoreWrite)]) -> Result<(), WriteError> {
        let _ = written;
        Ok(())
    }
}

/// Writes to the application's tables.
pub trait WriteRows {
    /// Writes a row.
    fn write(&self, table: &Table, write: &StoreWrite) -> Result<(), WriteError>;

    /// Stores when the author wrote this version of the row, in microseconds since 1970; it replaces the time of an earlier
    /// version.
    fn put_written_at(&self, table: &Table, id: &str, version: &str, at: i64) -> Result<(), Fault>;
}

/// Writes to devices, verdicts and subscriptions.
pub trait WriteDevices {
    /// Stores a verdict; it replaces that of an earlier attempt.
    fn put_verdict(&self, user: &str, mutation: &str, verdict: &StoredVerdict)
    -> Result<(), Fault>;

    /// Stores a part of the content that a device stages.
    fn stage(&self, user: &str, client_id: &str, part: &StagedPart<'_>) -> Result<(), Fault>;

    /// Deletes what a device has staged.
    fn unstage(&self, user: &str, client_id: &str) -> Result<(), Fault>;

    /// Stores a device.
    fn put_client(&self, user: &str, client_id: &str, client: &Client) -> Result<(), Fault>;

    /// Sets a user's right to a bucket; returns whether anything changed. Listening devices are
    /// notified.
    fn put_grant(&self, user: &str, grant: &Grant) -> Result<bool, Fault>;

    /// Removes a user's right to a bucket; returns whether there was one.
    fn remove_grant(&self, user: &str, bucket: &str) -> Result<bool, Fault>;
}

/// Epochs, compaction and bucket functions.
pub trait Maintain {
    /// Begins a new epoch and returns it; all earlier cursors become invalid.
    fn new_epoch(&self) -> Result<String, Fault>;

    /// Whether no other server compacts until this transaction ends. A store with one writer at a time always returns `true`.
    fn compacts_alone(&self) -> Result<bool, Fault> {
        Ok(true)
    }

    /// Sets the watermark and removes entries below it, at most `most`; the entry at the watermark is kept for its tag. Returns
    /// how many were removed.
    fn forget_entries(&self, watermark: i64, most: usize) -> Result<usize, Fault>;

    /// Removes author times of row versions older than `before`, at most `most`; returns how many were removed.
    fn forget_written(&self, before: &str, most: usize) -> Result<usize, Fault>;

    /// The lowest position of the devices that were seen since; `None` if there is none.
    fn lowest_position(&self, seen_since: &str) -> Result<Option<i64>, Fault>;

    /// Removes the verdicts of devices that were not seen since, at most `most`; returns how many were removed.
    fn forget_verdicts(&self, seen_since: &str, most: usize) -> Result<usize, Fault>;

    /// Removes staged parts that arrived before this time, at most `most`; returns how many were removed.
    fn forget_staged(&self, before: &str, most: usize) -> Result<usize, Fault>;

    /// Runs the bucket functions again for the rows of [`Reading::bucket_failures`].
    fn replay_buckets(&self) -> Result<Replayed, Fault> {
        Ok(Replayed::default())
    }
}
