//! Index of the steps by key, by row and by table: its interface, and one in memory.
//!
//! The index is part of the store, so that a rebase reads only what it touches, and a log opens
//! without reading its entries. It makes no decision.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::Bound::{Excluded, Unbounded};

use serde::{Deserialize, Serialize};

use super::super::ids::Name;
use super::super::key::Key;
use super::super::row::RowName;
use super::super::store::StoreError;

/// The rows and tables that a step touches.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Footprint {
    /// The rows that its effect names, including void ones, and those that it wrote.
    pub rows: BTreeSet<RowName>,
    /// For a replay: the tables that its last run read or wrote, even if it failed. Empty for an
    /// effect.
    pub tables: BTreeSet<Name>,
}

impl Footprint {
    /// The tables of its rows.
    pub fn written(&self) -> BTreeSet<&Name> {
        self.rows.iter().map(|row| &row.table).collect()
    }

    /// For a replay: its tables, and those of its rows.
    pub(super) fn reads(&self) -> BTreeSet<&Name> {
        if self.tables.is_empty() {
            return BTreeSet::new();
        }
        self.written().into_iter().chain(&self.tables).collect()
    }
}

/// The steps above the base, found by key, by row and by table. Lists are in key order.
pub trait StepIndex: Debug {
    /// Adds a step, or replaces its footprint.
    fn put(&mut self, step: &Key, footprint: &Footprint) -> Result<(), StoreError>;
    /// Removes a step, if it is there.
    fn remove(&mut self, step: &Key) -> Result<(), StoreError>;
    /// The footprint of a step.
    fn get(&self, step: &Key) -> Result<Option<Footprint>, StoreError>;
    /// All steps.
    fn keys(&self) -> Result<Vec<Key>, StoreError>;
    /// The last step.
    fn last(&self) -> Result<Option<Key>, StoreError>;
    /// Later steps that name the row.
    fn naming(&self, row: &RowName, after: &Key) -> Result<Vec<Key>, StoreError>;
    /// Later replays that read or wrote the table.
    fn reading(&self, table: &Name, after: &Key) -> Result<Vec<Key>, StoreError>;
    /// Later steps that name a row of the table.
    fn writing(&self, table: &Name, after: &Key) -> Result<Vec<Key>, StoreError>;
}

/// All steps in memory. Never fails.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    all: BTreeMap<Key, Footprint>,
    naming: BTreeMap<RowName, BTreeSet<Key>>,
    reading: BTreeMap<Name, BTreeSet<Key>>,
    writing: BTreeMap<Name, BTreeSet<Key>>,
}

impl StepIndex for Steps {
    fn put(&mut self, step: &Key, footprint: &Footprint) -> Result<(), StoreError> {
        if self.all.get(step) == Some(footprint) {
            return Ok(());
        }
        self.remove(step)?;
        footprint.rows.iter().for_each(|row| insert(&mut self.naming, row, step));
        footprint.tables.iter().for_each(|table| insert(&mut self.reading, table, step));
        footprint.written().into_iter().for_each(|table| insert(&mut self.writing, table, step));
        self.all.insert(*step, footprint.clone());
        Ok(())
    }

    fn remove(&mut self, step: &Key) -> Result<(), StoreError> {
        let Some(footprint) = self.all.remove(step) else { return Ok(()) };
        footprint.rows.iter().for_each(|row| remove(&mut self.naming, row, step));
        footprint.tables.iter().for_each(|table| remove(&mut self.reading, table, step));
        footprint.written().into_iter().for_each(|table| remove(&mut self.writing, table, step));
        Ok(())
    }

    fn get(&self, step: &Key) -> Result<Option<Footprint>, StoreError> {
        Ok(self.all.get(step).cloned())
    }

    fn keys(&self) -> Result<Vec<Key>, StoreError> {
        Ok(self.all.keys().copied().collect())
    }

    fn last(&self) -> Result<Option<Key>, StoreError> {
        Ok(self.all.keys().next_back().copied())
    }

    fn naming(&self, row: &RowName, after: &Key) -> Result<Vec<Key>, StoreError> {
        Ok(above(self.naming.get(row), after))
    }

    fn reading(&self, table: &Name, after: &Key) -> Result<Vec<Key>, StoreError> {
        Ok(above(self.reading.get(table), after))
    }

    fn writing(&self, table: &Name, after: &Key) -> Result<Vec<Key>, StoreError> {
        Ok(above(self.writing.get(table), after))
    }
}

fn above(steps: Option<&BTreeSet<Key>>, after: &Key) -> Vec<Key> {
    let later =
        |steps: &BTreeSet<Key>| steps.range((Excluded(after), Unbounded)).copied().collect();
    steps.map(later).unwrap_or_default()
}

fn insert<K: Ord + Clone>(index: &mut BTreeMap<K, BTreeSet<Key>>, name: &K, step: &Key) {
    match index.get_mut(name) {
        Some(steps) => {
            steps.insert(*step);
        }
        None => {
            index.insert(name.clone(), BTreeSet::from([*step]));
        }
    }
}

fn remove<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Key>>, name: &K, step: &Key) {
    if let Some(steps) = index.get_mut(name) {
        steps.remove(step);
        if steps.is_empty() {
            index.remove(name);
        }
    }
}
