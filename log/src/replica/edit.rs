//! An edit: changed records, the rebase that follows, and saving both.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::super::handler::MEMBERSHIP;
use super::super::ids::EntryId;
use super::super::key::Key;
use super::super::rebase::{Change, rebase};
use super::super::row::RowName;
use super::super::store::StoreError;
use super::ledger::ReplicaRebase;
use super::store::{Counted, Facts, Record, ReplicaStore};
use super::{Replica, ReplicaEvent};

/// The new records (`None`: removed), and the resulting change of the steps.
#[derive(Debug)]
pub(super) struct RecordEdit {
    pub(super) facts: Facts,
    pub(super) change: Change,
    pub(super) records: BTreeMap<EntryId, Option<Record>>,
    /// The same records as they are in the store, each read once.
    former: BTreeMap<EntryId, Option<Record>>,
    pub(super) events: Vec<ReplicaEvent>,
}

impl RecordEdit {
    /// Sets or removes a record, and records the change of its step.
    ///
    /// `former` is the record in the store; an edit may set a record several times.
    pub(super) fn set(&mut self, id: EntryId, former: Option<&Record>, record: Option<Record>) {
        let old_counted = former.filter(|former| former.counted().is_some());
        let new_counted = record.as_ref().filter(|record| record.counted().is_some());
        // Discard the change recorded by an earlier call.
        for key in [former.map(|record| record.key), self.key_of(id)].into_iter().flatten() {
            self.change.put.remove(&key);
            self.change.out.remove(&key);
        }
        if let (Some(old), Some(new)) = (former, &record)
            && old.own.is_some()
            && !old.is_replay()
            && new.is_replay()
        {
            // Changes before it were not tracked while the author had no authority over it.
            self.change.run.insert(new.key);
        }
        match (old_counted, new_counted) {
            (Some(old), Some(new)) if old.key == new.key => {
                if differ(old, new) {
                    self.change.put.insert(new.key, new.named());
                }
            }
            (old, new) => {
                // At another key it follows other rows, whether or not they have changed.
                let moved = new.filter(|new| old.is_some() && new.is_replay());
                self.change.run.extend(moved.map(|new| new.key));
                self.change.out.extend(old.map(|old| old.key));
                self.change.put.extend(new.map(|new| (new.key, new.named())));
            }
        }
        self.records.insert(id, record);
    }

    fn key_of(&self, id: EntryId) -> Option<Key> {
        self.records.get(&id).and_then(Option::as_ref).map(|record| record.key)
    }
}

/// Whether a step must be applied again: its effects or its rule have changed.
fn differ(old: &Record, new: &Record) -> bool {
    old.counted() != new.counted() || old.is_replay() != new.is_replay()
}

impl<S: ReplicaStore> Replica<S> {
    pub(super) fn edit(&self) -> RecordEdit {
        let (change, records, former) = <(Change, BTreeMap<_, _>, BTreeMap<_, _>)>::default();
        RecordEdit { facts: self.facts.clone(), change, records, former, events: Vec::new() }
    }

    /// A record, including the changes of the edit.
    pub(super) fn edited(
        &self,
        edit: &mut RecordEdit,
        id: EntryId,
    ) -> Result<Option<Record>, StoreError> {
        match edit.records.get(&id) {
            Some(record) => Ok(record.clone()),
            None => Ok(self.former(edit, id)?.clone()),
        }
    }

    /// A record as it is in the store.
    fn former<'e>(
        &self,
        edit: &'e mut RecordEdit,
        id: EntryId,
    ) -> Result<&'e Option<Record>, StoreError> {
        match edit.former.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => Ok(unknown.insert(self.store.record(id)?)),
        }
    }

    /// Sets a record in an edit.
    pub(super) fn set(
        &self,
        edit: &mut RecordEdit,
        id: EntryId,
        record: Option<Record>,
    ) -> Result<(), StoreError> {
        let former = self.former(edit, id)?.clone();
        edit.set(id, former.as_ref(), record);
        Ok(())
    }

    /// Notes the tables in which these records show rows that the user does not read.
    fn note_hidden(&mut self, applied: &BTreeMap<EntryId, Record>) -> Result<(), StoreError> {
        let Some(set) = self.facts.buckets.as_ref().filter(|set| set.readable().is_some()) else {
            return Ok(());
        };
        for record in applied.values() {
            let Some(Counted::Own(effects)) = record.counted() else { continue };
            for (row, _) in effects.iter() {
                let image = self.store.row(row)?;
                if image.is_some_and(|image| set.hides(row, &image, &*self.placement)) {
                    self.facts.hidden.insert(row.table.clone());
                }
            }
        }
        Ok(())
    }

    /// Applies an edit: rebases, and saves the records and the facts.
    pub(super) fn commit(&mut self, edit: RecordEdit) -> Result<(), StoreError> {
        let RecordEdit { facts, mut change, records, former, mut events } = edit;
        self.events.append(&mut events);
        let former_buckets = std::mem::replace(&mut self.facts, facts).buckets;
        if former_buckets != self.facts.buckets {
            let table = RowName::new(MEMBERSHIP, "");
            change.below.push((Key::FIRST, BTreeSet::from([table])));
            change.everything = true;
        }
        let mut applied = BTreeMap::new();
        if !change.is_empty() {
            let mut work = ReplicaRebase {
                store: &mut self.store,
                handlers: &*self.handlers,
                placement: &*self.placement,
                buckets: self.facts.buckets.as_ref(),
                former_buckets: former_buckets.as_ref(),
                edited: &records,
                former: &former,
                records: BTreeMap::new(),
                events: Vec::new(),
                runs: 0,
            };
            rebase(&mut work, &change)?;
            self.events.append(&mut work.events);
            self.runs += work.runs;
            applied = work.records;
            self.note_hidden(&applied)?;
        }
        for (id, record) in records {
            match (applied.remove(&id), record) {
                (_, None) => self.store.remove_record(id)?,
                (Some(record), Some(_)) | (None, Some(record)) => {
                    self.store.put_record(id, &record)?;
                }
            }
        }
        applied.iter().try_for_each(|(id, record)| self.store.put_record(*id, record))?;
        self.store.set_facts(&self.facts)
    }
}
