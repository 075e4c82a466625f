//! Reads and writes of the log that are sent together.
//!
//! Within [`LogTables::batched`] the history of a row is read around a key and kept, and links,
//! entries, current rows, authors and facts are kept and written at the end, the last version of
//! each. A read that the kept records do not answer writes them first. So every read returns what it
//! returns without a batch. What [`LogTables::expect_request`] read is kept until the next write.
//!
//! An error of a write may be reported by a later call, or by the end of the batch. The caller rolls
//! the transaction back after any error.

use std::borrow::Cow;
use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;

use rejoin_log::ids::{AuthorId, EntryId};
use rejoin_log::key::Key;
use rejoin_log::row::{LogRow, RowName};
use rejoin_log::server::store::{AcceptedEntry, Author, Link, LogFacts};
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
    /// Queries with their rows, as the database still answers them.
    ahead: RefCell<Vec<(Query, Vec<Vec<Cell>>)>>,
}

/// A query, and the lists of cells that it runs for.
pub(in crate::store) type Query = (Cow<'static, str>, Vec<Vec<Cell>>);

impl LogSession {
    pub(super) fn keep_ahead(&self, found: impl Iterator<Item = (Query, Vec<Vec<Cell>>)>) {
        *self.ahead.borrow_mut() = found.collect();
    }

    pub(super) fn read_ahead(&self, sql: &str, cells: &[Cell]) -> Option<Vec<Vec<Cell>>> {
        let ahead = self.ahead.borrow();
        let is_it = |((text, lists), _): &&(Query, _)| *text == sql && *lists == [cells];
        ahead.iter().find(is_it).map(|(_, rows)| rows.clone())
    }

    pub(in crate::store) fn forget_ahead(&self) {
        self.ahead.borrow_mut().clear();
    }
}

/// A statement, and the lists of cells that it runs for. One with many lists is an insert.
type Statement = (&'static str, Vec<Vec<Cell>>);

/// Writes that are sent together, in this order.
#[derive(Debug)]
pub(in crate::store) struct LogWrites<'w> {
    pub(in crate::store) records: Vec<Statement>,
    /// The keys of rows that are removed.
    pub(in crate::store) removed: Vec<(&'w LogTable, Vec<Value>)>,
    /// Rows, those of an item all with cells of the same columns, and defaults in the others.
    pub(in crate::store) rows: Vec<AlikeRows<'w, 'w>>,
}

/// The kept records of a batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    windows: BTreeMap<RowName, Window>,
    pending: Pending,
    /// Written after the pending records, at the end.
    authors: BTreeMap<AuthorId, Author>,
    facts: Option<LogFacts>,
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

    pub(super) fn author(&self, id: AuthorId) -> Option<&Author> {
        self.authors.get(&id)
    }

    pub(super) fn put_author(&mut self, id: AuthorId, author: &Author) {
        self.authors.insert(id, author.clone());
    }

    pub(super) fn remove_author(&mut self, id: AuthorId) {
        self.authors.remove(&id);
    }

    pub(super) fn facts(&self) -> Option<&LogFacts> {
        self.facts.as_ref()
    }

    pub(super) fn set_facts(&mut self, facts: &LogFacts) {
        self.facts = Some(facts.clone());
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
        let done = work();
        let batch = self.batch().take();
        if let (Ok(_), Some(batch)) = (&done, batch) {
            self.write_batch(batch)?;
        }
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
        let keys = rows.iter().map(|(row, key)| linked(row, key).into()).collect();
        let names = rows.keys().map(|row| named(row).into()).collect();
        let asked: [Query; 2] =
            [(self.sql().links_around.into(), keys), (self.sql().named_base.into(), names)];
        let found = self.database.query_all(&asked).map_err(|fault| self.failed(fault))?;
        let [links, bases] = found.try_into().unwrap_or_default();
        for record in links {
            let row = name(&record)?;
            if let (Some(window), Some(at)) = (windows.get_mut(&row), rows.get(&row)) {
                window.found(at, key(record.get(2))?, body(record.get(3))?);
            }
        }
        for record in bases {
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
        let batch = taken.map(|pending| Batch { pending, ..Batch::default() });
        batch.map_or(Ok(()), |batch| self.write_batch(batch))
    }

    fn write_batch(&self, batch: Batch) -> Result<()> {
        let Batch { pending: Pending { links, entries, current }, authors, facts, .. } = batch;
        let (sql, mut records) = (self.sql(), Vec::new());
        let mut put = Vec::with_capacity(links.len());
        for ((row, key), link) in &links {
            let [table, id, key] = linked(row, key);
            match link {
                Some(link) => put.push(vec![table, id, key, json(link)?]),
                None => records.push((sql.remove_link, vec![vec![table, id, key]])),
            }
        }
        let entries = entries.values().map(entry_cells).collect::<Result<_>>()?;
        let authors = authors.iter().map(|(id, author)| Ok(vec![id.0.into(), json(author)?]));
        let facts = facts.iter().map(|facts| Ok(vec![json(facts)?]));
        records.extend([
            (sql.put_link, put),
            (sql.put_entry, entries),
            (sql.put_author, authors.collect::<Result<_>>()?),
            (sql.set_facts, facts.collect::<Result<_>>()?),
        ]);
        records.retain(|(_, lists)| !lists.is_empty());
        self.write_all(records, current.iter().map(|(row, image)| (row, image.as_ref())))
    }

    /// Writes records, and rows of the application's tables, those with the same columns together.
    pub(super) fn write_all<'r>(
        &self,
        records: Vec<Statement>,
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
        let (removed, rows) = (removed.into_values().collect(), put.into_values().collect());
        let writes = LogWrites { records, removed, rows };
        if writes.records.is_empty() && writes.removed.is_empty() && writes.rows.is_empty() {
            return Ok(());
        }
        self.database.session().forget_ahead();
        self.database.write_all(&writes).map_err(|fault| self.failed(fault))
    }
}

/// The parameters of the statement that stores an entry.
pub(super) fn entry_cells(entry: &AcceptedEntry) -> Result<Vec<Cell>> {
    let (id, key, author) = (entry.id.0.into(), (&entry.key).into(), entry.key.author.0.into());
    Ok(vec![id, key, number(entry.position)?, author, json(entry)?])
}
