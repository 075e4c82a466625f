//! Rows of the application's tables: found under the access predicate, written under the table's
//! own rules.
//!
//! Invalid UTF-8 written by another program is read with replacement characters, and a row whose
//! key has no wire form is hidden from devices: one such cell must not stop a user's sync.

use rejoin_protocol::Value;
use rejoin_protocol::wire::code;
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, ErrorCode, Statement, ffi};

use super::access::{seen, written};
use super::error::is_transient;
use super::{ddl, decimals, triggers};
use crate::model::{Page, PageLimit, ReadScope, Row, Schema, StoredRow, Table, Violation};
use crate::store::quote::{cell, push_cell, quoted};
use crate::store::{Images, StoreWrite, WriteError};

/// A statement's parameters by name; those that a statement does not have are left out.
pub(super) struct Bound<'a> {
    scope: Vec<(String, Value)>,
    key: Option<&'a Value>,
}

impl<'a> Bound<'a> {
    pub(super) fn new(who: &str, scope: &ReadScope) -> Self {
        let mut bound = Self { scope: Vec::new(), key: None };
        bound.look(who, scope);
        bound
    }

    fn look(&mut self, who: &str, scope: &ReadScope) {
        let owners = serde_json::json!(scope.owners).to_string();
        self.scope.push((format!(":{who}_owners"), Value::Text(owners)));
        self.scope.push((format!(":{who}_global"), Value::from(scope.global)));
        let buckets = serde_json::json!(scope.buckets).to_string();
        self.scope.push((format!(":{who}_buckets"), Value::Text(buckets)));
    }

    pub(super) fn key(mut self, key: Option<&'a Value>) -> Self {
        self.key = key;
        self
    }

    pub(super) fn bind(&self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        for (name, value) in &self.scope {
            if let Some(at) = statement.parameter_index(name)? {
                statement.raw_bind_parameter(at, value)?;
            }
        }
        if let (Some(at), Some(key)) = (statement.parameter_index(":key")?, self.key) {
            statement.raw_bind_parameter(at, key)?;
        }
        Ok(())
    }
}

fn columns(table: &Table, alias: &str) -> String {
    let mut columns = String::new();
    for at in 0..table.columns.len() {
        columns.push_str(if at == 0 { "" } else { ", " });
        push_cell(&mut columns, table, alias, at);
    }
    columns
}

fn live(table: &Table) -> String {
    table.deleted_at.map_or(String::new(), |at| format!(" AND {} IS NULL", cell(table, "t", at)))
}

/// A row that a device can store: its key is an integer, or valid text without NUL.
fn named_row(row: &rusqlite::Row<'_>, table: &Table) -> rusqlite::Result<Option<Row>> {
    let is_named = match row.get_ref(table.key)? {
        ValueRef::Integer(_) => true,
        ValueRef::Text(text) => !text.contains(&0) && std::str::from_utf8(text).is_ok(),
        _ => false,
    };
    if is_named { row_of(row, table).map(Some) } else { Ok(None) }
}

fn row_of(row: &rusqlite::Row<'_>, table: &Table) -> rusqlite::Result<Row> {
    let cells = (0..table.columns.len()).map(|at| {
        Ok(match row.get_ref(at)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Real(number) => Value::Real(number),
            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        })
    });
    Ok(Row { cells: cells.collect::<rusqlite::Result<_>>()? })
}

/// A SELECT of the live rows visible to `see`, with one more condition.
fn select_live(schema: &Schema, table: &Table, what: &str, condition: &str) -> String {
    format!(
        "SELECT {what} FROM {} AS t WHERE {}{}{condition}",
        quoted(&table.name),
        seen(schema, table, "t"),
        live(table),
    )
}

/// One statement, run for each key.
pub(super) fn images(
    connection: &Connection,
    schema: &Schema,
    table: &Table,
    keys: &[Option<Value>],
    scope: &ReadScope,
    each: Images<'_>,
) -> rusqlite::Result<()> {
    let condition = format!(" AND {} = :key", cell(table, "t", table.key));
    let sql = select_live(schema, table, &columns(table, "t"), &condition);
    let mut statement = connection.prepare_cached(&sql)?;
    Bound::new("see", scope).bind(&mut statement)?;
    let at = statement.parameter_index(":key")?.unwrap_or_default();
    for key in keys {
        let image = match key {
            Some(key) => {
                statement.raw_bind_parameter(at, key)?;
                let mut rows = statement.raw_query();
                rows.next()?.map(|row| named_row(row, table)).transpose()?.flatten()
            }
            None => None,
        };
        if !each(image) {
            break;
        }
    }
    Ok(())
}

pub(super) fn page(
    connection: &Connection,
    schema: &Schema,
    table: &Table,
    after: Option<&Value>,
    room: PageLimit,
    scope: &ReadScope,
) -> rusqlite::Result<Page> {
    let key = cell(table, "t", table.key);
    let later = after.map_or(String::new(), |_| format!(" AND {key} > :key"));
    let condition = format!("{later} ORDER BY {key} LIMIT :most");
    let sql = select_live(schema, table, &columns(table, "t"), &condition);
    let mut statement = connection.prepare_cached(&sql)?;
    Bound::new("see", scope).key(after).bind(&mut statement)?;
    let at = statement.parameter_index(":most")?.unwrap_or_default();
    // With a limit SQLite leaves a bucket, whose index has the keys in order, when the page is full. One
    // row more shows whether the table goes on. Hidden rows may take the places: then without a limit.
    for most in [i64::try_from(room.rows).unwrap_or(i64::MAX).saturating_add(1), -1] {
        statement.raw_bind_parameter(at, most)?;
        let mut found = statement.raw_query();
        let (mut rows, mut held, mut read) = (Vec::new(), 0, 0);
        while let Some(row) = found.next()? {
            if !rows.is_empty() && held >= room.bytes || rows.len() >= room.rows {
                return Ok(Page { rows, ends: false });
            }
            read += 1;
            let Some(row) = named_row(row, table)? else { continue };
            held += row.weight();
            rows.push(row);
        }
        if read != most {
            return Ok(Page { rows, ends: true });
        }
    }
    Ok(Page { rows: Vec::new(), ends: true })
}

pub(super) fn count(
    connection: &Connection,
    schema: &Schema,
    table: &Table,
    scope: &ReadScope,
) -> rusqlite::Result<i64> {
    let sql = select_live(schema, table, "count(*)", "");
    let mut statement = connection.prepare_cached(&sql)?;
    Bound::new("see", scope).bind(&mut statement)?;
    let mut rows = statement.raw_query();
    rows.next()?.map_or(Ok(0), |row| row.get(0))
}

pub(super) fn each(
    connection: &Connection,
    schema: &Schema,
    table: &Table,
    scope: &ReadScope,
    each: &mut dyn FnMut(&Row),
) -> rusqlite::Result<()> {
    let sql = select_live(schema, table, &columns(table, "t"), "");
    let mut statement = connection.prepare_cached(&sql)?;
    Bound::new("see", scope).bind(&mut statement)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        if let Some(row) = named_row(row, table)? {
            each(&row);
        }
    }
    Ok(())
}

pub(super) fn stored(
    connection: &Connection,
    schema: &Schema,
    table: &Table,
    key: &Value,
    scope: &ReadScope,
    own: &ReadScope,
) -> rusqlite::Result<Option<StoredRow>> {
    let sql = format!(
        "SELECT {}, {}, {} FROM {} AS t WHERE {} = :key",
        columns(table, "t"),
        seen(schema, table, "t"),
        written(schema, table, "t"),
        quoted(&table.name),
        cell(table, "t", table.key)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut bound = Bound::new("see", scope).key(Some(key));
    bound.look("own", own);
    bound.bind(&mut statement)?;
    let mut rows = statement.raw_query();
    let Some(row) = rows.next()? else { return Ok(None) };
    let width = table.columns.len();
    let readable = row.get::<_, Option<bool>>(width)?.unwrap_or(false);
    let writable = row.get::<_, Option<bool>>(width + 1)?.unwrap_or(false);
    Ok(Some(StoredRow::new(row_of(row, table)?, readable, writable)))
}

pub(super) fn insert(
    connection: &Connection,
    table: &Table,
    cells: &[(usize, Value)],
) -> Result<(), WriteError> {
    let names: Vec<String> = cells.iter().map(|(at, _)| name(table, *at)).collect();
    let marks = vec!["?"; cells.len()].join(", ");
    let sql =
        format!("INSERT INTO {} ({}) VALUES ({marks})", quoted(&table.name), names.join(", "));
    let mut statement = connection.prepare_cached(&sql)?;
    run(connection, table, &mut statement, cells, None)
}

pub(super) fn update(
    connection: &Connection,
    table: &Table,
    key: &Value,
    cells: &[(usize, Value)],
) -> Result<(), WriteError> {
    let sets: Vec<String> =
        cells.iter().map(|(at, _)| format!("{} = ?", name(table, *at))).collect();
    let sql = format!(
        "UPDATE {} SET {} WHERE {} = ?",
        quoted(&table.name),
        sets.join(", "),
        name(table, table.key)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    run(connection, table, &mut statement, cells, Some(key))
}

pub(super) fn remove(
    connection: &Connection,
    table: &Table,
    key: &Value,
) -> Result<(), WriteError> {
    let sql = format!("DELETE FROM {} WHERE {} = ?", quoted(&table.name), name(table, table.key));
    let mut statement = connection.prepare_cached(&sql)?;
    run(connection, table, &mut statement, &[], Some(key))
}

fn name(table: &Table, at: usize) -> String {
    quoted(table.columns.get(at).map_or("", |column| column.name.as_str()))
}

fn run(
    connection: &Connection,
    table: &Table,
    statement: &mut CachedStatement<'_>,
    cells: &[(usize, Value)],
    key: Option<&Value>,
) -> Result<(), WriteError> {
    if let Some(rounded) = decimals::rounded(connection, table, cells)? {
        return Err(WriteError::Rule(rounded));
    }
    for (at, value) in cells.iter().map(|(_, value)| value).chain(key).enumerate() {
        statement.raw_bind_parameter(at + 1, value)?;
    }
    match statement.raw_execute() {
        Ok(0) => dropped(connection, table, cells.is_empty().then_some(key).flatten()),
        Ok(_) => Ok(()),
        Err(error) if is_transient(&error) => Err(error.into()),
        Err(error) => Err(violation(connection, table, cells, error)),
    }
}

/// The result of a write that has written no row: a trigger has dropped it. A row that is deleted
/// already is right.
fn dropped(
    connection: &Connection,
    table: &Table,
    deleted: Option<&Value>,
) -> Result<(), WriteError> {
    if let Some(key) = deleted {
        let (table_name, key_name) = (quoted(&table.name), name(table, table.key));
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table_name} WHERE {key_name} = ?1)");
        if !connection.query_row(&sql, [key], |row| row.get::<_, bool>(0))? {
            return Ok(());
        }
    }
    Err(WriteError::Rule(Violation::of_dropped_write()))
}

/// The violated rule. SQLite names the column of a NOT NULL; for a CHECK it gives the name or the
/// text.
fn violation(
    connection: &Connection,
    table: &Table,
    cells: &[(usize, Value)],
    error: rusqlite::Error,
) -> WriteError {
    let rusqlite::Error::SqliteFailure(failure, message) = &error else { return error.into() };
    let message = message.clone().unwrap_or_default();
    let said = message.split_once(": ").map_or("", |(_, said)| said).to_owned();
    let own_column = |said: &str| {
        let named = said.rsplit('.').next().unwrap_or_default();
        table.column(named).map(|_| named.to_owned())
    };
    let (code, column) = match (failure.code, failure.extended_code) {
        (_, ffi::SQLITE_CONSTRAINT_CHECK) => {
            (code::CONSTRAINT_CHECK, checked_column(connection, table, cells, &said))
        }
        (_, ffi::SQLITE_CONSTRAINT_NOTNULL) => (code::CONSTRAINT_NOT_NULL, own_column(&said)),
        (_, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => {
            (code::CONSTRAINT_UNIQUE, own_column(&said))
        }
        (_, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => {
            (code::CONSTRAINT_REFERENCES, dangling_column(connection, table, cells))
        }
        // Like a key that is taken.
        (_, ffi::SQLITE_CONSTRAINT_TRIGGER) if message == triggers::ADOPTED => {
            (code::CONSTRAINT_UNIQUE, table.columns.get(table.key).map(|key| key.name.clone()))
        }
        (_, ffi::SQLITE_CONSTRAINT_TRIGGER) => (code::CONSTRAINT_TRIGGER, None),
        (_, ffi::SQLITE_CONSTRAINT_DATATYPE) => {
            (code::VALUE_INVALID, own_column(said.rsplit(' ').next().unwrap_or_default()))
        }
        (ErrorCode::TooBig | ErrorCode::TypeMismatch, _) => (code::VALUE_INVALID, None),
        (ErrorCode::ConstraintViolation, _) => (code::CONSTRAINT_CHECK, None),
        _ => return error.into(),
    };
    let of_rows = [code::CONSTRAINT_UNIQUE, code::CONSTRAINT_REFERENCES, code::CONSTRAINT_TRIGGER];
    let is_among_rows = of_rows.contains(&code);
    WriteError::Rule(Violation { code, column, message, is_among_rows })
}

/// The written column that the CHECK uses; `None` if there are several.
fn checked_column(
    connection: &Connection,
    table: &Table,
    cells: &[(usize, Value)],
    named: &str,
) -> Option<String> {
    let query = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    let sql: String = connection.query_row(query, [&table.name], |row| row.get(0)).ok()?;
    let text = ddl::check(&sql, named);
    let written = cells.iter().filter_map(|(at, _)| Some(table.columns.get(*at)?.name.as_str()));
    let mut spoken: Vec<&str> = written.filter(|name| ddl::mentions(&text, name)).collect();
    spoken.dedup();
    match spoken.as_slice() {
        [one] => Some((*one).to_owned()),
        _ => None,
    }
}

/// Checks the references of a row that was written while foreign keys were deferred. A delete is not
/// deferred: the rows that refer to it would have to be searched.
pub(super) fn check_references(
    connection: &Connection,
    table: &Table,
    write: &StoreWrite,
) -> Result<(), WriteError> {
    let column = match write {
        StoreWrite::Insert { cells } | StoreWrite::Update { cells, .. } => {
            match dangling_column(connection, table, cells) {
                Some(column) => Some(column),
                None => return Ok(()),
            }
        }
        StoreWrite::Delete { .. } => None,
    };
    let message = String::from("FOREIGN KEY constraint failed");
    let (code, is_among_rows) = (code::CONSTRAINT_REFERENCES, true);
    Err(WriteError::Rule(Violation { code, column, message, is_among_rows }))
}

/// The written column that refers to no row: SQLite does not report it.
fn dangling_column(
    connection: &Connection,
    table: &Table,
    cells: &[(usize, Value)],
) -> Option<String> {
    for reference in &table.references {
        let Some((_, value)) = cells.iter().find(|(at, _)| *at == reference.column) else {
            continue;
        };
        let target = if reference.target.is_empty() {
            let query = "SELECT name FROM pragma_table_info(?1) WHERE pk = 1";
            connection.query_row(query, [&reference.table], |row| row.get(0)).ok()?
        } else {
            reference.target.clone()
        };
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {} WHERE {} = ?1)",
            quoted(&reference.table),
            quoted(&target)
        );
        let there: bool = connection.query_row(&sql, [value], |row| row.get(0)).ok()?;
        if !there && !value.is_null() {
            return table.columns.get(reference.column).map(|column| column.name.clone());
        }
    }
    None
}
