//! Rows: their names, their images, and their buckets.

mod columns;

use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{Buckets, Name};
pub use columns::Columns;
use rejoin_protocol::Value;

/// The name of a row: its table, and its key as on the wire (text unchanged, an integer as decimal
/// digits).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowName {
    /// The table.
    pub table: Name,
    /// The key.
    pub id: Name,
}

impl RowName {
    /// Names the row with this key in this table.
    pub fn new(table: impl Into<Name>, id: impl Into<Name>) -> Self {
        Self { table: table.into(), id: id.into() }
    }
}

/// A whole row, without its key. A column that an older schema did not have is missing, and is read
/// as its default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogRow(Arc<Columns>);

impl LogRow {
    /// The value of a column; `None` if the row was written without it.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.0.get(column)
    }

    /// The columns, by name.
    pub fn columns(&self) -> &Columns {
        &self.0
    }

    /// The row with these columns set.
    #[must_use]
    pub fn with(&self, columns: &Columns) -> Self {
        let mut image = self.clone();
        for (name, value) in columns {
            if image.0.get(name) != Some(value) {
                Arc::make_mut(&mut image.0).insert(name.clone(), value.clone());
            }
        }
        image
    }
}

impl From<Columns> for LogRow {
    fn from(columns: Columns) -> Self {
        Self(Arc::new(columns))
    }
}

impl<N: Into<Name>, V: Into<Value>, const COUNT: usize> From<[(N, V); COUNT]> for LogRow {
    fn from(columns: [(N, V); COUNT]) -> Self {
        let columns = columns.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(Arc::new(columns.collect()))
    }
}

/// The buckets of a row: a function of the row's own columns, the same on server and device.
/// Changing the function requires a new epoch of the log.
pub trait Placement: Debug {
    /// The buckets. With none, no user may read or write the row.
    fn buckets(&self, row: &RowName, image: &LogRow) -> Buckets;
}

impl<P: Placement + ?Sized> Placement for Arc<P> {
    fn buckets(&self, row: &RowName, image: &LogRow) -> Buckets {
        (**self).buckets(row, image)
    }
}
