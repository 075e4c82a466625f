//! Index of the steps by key, by row and by table.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use super::super::ids::Name;
use super::super::key::Key;
use super::super::row::RowName;

/// The rows and tables that a step touches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Footprint {
    /// The rows that its effect names, including void ones, and those that it wrote.
    pub rows: BTreeSet<RowName>,
    /// For a replay: the tables that its last run read or wrote, even if it failed. Empty for an
    /// effect.
    pub tables: BTreeSet<Name>,
}

impl Footprint {
    /// For a replay: its tables, and those of its rows.
    pub(super) fn reads(&self) -> impl Iterator<Item = &Name> {
        let of_rows = self.rows.iter().map(|row| &row.table);
        let is_replay = !self.tables.is_empty();
        self.tables.iter().chain(of_rows.filter(move |_| is_replay))
    }
}

/// All steps above the base.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    all: BTreeMap<Key, Footprint>,
    naming: BTreeMap<RowName, BTreeSet<Key>>,
    reading: BTreeMap<Name, BTreeSet<Key>>,
}

impl Steps {
    /// Adds a step, or replaces its footprint.
    pub fn put(&mut self, step: Key, footprint: Footprint) {
        if self.all.get(&step) == Some(&footprint) {
            return;
        }
        self.remove(&step);
        for row in &footprint.rows {
            insert(&mut self.naming, row, step);
        }
        for table in &footprint.tables {
            insert(&mut self.reading, table, step);
        }
        self.all.insert(step, footprint);
    }

    /// Removes a step.
    pub fn remove(&mut self, step: &Key) {
        let Some(footprint) = self.all.remove(step) else { return };
        footprint.rows.iter().for_each(|row| remove(&mut self.naming, row, step));
        footprint.tables.iter().for_each(|table| remove(&mut self.reading, table, step));
    }

    /// The footprint of a step.
    pub fn get(&self, step: &Key) -> Option<&Footprint> {
        self.all.get(step)
    }

    /// All steps, in key order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Key> {
        self.all.keys()
    }

    /// The last step.
    pub fn last(&self) -> Option<&Key> {
        self.all.keys().next_back()
    }

    /// Later steps that name the row.
    pub(super) fn naming<'a>(
        &'a self,
        row: &RowName,
        after: &Key,
    ) -> impl Iterator<Item = Key> + use<'a> {
        above(self.naming.get(row), after)
    }

    /// Later replays that read or wrote the table.
    pub(super) fn reading<'a>(
        &'a self,
        table: &Name,
        after: &Key,
    ) -> impl Iterator<Item = Key> + use<'a> {
        above(self.reading.get(table), after)
    }

    /// Later steps that name a row of the table.
    pub(super) fn writing<'a>(
        &'a self,
        table: &'a Name,
        after: &'a Key,
    ) -> impl Iterator<Item = Key> + use<'a> {
        let first = RowName { table: table.clone(), id: Name::from("") };
        let rows = self.naming.range(first..).take_while(move |(row, _)| row.table == *table);
        rows.flat_map(move |(_, steps)| above(Some(steps), after))
    }
}

fn above<'a>(steps: Option<&'a BTreeSet<Key>>, after: &Key) -> impl Iterator<Item = Key> + use<'a> {
    let after = *after;
    steps.into_iter().flat_map(move |steps| steps.range((Excluded(after), Unbounded)).copied())
}

fn insert<K: Ord + Clone>(index: &mut BTreeMap<K, BTreeSet<Key>>, name: &K, step: Key) {
    match index.get_mut(name) {
        Some(steps) => {
            steps.insert(step);
        }
        None => {
            index.insert(name.clone(), BTreeSet::from([step]));
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
