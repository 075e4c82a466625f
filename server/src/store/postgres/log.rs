//! The log's statements in a transaction over PostgreSQL.
//!
//! They run under the store's own role: with row level security, no policy lets the serving role
//! read the log's tables.

use std::borrow::Cow;

use rejoin_protocol::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::batch::Column;
use super::connection::{Connection, Params, Sql};
use super::log_tables::LogShape;
use super::records::{kept, meant};
use super::transaction::PostgresTransaction;
use super::types::{self, Parameter, parameter};
use crate::error::Fault;
use crate::model::LogTable;
use crate::store::log::{
    Cell, CurrentRow, LogDatabase, LogSession, LogWrites, POSTGRES, Query, Statements,
};
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

/// The columns of a statement's lists of cells.
fn columns(lists: &[Vec<Cell>]) -> Vec<List<'_>> {
    let column = |at| List::of(lists.iter().filter_map(move |cells| cells.get(at)));
    (0..lists.first().map_or(0, Vec::len)).map(column).collect()
}

/// The statement for one list of cells, or for many.
fn repeated<'s>(sql: &'s str, many: usize, columns: &[List<'_>]) -> Cow<'s, str> {
    if many == 1 { sql.into() } else { for_each(sql, columns).into() }
}

fn parameters<'c>(many: usize, columns: &'c [List<'_>]) -> Vec<&'c (dyn ToSql + Sync)> {
    let first = |list: &'c List<'_>| list.first_as_sql();
    if many == 1 {
        columns.iter().filter_map(first).collect()
    } else {
        columns.iter().map(List::as_sql).collect()
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

/// Rows of parameters, which a statement has as lists.
struct Rows(Vec<Vec<Parameter>>);

impl Rows {
    fn columns(&self) -> Vec<Column<'_>> {
        let column = |at| Column::list(self.0.iter().filter_map(move |row| row.get(at)));
        (0..self.0.first().map_or(0, Vec::len)).map(column).collect()
    }
}

impl PostgresTransaction<'_> {
    fn entered_log(&self) -> Result<&Connection, Fault> {
        self.log_queries(&[])?;
        Ok(self.for_log()?.0)
    }

    /// Runs queries of the log in one round trip, with those that the first one needs before it.
    fn log_queries(&self, asked: &[(Sql<'_>, Params<'_>)]) -> Result<Vec<Vec<Row>>, Fault> {
        let (connection, before) = self.for_log()?;
        let first = before.iter().map(|text| (Sql { text, types: &[] }, Params::default()));
        let all: Vec<_> = first.chain(asked.iter().copied()).collect();
        Ok(self.seen(connection.all(&all))?.split_off(before.len()))
    }

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

    /// The statement that writes rows, all with cells of the same columns.
    fn upsert(&self, table: &LogTable, rows: &[CurrentRow<'_>]) -> Result<(String, Rows), Fault> {
        let shape = self.shape(table)?;
        let cells = rows.first().map_or(&[][..], |(_, cells)| cells);
        let places: Vec<usize> =
            [0].into_iter().chain(cells.iter().map(|(at, _)| at + 1)).collect();
        let parameters = |(key, cells): &CurrentRow<'_>| {
            let values = [key].into_iter().chain(cells.iter().map(|(_, value)| *value));
            places.iter().zip(values).map(|(at, value)| bound(shape, *at, value)).collect()
        };
        let rows = Rows(rows.iter().map(parameters).collect());
        let kinds = places.iter().map(|at| match shape.types.get(*at) {
            Some(of) if types::carrier(of.form) == "bytea" => "bytea[]",
            _ => "text[]",
        });
        let from = unnested(kinds);
        let sql = table.upsert(cells, &shape.name, Some(&from), &mut |at, number| {
            let of = shape.types.get(at.map_or(0, |at| at + 1));
            of.map_or(String::new(), |of| types::writing_carried(of, &format!("v.c{number}")))
        });
        Ok((sql, rows))
    }

    /// The statement that removes rows.
    fn removal(&self, table: &LogTable, keys: &[Value]) -> Result<(String, Rows), Fault> {
        let shape = self.shape(table)?;
        let rows = Rows(keys.iter().map(|key| vec![bound(shape, 0, key)]).collect());
        // A key is text, a UUID or an integer: it is sent as text.
        let of = shape.types.first().map_or("text", |of| of.cast.as_str());
        let (name, key) = (&shape.name, quoted(&table.key.name));
        Ok((format!("DELETE FROM {name} WHERE {key} = ANY($1::text[]::{of}[])"), rows))
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
        let lists: Vec<_> = values.iter().map(|cell| List::of([cell].into_iter())).collect();
        let rows = self.log_queries(&[(Sql { text: sql, types: &[] }, &parameters(1, &lists))])?;
        self.seen(rows.iter().flatten().map(cells).collect())
    }

    fn query_all(&self, asked: &[Query]) -> Result<Vec<Vec<Vec<Cell>>>, Fault> {
        let columns: Vec<Vec<List<'_>>> = asked.iter().map(|(_, lists)| columns(lists)).collect();
        let asked = asked.iter().zip(&columns).map(|((sql, lists), columns)| {
            (repeated(sql, lists.len(), columns), parameters(lists.len(), columns))
        });
        let asked: Vec<_> = asked.collect();
        let asked: Vec<(Sql<'_>, Params<'_>)> =
            asked.iter().map(|(text, params)| (Sql { text, types: &[] }, &params[..])).collect();
        let found = self.log_queries(&asked)?;
        let rows = |rows: &Vec<Row>| rows.iter().map(cells).collect();
        self.seen(found.iter().map(rows).collect())
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

    fn write_all(&self, writes: &LogWrites<'_>) -> Result<(), Fault> {
        let records: Vec<_> = writes.records.iter().map(|(_, lists)| columns(lists)).collect();
        let keys = writes.removed.iter().map(|(table, keys)| self.removal(table, keys));
        let rows = writes.rows.iter().map(|(table, rows)| self.upsert(table, rows));
        let rows = keys.chain(rows).collect::<Result<Vec<_>, Fault>>()?;
        let rows: Vec<_> = rows.iter().map(|(sql, rows)| (sql, rows.columns())).collect();
        let mut written: Vec<(Cow<'_, str>, Vec<&(dyn ToSql + Sync)>)> = Vec::new();
        for ((sql, lists), columns) in writes.records.iter().zip(&records) {
            written.push((repeated(sql, lists.len(), columns), parameters(lists.len(), columns)));
        }
        for (sql, columns) in &rows {
            written.push((sql.as_str().into(), columns.iter().map(Column::as_sql).collect()));
        }
        let written: Vec<(&str, Params<'_>)> =
            written.iter().map(|(sql, params)| (&**sql, &params[..])).collect();
        let sent = self.entered_log()?.pipelined(None, &written, None);
        self.seen(sent.map_err(|(_, error)| error))
    }

    fn session(&self) -> &LogSession {
        &self.log_session
    }
}
