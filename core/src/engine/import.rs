//! Imports a device's Synchro database: its unsent edits become mutations, and its rows are shown
//! until the first sync has brought the server's.
//!
//! The old file is only read, from a copy. The import is one transaction: after a crash it was done
//! completely or not at all. Imported edits are remembered by row, operation and time, so a second
//! call imports only what is new.
//!
//! The old queue records that a row was edited, not how: it keeps neither old values nor the
//! changed columns. Both are derived from the server's row. So edits and deletes *await* the first
//! sync; [`crate::engine::rebase`] completes them then.

mod file;
mod mapping;
mod order;
mod plan;
mod read;
pub(crate) mod take;
mod value;

pub(crate) use file::OldFile;

/// Result of importing a Synchro database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SynchroImport {
    /// The tables that both databases have, by name.
    pub tables: Vec<ImportedTable>,
    /// What was not imported and stays in the old file, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Unsent edits that an earlier call had already imported.
    pub taken_before: u64,
    /// Mutations that wait for the first sync before they can be sent, because the old file does
    /// not record what they changed. Zero after the first sync.
    pub awaiting: u64,
}

/// What was imported from a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportedTable {
    /// Its name.
    pub name: String,
    /// Rows shown from the old file until the first sync brings the server's; zero after it.
    pub rows: u64,
    /// Unsent created rows.
    pub creates: u64,
    /// Unsent edits, one per row.
    pub updates: u64,
    /// Unsent deletes.
    pub deletes: u64,
    /// Columns of the old table that the schema lacks; their values were not imported.
    pub columns_left_out: Vec<String>,
}

/// Something that was not imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The table, by its old name.
    pub table: String,
    /// The row; `None` if the whole table was left out.
    pub record_id: Option<String>,
    /// Number of unsent edits that this concerns.
    pub unsent: u64,
    /// The reason.
    pub reason: String,
}
