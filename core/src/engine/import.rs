//! A device's Synchro database is taken over: what it has not sent becomes mutations, and its rows stand in for the
//! server's until those have come.
//!
//! The old file is only read, from a copy. Taking over is one transaction: after a crash either nothing of it was done, or
//! all. What was taken is remembered by row, operation and time, so that a second call takes what is new and nothing twice.
//!
//! The old queue knows that a row was edited, not how: it keeps neither old values nor the changed columns. Both come from
//! the row as the server has it. So edits and deletes *await* the first sync; [`crate::engine::rebase`] settles them then.

mod file;
mod mapping;
mod order;
mod plan;
mod read;
mod take;
mod value;

pub(crate) use file::OldFile;

/// What became of a Synchro database that was taken over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SynchroImport {
    /// The tables that both sides know, by name.
    pub tables: Vec<ImportedTable>,
    /// What was not taken and stays in the old file, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Unsent edits that an earlier call had taken already.
    pub taken_before: u64,
    /// Mutations of the queue that wait for the first sync before they can be sent: the old file does not know what they
    /// changed. Zero if everything has been here.
    pub awaiting: u64,
}

/// What was taken of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportedTable {
    /// Its name.
    pub name: String,
    /// Rows that are seen now as the old file had them, until the first sync brings the server's; zero after it.
    pub rows: u64,
    /// Rows that the server had not been told of.
    pub creates: u64,
    /// Edits that the server had not been told of, one per row.
    pub updates: u64,
    /// Deletes that the server had not been told of.
    pub deletes: u64,
    /// Columns of the old table that the schema lacks; their values were not taken.
    pub columns_left_out: Vec<String>,
}

/// What was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The table, by its old name.
    pub table: String,
    /// The row; `None` where the whole table was left out.
    pub record_id: Option<String>,
    /// How many unsent edits this is about.
    pub unsent: u64,
    /// Why.
    pub why: String,
}
