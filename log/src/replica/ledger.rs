//! The steps of a replica: what counts of each entry, laid down in its place (L13).

use std::collections::{BTreeMap, BTreeSet};

use super::super::fold::{Laid as Outcome, lay};
use super::super::handler::Handlers;
use super::super::ids::{Buckets, EntryId};
use super::super::key::Key;
use super::super::rebase::{Laid, Ledger, Undo};
use super::super::row::{Image, Placement, RowName};
use super::super::store::StoreError;
use super::Event;
use super::store::{Counted, Record, ReplicaStore};

/// A rebase of a replica at work. The store holds the records as they were; here is what becomes of them.
#[derive(Debug)]
pub(super) struct Work<'a, S> {
    pub(super) store: &'a mut S,
    pub(super) handlers: &'a dyn Handlers,
    pub(super) placement: &'a dyn Placement,
    /// The author's buckets, and what they were when the steps were last laid down.
    pub(super) buckets: Option<&'a Buckets>,
    pub(super) former_buckets: Option<&'a Buckets>,
    /// The records that the caller has changed.
    pub(super) edited: &'a BTreeMap<EntryId, Option<Record>>,
    /// Those, and the ones that were laid down since.
    pub(super) records: BTreeMap<EntryId, Record>,
    pub(super) events: Vec<Event>,
    pub(super) runs: u64,
}

impl<S: ReplicaStore> Work<'_, S> {
    /// An entry as it is to be.
    fn record(&self, id: EntryId) -> Result<Record, StoreError> {
        if let Some(record) = self.records.get(&id) {
            return Ok(record.clone());
        }
        match self.edited.get(&id) {
            Some(Some(record)) => Ok(record.clone()),
            // It is taken out; its undo is still wanted.
            Some(None) | None => self.store.record(id)?.ok_or_else(|| missing(id)),
        }
    }

    /// What the step did before this rebase, if it stood at this key.
    fn former(&self, step: &Key) -> Result<Option<Record>, StoreError> {
        Ok(self.store.record(step.id)?.filter(|record| record.key == *step))
    }

    /// The rows after what counts of an entry, on the rows as they now stand.
    pub(super) fn outcome(
        &self,
        counted: Option<Counted<'_>>,
        buckets: Option<&Buckets>,
    ) -> Result<BTreeMap<RowName, Option<Image>>, StoreError> {
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
                    match lay(row, effect, before.as_ref(), write_set, self.placement) {
                        Outcome::Void => before,
                        Outcome::Row(image) => image,
                    }
                }
            };
            after.insert(row.clone(), image);
        }
        Ok(after)
    }

    /// The rows that two outcomes leave differently.
    pub(super) fn differing(
        &self,
        left: &BTreeMap<RowName, Option<Image>>,
        right: &BTreeMap<RowName, Option<Image>>,
    ) -> Result<BTreeSet<RowName>, StoreError> {
        let mut rows = BTreeSet::new();
        for row in left.keys().chain(right.keys()) {
            let stands = if left.contains_key(row) && right.contains_key(row) {
                None
            } else {
                self.store.row(row)?
            };
            if left.get(row).unwrap_or(&stands) != right.get(row).unwrap_or(&stands) {
                rows.insert(row.clone());
            }
        }
        Ok(rows)
    }
}

impl<S: ReplicaStore> Ledger for Work<'_, S> {
    type Error = StoreError;

    fn row(&self, row: &RowName) -> Result<Option<Image>, StoreError> {
        self.store.row(row)
    }

    fn put_row(&mut self, row: &RowName, image: Option<&Image>) -> Result<(), StoreError> {
        self.store.put_row(row, image)
    }

    fn undo(&self, step: &Key) -> Result<Undo, StoreError> {
        // As it was: a step that is laid down again displaces something else.
        Ok(self.store.record(step.id)?.ok_or_else(|| missing(step.id))?.undo)
    }

    fn lay(&mut self, step: &Key, run: bool) -> Result<Laid, StoreError> {
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
        Ok(Laid { writes: after.into_iter().collect(), footprint, changed })
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
    StoreError(format!("it has lost entry {id}"))
}
