//! Staging: collects a snapshot in separate tables until it is complete.
//!
//! One table per synced table, `rejoin_staging_<number>`, with a column per column identity, so
//! that a rename changes nothing. Pages replace their key range, and rows of push responses are
//! written here as well as to the base. Differences are computed in slices, outside the transaction
//! that merges them. Every write is in one transaction with the snapshot's position, so it resumes
//! after a crash at any point.

mod search;

use std::fmt::Write as _;

use rejoin_protocol::wire::RowSet;
use rejoin_protocol::wire::snapshot::KeyRange;
use rejoin_protocol::{ColumnKind, codec};
use rusqlite::{Connection, Row, params_from_iter};

pub(crate) use search::Search;

use crate::engine::Engine;
use crate::engine::database::OURS;
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::RowKey;
use crate::engine::schema::model::{Schema, Table};
use crate::error::{Error, InputFault, Result, SyncFault};
use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

const PREFIX: &str = "rejoin_staging_";

/// Where staging tables are: a connection, and the schema whose tables they mirror.
#[derive(Clone, Copy)]
pub(crate) struct Staging<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) schema: &'a Schema,
}

impl<'a> Staging<'a> {
    pub(crate) fn of(engine: &'a Engine) -> Self {
        Self { conn: engine.db.conn(), schema: &engine.schema }
    }
}

/// Creates empty staging tables for every synced table and drops older ones. Call inside
/// [`Engine::write`].
pub(crate) fn begin(at: Staging<'_>) -> Result<()> {
    clear(at)?;
    for table in at.schema.in_rows() {
        let mut sql = format!("CREATE TABLE {} (", name(table));
        for (position, column) in table.columns.iter().enumerate() {
            let key = if position == table.key { " PRIMARY KEY NOT NULL" } else { "" };
            let comma = if position == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}c{} {}{key}", column.id.0, column.kind.sqlite_type());
        }
        sql.push_str(") WITHOUT ROWID");
        at.conn.execute_batch(&format!("{OURS}{sql}"))?;
    }
    Ok(())
}

/// Drops all staging tables. Call inside [`Engine::write`].
pub(crate) fn clear(at: Staging<'_>) -> Result<()> {
    for table in present(at)? {
        at.conn.execute_batch(&format!("{OURS}DROP TABLE {table}"))?;
    }
    Ok(())
}

fn present(at: Staging<'_>) -> Result<Vec<String>> {
    let sql = format!(
        "{OURS}SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB '{PREFIX}*'"
    );
    let mut statement = at.conn.prepare_cached(&sql)?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// Whether a snapshot is being staged.
pub(crate) fn active(at: Staging<'_>) -> Result<bool> {
    let sql = format!(
        "{OURS}SELECT 1 FROM sqlite_master WHERE type = 'table' AND name GLOB '{PREFIX}*' LIMIT 1"
    );
    Ok(at.conn.prepare_cached(&sql)?.exists([])?)
}

/// Writes a page, or a part of the tail: empties the ranges, then inserts the rows. Call inside
/// [`Engine::write`].
pub(crate) fn stage(
    at: Staging<'_>,
    ranges: &[KeyRange],
    sets: &[RowSet],
    images: &[ServerRow],
) -> Result<usize> {
    for range in ranges {
        sweep(at, range)?;
    }
    let mut rows = images.len();
    for set in sets {
        rows += lay_set(at, set)?;
    }
    lay_images(at, images)?;
    Ok(rows)
}

/// Writes the rows of a push response while a snapshot is staged. Inside the transaction of that
/// response.
pub(crate) fn acks(at: Staging<'_>, images: &[ServerRow]) -> Result<()> {
    if images.is_empty() || !active(at)? {
        return Ok(());
    }
    lay_images(at, images)
}

/// A table that has rows in the base and none in the staging.
pub(crate) fn emptied(engine: &Engine) -> Result<Option<String>> {
    let at = Staging::of(engine);
    let edited = engine.queue.rows();
    let view = engine.queue_view();
    for table in at.schema.in_rows() {
        let staged = format!("{OURS}SELECT 1 FROM {} LIMIT 1", name(table));
        if !query(at, &staged, [], |_| Ok(()))?.is_empty() {
            continue;
        }
        let of_table: Vec<&RowKey> =
            edited.iter().filter(|row| row.table == table.number).collect();
        let (key, rows) = (quoted(&table.key_column().name), quoted(&table.name));
        let sql = format!("{OURS}SELECT {key} FROM {rows} LIMIT {}", of_table.len() + 1);
        let keys: Vec<Value> = query(at, &sql, [], |row| row.get(0))?;
        let is_edited = |key| edited.contains(&RowKey { table: table.number, key });
        let mut has_base = !keys.into_iter().all(is_edited);
        for row in of_table {
            has_base = has_base || view.base_row(row)?.is_some();
        }
        if has_base {
            return Ok(Some(table.name.clone()));
        }
    }
    Ok(None)
}

/// The error for a table that another server would empty.
pub(crate) fn would_empty(table: &str) -> Error {
    Error::InvalidInput(InputFault::Refused {
        what: format!("to empty table {table}"),
        reason: "another server answers under this URL and has no row of it: restore the server's database, or take \
                 this one's rows by reset, which keeps what waits"
            .to_owned(),
    })
}

/// Whether a row with this key is staged.
pub(crate) fn holds(at: Staging<'_>, row: &RowKey) -> Result<bool> {
    let table = table(at.schema, row.table)?;
    let sql =
        format!("{OURS}SELECT 1 FROM {} WHERE {} = ?1", name(table), column(table.key_column().id));
    Ok(!query(at, &sql, [&row.key], |_| Ok(()))?.is_empty())
}

fn sweep(at: Staging<'_>, range: &KeyRange) -> Result<()> {
    let table = named(at.schema, &range.table_name)?;
    let key = column(table.key_column().id);
    let mut sql = format!("{OURS}DELETE FROM {} WHERE 1", name(table));
    let mut ends = Vec::new();
    for (end, order) in [(&range.after, ">"), (&range.through, "<=")] {
        if let Some(end) = end {
            let _ = write!(sql, " AND {key} {order} ?");
            ends.push(key_of(table, end)?);
        }
    }
    execute(at, &sql, &ends)
}

fn key_of(table: &Table, id: &str) -> Result<Value> {
    let wrong =
        |_| Error::Sync(SyncFault::Protocol(format!("{id:?} is no key of table {}", table.name)));
    match table.key_column().kind {
        ColumnKind::Int | ColumnKind::Int64 => id.parse().map(Value::Integer).map_err(wrong),
        _ => Ok(id.into()),
    }
}

fn lay_set(at: Staging<'_>, set: &RowSet) -> Result<usize> {
    let table = named(at.schema, &set.table_name)?;
    let mut columns = Vec::with_capacity(set.columns.len());
    let mut kinds = Vec::with_capacity(set.columns.len());
    for name in &set.columns {
        let Some(column) = table.columns.iter().find(|column| column.name == *name) else {
            return Err(
                SyncFault::Protocol(format!("table {} has no column {name}", table.name)).into()
            );
        };
        if columns.contains(&column.id) {
            let why = format!("rows of table {} with column {name} twice", table.name);
            return Err(SyncFault::Protocol(why).into());
        }
        columns.push(column.id);
        kinds.push(column.kind);
    }
    if !columns.contains(&table.key_column().id) {
        return Err(
            SyncFault::Protocol(format!("rows of table {} without their key", table.name)).into()
        );
    }
    let sql = insert(table, &columns);
    let written = codec::each_row(&set.rows, &kinds, |cells| execute(at, &sql, cells.iter()));
    written.map_err(|error| match error {
        codec::RowError::Each(error) => error,
        codec::RowError::Decode(error) => {
            Error::Sync(SyncFault::Protocol(format!("rows of table {}: {error}", table.name)))
        }
    })
}

fn lay_images(at: Staging<'_>, images: &[ServerRow]) -> Result<()> {
    for image in images {
        let table = table(at.schema, image.table)?;
        let key = table.key_column().id;
        let Some(row) = &image.row else {
            let sql = format!("{OURS}DELETE FROM {} WHERE {} = ?", name(table), column(key));
            execute(at, &sql, [&image.key])?;
            continue;
        };
        let mut columns = vec![key];
        columns.extend(row.iter().map(|(id, _)| *id));
        let cells = std::iter::once(&image.key).chain(row.iter().map(|(_, value)| value));
        execute(at, &insert(table, &columns), cells)?;
    }
    Ok(())
}

/// An upsert: an image that lacks a column leaves the column unchanged.
fn insert(table: &Table, columns: &[ColumnId]) -> String {
    let names: Vec<String> = columns.iter().map(|id| column(*id)).collect();
    let marks = vec!["?"; columns.len()].join(", ");
    let key = table.key_column().id;
    let sets: Vec<String> = columns
        .iter()
        .filter(|id| **id != key)
        .map(|id| format!("{0} = excluded.{0}", column(*id)))
        .collect();
    let then = if sets.is_empty() {
        "NOTHING".to_owned()
    } else {
        format!("UPDATE SET {}", sets.join(", "))
    };
    format!(
        "{OURS}INSERT INTO {} ({}) VALUES ({marks}) ON CONFLICT ({}) DO {then}",
        name(table),
        names.join(", "),
        column(key)
    )
}

fn named<'a>(schema: &'a Schema, name: &str) -> Result<&'a Table> {
    match schema.named_in_rows(name) {
        Some(table) => Ok(table),
        None => Err(Error::Sync(SyncFault::Protocol(format!(
            "rows of table {name}, which is not synced"
        )))),
    }
}

fn table(schema: &Schema, number: TableNumber) -> Result<&Table> {
    match schema.tables.get(&number) {
        Some(table) => Ok(table),
        None => Err(Error::Internal(format!("no table {}", number.0))),
    }
}

fn name(table: &Table) -> String {
    format!("{PREFIX}{}", table.number.0)
}

fn column(id: ColumnId) -> String {
    format!("c{}", id.0)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn execute<'a>(
    at: Staging<'_>,
    sql: &str,
    values: impl IntoIterator<Item = &'a Value>,
) -> Result<()> {
    at.conn.prepare_cached(sql)?.execute(params_from_iter(values))?;
    Ok(())
}

fn query<'a, T>(
    at: Staging<'_>,
    sql: &str,
    values: impl IntoIterator<Item = &'a Value>,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let mut statement = at.conn.prepare_cached(sql)?;
    Ok(statement.query_map(params_from_iter(values), read)?.collect::<rusqlite::Result<_>>()?)
}
