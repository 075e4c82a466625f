//! Rows on the wire: the plain record, the image of our answers, and the set of arrays of our pages.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A row as v0.1.2 writes it.
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
    /// When it was deleted, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
}

/// The name of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RowName {
    /// Its table.
    pub table_name: String,
    /// Its key as text.
    pub id: String,
}

/// A row as it now stands (O3): its columns, or absent because it is deleted or not this user's to see.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RowImage {
    /// Its table.
    pub table_name: String,
    /// Its key as text.
    pub id: String,
    /// Columns by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The row's version; absent with the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// Whether there is no such row for this user.
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

/// Many rows of one table: the names of the columns once, then an array per row, in key order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RowSet {
    /// Their table.
    pub table_name: String,
    /// Names of the columns, in the order of the cells; the key is among them.
    pub columns: Vec<String>,
    /// `[[cell, ...], ...]`, kept as text until it is bound ([`crate::codec::each_row`]).
    pub rows: Box<RawValue>,
}
