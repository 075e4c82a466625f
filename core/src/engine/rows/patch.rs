//! What a mutation did, as data: the patches of its rows.
//!
//! Pure: no SQLite, no clock. The binary form stands in [`super::encode`], the algebra in `capture::compose`.

use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// The name of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowKey {
    /// Its table.
    pub table: TableNumber,
    /// The value of its key column: text or integer.
    pub key: Value,
}

// Keys are text or integers (D3), for which equality is total; a double could only come from a damaged file.
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

/// What was done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PatchKind {
    /// The row was made: every stored column, new values.
    Insert,
    /// Columns were changed: those, old and new. A soft delete (D3) is one of these that sets `deleted_at`.
    Update,
    /// The row was removed: every stored column, old values.
    Delete,
}

/// One column of a patch. `old` is NULL in an insert, `new` in a delete.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnPatch {
    /// Which column.
    pub column: ColumnId,
    /// What stood there.
    pub old: Value,
    /// What stands there now.
    pub new: Value,
}

impl ColumnPatch {
    /// Whether the column was changed. A soft delete (D3) also names columns that it only saw.
    pub fn is_change(&self) -> bool {
        !same(&self.old, &self.new)
    }
}

/// The net change of one row by one mutation.
#[derive(Debug, Clone, PartialEq)]
pub struct RowPatch {
    /// The row.
    pub row: RowKey,
    /// What was done.
    pub kind: PatchKind,
    /// The columns, in the table's order; the key is not among them.
    pub columns: Vec<ColumnPatch>,
}

/// The patches of one mutation, in the order of first touch, one per row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Effect {
    /// The schema in which they were captured (S1).
    pub schema_version: i64,
    /// One per row.
    pub rows: Vec<RowPatch>,
}

/// Whether two values are the same to the last bit.
pub fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Real(left), Value::Real(right)) => left.to_bits() == right.to_bits(),
        _ => left == right,
    }
}
