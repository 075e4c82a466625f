//! Parked entries, and the list of what waits.

use super::super::ids::EntryId;
use super::super::key::Key;
use super::super::store::StoreError;
use super::store::{Authority, Record, ReplicaStore};
use super::write::Written;
use super::{LogError, Replica, Standing};

impl<S: ReplicaStore> Replica<S> {
    /// Own entries of which the server lacks the newest revision, in the order of keys.
    pub fn pending(&self) -> Result<Vec<Standing>, StoreError> {
        self.listed(Record::is_pending)
    }

    /// Own entries that the server denied and that wait for the app, in the order of keys.
    pub fn parked(&self) -> Result<Vec<Standing>, StoreError> {
        self.listed(is_parked)
    }

    fn listed(&self, wanted: impl Fn(&Record) -> bool) -> Result<Vec<Standing>, StoreError> {
        let mut list = Vec::new();
        for id in self.store.own_ids()? {
            let record = self.store.record(id)?.filter(&wanted);
            if let Some(Record { key, own: Some(own), .. }) = record {
                let (revision, acknowledged, succeeded) =
                    (own.revision, own.acknowledged, own.succeeded);
                list.push(Standing { id, key, revision, acknowledged, succeeded });
            }
        }
        Ok(list)
    }

    /// Tries a parked entry again, in its old place: it counts when it was done, not when it was retried. An action is run again.
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

    /// Does something else in place of a parked entry, as the entry `new`, now: another decision is another entry. If that
    /// is refused, the parked one stays.
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

    /// Forgets a parked entry.
    pub fn discard(&mut self, id: EntryId) -> Result<(), LogError> {
        self.parked_record(id)?;
        let mut edit = self.edit();
        self.set(&mut edit, id, None)?;
        Ok(self.commit(edit)?)
    }

    fn parked_record(&self, id: EntryId) -> Result<Record, LogError> {
        self.store.record(id)?.filter(is_parked).ok_or(LogError::NotThere(id))
    }

    /// Whether an entry is known here, and at which key.
    pub fn key_of(&self, id: EntryId) -> Result<Option<Key>, StoreError> {
        Ok(self.store.record(id)?.map(|record| record.key))
    }
}

fn is_parked(record: &Record) -> bool {
    record.own.as_ref().is_some_and(|own| own.authority == Authority::Parked)
}
