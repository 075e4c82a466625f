//! In-memory store of a replica, for tests and simulations, and a reference for other stores. A
//! copy of it is a backup.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::super::ids::{EntryId, Name};
use super::super::key::Key;
use super::super::message::snapshot::SnapshotPage;
use super::super::rebase::{StepIndex, Steps};
use super::super::row::{LogRow, RowName};
use super::super::store::{LogRows, StoreError, Table};
use super::store::{Facts, Record, ReplicaStore, Waiting};

/// Keeps everything in trees. Never fails.
#[derive(Debug, Clone, Default)]
pub struct MemoryReplica {
    facts: Option<Facts>,
    rows: BTreeMap<RowName, LogRow>,
    records: BTreeMap<EntryId, Record>,
    keys: BTreeMap<Key, EntryId>,
    own: BTreeMap<Key, EntryId>,
    waiting: BTreeMap<Key, (EntryId, Waiting)>,
    steps: Steps,
    pages: Vec<SnapshotPage>,
}

impl MemoryReplica {
    /// Copies the content of any store.
    pub fn copy_of<S: ReplicaStore>(store: &S) -> Result<Self, StoreError> {
        let mut copy = Self { facts: store.facts()?, ..Self::default() };
        copy.rows.extend(store.all_rows()?);
        for id in store.ids(&Key::LAST)? {
            if let Some(record) = store.record(id)? {
                copy.put_record(id, &record)?;
            }
        }
        for step in store.steps().keys()? {
            if let Some(footprint) = store.steps().get(&step)? {
                copy.steps.put(&step, &footprint)?;
            }
        }
        while let Some((_, page)) = store.page_after(copy.pages.len() as u64)? {
            copy.pages.push(page);
        }
        Ok(copy)
    }
}

impl LogRows for MemoryReplica {
    fn row(&self, row: &RowName) -> Result<Option<LogRow>, StoreError> {
        Ok(self.rows.get(row).cloned())
    }

    fn table(&self, table: &Name) -> Result<Vec<(RowName, LogRow)>, StoreError> {
        let first = RowName { table: table.clone(), id: Name::from("") };
        let rows = self.rows.range(first..).take_while(|(row, _)| row.table == *table);
        Ok(rows.map(|(row, image)| (row.clone(), image.clone())).collect())
    }
}

impl Table for MemoryReplica {
    fn put_row(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<(), StoreError> {
        match image {
            Some(image) => self.rows.insert(row.clone(), image.clone()),
            None => self.rows.remove(row),
        };
        Ok(())
    }

    fn all_rows(&self) -> Result<Vec<(RowName, LogRow)>, StoreError> {
        Ok(self.rows.iter().map(|(row, image)| (row.clone(), image.clone())).collect())
    }
}

impl ReplicaStore for MemoryReplica {
    fn facts(&self) -> Result<Option<Facts>, StoreError> {
        Ok(self.facts.clone())
    }

    fn set_facts(&mut self, facts: &Facts) -> Result<(), StoreError> {
        self.facts = Some(facts.clone());
        Ok(())
    }

    fn record(&self, id: EntryId) -> Result<Option<Record>, StoreError> {
        Ok(self.records.get(&id).cloned())
    }

    fn put_record(&mut self, id: EntryId, record: &Record) -> Result<(), StoreError> {
        self.remove_record(id)?;
        self.keys.insert(record.key, id);
        if record.own.is_some() {
            self.own.insert(record.key, id);
        }
        if let Some(what) = record.waits_for() {
            self.waiting.insert(record.key, (id, what));
        }
        self.records.insert(id, record.clone());
        Ok(())
    }

    fn remove_record(&mut self, id: EntryId) -> Result<(), StoreError> {
        if let Some(old) = self.records.remove(&id) {
            self.keys.remove(&old.key);
            self.own.remove(&old.key);
            self.waiting.remove(&old.key);
        }
        Ok(())
    }

    fn ids(&self, up_to: &Key) -> Result<Vec<EntryId>, StoreError> {
        Ok(self.keys.range(..=up_to).map(|(_, id)| *id).collect())
    }

    fn own_ids(&self) -> Result<Vec<EntryId>, StoreError> {
        Ok(self.own.values().copied().collect())
    }

    fn waiting_ids(&self, what: Waiting, limit: usize) -> Result<Vec<EntryId>, StoreError> {
        let waiting = self.waiting.values().filter(|(_, waits)| *waits == what);
        Ok(waiting.map(|(id, _)| *id).take(limit).collect())
    }

    fn put_page(&mut self, page: &SnapshotPage) -> Result<(), StoreError> {
        self.pages.push(page.clone());
        Ok(())
    }

    fn page_after(&self, number: u64) -> Result<Option<(u64, SnapshotPage)>, StoreError> {
        let page = usize::try_from(number).ok().and_then(|number| self.pages.get(number));
        Ok(page.map(|page| (number + 1, page.clone())))
    }

    fn clear_pages(&mut self) -> Result<(), StoreError> {
        self.pages.clear();
        Ok(())
    }

    fn names_between(
        &self,
        after: Option<&RowName>,
        through: Option<&RowName>,
    ) -> Result<Vec<RowName>, StoreError> {
        if after.zip(through).is_some_and(|(after, through)| after >= through) {
            return Ok(Vec::new());
        }
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let through = through.map_or(Bound::Unbounded, Bound::Included);
        Ok(self.rows.range((after, through)).map(|(row, _)| row.clone()).collect())
    }

    fn steps(&self) -> &dyn StepIndex {
        &self.steps
    }

    fn steps_mut(&mut self) -> &mut dyn StepIndex {
        &mut self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryReplica;
    use crate::replica_store_contract;

    replica_store_contract!(MemoryReplica::default());
}
