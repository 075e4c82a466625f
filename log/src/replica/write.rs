//! Writing: actions, plain effects, and what takes them back.

use std::collections::BTreeSet;

use super::super::effect::{Effect, Effects};
use super::super::entry::{Intent, Revision};
use super::super::fold::writable;
use super::super::handler::{Context, Draft, Stop};
use super::super::ids::{EntryId, Name};
use super::store::{Authority, Own, Record, ReplicaStore};
use super::{LogError, Replica};

/// What an entry is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// An action: it is run here, and again whenever something before it changes (L4).
    Action(Intent),
    /// Plain effects, as captured: they never change (L3).
    Plain(Effects),
}

impl<S: ReplicaStore> Replica<S> {
    /// Performs an action at the wall's time (milliseconds since 1970), as the entry `id`, which is random and new.
    ///
    /// It is run on what the app sees. If it refuses, nothing is written; else it takes its place in the order of keys, which
    /// may lie before what was done by devices with faster clocks, and is run again there.
    pub fn perform(&mut self, id: EntryId, intent: Intent, wall: u64) -> Result<(), LogError> {
        let own = self.first_run(id, intent, wall)?;
        self.enter(id, own, wall)
    }

    /// Takes in what plain SQL did. No effects are no entry.
    pub fn write(&mut self, id: EntryId, effects: Effects, wall: u64) -> Result<(), LogError> {
        if effects.is_empty() {
            return Ok(());
        }
        let own = self.own(None, effects, BTreeSet::new(), wall);
        self.enter(id, own, wall)
    }

    /// Takes back what an entry did to the rows, as the entry `id`: plain effects that set what it changed to what was there
    /// before it. What was done since to other columns stays.
    pub fn undo(&mut self, of: EntryId, id: EntryId, wall: u64) -> Result<(), LogError> {
        let record = self.store.record(of)?.ok_or(LogError::NotThere(of))?;
        let counted = record.counted().ok_or(LogError::NotThere(of))?;
        let back = record.undo.iter().filter_map(|(row, before)| {
            let after = counted.effects().get(row)?.on(before.as_ref());
            Some((row.clone(), Effect::between(after.as_ref(), before.as_ref())?))
        });
        self.write(id, back.collect(), wall)
    }

    /// A first run, on what the app sees.
    pub(super) fn first_run(
        &self,
        id: EntryId,
        intent: Intent,
        wall: u64,
    ) -> Result<Own, LogError> {
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
    ) -> Own {
        Own {
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

    /// Gives an own entry its key, and puts it in its place.
    pub(super) fn enter(&mut self, id: EntryId, own: Own, wall: u64) -> Result<(), LogError> {
        self.permitted(&own.effects)?;
        let mut edit = self.edit();
        let key = edit.facts.clock.stamp(wall, edit.facts.author, id);
        let record = Record { own: Some(own), ..Record::new(key) };
        if record.is_replay() && self.steps.last().is_some_and(|last| *last > key) {
            edit.change.run.insert(key);
        }
        self.set(&mut edit, id, Some(record))?;
        Ok(self.commit(edit)?)
    }

    /// Refuses by name what the server would deny, or let count for nothing (L1).
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
