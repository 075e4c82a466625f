//! Writes: actions, plain effects, and undo.

use std::collections::BTreeSet;

use super::super::effect::{Effect, Effects};
use super::super::entry::{Intent, Revision};
use super::super::fold::writable;
use super::super::handler::{Context, Draft, Stop};
use super::super::ids::{EntryId, Name};
use super::store::{Authority, OwnEntry, Record, ReplicaStore};
use super::{LogError, Replica};

/// The content of a new entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// An action: it runs here, and again whenever something before it changes.
    Action(Intent),
    /// Plain effects, as captured: they never change.
    Plain(Effects),
}

impl<S: ReplicaStore> Replica<S> {
    /// Performs an action at this wall time (milliseconds since 1970) as the entry `id`, which must
    /// be random and new.
    ///
    /// The action runs on the rows that the app sees. If it rejects, nothing is written. Otherwise
    /// the entry gets its key, possibly below entries of devices with faster clocks, and runs again
    /// there.
    pub fn perform(&mut self, id: EntryId, intent: Intent, wall: u64) -> Result<(), LogError> {
        let own = self.first_run(id, intent, wall)?;
        self.enter(id, own, wall)
    }

    /// Records the effects of plain SQL. Without effects there is no entry.
    pub fn write(&mut self, id: EntryId, effects: Effects, wall: u64) -> Result<(), LogError> {
        if effects.is_empty() {
            return Ok(());
        }
        let own = self.own(None, effects, BTreeSet::new(), wall);
        self.enter(id, own, wall)
    }

    /// Undoes an entry with a new entry `id`: plain effects that restore the columns that it
    /// changed. Later changes of other columns stay.
    pub fn undo(&mut self, of: EntryId, id: EntryId, wall: u64) -> Result<(), LogError> {
        let record = self.store.record(of)?.ok_or(LogError::NotThere(of))?;
        let counted = record.counted().ok_or(LogError::NotThere(of))?;
        let back = record.undo.iter().filter_map(|(row, before)| {
            let after = counted.effects().get(row)?.on(before.as_ref());
            Some((row.clone(), Effect::between(after.as_ref(), before.as_ref())?))
        });
        self.write(id, back.collect(), wall)
    }

    /// A first run, on the rows that the app sees.
    pub(super) fn first_run(
        &self,
        id: EntryId,
        intent: Intent,
        wall: u64,
    ) -> Result<OwnEntry, LogError> {
        let time = self.facts.clock.now(wall);
        let context = Context { entry: id, time, buckets: self.facts.buckets.clone() };
        let mut draft = Draft::new(&context, &self.store, &*self.placement);
        match self.handlers.run(&intent, &mut draft) {
            Ok(()) => {}
            Err(Stop::Refused(reason)) => return Err(LogError::Refused(reason)),
            Err(Stop::NoHandler) => {
                let (action, version) = (intent.action, intent.version);
                return Err(LogError::NoHandler { action, version });
            }
            Err(Stop::Store(error)) => return Err(error.into()),
        }
        Ok(self.own(Some(intent), draft.effects()?, draft.tables().clone(), wall))
    }

    fn own(
        &self,
        intent: Option<Intent>,
        effects: Effects,
        tables: BTreeSet<Name>,
        wall: u64,
    ) -> OwnEntry {
        OwnEntry {
            time: self.facts.clock.now(wall),
            intent,
            effects,
            revision: Revision(0),
            acknowledged: None,
            authority: Authority::Mine,
            succeeded: true,
            tables,
        }
    }

    /// Assigns a key to an own entry and inserts it.
    pub(super) fn enter(&mut self, id: EntryId, own: OwnEntry, wall: u64) -> Result<(), LogError> {
        self.permitted(&own.effects)?;
        let mut edit = self.edit();
        let key = edit.facts.clock.stamp(wall, edit.facts.author, id);
        let record = Record { own: Some(own), ..Record::new(key) };
        if record.is_replay() && self.store.steps().last()?.is_some_and(|last| last > key) {
            edit.change.run.insert(key);
        }
        self.set(&mut edit, id, Some(record))?;
        Ok(self.commit(edit)?)
    }

    /// Rejects, by row name, writes that the server would deny or void.
    fn permitted(&self, effects: &Effects) -> Result<(), LogError> {
        let Some(buckets) = &self.facts.buckets else { return Ok(()) };
        for (row, effect) in effects.iter() {
            let before = self.store.row(row)?;
            let after = effect.on(before.as_ref());
            let outside = |image| !writable(row, image, buckets, &*self.placement);
            if before.as_ref().is_some_and(outside) || after.as_ref().is_some_and(outside) {
                return Err(LogError::Outside(row.clone()));
            }
        }
        Ok(())
    }
}
