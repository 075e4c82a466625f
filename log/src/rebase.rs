//! Rebase: undoes the steps that a change reaches, makes the change, and applies the steps again.
//! The result equals a full replay.
//!
//! The rows consist of a base with steps on top, in key order. A step is either a recorded effect,
//! or a replay whose effect a handler computes from the rows below it. This module decides which
//! steps a change reaches, in which order they are undone and redone, and which replays run. The
//! [`Ledger`] implements the steps.
//!
//! Pure: no clock, no randomness; all rows are accessed through the ledger.

mod closure;
mod steps;

#[cfg(any(test, feature = "contract"))]
#[allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, missing_docs)]
pub mod properties;

use std::collections::{BTreeMap, BTreeSet};

use super::ids::Name;
use super::key::Key;
use super::row::{LogRow, RowName};
use super::store::StoreError;
use closure::{Beginning, LaterSteps, reach};
use rejoin_protocol::mutant::{self, Mutant};
pub use steps::{Footprint, StepIndex, Steps};

/// The before-images of a step.
pub type Undo = Vec<Displaced>;

/// The before-image of a row.
type Displaced = (RowName, Option<LogRow>);

/// A change of the base or of steps.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// New rows of the base.
    pub base: BTreeMap<RowName, Option<LogRow>>,
    /// Most rows of the base do not exist yet: they are created unread. If most did exist, an app
    /// trigger might run before the insert is given up.
    pub creates: bool,
    /// Steps to remove.
    pub out: BTreeSet<Key>,
    /// Steps that become part of the base. This changes no row, and drops their before-images.
    /// Unless everything is undone, they must be below all others that name their rows.
    pub settle: BTreeSet<Key>,
    /// New or changed steps, with the rows that they now name.
    pub put: BTreeMap<Key, BTreeSet<RowName>>,
    /// Replays that run even if nothing below them has changed.
    pub run: BTreeSet<Key>,
    /// Rows that changed below every step after this key, for reasons known only to the caller.
    pub below: Vec<(Key, BTreeSet<RowName>)>,
    /// Undo and redo every step. Which replays run does not depend on it.
    pub everything: bool,
}

impl Change {
    /// Whether this changes nothing.
    pub fn is_empty(&self) -> bool {
        !self.everything
            && self.base.is_empty()
            && self.out.is_empty()
            && self.settle.is_empty()
            && self.put.is_empty()
            && self.run.is_empty()
            && self.below.is_empty()
    }
}

/// The result of applying a step.
#[derive(Debug, Clone, Default)]
pub struct AppliedStep {
    /// The rows that it writes, after the step.
    pub writes: Vec<(RowName, Option<LogRow>)>,
    /// The rows that it names, and the tables that it read or wrote.
    pub footprint: Footprint,
    /// The rows for which its previous effects would now give a different result.
    pub changed: BTreeSet<RowName>,
}

/// The steps and the rows that they apply to.
pub trait Ledger {
    /// The index of the steps, which a successful rebase updates.
    fn steps(&self) -> &dyn StepIndex;
    /// The same, to write.
    fn steps_mut(&mut self) -> &mut dyn StepIndex;
    /// The current row.
    fn row(&self, row: &RowName) -> Result<Option<LogRow>, StoreError>;
    /// Writes or removes a row, without capture.
    fn put_row(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<(), StoreError>;
    /// Creates a row, without capture; returns `false` if it is there already, and leaves it.
    fn create_row(&mut self, row: &RowName, image: &LogRow) -> Result<bool, StoreError>;
    /// The before-images of the last application of a step.
    fn undo(&self, step: &Key) -> Result<Undo, StoreError>;
    /// Applies the step to the current rows. If `run` is set, something before it has changed, and
    /// a replay runs again; otherwise it repeats its last effects.
    fn apply_step(&mut self, step: &Key, run: bool) -> Result<AppliedStep, StoreError>;
    /// Stores the before-images of a step.
    fn keep_undo(&mut self, step: &Key, undo: Undo) -> Result<(), StoreError>;
    /// Discards the results of `apply_step` and `keep_undo`: the rebase starts over.
    fn start_over(&mut self);
}

/// Makes a change, including its consequences for later steps.
///
/// On an error the rows are inconsistent: the caller must roll back the transaction.
pub fn rebase<L: Ledger>(ledger: &mut L, change: &Change) -> Result<(), StoreError> {
    let mut everything = change.everything;
    loop {
        let reached = reach(ledger.steps(), change, everything)?;
        let mut attempt = Attempt { ledger: &mut *ledger, journal: Vec::new() };
        if let Some(footprints) = attempt.make(change, &reached)? {
            let steps = ledger.steps_mut();
            for step in change.out.union(&change.settle) {
                steps.remove(step)?;
            }
            return footprints.iter().try_for_each(|(step, new)| steps.put(step, new));
        }
        // A run reached a later step that was still applied. The next attempt undoes everything, so
        // this cannot happen again.
        attempt.go_back()?;
        ledger.start_over();
        everything = true;
    }
}

/// One attempt, and how to revert it.
struct Attempt<'a, L> {
    ledger: &'a mut L,
    journal: Undo,
}

impl<L: Ledger> Attempt<'_, L> {
    /// The new footprints of the applied steps; `None` if a run reached a later step that was still
    /// applied.
    fn make(
        &mut self,
        change: &Change,
        reached: &BTreeSet<Key>,
    ) -> Result<Option<Vec<(Key, Footprint)>>, StoreError> {
        for step in reached.iter().rev() {
            for (row, image) in self.ledger.undo(step)?.iter().rev() {
                self.write(row, image.as_ref())?;
            }
        }
        for (row, image) in &change.base {
            match image {
                Some(image) if change.creates && self.ledger.create_row(row, image)? => {
                    self.journal.push((row.clone(), None));
                }
                image => drop(self.write(row, image.as_ref())?),
            }
        }
        for step in change.settle.intersection(reached) {
            let applied = self.ledger.apply_step(step, false)?;
            for (row, image) in &applied.writes {
                self.write(row, image.as_ref())?;
            }
        }
        let goes = |step: &&Key| change.out.contains(*step) || change.settle.contains(*step);
        let again = reached.iter().filter(|step| !goes(step));
        let redo: BTreeSet<&Key> = again.chain(change.put.keys()).collect();
        let mut news = News::of(self.ledger.steps(), change)?;
        let mut later = LaterSteps::default();
        let mut footprints = Vec::with_capacity(redo.len());
        for step in redo {
            let run = change.run.contains(step) || news.concern(self.ledger.steps(), step)?;
            let applied = self.ledger.apply_step(step, run)?;
            self.put_down(step, &applied.writes)?;
            let is_applied = |later: &Key| !reached.contains(later);
            if run
                && !mutant::on(Mutant::NotStartedOver)
                && later.of(self.ledger.steps(), step, &applied.footprint)?.iter().any(is_applied)
            {
                return Ok(None);
            }
            news.add(applied.changed);
            footprints.push((*step, applied.footprint));
        }
        Ok(Some(footprints))
    }

    fn put_down(
        &mut self,
        step: &Key,
        writes: &[(RowName, Option<LogRow>)],
    ) -> Result<(), StoreError> {
        let mut undo = Undo::with_capacity(writes.len());
        for (row, after) in writes {
            undo.extend(self.write(row, after.as_ref())?);
        }
        self.ledger.keep_undo(step, undo)
    }

    /// Writes a row; returns its before-image if it changed.
    fn write(
        &mut self,
        row: &RowName,
        image: Option<&LogRow>,
    ) -> Result<Option<Displaced>, StoreError> {
        let before = self.ledger.row(row)?;
        if before.as_ref() == image {
            return Ok(None);
        }
        self.ledger.put_row(row, image)?;
        self.journal.push((row.clone(), before.clone()));
        Ok(Some((row.clone(), before)))
    }

    fn go_back(mut self) -> Result<(), StoreError> {
        while let Some((row, image)) = self.journal.pop() {
            self.ledger.put_row(&row, image.as_ref())?;
        }
        Ok(())
    }
}

/// Rows that changed below the current step.
struct News {
    rows: BTreeSet<RowName>,
    tables: BTreeSet<Name>,
    /// Changes that start after later keys, the nearest last.
    coming: Vec<Beginning>,
}

impl News {
    fn of(steps: &dyn StepIndex, change: &Change) -> Result<Self, StoreError> {
        let mut coming = closure::beginnings(steps, change)?;
        coming.sort_unstable_by_key(|(key, _)| std::cmp::Reverse(*key));
        Ok(Self { rows: BTreeSet::new(), tables: BTreeSet::new(), coming })
    }

    /// Whether they affect this step: rows that it names, or tables that its last run read or
    /// wrote.
    fn concern(&mut self, steps: &dyn StepIndex, step: &Key) -> Result<bool, StoreError> {
        while let Some((_, rows)) = self.coming.pop_if(|(key, _)| *key < *step) {
            self.add(rows);
        }
        if mutant::on(Mutant::RunUnasked) {
            return Ok(true);
        }
        if self.rows.is_empty() {
            return Ok(false);
        }
        Ok(steps.get(step)?.is_some_and(|footprint| {
            footprint.rows.iter().any(|row| self.rows.contains(row))
                || footprint.tables.iter().any(|table| self.tables.contains(table))
        }))
    }

    fn add(&mut self, rows: BTreeSet<RowName>) {
        for row in rows {
            if !self.tables.contains(&row.table) {
                self.tables.insert(row.table.clone());
            }
            self.rows.insert(row);
        }
    }
}
