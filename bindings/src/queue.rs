//! What waits for the server, in words that an app can show.

use rejoin_core as core;
use rejoin_core::MutationId;

use crate::RejoinClient;
use crate::config::millis;
use crate::error::{RejoinError, Result};
use crate::value::{SqlValue, small};

/// Where a local write stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum MutationState {
    /// Waits to be sent.
    Pending,
    /// On its way.
    Sent,
    /// Sent, and no answer came; it will be sent again as it is.
    Uncertain,
    /// Ended without being accepted; kept with its reason, blocks nothing.
    Parked,
}

/// Why a local write is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ParkReason {
    /// A rule of the server refuses the content.
    Rejected,
    /// A row has changed since.
    Conflicted,
    /// The server will not look at it.
    Refused,
    /// An action cannot run again.
    Unreplayable,
    /// Something that it stands on was parked.
    Depends,
    /// What is left of one that was accepted in part.
    Remainder,
    /// The server has failed on it too often, or for too long.
    ServerFault,
}

/// What was done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum PatchKind {
    /// It was made.
    Insert,
    /// Columns were changed.
    Update,
    /// It was removed.
    Delete,
}

/// What a local write did to a column.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct PendingColumn {
    /// The column's name.
    pub name: String,
    /// What stood there; NULL in an insert.
    pub old_value: SqlValue,
    /// What was written; NULL in a delete.
    pub new_value: SqlValue,
}

/// What a local write did to a row.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct PendingRow {
    /// The table's name.
    pub table: String,
    /// The row's key.
    pub key: SqlValue,
    /// What was done.
    pub operation: PatchKind,
    /// All columns for an insert or a delete, the changed ones for an update.
    pub columns: Vec<PendingColumn>,
}

/// A local write that the server has not accepted: one transaction of the app.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct PendingMutation {
    /// Its place in the queue; rises.
    pub seq: i64,
    /// Its name, here and on the server.
    pub id: String,
    /// Where it stands.
    pub state: MutationState,
    /// Why it is parked, if it is.
    pub reason: Option<ParkReason>,
    /// The server's words, and both rows of a conflict, as JSON.
    pub detail: Option<String>,
    /// The parked one that it stands on, if that is why it is parked.
    pub because_of: Option<String>,
    /// While it waits: the earlier one that must be accepted before it and that the server fails on at present.
    pub blocked_by: Option<String>,
    /// The action's name; nothing for plain SQL.
    pub action: Option<String>,
    /// When it was written: milliseconds since 1970.
    pub written_ms: i64,
    /// The number of its attempt, from 1; rises when its content is offered anew after a verdict.
    pub attempt: i64,
    /// What it wrote, a row each, in the order of first touch.
    pub rows: Vec<PendingRow>,
}

/// How many local writes stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct PendingCounts {
    /// Waiting to be sent.
    pub pending: u32,
    /// On their way.
    pub sent: u32,
    /// Sent, without an answer.
    pub uncertain: u32,
    /// Not accepted; the app's to decide.
    pub parked: u32,
}

/// What an app can show beside a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum RowSyncState {
    /// Nothing of this device waits on it.
    Synced,
    /// An edit waits to be sent.
    Pending,
    /// An edit is on its way.
    Sent,
    /// An edit was sent and no answer came; it will be sent again.
    Uncertain,
    /// An edit was not accepted, and the app has not decided yet what becomes of it.
    Parked,
}

/// How a local write ended.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum Verdict {
    /// The server has it, and the rows show it.
    Accepted,
    /// It was not accepted; it is kept with its reason, and blocks nothing. `pending` has the rest of it.
    Parked {
        /// Why.
        reason: Option<ParkReason>,
        /// The server's words, and both rows of a conflict, as JSON.
        detail: Option<String>,
    },
    /// It is neither waiting nor known as accepted: discarded, or never written here.
    Unknown,
}

#[uniffi::export]
impl RejoinClient {
    /// Everything that the server has not accepted, in the order in which it was written.
    ///
    /// Works offline, and tells what is in the file: nothing is missing after a crash.
    pub async fn pending(&self) -> Result<Vec<PendingMutation>> {
        Ok(self.inner.pending().await?.into_iter().map(PendingMutation::from).collect())
    }

    /// How many local writes stand where; cheap.
    pub async fn pending_counts(&self) -> Result<PendingCounts> {
        Ok(self.inner.pending_counts().await?.into())
    }

    /// What an app can show beside a row. For a whole list use the SQL function `rejoin_row_state('table', id)` in the query.
    ///
    /// Throws `InvalidInput` if the table is not synced.
    pub async fn row_sync_state(&self, table: String, key: SqlValue) -> Result<RowSyncState> {
        Ok(self.inner.row_sync_state(&table, key).await?.into())
    }

    /// Gives a waiting or parked write up for good: what it wrote leaves the rows.
    ///
    /// One that was sent and has no verdict goes from the rows too, and is withdrawn from the server; if the server had taken it
    /// already, it is taken back there, in its place. So it is on a server that speaks only Synchro v0.1.2, once its word is known.
    ///
    /// Throws `InvalidInput` if there is none of this name, and for one that was sent to a server that withdraws nothing: nothing was changed then.
    pub async fn discard(&self, id: String) -> Result<()> {
        Ok(self.inner.discard(named(&id)?).await?)
    }

    /// Waits until the server's verdict on a write of `pending` is here, and visible. Starts syncing if it was not started.
    ///
    /// Throws `Offline` after the timeout in milliseconds; without one it waits for a network. The write stays where it is.
    #[uniffi::method(default(timeout_ms = None))]
    pub async fn verdict(&self, id: String, timeout_ms: Option<u32>) -> Result<Verdict> {
        let (id, timeout) = (named(&id)?, timeout_ms.map(millis));
        Ok(self.inner.verdict(id, timeout).await?.into())
    }
}

pub(crate) fn named(id: &str) -> Result<MutationId> {
    let none = || RejoinError::InvalidInput { reason: format!("no mutation is named {id}") };
    MutationId::parse(id).ok_or_else(none)
}

impl From<core::MutationState> for MutationState {
    fn from(state: core::MutationState) -> Self {
        match state {
            core::MutationState::Pending => Self::Pending,
            core::MutationState::Sent => Self::Sent,
            core::MutationState::Uncertain => Self::Uncertain,
            core::MutationState::Parked => Self::Parked,
        }
    }
}

impl From<core::ParkReason> for ParkReason {
    fn from(reason: core::ParkReason) -> Self {
        match reason {
            core::ParkReason::Rejected => Self::Rejected,
            core::ParkReason::Conflicted => Self::Conflicted,
            core::ParkReason::Refused => Self::Refused,
            core::ParkReason::Unreplayable => Self::Unreplayable,
            core::ParkReason::Depends => Self::Depends,
            core::ParkReason::Remainder => Self::Remainder,
            core::ParkReason::ServerFault => Self::ServerFault,
        }
    }
}

impl From<core::PatchKind> for PatchKind {
    fn from(kind: core::PatchKind) -> Self {
        match kind {
            core::PatchKind::Insert => Self::Insert,
            core::PatchKind::Update => Self::Update,
            core::PatchKind::Delete => Self::Delete,
        }
    }
}

impl From<core::PendingRow> for PendingRow {
    fn from(row: core::PendingRow) -> Self {
        let columns = row.columns.into_iter().map(|column| PendingColumn {
            name: column.name,
            old_value: column.old.into(),
            new_value: column.new.into(),
        });
        let columns = columns.collect();
        Self { table: row.table, key: row.key.into(), operation: row.operation.into(), columns }
    }
}

impl From<core::Pending> for PendingMutation {
    fn from(pending: core::Pending) -> Self {
        Self {
            seq: pending.seq.0,
            id: pending.id.to_string(),
            state: pending.state.into(),
            reason: pending.reason.map(ParkReason::from),
            detail: pending.detail,
            because_of: pending.because_of.map(|id| id.to_string()),
            blocked_by: pending.blocked_by.map(|id| id.to_string()),
            action: pending.action,
            written_ms: pending.written_ms,
            attempt: pending.attempt,
            rows: pending.rows.into_iter().map(PendingRow::from).collect(),
        }
    }
}

impl From<core::Counts> for PendingCounts {
    fn from(counts: core::Counts) -> Self {
        Self {
            pending: small(counts.pending),
            sent: small(counts.sent),
            uncertain: small(counts.uncertain),
            parked: small(counts.parked),
        }
    }
}

impl From<core::RowSyncState> for RowSyncState {
    fn from(state: core::RowSyncState) -> Self {
        match state {
            core::RowSyncState::Synced => Self::Synced,
            core::RowSyncState::Pending => Self::Pending,
            core::RowSyncState::Sent => Self::Sent,
            core::RowSyncState::Uncertain => Self::Uncertain,
            core::RowSyncState::Parked => Self::Parked,
        }
    }
}

impl From<core::Verdict> for Verdict {
    fn from(verdict: core::Verdict) -> Self {
        match verdict {
            core::Verdict::Accepted => Self::Accepted,
            core::Verdict::Parked(it) => {
                Self::Parked { reason: it.reason.map(ParkReason::from), detail: it.detail }
            }
            core::Verdict::Unknown => Self::Unknown,
        }
    }
}
