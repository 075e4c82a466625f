//! Parking: a mutation leaves what the app sees and waits for the app's decision (I4), and what stands on it goes with it.
//!
//! What stands on a create (R10): a later edit of the created row, and a later row that names it as its parent. A mutation
//! that was sent and has no verdict is not parked before it; its verdict finds the parked create.

use super::work::Work;
use super::{part, take_over};
use crate::engine::queue::mutation::{ParkReason, State};
use crate::engine::queue::step::{Fate, Parking, Step};
use crate::engine::queue::store;
use crate::engine::rows::patch::{PatchKind, RowKey, RowPatch, same};
use crate::error::Result;
use crate::ids::{ColumnId, MutationId, Seq, TableNumber};
use rejoin_protocol::manifest::Rule;

/// Takes a step out of what the app sees, with all that stands on it; later old values that came from it take over
/// its own (R11).
pub(crate) fn park(work: &mut Work<'_>, seq: Seq, parking: Parking) -> Result<()> {
    leave(work, seq, Fate::Parked(parking))
}

/// The app gives a step up: as parking, but it goes for good.
pub(crate) fn discard(work: &mut Work<'_>, seq: Seq) -> Result<()> {
    leave(work, seq, Fate::Discarded)
}

pub(super) fn leave(work: &mut Work<'_>, seq: Seq, fate: Fate) -> Result<()> {
    work.undo([seq])?;
    if !work.step(seq)?.stays() {
        return Ok(());
    }
    take_over::take_over(work, seq, None)?;
    let step = work.step_mut(seq)?;
    step.fate = fate;
    let id = step.id;
    let standing = standing_on(work, seq, None)?;
    park_dependents(work, standing, id)
}

/// Parks what stands on something that was parked.
pub(super) fn park_dependents(
    work: &mut Work<'_>,
    standing: Vec<(Seq, RowKey)>,
    on: MutationId,
) -> Result<()> {
    for (dependent, row) in standing {
        let parking = Parking { reason: ParkReason::Depends, because_of: Some(on), detail: None };
        part::park_at(work, dependent, &row, parking)?;
    }
    Ok(())
}

/// The later steps that stand on what this one creates, on one row or on all, and that no server may have yet; each
/// with the row by which it does.
pub(super) fn standing_on(
    work: &mut Work<'_>,
    seq: Seq,
    only: Option<&RowKey>,
) -> Result<Vec<(Seq, RowKey)>> {
    upon(work, seq, only, false)
}

/// The later steps that stand on what this one creates, and that a server may have.
pub(super) fn left_upon(work: &mut Work<'_>, seq: Seq) -> Result<Vec<Seq>> {
    let mut upon: Vec<Seq> = upon(work, seq, None, true)?.into_iter().map(|(seq, _)| seq).collect();
    upon.dedup();
    Ok(upon)
}

/// Those that stand on it, of which a server may have the edit that does, or may not.
fn upon(
    work: &mut Work<'_>,
    seq: Seq,
    only: Option<&RowKey>,
    left: bool,
) -> Result<Vec<(Seq, RowKey)>> {
    let creates = |step: &Step| -> Vec<RowKey> {
        let rows = step.effect.rows.iter().filter(|patch| patch.kind == PatchKind::Insert);
        let rows = rows.filter(|patch| only.is_none_or(|only| patch.row == *only));
        rows.map(|patch| patch.row.clone()).collect()
    };
    let mut standing = Vec::new();
    for row in creates(work.step(seq)?) {
        for later in work.states.steps_after(&row, seq) {
            let step = work.step(later)?;
            if !step.stays() {
                continue;
            }
            match step.patch(&row) {
                // It makes the row itself: from here on that is what others stand on.
                Some((_, patch)) if patch.kind == PatchKind::Insert => break,
                Some(_) if part::is_uncertain_at(work, step, &row) == left => {
                    standing.push((later, row.clone()));
                }
                _ => {}
            }
        }
        standing.extend(children_of(work, &row, seq, left)?);
        if only.is_some() {
            standing.extend(siblings_of(work, &row, seq)?);
        }
    }
    standing.sort_by_key(|(seq, _)| *seq);
    Ok(standing)
}

/// Later steps that name the row as a parent, by a declared reference. They need not meet it by rows.
fn children_of(
    work: &mut Work<'_>,
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
        .filter(|entry| entry.state != State::Parked) // As it was before this answer; the step tells now.
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

/// Rows of the same step that name one of its rows as their parent, where rows get their verdicts one by one.
fn siblings_of(work: &mut Work<'_>, parent: &RowKey, seq: Seq) -> Result<Vec<(Seq, RowKey)>> {
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

/// The parked mutation that creates a row on which this one stands, if nothing else has made that row.
pub(super) fn parked_creator_under(work: &mut Work<'_>, seq: Seq) -> Result<Option<MutationId>> {
    let step = work.step(seq)?;
    if !step.stays() {
        return Ok(None);
    }
    let mut needed: Vec<RowKey> = Vec::new();
    for patch in &step.effect.rows {
        needed.extend(ground_of(work, patch));
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
pub(super) fn parked_creator(work: &Work<'_>, row: &RowKey, seq: Seq) -> Option<MutationId> {
    let creates = |id: Seq| {
        let entry = work.queue.entry(id)?;
        let inserts = |(r, kind): &(RowKey, PatchKind)| r == row && *kind == PatchKind::Insert;
        entry.rows.iter().any(inserts).then_some(entry.id)
    };
    // Parked before, or just now.
    let waiting = work.states.at(row.table, &row.key).iter().rev().filter(|one| one.seq < seq);
    let mut parked = waiting.filter(|one| {
        one.state == State::Parked
            || work.steps.get(&one.seq).is_some_and(|s| matches!(s.fate, Fate::Parked(_)))
    });
    parked.find_map(|one| creates(one.seq))
}

/// Whether the row is there for a step: in the base, or by an earlier one that stays.
fn has_row(work: &mut Work<'_>, row: &RowKey, seq: Seq) -> Result<bool> {
    let makes = |step: &&Step| {
        let mut patches = step.effect.rows.iter();
        step.stays() && patches.any(|p| p.row == *row && p.kind == PatchKind::Insert)
    };
    let made = work.steps.range(..seq).map(|(_, step)| step).find(makes).is_some();
    Ok(made || work.rows.read_columns(row, &[])?.is_some())
}

/// Whether a patch names a row as its parent, by one of these columns.
fn names(references: &[(TableNumber, ColumnId)], patch: &RowPatch, parent: &RowKey) -> bool {
    patch.columns.iter().any(|column| {
        references.contains(&(patch.row.table, column.column))
            && column.is_change()
            && same(&column.new, &parent.key)
    })
}

/// The rows on which a patch stands: its own, unless it makes that, and those that it names as parents.
pub(super) fn ground_of(work: &Work<'_>, patch: &RowPatch) -> Vec<RowKey> {
    let stands = patch.kind != PatchKind::Insert;
    let own = stands.then(|| patch.row.clone());
    own.into_iter().chain(parents_of(work, patch)).collect()
}

/// The rows that a patch names as parents.
fn parents_of(work: &Work<'_>, patch: &RowPatch) -> Vec<RowKey> {
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

/// The columns by which other tables name rows of this one.
fn references_to(work: &Work<'_>, parent: TableNumber) -> Vec<(TableNumber, ColumnId)> {
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
