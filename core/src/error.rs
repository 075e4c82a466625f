//! Everything that can go wrong, one variant per decision that a caller can take.
//!
//! What is expected is no error: a refused write of long ago is a verdict, being offline is a status. Each variant says in
//! its doc what state the data is in afterwards. The enum is not `non_exhaustive`, so that a border which translates it
//! does not compile until it has a word for a new variant.

use crate::ids::MutationId;
use crate::value::Value;

/// A row that is not as a mutation left it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedRow {
    /// The table's name.
    pub table: String,
    /// The row's key.
    pub key: Value,
    /// The columns that have another value; empty if the row went, or is back.
    pub columns: Vec<String>,
    /// What the mutation wrote, by column; `None` if it removed the row.
    pub wrote: Option<Vec<(String, Value)>>,
    /// The row as it is seen now; `None` if there is none.
    pub present: Option<Vec<(String, Value)>>,
}

/// The result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong; the doc of each variant says what became of the data.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The statement does not compile or failed; the statement, or the transaction it stood in, was rolled back.
    #[error("sql: {0}")]
    Sql(#[source] rusqlite::Error),
    /// The engine does not let apps do this; nothing was changed.
    #[error("refused {what}: {why}")]
    Refused {
        /// What was asked.
        what: String,
        /// Why not, and what to do instead.
        why: String,
    },
    /// A declared rule does not hold; the statement was rolled back.
    #[error("{rule} constraint failed: {table}.{column}")]
    Rule {
        /// The table.
        table: String,
        /// The column, or columns joined by a comma.
        column: String,
        /// `NOT NULL`, `UNIQUE`, `CHECK name` or `FOREIGN KEY`, in SQLite's words.
        rule: String,
    },
    /// A value cannot be synced; the statement was rolled back.
    #[error("value of {table}.{column}: {why}")]
    Value {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What is wrong and how to mend it.
        why: String,
    },
    /// A failed statement left rows behind (`OR FAIL`, `RAISE(FAIL)`); the whole transaction was rolled back.
    #[error("a failed statement had already changed rows; the transaction was rolled back: {0}")]
    PartialStatement(String),
    /// A held transaction or snapshot had no statement for longer than `transaction_idle`, or a read lasted while the
    /// write-ahead log grew to 16 times `wal_limit`; it was rolled back.
    #[error(
        "open for too long; the transaction was rolled back: begin a new one, and end it sooner"
    )]
    TransactionTimeout,
    /// An action was not performed; nothing of it was kept.
    #[error("action {action}: {fault}")]
    Action {
        /// The action's name.
        action: String,
        /// What is the matter.
        fault: ActionFault,
    },
    /// A statement of a batch failed; the whole batch was rolled back.
    #[error("statement {index} of the batch: {error}")]
    Batch {
        /// Which one; the first is 0.
        index: usize,
        /// How it failed. Never [`Error::Suspended`] or [`Error::Shutdown`], which are no fault of a statement.
        #[source]
        error: Box<Error>,
    },
    /// A call that would wait for itself: use the transaction that is at hand.
    #[error("called from inside a transaction; use the transaction's own methods")]
    Reentrant,
    /// The table is not synced.
    #[error("table {0} is not synced")]
    NotSynced(String),
    /// There is no such mutation in the queue.
    #[error("no mutation {0} in the queue")]
    UnknownMutation(MutationId),
    /// The mutation was sent and its verdict is not known; it can only be cancelled.
    #[error("mutation {0} was sent and has no verdict yet")]
    Uncertain(MutationId),
    /// The mutation stands on a row that this parked one makes; nothing was changed. Retry that one first, or the chain.
    #[error("it stands on mutation {0}, which is parked: retry that, with its chain")]
    StandsOn(MutationId),
    /// Mutations wait or are parked that were not named, and a reset gives nobody's work up unnamed; nothing was changed.
    #[error(
        "{waiting} mutations that are not accepted were not named: send them, or name them to give them up"
    )]
    Unsent {
        /// How many.
        waiting: u64,
    },
    /// What was to be taken back does not stand any more: these rows have changed since. Nothing was changed.
    #[error("{} row(s) have changed since; look at them, and write what is wanted", .rows.len())]
    Changed {
        /// The rows, as they were left and as they are.
        rows: Vec<ChangedRow>,
    },
    /// The schema has a table that this device cannot store; tables and queue are as they were. A removed column or table is
    /// never the reason.
    #[error("schema of table {table} refused: {why}")]
    SchemaRefused {
        /// The table.
        table: String,
        /// Why, and what to do.
        why: String,
    },
    /// A newer release has written this file; nothing was touched.
    #[error("database was written by a newer release (format {found}, this one knows {known})")]
    TooNew {
        /// The file's format.
        found: i64,
        /// The newest format of this release.
        known: i64,
    },
    /// The file is no database, or is damaged; nothing was written.
    #[error("database is corrupt: {0}")]
    Corrupt(String),
    /// The file or its folder cannot be written; nothing was changed.
    #[error("database is read-only: {0}")]
    ReadOnly(String),
    /// The disk is full; the transaction was rolled back.
    #[error("disk full; the transaction was rolled back")]
    Full,
    /// The disk failed; the transaction was rolled back.
    #[error("input or output failed: {0}")]
    Io(String),
    /// Another process has the file open; nothing was changed.
    #[error("{path} is open in another process")]
    Locked {
        /// The file.
        path: String,
    },
    /// The file belongs to another user; nothing was touched.
    #[error("database belongs to another user and holds {pending} unsent mutations")]
    WrongUser {
        /// How many of the other user's mutations wait.
        pending: u64,
    },
    /// The configuration is wrong; every problem is named.
    #[error("configuration: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The engine is suspended, or was while this ran; the transaction was rolled back.
    #[error("suspended; the transaction was rolled back")]
    Suspended,
    /// The client was shut down.
    #[error("the client was shut down")]
    Shutdown,
    /// No server could be reached; the queue is intact and will be sent again.
    #[error("server unreachable: {0}")]
    Offline(String),
    /// Credentials are missing or refused; the queue waits until there are new ones.
    #[error("credentials are missing or refused")]
    NeedsAuth,
    /// The server asks for a newer app; the queue waits.
    #[error("the server asks for a newer version of the app: {0}")]
    UpgradeRequired(String),
    /// The server answered with an error; the queue is intact.
    #[error("server answered {status} {code}: {message}")]
    Server {
        /// HTTP status.
        status: u16,
        /// One of `rejoin_protocol::wire::code`, or empty from a plain server.
        code: String,
        /// For people.
        message: String,
        /// Whether the same request may succeed later.
        retryable: bool,
    },
    /// The server's answer is not of the protocol; nothing of it was applied.
    #[error("answer not understood: {0}")]
    Protocol(String),
    /// A function of the app failed.
    #[error("callback failed: {0}")]
    Foreign(String),
    /// A bug of the engine; the transaction was rolled back. Please report it with `diagnose()`.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Why an action was not performed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionFault {
    /// No action of this name is registered.
    #[error("no such action is registered; name it in Services::actions")]
    Unknown,
    /// The arguments are not those that it takes; every problem is named.
    #[error("arguments: {}", .0.join("; "))]
    Arguments(Vec<String>),
    /// A rule of the app says no, in its words.
    #[error("{0}")]
    Precondition(String),
    /// It took longer than it may ([`Budget::run`](crate::Budget::run)), and was interrupted or rolled back.
    #[error("it took longer than {most:?}; do less at a time, or allow more by the action budget")]
    TooSlow {
        /// What is allowed.
        most: std::time::Duration,
    },
    /// It writes more than it may ([`Budget::bytes`](crate::Budget::bytes)).
    #[error(
        "it writes more than {most} bytes; do less at a time, or allow more by the action budget"
    )]
    TooLarge {
        /// What is allowed.
        most: usize,
    },
    /// It makes two rows that nothing tells apart, and that have one id therefore.
    #[error("two rows of {table} with one identity; add to the identity what tells them apart")]
    SameRow {
        /// The table.
        table: String,
    },
    /// Its code waits for something, and had not ended in time.
    #[error("its code did not end in time; let it wait for nothing but its context")]
    TimedOut,
}

impl Error {
    /// Whether it is no fault of what was asked: nothing can be concluded from it about a write.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        matches!(
            self,
            Self::Suspended
                | Self::Shutdown
                | Self::Full
                | Self::Io(_)
                | Self::Corrupt(_)
                | Self::ReadOnly(_)
                | Self::Locked { .. }
                | Self::Internal(_)
        )
    }

    /// The same, of this statement of a batch, if it is a statement's fault.
    pub(crate) fn in_batch(self, index: usize) -> Self {
        match self {
            Self::Suspended | Self::Shutdown => self,
            error => Self::Batch { index, error: Box::new(error) },
        }
    }
}
