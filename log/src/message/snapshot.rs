//! Snapshots on the wire: pages, each read at its own moment.
//!
//! First come the base rows in name order, then the items in position order, as a feed from its
//! start. An item that moves while pages are read comes again at its later position, and the last
//! one counts. All pages have the same base: if an entry was folded into it between them, or epoch
//! or membership changed, the answer is `restart`. The pages together give the snapshot of the
//! moment of the last.

use serde::{Deserialize, Serialize};

use super::super::key::Key;
use super::super::row::{LogRow, RowName};
use super::super::write_set::WriteSet;
use super::{Cursor, EpochStamp, Item};

/// Requests a page of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// Where the last page ended; nothing for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<SnapshotPosition>,
    /// Maximum number of rows or items in the page; at least 1 is returned if there is one. The
    /// server also has limits of its own.
    pub limit: usize,
}

/// The end of a page. It gives no access: a page has what the requester may read, whatever position
/// it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPosition {
    /// Epoch and membership version of the first page.
    pub stamp: EpochStamp,
    /// The horizon of the page.
    pub horizon: Key,
    /// The last row or item.
    pub at: SnapshotPlace,
}

/// The last row or item of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotPlace {
    /// A row at the horizon.
    Row(RowName),
    /// The items up to this position, and all rows at the horizon.
    Cursor(Cursor),
}

/// The response to a [`SnapshotRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", content = "page", rename_all = "snake_case")]
pub enum SnapshotAnswer {
    /// Begin again with the first page: the position is not one of the present log.
    Restart,
    /// The next rows or items.
    Page(Box<SnapshotPage>),
}

/// A page of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotPage {
    /// Epoch and membership version.
    pub stamp: EpochStamp,
    /// The position of the request. Only taken by a device that is at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<SnapshotPosition>,
    /// The buckets that the user writes.
    pub buckets: WriteSet,
    /// The horizon.
    pub horizon: Key,
    /// Rows at the horizon, in name order.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "rows_by_table")]
    pub base: Vec<(RowName, LogRow)>,
    /// Items, oldest position first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
    /// What follows.
    #[serde(flatten)]
    pub next: SnapshotNext,
}

/// What follows a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotNext {
    /// A page after this position.
    Next(SnapshotPosition),
    /// Nothing: the feed continues at this cursor.
    Cursor(Cursor),
}

/// Rows as an object of tables, like effects.
pub(super) mod rows_by_table {
    use serde::{Deserializer, Serializer};

    use super::{LogRow, RowName};
    use crate::by_table;

    pub(in crate::message) fn serialize<S: Serializer>(
        rows: &[(RowName, LogRow)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let rows: Vec<_> = rows.iter().map(|(row, image)| (row, image)).collect();
        by_table::serialize(&rows, serializer)
    }

    pub(in crate::message) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(RowName, LogRow)>, D::Error> {
        by_table::deserialize(deserializer)
    }
}
