//! Pending and parked mutations, in a form that an app can show.

use rejoin_core as core;
use rejoin_core::MutationId;

use crate::detail::VerdictDetail;
use crate::error::{RejoinError, Result};
use crate::value::{SqlValue, small};

/// The state of a local write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum MutationState {
    /// Waits to be sent.
    Pending,
    /// The request is running.
    Sent,
    /// Sent without a response; it will be sent again unchanged.
    Uncertain,
    /// Not accepted; kept with its reason, without blocking others.
    Parked,
}

/// Why a local write is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ParkReason {
    /// A rule of the server rejects the content.
    Rejected,
    /// A row has changed since.
    Conflicted,
    /// The server rejects it without evaluating it.
    Refused,
    /// An action cannot run again.
    Unreplayable,
    /// A mutation that it depends on was parked.
    Depends,
    /// The remainder of a mutation that was accepted in part.
    PartlyAccepted,
    /// The server has failed on it too often, or for too long.
    ServerFault,
}

/// The change of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum PatchKind {
    /// Insert.
    Insert,
    /// Update of columns.
    Update,
    /// Delete.
    Delete,
}

/// The change of one column.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct PendingColumn {
    /// The column's name.
    pub name: String,
    /// The old value; NULL in an insert.
    pub old_value: SqlValue,
    /// The new value; NULL in a delete.
    pub new_value: SqlValue,
}

/// The change of one row.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct PendingRow {
    /// The table's name.
    pub table: String,
    /// The row's key.
    pub key: SqlValue,
    /// The operation.
    pub operation: PatchKind,
    /// All columns for an insert or a delete, the changed ones for an update.
    pub columns: Vec<PendingColumn>,
}

/// A local write that the server has not accepted: one transaction of the app.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct PendingMutation {
    /// Its position in the queue; rises. 0 for an entry of the log.
    pub seq: i64,
    /// Its id, here and on the server.
    pub id: String,
    /// Its state.
    pub state: MutationState,
    /// Why it is parked, if it is.
    pub reason: Option<ParkReason>,
    /// The server's message, and both rows of a conflict.
    pub detail: Option<VerdictDetail>,
    /// The parked mutation that it depends on, if that is why it is parked.
    pub because_of: Option<String>,
    /// The earlier mutation that must be accepted first and that the server currently fails on.
    pub blocked_by: Option<String>,
    /// The action's name; nothing for plain SQL.
    pub action: Option<String>,
    /// When it was written: milliseconds since 1970.
    pub written_ms: i64,
    /// The number of its attempt, from 1; rises when it is offered again after a verdict.
    pub attempt: i64,
    /// Its changes, one entry per row, in the order of the first change.
    pub rows: Vec<PendingRow>,
}

/// Number of local writes by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct PendingCounts {
    /// Waiting to be sent.
    pub pending: u32,
    /// The request is running.
    pub sent: u32,
    /// Sent without a response.
    pub uncertain: u32,
    /// Not accepted; the app must decide.
    pub parked: u32,
}

/// The sync state of a row, for display.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum RowSyncState {
    /// No local edit is pending.
    Synced,
    /// An edit waits to be sent.
    Pending,
    /// An edit is being sent.
    Sent,
    /// An edit was sent without a response; it will be sent again.
    Uncertain,
    /// An edit was not accepted and awaits a decision of the app.
    Parked,
}

/// The result of a local write.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
#[allow(clippy::large_enum_variant)] // One crosses at a time, and UniFFI copies it anyway.
pub enum Verdict {
    /// The server has it, and the rows show it.
    Accepted,
    /// It was not accepted; `pending` has the details. Other writes continue.
    Parked {
        /// Why.
        reason: Option<ParkReason>,
        /// The server's message, and both rows of a conflict.
        detail: Option<VerdictDetail>,
    },
    /// It is neither pending nor known as accepted: discarded, or never written here.
    Unknown,
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
            core::ParkReason::PartlyAccepted => Self::PartlyAccepted,
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

impl From<core::PendingMutation> for PendingMutation {
    fn from(pending: core::PendingMutation) -> Self {
        Self {
            seq: pending.seq.0,
            id: pending.id.to_string(),
            state: pending.state.into(),
            reason: pending.reason.map(ParkReason::from),
            detail: pending.detail.map(VerdictDetail::from),
            because_of: pending.because_of.map(|id| id.to_string()),
            blocked_by: pending.blocked_by.map(|id| id.to_string()),
            action: pending.action,
            written_ms: pending.written_ms,
            attempt: pending.attempt,
            rows: pending.rows.into_iter().map(PendingRow::from).collect(),
        }
    }
}

impl From<core::PendingCounts> for PendingCounts {
    fn from(counts: core::PendingCounts) -> Self {
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
            core::Verdict::Parked { reason, detail } => Self::Parked {
                reason: reason.map(ParkReason::from),
                detail: detail.map(|detail| VerdictDetail::from(*detail)),
            },
            core::Verdict::Unknown => Self::Unknown,
        }
    }
}
