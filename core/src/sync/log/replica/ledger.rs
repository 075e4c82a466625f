//! The steps of a replica: what counts of each entry, and the author's run of its own (L4, L13).

use std::collections::{BTreeMap, BTreeSet};

use super::super::effect::{Effect, Effects};
use super::super::fold::{Laid as Outcome, lay};
use super::super::handler::{Context, Draft, Handlers, Stop};
use super::super::ids::{Buckets, EntryId};
use super::super::key::Key;
use super::super::rebase::{Laid, Ledger, Undo};
use super::super::row::{Image, Placement, RowName};
use super::super::store::StoreError;
use super::Event;
use super::store::{Counted, Own, Record, ReplicaStore};
use crate::mutant::{self, Mutant};

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
    fn outcome(
        &self,
        counted: Option<Counted<'_>>,
        buckets: Option<&Buckets>,
    ) -> Result<BTreeMap<RowName, Option<Image>>, StoreError> {
        let mut after = BTreeMap::new();
        let (effects, write_set) = match counted {
            None => return Ok(after),
            Some(Counted::Item(effects)) => (effects, None),
            Some(Counted::Own(effects)) => (effects, buckets),
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
    fn differing(
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

    /// Runs an own entry again, on the rows as they now stand (L4).
    fn run(&mut self, id: EntryId, record: &mut Record) -> Result<(), StoreError> {
        let Some(own) = &record.own else { return Ok(()) };
        let Some(intent) = &own.intent else { return Ok(()) };
        let context = Context { entry: id, time: own.time, buckets: self.buckets.cloned() };
        let mut draft = Draft::new(&context, &*self.store, self.placement);
        let refusal = match self.handlers.run(intent, &mut draft) {
            Ok(()) => None,
            Err(Stop::Refused(reason)) => Some(reason),
            Err(Stop::NoHandler) => {
                self.events.push(Event::HandlerMissing { id });
                return Ok(());
            }
            Err(Stop::Store(error)) => return Err(error),
        };
        let effects = if refusal.is_some() { Effects::default() } else { draft.effects()? };
        let lost = refusal.is_some() && mutant::on(Mutant::FailedReadsLost);
        let tables = if lost { BTreeSet::new() } else { draft.tables().clone() };
        let keeps = self.keeps(record, own, &effects)?;
        let Some(own) = &mut record.own else { return Ok(()) };
        own.tables = tables;
        if !keeps {
            own.effects = effects;
            if !mutant::on(Mutant::RevisionKept) {
                own.revision = own.revision.next();
            }
        }
        if own.succeeded != refusal.is_none() {
            own.succeeded = refusal.is_none();
            self.events.push(match refusal {
                Some(reason) => Event::Refused { id, reason },
                None => Event::Succeeded { id },
            });
        }
        Ok(())
    }

    /// Whether the content stands although the run came to `effects`: the entry as held gives the same rows here, or the run
    /// says what the server holds already, under the same buckets (it may have voided some of it).
    fn keeps(&self, record: &Record, own: &Own, effects: &Effects) -> Result<bool, StoreError> {
        let held = self.outcome(record.counted(), self.buckets)?;
        let run = self.outcome(Some(Counted::Own(effects)), self.buckets)?;
        let same_rows = self.differing(&held, &run)?.is_empty();
        let server = record.item.as_ref().and_then(|item| item.held.as_ref());
        let other_buckets = server.is_some_and(|server| {
            server.revision == own.revision && Some(&server.write_set) != self.buckets
        });
        let same_content =
            *effects == own.effects && (!other_buckets || mutant::on(Mutant::WriteSetOverlooked));
        if mutant::on(Mutant::RowsAloneDecide) {
            return Ok(same_rows);
        }
        Ok(same_rows || same_content)
    }
}

impl<S: ReplicaStore> Work<'_, S> {
    /// What L3 forbids: the effects of plain SQL become what they changed this time.
    fn recapture(
        &self,
        record: &mut Record,
        after: &BTreeMap<RowName, Option<Image>>,
    ) -> Result<(), StoreError> {
        let Some(own) = record.own.as_mut().filter(|own| own.intent.is_none()) else {
            return Ok(());
        };
        if record.item.is_some() {
            return Ok(());
        }
        let mut effects = Vec::new();
        for (row, after) in after {
            let effect = Effect::between(self.store.row(row)?.as_ref(), after.as_ref());
            effects.extend(effect.map(|effect| (row.clone(), effect)));
        }
        own.effects = effects.into_iter().collect();
        Ok(())
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
        if mutant::on(Mutant::PlainRecaptured) {
            self.recapture(&mut record, &after)?;
        }
        let mut footprint = record.footprint();
        if mutant::on(Mutant::VoidRowsUnnamed) {
            let stands = |row: &RowName| self.store.row(row).ok().flatten();
            footprint.rows.retain(|row| after.get(row).is_some_and(|after| *after != stands(row)));
        }
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
