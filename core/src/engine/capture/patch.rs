//! What a mutation did, as data: the patches of its rows.
//!
//! Pure: no SQLite, no clock. The binary form stands in [`super::encode`], the algebra in [`super::compose`].

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
