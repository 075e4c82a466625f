//! Many changes of a row become one patch: what a transaction did on the whole, and what patches do in a row.
//!
//! Pure. [`Composer`] takes the raw images that the triggers saw, in their order, and gives the net patches, one per row
//! in the order of first touch; a row that is as it was at the start leaves nothing. [`compose`] and [`invert`] are the
//! same algebra on patches. Values are compared exactly, by storage class and bits: what SQLite stored is what counts.

use std::collections::HashMap;

use super::patch::{ColumnPatch, Effect, PatchKind, RowKey, RowPatch};
use crate::engine::schema::model::Table;
use crate::ids::TableNumber;
use crate::value::Value;

/// The stored columns of a row, in the table's order.
pub type Image = Vec<Value>;

/// Collects what one transaction does to rows.
#[derive(Debug, Default)]
pub struct Composer {
    rows: Vec<Touched>,
    index: HashMap<RowKey, usize>,
}

#[derive(Debug)]
struct Touched {
    row: RowKey,
    before: Option<Image>,
    after: Option<Image>,
}

impl Composer {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes one event: an insert has no `old`, a delete no `new`. A change of the key is a delete and an insert.
    pub fn push(&mut self, table: &Table, old: Option<Image>, new: Option<Image>) {
        match (old, new) {
            (Some(old), Some(new)) if !same(&old[table.key], &new[table.key]) => {
                self.touch(table, Some(old), None);
                self.touch(table, None, Some(new));
            }
            (old, new) => self.touch(table, old, new),
        }
    }

    fn touch(&mut self, table: &Table, old: Option<Image>, new: Option<Image>) {
        let Some(image) = new.as_ref().or(old.as_ref()) else { return };
        let row = RowKey { table: table.number, key: image[table.key].clone() };
        // One row per transaction is the common case: the map is filled only from the second on.
        let known = match self.rows.as_slice() {
            [] => None,
            [only] => (only.row == row).then_some(0),
            _ => self.index.get(&row).copied(),
        };
        if let Some(position) = known {
            self.rows[position].after = new;
            return;
        }
        if self.rows.len() == 1 {
            self.index.insert(self.rows[0].row.clone(), 0);
        }
        if !self.rows.is_empty() {
            self.index.insert(row.clone(), self.rows.len());
        }
        self.rows.push(Touched { row, before: old, after: new });
    }

    /// The net patches. `table` finds a table by its number; rows of tables that it does not find are left out.
    pub fn finish<'a>(
        self,
        schema_version: i64,
        table: impl Fn(TableNumber) -> Option<&'a Table>,
    ) -> Effect {
        let mut effect = Effect { schema_version, rows: Vec::with_capacity(self.rows.len()) };
        for touched in self.rows {
            let Some(table) = table(touched.row.table) else { continue };
            let row = touched.row;
            effect.rows.extend(match (touched.before, touched.after) {
                (None, None) => None,
                (None, Some(new)) => Some(whole(row, PatchKind::Insert, table, new)),
                (Some(old), None) => Some(whole(row, PatchKind::Delete, table, old)),
                (Some(old), Some(new)) => changed(row, table, old, new),
            });
        }
        effect
    }
}

fn whole(row: RowKey, kind: PatchKind, table: &Table, image: Image) -> RowPatch {
    let mut columns = Vec::with_capacity(table.columns.len());
    for (position, (column, value)) in table.columns.iter().zip(image).enumerate() {
        if position != table.key {
            let (old, new) = match kind {
                PatchKind::Delete => (value, Value::Null),
                _ => (Value::Null, value),
            };
            columns.push(ColumnPatch { column: column.id, old, new });
        }
    }
    RowPatch { row, kind, columns }
}

/// The changed columns. A soft delete and its taking back (D3) name every column: the delete carries what it saw
/// (O1), the other brings a whole row. Columns that such a patch names without changing have equal sides.
fn changed(row: RowKey, table: &Table, old: Image, new: Image) -> Option<RowPatch> {
    let all = table.deleted_at.is_some_and(|at| old[at].is_null() != new[at].is_null());
    let mut columns = Vec::new();
    for (position, (column, (old, new))) in
        table.columns.iter().zip(old.into_iter().zip(new)).enumerate()
    {
        if position != table.key && (all || !same(&old, &new)) {
            columns.push(ColumnPatch { column: column.id, old, new });
        }
    }
    (!columns.is_empty()).then_some(RowPatch { row, kind: PatchKind::Update, columns })
}

/// Whether two values are the same to the last bit.
pub fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Real(left), Value::Real(right)) => left.to_bits() == right.to_bits(),
        _ => left == right,
    }
}

/// What two patches of one row do in a row; `None` if nothing is left, or if the second cannot follow the first.
///
/// An insert and a delete cancel out; a delete and an insert are an update of what differs.
pub fn compose(first: &RowPatch, second: &RowPatch) -> Option<RowPatch> {
    let row = first.row.clone();
    let (kind, columns) = match (first.kind, second.kind) {
        (PatchKind::Insert, PatchKind::Update) => (PatchKind::Insert, laid_over(first, second)),
        (PatchKind::Update, PatchKind::Update) => {
            let mut columns = laid_over(first, second);
            columns.retain(|column| !same(&column.old, &column.new));
            (PatchKind::Update, columns)
        }
        (PatchKind::Update, PatchKind::Delete) => (PatchKind::Delete, olds_of(first, second)),
        (PatchKind::Delete, PatchKind::Insert) => {
            let mut columns = first.columns.clone();
            for column in &mut columns {
                column.new = find(second, column).map_or(Value::Null, |other| other.new.clone());
            }
            columns.extend(second.columns.iter().filter(|c| find(first, c).is_none()).cloned());
            columns.retain(|column| !same(&column.old, &column.new));
            (PatchKind::Update, columns)
        }
        _ => return None,
    };
    (kind != PatchKind::Update || !columns.is_empty()).then_some(RowPatch { row, kind, columns })
}

fn find<'a>(patch: &'a RowPatch, column: &ColumnPatch) -> Option<&'a ColumnPatch> {
    patch.columns.iter().find(|other| other.column == column.column)
}

/// First's columns with second's new values, then second's own, in the order of the columns' identities.
fn laid_over(first: &RowPatch, second: &RowPatch) -> Vec<ColumnPatch> {
    let mut columns = first.columns.clone();
    for column in &second.columns {
        match columns.iter_mut().find(|other| other.column == column.column) {
            Some(mine) => mine.new = column.new.clone(),
            None => columns.push(match first.kind {
                PatchKind::Insert => ColumnPatch { old: Value::Null, ..column.clone() },
                _ => column.clone(),
            }),
        }
    }
    columns.sort_by_key(|column| column.column);
    columns
}

fn olds_of(first: &RowPatch, second: &RowPatch) -> Vec<ColumnPatch> {
    let mut columns = second.columns.clone();
    for column in &mut columns {
        if let Some(earlier) = find(first, column) {
            column.old = earlier.old.clone();
        }
    }
    columns
}

/// The patch that takes `patch` back.
pub fn invert(patch: &RowPatch) -> RowPatch {
    RowPatch {
        row: patch.row.clone(),
        kind: match patch.kind {
            PatchKind::Insert => PatchKind::Delete,
            PatchKind::Update => PatchKind::Update,
            PatchKind::Delete => PatchKind::Insert,
        },
        columns: patch
            .columns
            .iter()
            .map(|c| ColumnPatch { column: c.column, old: c.new.clone(), new: c.old.clone() })
            .collect(),
    }
}

#[cfg(test)]
#[path = "compose/tests.rs"]
mod tests;
