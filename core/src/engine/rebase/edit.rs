//! Edits a parked or pending mutation: removes it, applies its writes to the current rows, lets the
//! app change them, and appends the result to the queue as a new mutation. Mutations that depend on
//! rows it created are moved after the new one, together with later writes on top of them, so their
//! order stays.
//!
//! All of it is one transaction. The id is new, so a stored verdict on the old content cannot apply
//! to the new content. Columns that later mutations have overwritten keep those later values.
//!
//! A parked mutation gets the current rows as its expected values, as with `retry`: the app has
//! seen them. Rows below a pending mutation are hidden by its own values. The new mutation
//! therefore keeps the old expected values wherever the rows have changed since, or the server may
//! have the old mutation.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use super::context::{RebaseContext, missing};
use super::detect::{self, RowEdit};
use super::policy;
use super::verdict;
use super::{part, replay};
use crate::engine::capture::guard::Capture;
use crate::engine::queue::mutation::MutationState;
use crate::engine::queue::pending_op::PendingOp;
use crate::engine::queue::store;
use crate::engine::rows::apply::soft_deletes;
use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowKey, RowPatch};
use crate::engine::rows::undo::Before;
use crate::engine::schema::model::Table;
use crate::error::Result;
use crate::ids::Seq;
use crate::value::Value;

/// A mutation that is edited, or removed together with an edited one.
pub(super) struct Replaced {
    pub(super) step: PendingOp,
    /// Its effect, without what later mutations have overwritten.
    rows: Vec<RowPatch>,
}

/// Rows for which the new mutation expects other values than the row below it has, with those
/// values.
pub(super) type ExpectedRows = Vec<(RowKey, Before)>;

/// Removes a mutation and returns its writes that no later mutation has overwritten.
pub(super) fn replaced(work: &mut RebaseContext<'_>, seq: Seq) -> Result<Replaced> {
    let mut step = store::read_step(work.conn, seq)?.ok_or_else(|| missing(seq))?;
    let mut rows = step.effect.rows.clone();
    if step.state == MutationState::Parked {
        return Ok(Replaced { step, rows });
    }
    let mut known = BTreeMap::new();
    for patch in rows.iter_mut().filter(|patch| patch.kind != PatchKind::Insert) {
        for later in work.states.steps_after(&patch.row, seq) {
            let step = stored(work, &mut known, later)?;
            let Some((_, over)) = step.patch(&patch.row) else { continue };
            let wrote = |mine: &ColumnPatch| {
                let mut theirs = over.columns.iter().filter(|one| one.is_change());
                theirs.any(|one| one.column == mine.column)
            };
            patch.columns.retain(|mine| !wrote(mine));
        }
    }
    rows.retain(|patch| !patch.columns.is_empty() || patch.kind == PatchKind::Insert);
    // Expected values that it took over while it was sent count for its next attempt.
    verdict::end_attempt(&mut step)?;
    for patch in &rows {
        policy::bring_back_if_kept(work, &mut step, &patch.row)?;
    }
    Ok(Replaced { step, rows })
}

/// Applies the old writes to the rows as the app sees them, and records them as a change of the old
/// expected values. Returns the rows in which the two differ.
pub(super) fn apply_replaced(
    work: &mut RebaseContext<'_>,
    replaced: &[Replaced],
    capture: &Capture,
) -> Result<ExpectedRows> {
    let mut below = ExpectedRows::new();
    let mut known = BTreeMap::new();
    let mut seen: HashSet<&RowKey> = HashSet::new();
    for one in replaced {
        for patch in &one.rows {
            let Some(table) = work.schema.tables.get(&patch.row.table) else { continue };
            let present = work.rows.read(&patch.row)?;
            if present.is_some() && is_made_again(work, &mut known, one, patch)? {
                continue;
            }
            let mut found = present.clone();
            if seen.insert(&patch.row) {
                found = shown(work, &one.step, table, patch, present.as_deref());
                if found != present {
                    below.push((patch.row.clone(), before(table, present.as_deref())));
                }
            }
            // An edit that restores its row writes the whole row, unless that would hide later
            // edits of it.
            let mut later = work.states.steps_after(&patch.row, one.step.seq);
            let brings = present.is_none() && later.next().is_none();
            let whole = one.step.policy_state.brought_back(patch).filter(|_| brings);
            work.rows.apply_patch(whole.as_ref().unwrap_or(patch))?;
            let new = work.rows.read(&patch.row)?;
            capture.note(table, found.as_deref(), new.as_deref());
        }
    }
    Ok(below)
}

/// A mutation as the file has it, which is read once.
fn stored<'k>(
    work: &RebaseContext<'_>,
    known: &'k mut BTreeMap<Seq, PendingOp>,
    seq: Seq,
) -> Result<&'k PendingOp> {
    Ok(match known.entry(seq) {
        Entry::Occupied(found) => found.into_mut(),
        Entry::Vacant(place) => {
            place.insert(store::read_step(work.conn, seq)?.ok_or_else(|| missing(seq))?)
        }
    })
}

/// Whether a later mutation that stays creates the same row, and so has written all of it.
fn is_made_again(
    work: &RebaseContext<'_>,
    known: &mut BTreeMap<Seq, PendingOp>,
    one: &Replaced,
    patch: &RowPatch,
) -> Result<bool> {
    if patch.kind != PatchKind::Insert || one.step.state == MutationState::Parked {
        return Ok(false);
    }
    for later in work.states.steps_after(&patch.row, one.step.seq) {
        let step = stored(work, known, later)?;
        if step.patch(&patch.row).is_some_and(|(_, over)| over.kind == PatchKind::Insert) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The row as the new mutation expects it, where the old one has written it and it is `present`
/// now.
fn shown(
    work: &RebaseContext<'_>,
    step: &PendingOp,
    table: &Table,
    patch: &RowPatch,
    present: Option<&[Value]>,
) -> Option<Vec<Value>> {
    let as_it_is = present.map(<[Value]>::to_vec);
    let Some(whole) = RowEdit::of(table, step, &patch.row) else { return as_it_is };
    let olds = patch.columns.iter().map(|column| {
        let known = whole.patch.columns.iter().position(|one| one.column == column.column);
        known.map_or(&column.old, |at| whole.olds[at])
    });
    let edit = RowEdit { patch, olds: olds.collect(), ..whole };
    let is_settled = edit.by_time
        || replay::has_handler(work, step)
        || detect::conflict(table, present, &edit).is_none();
    if step.state == MutationState::Parked || !step.is_uncertain() && is_settled {
        return as_it_is;
    }
    let deletes = patch.kind == PatchKind::Delete || soft_deletes(table, patch);
    let mut found = match as_it_is {
        _ if patch.kind == PatchKind::Insert && !edit.onto => return None,
        None if deletes => {
            let mut image = vec![Value::Null; table.columns.len()];
            image[table.key] = patch.row.key.clone();
            image
        }
        as_it_is => as_it_is?,
    };
    for (column, old) in patch.columns.iter().zip(&edit.olds) {
        if let Some(at) = table.position(column.column) {
            found[at].clone_from(old);
        }
    }
    Some(found)
}

/// Restores the rows below the new mutation, so that it is applied to them again.
pub(super) fn put_below(
    work: &mut RebaseContext<'_>,
    edited: Option<Seq>,
    below: &ExpectedRows,
) -> Result<()> {
    work.undo(edited)?;
    for (row, before) in below {
        work.rows.take_back(row, before)?;
        part::touch_row(work, row);
    }
    Ok(())
}

/// The patches with the current values as old ones, so that each column is written that differs.
pub(super) fn on_current_rows(
    work: &mut RebaseContext<'_>,
    patches: &[RowPatch],
) -> Result<Vec<RowPatch>> {
    let mut patches = patches.to_vec();
    for patch in patches.iter_mut().filter(|patch| patch.kind == PatchKind::Update) {
        let Some(table) = work.schema.tables.get(&patch.row.table) else { continue };
        let Some(present) = work.rows.read(&patch.row)? else { continue };
        for column in &mut patch.columns {
            if let Some(at) = table.position(column.column) {
                column.old.clone_from(&present[at]);
            }
        }
    }
    Ok(patches)
}

/// Applies patches to the rows as the app sees them, as if the app had written them.
pub(super) fn apply_again(
    work: &mut RebaseContext<'_>,
    content: &[RowPatch],
    capture: &Capture,
) -> Result<()> {
    for patch in content {
        let Some(table) = work.schema.tables.get(&patch.row.table) else { continue };
        let old = work.rows.read(&patch.row)?;
        work.rows.apply_patch(patch)?;
        let new = work.rows.read(&patch.row)?;
        capture.note(table, old.as_deref(), new.as_deref());
    }
    Ok(())
}

/// The row as a before-image.
fn before(table: &Table, image: Option<&[Value]>) -> Before {
    let Some(image) = image else { return Before::Absent };
    let cells = table.columns.iter().map(|column| column.id).zip(image.iter().cloned());
    Before::Whole(cells.filter(|(id, _)| *id != table.key_column().id).collect())
}
