//! Beginning anew in the same file.

use rejoin_core as core;

use crate::RejoinClient;
use crate::error::Result;
use crate::queue::{PendingMutation, named};

/// What stays in the file when it begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Keep {
    /// Everything that is not the server's: what waits, the history, the user, local-only tables. The rows of the server go, and
    /// the next sync fetches them as the first one did.
    Pending,
    /// Local-only tables. Rows, queue, history, the device's id and its user go: the file is the next user's to take.
    Local,
    /// The tables, all of them empty, and their schema.
    Nothing,
}

/// What a reset took away, for whoever has to show it or to keep it elsewhere.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ResetReport {
    /// What waited for the server or was parked, and went: all that the app had named, with every value that was written.
    pub given_up: Vec<PendingMutation>,
    /// Rows of synced tables that went, with what waited on them.
    pub rows: i64,
    /// Rows of local-only tables that went.
    pub local_rows: i64,
}

#[uniffi::export]
impl RejoinClient {
    /// Begins anew in the same file: `keep` says what stays; the tables do in any case, and watches go on over them.
    ///
    /// What waits for the server is the user's work, and goes only by name: `give_up` lists every mutation of `pending`, parked
    /// ones too, unless the queue stays. One transaction, also before a crash; works offline. If syncing is on, its pass ends, and
    /// the next one begins with what the token provider then gives: tell it of the next user before.
    ///
    /// Throws `Unsent` if something waits that is not named, and `InvalidInput` if something is named and the queue stays:
    /// nothing was changed then.
    pub async fn reset(&self, keep: Keep, give_up: Vec<String>) -> Result<ResetReport> {
        let give_up = give_up.iter().map(|id| named(id)).collect::<Result<_>>()?;
        let reset = self.inner.reset(keep.into(), give_up).await?;
        Ok(ResetReport {
            given_up: reset.given_up.into_iter().map(PendingMutation::from).collect(),
            rows: i64::try_from(reset.rows).unwrap_or(i64::MAX),
            local_rows: i64::try_from(reset.local_rows).unwrap_or(i64::MAX),
        })
    }
}

impl From<Keep> for core::Keep {
    fn from(keep: Keep) -> Self {
        match keep {
            Keep::Pending => Self::Pending,
            Keep::Local => Self::Local,
            Keep::Nothing => Self::Nothing,
        }
    }
}
