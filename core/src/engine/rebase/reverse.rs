//! The reverse of a mutation that the app has discarded and a server has accepted: a mutation at
//! its position in the queue.

use rejoin_protocol::Value;
use rejoin_protocol::equal::alike;

use super::conflict;
use super::context::RebaseContext;
use super::part;
use crate::engine::capture::compose::Recorded;
use crate::engine::queue::mutation::MutationState;
use crate::engine::queue::pending_op::PendingOp;
use crate::engine::queue::policy_state::PolicyState;
use crate::engine::queue::{NewMutation, QueueEntry, Staged, store};
use crate::engine::rows::apply::soft_deletes;
use crate::engine::rows::encode;
use crate::engine::rows::patch::{ColumnPatch, Effect, PatchKind, RowKey, RowPatch};
use crate::engine::schema::model::Table;
use crate::error::{Error, Result};
use crate::ids::{MutationId, Seq};

/// Inserts a reverse into the queue at a free number. The reverse of an action is compare-only,
/// like the action.
pub(super) fn put_reverse(
    work: &mut RebaseContext<'_>,
    seq: Seq,
    id: MutationId,
    patches: Vec<RowPatch>,
    of_action: bool,
) -> Result<()> {
    let version = work.schema.manifest.as_ref().map_or(0, |manifest| manifest.schema_version);
    let rows = patches.iter().map(|patch| (patch.row.clone(), patch.kind)).collect();
    let effect = encode::encode(&Effect { schema_version: version, rows: patches });
    let recorded = Recorded { effect, rows };
    let entry = QueueEntry {
        seq,
        id,
        state: MutationState::Pending,
        attempt: 1,
        rows: recorded.rows.clone(),
        reads: std::sync::Arc::default(),
    };
    store::insert(work.conn, &entry, (work.now_ms, 0), &NewMutation::plain(recorded))?;
    let missing = || Error::Internal(format!("mutation {} was not reversed", seq.0));
    let mut step = store::read_step(work.conn, seq)?.ok_or_else(missing)?;
    step.policy_state = PolicyState::comparing(of_action); // No policy lets it overwrite newer values.
    step.changed = true;
    work.steps.insert(seq, step);
    for (row, _) in entry.rows.iter() {
        work.reversed.insert(row.clone(), seq);
    }
    work.staged.push(Staged::Added(entry));
    Ok(())
}

/// Handles a discarded row that the server has and a later mutation creates again, as an edited
/// mutation does. That mutation becomes an edit of the existing row: nothing is reversed, and
/// remote changes since then stay. Returns that mutation, if any.
pub(super) fn carry_on(
    work: &mut RebaseContext<'_>,
    row: &RowKey,
    after: Seq,
    given_up: &[&RowPatch],
) -> Result<Option<MutationId>> {
    let is_made = given_up.first().is_some_and(|patch| patch.kind == PatchKind::Insert);
    if !is_made || work.rows.read_columns(row, &[])?.is_none() {
        return Ok(None);
    }
    let table = work.rows.table(row.table)?;
    let mut made = None;
    for patch in given_up {
        conflict::apply_patch(table, &mut made, patch);
    }
    let steps = &work.steps;
    let stays = |seq: &Seq| steps.get(seq).is_some_and(PendingOp::stays);
    let next = work.states.steps_after(row, after).find(stays);
    let (Some(made), Some(seq)) = (made, next) else { return Ok(None) };
    let step = work.step_mut(seq)?;
    let is_new = step.state == MutationState::Pending && step.intent.is_none();
    let known = step.patch(row).filter(|(_, patch)| is_new && patch.kind == PatchKind::Insert);
    let Some((index, patch)) = known else { return Ok(None) };
    let id = step.id;
    let mut columns = patch.columns.clone();
    columns.retain_mut(|column| {
        let Some(at) = table.position(column.column) else { return false };
        column.old.clone_from(&made[at]);
        !table.columns[at].protected && column.is_change()
    });
    if columns.is_empty() && step.effect.rows.len() > 1 {
        step.take_row(row);
        return Ok(Some(id));
    }
    if columns.is_empty() {
        return part::accept_at(work, seq, row).map(|()| Some(id));
    }
    step.basis.retain(|(row, _), _| *row != index);
    step.effect.rows[index] = RowPatch { row: row.clone(), kind: PatchKind::Update, columns };
    (step.reduced, step.changed) = (true, true);
    Ok(Some(id))
}

/// The row after these edits, and the columns that differ now; no columns if the row was created or
/// deleted since. `None` if nothing changed.
pub(super) fn changed_since(
    table: &Table,
    base: Option<&[Value]>,
    given_up: &[&RowPatch],
) -> Option<(Option<Vec<Value>>, Vec<String>)> {
    let mut left = base.map(<[Value]>::to_vec);
    for patch in given_up {
        if left.is_none() && patch.kind == PatchKind::Update && !soft_deletes(table, patch) {
            let mut image = vec![Value::Null; table.columns.len()];
            image[table.key] = patch.row.key.clone();
            left = Some(image);
        }
        conflict::apply_patch(table, &mut left, patch);
    }
    let columns: Vec<String> = match (base, &left) {
        (None, None) => return None,
        (Some(base), Some(left)) => {
            let differs = |at: &usize| !alike(&base[*at], &left[*at], table.columns[*at].kind);
            let open = |at: &usize| table.owner == Some(*at) && left[*at].is_null();
            let named = (0..left.len()).filter(|at| !table.columns[*at].protected && !open(at));
            let named = named.filter(differs).map(|at| table.columns[at].name.clone());
            let columns: Vec<String> = named.collect();
            if columns.is_empty() {
                return None;
            }
            columns
        }
        _ => Vec::new(),
    };
    Some((left, columns))
}

/// The patches that reverse these edits on the server's row, newest first; a column only if it
/// still has the edit's value.
pub(super) fn reversal(
    table: &Table,
    row: &RowKey,
    base: Option<&[Value]>,
    hidden: &[&RowPatch],
) -> Option<RowPatch> {
    let mut present = base.map(<[Value]>::to_vec);
    for patch in hidden.iter().rev() {
        // A soft delete names every column, like a delete.
        let kind = if soft_deletes(table, patch) { PatchKind::Delete } else { patch.kind };
        match (kind, &mut present) {
            (PatchKind::Insert, present) => *present = None,
            (PatchKind::Update, Some(image)) => {
                for column in patch.columns.iter().filter(|column| column.is_change()) {
                    let Some(at) = table.position(column.column) else { continue };
                    let kind = table.columns[at].kind;
                    if rejoin_protocol::equal::equal(&image[at], &column.new, kind) {
                        image[at].clone_from(&column.old);
                    }
                }
            }
            (PatchKind::Delete, present @ None) => {
                let mut image = vec![Value::Null; table.columns.len()];
                image[table.key] = row.key.clone();
                for column in &patch.columns {
                    if let Some(at) = table.position(column.column) {
                        image[at].clone_from(&column.old);
                    }
                }
                *present = Some(image);
            }
            (PatchKind::Update, None) | (PatchKind::Delete, Some(_)) => {}
        }
    }
    let cells = |image: &[Value], make: &dyn Fn(Value) -> (Value, Value)| -> Vec<ColumnPatch> {
        let named = table.columns.iter().zip(image).enumerate().filter(|(at, _)| *at != table.key);
        let patched = named.map(|(_, (column, value))| {
            let (old, new) = make(value.clone());
            ColumnPatch { column: column.id, old, new }
        });
        patched.collect()
    };
    let (kind, columns) = match (base, present.as_deref()) {
        (None, None) => return None,
        (Some(base), None) => (PatchKind::Delete, cells(base, &|old| (old, Value::Null))),
        (None, Some(new)) => (PatchKind::Insert, cells(new, &|new| (Value::Null, new))),
        (Some(base), Some(new)) => {
            let mut columns = cells(base, &|old| (old, Value::Null));
            let news = cells(new, &|new| (new, Value::Null));
            columns.iter_mut().zip(news).for_each(|(column, new)| column.new = new.old);
            columns.retain(ColumnPatch::is_change);
            (PatchKind::Update, columns)
        }
    };
    let is_change = kind != PatchKind::Update || !columns.is_empty();
    is_change.then(|| RowPatch { row: row.clone(), kind, columns })
}
