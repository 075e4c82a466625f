//! Why a transaction or snapshot has ended, and the interface by which it is ended from outside.
//!
//! The owners of connections (the writer, the readers) decide when; the code that serves handles ends the transaction and
//! keeps the reason. Both depend on these types only, not on each other.

use crate::error::{Error, Result};
use std::sync::Arc;

/// Something whose end others decide too.
pub(crate) trait Leave: Send + Sync {
    /// The file is about to be let go.
    fn leave(&self, ending: &Ending);
}

/// Who ends what is held, when the file is to be let go. One thing is held at a time.
pub(crate) trait Keeper: Send + Sync {
    /// From now on `held` is what waits for its holder. An error if nothing may be held.
    fn hold(&self, held: Arc<dyn Leave>) -> Result<()>;
    /// It is over.
    fn release(&self);
}

/// Why a transaction cannot go on: everything will be rolled back, whatever its closure answers.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    /// A failed statement left rows behind, and what was captured of them cannot be told apart (D1).
    Partial(String),
    /// SQLite rolled the transaction back: `OR ROLLBACK`, an interrupt, a full disk.
    BySqlite(String),
}

impl Ended {
    /// What later statements, and the commit, answer.
    pub(crate) fn error(&self) -> Error {
        match self {
            Self::Partial(words) => Error::PartialStatement(words.clone()),
            Self::BySqlite(words) => Error::Refused {
                what: String::from("the transaction"),
                why: format!("an earlier statement ended it, everything was rolled back: {words}"),
            },
        }
    }
}

/// Why a held transaction or snapshot is over.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    Committed,
    RolledBack,
    /// A snapshot's holder has seen enough.
    Finished,
    /// The code of an action has come to its end.
    Acted,
    TimedOut,
    Suspended,
    Shutdown,
    /// A statement left no way on.
    Ended(Ended),
    /// The commit failed, or the engine did; in these words.
    Failed(String),
}

impl Ending {
    /// After a commit that failed, or a begin.
    pub(crate) fn of_failure(error: &Error) -> Self {
        match error {
            Error::Suspended => Self::Suspended,
            Error::Shutdown => Self::Shutdown,
            error => Self::Failed(error.to_string()),
        }
    }

    /// What later orders are answered.
    pub(crate) fn error(&self) -> Error {
        let over = |what: &str, why: &str| Error::Refused {
            what: format!("a call on {what}"),
            why: format!("it {why} before; begin a new one"),
        };
        match self {
            Self::Committed => over("the transaction", "was committed"),
            Self::RolledBack => over("the transaction", "was rolled back"),
            Self::Finished => over("the snapshot", "was finished"),
            Self::Acted => Error::Refused {
                what: "a call on an action's context".to_owned(),
                why: "the action has ended; it must wait for each call before".to_owned(),
            },
            Self::TimedOut => Error::TransactionTimeout,
            Self::Suspended => Error::Suspended,
            Self::Shutdown => Error::Shutdown,
            Self::Ended(ended) => ended.error(),
            Self::Failed(words) => Error::Refused {
                what: "a call on the transaction".to_owned(),
                why: format!("it failed and was rolled back: {words}"),
            },
        }
    }
}
