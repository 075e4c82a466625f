//! Runs actions again, and decides whether the result is new content.

use super::super::effect::Effects;
use super::super::entry::Intent;
use super::super::handler::{Context, Draft, Ran, Stop};
use super::super::ids::EntryId;
use super::super::row::LogRow;
use super::super::store::StoreError;
use super::super::write_set::WriteSet;
use super::ReplicaEvent;
use super::ledger::ReplicaRebase;
use super::store::{AuthorityEntry, Counted, OwnEntry, Record, ReplicaStore};
use rejoin_protocol::mutant::{self, Mutant};

impl<S: ReplicaStore> ReplicaRebase<'_, S> {
    /// Runs an entry again on the current rows, as the author or as the authority.
    pub(super) fn run(&mut self, id: EntryId, record: &mut Record) -> Result<(), StoreError> {
        if record.authority.is_some() {
            return self.run_as_authority(id, record);
        }
        let Some(own) = &record.own else { return Ok(()) };
        let (time, buckets) = (own.time, self.buckets.map(WriteSet::buckets).cloned());
        let context = Context { entry: id, time, buckets, readable: None };
        let Some(run) = self.attempt(own.intent.as_ref(), &context)? else {
            return Ok(());
        };
        let keeps = self.keeps(record, own, &run.effects)?;
        let Some(own) = &mut record.own else { return Ok(()) };
        own.tables = run.tables;
        let before = own.effects.clone();
        if !keeps {
            own.effects = run.effects;
            if !mutant::on(Mutant::RevisionKept) {
                own.revision = own.revision.next();
            }
        }
        if own.refusal.is_some() != run.refusal.is_some() {
            self.events.push(match run.refusal.clone() {
                Some(reason) => ReplicaEvent::Refused { id, reason, before },
                None => ReplicaEvent::Succeeded { id },
            });
        }
        own.refusal = run.refusal;
        Ok(())
    }

    /// Runs an entry as the authority on behalf of its author: with the author's buckets, on the rows
    /// that the author reads.
    fn run_as_authority(&mut self, id: EntryId, record: &mut Record) -> Result<(), StoreError> {
        let Some(authority) = &record.authority else { return Ok(()) };
        let whole = &authority.whole;
        let write_set = whole.content.write_set.clone();
        let counted = self.outcome(record.counted(), None)?;
        for (row, after) in &counted {
            let hides = |image: &LogRow| write_set.hides(row, image, self.placement);
            if after.as_ref().is_some_and(hides) || self.store.row(row)?.as_ref().is_some_and(hides)
            {
                // Its author could not run it again, either.
                return Ok(());
            }
        }
        let (buckets, readable) =
            (Some(write_set.buckets().clone()), Some(write_set.reads().clone()));
        let context = Context { entry: id, time: whole.time, buckets, readable };
        let Some(run) = self.attempt(whole.intent.as_ref(), &context)? else {
            return Ok(());
        };
        let comes_to = self.outcome(Some(Counted::Whole(&run.effects, &write_set)), None)?;
        let keeps = self.differing(&counted, &comes_to)?.is_empty();
        if let Some(authority) = &mut record.authority {
            authority.tables = run.tables;
            if !keeps {
                authority.effects = run.effects;
            }
        }
        Ok(())
    }

    /// One run; `None` if there is no handler for it, so that the recorded effects are kept.
    fn attempt(
        &mut self,
        intent: Option<&Intent>,
        context: &Context,
    ) -> Result<Option<Ran>, StoreError> {
        let Some(intent) = intent else { return Ok(None) };
        self.runs += 1;
        let ran = match self.store.run_action(intent, context) {
            Some(ran) => ran,
            None => self.handled(intent, context),
        };
        match ran {
            Ok(ran) => Ok(Some(ran)),
            Err(Stop::NoHandler) => {
                self.events.push(ReplicaEvent::HandlerMissing { id: context.entry });
                Ok(None)
            }
            Err(Stop::Refused(reason)) => Ok(Some(Ran { refusal: Some(reason), ..Ran::default() })),
            Err(Stop::Store(error)) => Err(error),
        }
    }

    /// One run by the handlers of the replica.
    fn handled(&self, intent: &Intent, context: &Context) -> Result<Ran, Stop> {
        let mut draft = Draft::new(context, &*self.store, self.placement);
        let refusal = match self.handlers.run(intent, &mut draft) {
            Ok(()) => None,
            Err(Stop::Refused(reason)) => Some(reason),
            Err(stop) => return Err(stop),
        };
        let effects = if refusal.is_some() { Effects::default() } else { draft.effects()? };
        Ok(Ran { effects, tables: draft.tables().clone(), refusal })
    }

    /// Whether to keep the content although the run gave `effects`. Either the current content
    /// gives the same rows, or the server already holds these effects with the same write set (it
    /// may have voided some).
    fn keeps(
        &self,
        record: &Record,
        own: &OwnEntry,
        effects: &Effects,
    ) -> Result<bool, StoreError> {
        // Does not check what is void: that depends on the membership, whose change may cause no
        // run.
        let held = self.outcome(record.counted(), None)?;
        let comes_to = self.outcome(Some(Counted::Own(effects)), None)?;
        let same_rows = self.differing(&held, &comes_to)?.is_empty();
        let server = record.item.as_ref().and_then(|item| item.held.as_ref());
        let other_buckets = server.is_some_and(|server| {
            server.revision == own.revision && Some(&server.write_set) != self.buckets
        });
        if same_rows || other_buckets || *effects == own.effects {
            return Ok(same_rows || !other_buckets);
        }
        let meant = self.outcome(Some(Counted::Own(&own.effects)), None)?;
        Ok(self.differing(&meant, &comes_to)?.is_empty())
    }
}

impl AuthorityEntry {
    /// Whether the authority must send a correction.
    pub fn corrects(&self) -> bool {
        self.effects != self.whole.content.effects
    }
}
