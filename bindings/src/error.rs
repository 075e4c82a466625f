//! The error type of the FFI boundary: a few kinds, by what a caller can do, each with a reason.
//!
//! They are the variants of the core's error, with those of its queue and its exchanges that a
//! caller handles apart. The field is called `reason` because exceptions in Kotlin already have a
//! `message`.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use rejoin_core as core;
use rejoin_core::{Error, QueueFault, SyncFault};

use crate::value::{SqlValue, small};

/// Why an action failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ActionFault {
    /// No action of this name is registered.
    Unknown,
    /// The arguments are invalid.
    Arguments,
    /// A precondition of the action failed. A handler throws it to refuse.
    Refused,
    /// It inserts two rows with the same identity, which would get the same id.
    SameRow,
    /// Its code was idle for too long.
    TimedOut,
}

/// Why the server refuses a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum RefusalCode {
    /// The server has no stream of this name.
    UnknownStream,
    /// A parameter is missing, unknown, or no value of its type.
    InvalidParameter,
    /// The user may not read these rows.
    Forbidden,
    /// The server's query for the right failed or returned several rows.
    QueryFailed,
    /// A reason of a later release.
    Unknown,
}

/// The value of a column.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ColumnValue {
    /// The column's name.
    pub name: String,
    /// Its value.
    pub value: SqlValue,
}

/// A row that differs from what a mutation wrote.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ChangedRow {
    /// The table's name.
    pub table: String,
    /// The row's key.
    pub key: SqlValue,
    /// The columns that have another value; empty if the row was deleted or inserted again.
    pub columns: Vec<String>,
    /// What the mutation wrote; nothing if it deleted the row.
    pub wrote: Option<Vec<ColumnValue>>,
    /// The current row; nothing if there is none.
    pub present: Option<Vec<ColumnValue>>,
}

/// An error, by what a caller can do about it.
///
/// An error loses nothing: a failed statement or transaction was rolled back as a whole, and
/// pending mutations stay in the queue. `reason` is a complete message for developers.
#[derive(Debug, Clone, PartialEq, thiserror::Error, uniffi::Error)]
pub enum RejoinError {
    /// The call is invalid: SQL that does not compile, a value that cannot be synced, an unsynced
    /// table, a call inside a transaction that would wait for itself. Nothing was changed.
    #[error("{reason}")]
    InvalidInput {
        /// What is wrong, and what to do instead.
        reason: String,
    },
    /// A declared rule of a table does not hold; the statement was rolled back.
    #[error("{reason}")]
    Constraint {
        /// What happened, in one sentence.
        reason: String,
        /// The table.
        table: String,
        /// The column, or columns joined by a comma.
        column: String,
        /// `NOT NULL`, `UNIQUE`, `CHECK` with its name, or `FOREIGN KEY`.
        rule: String,
    },
    /// An action failed; it was rolled back.
    #[error("{reason}")]
    Action {
        /// The failure, in one sentence.
        reason: String,
        /// The action's name.
        action: String,
        /// The kind of failure.
        fault: ActionFault,
        /// The app's message of a refusal; the invalid arguments; the table of two equal rows; else
        /// empty.
        detail: String,
    },
    /// One run of an action exceeded its time limit and was rolled back. Do less, or raise the
    /// limit.
    #[error("{reason}")]
    ActionTooSlow {
        /// The failure, in one sentence.
        reason: String,
        /// The action's name.
        action: String,
        /// The limit: `run_ms` of the budget.
        limit_ms: u32,
    },
    /// One run of an action wrote too much and was rolled back. Do less, or raise the limit.
    #[error("{reason}")]
    ActionTooLarge {
        /// The failure, in one sentence.
        reason: String,
        /// The action's name.
        action: String,
        /// The limit: `bytes` of the budget.
        limit_bytes: u32,
    },
    /// The mutation needs a row of a parked mutation. Retry that one, with its chain.
    #[error("{reason}")]
    ParentParked {
        /// The dependency.
        reason: String,
        /// The parked mutation.
        id: String,
    },
    /// A reset would delete pending or parked mutations that the call does not list. Nothing was
    /// changed.
    #[error("{reason}")]
    Unsent {
        /// What to do.
        reason: String,
        /// How many.
        waiting: u32,
    },
    /// The undo would overwrite later changes. Nothing was changed.
    #[error("{reason}")]
    Changed {
        /// What to do.
        reason: String,
        /// The rows, as the mutation left them and as they are.
        rows: Vec<ChangedRow>,
    },
    /// The file, the disk or the memory failed: damaged, read-only, full, open in another process, or written
    /// by a newer release. The transaction was rolled back.
    #[error("{reason}")]
    Storage {
        /// The problem.
        reason: String,
    },
    /// The file belongs to another user; nothing was changed.
    #[error("{reason}")]
    WrongUser {
        /// The owner of the file.
        reason: String,
    },
    /// The configuration is invalid; nothing was opened.
    #[error("{reason}")]
    Configuration {
        /// All problems, separated by semicolons.
        reason: String,
    },
    /// The client is, or was, suspended; the transaction was rolled back. Call `resume` first.
    #[error("{reason}")]
    Suspended {
        /// What was interrupted.
        reason: String,
    },
    /// The client was shut down; open it again.
    #[error("{reason}")]
    Closed {
        /// What ended it.
        reason: String,
    },
    /// An interactive transaction or snapshot was idle for too long, or a read was open while the
    /// write-ahead log grew; it was rolled back.
    #[error("{reason}")]
    TransactionTimeout {
        /// What was rolled back.
        reason: String,
    },
    /// No server could be reached in time. The queue is unchanged and will be sent later.
    #[error("{reason}")]
    Offline {
        /// The result of the last attempt.
        reason: String,
    },
    /// Credentials are missing or rejected: sign in again. The queue waits for new ones.
    #[error("{reason}")]
    Unauthorized {
        /// What was rejected.
        reason: String,
    },
    /// The server requires a newer version of the app; the queue waits.
    #[error("{reason}")]
    UpgradeRequired {
        /// The server's message.
        reason: String,
    },
    /// The server returned an error; the queue is unchanged.
    #[error("{reason}")]
    Server {
        /// The server's message.
        reason: String,
        /// The HTTP status.
        status: u16,
        /// The server's error code, or empty.
        code: String,
        /// Whether the same request may succeed later.
        retryable: bool,
    },
    /// The server refuses a subscription to a stream. It stays, and brings rows if the server accepts
    /// it later.
    #[error("{reason}")]
    SubscriptionRefused {
        /// The refusal, in one sentence.
        reason: String,
        /// The stream's name.
        stream: String,
        /// Why, for programs.
        refusal: RefusalCode,
        /// The server's message.
        detail: String,
    },
    /// The server's response is invalid; nothing of it was applied.
    #[error("{reason}")]
    Protocol {
        /// What is invalid.
        reason: String,
    },
    /// A function of the app threw an exception that it must not throw.
    #[error("{reason}")]
    Callback {
        /// The exception.
        reason: String,
    },
    /// A bug in the engine; the transaction was rolled back. Please report it with `diagnose`.
    #[error("{reason}")]
    Internal {
        /// What was found.
        reason: String,
    },
}

/// The result of the exported methods.
pub(crate) type Result<T, E = RejoinError> = std::result::Result<T, E>;

/// The text of an error. The engine's reasons for a refusal may name other calls; what was refused
/// may be an SQL function.
fn text_of(error: &Error) -> String {
    match error {
        Error::InvalidInput(core::InputFault::Refused { what, reason }) => {
            let reason = with_camel_case_calls(reason);
            core::InputFault::Refused { what: what.clone(), reason }.to_string()
        }
        Error::Batch { error: inner, .. } => {
            error.to_string().replace(&inner.to_string(), &text_of(inner))
        }
        _ => error.to_string(),
    }
}

/// A text with its calls named as in Kotlin, Swift and TypeScript: `executeScript()` instead of
/// `execute_script()`. SQL functions keep their names.
fn with_camel_case_calls(text: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let renamed = |part: &str| {
        let part = part.strip_suffix("()")?;
        let before = part.trim_end_matches(is_name);
        let mut words = part[before.len()..].split('_');
        let first = words.next().filter(|word| *word != "rejoin")?;
        let others = words.map(|word| {
            let (initial, rest) = word.split_at(word.len().min(1));
            initial.to_ascii_uppercase() + rest
        });
        Some(format!("{before}{first}{}()", others.collect::<String>()))
    };
    let parts = text.split_inclusive("()");
    parts.map(|part| renamed(part).unwrap_or_else(|| part.to_owned())).collect()
}

impl From<Error> for RejoinError {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for RejoinError {
    fn from(error: &Error) -> Self {
        let reason = text_of(error);
        match error {
            Error::InvalidInput(_) => Self::InvalidInput { reason },
            Error::Constraint { table, column, rule } => {
                let (table, column, rule) = (table.clone(), column.clone(), rule.clone());
                Self::Constraint { reason, table, column, rule }
            }
            Error::Action { action, fault } => Self::of_action(reason, action.clone(), fault),
            // The kind of the failed statement, with a reason that names the statement.
            Error::Batch { error, .. } => Self::from(&**error).because(reason),
            Error::Queue(fault) => Self::of_queue(reason, fault),
            Error::Storage(_) => Self::Storage { reason },
            Error::WrongUser { .. } => Self::WrongUser { reason },
            Error::Configuration(_) => Self::Configuration { reason },
            Error::Suspended => Self::Suspended { reason },
            Error::Closed => Self::Closed { reason },
            Error::TransactionTimeout => Self::TransactionTimeout { reason },
            Error::Sync(fault) => Self::of_sync(reason, fault),
            Error::Callback(_) => Self::Callback { reason },
            // Also an error that a newer core has: its reason says what to do.
            _ => Self::Internal { reason },
        }
    }
}

impl RejoinError {
    fn of_queue(reason: String, fault: &QueueFault) -> Self {
        match fault {
            QueueFault::ParentParked(id) => Self::ParentParked { reason, id: id.to_string() },
            QueueFault::Unsent { waiting } => Self::Unsent { reason, waiting: small(*waiting) },
            QueueFault::Changed { rows } => {
                Self::Changed { reason, rows: rows.iter().map(ChangedRow::from).collect() }
            }
            _ => Self::InvalidInput { reason },
        }
    }

    fn of_sync(reason: String, fault: &SyncFault) -> Self {
        match fault {
            SyncFault::Offline(_) => Self::Offline { reason },
            SyncFault::Unauthorized => Self::Unauthorized { reason },
            SyncFault::UpgradeRequired(_) => Self::UpgradeRequired { reason },
            SyncFault::Server { status, code, message: _, retryable } => {
                let (status, code, retryable) = (*status, code.clone(), *retryable);
                Self::Server { reason, status, code, retryable }
            }
            SyncFault::SubscriptionRefused { stream, code, message } => {
                let (stream, refusal, detail) = (stream.clone(), (*code).into(), message.clone());
                Self::SubscriptionRefused { reason, stream, refusal, detail }
            }
            _ => Self::Protocol { reason },
        }
    }

    /// The error of a failed action.
    fn of_action(reason: String, action: String, fault: &core::ActionFault) -> Self {
        let (fault, detail) = match fault {
            core::ActionFault::Unknown => (ActionFault::Unknown, String::new()),
            core::ActionFault::Arguments(problems) => (ActionFault::Arguments, problems.join("; ")),
            core::ActionFault::Precondition(message) => (ActionFault::Refused, message.clone()),
            core::ActionFault::SameRow { table } => (ActionFault::SameRow, table.clone()),
            core::ActionFault::TimedOut => (ActionFault::TimedOut, String::new()),
            core::ActionFault::TooSlow { limit } => {
                let limit_ms = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
                return Self::ActionTooSlow { reason, action, limit_ms };
            }
            core::ActionFault::TooLarge { limit } => {
                let limit_bytes = u32::try_from(*limit).unwrap_or(u32::MAX);
                return Self::ActionTooLarge { reason, action, limit_bytes };
            }
        };
        Self::Action { reason, action, fault, detail }
    }
}

impl From<core::RefusalCode> for RefusalCode {
    fn from(code: core::RefusalCode) -> Self {
        match code {
            core::RefusalCode::UnknownStream => Self::UnknownStream,
            core::RefusalCode::InvalidParameter => Self::InvalidParameter,
            core::RefusalCode::Forbidden => Self::Forbidden,
            core::RefusalCode::QueryFailed => Self::QueryFailed,
            core::RefusalCode::Unknown => Self::Unknown,
        }
    }
}

impl From<&core::ChangedRow> for ChangedRow {
    fn from(row: &core::ChangedRow) -> Self {
        let values = |values: &Vec<(String, core::Value)>| {
            let value = |(name, value): &(String, core::Value)| ColumnValue {
                name: name.clone(),
                value: value.clone().into(),
            };
            values.iter().map(value).collect()
        };
        Self {
            table: row.table.clone(),
            key: row.key.clone().into(),
            columns: row.columns.clone(),
            wrote: row.wrote.as_ref().map(values),
            present: row.present.as_ref().map(values),
        }
    }
}

impl RejoinError {
    /// Replaces the reason.
    fn because(mut self, because: String) -> Self {
        let (Self::InvalidInput { reason }
        | Self::Constraint { reason, .. }
        | Self::Action { reason, .. }
        | Self::ActionTooSlow { reason, .. }
        | Self::ActionTooLarge { reason, .. }
        | Self::ParentParked { reason, .. }
        | Self::Unsent { reason, .. }
        | Self::Changed { reason, .. }
        | Self::Storage { reason }
        | Self::WrongUser { reason }
        | Self::Configuration { reason }
        | Self::Suspended { reason }
        | Self::Closed { reason }
        | Self::TransactionTimeout { reason }
        | Self::Offline { reason }
        | Self::Unauthorized { reason }
        | Self::UpgradeRequired { reason }
        | Self::Server { reason, .. }
        | Self::SubscriptionRefused { reason, .. }
        | Self::Protocol { reason }
        | Self::Callback { reason }
        | Self::Internal { reason }) = &mut self;
        *reason = because;
        self
    }
}

/// An undeclared exception of a foreign function, or one that could not be read.
impl From<uniffi::UnexpectedUniFFICallbackError> for RejoinError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Callback { reason: error.reason }
    }
}

/// Awaits a foreign function. A panic or an unreadable result becomes an error: the call runs
/// inside the engine's tasks, which must continue.
pub(crate) async fn calm<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    let panicked = |_| RejoinError::Callback { reason: "the app's function panicked".to_owned() };
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(panic)))
}
