//! Parking: removes a mutation from the visible rows and keeps it until the app decides, together
//! with the mutations that depend on it.
//!
//! Later edits of a row depend on the mutation that creates it, and so do later rows that refer to
//! it. A sent mutation without a verdict is not parked before its verdict arrives; the verdict then
//! finds the parked create.

use std::collections::HashSet;

use super::context::RebaseContext;
use super::{part, take_over};
use crate::engine::queue::mutation::{MutationState, ParkReason};
use crate::engine::queue::pending_op::{OpOutcome, Parking};
use crate::engine::queue::store;
use crate::engine::rows::patch::{PatchKind, RowKey, RowPatch};
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

pub(super) fn leave(work: &mut RebaseContext<'_>, seq: Seq, outcome: OpOutcome) -> Result<()> {
    work.undo([seq])?;
    if !work.step(seq)?.stays() {
        return Ok(());
    }
    take_over::take_over(work, seq, None)?;
    let step = work.step_mut(seq)?;
    step.outcome = outcome;
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

/// Later unsent mutations that depend on rows that this one creates, or on these of them only, each
/// with its row.
pub(super) fn unsent_dependents(
    work: &mut RebaseContext<'_>,
    seq: Seq,
    only: Option<&[RowKey]>,
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
    only: Option<&[RowKey]>,
    left: bool,
) -> Result<Vec<(Seq, RowKey)>> {
    let step = work.step(seq)?;
    let creates = |row: &RowKey| step.patch(row).is_some_and(|(_, p)| p.kind == PatchKind::Insert);
    let rows: Vec<RowKey> = if let Some(only) = only {
        only.iter().filter(|row| creates(row)).cloned().collect()
    } else {
        let rows = step.effect.rows.iter().filter(|patch| patch.kind == PatchKind::Insert);
        rows.map(|patch| patch.row.clone()).collect()
    };
    let mut dependents = Vec::new();
    for row in &rows {
        for later in work.states.steps_after(row, seq) {
            let step = work.step(later)?;
            if !step.stays() {
                continue;
            }
            match step.patch(row) {
                // It creates the row itself: later mutations depend on this one.
                Some((_, patch)) if patch.kind == PatchKind::Insert => break,
                Some(_) if part::is_uncertain_at(work, step, row) == left => {
                    dependents.push((later, row.clone()));
                }
                _ => {}
            }
        }
    }
    let references = References::to(work, rows);
    dependents.extend(children_of(work, &references, seq, left)?);
    if only.is_some() {
        dependents.extend(siblings_of(work, &references, seq)?);
    }
    dependents.sort_by_key(|(seq, _)| *seq);
    Ok(dependents)
}

/// Later mutations that refer to rows by a declared reference. They need not share a row with them.
fn children_of(
    work: &RebaseContext<'_>,
    references: &References,
    seq: Seq,
    left: bool,
) -> Result<Vec<(Seq, RowKey)>> {
    if references.columns.is_empty() {
        return Ok(Vec::new());
    }
    let queue = work.queue;
    let candidates: Vec<Seq> = queue
        .entries_after(seq)
        .filter(|entry| entry.state != MutationState::Parked) // Its state before this response.
        .filter(|entry| {
            let names = |table| references.columns.iter().any(|(child, ..)| *child == table);
            entry.rows.iter().any(|(row, kind)| *kind != PatchKind::Delete && names(row.table))
        })
        .map(|entry| entry.seq)
        .collect();
    let mut children = Vec::new();
    for later in candidates {
        let read;
        let step = if let Some(known) = work.steps.get(&later) {
            known
        } else {
            read = store::read_step(work.conn, later)?;
            let Some(read) = &read else { continue };
            read
        };
        let naming = step.effect.rows.iter().filter(|patch| references.are_named_by(patch));
        let open = naming.filter(|patch| part::is_uncertain_at(work, step, &patch.row) == left);
        if step.stays() {
            children.extend(open.map(|patch| (later, patch.row.clone())));
        }
    }
    Ok(children)
}

/// Rows of the same mutation that refer to some of its rows, if rows get separate verdicts.
fn siblings_of(
    work: &RebaseContext<'_>,
    references: &References,
    seq: Seq,
) -> Result<Vec<(Seq, RowKey)>> {
    let step = work.step(seq)?;
    let naming = step.effect.rows.iter().filter(|patch| references.are_named_by(patch));
    let open = naming.filter(|patch| {
        !references.rows.contains(&patch.row)
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
    // Parked earlier, or in this rebase.
    let waiting = work.states.at(row.table, &row.key).iter().rev().filter(|one| one.seq < seq);
    let mut parked = waiting.filter(|one| {
        one.state == MutationState::Parked
            || work.steps.get(&one.seq).is_some_and(|s| matches!(s.outcome, OpOutcome::Parked(_)))
    });
    let creator = parked.find(|one| one.kind == PatchKind::Insert)?;
    work.queue.entry(creator.seq).map(|entry| entry.id)
}

/// Whether the row exists for a mutation: in the base, or by an earlier mutation that stays.
fn has_row(work: &mut RebaseContext<'_>, row: &RowKey, seq: Seq) -> Result<bool> {
    let known = work.states.steps_at(row.table, &row.key);
    let mut earlier = known.chain(work.reversed.get(row).copied()).filter(|other| *other < seq);
    let made = earlier.any(|other| {
        let step = work.steps.get(&other).filter(|step| step.stays());
        let patch = step.and_then(|step| step.patch(row));
        patch.is_some_and(|(_, patch)| patch.kind == PatchKind::Insert)
    });
    Ok(made || work.rows.read_columns(row, &[])?.is_some())
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

/// Some rows, and the columns by which tables refer to rows of their tables.
struct References {
    rows: HashSet<RowKey>,
    /// The referring table and column, and the table that it refers to.
    columns: Vec<(TableNumber, ColumnId, TableNumber)>,
}

impl References {
    fn to(work: &RebaseContext<'_>, rows: Vec<RowKey>) -> Self {
        let rows: HashSet<RowKey> = rows.into_iter().collect();
        let tables: HashSet<TableNumber> = rows.iter().map(|row| row.table).collect();
        let mut columns = Vec::new();
        for table in work.schema.tables.values().filter(|_| !tables.is_empty()) {
            for rule in &table.rules {
                if let Rule::References { column, table: other, .. } = rule
                    && let Some(other) = work.schema.by_name.get(other)
                    && tables.contains(other)
                    && let Some(column) = table.columns.iter().find(|c| c.name == *column)
                {
                    columns.push((table.number, column.id, *other));
                }
            }
        }
        Self { rows, columns }
    }

    /// Whether a patch refers to one of the rows by one of the columns.
    fn are_named_by(&self, patch: &RowPatch) -> bool {
        patch.columns.iter().filter(|column| column.is_change()).any(|named| {
            let mut references = self
                .columns
                .iter()
                .filter(|(table, column, _)| *table == patch.row.table && *column == named.column);
            references.any(|(.., parent)| {
                self.rows.contains(&RowKey { table: *parent, key: named.new.clone() })
            })
        })
    }
}
