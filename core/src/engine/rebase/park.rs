//! Parking: a mutation leaves what the app sees and waits for the app's decision (I4), and what stands on it goes with it.
//!
//! What stands on a create (R10): a later edit of the created row, and a later row that names it as its parent. A mutation
//! that was sent and has no verdict is not parked before it; its verdict finds the parked create.

use super::work::Work;
use crate::engine::queue::mutation::{ParkReason, State};
use crate::engine::queue::step::{Fate, Parking, Step};
use crate::engine::queue::store;
use crate::engine::rows::patch::{PatchKind, RowKey, RowPatch, same};
use crate::error::Result;
use crate::ids::{ColumnId, MutationId, Seq, TableNumber};
use rejoin_protocol::manifest::Rule;

impl Work<'_> {
    /// Takes a step out of what the app sees, with all that stands on it; later old values that came from it take over
    /// its own (R11).
    pub(crate) fn park(&mut self, seq: Seq, parking: Parking) -> Result<()> {
        self.leave(seq, Fate::Parked(parking))
    }

    /// The app gives a step up: as parking, but it goes for good.
    pub(crate) fn discard(&mut self, seq: Seq) -> Result<()> {
        self.leave(seq, Fate::Discarded)
    }

    pub(super) fn leave(&mut self, seq: Seq, fate: Fate) -> Result<()> {
        self.undo([seq])?;
        if !self.step(seq)?.stays() {
            return Ok(());
        }
        self.take_over(seq, None)?;
        let step = self.step_mut(seq)?;
        step.fate = fate;
        let id = step.id;
        let standing = self.standing_on(seq, None)?;
        self.park_dependents(standing, id)
    }

    /// Parks what stands on something that was parked.
    pub(super) fn park_dependents(
        &mut self,
        standing: Vec<(Seq, RowKey)>,
        on: MutationId,
    ) -> Result<()> {
        for (dependent, row) in standing {
            let parking =
                Parking { reason: ParkReason::Depends, because_of: Some(on), detail: None };
            self.park_at(dependent, &row, parking)?;
        }
        Ok(())
    }

    /// The later steps that stand on what this one creates, on one row or on all, and that no server may have yet; each
    /// with the row by which it does.
    pub(super) fn standing_on(
        &mut self,
        seq: Seq,
        only: Option<&RowKey>,
    ) -> Result<Vec<(Seq, RowKey)>> {
        self.upon(seq, only, false)
    }

    /// The later steps that stand on what this one creates, and that a server may have.
    pub(super) fn left_upon(&mut self, seq: Seq) -> Result<Vec<Seq>> {
        let mut upon: Vec<Seq> =
            self.upon(seq, None, true)?.into_iter().map(|(seq, _)| seq).collect();
        upon.dedup();
        Ok(upon)
    }

    /// Those that stand on it, of which a server may have the edit that does, or may not.
    fn upon(&mut self, seq: Seq, only: Option<&RowKey>, left: bool) -> Result<Vec<(Seq, RowKey)>> {
        let creates = |step: &Step| -> Vec<RowKey> {
            let rows = step.effect.rows.iter().filter(|patch| patch.kind == PatchKind::Insert);
            let rows = rows.filter(|patch| only.is_none_or(|only| patch.row == *only));
            rows.map(|patch| patch.row.clone()).collect()
        };
        let mut standing = Vec::new();
        for row in creates(self.step(seq)?) {
            for later in self.states.steps_after(&row, seq) {
                let step = self.step(later)?;
                if !step.stays() {
                    continue;
                }
                match step.patch(&row) {
                    // It makes the row itself: from here on that is what others stand on.
                    Some((_, patch)) if patch.kind == PatchKind::Insert => break,
                    Some(_) if self.is_uncertain_at(step, &row) == left => {
                        standing.push((later, row.clone()));
                    }
                    _ => {}
                }
            }
            standing.extend(self.children_of(&row, seq, left)?);
            if only.is_some() {
                standing.extend(self.siblings_of(&row, seq)?);
            }
        }
        standing.sort_by_key(|(seq, _)| *seq);
        Ok(standing)
    }

    /// Later steps that name the row as a parent, by a declared reference. They need not meet it by rows.
    fn children_of(&mut self, parent: &RowKey, seq: Seq, left: bool) -> Result<Vec<(Seq, RowKey)>> {
        let references = references_to(self, parent.table);
        if references.is_empty() {
            return Ok(Vec::new());
        }
        let queue = self.queue;
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
            let known = self.steps.get(&later).cloned();
            let step = if known.is_some() { known } else { store::read_step(self.conn, later)? };
            let Some(step) = step else { continue };
            let naming = step.effect.rows.iter().filter(|patch| names(&references, patch, parent));
            let open = naming.filter(|patch| self.is_uncertain_at(&step, &patch.row) == left);
            if step.stays() {
                children.extend(open.map(|patch| (later, patch.row.clone())));
            }
        }
        Ok(children)
    }

    /// Rows of the same step that name one of its rows as their parent, where rows get their verdicts one by one.
    fn siblings_of(&mut self, parent: &RowKey, seq: Seq) -> Result<Vec<(Seq, RowKey)>> {
        let references = references_to(self, parent.table);
        let step = self.step(seq)?;
        let naming = step.effect.rows.iter().filter(|patch| names(&references, patch, parent));
        let open = naming.filter(|patch| {
            patch.row != *parent
                && patch.kind != PatchKind::Delete
                && !self.is_uncertain_at(step, &patch.row)
        });
        Ok(open.map(|patch| (seq, patch.row.clone())).collect())
    }
}

impl Work<'_> {
    /// The parked mutation that creates a row on which this one stands, if nothing else has made that row.
    pub(super) fn parked_creator_under(&mut self, seq: Seq) -> Result<Option<MutationId>> {
        let step = self.step(seq)?;
        if !step.stays() {
            return Ok(None);
        }
        let mut needed: Vec<RowKey> = Vec::new();
        for patch in &step.effect.rows {
            needed.extend(ground_of(self, patch));
        }
        for row in needed {
            let creator = self.parked_creator(&row, seq);
            if creator.is_some() && !self.has_row(&row, seq)? {
                return Ok(creator);
            }
        }
        Ok(None)
    }

    /// The latest parked mutation before `seq` that creates the row.
    pub(super) fn parked_creator(&self, row: &RowKey, seq: Seq) -> Option<MutationId> {
        let creates = |id: Seq| {
            let entry = self.queue.entry(id)?;
            let inserts = |(r, kind): &(RowKey, PatchKind)| r == row && *kind == PatchKind::Insert;
            entry.rows.iter().any(inserts).then_some(entry.id)
        };
        // Parked before, or just now.
        let waiting = self.states.at(row.table, &row.key).iter().rev().filter(|one| one.seq < seq);
        let mut parked = waiting.filter(|one| {
            one.state == State::Parked
                || self.steps.get(&one.seq).is_some_and(|s| matches!(s.fate, Fate::Parked(_)))
        });
        parked.find_map(|one| creates(one.seq))
    }

    /// Whether the row is there for a step: in the base, or by an earlier one that stays.
    fn has_row(&mut self, row: &RowKey, seq: Seq) -> Result<bool> {
        let makes = |step: &&Step| {
            let mut patches = step.effect.rows.iter();
            step.stays() && patches.any(|p| p.row == *row && p.kind == PatchKind::Insert)
        };
        let made = self.steps.range(..seq).map(|(_, step)| step).find(makes).is_some();
        Ok(made || self.rows.read_columns(row, &[])?.is_some())
    }
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
