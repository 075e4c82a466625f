//! The one error that crosses: few kinds, by what a caller can do; every one carries its reason in words.
//!
//! Promise: the conversion names each error of the core, without a wildcard, so that a new one does not compile until it has a
//! meaning here. The field is called `reason` because exceptions in Kotlin already have a `message`.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use rejoin_core::Error;

/// What went wrong, by what a caller can do about it.
///
/// Nothing is lost by an error: a statement or transaction that failed was rolled back as a whole, and what waits for the
/// server goes on waiting. `reason` is written for developers and makes sense alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
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
    /// A held transaction or snapshot was left alone for too long; it was rolled back. Begin a new one, and end it sooner.
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
    // No wildcard arm: a new error of the core must be given a meaning before this compiles.
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        match error {
            Error::Sql(_)
            | Error::Refused { .. }
            | Error::Value { .. }
            | Error::Action { .. }
            | Error::PartialStatement(_)
            | Error::Reentrant
            | Error::NotSynced(_)
            | Error::UnknownMutation(_)
            | Error::Uncertain(_)
            | Error::StandsOn(_)
            | Error::Unsent { .. }
            | Error::Changed { .. }
            | Error::SchemaRefused { .. } => Self::InvalidInput { reason },
            Error::Rule { table, column, rule } => Self::Constraint { reason, table, column, rule },
            Error::TooNew { .. }
            | Error::Corrupt(_)
            | Error::ReadOnly(_)
            | Error::Full
            | Error::Io(_)
            | Error::Locked { .. } => Self::Storage { reason },
            Error::TransactionTimeout => Self::TransactionTimeout { reason },
            // The kind is that of the statement that failed; the words say which one it was.
            Error::Batch { error, .. } => Self::from(*error).because(reason),
            Error::WrongUser { .. } => Self::WrongUser { reason },
            Error::Config(_) => Self::Configuration { reason },
            Error::Suspended => Self::Suspended { reason },
            Error::Shutdown => Self::Ended { reason },
            Error::Offline(_) => Self::Offline { reason },
            Error::NeedsAuth => Self::Unauthorized { reason },
            Error::UpgradeRequired(_) => Self::UpgradeRequired { reason },
            Error::Server { status, code, message: _, retryable } => {
                Self::Server { reason, status, code, retryable }
            }
            Error::Protocol(_) => Self::Protocol { reason },
            Error::Foreign(_) => Self::Callback { reason },
            Error::Internal(_) => Self::Internal { reason },
        }
    }
}

impl RejoinError {
    /// The same, in other words.
    fn because(mut self, words: String) -> Self {
        let (Self::InvalidInput { reason }
        | Self::Constraint { reason, .. }
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
