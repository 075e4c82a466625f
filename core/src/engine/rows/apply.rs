//! Applies patches to rows and reverts them: the statements shared by base application and replay.
//!
//! The caller turns capture and rules off, so a row is never rejected. Only an app trigger can
//! fail: it is dropped and recorded, and the row is written. An update or delete of a missing row
//! is skipped; an insert over an existing row sets its columns.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, params_from_iter};

use crate::engine::database::OURS;
use crate::engine::rows::key_order::in_key_order;
use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowKey, RowPatch, same};
use crate::engine::rows::undo::Before;
use crate::engine::schema::app_trigger;
use crate::engine::schema::model::{Schema, Table};
use crate::engine::schema::sql::quoted;
use crate::error::{Error, Result};
use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// The rows of synced tables in one transaction, with prepared statements.
pub(crate) struct RowWriter<'c> {
    conn: &'c Connection,
    schema: &'c Schema,
    statements: Vec<Known<'c>>,
    /// Rows that several mutations and the batch change: read once, and written once at the end.
    held: HashMap<RowKey, Held, foldhash::fast::RandomState>,
}

/// A row in memory.
struct Held {
    stored: Option<Vec<Value>>,
    present: Option<Vec<Value>>,
}

/// A prepared statement.
struct Known<'c> {
    table: TableNumber,
    verb: Verb,
    positions: Vec<usize>,
    statement: CachedStatement<'c>,
}

/// What a statement does with the columns that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Read,
    Put,
    Set,
    Delete,
}

impl std::fmt::Debug for RowWriter<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Rows").finish_non_exhaustive()
    }
}

impl<'c> RowWriter<'c> {
    /// Creates an instance over the tables of `schema`.
    pub(crate) fn new(conn: &'c Connection, schema: &'c Schema) -> Self {
        Self { conn, schema, statements: Vec::new(), held: HashMap::default() }
    }

    /// The table with this number. A removed table has no rows, and patches of it do nothing.
    pub(crate) fn table(&self, number: TableNumber) -> Result<&'c Arc<Table>> {
        self.schema
            .table(number)
            .ok_or_else(|| Error::Internal(format!("no synced table has the number {}", number.0)))
    }

    /// Keeps a row in memory until [`RowWriter::settle`]: changes in between need no statement.
    pub(crate) fn hold(&mut self, row: &RowKey) -> Result<()> {
        if !self.held.contains_key(row) {
            let stored = self.read(row)?;
            self.held.insert(row.clone(), Held { present: stored.clone(), stored });
        }
        Ok(())
    }

    /// The rows in memory, and whether they exist.
    pub(crate) fn held(&self) -> impl Iterator<Item = (&RowKey, bool)> {
        self.held.iter().map(|(row, held)| (row, held.present.is_some()))
    }

    /// Writes the changed rows in memory, in key order. An unchanged row costs nothing.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let mut held: Vec<(RowKey, Held)> = std::mem::take(&mut self.held).into_iter().collect();
        held.sort_by(|(a, _), (b, _)| {
            a.table.cmp(&b.table).then_with(|| in_key_order(&a.key, &b.key))
        });
        held.iter().try_for_each(|(row, held)| self.store(row, held))
    }

    fn store(&mut self, row: &RowKey, held: &Held) -> Result<()> {
        let key = self.table(row.table)?.key;
        match (&held.stored, &held.present) {
            (None, None) => Ok(()),
            (Some(_), None) => self.delete(row).map(drop),
            (None, Some(image)) => {
                let positions: Vec<usize> = (0..image.len()).filter(|at| *at != key).collect();
                self.put(row, &positions, positions.iter().map(|at| &image[*at]))
            }
            (Some(old), Some(new)) => {
                let changed = |at: &usize| !same(&old[*at], &new[*at]);
                let positions: Vec<usize> = (0..new.len()).filter(changed).collect();
                if positions.is_empty() {
                    return Ok(());
                }
                self.set(row, &positions, positions.iter().map(|at| &new[*at]))
            }
        }
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
        if let Some(held) = self.held.get(row) {
            let some = |image: &Vec<Value>| positions.iter().map(|at| image[*at].clone()).collect();
            return Ok(held.present.as_ref().map(some));
        }
        if self.table(row.table)?.is_removed() {
            return Ok(None);
        }
        let statement = self.statement(row.table, Verb::Read, positions)?;
        let mut rows = statement.query([&row.key])?;
        let Some(found) = rows.next()? else { return Ok(None) };
        let read = (0..positions.len()).map(|at| found.get(at)).collect::<rusqlite::Result<_>>();
        Ok(read.map(Some)?)
    }

    /// Sets columns of a row and creates it if it does not exist. The key is not among the
    /// positions.
    pub(crate) fn put<'v>(
        &mut self,
        row: &'v RowKey,
        positions: &[usize],
        values: impl Iterator<Item = &'v Value> + Clone,
    ) -> Result<()> {
        let Some(held) = self.held.get_mut(row) else {
            let values = std::iter::once(&row.key).chain(values);
            return self.run(row.table, Verb::Put, positions, &values).map(drop);
        };
        let table = self.schema.table(row.table);
        if let (None, Some(table)) = (&held.present, table)
            && positions.len() + 1 == table.columns.len()
        {
            let mut image = vec![Value::Null; table.columns.len()];
            image[table.key] = row.key.clone();
            held.present = Some(image);
        }
        if held.present.is_some() {
            lay_over(&mut held.present, positions, values);
            return Ok(());
        }
        // The other columns get their defaults, which only SQLite computes.
        if let Some(held) = self.held.remove(row) {
            self.store(row, &held)?;
        }
        self.put(row, positions, values)?;
        self.hold(row)
    }

    /// Sets columns of a row, if it exists.
    fn set<'v>(
        &mut self,
        row: &'v RowKey,
        positions: &[usize],
        values: impl Iterator<Item = &'v Value> + Clone,
    ) -> Result<()> {
        if let Some(held) = self.held.get_mut(row) {
            lay_over(&mut held.present, positions, values);
            return Ok(());
        }
        if positions.is_empty() {
            return Ok(()); // The table has no column besides its key.
        }
        self.run(row.table, Verb::Set, positions, &values.chain([&row.key])).map(drop)
    }

    /// Removes a row; returns whether it existed.
    pub(crate) fn delete(&mut self, row: &RowKey) -> Result<bool> {
        if let Some(held) = self.held.get_mut(row) {
            return Ok(held.present.take().is_some());
        }
        Ok(self.run(row.table, Verb::Delete, &[], &std::iter::once(&row.key))? > 0)
    }

    /// Applies a patch to its row; returns the before-image, or `None` if nothing was changed.
    pub(crate) fn apply_patch(&mut self, patch: &RowPatch) -> Result<Option<Before>> {
        match patch.kind {
            _ if self.table(patch.row.table)?.is_removed() => Ok(None),
            PatchKind::Insert => self.apply_insert(patch),
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

    /// Applies an insert, or an undone soft delete of a row that no longer exists.
    fn apply_insert(&mut self, patch: &RowPatch) -> Result<Option<Before>> {
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
            return if brings { self.apply_insert(patch) } else { Ok(None) };
        };
        self.set(&patch.row, &positions, columns.iter().map(|column| &column.new))?;
        Ok(Some(paired(&columns, olds)))
    }

    /// Reverts the application of a patch.
    pub(crate) fn take_back(&mut self, row: &RowKey, before: &Before) -> Result<()> {
        match before {
            _ if self.table(row.table)?.is_removed() => Ok(()),
            Before::Absent => self.delete(row).map(drop),
            Before::Columns(olds) => {
                let (positions, values) = self.known(row.table, olds)?;
                self.set(row, &positions, values.into_iter())
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
        verb: Verb,
        positions: &[usize],
        values: &(impl Iterator<Item = &'v Value> + Clone),
    ) -> Result<usize> {
        // A trigger that names something removed fails already when the statement is compiled.
        let statement = self.statement(number, verb, positions);
        let first = statement
            .and_then(|statement| Ok(statement.execute(params_from_iter(values.clone()))?));
        let error = match first {
            Ok(rows) => return Ok(rows),
            Err(error) => error,
        };
        let table = self.table(number)?;
        let conn = self.conn;
        app_trigger::without_failing(conn, &table.name, error, || {
            let sql = verb.sql(table, positions);
            conn.prepare(&sql)?.execute(params_from_iter(values.clone()))
        })
    }

    /// A batch needs few statements: a linear search is faster than a map.
    fn statement(
        &mut self,
        number: TableNumber,
        verb: Verb,
        positions: &[usize],
    ) -> Result<&mut CachedStatement<'c>> {
        let known = self.statements.iter().position(|known| {
            known.table == number && known.verb == verb && known.positions == positions
        });
        let at = if let Some(at) = known {
            at
        } else {
            let sql = verb.sql(self.table(number)?, positions);
            let statement = self.conn.prepare_cached(&sql)?;
            let positions = positions.to_vec();
            self.statements.push(Known { table: number, verb, positions, statement });
            self.statements.len() - 1
        };
        Ok(&mut self.statements[at].statement)
    }
}

/// Whether an update undoes a soft delete: then it names every column.
pub(crate) fn takes_back(table: &Table, patch: &RowPatch) -> bool {
    patch.kind == PatchKind::Update
        && table.deleted_at.is_some_and(|at| {
            let id = table.columns[at].id;
            let sets = |c: &ColumnPatch| c.column == id && !c.old.is_null() && c.new.is_null();
            patch.columns.iter().any(sets)
        })
}

/// Whether an update is a soft delete.
pub(crate) fn soft_deletes(table: &Table, patch: &RowPatch) -> bool {
    patch.kind == PatchKind::Update
        && table.deleted_at.is_some_and(|at| {
            let id = table.columns[at].id;
            let sets = |c: &ColumnPatch| c.column == id && c.old.is_null() && !c.new.is_null();
            patch.columns.iter().any(sets)
        })
}

fn lay_over<'v>(
    image: &mut Option<Vec<Value>>,
    positions: &[usize],
    values: impl Iterator<Item = &'v Value>,
) {
    if let Some(image) = image {
        positions.iter().zip(values).for_each(|(at, value)| image[*at].clone_from(value));
    }
}

fn paired(columns: &[&ColumnPatch], olds: Vec<Value>) -> Before {
    Before::Columns(columns.iter().map(|column| column.column).zip(olds).collect())
}

impl Verb {
    fn sql(self, table: &Table, positions: &[usize]) -> String {
        let name = quoted(&table.name);
        let key = quoted(&table.key_column().name);
        let column = |at: &usize| quoted(&table.columns[*at].name);
        let list = |each: &dyn Fn(&usize) -> String| {
            positions.iter().map(each).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Read => {
                let columns = if positions.is_empty() { "1".to_owned() } else { list(&column) };
                format!("{OURS}SELECT {columns} FROM {name} WHERE {key} = ?1")
            }
            Self::Delete => format!("{OURS}DELETE FROM {name} WHERE {key} = ?1"),
            Self::Set => {
                let sets = list(&|at| format!("{} = ?", column(at)));
                format!("{OURS}UPDATE {name} SET {sets} WHERE {key} = ?")
            }
            Self::Put => {
                // Only the server fills a column that the patch does not name: no default of this
                // device is used.
                let others = table.columns.iter().enumerate().filter(|(at, other)| {
                    *at != table.key && other.default.is_some() && !positions.contains(at)
                });
                let others: Vec<usize> = others.map(|(at, _)| at).collect();
                let all = positions.iter().chain(&others).map(|at| format!(", {}", column(at)));
                let marks = positions.iter().map(|_| ", ?").chain(others.iter().map(|_| ", NULL"));
                let (all, marks): (String, String) = (all.collect(), marks.collect());
                let sets = list(&|at| format!("{0} = excluded.{0}", column(at)));
                let over = if sets.is_empty() {
                    "NOTHING".to_owned()
                } else {
                    format!("UPDATE SET {sets}")
                };
                format!(
                    "{OURS}INSERT INTO {name} ({key}{all}) VALUES (?{marks}) \
                     ON CONFLICT ({key}) DO {over}"
                )
            }
        }
    }
}
