//! The changes of a mutation as data: the patches of its rows.
//!
//! Pure: no SQLite, no clock. The binary form is in [`super::encode`], the composition in
//! `capture::compose`.

use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// Identifies a row.
#[derive(Debug, Clone)]
pub struct RowKey {
    /// Its table.
    pub table: TableNumber,
    /// The value of its key column: text or integer.
    pub key: Value,
}

impl PartialEq for RowKey {
    fn eq(&self, other: &Self) -> bool {
        #[cfg(test)]
        super::cost::count();
        self.table == other.table && self.key == other.key
    }
}

// Keys are text or integers, whose equality is total; a double could only come from a damaged file.
impl Eq for RowKey {}

impl std::hash::Hash for RowKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.table.hash(state);
        match &self.key {
            Value::Null => 0.hash(state),
            Value::Integer(number) => number.hash(state),
            Value::Real(number) => number.to_bits().hash(state),
            Value::Text(text) => text.hash(state),
            Value::Blob(bytes) => bytes.hash(state),
        }
    }
}

/// The kind of a row change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PatchKind {
    /// The row was created: every stored column, new values.
    Insert,
    /// Columns were changed: old and new values of those. A soft delete is an update that sets
    /// `deleted_at`.
    Update,
    /// The row was removed: every stored column, old values.
    Delete,
}

/// One column of a patch. `old` is NULL in an insert, `new` in a delete.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnPatch {
    /// The column.
    pub column: ColumnId,
    /// The value before.
    pub old: Value,
    /// The value after.
    pub new: Value,
}

impl ColumnPatch {
    /// Whether the column was changed. A soft delete also names unchanged columns.
    pub fn is_change(&self) -> bool {
        !same(&self.old, &self.new)
    }
}

/// The net change of one row by one mutation.
#[derive(Debug, Clone, PartialEq)]
pub struct RowPatch {
    /// The row.
    pub row: RowKey,
    /// The kind of change.
    pub kind: PatchKind,
    /// The columns, in the table's order, without the key.
    pub columns: Vec<ColumnPatch>,
}

/// The patches of one mutation, in the order of the first change, one per row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Effect {
    /// The schema version in which they were captured.
    pub schema_version: i64,
    /// One per row.
    pub rows: Vec<RowPatch>,
}

/// Whether two values are identical.
pub fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Real(left), Value::Real(right)) => left.to_bits() == right.to_bits(),
        _ => left == right,
    }
}
