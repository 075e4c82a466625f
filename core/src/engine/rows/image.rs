//! A row as a server sends it.

use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// A row as it now stands (O3).
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Its table.
    pub table: TableNumber,
    /// Its key.
    pub key: Value,
    /// Its columns, the key not among them; `None` if there is no such row for this user.
    pub row: Option<Vec<(ColumnId, Value)>>,
}
