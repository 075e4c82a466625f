//! Parking: removes a mutation from the visible rows and keeps it until the app decides, together
//! with the mutations that depend on it.
//!
//! Later edits of a row depend on the mutation that creates it, and so do later rows that refer to
//! it. A sent mutation without a verdict is not parked before its verdict arrives; the verdict then
//! finds the parked create.

use super::work::RebaseContext;
use super::{part, take_over};
use crate::engine::queue::mutation::{MutationState, ParkReason};
use crate::engine::queue::step::{OpOutcome, Parking, PendingOp};
use crate::engine::queue::store;
use crate::engine::rows::patch::{PatchKind, RowKey, RowPatch, same};
use crate::error::Result;
use crate::ids::{ColumnId, MutationId, Seq, TableNumber};
use rejoin_protocol::manifest::Rule;

/// Parks a mutation and all that depend on it; later old values that came from it are replaced by
/// its own.
pub(crate) fn park(work: &mut RebaseContext<'_>, seq: Seq, parking: Parking) -> Result<()> {
    leave(work, seq, OpOutcome::Parked(parking))
}

/// Like parking, but removes the mutation permanently.
pub(crate) fn discard(work: &mut RebaseContext<'_>, seq: Seq) -> Result<()> {
    leave(work, seq, OpOutcome::Discarded)
}

pub(super) fn leave(work: &mut RebaseContext<'_>, seq: Seq, fate: OpOutcome) -> Result<()> {
    work.undo([seq])?;
    if !work.step(seq)?.stays() {
        return Ok(());
    }
    take_over::take_over(work, seq, None)?;
    let step = work.step_mut(seq)?;
    step.fate = fate;
    let id = step.id;
    let dependents = unsent_dependents(work, seq, None)?;
    park_dependents(work, dependents, id)
}

/// Parks the mutations that depend on a parked one.
pub(super) fn park_dependents(
    work: &mut RebaseContext<'_>,
    dependents: Vec<(Seq, RowKey)>,
    on: MutationId,
) -> Result<()> {
    for (dependent, row) in dependents {
        let parking = Parking { reason: ParkReason::Depends, because_of: Some(on), detail: None };
        part::park_at(work, dependent, &row, parking)?;
    }
    Ok(())
}

/// Later unsent mutations that depend on a row that this one creates, or on the given row only,
/// each with that row.
pub(super) fn unsent_dependents(
    work: &mut RebaseContext<'_>,
    seq: Seq,
    only: Option<&RowKey>,
) -> Result<Vec<(Seq, RowKey)>> {
    dependents_on(work, seq, only, false)
}

/// Later mutations that depend on a row that this one creates and that a server may have.
pub(super) fn sent_dependents(work: &mut RebaseContext<'_>, seq: Seq) -> Result<Vec<Seq>> {
    let mut sent: Vec<Seq> =
        dependents_on(work, seq, None, true)?.into_iter().map(|(seq, _)| seq).collect();
    sent.dedup();
    Ok(sent)
}

/// Mutations that depend on it, either those whose dependent edit a server may have, or the others.
fn dependents_on(
    work: &mut RebaseContext<'_>,
    seq: Seq,
    only: Option<&RowKey>,
    left: bool,
) -> Result<Vec<(Seq, RowKey)>> {
    let creates = |step: &PendingOp| -> Vec<RowKey> {
        let rows = step.effect.rows.iter().filter(|patch| patch.kind == PatchKind::Insert);
        let rows = rows.filter(|patch| only.is_none_or(|only| patch.row == *only));
        rows.map(|patch| patch.row.clone()).collect()
    };
    let mut dependents = Vec::new();
    for row in creates(work.step(seq)?) {
        for later in work.states.steps_after(&row, seq) {
            let step = work.step(later)?;
            if !step.stays() {
                continue;
            }
            match step.patch(&row) {
                // It creates the row itself: later mutations depend on this one.
                Some((_, patch)) if patch.kind == PatchKind::Insert => break,
                Some(_) if part::is_uncertain_at(work, step, &row) == left => {
                    dependents.push((later, row.clone()));
                }
                _ => {}
            }
        }
        dependents.extend(children_of(work, &row, seq, left)?);
        if only.is_some() {
            dependents.extend(siblings_of(work, &row, seq)?);
        }
    }
    dependents.sort_by_key(|(seq, _)| *seq);
    Ok(dependents)
}

/// Later mutations that refer to the row by a declared reference. They need not share a row with
/// it.
fn children_of(
    work: &mut RebaseContext<'_>,
    parent: &RowKey,
    seq: Seq,
    left: bool,
) -> Result<Vec<(Seq, RowKey)>> {
    let references = references_to(work, parent.table);
    if references.is_empty() {
        return Ok(Vec::new());
    }
    let queue = work.queue;
    let candidates: Vec<Seq> = queue
        .entries_after(seq)
        .filter(|entry| entry.state != MutationState::Parked) // Its state before this response.
        .filter(|entry| {
            let names = |table| references.iter().any(|(child, _)| *child == table);
            entry.rows.iter().any(|(row, kind)| *kind != PatchKind::Delete && names(row.table))
        })
        .map(|entry| entry.seq)
        .collect();
    let mut children = Vec::new();
    for later in candidates {
        let known = work.steps.get(&later).cloned();
        let step = if known.is_some() { known } else { store::read_step(work.conn, later)? };
        let Some(step) = step else { continue };
        let naming = step.effect.rows.iter().filter(|patch| names(&references, patch, parent));
        let open = naming.filter(|patch| part::is_uncertain_at(work, &step, &patch.row) == left);
        if step.stays() {
            children.extend(open.map(|patch| (later, patch.row.clone())));
        }
    }
    Ok(children)
}

/// Rows of the same mutation that refer to one of its rows, if rows get separate verdicts.
fn siblings_of(
    work: &mut RebaseContext<'_>,
    parent: &RowKey,
    seq: Seq,
) -> Result<Vec<(Seq, RowKey)>> {
    let references = references_to(work, parent.table);
    let step = work.step(seq)?;
    let naming = step.effect.rows.iter().filter(|patch| names(&references, patch, parent));
    let open = naming.filter(|patch| {
        patch.row != *parent
            && patch.kind != PatchKind::Delete
            && !part::is_uncertain_at(work, step, &patch.row)
    });
    Ok(open.map(|patch| (seq, patch.row.clone())).collect())
}

/// The parked mutation that creates a row which this one needs, if no other mutation has created
/// it.
pub(super) fn parked_creator_under(
    work: &mut RebaseContext<'_>,
    seq: Seq,
) -> Result<Option<MutationId>> {
    let step = work.step(seq)?;
    if !step.stays() {
        return Ok(None);
    }
    let mut needed: Vec<RowKey> = Vec::new();
    for patch in &step.effect.rows {
        needed.extend(required_rows(work, patch));
    }
    for row in needed {
        let creator = parked_creator(work, &row, seq);
        if creator.is_some() && !has_row(work, &row, seq)? {
            return Ok(creator);
        }
    }
    Ok(None)
}

/// The latest parked mutation before `seq` that creates the row.
pub(super) fn parked_creator(
    work: &RebaseContext<'_>,
    row: &RowKey,
    seq: Seq,
) -> Option<MutationId> {
    let creates = |id: Seq| {
        let entry = work.queue.entry(id)?;
        let inserts = |(r, kind): &(RowKey, PatchKind)| r == row && *kind == PatchKind::Insert;
        entry.rows.iter().any(inserts).then_some(entry.id)
    };
    // Parked earlier, or in this rebase.
    let waiting = work.states.at(row.table, &row.key).iter().rev().filter(|one| one.seq < seq);
    let mut parked = waiting.filter(|one| {
        one.state == MutationState::Parked
            || work.steps.get(&one.seq).is_some_and(|s| matches!(s.fate, OpOutcome::Parked(_)))
    });
    parked.find_map(|one| creates(one.seq))
}

/// Whether the row exists for a mutation: in the base, or by an earlier mutation that stays.
fn has_row(work: &mut RebaseContext<'_>, row: &RowKey, seq: Seq) -> Result<bool> {
    let makes = |step: &&PendingOp| {
        let mut patches = step.effect.rows.iter();
        step.stays() && patches.any(|p| p.row == *row && p.kind == PatchKind::Insert)
    };
    let made = work.steps.range(..seq).map(|(_, step)| step).find(makes).is_some();
    Ok(made || work.rows.read_columns(row, &[])?.is_some())
}

/// Whether a patch refers to a row by one of these columns.
fn names(references: &[(TableNumber, ColumnId)], patch: &RowPatch, parent: &RowKey) -> bool {
    patch.columns.iter().any(|column| {
        references.contains(&(patch.row.table, column.column))
            && column.is_change()
            && same(&column.new, &parent.key)
    })
}

/// The rows that a patch needs: its own, unless the patch creates it, and the rows it refers to.
pub(super) fn required_rows(work: &RebaseContext<'_>, patch: &RowPatch) -> Vec<RowKey> {
    let needs_own = patch.kind != PatchKind::Insert;
    let own = needs_own.then(|| patch.row.clone());
    own.into_iter().chain(parents_of(work, patch)).collect()
}

/// The rows that a patch refers to.
fn parents_of(work: &RebaseContext<'_>, patch: &RowPatch) -> Vec<RowKey> {
    let Some(table) = work.schema.table(patch.row.table) else { return Vec::new() };
    let mut parents = Vec::new();
    for rule in &table.rules {
        if let Rule::References { column, table: parent, .. } = rule
            && let Some(parent) = work.schema.by_name.get(parent)
            && let Some(known) = table.columns.iter().find(|known| known.name == *column)
            && let Some(named) = patch.columns.iter().find(|c| c.column == known.id)
            && patch.kind != PatchKind::Delete
            && !named.new.is_null()
        {
            parents.push(RowKey { table: *parent, key: named.new.clone() });
        }
    }
    parents
}

/// The columns by which other tables refer to rows of this one.
fn references_to(work: &RebaseContext<'_>, parent: TableNumber) -> Vec<(TableNumber, ColumnId)> {
    let mut found = Vec::new();
    for table in work.schema.tables.values() {
        for rule in &table.rules {
            if let Rule::References { column, table: other, .. } = rule
                && work.schema.by_name.get(other) == Some(&parent)
                && let Some(column) = table.columns.iter().find(|c| c.name == *column)
            {
                found.push((table.number, column.id));
            }
        }
    }
    found
}
