//! The horizon: entries below it are folded into the base, and final.

use super::super::key::Key;
use super::super::store::StoreError;
use super::Server;
use super::store::{AcceptedEntry, LogStore};

impl<S: LogStore> Server<S> {
    /// Raises the horizon to `to`, or to the key that the retention allows: it stays below every
    /// entry whose item moved within the retention. It never decreases. Returns the horizon.
    pub fn raise_horizon(&mut self, to: Key, now: u64) -> Result<Key, StoreError> {
        let mut reached = self.facts.horizon;
        for entry in self.entries()? {
            if entry.key > to {
                break;
            }
            if entry.moved_at.saturating_add(self.limits.retention) > now {
                return self.set_horizon(reached);
            }
            self.fold_away(&entry)?;
            reached = entry.key;
        }
        self.set_horizon(to.max(reached))
    }

    fn set_horizon(&mut self, horizon: Key) -> Result<Key, StoreError> {
        self.facts.horizon = horizon;
        self.store.set_facts(&self.facts)?;
        Ok(horizon)
    }

    /// Folds the first entry above the horizon into the base. Its id is kept while its author is
    /// registered.
    fn fold_away(&mut self, entry: &AcceptedEntry) -> Result<(), StoreError> {
        for (row, _) in entry.content.effects.iter() {
            if let Some(link) = self.store.link(row, &entry.key)? {
                self.store.put_base(row, link.after.as_ref())?;
                self.store.put_link(row, &entry.key, None)?;
            }
        }
        let author = entry.key.author;
        if self.store.author(author)?.is_some() {
            self.store.put_final(entry.id, author)?;
        }
        self.facts.floor = self.facts.floor.max(entry.position);
        self.store.remove_entry(entry.id)
    }
}
