//! The change log as data: its state, its entries, and the buckets that a range of it concerns.

/// The identity of the log, and its first and last position.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogState {
    /// The epoch.
    pub epoch: String,
    /// The secret that signs cursors.
    pub key: String,
    /// Cursors below it need a snapshot.
    pub watermark: i64,
    /// The last position.
    pub head: i64,
    /// Whether rows reflect writes without a position: later entries will name them.
    pub unnumbered: bool,
}

/// An entry of the log: a row that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeEntry {
    /// Its position.
    pub position: i64,
    /// The table's number.
    pub table: i64,
    /// The row's key as text.
    pub id: String,
}

/// A bucket that has entries in a range of the log. A node uses it to notify only the devices concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Its name; empty if every device is concerned, for example by a new epoch of the log.
    pub bucket: String,
    /// Whether the entry is a change of the user's subscriptions; otherwise it is a row.
    pub is_grant: bool,
}
