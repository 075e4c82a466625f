//! Rows on the wire: the plain record, the image, and the set of row arrays.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A row in v0.1.2's format.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The key as text.
    pub id: String,
    /// Its table.
    pub table_name: String,
    /// Columns by name; kept as text, so that no number passes through floating point.
    pub data: Box<RawValue>,
    /// The row's version, RFC 3339 with microseconds.
    pub updated_at: String,
    /// Deletion time, if deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
}

/// The identity of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RowName {
    /// Its table.
    pub table_name: String,
    /// Its key as text.
    pub id: String,
}

/// The current image of a row: its columns, or absent if it is deleted or not visible to this user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RowImage {
    /// Its table.
    pub table_name: String,
    /// Its key as text.
    pub id: String,
    /// Columns by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The row's version; absent for an absent row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// Whether this user has no such row.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
}

impl PartialEq for RowImage {
    fn eq(&self, other: &Self) -> bool {
        let data = |image: &Self| image.data.as_deref().map(|data| data.get().to_owned());
        self.table_name == other.table_name
            && self.id == other.id
            && self.updated_at == other.updated_at
            && self.absent == other.absent
            && data(self) == data(other)
    }
}

/// Rows of one table: the column names once, then one array per row, in key order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RowSet {
    /// Their table.
    pub table_name: String,
    /// The column names, in the order of the cells, including the key.
    pub columns: Vec<String>,
    /// `[[cell, ...], ...]`, parsed row by row ([`crate::codec::each_row`]).
    pub rows: Box<RawValue>,
}
