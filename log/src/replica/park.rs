//! Parked entries, and the list of pending ones.

use super::super::ids::EntryId;
use super::super::key::Key;
use super::super::store::StoreError;
use super::store::{Authority, Record, ReplicaStore, Waiting};
use super::write::Written;
use super::{LogError, PendingEntry, Replica};

impl<S: ReplicaStore> Replica<S> {
    /// Own entries whose newest revision is not on the server, in key order.
    pub fn pending(&self) -> Result<Vec<PendingEntry>, StoreError> {
        self.listed(Waiting::Server)
    }

    /// Own entries that the server denied, in key order.
    pub fn parked(&self) -> Result<Vec<PendingEntry>, StoreError> {
        self.listed(Waiting::User)
    }

    fn listed(&self, what: Waiting) -> Result<Vec<PendingEntry>, StoreError> {
        let mut list = Vec::new();
        for id in self.store.waiting_ids(what, usize::MAX)? {
            if let Some(Record { key, own: Some(own), .. }) = self.store.record(id)? {
                let (revision, acknowledged, succeeded) =
                    (own.revision, own.acknowledged, own.refusal.is_none());
                list.push(PendingEntry { id, key, revision, acknowledged, succeeded });
            }
        }
        Ok(list)
    }

    /// Retries a parked entry at its old key: it takes effect when it was performed, not when it
    /// was retried. An action is run again.
    pub fn retry(&mut self, id: EntryId) -> Result<(), LogError> {
        let mut record = self.parked_record(id)?;
        let mut edit = self.edit();
        if let Some(own) = &mut record.own {
            own.authority = Authority::Mine;
            own.revision = own.revision.next();
        }
        self.set(&mut edit, id, Some(record))?;
        Ok(self.commit(edit)?)
    }

    /// Replaces a parked entry with a new one, `new`, with a key of now. If that is rejected, the
    /// parked entry stays.
    pub fn edit_parked(
        &mut self,
        id: EntryId,
        new: EntryId,
        written: Written,
        wall: u64,
    ) -> Result<(), LogError> {
        self.parked_record(id)?;
        match written {
            Written::Action(intent) => self.perform(new, intent, wall)?,
            Written::Plain(effects) => self.write(new, effects, wall)?,
        }
        self.discard(id)
    }

    /// Removes a parked entry.
    pub fn discard(&mut self, id: EntryId) -> Result<(), LogError> {
        self.parked_record(id)?;
        let mut edit = self.edit();
        self.set(&mut edit, id, None)?;
        Ok(self.commit(edit)?)
    }

    /// Runs an own action again that now rejects: it may succeed with another handler or input.
    pub fn run_again(&mut self, id: EntryId) -> Result<(), LogError> {
        let record = self.refused_record(id)?;
        let mut edit = self.edit();
        edit.change.run.insert(record.key);
        self.set(&mut edit, id, Some(record))?;
        Ok(self.commit(edit)?)
    }

    /// Ends an own action that now rejects: it has no effect, and is not run again.
    pub fn give_up(&mut self, id: EntryId) -> Result<(), LogError> {
        let mut record = self.refused_record(id)?;
        if let Some(own) = &mut record.own {
            own.intent = None;
            own.refusal = None;
            own.given_up = true;
        }
        let mut edit = self.edit();
        self.set(&mut edit, id, Some(record))?;
        Ok(self.commit(edit)?)
    }

    fn refused_record(&self, id: EntryId) -> Result<Record, LogError> {
        let record = self.store.record(id)?.filter(Record::is_refused);
        record.ok_or(LogError::NotThere(id))
    }

    fn parked_record(&self, id: EntryId) -> Result<Record, LogError> {
        let parked = |record: &Record| record.waits_for() == Some(Waiting::User);
        self.store.record(id)?.filter(parked).ok_or(LogError::NotThere(id))
    }

    /// The key of an entry, if it is known here.
    pub fn key_of(&self, id: EntryId) -> Result<Option<Key>, StoreError> {
        Ok(self.store.record(id)?.map(|record| record.key))
    }
}
