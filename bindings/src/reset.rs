//! Reset of a file.

use rejoin_core as core;

use crate::pending::PendingMutation;

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

impl From<Keep> for core::Keep {
    fn from(keep: Keep) -> Self {
        match keep {
            Keep::Pending => Self::Pending,
            Keep::Local => Self::Local,
            Keep::Nothing => Self::Nothing,
        }
    }
}
