//! The log's statements in a transaction over PostgreSQL.
//!
//! They run under the store's own role: with row level security, no policy lets the serving role
//! read the log's tables.

use std::borrow::Cow;

use rejoin_protocol::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::batch::Column;
use super::log_tables::LogShape;
use super::records::{kept, meant};
use super::transaction::PostgresTransaction;
use super::types::{self, Parameter, parameter};
use crate::error::Fault;
use crate::model::LogTable;
use crate::store::log::{Cell, CurrentRow, LogDatabase, LogSession, POSTGRES, Statements};
use crate::store::quote::quoted;

/// Taken before the log is first read, and released after the commit is visible. The statement after
/// it has a snapshot of its own (READ COMMITTED), so it reads what the former holder committed.
pub(super) const LOCK: &str = "SELECT pg_advisory_xact_lock(1380600401, 0)";

/// Cells of one kind as a parameter that is a list, with NUL escaped in text.
enum List<'c> {
    Numbers(Vec<i64>),
    Texts(Vec<Cow<'c, str>>),
    Bytes(Vec<&'c [u8]>),
}

impl<'c> List<'c> {
    fn of(cells: impl Iterator<Item = &'c Cell>) -> Self {
        let (mut numbers, mut texts, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for cell in cells {
            match cell {
                Cell::Number(number) => numbers.push(*number),
                Cell::Text(text) => texts.push(kept(text)),
                Cell::Bytes(blob) => bytes.push(blob.as_slice()),
            }
        }
        match (numbers.is_empty(), texts.is_empty()) {
            (false, _) => Self::Numbers(numbers),
            (_, false) => Self::Texts(texts),
            _ => Self::Bytes(bytes),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Numbers(_) => "bigint[]",
            Self::Texts(_) => "text[]",
            Self::Bytes(_) => "bytea[]",
        }
    }

    fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Numbers(numbers) => numbers,
            Self::Texts(texts) => texts,
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The first cell as a parameter.
    fn first_as_sql(&self) -> Option<&(dyn ToSql + Sync)> {
        match self {
            Self::Numbers(numbers) => numbers.first().map(|number| number as _),
            Self::Texts(texts) => texts.first().map(|text| text as _),
            Self::Bytes(bytes) => bytes.first().map(|bytes| bytes as _),
        }
    }
}

/// A list of rows with columns of these types: the parameters are lists of their cells.
fn unnested<'k>(kinds: impl Iterator<Item = &'k str>) -> String {
    let (mut lists, mut names) = (Vec::new(), Vec::new());
    for (kind, number) in kinds.zip(1..) {
        lists.push(format!("${number}::{kind}"));
        names.push(format!("c{number}"));
    }
    format!("unnest({}) AS v({})", lists.join(", "), names.join(", "))
}

/// The statement that runs this one, which has fewer than ten parameters, for each row of a list.
fn for_each(sql: &str, lists: &[List<'_>]) -> String {
    let rows = unnested(lists.iter().map(List::kind));
    let parameters: Vec<String> = (1..=lists.len()).map(|number| format!("${number}")).collect();
    if let Some((head, tail)) = sql.split_once(&format!("VALUES ({})", parameters.join(", "))) {
        return format!("{head}SELECT * FROM {rows}{tail}");
    }
    let mut each = sql.to_owned();
    for (parameter, number) in parameters.iter().zip(1..) {
        each = each.replace(parameter, &format!("v.c{number}"));
    }
    format!("SELECT found.* FROM {rows} CROSS JOIN LATERAL ({each}) AS found")
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
        let lists: Vec<_> = values.iter().map(|cell| List::of([cell].into_iter())).collect();
        let params: Vec<_> = lists.iter().filter_map(List::first_as_sql).collect();
        let rows = self.seen(connection.rows(sql, &params))?;
        self.seen(rows.iter().map(cells).collect())
    }

    fn query_each(&self, sql: &str, lists: &[Vec<Cell>]) -> Result<Vec<Vec<Cell>>, Fault> {
        let first = match lists {
            [] => return Ok(Vec::new()),
            [only] => return self.query(sql, only),
            [first, ..] => first,
        };
        let connection = self.entered_log()?;
        let column = |at| List::of(lists.iter().filter_map(move |cells| cells.get(at)));
        let columns: Vec<List<'_>> = (0..first.len()).map(column).collect();
        let params: Vec<_> = columns.iter().map(List::as_sql).collect();
        let rows = self.seen(connection.rows(&for_each(sql, &columns), &params))?;
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

    fn put_rows(&self, table: &LogTable, rows: &[CurrentRow<'_>]) -> Result<(), Fault> {
        let (connection, shape) = (self.entered_log()?, self.shape(table)?);
        let Some((_, cells)) = rows.first() else { return Ok(()) };
        let places: Vec<usize> =
            [0].into_iter().chain(cells.iter().map(|(at, _)| at + 1)).collect();
        let parameters = |(key, cells): &CurrentRow<'_>| {
            let values = [key].into_iter().chain(cells.iter().map(|(_, value)| *value));
            places.iter().zip(values).map(|(at, value)| bound(shape, *at, value)).collect()
        };
        let rows: Vec<Vec<Parameter>> = rows.iter().map(parameters).collect();
        let column = |at| Column::list(rows.iter().filter_map(move |row| row.get(at)));
        let columns: Vec<Column<'_>> = (0..places.len()).map(column).collect();
        let kinds = places.iter().map(|at| match shape.types.get(*at) {
            Some(of) if types::carrier(of.form) == "bytea" => "bytea[]",
            _ => "text[]",
        });
        let from = unnested(kinds);
        let sql = table.upsert(cells, &shape.name, Some(&from), &mut |at, number| {
            let of = shape.types.get(at.map_or(0, |at| at + 1));
            of.map_or(String::new(), |of| types::writing_carried(of, &format!("v.c{number}")))
        });
        let params: Vec<_> = columns.iter().map(Column::as_sql).collect();
        self.seen(connection.execute(&sql, &params)).map(drop)
    }

    fn remove_rows(&self, table: &LogTable, keys: &[Value]) -> Result<(), Fault> {
        let (connection, shape) = (self.entered_log()?, self.shape(table)?);
        let parameters: Vec<Parameter> = keys.iter().map(|key| bound(shape, 0, key)).collect();
        // A key is text, a UUID or an integer: it is sent as text.
        let keys = shape.types.first().map_or("text", |of| of.cast.as_str());
        let (name, key) = (&shape.name, quoted(&table.key.name));
        let sql = format!("DELETE FROM {name} WHERE {key} = ANY($1::text[]::{keys}[])");
        let list = Column::list(parameters.iter());
        self.seen(connection.execute(&sql, &[list.as_sql()])).map(drop)
    }

    fn session(&self) -> &LogSession {
        &self.log_session
    }
}
