//! The error type of the crate: one variant per decision that a caller can take.
//!
//! Expected events are not errors: a rejected write is a verdict, being offline is a status. Each
//! variant documents the state of the data; what exactly failed is in its payload (`fault.rs`).

mod fault;

pub use fault::{ActionFault, ChangedRow, InputFault, QueueFault, StorageFault, SyncFault};

/// The result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error of the engine, by what a caller can do about it.
///
/// A failed statement or transaction was rolled back as a whole, and pending mutations stay in the
/// queue.
///
/// ```
/// # use rejoin_core::{Client, Config, Error, StorageFault};
/// # let client = Client::open(Config::temporary()).wait()?;
/// match client.execute("INSERT INTO note (body) VALUES ('milk')", ()).wait() {
///     Ok(rows) => println!("{rows} row(s) inserted"),
///     Err(Error::Constraint { column, rule, .. }) => println!("{column} violates {rule}"),
///     Err(Error::Storage(StorageFault::Full)) => println!("free some space, then try again"),
///     Err(error) => println!("{error}"), // Here: `sql: no such table: note; ...`.
/// }
/// # client.shutdown().wait()?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call is wrong: change it. Nothing was changed.
    #[error(transparent)]
    InvalidInput(#[from] InputFault),
    /// A declared rule does not hold; the statement was rolled back.
    #[error("{rule} constraint failed: {table}.{column}")]
    Constraint {
        /// The table.
        table: String,
        /// The column, or columns joined by a comma.
        column: String,
        /// `NOT NULL`, `UNIQUE`, `CHECK name` or `FOREIGN KEY`, as in SQLite's messages.
        rule: String,
    },
    /// An action failed; its transaction was rolled back.
    #[error("action {action}: {fault}")]
    Action {
        /// The action's name.
        action: String,
        /// The reason.
        fault: ActionFault,
    },
    /// A statement of a batch failed; the whole batch was rolled back.
    #[error("statement {index} of the batch: {error}")]
    Batch {
        /// Index of the statement; the first is 0.
        index: usize,
        /// Its error. Never [`Error::Suspended`] or [`Error::Closed`], which no statement causes.
        #[source]
        error: Box<Error>,
    },
    /// The queue, or the rows that a mutation wrote, do not allow the decision. Nothing was changed.
    #[error(transparent)]
    Queue(#[from] QueueFault),
    /// The file, the disk or the memory failed; the transaction was rolled back.
    #[error(transparent)]
    Storage(#[from] StorageFault),
    /// The file belongs to another user; nothing was changed.
    #[error("database belongs to another user and holds {pending} unsent mutations")]
    WrongUser {
        /// Number of pending mutations of the other user.
        pending: u64,
    },
    /// The configuration is invalid; the list has every problem. Nothing was opened.
    #[error("configuration: {}", .0.join("; "))]
    Configuration(Vec<String>),
    /// The engine is suspended, or was suspended during the call; the transaction was rolled back.
    /// Call [`SyncHandle::resume`](crate::SyncHandle::resume) first.
    #[error("suspended; the transaction was rolled back")]
    Suspended,
    /// The client was shut down; open it again.
    #[error("the client was shut down")]
    Closed,
    /// An interactive transaction or snapshot was idle for longer than `transaction_idle`, or a
    /// read was open while the write-ahead log grew to 16 times `wal_limit`. It was rolled back.
    #[error(
        "open for too long; the transaction was rolled back: begin a new one, and end it sooner"
    )]
    TransactionTimeout,
    /// An exchange with the server failed. The queue is unchanged and will be sent later.
    #[error(transparent)]
    Sync(#[from] SyncFault),
    /// A function of the app failed.
    #[error("callback failed: {0}")]
    Callback(String),
    /// A bug in the engine; the transaction was rolled back. Please report it with `diagnose()`.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// Whether the machine caused the error, so that it says nothing about the write.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        matches!(self, Self::Suspended | Self::Closed | Self::Internal(_) | Self::Storage(_))
    }

    /// Wraps an error that a statement of a batch caused.
    pub(crate) fn in_batch(self, index: usize) -> Self {
        match self {
            Self::Suspended | Self::Closed => self,
            error => Self::Batch { index, error: Box::new(error) },
        }
    }
}
