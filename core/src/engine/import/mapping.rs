//! Maps an old table to one of ours: shared columns, and how rows are converted.

use std::sync::Arc;

use rejoin_protocol::manifest::Rule;
use rusqlite::types::ValueRef;

use super::read::OldTable;
use super::value::convert;
use crate::engine::capture::check;
use crate::engine::rows::patch::{ColumnPatch, RowKey};
use crate::engine::schema::guarded::{self, GuardedColumn};
use crate::engine::schema::model::{Schema, Table};
use crate::value::Value;

/// An old table that corresponds to one of ours.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) table: Arc<Table>,
    /// The old table's own spelling.
    pub(super) old_name: String,
    /// The old columns that our table also has.
    pub(super) columns: Vec<String>,
    /// The old name of the key.
    pub(super) key: String,
    /// The old columns that our table lacks.
    pub(super) left_out: Vec<String>,
    /// By index of `columns`: the position in our table.
    positions: Vec<usize>,
    guards: Vec<GuardedColumn>,
    /// Columns that refer to rows of other tables.
    references: Vec<(usize, Arc<Table>)>,
}

/// A row of the old file, converted.
#[derive(Debug)]
pub(super) struct ConvertedRow {
    pub(super) row: RowKey,
    /// By our position; `None` if the old table has no such column.
    cells: Vec<Option<Value>>,
}

impl ConvertedRow {
    /// The value at a position; NULL if the old file has none.
    pub(super) fn at(&self, position: Option<usize>) -> &Value {
        position.and_then(|at| self.cells.get(at)).and_then(Option::as_ref).unwrap_or(&Value::Null)
    }

    /// Sets a value, if the old file has the column.
    pub(super) fn set(&mut self, position: Option<usize>, value: Value) {
        if let Some(Some(cell)) = position.and_then(|at| self.cells.get_mut(at)) {
            *cell = value;
        }
    }

    /// The known cells, by position, without the key.
    pub(super) fn known(&self, key: usize) -> impl Iterator<Item = (usize, &Value)> + Clone {
        let known = self.cells.iter().enumerate();
        known.filter_map(move |(at, cell)| cell.as_ref().filter(|_| at != key).map(|it| (at, it)))
    }
}

impl Mapping {
    /// Maps an old table; returns the reason if that is not possible.
    pub(super) fn of(old: &OldTable, schema: &Schema) -> Result<Self, String> {
        if !old.synced {
            return Err(String::from(
                "the app made it for this device only; copy what is needed of it by hand",
            ));
        }
        let table =
            schema.named_in_rows(&old.name).ok_or("the schema has no synced table of this name")?;
        let mut mapping = Self {
            table: Arc::clone(table),
            old_name: old.name.clone(),
            columns: Vec::new(),
            key: String::new(),
            left_out: Vec::new(),
            positions: Vec::new(),
            guards: guarded::guard(table, schema).columns,
            references: references(table, schema),
        };
        for column in &old.columns {
            match table.column_named(column) {
                Some(at) => {
                    mapping.columns.push(column.clone());
                    mapping.positions.push(at);
                    if at == table.key {
                        mapping.key.clone_from(column);
                    }
                }
                None => mapping.left_out.push(column.clone()),
            }
        }
        if mapping.key.is_empty() {
            return Err(format!("it has no column {}, which is the key", table.key_column().name));
        }
        Ok(mapping)
    }

    /// Converts a row of the old file; `None` if its key is invalid.
    pub(super) fn image(&self, old: Vec<Value>) -> Option<ConvertedRow> {
        let mut cells = vec![None; self.table.columns.len()];
        for (value, &at) in old.into_iter().zip(&self.positions) {
            cells[at] = Some(convert(self.guards[at], value));
        }
        let key = cells[self.table.key].clone()?;
        matches!(key, Value::Text(_) | Value::Integer(_))
            .then(|| ConvertedRow { row: RowKey { table: self.table.number, key }, cells })
    }

    /// Why a row cannot be sent, by column. Protected columns are not sent. The key is accepted in
    /// any letter case, because the server may have it already.
    pub(super) fn test(&self, image: &ConvertedRow) -> Result<(), String> {
        for (at, value) in image.known(self.table.key) {
            let column = &self.table.columns[at];
            if !column.protected {
                check::value(self.guards[at], lent(value))
                    .map_err(|why| format!("{}: {why}", column.name))?;
            }
        }
        Ok(())
    }

    /// Whether the row is soft-deleted.
    pub(super) fn is_deleted(&self, image: &ConvertedRow) -> bool {
        !image.at(self.table.deleted_at).is_null()
    }

    /// The rows that this one refers to.
    pub(super) fn parents(&self, image: &ConvertedRow) -> Vec<RowKey> {
        let named = self.references.iter().map(|(at, parent)| (image.at(Some(*at)), parent));
        named
            .filter(|(key, _)| !key.is_null())
            .map(|(key, parent)| RowKey { table: parent.number, key: key.clone() })
            .collect()
    }

    /// Known columns as column patches.
    pub(super) fn patch(
        &self,
        image: &ConvertedRow,
        each: impl Fn(usize, &Value) -> Option<(Value, Value)>,
    ) -> Vec<ColumnPatch> {
        let columns = image.known(self.table.key).filter_map(|(at, value)| {
            let (old, new) = each(at, value)?;
            Some(ColumnPatch { column: self.table.columns[at].id, old, new })
        });
        columns.collect()
    }
}

fn lent(value: &Value) -> ValueRef<'_> {
    match value {
        Value::Null => ValueRef::Null,
        Value::Integer(number) => ValueRef::Integer(*number),
        Value::Real(number) => ValueRef::Real(*number),
        Value::Text(text) => ValueRef::Text(text.as_bytes()),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
    }
}

/// The columns by which a table refers to others: its declared references, and the one to its
/// parent table.
fn references(table: &Table, schema: &Schema) -> Vec<(usize, Arc<Table>)> {
    let declared = table.rules.iter().filter_map(|rule| match rule {
        Rule::References { column, table, .. } => Some((column.as_str(), table.as_str())),
        _ => None,
    });
    let manifest = schema.manifest.iter().flat_map(|manifest| &manifest.tables);
    let owning = manifest.filter(|other| other.table_name == table.name).filter_map(|other| {
        Some((other.parent_fk_col.as_deref()?, other.parent_table.as_deref()?))
    });
    declared
        .chain(owning)
        .filter_map(|(column, parent)| {
            Some((table.column_named(column)?, Arc::clone(schema.named(parent)?)))
        })
        .collect()
}
