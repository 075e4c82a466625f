//! Named rows on the wire: their base and every item that touches them, so that a device whose rows
//! are damaged repairs these rows and no others.

use serde::{Deserialize, Serialize};

use super::super::key::Key;
use super::super::row::{LogRow, RowName};
use super::snapshot::rows_by_table;
use super::{EpochStamp, ViewedEntry};

/// Requests rows by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowsRequest {
    /// Epoch and membership version.
    pub stamp: EpochStamp,
    /// The horizon of the device.
    pub horizon: Key,
    /// The rows.
    pub rows: Vec<RowName>,
}

/// The response to a [`RowsRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum RowsAnswer {
    /// Take a snapshot: epoch or membership changed, an entry was folded since the device's horizon,
    /// the histories of these rows are too large for one response, or the device is the authority.
    Resync,
    /// The rows.
    Rows(NamedRows),
}

/// The requested rows, as far as the user may read them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NamedRows {
    /// Those that exist at the horizon.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "rows_by_table")]
    pub base: Vec<(RowName, LogRow)>,
    /// All items above the horizon that touch any of them where the user may read it, or are the
    /// author's own; whole, in key order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ViewedEntry>,
}
