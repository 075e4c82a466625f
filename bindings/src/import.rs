//! Migration from the Synchro SDK.

use rejoin_core as core;

use crate::value::small;

/// The result of importing a Synchro database.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct SynchroImport {
    /// The imported tables, by name.
    pub tables: Vec<ImportedTable>,
    /// What was not imported and stays in the old file, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Unsent edits that an earlier call has already imported.
    pub taken_before: u32,
    /// Mutations that wait for the first sync before they can be sent; zero after the first sync.
    pub awaiting: u32,
}

/// What was imported of a table.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ImportedTable {
    /// Its name.
    pub name: String,
    /// Rows that are shown as in the old file until the first sync replaces them.
    pub rows: u32,
    /// Unsent inserts.
    pub creates: u32,
    /// Unsent edits, one per row.
    pub updates: u32,
    /// Unsent deletes.
    pub deletes: u32,
    /// Columns of the old table that the schema lacks; their values were not imported.
    pub columns_left_out: Vec<String>,
}

/// What was not imported.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct LeftOut {
    /// The table, by its old name.
    pub table: String,
    /// The row; nothing if the whole table was left out.
    pub record_id: Option<String>,
    /// Number of unsent edits concerned.
    pub unsent: u32,
    /// Why.
    pub reason: String,
}

impl From<core::SynchroImport> for SynchroImport {
    fn from(report: core::SynchroImport) -> Self {
        Self {
            tables: report.tables.into_iter().map(ImportedTable::from).collect(),
            left_out: report.left_out.into_iter().map(LeftOut::from).collect(),
            taken_before: small(report.taken_before),
            awaiting: small(report.awaiting),
        }
    }
}

impl From<core::ImportedTable> for ImportedTable {
    fn from(table: core::ImportedTable) -> Self {
        Self {
            name: table.name,
            rows: small(table.rows),
            creates: small(table.creates),
            updates: small(table.updates),
            deletes: small(table.deletes),
            columns_left_out: table.columns_left_out,
        }
    }
}

impl From<core::LeftOut> for LeftOut {
    fn from(left: core::LeftOut) -> Self {
        let core::LeftOut { table, record_id, unsent, reason } = left;
        Self { table, record_id, unsent: small(unsent), reason }
    }
}
