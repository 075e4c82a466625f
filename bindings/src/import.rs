//! Moving over from the Synchro SDK.

use rejoin_core as core;

use crate::RejoinClient;
use crate::error::Result;
use crate::value::small;

/// What became of a Synchro database that was taken over.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct SynchroImport {
    /// The tables that both sides know, by name.
    pub tables: Vec<ImportedTable>,
    /// What was not taken and stays in the old file, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Unsent edits that an earlier call had taken already.
    pub taken_before: u32,
    /// Mutations that wait for the first sync before they can be sent; zero if everything has been here.
    pub awaiting: u32,
}

/// What was taken of a table.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ImportedTable {
    /// Its name.
    pub name: String,
    /// Rows that are seen as the old file had them, until the first sync brings the server's.
    pub rows: u32,
    /// Rows that the server had not been told of.
    pub creates: u32,
    /// Edits that the server had not been told of, one per row.
    pub updates: u32,
    /// Deletes that the server had not been told of.
    pub deletes: u32,
    /// Columns of the old table that the schema lacks; their values were not taken.
    pub columns_left_out: Vec<String>,
}

/// What was not taken of an old file.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct LeftOut {
    /// The table, by its old name.
    pub table: String,
    /// The row; nothing where the whole table was left out.
    pub record_id: Option<String>,
    /// How many unsent edits this is about.
    pub unsent: u32,
    /// Why.
    pub why: String,
}

#[uniffi::export]
impl RejoinClient {
    /// Takes over an app's old Synchro database: what it had not sent is in the queue when this is done, and its rows are seen
    /// until the first sync brings the server's.
    ///
    /// The old file is copied and stays as it is; nobody may have it open meanwhile. All is taken in one transaction, or
    /// nothing; made again, the call takes what is new, and nothing twice. Works offline with a bundled schema. Throws
    /// `InvalidInput` for a file that is no Synchro database, and while no schema is known; `Storage` for a damaged one.
    pub async fn import_synchro(&self, path: String) -> Result<SynchroImport> {
        Ok(self.inner.import_synchro(path).await?.into())
    }
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
        let core::LeftOut { table, record_id, unsent, why } = left;
        Self { table, record_id, unsent: small(unsent), why }
    }
}
