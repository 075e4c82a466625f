//! The steps of a replica: the effects of each entry, applied at its key.

use std::collections::{BTreeMap, BTreeSet};

use super::super::fold::{AppliedEffect as Outcome, apply_effect};
use super::super::handler::Handlers;
use super::super::ids::EntryId;
use super::super::key::Key;
use super::super::rebase::{AppliedStep, Ledger, StepIndex, Undo};
use super::super::row::{LogRow, Placement, RowName};
use super::super::store::StoreError;
use super::super::write_set::WriteSet;
use super::ReplicaEvent;
use super::store::{Counted, Record, ReplicaStore};

/// A running rebase of a replica. The store holds the old records, this the new ones.
#[derive(Debug)]
pub(super) struct ReplicaRebase<'a, S> {
    pub(super) store: &'a mut S,
    pub(super) handlers: &'a dyn Handlers,
    pub(super) placement: &'a dyn Placement,
    /// The author's write set now, and when the steps were last applied.
    pub(super) buckets: Option<&'a WriteSet>,
    pub(super) former_buckets: Option<&'a WriteSet>,
    /// The records that the caller has changed.
    pub(super) edited: &'a BTreeMap<EntryId, Option<Record>>,
    /// Those as they are in the store.
    pub(super) former: &'a BTreeMap<EntryId, Option<Record>>,
    /// These records, and the ones applied since.
    pub(super) records: BTreeMap<EntryId, Record>,
    pub(super) events: Vec<ReplicaEvent>,
    pub(super) runs: u64,
}

impl<S: ReplicaStore> ReplicaRebase<'_, S> {
    /// The new record of an entry.
    fn record(&self, id: EntryId) -> Result<Record, StoreError> {
        if let Some(record) = self.records.get(&id) {
            return Ok(record.clone());
        }
        match self.edited.get(&id) {
            Some(Some(record)) => Ok(record.clone()),
            // It is removed; its before-images are still needed.
            Some(None) | None => self.store.record(id)?.ok_or_else(|| missing(id)),
        }
    }

    /// The record of the step before this rebase, if it was at this key.
    fn former(&self, step: &Key) -> Result<Option<Record>, StoreError> {
        let record = match self.former.get(&step.id) {
            Some(record) => record.clone(),
            None => self.store.record(step.id)?,
        };
        Ok(record.filter(|record| record.key == *step))
    }

    /// The rows after applying the effects of an entry to the current rows.
    pub(super) fn outcome(
        &self,
        counted: Option<Counted<'_>>,
        buckets: Option<&WriteSet>,
    ) -> Result<BTreeMap<RowName, Option<LogRow>>, StoreError> {
        let mut after = BTreeMap::new();
        let (effects, write_set) = match counted {
            None => return Ok(after),
            Some(Counted::Item(effects)) => (effects, None),
            Some(Counted::Own(effects)) => (effects, buckets),
            Some(Counted::Whole(effects, write_set)) => (effects, Some(write_set)),
        };
        for (row, effect) in effects.iter() {
            let before = self.store.row(row)?;
            let image = match write_set {
                None => effect.on(before.as_ref()),
                Some(write_set) => {
                    match apply_effect(row, effect, before.as_ref(), write_set, self.placement) {
                        Outcome::Void => before,
                        Outcome::Row(image) => image,
                    }
                }
            };
            after.insert(row.clone(), image);
        }
        Ok(after)
    }

    /// The rows that differ between two outcomes.
    pub(super) fn differing(
        &self,
        left: &BTreeMap<RowName, Option<LogRow>>,
        right: &BTreeMap<RowName, Option<LogRow>>,
    ) -> Result<BTreeSet<RowName>, StoreError> {
        let mut rows = BTreeSet::new();
        for row in left.keys().chain(right.keys()) {
            let current = if left.contains_key(row) && right.contains_key(row) {
                None
            } else {
                self.store.row(row)?
            };
            if left.get(row).unwrap_or(&current) != right.get(row).unwrap_or(&current) {
                rows.insert(row.clone());
            }
        }
        Ok(rows)
    }
}

impl<S: ReplicaStore> Ledger for ReplicaRebase<'_, S> {
    fn steps(&self) -> &dyn StepIndex {
        self.store.steps()
    }

    fn steps_mut(&mut self) -> &mut dyn StepIndex {
        self.store.steps_mut()
    }

    fn row(&self, row: &RowName) -> Result<Option<LogRow>, StoreError> {
        self.store.row(row)
    }

    fn put_row(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<(), StoreError> {
        self.store.put_row(row, image)
    }

    fn create_row(&mut self, row: &RowName, image: &LogRow) -> Result<bool, StoreError> {
        self.store.create_row(row, image)
    }

    fn undo(&self, step: &Key) -> Result<Undo, StoreError> {
        // The old before-images: applying a step again replaces them.
        Ok(self.store.record(step.id)?.ok_or_else(|| missing(step.id))?.undo)
    }

    fn apply_step(&mut self, step: &Key, run: bool) -> Result<AppliedStep, StoreError> {
        let mut record = self.record(step.id)?;
        let ran = run && record.is_replay();
        if ran {
            self.run(step.id, &mut record)?;
        }
        let after = self.outcome(record.counted(), self.buckets)?;
        let may_differ =
            ran || self.edited.contains_key(&step.id) || self.buckets != self.former_buckets;
        let changed = if may_differ {
            let former = self.former(step)?;
            let counted = former.as_ref().and_then(Record::counted);
            self.differing(&self.outcome(counted, self.former_buckets)?, &after)?
        } else {
            BTreeSet::new()
        };
        let footprint = record.footprint();
        self.records.insert(step.id, record);
        Ok(AppliedStep { writes: after.into_iter().collect(), footprint, changed })
    }

    fn keep_undo(&mut self, step: &Key, undo: Undo) -> Result<(), StoreError> {
        if let Some(record) = self.records.get_mut(&step.id) {
            record.undo = undo;
        }
        Ok(())
    }

    fn start_over(&mut self) {
        self.records.clear();
        self.events.clear();
    }
}

fn missing(id: EntryId) -> StoreError {
    StoreError(format!("the store has no entry {id}"))
}
