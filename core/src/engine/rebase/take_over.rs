//! When a mutation is parked or discarded, a later mutation whose old value came from it takes over
//! its old value. The same happens when a re-run action writes something else.
//!
//! Otherwise the user's correction of a refused value would be compared with the refused value,
//! which no server ever had, and be parked as a conflict. The effect stays; only the attempt's old
//! values change. For a sent mutation without a verdict, they count for its next attempt.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::context::RebaseContext;
use crate::engine::queue::Staged;
use crate::engine::queue::attempt::Frozen;
use crate::engine::queue::mutation::{Basis, is_onto};
use crate::engine::queue::pending_op::{PendingOp, old_of};
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::{ColumnPatch, Effect, PatchKind, RowKey, same};
use crate::error::Result;
use crate::ids::{ColumnId, Seq};
use crate::value::Value;
use rejoin_protocol::mutant::{self, Mutant};

/// A value that a removed mutation wrote, and the value before it.
struct Written {
    row: RowKey,
    column: ColumnId,
    new: Value,
    old: Value,
    /// Whether the server filled it in: then an edit of the column is not based on it.
    is_filled: bool,
    /// Whether another run of an action read it: a later uncertain edit may have written it.
    is_found: bool,
}

/// Passes the old values of a removed mutation, or of one of its rows, to mutations whose old
/// values came from it.
pub(super) fn take_over(
    work: &mut RebaseContext<'_>,
    seq: Seq,
    only: Option<&RowKey>,
) -> Result<()> {
    let mut left = written_by(work.step(seq)?);
    left.retain(|written| only.is_none_or(|only| *only == written.row));
    pass_on(work, seq, &left)
}

/// Passes on what an action writes differently, or no longer, to edits based on its previous writes
/// or reads. They would otherwise be compared with a value that no server ever had.
pub(super) fn pass_on_run(
    work: &mut RebaseContext<'_>,
    step: &PendingOp,
    effect: &Effect,
) -> Result<()> {
    let mut all = changed_writes(step, effect);
    // If a later step is not undone yet, the rebase starts again and this run is dropped.
    let is_undone = |later: Seq| work.steps.contains_key(&later);
    all.retain(|one| work.states.steps_after(&one.row, step.seq).all(is_undone));
    let mut replaced = Vec::with_capacity(all.len());
    for one in all {
        if !is_there(work, &one)? {
            replaced.push(one);
        }
    }
    pass_on(work, step.seq, &replaced)
}

/// Passes on values that the server filled into columns which an accepted create does not name,
/// because this device gained them later.
pub(super) fn hand_on_unnamed(work: &mut RebaseContext<'_>, seq: Seq) -> Result<()> {
    let patches = work.step(seq)?.effect.rows.clone();
    for patch in patches.iter().filter(|patch| patch.kind == PatchKind::Insert) {
        let table = work.rows.table(patch.row.table)?;
        let columns = table.columns.iter().map(|column| column.id);
        let is_named = |id: &ColumnId| patch.columns.iter().any(|known| known.column == *id);
        let unnamed: Vec<ColumnId> = columns.filter(|id| !is_named(id)).collect();
        pass_on_filled(work, seq, &patch.row, &unnamed)?;
    }
    Ok(())
}

/// Passes on values that the server filled into columns of a row that were empty until then. A
/// delete or its reverse compares every column, and no device could write this one. An edit of such
/// a column is compared with what its author saw.
pub(super) fn pass_on_filled(
    work: &mut RebaseContext<'_>,
    seq: Seq,
    row: &RowKey,
    columns: &[ColumnId],
) -> Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    let table = work.rows.table(row.table)?;
    let Some(image) = work.rows.read(row)? else { return Ok(()) };
    let cells = table.columns.iter().zip(image).enumerate();
    let filled = cells.filter(|(at, (column, value))| {
        *at != table.key && columns.contains(&column.id) && !value.is_null()
    });
    let (new, is_filled) = (Value::Null, true);
    let filled = filled.map(|(_, (column, old))| Written {
        row: row.clone(),
        column: column.id,
        new: new.clone(),
        old,
        is_filled,
        is_found: false,
    });
    let filled: Vec<Written> = filled.collect();
    pass_on(work, seq, &filled)
}

/// Passes on values that the server stored instead of those that an accepted mutation has sent, or
/// computed from them. `computed`: the values before it in columns that it did not write.
pub(super) fn pass_on_left(
    work: &mut RebaseContext<'_>,
    seq: Seq,
    (left, computed): (&HashMap<RowKey, &ServerRow>, &HashMap<RowKey, &ServerRow>),
) -> Result<()> {
    let mut all = Vec::new();
    for patch in &work.step(seq)?.effect.rows {
        let Some(image) = left.get(&patch.row) else { continue };
        let before = computed.get(&patch.row).and_then(|image| image.row.as_ref());
        for (id, value) in image.row.iter().flatten() {
            let sent = patch.columns.iter().find(|known| known.column == *id);
            let before = || before?.iter().find(|(known, _)| known == id).map(|(_, value)| value);
            let Some(seen) = sent.map(|column| &column.new).or_else(before) else { continue };
            all.push(Written {
                row: patch.row.clone(),
                column: *id,
                new: seen.clone(),
                old: value.clone(),
                is_filled: false,
                is_found: false,
            });
        }
    }
    pass_on(work, seq, &all)
}

/// Whether the row has this value now. The value may come from another mutation: a later edit
/// compares values only.
fn is_there(work: &mut RebaseContext<'_>, one: &Written) -> Result<bool> {
    let table = work.rows.table(one.row.table)?;
    let Some(image) = work.rows.read(&one.row)? else { return Ok(false) };
    let mut cells = table.columns.iter().zip(&image);
    Ok(cells.any(|(column, value)| column.id == one.column && same(value, &one.new)))
}

fn pass_on(work: &mut RebaseContext<'_>, seq: Seq, all: &[Written]) -> Result<()> {
    if mutant::on(Mutant::NoTakeOver) {
        return Ok(());
    }
    // Requeued mutations are not in the index yet.
    let added: Vec<Seq> = added(work).filter(|added| *added > seq).collect();
    let (states, mut frozen) = (work.states, BTreeMap::new());
    for written in all {
        let later = states.steps_after(&written.row, seq);
        for other in later.chain(added.iter().copied()) {
            // A sent record is frozen: the mutation's own old values count for its next attempt.
            let by_rows = work.queue.records().knows(other);
            let step = work.step_mut(other)?;
            if step.stays() && !pass_to(step, written, by_rows, &mut frozen)? {
                break;
            }
        }
    }
    for (seq, frozen) in frozen {
        if frozen.next_basis.is_some() {
            work.step_mut(seq)?.frozen = Some(frozen.encode());
        }
    }
    Ok(())
}

/// The mutations that this transaction has added to the queue, in the order of insertion.
fn added<'w>(work: &'w RebaseContext<'_>) -> impl Iterator<Item = Seq> + 'w {
    work.staged.iter().filter_map(|staged| match staged {
        Staged::Added(entry) => Some(entry.seq),
        _ => None,
    })
}

fn written_by(step: &PendingOp) -> Vec<Written> {
    let mut all = Vec::new();
    for (index, patch) in step.effect.rows.iter().enumerate() {
        if patch.kind != PatchKind::Update {
            continue;
        }
        for (at, column) in patch.columns.iter().enumerate() {
            if column.is_change() {
                all.push(Written {
                    row: patch.row.clone(),
                    column: column.column,
                    new: column.new.clone(),
                    old: step.old(index, at).clone(),
                    is_filled: false,
                    is_found: false,
                });
            }
        }
    }
    all
}

/// The values that this run of an action writes, each with the values that a later edit may have
/// seen instead: those of the run before, and those this run read. Where this run no longer writes
/// a column, the value is the one before the previous run: the current row may hold another user's
/// value that the later edit has not seen.
fn changed_writes(step: &PendingOp, effect: &Effect) -> Vec<Written> {
    let mut all = written_by(step);
    let of = |one: &Written| (one.row.clone(), one.column);
    let before: HashMap<_, _> = all.iter().enumerate().map(|(at, one)| (of(one), at)).collect();
    for patch in effect.rows.iter().filter(|patch| patch.kind == PatchKind::Update) {
        for column in patch.columns.iter().filter(|column| column.is_change()) {
            if let Some(at) = before.get(&(patch.row.clone(), column.column)) {
                all[*at].old = column.new.clone();
            }
            all.push(Written {
                row: patch.row.clone(),
                column: column.column,
                new: column.old.clone(),
                old: column.new.clone(),
                is_filled: false,
                is_found: true,
            });
        }
    }
    all.retain(|written| !same(&written.new, &written.old));
    all
}

/// Passes one value on if this mutation saw it; returns whether later mutations can still have seen
/// it.
fn pass_to(
    step: &mut PendingOp,
    written: &Written,
    by_rows: bool,
    frozen: &mut BTreeMap<Seq, Frozen>,
) -> Result<bool> {
    let Some((index, patch)) = step.patch(&written.row) else { return Ok(true) };
    let mut columns = patch.columns.iter().filter(|column| column.is_change());
    let wrote = |it: &ColumnPatch| it.column == written.column && same(&it.new, &written.new);
    if written.is_found && step.is_uncertain() && columns.any(wrote) {
        // The server already has it, and an action has run on that: later mutations are based on
        // this value.
        return Ok(true);
    }
    // A create over an existing row compares that row, like an edit.
    if patch.kind == PatchKind::Insert && !is_onto(&step.effect, &step.basis, index) {
        return Ok(false);
    }
    let Some(at) = patch.columns.iter().position(|column| column.column == written.column) else {
        return Ok(patch.kind == PatchKind::Update);
    };
    let changes = patch.columns[at].is_change();
    if changes && written.is_filled {
        return Ok(false);
    }
    let goes_on = patch.kind == PatchKind::Update && !changes;
    if step.is_uncertain() && !by_rows {
        let frozen = match frozen.entry(step.seq) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => match step.frozen.as_deref().unwrap_or(&[]) {
                [] => place.insert(Frozen::default()),
                bytes => place.insert(Frozen::decode(bytes)?),
            },
        };
        let present = frozen.next_basis.as_ref().unwrap_or(&step.basis);
        if same(old_of(&step.effect, present, index, at), &written.new) {
            let basis = frozen.next_basis.get_or_insert_with(|| step.basis.clone());
            step.changed |= replace(&step.effect, basis, (index, at), written);
        }
    } else if replace(&step.effect, &mut step.basis, (index, at), written) {
        step.changed = true;
    }
    Ok(goes_on)
}

fn replace(
    effect: &Effect,
    basis: &mut Basis,
    (row, column): (usize, usize),
    written: &Written,
) -> bool {
    if !same(old_of(effect, basis, row, column), &written.new) {
        return false;
    }
    if same(&effect.rows[row].columns[column].old, &written.old) {
        basis.remove(&(row, column));
    } else {
        basis.insert((row, column), written.old.clone());
    }
    true
}
