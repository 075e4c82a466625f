//! Reasons why a transaction or snapshot ended, and the interface to end one from outside.
//!
//! The owners of connections (the writer, the readers) decide when to end it; the code that serves
//! a handle ends it and stores the reason. Both depend only on these types, not on each other.

use crate::error::{Error, InputFault, Result};
use std::sync::Arc;

/// A transaction or snapshot that can be ended from outside.
pub(crate) trait CancelHandle: Send + Sync {
    /// Ends it, because the file is about to be closed.
    fn leave(&self, ending: &EndReason);
}

/// Ends the open interactive transaction when the file is closed. At most one is open.
pub(crate) trait LeaseOwner: Send + Sync {
    /// Registers `held`, so that closing the file ends it. An error if the file is being closed.
    fn hold(&self, held: Arc<dyn CancelHandle>) -> Result<()>;
    /// Unregisters it.
    fn release(&self);
}

/// Why a transaction cannot continue. It is rolled back, whatever its closure returns.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    /// A failed statement left rows behind, and the capture cannot tell which.
    Partial(String),
    /// SQLite rolled the transaction back: `OR ROLLBACK`, an interrupt, a full disk.
    BySqlite(String),
}

impl Ended {
    /// The error of later statements and of the commit.
    pub(crate) fn error(&self) -> Error {
        match self {
            Self::Partial(message) => {
                Error::InvalidInput(InputFault::PartialStatement(message.clone()))
            }
            Self::BySqlite(message) => Error::InvalidInput(InputFault::Refused {
                what: String::from("the transaction"),
                reason: format!(
                    "an earlier statement ended it, everything was rolled back: {message}"
                ),
            }),
        }
    }
}

/// Why an interactive transaction or snapshot ended.
#[derive(Debug, Clone)]
pub(crate) enum EndReason {
    Committed,
    RolledBack,
    /// The holder finished the snapshot.
    Finished,
    /// The code of an action returned.
    Acted,
    TimedOut,
    Suspended,
    Shutdown,
    /// A statement ended the transaction.
    Ended(Ended),
    /// The commit or the engine failed, with this message.
    Failed(String),
}

impl EndReason {
    /// The reason after a failed commit or begin.
    pub(crate) fn of_failure(error: &Error) -> Self {
        match error {
            Error::Suspended => Self::Suspended,
            Error::Closed => Self::Shutdown,
            error => Self::Failed(error.to_string()),
        }
    }

    /// The error of later calls.
    pub(crate) fn error(&self) -> Error {
        let over = |what: &str, why: &str| {
            Error::InvalidInput(InputFault::Refused {
                what: format!("a call on {what}"),
                reason: format!("it {why} before; begin a new one"),
            })
        };
        match self {
            Self::Committed => over("the transaction", "was committed"),
            Self::RolledBack => over("the transaction", "was rolled back"),
            Self::Finished => over("the snapshot", "was finished"),
            Self::Acted => Error::InvalidInput(InputFault::Refused {
                what: "a call on an action's context".to_owned(),
                reason: "the action has ended; it must wait for each call before".to_owned(),
            }),
            Self::TimedOut => Error::TransactionTimeout,
            Self::Suspended => Error::Suspended,
            Self::Shutdown => Error::Closed,
            Self::Ended(ended) => ended.error(),
            Self::Failed(message) => Error::InvalidInput(InputFault::Refused {
                what: "a call on the transaction".to_owned(),
                reason: format!("it failed and was rolled back: {message}"),
            }),
        }
    }
}
