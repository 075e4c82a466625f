//! The log's statements in a transaction over PostgreSQL.
//!
//! They run under the store's own role: with row level security, no policy lets the serving role
//! read the log's tables.

use std::cell::RefCell;

use rejoin_protocol::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::log_tables::LogShape;
use super::records::{kept, meant};
use super::transaction::PostgresTransaction;
use super::types::{self, Parameter, parameter};
use crate::error::Fault;
use crate::model::LogTable;
use crate::store::log::{Cell, LogDatabase, POSTGRES, Statements};
use crate::store::quote::quoted;

/// Taken before the log is first read, and released after the commit is visible. The statement after
/// it has a snapshot of its own (READ COMMITTED), so it reads what the former holder committed.
pub(super) const LOCK: &str = "SELECT pg_advisory_xact_lock(1380600401, 0)";

/// A cell as a parameter, with NUL escaped in text.
enum Bound<'c> {
    Number(i64),
    Text(std::borrow::Cow<'c, str>),
    Bytes(&'c [u8]),
}

impl Bound<'_> {
    fn of(cell: &Cell) -> Bound<'_> {
        match cell {
            Cell::Number(number) => Bound::Number(*number),
            Cell::Text(text) => Bound::Text(kept(text)),
            Cell::Bytes(bytes) => Bound::Bytes(bytes),
        }
    }

    fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Number(number) => number,
            Self::Text(text) => text,
            Self::Bytes(bytes) => bytes,
        }
    }
}

fn cells(row: &Row) -> Result<Vec<Cell>, tokio_postgres::Error> {
    let cell = |(at, column): (usize, &tokio_postgres::Column)| {
        Ok(if *column.type_() == Type::BYTEA {
            Cell::Bytes(row.try_get(at)?)
        } else {
            Cell::Text(meant(row.try_get(at)?))
        })
    };
    row.columns().iter().enumerate().map(cell).collect()
}

/// The columns of a row, as they are read.
fn reading(table: &LogTable, shape: &LogShape) -> String {
    let columns = [&table.key].into_iter().chain(&table.columns).zip(&shape.types);
    let read = columns.map(|(column, of)| types::reading(of, &quoted(&column.name)));
    read.collect::<Vec<_>>().join(", ")
}

impl PostgresTransaction<'_> {
    fn shape(&self, table: &LogTable) -> Result<&LogShape, Fault> {
        let known = self.known.log.iter().zip(&self.known.log_shapes);
        let mut shape = known.filter(|(known, _)| known.name == table.name).map(|(_, shape)| shape);
        shape.next().ok_or_else(|| Fault::Internal(format!("no log table is {}", table.name)))
    }

    /// The condition that names a row, its key as `$1`.
    fn keyed(table: &LogTable, shape: &LogShape) -> String {
        let key = shape.types.first().map_or(String::new(), |of| types::writing(of, 1));
        format!("{} WHERE {} = {key}", shape.name, quoted(&table.key.name))
    }
}

fn bound(shape: &LogShape, at: usize, value: &Value) -> Parameter {
    let form = shape.types.get(at).map_or(types::Form::Text, |of| of.form);
    parameter(form, value)
}

impl LogDatabase for PostgresTransaction<'_> {
    fn statements(&self) -> &'static Statements {
        &POSTGRES
    }

    fn writes(&self) -> bool {
        self.is_writing()
    }

    fn query(&self, sql: &str, values: &[Cell]) -> Result<Vec<Vec<Cell>>, Fault> {
        let connection = self.entered_log()?;
        let bounds: Vec<Bound<'_>> = values.iter().map(Bound::of).collect();
        let params: Vec<&(dyn ToSql + Sync)> = bounds.iter().map(Bound::as_sql).collect();
        let rows = self.seen(connection.rows(sql, &params))?;
        self.seen(rows.iter().map(cells).collect())
    }

    fn tables(&self) -> &[LogTable] {
        &self.known.log
    }

    fn current(&self, table: &LogTable, key: &Value) -> Result<Option<Vec<Value>>, Fault> {
        let (connection, shape) = (self.entered_log()?, self.shape(table)?);
        let sql = format!("SELECT {} FROM {}", reading(table, shape), Self::keyed(table, shape));
        let key = bound(shape, 0, key);
        let Some(row) = self.seen(connection.first(&sql, &[key.as_sql()]))? else {
            return Ok(None);
        };
        let others = shape.types.iter().enumerate().skip(1);
        let cells = others.map(|(at, of)| types::read(of.form, &row, at)).collect();
        self.seen(cells).map(Some)
    }

    fn scan(
        &self,
        table: &LogTable,
        after: Option<&Value>,
        limit: usize,
    ) -> Result<Vec<(Value, Vec<Value>)>, Fault> {
        let (connection, shape) = (self.entered_log()?, self.shape(table)?);
        let key = quoted(&table.key.name);
        let (what, from) = (reading(table, shape), &shape.name);
        let after = after.map(|after| bound(shape, 0, after));
        let first = shape.types.first().map_or(String::new(), |of| types::writing(of, 1));
        let condition = after.as_ref().map_or(String::new(), |_| format!("WHERE {key} > {first}"));
        let sql = format!("SELECT {what} FROM {from} {condition} ORDER BY {key} LIMIT {limit}");
        let params: Vec<&(dyn ToSql + Sync)> = after.iter().map(Parameter::as_sql).collect();
        let rows = self.seen(connection.rows(&sql, &params))?;
        let read = |row: &Row| {
            let cell = |(at, of): (usize, &types::Type)| types::read(of.form, row, at);
            let mut cells = shape.types.iter().enumerate().map(cell);
            let key = cells.next().transpose()?.unwrap_or_default();
            Ok((key, cells.collect::<Result<_, _>>()?))
        };
        self.seen(rows.iter().map(read).collect())
    }

    fn put_current(
        &self,
        table: &LogTable,
        key: &Value,
        cells: Option<&[(usize, &Value)]>,
    ) -> Result<(), Fault> {
        let (connection, shape) = (self.entered_log()?, self.shape(table)?);
        let mut parameters = vec![bound(shape, 0, key)];
        let sql = match cells {
            None => format!("DELETE FROM {}", Self::keyed(table, shape)),
            Some(cells) => {
                let after_key = |(at, value): &(usize, &Value)| bound(shape, at + 1, value);
                parameters.extend(cells.iter().map(after_key));
                table.upsert(cells, &shape.name, &mut |at, number| {
                    let of = shape.types.get(at.map_or(0, |at| at + 1));
                    of.map_or(String::new(), |of| types::writing(of, number))
                })
            }
        };
        let params: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(Parameter::as_sql).collect();
        self.seen(connection.execute(&sql, &params)).map(drop)
    }

    fn failure(&self) -> &RefCell<Option<Fault>> {
        &self.log_failure
    }
}
