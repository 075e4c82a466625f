//! Reset of a file.

use rejoin_core as core;

use crate::RejoinClient;
use crate::error::Result;
use crate::queue::{PendingMutation, named};

/// What a reset keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Keep {
    /// Everything except the server's rows: the queue, the history, the user, local-only tables.
    /// The next sync fetches the rows as the first one did.
    Pending,
    /// Local-only tables. Rows, queue, history, device id and user are removed, for the next user.
    Local,
    /// Only the empty tables and their schema.
    Nothing,
}

/// What a reset removed, so that the app can show it or store it.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ResetReport {
    /// The pending and parked mutations that the call listed, with all written values.
    pub given_up: Vec<PendingMutation>,
    /// Number of removed rows of synced tables, with pending changes.
    pub rows: i64,
    /// Number of removed rows of local-only tables.
    pub local_rows: i64,
}

#[uniffi::export]
impl RejoinClient {
    /// Resets the file: `keep` decides what stays; the tables always stay and watches continue.
    ///
    /// Pending mutations are the user's work and are removed only if listed: unless the queue is
    /// kept, `give_up` must list every mutation of `pending`, including parked ones. One
    /// transaction; works offline. Running sync passes end, and the next one uses the token
    /// provider's next token: switch the provider to the next user first.
    ///
    /// Throws `Unsent` if an unaccepted mutation is not listed, and `InvalidInput` if any is listed
    /// while the queue is kept; then nothing was changed.
    pub async fn reset(&self, keep: Keep, give_up: Vec<String>) -> Result<ResetReport> {
        let give_up = give_up.iter().map(|id| named(id)).collect::<Result<_>>()?;
        let reset = self.inner.storage().reset(keep.into(), give_up).await?;
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
