//! The rows of the log: those of its tables. An image has every column but the key, and no
//! generated one.
//!
//! A row is never rejected: an app trigger that fails is dropped and recorded. A table that the
//! schema lacks has no rows, and a column that it lacks has no value; writes to them do nothing. A
//! column that an image lacks gets its default.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use rejoin_log::ids::Name;
use rejoin_log::row::{LogRow, RowName};
use rejoin_log::store::{LogRows, StoreError, Table as LogTable};
use rejoin_protocol::ColumnKind;
use rejoin_protocol::manifest::SyncModel;
use rusqlite::{OptionalExtension as _, Row, params_from_iter};

use super::SqliteReplica;
use super::key::value_of;
use crate::engine::database::OURS;
use crate::engine::schema::app_trigger;
use crate::engine::schema::model::{Column, Table};
use crate::engine::schema::sql::{listed, quoted};
use crate::error::{Error, InputFault, Result};
use crate::value::Value;

/// Statements by table, kept from one transaction to the next.
#[derive(Debug, Default)]
pub(crate) struct RowTables(RefCell<HashMap<Name, Arc<RowStatements>>>);

/// The statements of a table.
#[derive(Debug)]
struct RowStatements {
    table: Arc<Table>,
    /// The columns without the key, by name as in an image.
    columns: Vec<Name>,
    read: String,
    list: String,
    /// Lists the keys; the caller appends the bounds of a range.
    keys: String,
    delete: String,
    /// Those of whole rows.
    update: String,
    insert: String,
}

impl RowStatements {
    fn of(table: &Arc<Table>) -> Self {
        let (name, key) = (quoted(&table.name), quoted(&table.key_column().name));
        let columns = by_name(table).into_iter();
        let columns: Vec<Name> = columns.map(|column| column.name.as_str().into()).collect();
        let key_first = std::iter::once(table.key_column().name.as_str());
        let all = listed("", key_first.chain(columns.iter().map(Name::as_str)));
        let is_there = |_: &Column| true;
        Self {
            table: Arc::clone(table),
            update: update(table, is_there),
            insert: insert(table, is_there),
            columns,
            read: format!("{OURS}SELECT {all} FROM {name} WHERE {key} = ?1"),
            list: format!("{OURS}SELECT {all} FROM {name}"),
            keys: format!("{OURS}SELECT {key} FROM {name} WHERE 1"),
            delete: format!("{OURS}DELETE FROM {name} WHERE {key} = ?1"),
        }
    }

    /// The key and the values of the columns that an image has of this table, and whether these are
    /// all.
    fn values<'v>(&self, key: &'v Value, image: &'v LogRow) -> (Vec<&'v Value>, bool) {
        let cells = image.columns();
        let mut values = Vec::with_capacity(self.columns.len() + 1);
        values.push(key);
        let is_whole = cells.len() == self.columns.len() && self.columns.iter().eq(cells.keys());
        if is_whole {
            values.extend(cells.values());
        } else {
            values.extend(self.columns.iter().filter_map(|name| cells.get(name)));
        }
        let is_whole = is_whole || values.len() == self.columns.len() + 1;
        (values, is_whole)
    }

    /// A row of `read` or `list`.
    fn image(&self, row: &Row<'_>) -> rusqlite::Result<LogRow> {
        let cell = |(at, name): (usize, &Name)| Ok((name.clone(), row.get(at + 1)?));
        let cells = self.columns.iter().enumerate().map(cell);
        cells.collect::<rusqlite::Result<rejoin_log::row::Columns>>().map(LogRow::from)
    }
}

/// Replaces the row; the key is the first parameter, followed by the values of these columns by name.
/// The others get their defaults.
fn update(table: &Table, is_there: impl Fn(&Column) -> bool) -> String {
    let mut number = 1;
    let set = |column: &&Column| {
        let name = quoted(&column.name);
        if !is_there(column) {
            let default = column.default.as_deref().unwrap_or("NULL");
            return format!("{name} = ({default})");
        }
        number += 1;
        format!("{name} = ?{number}")
    };
    let sets: Vec<String> = by_name(table).iter().map(set).collect();
    let (name, key) = (quoted(&table.name), quoted(&table.key_column().name));
    format!("{OURS}UPDATE {name} SET {} WHERE {key} = ?1", sets.join(", "))
}

/// Creates the row, with the same parameters.
fn insert(table: &Table, is_there: impl Fn(&Column) -> bool) -> String {
    let columns = by_name(table);
    let named = columns.iter().filter(|column| is_there(column));
    let (columns, marks): (String, String) =
        named.map(|column| (format!(", {}", quoted(&column.name)), ", ?")).unzip();
    let (name, key) = (quoted(&table.name), quoted(&table.key_column().name));
    format!(
        "{OURS}INSERT INTO {name} ({key}{columns}) VALUES (?{marks}) \
         ON CONFLICT ({key}) DO NOTHING"
    )
}

/// The columns without the key, by name.
fn by_name(table: &Table) -> Vec<&Column> {
    let others = table.columns.iter().enumerate().filter(|(at, _)| *at != table.key);
    let mut columns: Vec<&Column> = others.map(|(_, column)| column).collect();
    columns.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    columns
}

impl SqliteReplica<'_> {
    /// The statements of a table; `None` if the schema lacks it.
    fn statements(&self, name: &Name) -> Option<Arc<RowStatements>> {
        let table =
            self.schema.named(name.as_str()).filter(|table| table.sync == SyncModel::Log)?;
        let mut tables = self.tables.0.borrow_mut();
        if let Some(known) = tables.get(name).filter(|known| Arc::ptr_eq(&known.table, table)) {
            return Some(Arc::clone(known));
        }
        let statements = Arc::new(RowStatements::of(table));
        tables.insert(name.clone(), Arc::clone(&statements));
        Some(statements)
    }

    /// The names of the log's tables, in order.
    fn table_names(&self) -> Vec<Name> {
        let mut names: Vec<Name> =
            self.schema.in_log().map(|table| Name::from(table.name.as_str())).collect();
        names.sort_unstable();
        names
    }

    /// The rows with names after the first and through the second.
    pub(super) fn names(
        &self,
        after: Option<&RowName>,
        through: Option<&RowName>,
    ) -> Result<Vec<RowName>, StoreError> {
        let mut names = Vec::new();
        for table in self.table_names() {
            let is_before = after.is_some_and(|after| table < after.table);
            if is_before || through.is_some_and(|through| through.table < table) {
                continue;
            }
            let Some(known) = self.statements(&table) else { continue };
            let of_table = |end: Option<&RowName>| end.filter(|end| end.table == table).cloned();
            let ends = (of_table(after).map(|end| end.id), of_table(through).map(|end| end.id));
            let ids = match known.table.key_column().kind {
                ColumnKind::Int | ColumnKind::Int64 => self.integers(&known, &table, ends)?,
                _ => self.texts(&known, ends)?,
            };
            names.extend(ids.into_iter().map(|id| RowName { table: table.clone(), id }));
        }
        Ok(names)
    }

    fn texts(
        &self,
        known: &RowStatements,
        ends: (Option<Name>, Option<Name>),
    ) -> Result<Vec<Name>, StoreError> {
        let (mut sql, mut values) = (known.keys.clone(), Vec::new());
        for (end, order) in [(ends.0, ">"), (ends.1, "<=")] {
            if let Some(end) = end {
                values.push(end);
                let key = quoted(&known.table.key_column().name);
                let _ = write!(sql, " AND {key} {order} ?{}", values.len());
            }
        }
        self.list(&sql, params_from_iter(values.iter().map(Name::as_str)), id_of_row)
    }

    /// The same for integer keys. Names are ordered as texts (10 before 9) and the table by number, so
    /// all names are read and sorted once, until the next write.
    fn integers(
        &self,
        known: &RowStatements,
        table: &Name,
        (after, through): (Option<Name>, Option<Name>),
    ) -> Result<Vec<Name>, StoreError> {
        let mut names = self.integer_names.borrow_mut();
        if names.as_ref().is_none_or(|(of, _)| of != table) {
            let mut all = self.list(&known.keys, [], id_of_row)?;
            all.sort_unstable();
            *names = Some((table.clone(), all));
        }
        let all = names.as_ref().map_or(&[][..], |(_, all)| all.as_slice());
        let first = all.partition_point(|id| after.as_ref().is_some_and(|after| id <= after));
        let end = all.partition_point(|id| through.as_ref().is_none_or(|through| id <= through));
        Ok(all.get(first..end).unwrap_or_default().to_vec())
    }

    /// Runs a statement on a row, if need be without the app's trigger that makes it fail.
    fn write(&self, table: &Table, sql: &str, values: &[&Value]) -> Result<usize> {
        let cached = || self.conn.prepare_cached(sql)?.execute(params_from_iter(values));
        cached().map_err(Error::from).or_else(|error| {
            app_trigger::without_failing(self.conn, &table.name, error, || {
                self.conn.prepare(sql)?.execute(params_from_iter(values))
            })
        })
    }

    fn replace(
        &self,
        known: &RowStatements,
        key: &Value,
        image: &LogRow,
        is_absent: bool,
    ) -> Result<()> {
        let (values, is_whole) = known.values(key, image);
        let (table, has_columns) = (&known.table, !known.columns.is_empty());
        let is_there = |column: &Column| image.get(&column.name).is_some();
        if has_columns && !is_absent {
            let update: Cow<'_, str> =
                if is_whole { (&known.update).into() } else { update(table, is_there).into() };
            if self.write(table, &update, &values)? > 0 {
                return Ok(());
            }
        }
        self.create(known, image, (&values, is_whole)).map(drop)
    }

    /// Creates the row if it is not there; returns whether it did.
    fn create(
        &self,
        known: &RowStatements,
        image: &LogRow,
        (values, is_whole): (&[&Value], bool),
    ) -> Result<bool> {
        let is_there = |column: &Column| image.get(&column.name).is_some();
        let insert: Cow<'_, str> =
            if is_whole { (&known.insert).into() } else { insert(&known.table, is_there).into() };
        Ok(self.write(&known.table, &insert, values)? > 0)
    }
}

impl LogRows for SqliteReplica<'_> {
    fn row(&self, row: &RowName) -> Result<Option<LogRow>, StoreError> {
        if let Some((last, image)) = &*self.last_read.borrow()
            && last == row
        {
            return Ok(image.clone());
        }
        let Some(known) = self.statements(&row.table) else { return Ok(None) };
        let Some(key) = value_of(&known.table, &row.id) else { return Ok(None) };
        let read = || {
            let mut statement = self.conn.prepare_cached(&known.read)?;
            statement.query_row([key], |row| known.image(row)).optional()
        };
        let found = self.kept(read())?;
        self.last_read.replace(Some((row.clone(), found.clone())));
        Ok(found)
    }

    fn table(&self, table: &Name) -> Result<Vec<(RowName, LogRow)>, StoreError> {
        let Some(known) = self.statements(table) else { return Ok(Vec::new()) };
        let mut rows = self.list(&known.list, [], |row| {
            Ok((RowName { table: table.clone(), id: id_of_row(row)? }, known.image(row)?))
        })?;
        // As the model orders them: by the text of the key.
        rows.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        Ok(rows)
    }
}

impl LogTable for SqliteReplica<'_> {
    fn put_row(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<(), StoreError> {
        self.integer_names.take();
        let Some(known) = self.statements(&row.table) else { return Ok(()) };
        let Some(key) = value_of(&known.table, &row.id) else {
            return self.kept(if image.is_some() { Err(no_key(row)) } else { Ok(()) });
        };
        let is_absent =
            self.last_read.take().is_some_and(|(last, image)| last == *row && image.is_none());
        let done = match image {
            Some(image) => self.replace(&known, &key, image, is_absent),
            None => self.write(&known.table, &known.delete, &[&key]).map(drop),
        };
        self.kept(done)?;
        self.touched.row(&known.table.name, key);
        Ok(())
    }

    fn create_row(&mut self, row: &RowName, image: &LogRow) -> Result<bool, StoreError> {
        self.last_read.take();
        self.integer_names.take();
        let Some(known) = self.statements(&row.table) else { return Ok(true) };
        let Some(key) = value_of(&known.table, &row.id) else { return self.kept(Err(no_key(row))) };
        let (values, is_whole) = known.values(&key, image);
        let created = self.create(&known, image, (&values, is_whole));
        let is_new = self.kept(created)?;
        if is_new {
            self.touched.row(&known.table.name, key);
        }
        Ok(is_new)
    }

    fn all_rows(&self) -> Result<Vec<(RowName, LogRow)>, StoreError> {
        let mut rows = Vec::new();
        for name in self.table_names() {
            rows.append(&mut self.table(&name)?);
        }
        Ok(rows)
    }
}

/// The name of a row whose key is the first column of a query.
fn id_of_row(row: &Row<'_>) -> rusqlite::Result<Name> {
    Ok(Name::from(row.get::<_, Value>(0)?.to_id().unwrap_or_default()))
}

fn no_key(row: &RowName) -> Error {
    Error::InvalidInput(InputFault::Refused {
        what: format!("row {} of table {}", row.id, row.table),
        reason: String::from("the key of the table is an integer; name the row by its digits"),
    })
}
