//! The one error that crosses: few kinds, by what a caller can do; every one carries its reason in words.
//!
//! Promise: the conversion names each error of the core, without a wildcard, so that a new one does not compile until it has a
//! meaning here. The field is called `reason` because exceptions in Kotlin already have a `message`.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use rejoin_core as core;
use rejoin_core::Error;

use crate::value::{SqlValue, small};

/// Why an action was not performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ActionFault {
    /// No action of this name is registered.
    Unknown,
    /// The arguments are not those that it takes.
    Arguments,
    /// A rule of the app says no. A handler throws it to say so.
    Refused,
    /// It makes two rows that nothing tells apart, and that have one id therefore.
    SameRow,
    /// Its code waits for something, and had not ended in time.
    TimedOut,
}

/// The value of a column.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ColumnValue {
    /// The column's name.
    pub name: String,
    /// Its value.
    pub value: SqlValue,
}

/// A row that is not as a mutation left it.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ChangedRow {
    /// The table's name.
    pub table: String,
    /// The row's key.
    pub key: SqlValue,
    /// The columns that have another value; empty if the row went, or is back.
    pub columns: Vec<String>,
    /// What the mutation wrote; nothing if it removed the row.
    pub wrote: Option<Vec<ColumnValue>>,
    /// The row as it is seen now; nothing if there is none.
    pub present: Option<Vec<ColumnValue>>,
}

/// What went wrong, by what a caller can do about it.
///
/// Nothing is lost by an error: a statement or transaction that failed was rolled back as a whole, and what waits for the
/// server goes on waiting. `reason` is written for developers and makes sense alone.
#[derive(Debug, Clone, PartialEq, thiserror::Error, uniffi::Error)]
pub enum RejoinError {
    /// The call cannot be served as it is: SQL that does not compile, a value that cannot be synced, a table that is not synced,
    /// a call from inside a transaction that would wait for itself. Nothing was changed.
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
    /// An action was not performed; nothing of it was kept.
    #[error("{reason}")]
    Action {
        /// What is the matter, in one sentence.
        reason: String,
        /// The action's name.
        action: String,
        /// What kind of matter.
        fault: ActionFault,
        /// The app's own words for a refusal; what is wrong with the arguments; the table of two equal rows; else empty.
        words: String,
    },
    /// One run of an action took longer than it may; nothing of it was kept. Do less at a time, or allow more.
    #[error("{reason}")]
    ActionTooSlow {
        /// What is the matter, in one sentence.
        reason: String,
        /// The action's name.
        action: String,
        /// What is allowed: `run_ms` of the budget.
        most_ms: u32,
    },
    /// One run of an action wrote more than it may; nothing of it was kept. Do less at a time, or allow more.
    #[error("{reason}")]
    ActionTooLarge {
        /// What is the matter, in one sentence.
        reason: String,
        /// The action's name.
        action: String,
        /// What is allowed: `bytes` of the budget.
        most_bytes: u32,
    },
    /// The mutation stands on a row that another one makes, which is parked. Retry that, with its chain.
    #[error("{reason}")]
    StandsOn {
        /// What stands on what.
        reason: String,
        /// The parked mutation.
        id: String,
    },
    /// Mutations wait or are parked that were not named, and a reset gives nobody's work up unnamed; nothing was changed.
    #[error("{reason}")]
    Unsent {
        /// What to do.
        reason: String,
        /// How many.
        waiting: u32,
    },
    /// What was to be taken back does not stand any more: rows have changed since. Nothing was changed.
    #[error("{reason}")]
    Changed {
        /// What to do.
        reason: String,
        /// The rows, as they were left and as they are.
        rows: Vec<ChangedRow>,
    },
    /// The file or the disk failed: damaged, read-only, full, open in another process, written by a newer release. What ran was
    /// rolled back.
    #[error("{reason}")]
    Storage {
        /// What is the matter with it.
        reason: String,
    },
    /// The file belongs to another user; nothing was touched.
    #[error("{reason}")]
    WrongUser {
        /// Whose data is at stake.
        reason: String,
    },
    /// The configuration is wrong; every problem is named. Nothing was opened.
    #[error("{reason}")]
    Configuration {
        /// All problems, separated by semicolons.
        reason: String,
    },
    /// The client is suspended, or was while this ran; what ran was rolled back. Call `resume` first.
    #[error("{reason}")]
    Suspended {
        /// What was interrupted.
        reason: String,
    },
    /// The client was shut down; open it again.
    #[error("{reason}")]
    Ended {
        /// What ended it.
        reason: String,
    },
    /// A held transaction or snapshot was left alone for too long, or a read lasted while the write-ahead log grew; it was
    /// rolled back. Begin a new one, and end it sooner.
    #[error("{reason}")]
    TransactionTimeout {
        /// What was rolled back.
        reason: String,
    },
    /// No server could be reached, or not in time. The queue is intact and will be sent again.
    #[error("{reason}")]
    Offline {
        /// What the last attempt found.
        reason: String,
    },
    /// Credentials are missing or refused: sign in again. The queue waits until there are new ones.
    #[error("{reason}")]
    Unauthorized {
        /// What was refused.
        reason: String,
    },
    /// The server asks for a newer version of the app; the queue waits.
    #[error("{reason}")]
    UpgradeRequired {
        /// The server's words.
        reason: String,
    },
    /// The server answered with an error; the queue is intact.
    #[error("{reason}")]
    Server {
        /// What the server said.
        reason: String,
        /// The HTTP status.
        status: u16,
        /// The server's word for it, or empty.
        code: String,
        /// Whether the same request may succeed later.
        retryable: bool,
    },
    /// The server's answer was not understood; nothing of it was applied.
    #[error("{reason}")]
    Protocol {
        /// What was not understood.
        reason: String,
    },
    /// A function of the app threw, where it may not.
    #[error("{reason}")]
    Callback {
        /// What it threw.
        reason: String,
    },
    /// A bug of the engine; what ran was rolled back. Please report it with the bundle of `diagnose`.
    #[error("{reason}")]
    Internal {
        /// What was found.
        reason: String,
    },
}

/// What the methods here give.
pub(crate) type Result<T, E = RejoinError> = std::result::Result<T, E>;

impl From<Error> for RejoinError {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for RejoinError {
    // No wildcard arm: a new error of the core must be given a meaning before this compiles.
    fn from(error: &Error) -> Self {
        let reason = error.to_string();
        match error {
            Error::Sql(_)
            | Error::Refused { .. }
            | Error::Value { .. }
            | Error::PartialStatement(_)
            | Error::Reentrant
            | Error::NotSynced(_)
            | Error::UnknownMutation(_)
            | Error::Uncertain(_)
            | Error::SchemaRefused { .. } => Self::InvalidInput { reason },
            Error::Rule { table, column, rule } => {
                let (table, column, rule) = (table.clone(), column.clone(), rule.clone());
                Self::Constraint { reason, table, column, rule }
            }
            Error::Action { action, fault } => Self::of_action(reason, action.clone(), fault),
            Error::StandsOn(id) => Self::StandsOn { reason, id: id.to_string() },
            Error::Unsent { waiting } => Self::Unsent { reason, waiting: small(*waiting) },
            Error::Changed { rows } => {
                Self::Changed { reason, rows: rows.iter().map(ChangedRow::from).collect() }
            }
            Error::TooNew { .. }
            | Error::Corrupt(_)
            | Error::ReadOnly(_)
            | Error::Full
            | Error::Io(_)
            | Error::Locked { .. } => Self::Storage { reason },
            Error::TransactionTimeout => Self::TransactionTimeout { reason },
            // The kind is that of the statement that failed; the words say which one it was.
            Error::Batch { error, .. } => Self::from(&**error).because(reason),
            Error::WrongUser { .. } => Self::WrongUser { reason },
            Error::Config(_) => Self::Configuration { reason },
            Error::Suspended => Self::Suspended { reason },
            Error::Shutdown => Self::Ended { reason },
            Error::Offline(_) => Self::Offline { reason },
            Error::NeedsAuth => Self::Unauthorized { reason },
            Error::UpgradeRequired(_) => Self::UpgradeRequired { reason },
            Error::Server { status, code, message: _, retryable } => {
                let (status, code, retryable) = (*status, code.clone(), *retryable);
                Self::Server { reason, status, code, retryable }
            }
            Error::Protocol(_) => Self::Protocol { reason },
            Error::Foreign(_) => Self::Callback { reason },
            Error::Internal(_) => Self::Internal { reason },
        }
    }
}

impl RejoinError {
    /// Why this action was not performed.
    fn of_action(reason: String, action: String, fault: &core::ActionFault) -> Self {
        let (fault, words) = match fault {
            core::ActionFault::Unknown => (ActionFault::Unknown, String::new()),
            core::ActionFault::Arguments(problems) => (ActionFault::Arguments, problems.join("; ")),
            core::ActionFault::Precondition(words) => (ActionFault::Refused, words.clone()),
            core::ActionFault::SameRow { table } => (ActionFault::SameRow, table.clone()),
            core::ActionFault::TimedOut => (ActionFault::TimedOut, String::new()),
            core::ActionFault::TooSlow { most } => {
                let most_ms = u32::try_from(most.as_millis()).unwrap_or(u32::MAX);
                return Self::ActionTooSlow { reason, action, most_ms };
            }
            core::ActionFault::TooLarge { most } => {
                let most_bytes = u32::try_from(*most).unwrap_or(u32::MAX);
                return Self::ActionTooLarge { reason, action, most_bytes };
            }
        };
        Self::Action { reason, action, fault, words }
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
    /// The same, in other words.
    fn because(mut self, words: String) -> Self {
        let (Self::InvalidInput { reason }
        | Self::Constraint { reason, .. }
        | Self::Action { reason, .. }
        | Self::ActionTooSlow { reason, .. }
        | Self::ActionTooLarge { reason, .. }
        | Self::StandsOn { reason, .. }
        | Self::Unsent { reason, .. }
        | Self::Changed { reason, .. }
        | Self::Storage { reason }
        | Self::WrongUser { reason }
        | Self::Configuration { reason }
        | Self::Suspended { reason }
        | Self::Ended { reason }
        | Self::TransactionTimeout { reason }
        | Self::Offline { reason }
        | Self::Unauthorized { reason }
        | Self::UpgradeRequired { reason }
        | Self::Server { reason, .. }
        | Self::Protocol { reason }
        | Self::Callback { reason }
        | Self::Internal { reason }) = &mut self;
        *reason = words;
        self
    }
}

/// An exception that a foreign function may not throw, or one that could not be read.
impl From<uniffi::UnexpectedUniFFICallbackError> for RejoinError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Callback { reason: error.reason }
    }
}

/// What a foreign function gives. If its code panics, or what it gave cannot be read, that is its error: it runs inside the
/// engine's own tasks, which must go on.
pub(crate) async fn calm<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    let panicked = |_| RejoinError::Callback { reason: "the app's function panicked".to_owned() };
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(panic)))
}
