//! Writes: actions, plain effects, and undo.

use std::collections::BTreeSet;

use super::super::effect::Effects;
use super::super::entry::{Intent, Revision};
use super::super::handler::{Context, Draft, Ran, Stop};
use super::super::ids::{EntryId, Name};
use super::super::key::Key;
use super::super::rebase::Undo;
use super::super::row::{LogRow, RowName};
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
    /// An action that may have seen an own row in a write-only bucket is recorded as plain effects:
    /// the row leaves this device with the server's confirmation, and a later run, here or by the
    /// authority, would miss it.
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

    /// Records the effects of plain SQL whose rows are already written; `before` has the rows as
    /// they were, in the order of the effects. Without effects there is no entry.
    ///
    /// Nothing is written again, unless entries of faster clocks come after this one.
    pub fn write_captured(
        &mut self,
        id: EntryId,
        effects: Effects,
        before: Undo,
        wall: u64,
    ) -> Result<(), LogError> {
        if effects.is_empty() {
            return Ok(());
        }
        let own = self.own(None, effects, BTreeSet::new(), wall);
        self.enter_captured(id, own, before, wall)
    }

    /// Records an action that was run at `time` (milliseconds since 1970), and whose rows are
    /// already written, like [`write_captured`](Self::write_captured). It runs again whenever
    /// something before it changes.
    pub fn perform_captured(
        &mut self,
        id: EntryId,
        intent: Intent,
        ran: Ran,
        before: Undo,
        (time, wall): (u64, u64),
    ) -> Result<(), LogError> {
        let own = self.own(Some(intent), ran.effects, ran.tables, wall);
        self.enter_captured(id, OwnEntry { time, ..own }, before, wall)
    }

    /// Enters an own entry whose rows are already written.
    fn enter_captured(
        &mut self,
        id: EntryId,
        own: OwnEntry,
        before: Undo,
        wall: u64,
    ) -> Result<(), LogError> {
        for (row, image) in &before {
            let after = own.effects.get(row).and_then(|effect| effect.on(image.as_ref()));
            self.permitted_row(row, image.as_ref(), after.as_ref())?;
        }
        let key = self.facts.clock.stamp(wall, self.facts.author, id);
        let record = self.record_of(key, own);
        if self.store.steps().last()?.is_none_or(|last| last < key) {
            self.store.steps_mut().put(&key, &record.footprint())?;
            self.store.put_record(id, &Record { undo: before, ..record })?;
            return Ok(self.store.set_facts(&self.facts)?);
        }
        for (row, image) in before.iter().rev() {
            self.store.put_row(row, image.as_ref())?;
        }
        let mut edit = self.edit();
        edit.change.run.extend(record.is_replay().then_some(key));
        self.set(&mut edit, id, Some(record))?;
        Ok(self.commit(edit)?)
    }

    /// Stores that an own entry reverses another one.
    pub fn mark_undo(&mut self, id: EntryId, undoes: EntryId) -> Result<(), LogError> {
        let mut record = self.store.record(id)?.ok_or(LogError::NotThere(id))?;
        if let Some(own) = &mut record.own {
            own.undoes = Some(undoes);
        }
        Ok(self.store.put_record(id, &record)?)
    }

    /// A first run, on the rows that the app sees.
    pub(super) fn first_run(
        &self,
        id: EntryId,
        intent: Intent,
        wall: u64,
    ) -> Result<OwnEntry, LogError> {
        let time = self.facts.clock.now(wall);
        let buckets = self.facts.buckets.as_ref().map(|set| set.buckets().clone());
        let context = Context { entry: id, time, buckets, readable: None };
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
            refusal: None,
            tables,
            undoes: None,
            given_up: false,
        }
    }

    /// Assigns a key to an own entry and inserts it.
    pub(super) fn enter(&mut self, id: EntryId, own: OwnEntry, wall: u64) -> Result<(), LogError> {
        self.permitted(&own.effects)?;
        let mut edit = self.edit();
        let key = edit.facts.clock.stamp(wall, edit.facts.author, id);
        let record = self.record_of(key, own);
        if record.is_replay() && self.store.steps().last()?.is_some_and(|last| last > key) {
            edit.change.run.insert(key);
        }
        self.set(&mut edit, id, Some(record))?;
        Ok(self.commit(edit)?)
    }

    /// The record of a new own entry.
    fn record_of(&self, key: Key, mut own: OwnEntry) -> Record {
        if !self.facts.hidden.is_disjoint(&own.tables) {
            own.intent = None;
        }
        Record { own: Some(Box::new(own)), ..Record::new(key) }
    }

    /// Rejects, by row name, writes that the server would deny or void.
    fn permitted(&mut self, effects: &Effects) -> Result<(), LogError> {
        for (row, effect) in effects.iter() {
            let before = self.store.row(row)?;
            let after = effect.on(before.as_ref());
            self.permitted_row(row, before.as_ref(), after.as_ref())?;
        }
        Ok(())
    }

    /// Also notes the table of a row that the user does not read.
    fn permitted_row(
        &mut self,
        row: &RowName,
        before: Option<&LogRow>,
        after: Option<&LogRow>,
    ) -> Result<(), LogError> {
        let Some(write_set) = &self.facts.buckets else { return Ok(()) };
        if !write_set.permits(row, before, after, &*self.placement) {
            return Err(LogError::Outside(row.clone()));
        }
        if after.is_some_and(|after| write_set.hides(row, after, &*self.placement)) {
            self.facts.hidden.insert(row.table.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::memory::MemoryReplica;
    use super::super::store::{Facts, ReplicaStore as _};
    use super::super::{Replica, check};
    use crate::clock::Clock;
    use crate::effect::Effect;
    use crate::fixture::{Actions, Column, author, columns, entry, image, intent, plain, row};
    use crate::store::{LogRows as _, Table as _};

    /// A device with a row, an edit of it and an action at 1,000 ms; its clock is lost, as no device
    /// loses it.
    fn device() -> Replica<MemoryReplica> {
        let open = |store| Replica::open(store, Arc::new(Actions), Arc::new(Column)).unwrap();
        let store = MemoryReplica::default();
        let mut device =
            Replica::create(store, author(1), Arc::new(Actions), Arc::new(Column)).unwrap();
        device.write(entry(1), plain("r0", Effect::Insert(image("a", ""))), 5).unwrap();
        let late = plain("r0", Effect::Update(columns("text", "late")));
        device.write(entry(2), late, 1_000).unwrap();
        device.perform(entry(3), intent("append r0 x"), 1_000).unwrap();
        let facts = Facts { clock: Clock::default(), ..device.facts().clone() };
        let (mut store, _) = device.into_parts();
        store.set_facts(&facts).unwrap();
        open(store)
    }

    #[test]
    fn captured_write_equals_one_that_the_log_applies() {
        let before = device().row(&row("r0")).unwrap();
        let effects = [
            Effect::Insert(image("a", "new")),
            Effect::Update(columns("number", 7)),
            Effect::Update(columns("text", "mine")),
            Effect::Delete,
        ];
        for effect in effects {
            // After all others, and between the row and its edit.
            for wall in [2_000, 10] {
                let (mut applied, mut captured) = (device(), device());
                let effects = plain("r0", effect.clone());
                applied.write(entry(4), effects.clone(), wall).unwrap();

                let (mut store, state) = captured.into_parts();
                store.put_row(&row("r0"), effect.on(before.as_ref()).as_ref()).unwrap();
                captured = Replica::from_parts(store, state, Arc::new(Actions), Arc::new(Column));
                let undo = vec![(row("r0"), before.clone())];
                captured.write_captured(entry(4), effects, undo, wall).unwrap();

                assert_eq!(captured.rows().unwrap(), applied.rows().unwrap(), "{effect:?} {wall}");
                assert_eq!(captured.pending().unwrap(), applied.pending().unwrap());
                let bases = [&captured, &applied].map(|one| check::base_rows(one).unwrap());
                assert_eq!(bases[0], bases[1], "{effect:?} {wall}");
                assert!(check::stale_steps(&captured).unwrap().is_empty());
                assert_eq!(captured.store().row(&row("r0")), applied.store().row(&row("r0")));
            }
        }
    }
}
