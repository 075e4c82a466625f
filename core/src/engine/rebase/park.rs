//! Parking: a mutation leaves what the app sees and waits for the app's decision (I4), and what stands on it goes with it.
//!
//! What stands on a create (R10): a later edit of the created row, and a later row that names it as its parent. A mutation
//! that was sent and has no verdict is not parked before it; its verdict finds the parked create.

use super::footprint;
use super::step::{Fate, Parking, Step};
use super::work::Work;
use crate::engine::capture::compose::same;
use crate::engine::capture::patch::{PatchKind, RowKey};
use crate::engine::queue::mutation::{ParkReason, State};
use crate::engine::queue::store;
use crate::error::Result;
use crate::ids::{ColumnId, Seq, TableNumber};
use crate::mutant::{self, Mutant};
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

    fn leave(&mut self, seq: Seq, fate: Fate) -> Result<()> {
        self.undo([seq])?;
        if !self.step(seq)?.stays() {
            return Ok(());
        }
        self.take_over(seq)?;
        let step = self.step_mut(seq)?;
        step.fate = fate;
        let id = step.id;
        if mutant::on(Mutant::NoBecauseOf) {
            return Ok(());
        }
        for dependent in self.standing_on(seq)? {
            let parking =
                Parking { reason: ParkReason::Depends, because_of: Some(id), detail: None };
            self.park(dependent, parking)?;
        }
        Ok(())
    }

    /// The later steps that stand on what this one creates, and that no server may have yet.
    fn standing_on(&mut self, seq: Seq) -> Result<Vec<Seq>> {
        let creates = |step: &Step| -> Vec<RowKey> {
            let rows = step.effect.rows.iter().filter(|patch| patch.kind == PatchKind::Insert);
            rows.map(|patch| patch.row.clone()).collect()
        };
        let mut standing = Vec::new();
        for row in creates(self.step(seq)?) {
            for later in footprint::steps_after(self.states, &row, seq) {
                let step = self.step(later)?;
                if !step.stays() {
                    continue;
                }
                match step.patch(&row) {
                    // It makes the row itself: from here on that is what others stand on.
                    Some((_, patch)) if patch.kind == PatchKind::Insert => break,
                    _ if step.is_uncertain() => {}
                    _ => standing.push(later),
                }
            }
            standing.extend(self.children_of(&row, seq)?);
        }
        standing.sort_unstable();
        standing.dedup();
        Ok(standing)
    }

    /// Later steps that name the row as a parent, by a declared reference. They need not meet it by rows.
    fn children_of(&mut self, parent: &RowKey, seq: Seq) -> Result<Vec<Seq>> {
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
            let names_parent = step.effect.rows.iter().any(|patch| {
                patch.columns.iter().any(|column| {
                    references.contains(&(patch.row.table, column.column))
                        && column.is_change()
                        && same(&column.new, &parent.key)
                })
            });
            if step.stays() && !step.is_uncertain() && names_parent {
                children.push(later);
            }
        }
        Ok(children)
    }
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
