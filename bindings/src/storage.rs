//! The schema of the app's own tables, and the database file.

use crate::RejoinClient;
use crate::error::Result;
use crate::import::SynchroImport;
use crate::pending::{PendingMutation, named};
use crate::reset::{Keep, ResetReport};

/// The mode of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum CheckpointMode {
    /// As much as possible without blocking others.
    Passive,
    /// The whole log, if no reader needs it.
    Full,
    /// As full; the next write reuses the log from its start.
    Restart,
    /// As restart; the log file is truncated to zero bytes.
    Truncate,
}

/// The result of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct Checkpointed {
    /// Whether a reader or writer prevented completion; try again later.
    pub busy: bool,
    /// Pages in the log.
    pub pages: i64,
    /// Pages of it that were moved into the file.
    pub moved: i64,
}

#[uniffi::export]
impl RejoinClient {
    /// Creates a local-only table if it does not exist.
    ///
    /// `definition` is the text between the parentheses of `CREATE TABLE`. Throws `InvalidInput`
    /// for a foreign key to a synced table; then nothing was created.
    pub async fn create_table(&self, name: String, definition: String) -> Result<()> {
        Ok(self.inner.schema().create_table(&name, &definition).await?)
    }

    /// Adds a column to a local-only table; `definition` is its name, type and constraints.
    ///
    /// Throws `InvalidInput` for a synced table, whose columns the server defines.
    pub async fn alter_table(&self, name: String, definition: String) -> Result<()> {
        Ok(self.inner.schema().alter_table(&name, &definition).await?)
    }

    /// Creates an index on columns of a table if it does not exist, and returns its name.
    ///
    /// An index on a synced table survives schema changes.
    pub async fn create_index(&self, table: String, columns: Vec<String>) -> Result<String> {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        Ok(self.inner.schema().create_index(&table, &columns).await?)
    }

    /// Creates a full-text index over columns of a synced table and returns its name:
    /// `search_<table>`.
    ///
    /// All writes update it, and it stays on this device. An index with the same columns and
    /// tokenizer is kept, another one is rebuilt. `tokenizer` is one of FTS5's; default:
    /// `unicode61 remove_diacritics 2`. Works offline; scans the table. Throws `InvalidInput` for
    /// another table, a missing or unknown column, or an unknown tokenizer; then nothing was
    /// created.
    pub async fn create_search_index(
        &self,
        table: String,
        columns: Vec<String>,
        tokenizer: Option<String>,
    ) -> Result<String> {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        Ok(self.inner.schema().create_search_index(&table, &columns, tokenizer.as_deref()).await?)
    }

    /// Removes the full-text index of a synced table, if it has one.
    pub async fn drop_search_index(&self, table: String) -> Result<()> {
        Ok(self.inner.schema().drop_search_index(&table).await?)
    }

    /// Checkpoints the write-ahead log, for example before copying the file. The client does so
    /// automatically when the log grows.
    ///
    /// A reader that prevents the checkpoint is no error; the result reports it.
    pub async fn checkpoint(&self, mode: CheckpointMode) -> Result<Checkpointed> {
        Ok(self.inner.storage().checkpoint(mode.into()).await?.into())
    }

    /// Resets the file: `keep` decides what stays; the tables always stay and watches continue.
    ///
    /// Pending mutations are the user's work and are removed only if listed: unless the queue is
    /// kept, `give_up` must list every mutation of `pending`, including parked ones. One
    /// transaction; works offline. Running sync passes end, and the next one uses the token
    /// provider's next token: switch the provider to the next user first.
    ///
    /// Throws `Unsent` if an unaccepted mutation is not listed, and `InvalidInput` if any is listed
    /// while the queue is kept; then nothing was changed.
    pub async fn reset(&self, keep: Keep, give_up: Vec<String>) -> Result<ResetReport> {
        let give_up = give_up.iter().map(|id| named(id)).collect::<Result<_>>()?;
        let reset = self.inner.storage().reset(keep.into(), give_up).await?;
        Ok(ResetReport {
            given_up: reset.given_up.into_iter().map(PendingMutation::from).collect(),
            rows: i64::try_from(reset.rows).unwrap_or(i64::MAX),
            local_rows: i64::try_from(reset.local_rows).unwrap_or(i64::MAX),
        })
    }

    /// Imports an app's old Synchro database: its unsent changes are queued, and its rows are shown
    /// until the first sync replaces them.
    ///
    /// The old file is copied and not changed; no other process may have it open meanwhile. The
    /// import is one transaction; repeated calls import only what is new. Works offline with a
    /// bundled schema. Throws `InvalidInput` if the file is no Synchro database, or no schema is
    /// known; `Storage` if it is damaged.
    pub async fn import_synchro(&self, path: String) -> Result<SynchroImport> {
        Ok(self.inner.storage().import_synchro(path).await?.into())
    }

    /// A diagnostic bundle for bug reports, as JSON: versions, configuration, queue, schema, sizes.
    ///
    /// It holds no row data and no credentials.
    pub async fn diagnose(&self) -> Result<String> {
        Ok(self.inner.storage().diagnose().await?.to_string())
    }
}

impl From<CheckpointMode> for rejoin_core::CheckpointMode {
    fn from(mode: CheckpointMode) -> Self {
        match mode {
            CheckpointMode::Passive => Self::Passive,
            CheckpointMode::Full => Self::Full,
            CheckpointMode::Restart => Self::Restart,
            CheckpointMode::Truncate => Self::Truncate,
        }
    }
}

impl From<rejoin_core::Checkpointed> for Checkpointed {
    fn from(done: rejoin_core::Checkpointed) -> Self {
        Self { busy: done.busy, pages: done.pages, moved: done.moved }
    }
}
