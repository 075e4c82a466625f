//! In-memory log store, for tests and simulations, and a reference for other stores. A copy of it
//! is a backup.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use super::super::ids::{AuthorId, EntryId, UserId};
use super::super::key::Key;
use super::super::row::{LogRow, RowName};
use super::super::store::StoreError;
use super::store::{AcceptedEntry, Author, Link, LogFacts, LogStore, Membership};

/// Keeps everything in trees. Never fails.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    facts: Option<LogFacts>,
    entries: BTreeMap<EntryId, AcceptedEntry>,
    keys: BTreeMap<Key, EntryId>,
    positions: BTreeMap<u64, EntryId>,
    base: BTreeMap<RowName, LogRow>,
    current: BTreeMap<RowName, LogRow>,
    links: BTreeMap<RowName, BTreeMap<Key, Link>>,
    final_ids: BTreeMap<EntryId, AuthorId>,
    authors: BTreeMap<AuthorId, Author>,
    members: BTreeMap<UserId, Membership>,
}

impl MemoryLog {
    /// All rows as they now stand, in name order.
    pub fn current_rows(&self) -> Vec<(RowName, LogRow)> {
        self.current.iter().map(|(row, image)| (row.clone(), image.clone())).collect()
    }
}

/// Sets or removes a row.
fn put(rows: &mut BTreeMap<RowName, LogRow>, row: &RowName, image: Option<&LogRow>) {
    match image {
        Some(image) => rows.insert(row.clone(), image.clone()),
        None => rows.remove(row),
    };
}

impl LogStore for MemoryLog {
    fn facts(&self) -> Result<Option<LogFacts>, StoreError> {
        Ok(self.facts.clone())
    }

    fn set_facts(&mut self, facts: &LogFacts) -> Result<(), StoreError> {
        self.facts = Some(facts.clone());
        Ok(())
    }

    fn entry(&self, id: EntryId) -> Result<Option<AcceptedEntry>, StoreError> {
        Ok(self.entries.get(&id).cloned())
    }

    fn put_entry(&mut self, entry: &AcceptedEntry) -> Result<(), StoreError> {
        self.remove_entry(entry.id)?;
        self.keys.insert(entry.key, entry.id);
        self.positions.insert(entry.position, entry.id);
        self.entries.insert(entry.id, entry.clone());
        Ok(())
    }

    fn remove_entry(&mut self, id: EntryId) -> Result<(), StoreError> {
        if let Some(old) = self.entries.remove(&id) {
            self.keys.remove(&old.key);
            self.positions.remove(&old.position);
        }
        Ok(())
    }

    fn by_key(&self, after: &Key, limit: usize) -> Result<Vec<EntryId>, StoreError> {
        let above = self.keys.range((Excluded(after), Unbounded));
        Ok(above.map(|(_, id)| *id).take(limit).collect())
    }

    fn by_position(&self, after: u64, limit: usize) -> Result<Vec<EntryId>, StoreError> {
        let above = self.positions.range((Excluded(after), Unbounded));
        Ok(above.map(|(_, id)| *id).take(limit).collect())
    }

    fn base(&self, row: &RowName) -> Result<Option<LogRow>, StoreError> {
        Ok(self.base.get(row).cloned())
    }

    fn put_base(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<(), StoreError> {
        put(&mut self.base, row, image);
        Ok(())
    }

    fn base_after(
        &self,
        after: Option<&RowName>,
        limit: usize,
    ) -> Result<Vec<(RowName, LogRow)>, StoreError> {
        let above = self.base.range((after.map_or(Unbounded, Excluded), Unbounded));
        Ok(above.take(limit).map(|(row, image)| (row.clone(), image.clone())).collect())
    }

    fn current(&self, row: &RowName) -> Result<Option<LogRow>, StoreError> {
        Ok(self.current.get(row).cloned())
    }

    fn put_current(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<(), StoreError> {
        put(&mut self.current, row, image);
        Ok(())
    }

    fn link(&self, row: &RowName, key: &Key) -> Result<Option<Link>, StoreError> {
        Ok(self.links.get(row).and_then(|links| links.get(key)).cloned())
    }

    fn link_before(&self, row: &RowName, key: &Key) -> Result<Option<Link>, StoreError> {
        let links = self.links.get(row);
        Ok(links.and_then(|links| links.range(..key).next_back()).map(|(_, link)| link.clone()))
    }

    fn link_after(&self, row: &RowName, key: &Key) -> Result<Option<(Key, Link)>, StoreError> {
        let links = self.links.get(row);
        let next = links.and_then(|links| links.range((Excluded(key), Unbounded)).next());
        Ok(next.map(|(key, link)| (*key, link.clone())))
    }

    fn put_link(
        &mut self,
        row: &RowName,
        key: &Key,
        link: Option<&Link>,
    ) -> Result<(), StoreError> {
        if let Some(link) = link {
            self.links.entry(row.clone()).or_default().insert(*key, link.clone());
        } else if let Some(links) = self.links.get_mut(row) {
            links.remove(key);
            if links.is_empty() {
                self.links.remove(row);
            }
        }
        Ok(())
    }

    fn linked_rows(&self) -> Result<Vec<RowName>, StoreError> {
        Ok(self.links.keys().cloned().collect())
    }

    fn stored_among(&self, ids: &[EntryId]) -> Result<BTreeSet<EntryId>, StoreError> {
        let is_stored =
            |id: &&EntryId| self.entries.contains_key(*id) || self.final_ids.contains_key(*id);
        Ok(ids.iter().filter(is_stored).copied().collect())
    }

    fn final_author(&self, id: EntryId) -> Result<Option<AuthorId>, StoreError> {
        Ok(self.final_ids.get(&id).copied())
    }

    fn put_final(&mut self, id: EntryId, author: AuthorId) -> Result<(), StoreError> {
        self.final_ids.insert(id, author);
        Ok(())
    }

    fn author(&self, id: AuthorId) -> Result<Option<Author>, StoreError> {
        Ok(self.authors.get(&id).cloned())
    }

    fn put_author(&mut self, id: AuthorId, author: &Author) -> Result<(), StoreError> {
        self.authors.insert(id, author.clone());
        Ok(())
    }

    fn remove_author(&mut self, id: AuthorId) -> Result<(), StoreError> {
        self.authors.remove(&id);
        self.final_ids.retain(|_, author| *author != id);
        Ok(())
    }

    fn membership(&self, user: &UserId) -> Result<Membership, StoreError> {
        Ok(self.members.get(user).cloned().unwrap_or_default())
    }

    fn put_membership(&mut self, user: &UserId, membership: &Membership) -> Result<(), StoreError> {
        self.members.insert(user.clone(), membership.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryLog;
    use crate::log_store_contract;

    log_store_contract!(MemoryLog::default());
}
