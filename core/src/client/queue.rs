//! Pending and parked mutations, in a form that an app can show.

use super::QueueHandle;
use crate::engine::Engine;
use crate::engine::queue::PendingCounts;
use crate::engine::queue::detail::VerdictDetail;
use crate::engine::queue::faults;
use crate::engine::queue::mutation::{Mutation, MutationState, ParkReason};
use crate::engine::row_state::RowSyncState;
use crate::engine::rows::patch::{Effect, PatchKind, RowPatch};
use crate::engine::schema::model::Schema;
use crate::error::Result;
use crate::ids::{MutationId, Seq};
use crate::value::Value;
use crate::writer::Task;

/// A local write that the server has not accepted: one transaction of the app.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingMutation {
    /// Its position in the queue; 0 for an entry of the log, which takes effect at its time.
    pub seq: Seq,
    /// Its id, here and on the server.
    pub id: MutationId,
    /// Its state.
    pub state: MutationState,
    /// Why it is parked, if it is.
    pub reason: Option<ParkReason>,
    /// The server's message, and both rows of a conflict.
    pub detail: Option<VerdictDetail>,
    /// The parked mutation that it depends on, if that is why it is parked.
    pub because_of: Option<MutationId>,
    /// The earlier mutation that must be accepted first and that the server currently fails on.
    pub blocked_by: Option<MutationId>,
    /// The action's name; `None` for plain SQL.
    pub action: Option<String>,
    /// When it was written: milliseconds since 1970.
    pub written_ms: i64,
    /// Number of attempts after a verdict.
    pub attempt: i64,
    /// Its changes, one entry per row, in the order of the first change.
    pub rows: Vec<PendingRow>,
}

/// The change of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingRow {
    /// The table's name.
    pub table: String,
    /// The row's key.
    pub key: Value,
    /// The operation.
    pub operation: PatchKind,
    /// All columns for an insert or a delete, the changed ones for an update.
    pub columns: Vec<PendingColumn>,
}

/// The change of one column.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingColumn {
    /// The column's name.
    pub name: String,
    /// The old value; NULL in an insert.
    pub old: Value,
    /// The new value; NULL in a delete.
    pub new: Value,
}

impl QueueHandle<'_> {
    /// All mutations that the server has not accepted, in queue order: waiting, sent and parked.
    /// Then the entries of the log that the server lacks or has denied, in the order of the log.
    ///
    /// Works offline. The queue is stored in the file and survives a crash.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn all(&self) -> Task<Vec<PendingMutation>> {
        self.0.core().writer.call(|engine| pending_of(engine))
    }

    /// Those of [`QueueHandle::all`] that wait for the server: pending, sent and uncertain.
    ///
    /// # Errors
    /// As [`QueueHandle::all`].
    pub fn pending(&self) -> Task<Vec<PendingMutation>> {
        self.listed(false)
    }

    /// Those of [`QueueHandle::all`] that wait for a decision of the app.
    ///
    /// # Errors
    /// As [`QueueHandle::all`].
    pub fn parked(&self) -> Task<Vec<PendingMutation>> {
        self.listed(true)
    }

    fn listed(self, parked: bool) -> Task<Vec<PendingMutation>> {
        self.0.core().writer.call(move |engine| {
            let mut all = pending_of(engine)?;
            all.retain(|mutation| (mutation.state == MutationState::Parked) == parked);
            Ok(all)
        })
    }

    /// Number of mutations by state; cheap.
    ///
    /// # Errors
    /// [`Error::Suspended`](crate::Error::Suspended), [`Error::Closed`](crate::Error::Closed).
    pub fn counts(&self) -> Task<PendingCounts> {
        self.0.core().writer.call(|engine| engine.counts())
    }

    /// Sync state of a row, for display: whether edits of it wait, are sent or were parked. In a
    /// table of the log, an edit is pending or parked, but never sent or uncertain. For a whole list
    /// use the SQL function `rejoin_row_state('table', id)` in the query.
    ///
    /// # Errors
    /// [`InputFault::NotSynced`](crate::InputFault::NotSynced).
    pub fn row_state(&self, table: &str, key: impl Into<Value>) -> Task<RowSyncState> {
        let (table, key) = (table.to_owned(), key.into());
        self.0.core().writer.call(move |engine| engine.row_sync_state(&table, &key))
    }
}

/// All pending and parked mutations in their public form.
pub(crate) fn pending_of(engine: &Engine) -> Result<Vec<PendingMutation>> {
    let mut blocked = faults::blocked(&engine.queue_view())?;
    let mutations = engine.pending()?.into_iter();
    let pending = mutations.map(|mutation| {
        let blocked_by = blocked.remove(&mutation.seq);
        PendingMutation { blocked_by, ..to_pending(mutation, engine.schema()) }
    });
    Ok(pending.collect())
}

/// A mutation in its public form.
pub(crate) fn to_pending(mutation: Mutation, schema: &Schema) -> PendingMutation {
    PendingMutation {
        seq: mutation.seq,
        id: mutation.id,
        state: mutation.state,
        reason: mutation.reason,
        detail: mutation.detail.map(|text| VerdictDetail::decode(&text, schema)),
        because_of: mutation.because_of,
        blocked_by: None,
        action: mutation.action,
        written_ms: mutation.time_ms,
        attempt: mutation.attempt,
        rows: to_pending_rows(mutation.effect, schema),
    }
}

/// The rows of an effect in their public form.
pub(crate) fn to_pending_rows(effect: Effect, schema: &Schema) -> Vec<PendingRow> {
    effect.rows.into_iter().map(|patch| row(patch, schema)).collect()
}

/// Removed tables and columns keep their last name, so that the change can still be shown.
fn row(patch: RowPatch, schema: &Schema) -> PendingRow {
    let table = schema.table(patch.row.table);
    let columns = patch.columns.into_iter().map(|column| {
        let current_name = table.and_then(|table| {
            let present = table.position(column.column).map(|at| table.columns[at].name.as_str());
            present.or_else(|| table.former_name(column.column))
        });
        let name = current_name.map_or_else(|| format!("#{}", column.column.0), ToOwned::to_owned);
        PendingColumn { name, old: column.old, new: column.new }
    });
    PendingRow {
        columns: columns.collect(),
        table: table.map_or_else(|| format!("#{}", patch.row.table.0), |table| table.name.clone()),
        key: patch.row.key,
        operation: patch.kind,
    }
}
