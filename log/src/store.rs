//! What the log asks of a database. A store finds and keeps; every decision is made above it.

use std::fmt::Debug;

use super::ids::Name;
use super::row::{Image, RowName};

/// The database failed. Nothing of the transaction counts; whoever has an open state machine over it opens it anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store of the log failed: {0}")]
pub struct StoreError(pub String);

/// Rows that can be read.
pub trait Rows: Debug {
    /// A row.
    fn row(&self, row: &RowName) -> Result<Option<Image>, StoreError>;

    /// All rows of a table, in order of their keys.
    fn table(&self, table: &Name) -> Result<Vec<(RowName, Image)>, StoreError>;
}

/// Rows that can be written.
pub trait Table: Rows {
    /// Writes a whole row, or removes it. Nothing is captured: the log is above this.
    fn put_row(&mut self, row: &RowName, image: Option<&Image>) -> Result<(), StoreError>;

    /// All rows of all tables, in order of their names.
    fn all_rows(&self) -> Result<Vec<(RowName, Image)>, StoreError>;
}
