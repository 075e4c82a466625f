//! What failed, within one variant of [`Error`](crate::Error).

use rejoin_protocol::wire::subscription::RefusalCode;

use crate::ids::MutationId;
use crate::value::Value;

/// Why a call is wrong. Nothing was changed, and the same call fails again.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InputFault {
    /// The statement does not compile or failed; it was rolled back, alone or with its transaction.
    /// SQLite's message; for a missing table also what to do.
    #[error("sql: {0}")]
    Sql(String),
    /// The engine does not allow apps to do this.
    #[error("refused {what}: {reason}")]
    Refused {
        /// What was attempted.
        what: String,
        /// The reason, and what to do instead.
        reason: String,
    },
    /// A value cannot be synced; the statement was rolled back.
    #[error("value of {table}.{column}: {reason}")]
    Value {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What is wrong and how to fix it.
        reason: String,
    },
    /// A failed statement left rows behind (`OR FAIL`, `RAISE(FAIL)`); the whole transaction was
    /// rolled back.
    #[error("a failed statement had already changed rows; the transaction was rolled back: {0}")]
    PartialStatement(String),
    /// A full-text index or another virtual table is damaged; the file and its other tables are not.
    #[error("index {table} is damaged: {reason}")]
    CorruptIndex {
        /// Its name, or names joined by a comma.
        table: String,
        /// SQLite's message, and what to do.
        reason: String,
    },
    /// The call would wait for itself: use the open transaction instead.
    #[error("called from inside a transaction; use the transaction's own methods")]
    Reentrant,
    /// The table is not synced.
    #[error("table {0} is not synced")]
    NotSynced(String),
    /// The schema has a table that this device cannot store; tables and queue are unchanged. A
    /// removed column or table never causes this.
    #[error("schema of table {table} refused: {reason}")]
    SchemaRefused {
        /// The table.
        table: String,
        /// The reason, and what to do.
        reason: String,
    },
    /// The device cannot send more subscriptions to streams.
    #[error(
        "the subscriptions of this device are longer than {limit} bytes with this one; end some that the app holds, or send the waiting edits first: they may need the others"
    )]
    TooManySubscriptions {
        /// Maximum length of all subscriptions as JSON, with those that have ended and wait for mutations
        /// to be sent.
        limit: usize,
    },
}

/// Why the queue does not allow a decision about a mutation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueFault {
    /// The queue has no such mutation.
    #[error("no mutation {0} in the queue")]
    Unknown(MutationId),
    /// The mutation was sent and has no verdict yet; it can only be cancelled.
    #[error("mutation {0} was sent and has no verdict yet")]
    Uncertain(MutationId),
    /// The parked mutation `0` creates a row that this one needs; retry that one or the chain
    /// first.
    #[error("depends on mutation {0}, which is parked: retry that one, with its chain")]
    ParentParked(MutationId),
    /// A reset would delete pending or parked mutations that the call does not list.
    #[error(
        "{waiting} mutations that are not accepted were not named: send them, or name them to give them up"
    )]
    Unsent {
        /// How many.
        waiting: u64,
    },
    /// The undo would overwrite later changes of these rows.
    #[error("{} row(s) have changed since; look at them, and write what is wanted", .rows.len())]
    Changed {
        /// The rows, as the mutation left them and as they are.
        rows: Vec<ChangedRow>,
    },
}

/// A row that differs from what a mutation wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedRow {
    /// The table's name.
    pub table: String,
    /// The row's key.
    pub key: Value,
    /// The columns that have another value; empty if the row was deleted or inserted again.
    pub columns: Vec<String>,
    /// What the mutation wrote, by column; `None` if it deleted the row.
    pub wrote: Option<Vec<(String, Value)>>,
    /// The current row; `None` if there is none.
    pub present: Option<Vec<(String, Value)>>,
}

/// How the file, the disk or the memory failed. The transaction was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageFault {
    /// A newer release wrote this file; nothing was changed.
    #[error("database was written by a newer release (format {found}, this one knows {known})")]
    TooNew {
        /// The file's format.
        found: i64,
        /// The newest format of this release.
        known: i64,
    },
    /// The file is not a database, or is damaged; nothing was written.
    #[error("database is corrupt: {0}")]
    Corrupt(String),
    /// The file or its folder cannot be written; nothing was changed.
    #[error("database is read-only: {0}")]
    ReadOnly(String),
    /// The disk is full.
    #[error("disk full; the transaction was rolled back")]
    Full,
    /// The disk failed.
    #[error("input or output failed: {0}")]
    Io(String),
    /// There was not enough memory.
    #[error("out of memory; the transaction was rolled back")]
    OutOfMemory,
    /// Another process has the file open, or wrote it for longer than the engine waits (5 seconds); nothing
    /// was changed.
    #[error("{path} is locked: another process has it open, or has been writing it for 5 seconds")]
    Locked {
        /// The file.
        path: String,
    },
}

/// Why an exchange with the server failed. The queue is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyncFault {
    /// No server could be reached.
    #[error("server unreachable: {0}")]
    Offline(String),
    /// Credentials are missing or rejected; the queue waits for new ones.
    #[error("credentials are missing or refused")]
    Unauthorized,
    /// The server requires a newer version of the app; the queue waits.
    #[error("the server asks for a newer version of the app: {0}")]
    UpgradeRequired(String),
    /// The server returned an error.
    #[error("server answered {status} {code}: {message}")]
    Server {
        /// HTTP status.
        status: u16,
        /// One of `rejoin_protocol::wire::code`, or empty from a plain server.
        code: String,
        /// Message for developers.
        message: String,
        /// Whether the same request may succeed later.
        retryable: bool,
    },
    /// The server refuses a subscription to a stream. It stays until it expires or the app ends it, and
    /// brings rows if the server accepts it later.
    #[error("the server refuses the subscription to {stream}: {message}")]
    SubscriptionRefused {
        /// The stream's name.
        stream: String,
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for developers.
        message: String,
    },
    /// The server's response is invalid; nothing of it was applied.
    #[error("answer not understood: {0}")]
    Protocol(String),
}

/// Why an action failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionFault {
    /// No action of this name is registered.
    #[error("no such action is registered; name it in Services::actions")]
    Unknown,
    /// The arguments are invalid; the list has every problem.
    #[error("arguments: {}", .0.join("; "))]
    Arguments(Vec<String>),
    /// A precondition of the action failed; its message.
    #[error("{0}")]
    Precondition(String),
    /// It exceeded its time limit ([`ActionBudget::run`](crate::ActionBudget::run)) and was rolled back.
    #[error("it took longer than {limit:?}; do less at a time, or allow more by the action budget")]
    TooSlow {
        /// The limit.
        limit: std::time::Duration,
    },
    /// It writes more than its limit ([`ActionBudget::bytes`](crate::ActionBudget::bytes)).
    #[error(
        "it writes more than {limit} bytes; do less at a time, or allow more by the action budget"
    )]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// It inserts two rows with the same identity, which would get the same id.
    #[error("two rows of {table} with one identity; add to the identity what tells them apart")]
    SameRow {
        /// The table.
        table: String,
    },
    /// Its code was idle for too long.
    #[error("its code did not end in time; let it wait for nothing but its context")]
    TimedOut,
}
