//! Patches laid onto rows, and taken back: the statements that base and replay share.
//!
//! The caller keeps capture and rules off (R5), so a row is never refused; only an app's own trigger can fail, and that
//! one is dropped and recorded, and the row goes in (B22). A patch that finds no row, or one too many, does what R1 says:
//! an update or delete of a missing row is skipped, an insert over a present row lays its columns over.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, params_from_iter};

use super::patch::{ColumnPatch, PatchKind, RowKey, RowPatch};
use crate::engine::database::{OURS, fault};
use crate::engine::rebase::app_trigger;
use crate::engine::rebase::undo::Before;
use crate::engine::schema::model::{Schema, Table};
use crate::engine::schema::sql::quoted;
use crate::error::{Error, Result};
use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// The synced tables of one transaction, with their statements at hand.
pub(crate) struct Rows<'c> {
    conn: &'c Connection,
    schema: &'c Schema,
    tables: HashMap<TableNumber, TableRows<'c>>,
    /// Whether an app's trigger was dropped.
    pub(crate) trigger_dropped: bool,
}

/// One table.
struct TableRows<'c> {
    table: Arc<Table>,
    statements: Vec<(Shape, CachedStatement<'c>)>,
}

/// What a statement does, with the positions of the columns that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Read(Vec<usize>),
    Put(Vec<usize>),
    Set(Vec<usize>),
    Delete,
}

impl std::fmt::Debug for Rows<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Rows").finish_non_exhaustive()
    }
}

impl<'c> Rows<'c> {
    /// Over the tables of `schema`.
    pub(crate) fn new(conn: &'c Connection, schema: &'c Schema) -> Self {
        Self { conn, schema, tables: HashMap::new(), trigger_dropped: false }
    }

    /// The table of this number.
    pub(crate) fn table(&self, number: TableNumber) -> Result<&'c Arc<Table>> {
        self.schema
            .table(number)
            .ok_or_else(|| Error::Internal(format!("no synced table has the number {}", number.0)))
    }

    /// The stored columns of a row, in the table's order.
    pub(crate) fn read(&mut self, row: &RowKey) -> Result<Option<Vec<Value>>> {
        let all: Vec<usize> = (0..self.table(row.table)?.columns.len()).collect();
        self.read_columns(row, &all)
    }

    /// Some columns of a row, by position.
    pub(crate) fn read_columns(
        &mut self,
        row: &RowKey,
        positions: &[usize],
    ) -> Result<Option<Vec<Value>>> {
        let statement = self.statement(row.table, &Shape::Read(positions.to_vec()))?;
        let mut rows = statement.query([&row.key]).map_err(fault::of)?;
        let Some(found) = rows.next().map_err(fault::of)? else { return Ok(None) };
        let read = (0..positions.len()).map(|at| found.get(at)).collect::<rusqlite::Result<_>>();
        read.map(Some).map_err(fault::of)
    }

    /// Puts columns into a row, which is made if it is not there. The key is not among the positions.
    pub(crate) fn put<'v>(
        &mut self,
        row: &'v RowKey,
        positions: &[usize],
        values: impl Iterator<Item = &'v Value> + Clone,
    ) -> Result<()> {
        let values = std::iter::once(&row.key).chain(values);
        self.run(row.table, &Shape::Put(positions.to_vec()), &values).map(drop)
    }

    /// Removes a row; whether it was there.
    pub(crate) fn delete(&mut self, row: &RowKey) -> Result<bool> {
        Ok(self.run(row.table, &Shape::Delete, &std::iter::once(&row.key))? > 0)
    }

    /// Lays a patch onto its row; what stood there, or `None` if nothing was done.
    pub(crate) fn lay(&mut self, patch: &RowPatch) -> Result<Option<Before>> {
        match patch.kind {
            PatchKind::Insert => self.lay_whole(patch),
            PatchKind::Update => self.lay_columns(patch),
            PatchKind::Delete => match self.read(&patch.row)? {
                None => Ok(None),
                Some(image) => {
                    self.delete(&patch.row)?;
                    Ok(Some(Before::Whole(self.named(patch.row.table, image)?)))
                }
            },
        }
    }

    /// An insert, or a soft delete that is taken back where the row is gone by now.
    fn lay_whole(&mut self, patch: &RowPatch) -> Result<Option<Before>> {
        let columns: Vec<&ColumnPatch> = patch.columns.iter().collect();
        let (positions, columns) = self.positions(patch.row.table, columns)?;
        let before = self.read_columns(&patch.row, &positions)?;
        self.put(&patch.row, &positions, columns.iter().map(|column| &column.new))?;
        Ok(Some(before.map_or(Before::Absent, |olds| paired(&columns, olds))))
    }

    fn lay_columns(&mut self, patch: &RowPatch) -> Result<Option<Before>> {
        let changed = patch.columns.iter().filter(|column| column.is_change()).collect();
        let (positions, columns) = self.positions(patch.row.table, changed)?;
        if columns.is_empty() {
            return Ok(None);
        }
        let Some(olds) = self.read_columns(&patch.row, &positions)? else {
            let brings = takes_back(self.table(patch.row.table)?, patch);
            return if brings { self.lay_whole(patch) } else { Ok(None) };
        };
        let news = columns.iter().map(|column| &column.new).chain([&patch.row.key]);
        self.run(patch.row.table, &Shape::Set(positions), &news)?;
        Ok(Some(paired(&columns, olds)))
    }

    /// Takes an application back.
    pub(crate) fn take_back(&mut self, row: &RowKey, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.delete(row).map(drop),
            Before::Columns(olds) => {
                let (positions, values) = self.known(row.table, olds)?;
                if positions.is_empty() {
                    return Ok(()); // Laid over a row of a table that has nothing but its key.
                }
                let bound = values.into_iter().chain([&row.key]);
                self.run(row.table, &Shape::Set(positions), &bound).map(drop)
            }
            Before::Whole(olds) => {
                let (positions, values) = self.known(row.table, olds)?;
                self.put(row, &positions, values.into_iter())
            }
        }
    }

    /// An image with the identities of its columns, without the key.
    fn named(&self, number: TableNumber, image: Vec<Value>) -> Result<Vec<(ColumnId, Value)>> {
        let table = self.table(number)?;
        let cells = table.columns.iter().map(|column| column.id).zip(image).enumerate();
        Ok(cells.filter(|(at, _)| *at != table.key).map(|(_, cell)| cell).collect())
    }

    /// Positions of the columns that the table still has.
    fn positions<'p>(
        &self,
        number: TableNumber,
        columns: Vec<&'p ColumnPatch>,
    ) -> Result<(Vec<usize>, Vec<&'p ColumnPatch>)> {
        let table = self.table(number)?;
        let with_position =
            columns.into_iter().filter_map(|c| Some((table.position(c.column)?, c)));
        Ok(with_position.filter(|(at, _)| *at != table.key).unzip())
    }

    fn known<'v>(
        &self,
        number: TableNumber,
        cells: &'v [(ColumnId, Value)],
    ) -> Result<(Vec<usize>, Vec<&'v Value>)> {
        let table = self.table(number)?;
        Ok(cells.iter().filter_map(|(id, value)| Some((table.position(*id)?, value))).unzip())
    }

    fn run<'v>(
        &mut self,
        number: TableNumber,
        shape: &Shape,
        values: &(impl Iterator<Item = &'v Value> + Clone),
    ) -> Result<usize> {
        // A trigger that names what is gone fails already when the statement is compiled.
        let statement = self.statement(number, shape);
        let first = statement.and_then(|statement| {
            statement.execute(params_from_iter(values.clone())).map_err(fault::of)
        });
        let error = match first {
            Ok(rows) => return Ok(rows),
            Err(error) => error,
        };
        let table = Arc::clone(self.table(number)?);
        let conn = self.conn;
        let rows = app_trigger::without_failing(conn, &table.name, error, || {
            conn.prepare(&shape.sql(&table))?.execute(params_from_iter(values.clone()))
        })?;
        self.trigger_dropped = true;
        Ok(rows)
    }

    fn statement(
        &mut self,
        number: TableNumber,
        shape: &Shape,
    ) -> Result<&mut CachedStatement<'c>> {
        let table = self.table(number)?;
        let rows = self
            .tables
            .entry(number)
            .or_insert_with(|| TableRows { table: Arc::clone(table), statements: Vec::new() });
        let known = rows.statements.iter().position(|(known, _)| known == shape);
        let at = if let Some(at) = known {
            at
        } else {
            let sql = shape.sql(&rows.table);
            let statement = self.conn.prepare_cached(&sql).map_err(fault::of)?;
            rows.statements.push((shape.clone(), statement));
            rows.statements.len() - 1
        };
        Ok(&mut rows.statements[at].1)
    }
}

/// Whether an update takes a soft delete back (D3): then it names every column.
pub(crate) fn takes_back(table: &Table, patch: &RowPatch) -> bool {
    patch.kind == PatchKind::Update
        && table.deleted_at.is_some_and(|at| {
            let id = table.columns[at].id;
            let sets = |c: &ColumnPatch| c.column == id && !c.old.is_null() && c.new.is_null();
            patch.columns.iter().any(sets)
        })
}

/// Whether an update is a soft delete (D3).
pub(crate) fn soft_deletes(table: &Table, patch: &RowPatch) -> bool {
    patch.kind == PatchKind::Update
        && table.deleted_at.is_some_and(|at| {
            let id = table.columns[at].id;
            let sets = |c: &ColumnPatch| c.column == id && c.old.is_null() && !c.new.is_null();
            patch.columns.iter().any(sets)
        })
}

fn paired(columns: &[&ColumnPatch], olds: Vec<Value>) -> Before {
    Before::Columns(columns.iter().map(|column| column.column).zip(olds).collect())
}

impl Shape {
    fn sql(&self, table: &Table) -> String {
        let name = quoted(&table.name);
        let key = quoted(&table.key_column().name);
        let column = |at: &usize| quoted(&table.columns[*at].name);
        let list = |positions: &[usize], each: &dyn Fn(&usize) -> String| {
            positions.iter().map(each).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Read(at) => {
                let columns = if at.is_empty() { "1".to_owned() } else { list(at, &column) };
                format!("{OURS}SELECT {columns} FROM {name} WHERE {key} = ?1")
            }
            Self::Delete => format!("{OURS}DELETE FROM {name} WHERE {key} = ?1"),
            Self::Set(at) => {
                let sets = list(at, &|at| format!("{} = ?", column(at)));
                format!("{OURS}UPDATE {name} SET {sets} WHERE {key} = ?")
            }
            Self::Put(at) if at.is_empty() => {
                format!(
                    "{OURS}INSERT INTO {name} ({key}) VALUES (?) ON CONFLICT ({key}) DO NOTHING"
                )
            }
            Self::Put(at) => {
                let columns = list(at, &column);
                let marks = list(at, &|_| "?".to_owned());
                let sets = list(at, &|at| format!("{0} = excluded.{0}", column(at)));
                format!(
                    "{OURS}INSERT INTO {name} ({key}, {columns}) VALUES (?, {marks}) \
                     ON CONFLICT ({key}) DO UPDATE SET {sets}"
                )
            }
        }
    }
}
