//! Database interface of the log. A store only reads and writes; it makes no decision.

use std::fmt::Debug;

use super::ids::Name;
use super::row::{LogRow, RowName};

/// The database failed. The transaction must be rolled back and the state machine reopened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store of the log failed: {0}")]
pub struct StoreError(pub String);

/// Rows that can be read.
pub trait LogRows: Debug {
    /// A row.
    fn row(&self, row: &RowName) -> Result<Option<LogRow>, StoreError>;

    /// All rows of a table, in key order.
    fn table(&self, table: &Name) -> Result<Vec<(RowName, LogRow)>, StoreError>;
}

/// Rows that can be written.
pub trait Table: LogRows {
    /// Writes or removes a whole row, without capture.
    fn put_row(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<(), StoreError>;

    /// Creates a row, without capture; returns `false` if it is there already, and leaves it.
    fn create_row(&mut self, row: &RowName, image: &LogRow) -> Result<bool, StoreError> {
        let is_new = self.row(row)?.is_none();
        if is_new {
            self.put_row(row, Some(image))?;
        }
        Ok(is_new)
    }

    /// All rows of all tables, in name order.
    fn all_rows(&self) -> Result<Vec<(RowName, LogRow)>, StoreError>;
}
