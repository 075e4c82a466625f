//! Rows that an action read by key, with their values before the action wrote anything.
//!
//! Its own writes are compared as changes of its group, column by column; this module covers what
//! it only read.

use std::collections::{BTreeSet, HashMap};

use rusqlite::Connection;

use crate::engine::rows::apply::RowWriter;
use crate::engine::rows::binary::{BinaryReader, BinaryWriter, Malformed};
use crate::engine::rows::patch::{Effect, PatchKind, RowKey};
use crate::engine::rows::row_index::RowIndex;
use crate::engine::schema::model::{Schema, Table};
use crate::error::Result;
use crate::ids::ColumnId;
use crate::value::Value;

/// A row that was read by its key.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenRow {
    /// The row.
    pub row: RowKey,
    /// The columns that were read and not written, with their values; `None` if there was no such
    /// row.
    pub columns: Option<Vec<(ColumnId, Value)>>,
}

/// Rows and columns that a run reads by key, in the order of the first read.
#[derive(Debug, Default)]
pub(crate) struct Keyed {
    places: HashMap<RowKey, usize>,
    rows: Vec<(RowKey, BTreeSet<ColumnId>)>,
}

impl Keyed {
    /// Records a read.
    pub(crate) fn note(&mut self, row: RowKey, columns: &[ColumnId]) {
        let at = *self.places.entry(row).or_insert_with_key(|row| {
            self.rows.push((row.clone(), BTreeSet::new()));
            self.rows.len() - 1
        });
        self.rows[at].1.extend(columns);
    }

    /// Whether nothing was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The read values before the run, which changed the current rows by these patches.
    pub(crate) fn seen(
        &self,
        conn: &Connection,
        schema: &Schema,
        effect: &Effect,
    ) -> Result<Vec<SeenRow>> {
        let mut rows = RowWriter::new(conn, schema);
        let index = RowIndex::of(&effect.rows, |patch| &patch.row);
        let mut seen = Vec::with_capacity(self.rows.len());
        for (row, columns) in &self.rows {
            let Some(table) = schema.table(row.table) else { continue };
            let found = index.find(&effect.rows, |patch| &patch.row, row);
            let patch = found.map(|at| &effect.rows[at]);
            // The change itself states that there was no row, and each column of a deleted row.
            if patch.is_some_and(|patch| patch.kind != PatchKind::Update) {
                continue;
            }
            let is_written = |id: &ColumnId| {
                let mut written = patch.iter().flat_map(|patch| &patch.columns);
                written.any(|column| column.column == *id && column.is_change())
            };
            let only_read = columns.iter().copied();
            let only_read = only_read.filter(|id| is_compared(table, *id) && !is_written(id));
            let only_read: Vec<ColumnId> = only_read.collect();
            if patch.is_none() || !only_read.is_empty() {
                let columns = cells(table, rows.read(row)?.as_deref(), &only_read);
                seen.push(SeenRow { row: row.clone(), columns });
            }
        }
        Ok(seen)
    }
}

/// Updates the values to those of the current rows.
pub(crate) fn renew(seen: &mut [SeenRow], rows: &mut RowWriter<'_>, schema: &Schema) -> Result<()> {
    for one in seen {
        let Some(table) = schema.table(one.row.table) else { continue };
        let image = rows.read(&one.row)?;
        let columns: Vec<ColumnId> = one.columns.iter().flatten().map(|(id, _)| *id).collect();
        one.columns = cells(table, image.as_deref(), &columns);
    }
    Ok(())
}

/// Whether the server compares a column: its own columns may change at any time, and the key names
/// the row.
fn is_compared(table: &Table, id: ColumnId) -> bool {
    table.position(id).is_some_and(|at| at != table.key && !table.columns[at].protected)
}

/// These columns of a row. A row marked as deleted counts as absent.
fn cells(
    table: &Table,
    image: Option<&[Value]>,
    columns: &[ColumnId],
) -> Option<Vec<(ColumnId, Value)>> {
    let image = image?;
    if table.deleted_at.is_some_and(|at| !image[at].is_null()) {
        return None;
    }
    let cell = |id: &ColumnId| Some((*id, image[table.position(*id)?].clone()));
    Some(columns.iter().filter_map(cell).collect())
}

/// Appends the rows after the tables that were read.
pub(super) fn write(out: &mut BinaryWriter, seen: &[SeenRow]) {
    out.length(seen.len());
    for SeenRow { row, columns } in seen {
        out.row(row);
        out.byte(u8::from(columns.is_some()));
        out.length(columns.as_ref().map_or(0, Vec::len));
        for (id, value) in columns.iter().flatten() {
            out.unsigned(u64::from(id.0));
            out.value(value);
        }
    }
}

/// Decodes the queue's bytes.
pub(super) fn read(reader: &mut BinaryReader<'_>) -> std::result::Result<Vec<SeenRow>, Malformed> {
    let mut seen = Vec::new();
    for _ in 0..reader.length()? {
        let (row, is_there) = (reader.row()?, reader.byte()? == 1);
        let mut columns = Vec::new();
        for _ in 0..reader.length()? {
            columns.push((ColumnId(reader.small()?), reader.value()?));
        }
        seen.push(SeenRow { row, columns: is_there.then_some(columns) });
    }
    Ok(seen)
}
