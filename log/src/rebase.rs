//! Rebase (L14): undo what a change meets, change it, and lay it down again; the result is that of doing everything again.
//!
//! A table of rows is a base with steps on top, in the order of keys. A step is an effect, laid down as recorded, or a
//! replay, whose effect a handler computes from the rows below it. Here is decided which steps a change reaches, in
//! what order they are undone and redone, and which replays run; what a step is and does, its [`Ledger`] knows.
//!
//! Pure: no clock, no randomness; rows only through the ledger.

mod closure;
mod steps;

#[cfg(test)]
mod properties;

use std::collections::{BTreeMap, BTreeSet};

use super::ids::Name;
use super::key::Key;
use super::row::{Image, RowName};
use closure::{Reach, reach};
use rejoin_protocol::mutant::{self, Mutant};
pub use steps::{Footprint, Steps};

/// What a step displaced: the rows as they stood before it.
pub type Undo = Vec<Displaced>;

/// A row as it stood.
type Displaced = (RowName, Option<Image>);

/// What changes under, between or in the steps.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Rows of the base, as they now are.
    pub base: BTreeMap<RowName, Option<Image>>,
    /// Steps that are taken out.
    pub out: BTreeSet<Key>,
    /// Steps that become part of the base: nothing is news in that, and what they displaced is forgotten. Unless everything
    /// is undone, they must lie below all others that name their rows.
    pub settle: BTreeSet<Key>,
    /// Steps that are new, or that do something else from now on, with the rows that they now name.
    pub put: BTreeMap<Key, BTreeSet<RowName>>,
    /// Replays that run whatever is below them.
    pub run: BTreeSet<Key>,
    /// Rows that have changed below every step after this key, for reasons that only the caller knows.
    pub below: Vec<(Key, BTreeSet<RowName>)>,
    /// Undo and redo every step. Who runs is decided as ever.
    pub everything: bool,
}

impl Change {
    /// Whether nothing changes.
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

/// What a step did when it was laid down.
#[derive(Debug, Clone, Default)]
pub struct Laid {
    /// The rows that it writes, as they are after it.
    pub writes: Vec<(RowName, Option<Image>)>,
    /// What it names, and what it read or wrote.
    pub footprint: Footprint,
    /// The rows that it leaves otherwise than what it did before would leave them, here and now.
    pub changed: BTreeSet<RowName>,
}

/// What the steps are, and the rows on which they stand.
pub trait Ledger {
    /// Why it can fail.
    type Error;

    /// A row as it now stands.
    fn row(&self, row: &RowName) -> Result<Option<Image>, Self::Error>;
    /// Writes a row, or removes it. Nothing is captured.
    fn put_row(&mut self, row: &RowName, image: Option<&Image>) -> Result<(), Self::Error>;
    /// What the step displaced when it was last laid down.
    fn undo(&self, step: &Key) -> Result<Undo, Self::Error>;
    /// What the step does on the rows as they now stand. `run` says that something before it has changed (L4): a replay
    /// runs again; else it does what it did.
    fn lay(&mut self, step: &Key, run: bool) -> Result<Laid, Self::Error>;
    /// Keeps what the step displaced.
    fn keep_undo(&mut self, step: &Key, undo: Undo) -> Result<(), Self::Error>;
    /// Forgets everything that was learnt from `lay` and `keep_undo`: the rebase goes back to where it began.
    fn start_over(&mut self);
}

/// Makes a change, and whatever follows from it.
///
/// On an error the rows are half done: the transaction around it must be given up.
pub fn rebase<L: Ledger>(
    ledger: &mut L,
    steps: &mut Steps,
    change: &Change,
) -> Result<(), L::Error> {
    let mut everything = change.everything;
    loop {
        let reached = reach(steps, change, everything);
        let mut attempt = Attempt { ledger: &mut *ledger, journal: Vec::new() };
        if let Some(footprints) = attempt.make(steps, change, &reached)? {
            change.out.union(&change.settle).for_each(|step| steps.remove(step));
            for (step, footprint) in footprints {
                steps.put(step, footprint);
            }
            return Ok(());
        }
        // A run reached a later step that still stood. Everything is undone next time, so that cannot happen again.
        attempt.go_back()?;
        ledger.start_over();
        everything = true;
    }
}

/// One try, and the way back from it.
struct Attempt<'a, L> {
    ledger: &'a mut L,
    journal: Undo,
}

impl<L: Ledger> Attempt<'_, L> {
    /// The new footprints of what was laid down; nothing if a later step still stood in the way of one.
    fn make(
        &mut self,
        steps: &Steps,
        change: &Change,
        reached: &BTreeSet<Key>,
    ) -> Result<Option<Vec<(Key, Footprint)>>, L::Error> {
        for step in reached.iter().rev() {
            for (row, image) in self.ledger.undo(step)?.iter().rev() {
                self.write(row, image.as_ref())?;
            }
        }
        for (row, image) in &change.base {
            self.write(row, image.as_ref())?;
        }
        for step in change.settle.intersection(reached) {
            let laid = self.ledger.lay(step, false)?;
            for (row, image) in &laid.writes {
                self.write(row, image.as_ref())?;
            }
        }
        let goes = |step: &&Key| change.out.contains(*step) || change.settle.contains(*step);
        let again = reached.iter().filter(|step| !goes(step));
        let redo: BTreeSet<&Key> = again.chain(change.put.keys()).collect();
        let mut news = News::of(steps, change);
        let mut footprints = Vec::with_capacity(redo.len());
        for step in redo {
            let run = change.run.contains(step) || news.concern(steps, step);
            let laid = self.ledger.lay(step, run)?;
            self.put_down(step, &laid.writes)?;
            let stands = |later: Key| !reached.contains(&later);
            if run && Reach::of(steps, step, &laid.footprint).any(stands) {
                return Ok(None);
            }
            news.add(laid.changed);
            footprints.push((*step, laid.footprint));
        }
        Ok(Some(footprints))
    }

    fn put_down(
        &mut self,
        step: &Key,
        writes: &[(RowName, Option<Image>)],
    ) -> Result<(), L::Error> {
        let mut undo = Undo::with_capacity(writes.len());
        for (row, after) in writes {
            undo.extend(self.write(row, after.as_ref())?);
        }
        self.ledger.keep_undo(step, undo)
    }

    /// Writes a row; answers what it displaced, if that was something else.
    fn write(
        &mut self,
        row: &RowName,
        image: Option<&Image>,
    ) -> Result<Option<Displaced>, L::Error> {
        let before = self.ledger.row(row)?;
        if before.as_ref() == image {
            return Ok(None);
        }
        self.ledger.put_row(row, image)?;
        self.journal.push((row.clone(), before.clone()));
        Ok(Some((row.clone(), before)))
    }

    fn go_back(mut self) -> Result<(), L::Error> {
        while let Some((row, image)) = self.journal.pop() {
            self.ledger.put_row(&row, image.as_ref())?;
        }
        Ok(())
    }
}

/// What has changed below the step that is being laid down.
struct News {
    rows: BTreeSet<RowName>,
    tables: BTreeSet<Name>,
    /// What changes further up, the nearest last.
    coming: Vec<(Key, BTreeSet<RowName>)>,
}

impl News {
    fn of(steps: &Steps, change: &Change) -> Self {
        let mut coming = closure::beginnings(steps, change);
        coming.sort_unstable_by_key(|(key, _)| std::cmp::Reverse(*key));
        Self { rows: BTreeSet::new(), tables: BTreeSet::new(), coming }
    }

    /// Whether any of it concerns this step: rows that it names, or tables that its last run read or wrote (L4).
    fn concern(&mut self, steps: &Steps, step: &Key) -> bool {
        while let Some((_, rows)) = self.coming.pop_if(|(key, _)| *key < *step) {
            self.add(rows);
        }
        if mutant::on(Mutant::RunUnasked) {
            return true;
        }
        steps.get(step).is_some_and(|footprint| {
            footprint.rows.iter().any(|row| self.rows.contains(row))
                || footprint.tables.iter().any(|table| self.tables.contains(table))
        })
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
