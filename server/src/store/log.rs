//! The log's storage over either database: a [`LogStore`] on one transaction.
//!
//! In a write transaction the first access takes the log's lock, so positions are in commit order.
//! A read transaction refuses writes. Records are JSON, keys are bytes in key order. The rows as
//! they now stand are in the application's own tables.
//!
//! Within [`LogTables::batched`] the reads and writes of many entries are sent together.
//!
//! The database's error is kept for the caller ([`LogTables::fault`]), since a [`StoreError`] is only
//! a text.

use std::collections::BTreeSet;

use rejoin_log::ids::{AuthorId, EntryId, UserId};
use rejoin_log::key::Key;
use rejoin_log::row::{LogRow, RowName};
use rejoin_log::server::store::{
    AcceptedEntry, Author, Link, LinkedEntry, LogFacts, LogStore, Membership,
};
use rejoin_log::store::StoreError;
use rejoin_protocol::Value;
use serde::de::DeserializeOwned;

use crate::error::Fault;
use crate::model::LogTable;

mod batch;
mod cells;
mod fit;
mod linked;
mod statements;
mod table;
mod window;

pub(super) use batch::{CurrentRow, LogSession, LogWrites, Query};
pub(super) use cells::Cell;
pub use fit::{LogRowError, Misfit, fits};
pub(super) use statements::{POSTGRES, SQLITE, Statements};
pub(super) use table::{column, only_key};

use batch::Batch;
use cells::{body, bounded, id, json, linked, name, named, text};

/// A transaction that the log's statements run in.
pub(super) trait LogDatabase: std::fmt::Debug {
    fn statements(&self) -> &'static Statements;

    /// Whether it is a write transaction.
    fn writes(&self) -> bool;

    /// Runs a statement; returns its rows. In a write transaction the log is locked first.
    fn query(&self, sql: &str, cells: &[Cell]) -> Result<Vec<Vec<Cell>>, Fault>;

    /// Runs each query for each of its lists of cells; returns the rows of each query. Across a
    /// network this is one round trip, that of the log's lock included.
    fn query_all(&self, asked: &[Query]) -> Result<Vec<Vec<Vec<Cell>>>, Fault> {
        let rows = |(sql, lists): &Query| {
            let mut rows = Vec::new();
            for cells in lists {
                rows.extend(self.query(sql, cells)?);
            }
            Ok(rows)
        };
        asked.iter().map(rows).collect()
    }

    fn tables(&self) -> &[LogTable];

    /// The cells of a row of the application's table, in the order of its columns.
    fn current(&self, table: &LogTable, key: &Value) -> Result<Option<Vec<Value>>, Fault>;

    /// At most `limit` rows of the application's table with a greater key, by key, each with its
    /// cells in the order of its columns.
    fn scan(
        &self,
        table: &LogTable,
        after: Option<&Value>,
        limit: usize,
    ) -> Result<Vec<(Value, Vec<Value>)>, Fault>;

    /// Writes records of the log and rows of the application's tables. Across a network this is one
    /// round trip.
    fn write_all(&self, writes: &LogWrites<'_>) -> Result<(), Fault>;

    /// What the transaction keeps for its log.
    fn session(&self) -> &LogSession;
}

/// The log in a transaction.
#[derive(Debug, Clone, Copy)]
pub struct LogTables<'t> {
    database: &'t dyn LogDatabase,
}

type Result<T, E = StoreError> = std::result::Result<T, E>;

impl<'t> LogTables<'t> {
    pub(super) fn new(database: &'t dyn LogDatabase) -> Self {
        Self { database }
    }

    /// The fault behind an error of this log: whether the request may be retried.
    pub fn fault(&self, error: StoreError) -> Fault {
        self.database.session().failure.take().unwrap_or(Fault::Internal(error.0))
    }

    fn sql(&self) -> &'static Statements {
        self.database.statements()
    }

    fn failed(&self, fault: Fault) -> StoreError {
        let error = StoreError(fault.to_string());
        self.database.session().failure.replace(Some(fault));
        error
    }

    fn rows(&self, sql: &str, cells: &[Cell]) -> Result<Vec<Vec<Cell>>> {
        match self.database.session().read_ahead(sql, cells) {
            Some(rows) => Ok(rows),
            None => self.database.query(sql, cells).map_err(|fault| self.failed(fault)),
        }
    }

    /// The record in the first column of the first row.
    fn record<T: DeserializeOwned>(&self, sql: &str, cells: &[Cell]) -> Result<Option<T>> {
        self.rows(sql, cells)?.first().map(|row| body(row.first())).transpose()
    }

    fn ids(&self, sql: &str, cells: &[Cell]) -> Result<Vec<EntryId>> {
        let found = self.rows(sql, cells)?;
        found.iter().map(|row| Ok(EntryId(id(row.first())?))).collect()
    }

    fn put(&self, sql: &str, cells: &[Cell]) -> Result<()> {
        if !self.database.writes() {
            return Err(StoreError(String::from(
                "a read transaction writes nothing: use Store::write",
            )));
        }
        self.database.session().forget_ahead();
        self.database.query(sql, cells).map(drop).map_err(|fault| self.failed(fault))
    }

    /// The row model's epoch. In a write transaction it is read under the log's lock, as the log's
    /// own epoch is.
    pub fn epoch(&self) -> Result<String> {
        let found = self.rows(self.sql().epoch, &[])?;
        found.first().map_or(Ok(String::new()), |row| text(row.first()))
    }

    /// Reads together what a request of this author begins with.
    pub fn expect_request(&self, user: &str, author: AuthorId, entries: &[EntryId]) -> Result<()> {
        let sql = self.sql();
        let mut asked: Vec<Query> = vec![
            (sql.epoch.into(), vec![Vec::new()]),
            (sql.facts.into(), vec![Vec::new()]),
            (sql.author.into(), vec![vec![author.0.into()]]),
            (sql.membership.into(), vec![vec![user.into()]]),
        ];
        asked.extend(self.among(entries).map(|(sql, cells)| (sql.into(), vec![cells])));
        let found = self.database.query_all(&asked).map_err(|fault| self.failed(fault))?;
        self.database.session().keep_ahead(asked.into_iter().zip(found));
        Ok(())
    }

    /// The query for those of these entries that are stored; `None` if there are none.
    fn among(&self, ids: &[EntryId]) -> Option<(String, Vec<Cell>)> {
        let last = ids.last()?;
        // One text for many numbers of ids: the statement is prepared once.
        let count = ids.len().next_power_of_two();
        let ids = ids.iter().chain(std::iter::repeat(last)).take(count);
        let cells = ids.map(|id| id.0.into()).collect();
        let marks: Vec<String> = (1..=count).map(|number| format!("${number}")).collect();
        let sql = self.sql().stored_among.replace("$1", &marks.join(", "));
        Some((sql, cells))
    }

    /// Puts the rows of an application's table into the base, unless the log has rows of it. Returns
    /// whether there were any.
    pub fn load(&self, table: &LogTable) -> Result<bool> {
        let name: Cell = table.name.as_str().into();
        if !self.rows(self.sql().any_row, std::slice::from_ref(&name))?.is_empty() {
            return Ok(false);
        }
        let (mut after, mut has_rows) = (None, false);
        loop {
            let rows = self.database.scan(table, after.as_ref(), BATCH);
            let rows = rows.map_err(|fault| self.failed(fault))?;
            let Some((last, _)) = rows.last() else { return Ok(has_rows) };
            after = Some(last.clone());
            let mut cells = Vec::with_capacity(rows.len() * 3);
            for (key, values) in rows {
                // SQLite allows bytes in a key of text: such a row has no name.
                let Some(id) = key.to_id() else { continue };
                cells.extend([name.clone(), id.as_str().into(), json(&image(table, values))?]);
            }
            if cells.is_empty() {
                continue;
            }
            has_rows = true;
            let tuple = |first: usize| format!("(${}, ${}, ${})", first, first + 1, first + 2);
            let tuples: Vec<String> = (1..=cells.len()).step_by(3).map(tuple).collect();
            // The statement of one row, with as many as are here.
            self.put(&self.sql().put_base.replacen(&tuple(1), &tuples.join(", "), 1), &cells)?;
        }
    }

    /// Calls `each` with the name, key and image of every row of a table as it now stands.
    pub fn each_current(
        &self,
        table: &LogTable,
        each: &mut dyn FnMut(&RowName, &Value, &LogRow),
    ) -> Result<()> {
        let mut after = None;
        loop {
            let rows = self.database.scan(table, after.as_ref(), BATCH);
            let rows = rows.map_err(|fault| self.failed(fault))?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, values) in rows {
                let Some(id) = key.to_id() else { continue };
                let name = RowName::new(table.name.as_str(), id.as_str());
                each(&name, &key, &image(table, values));
            }
        }
    }

    fn table(&self, row: &RowName) -> Result<(&'t LogTable, Value), LogRowError> {
        let tables = self.database.tables();
        let table = tables.iter().find(|table| table.name == row.table.as_str());
        let table = table.ok_or_else(|| fit::unknown_table(row))?;
        Ok((table, fit::key(table, row)?))
    }
}

impl LogStore for LogTables<'_> {
    fn facts(&self) -> Result<Option<LogFacts>> {
        if let Some(facts) = self.batch().as_ref().and_then(Batch::facts) {
            return Ok(Some(facts.clone()));
        }
        self.record(self.sql().facts, &[])
    }

    fn set_facts(&mut self, facts: &LogFacts) -> Result<()> {
        if let Some(batch) = &mut *self.batch() {
            batch.set_facts(facts);
            return Ok(());
        }
        self.put(self.sql().set_facts, &[json(facts)?])
    }

    fn entry(&self, id: EntryId) -> Result<Option<AcceptedEntry>> {
        if let Some(entry) = self.batch().as_ref().and_then(|batch| batch.entry(id)) {
            return Ok(Some(entry.clone()));
        }
        self.record(self.sql().entry, &[id.0.into()])
    }

    fn with_passages(&self, ids: &[EntryId]) -> Result<Vec<LinkedEntry>> {
        self.flush()?;
        self.read_with_passages(ids)
    }

    fn put_entry(&mut self, entry: &AcceptedEntry) -> Result<()> {
        if let Some(batch) = &mut *self.batch() {
            batch.put_entry(entry);
            return Ok(());
        }
        self.put(self.sql().put_entry, &batch::entry_cells(entry)?)
    }

    fn remove_entry(&mut self, id: EntryId) -> Result<()> {
        if let Some(batch) = &mut *self.batch() {
            batch.remove_entry(id);
        }
        self.put(self.sql().remove_entry, &[id.0.into()])
    }

    fn by_key(&self, after: &Key, limit: usize) -> Result<Vec<EntryId>> {
        self.flush()?;
        self.ids(self.sql().by_key, &[after.into(), bounded(limit)])
    }

    fn by_position(&self, after: u64, limit: usize) -> Result<Vec<EntryId>> {
        self.flush()?;
        // A cursor is a client's number: no position is above the largest one.
        let after = Cell::Number(i64::try_from(after).unwrap_or(i64::MAX));
        self.ids(self.sql().by_position, &[after, bounded(limit)])
    }

    fn expect(&self, rows: &[(&RowName, &Key)]) -> Result<()> {
        self.expect_rows(rows)
    }

    fn base(&self, row: &RowName) -> Result<Option<LogRow>> {
        if let Some(found) =
            self.in_window(row, &Key::FIRST, |window| Ok(window.base().cloned()))?
        {
            return Ok(found);
        }
        self.record(self.sql().base, &named(row))
    }

    fn bases(&self, rows: &[&RowName]) -> Result<Vec<(RowName, LogRow)>> {
        let names = rows.iter().map(|row| named(row).into()).collect();
        let found = self.all((self.sql().named_base.into(), names))?;
        found.into_iter().map(|row| Ok((name(&row)?, body(row.get(2))?))).collect()
    }

    fn put_base(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<()> {
        if let Some(batch) = &mut *self.batch() {
            batch.put_base(row, image);
        }
        let [table, id] = named(row);
        match image {
            Some(image) => self.put(self.sql().put_base, &[table, id, json(image)?]),
            None => self.put(self.sql().remove_base, &[table, id]),
        }
    }

    fn base_after(&self, after: Option<&RowName>, limit: usize) -> Result<Vec<(RowName, LogRow)>> {
        let first = RowName::new("", "");
        let after = after.unwrap_or(&first);
        let cells = [after.table.as_str().into(), after.id.as_str().into(), bounded(limit)];
        let found = self.rows(self.sql().base_after, &cells)?;
        found.into_iter().map(|row| Ok((name(&row)?, body(row.get(2))?))).collect()
    }

    fn current(&self, row: &RowName) -> Result<Option<LogRow>> {
        self.flush()?;
        let (table, key) = self.table(row)?;
        let found = self.database.current(table, &key).map_err(|fault| self.failed(fault))?;
        Ok(found.map(|cells| image(table, cells)))
    }

    fn put_current(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<()> {
        if let Some(batch) = &mut *self.batch() {
            // A row that does not fit is reported by this call.
            let (table, _) = self.table(row)?;
            image.map(|image| fit::cells(table, row, image.columns())).transpose()?;
            batch.put_current(row, image);
            return Ok(());
        }
        self.write_all(Vec::new(), [(row, image)].into_iter())
    }

    fn link(&self, row: &RowName, key: &Key) -> Result<Option<Link>> {
        if let Some(found) = self.in_window(row, key, |window| window.link(key))? {
            return Ok(found);
        }
        self.record(self.sql().link, &linked(row, key))
    }

    fn link_before(&self, row: &RowName, key: &Key) -> Result<Option<Link>> {
        if let Some(found) = self.in_window(row, key, |window| window.before(key))? {
            return Ok(found);
        }
        self.record(self.sql().link_before, &linked(row, key))
    }

    fn link_after(&self, row: &RowName, key: &Key) -> Result<Option<(Key, Link)>> {
        if let Some(found) = self.in_window(row, key, |window| window.after(key))? {
            return Ok(found);
        }
        let found = self.rows(self.sql().link_after, &linked(row, key))?;
        found.first().map(|row| Ok((cells::key(row.first())?, body(row.get(1))?))).transpose()
    }

    fn links_of(&self, rows: &[&RowName], most: usize) -> Result<Option<Vec<Key>>> {
        self.flush()?;
        self.keys_of(rows, most)
    }

    fn put_link(&mut self, row: &RowName, key: &Key, link: Option<&Link>) -> Result<()> {
        if let Some(batch) = &mut *self.batch() {
            batch.put_link(row, key, link);
            return Ok(());
        }
        let [table, id, key] = linked(row, key);
        match link {
            Some(link) => self.put(self.sql().put_link, &[table, id, key, json(link)?]),
            None => self.put(self.sql().remove_link, &[table, id, key]),
        }
    }

    fn linked_rows(&self) -> Result<Vec<RowName>> {
        self.flush()?;
        self.rows(self.sql().linked_rows, &[])?.iter().map(|row| name(row)).collect()
    }

    fn stored_among(&self, ids: &[EntryId]) -> Result<BTreeSet<EntryId>> {
        self.flush()?;
        let Some((sql, cells)) = self.among(ids) else { return Ok(BTreeSet::new()) };
        Ok(self.ids(&sql, &cells)?.into_iter().collect())
    }

    fn final_author(&self, entry: EntryId) -> Result<Option<AuthorId>> {
        let found = self.rows(self.sql().final_author, &[entry.0.into()])?;
        found.first().map(|row| Ok(AuthorId(id(row.first())?))).transpose()
    }

    fn put_final(&mut self, id: EntryId, author: AuthorId) -> Result<()> {
        self.put(self.sql().put_final, &[id.0.into(), author.0.into()])
    }

    fn author(&self, id: AuthorId) -> Result<Option<Author>> {
        if let Some(author) = self.batch().as_ref().and_then(|batch| batch.author(id)) {
            return Ok(Some(author.clone()));
        }
        self.record(self.sql().author, &[id.0.into()])
    }

    fn put_author(&mut self, id: AuthorId, author: &Author) -> Result<()> {
        if let Some(batch) = &mut *self.batch() {
            batch.put_author(id, author);
            return Ok(());
        }
        self.put(self.sql().put_author, &[id.0.into(), json(author)?])
    }

    fn remove_author(&mut self, id: AuthorId) -> Result<()> {
        if let Some(batch) = &mut *self.batch() {
            batch.remove_author(id);
        }
        self.put(self.sql().remove_author, &[id.0.into()])?;
        self.put(self.sql().remove_finals, &[id.0.into()])
    }

    fn membership(&self, user: &UserId) -> Result<Membership> {
        Ok(self.record(self.sql().membership, &[user.0.as_str().into()])?.unwrap_or_default())
    }

    fn put_membership(&mut self, user: &UserId, membership: &Membership) -> Result<()> {
        self.put(self.sql().put_membership, &[user.0.as_str().into(), json(membership)?])
    }
}

/// Rows of one statement when a table is loaded.
const BATCH: usize = 300;

fn image(table: &LogTable, cells: Vec<Value>) -> LogRow {
    let names = table.columns.iter().map(|column| column.name.as_str().into());
    LogRow::from(names.zip(cells).collect::<rejoin_log::row::Columns>())
}
