//! A row as a server sends it.

use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// The current state of a row on the server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerRow {
    /// Its table.
    pub table: TableNumber,
    /// Its key.
    pub key: Value,
    /// Its columns without the key; `None` if there is no such row for this user.
    pub row: Option<Vec<(ColumnId, Value)>>,
}
