//! Why a held transaction or snapshot is over, and how it is told that it must be.
//!
//! Those who hold the connections (the writer, the readers) decide ends; those who serve handles carry them out and remember
//! why. Both know of these words only, not of each other.

use crate::engine::run::Ended;
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
