//! Reads and writes of the log that are sent together.
//!
//! Within [`LogTables::batched`] the history of a row is read around a key and kept, and links,
//! entries and current rows are kept and written at the end, the last version of each. A read that
//! the kept records do not answer writes them first. So every read returns what it returns without a
//! batch.
//!
//! An error of a write may be reported by a later call, or by the end of the batch. The caller rolls
//! the transaction back after any error.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;

use rejoin_log::ids::EntryId;
use rejoin_log::key::Key;
use rejoin_log::row::{LogRow, RowName};
use rejoin_log::server::store::{AcceptedEntry, Link};
use rejoin_log::store::StoreError;
use rejoin_protocol::Value;

use super::cells::{Cell, body, json, key, linked, name, named, number};
use super::statements::AHEAD;
use super::window::{Unknown, Window};
use super::{LogTables, Result, fit};
use crate::error::Fault;
use crate::model::LogTable;

/// What a transaction keeps for its log.
#[derive(Debug, Default)]
pub(in crate::store) struct LogSession {
    /// The fault behind the last error.
    pub(super) failure: RefCell<Option<Fault>>,
    batch: RefCell<Option<Batch>>,
}

/// The kept records of a batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    windows: BTreeMap<RowName, Window>,
    pending: Pending,
}

/// Records that are not written yet. `None` removes one.
#[derive(Debug, Default)]
struct Pending {
    links: BTreeMap<(RowName, Key), Option<Link>>,
    entries: BTreeMap<EntryId, AcceptedEntry>,
    current: BTreeMap<RowName, Option<LogRow>>,
}

/// A row of the application's table: its key, and cells by column.
pub(in crate::store) type CurrentRow<'v> = (Value, Vec<(usize, &'v Value)>);

/// Rows of a table, all with cells of the same columns.
type AlikeRows<'t, 'v> = (&'t LogTable, Vec<CurrentRow<'v>>);

impl Batch {
    pub(super) fn entry(&self, id: EntryId) -> Option<&AcceptedEntry> {
        self.pending.entries.get(&id)
    }

    pub(super) fn put_entry(&mut self, entry: &AcceptedEntry) {
        self.pending.entries.insert(entry.id, entry.clone());
    }

    pub(super) fn remove_entry(&mut self, id: EntryId) {
        self.pending.entries.remove(&id);
    }

    pub(super) fn put_base(&mut self, row: &RowName, image: Option<&LogRow>) {
        if let Some(window) = self.windows.get_mut(row) {
            window.set_base(image.cloned());
        }
    }

    pub(super) fn put_link(&mut self, row: &RowName, key: &Key, link: Option<&Link>) {
        if let Some(window) = self.windows.get_mut(row) {
            window.put(key, link);
        }
        self.pending.links.insert((row.clone(), *key), link.cloned());
    }

    pub(super) fn put_current(&mut self, row: &RowName, image: Option<&LogRow>) {
        self.pending.current.insert(row.clone(), image.cloned());
    }
}

impl LogTables<'_> {
    /// Does work whose reads and writes of the log are sent together; all are sent when it returns.
    /// In a read transaction this only does the work.
    pub fn batched<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if !self.database.writes() || self.batch().is_some() {
            return work();
        }
        *self.batch() = Some(Batch::default());
        let done = work().and_then(|done| {
            self.flush()?;
            Ok(done)
        });
        *self.batch() = None;
        done
    }

    /// The batch, within [`Self::batched`].
    pub(super) fn batch(&self) -> RefMut<'_, Option<Batch>> {
        self.database.session().batch.borrow_mut()
    }

    /// What the history around a key answers; `None` without a batch.
    pub(super) fn in_window<T>(
        &self,
        row: &RowName,
        key: &Key,
        answer: impl Fn(&Window) -> Result<T, Unknown>,
    ) -> Result<Option<T>> {
        let answer = || {
            let batch = self.batch();
            let window = batch.as_ref().map(|batch| batch.windows.get(row).ok_or(Unknown));
            window.map(|window| window.and_then(&answer)).transpose()
        };
        if let Ok(found) = answer() {
            return Ok(found);
        }
        self.read_windows(&BTreeMap::from([(row, key)]))?;
        answer().map_err(|Unknown| StoreError(format!("no history of {row:?} was read")))
    }

    /// Reads the histories of rows that are not known yet, each around its first key.
    pub(super) fn expect_rows(&self, rows: &[(&RowName, &Key)]) -> Result<()> {
        let mut first: BTreeMap<&RowName, &Key> = BTreeMap::new();
        if let Some(batch) = &*self.batch() {
            for (row, key) in rows.iter().filter(|(row, _)| !batch.windows.contains_key(*row)) {
                let first = first.entry(row).or_insert(key);
                *first = (*first).min(key);
            }
        }
        if first.is_empty() { Ok(()) } else { self.read_windows(&first) }
    }

    fn read_windows(&self, rows: &BTreeMap<&RowName, &Key>) -> Result<()> {
        self.flush()?;
        let mut windows: BTreeMap<RowName, Window> =
            rows.keys().map(|row| ((*row).clone(), Window::default())).collect();
        let keys: Vec<_> = rows.iter().map(|(row, key)| linked(row, key).into()).collect();
        for record in self.each(self.sql().links_around, &keys)? {
            let row = name(&record)?;
            if let (Some(window), Some(at)) = (windows.get_mut(&row), rows.get(&row)) {
                window.found(at, key(record.get(2))?, body(record.get(3))?);
            }
        }
        let names: Vec<_> = rows.keys().map(|row| named(row).into()).collect();
        for record in self.each(self.sql().named_base, &names)? {
            if let Some(window) = windows.get_mut(&name(&record)?) {
                window.set_base(body(record.get(2))?);
            }
        }
        for (row, window) in &mut windows {
            if let Some(at) = rows.get(row) {
                window.found_all(at, AHEAD);
            }
        }
        if let Some(batch) = &mut *self.batch() {
            batch.windows.append(&mut windows);
        }
        Ok(())
    }

    /// Writes the pending records.
    pub(super) fn flush(&self) -> Result<()> {
        let taken = self.batch().as_mut().map(|batch| std::mem::take(&mut batch.pending));
        let Some(Pending { links, entries, current }) = taken else { return Ok(()) };
        let mut put = Vec::with_capacity(links.len());
        for ((row, key), link) in &links {
            let [table, id, key] = linked(row, key);
            match link {
                Some(link) => put.push(vec![table, id, key, json(link)?]),
                None => self.put(self.sql().remove_link, &[table, id, key])?,
            }
        }
        self.each(self.sql().put_link, &put)?;
        let entries = entries.values().map(entry_cells).collect::<Result<Vec<_>>>()?;
        self.each(self.sql().put_entry, &entries)?;
        self.write_current(current.iter().map(|(row, image)| (row, image.as_ref())))
    }

    /// Runs a statement for each list of cells; returns the rows of all.
    fn each(&self, sql: &str, lists: &[Vec<Cell>]) -> Result<Vec<Vec<Cell>>> {
        if lists.is_empty() {
            return Ok(Vec::new());
        }
        self.database.query_each(sql, lists).map_err(|fault| self.failed(fault))
    }

    /// Writes rows of the application's tables, those with the same columns together.
    pub(super) fn write_current<'r>(
        &self,
        rows: impl Iterator<Item = (&'r RowName, Option<&'r LogRow>)>,
    ) -> Result<()> {
        let mut removed: BTreeMap<&str, (&LogTable, Vec<Value>)> = BTreeMap::new();
        let mut put: BTreeMap<(&str, Vec<usize>), AlikeRows<'_, '_>> = BTreeMap::new();
        for (row, image) in rows {
            let (table, key) = self.table(row)?;
            let Some(image) = image else {
                removed.entry(&table.name).or_insert((table, Vec::new())).1.push(key);
                continue;
            };
            let cells = fit::cells(table, row, image.columns())?;
            let columns = cells.iter().map(|(at, _)| *at).collect();
            let alike = put.entry((&table.name, columns)).or_insert((table, Vec::new()));
            alike.1.push((key, cells));
        }
        let database = self.database;
        let removed = removed.values().map(|(table, keys)| database.remove_rows(table, keys));
        let put = put.values().map(|(table, rows)| database.put_rows(table, rows));
        removed.chain(put).collect::<Result<(), Fault>>().map_err(|fault| self.failed(fault))
    }
}

/// The parameters of the statement that stores an entry.
pub(super) fn entry_cells(entry: &AcceptedEntry) -> Result<Vec<Cell>> {
    let (id, key, author) = (entry.id.0.into(), (&entry.key).into(), entry.key.author.0.into());
    Ok(vec![id, key, number(entry.position)?, author, json(entry)?])
}
