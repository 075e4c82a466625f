//! The app's own tables, indexes, and the write-ahead log.

use crate::RejoinClient;
use crate::error::Result;

/// How far a checkpoint of the write-ahead log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum CheckpointMode {
    /// As much as is possible without being in anybody's way.
    Passive,
    /// All of the log, if no reader needs it.
    Full,
    /// As full; the next write begins the log anew.
    Restart,
    /// As restart; the log's file becomes empty.
    Truncate,
}

/// What a checkpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct Checkpointed {
    /// Whether a reader or writer kept it from finishing; try again later.
    pub busy: bool,
    /// Pages in the log.
    pub pages: i64,
    /// Pages of it that are in the file.
    pub moved: i64,
}

#[uniffi::export]
impl RejoinClient {
    /// Makes a table that stays on this device, unless it is there.
    ///
    /// `definition` is what stands between the parentheses of `CREATE TABLE`. Throws `InvalidInput` if it refers to a synced
    /// table by a foreign key; nothing was made then.
    pub async fn create_table(&self, name: String, definition: String) -> Result<()> {
        Ok(self.inner.create_table(&name, &definition).await?)
    }

    /// Adds a column to a table of the app's own; `definition` is its name, type and constraints.
    ///
    /// Throws `InvalidInput` for a synced table, whose columns are the server's to change.
    pub async fn alter_table(&self, name: String, definition: String) -> Result<()> {
        Ok(self.inner.alter_table(&name, &definition).await?)
    }

    /// Makes an index on columns of a table, unless it is there, and tells its name.
    ///
    /// On synced tables too, where it survives changes of the schema.
    pub async fn create_index(&self, table: String, columns: Vec<String>) -> Result<String> {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        Ok(self.inner.create_index(&table, &columns).await?)
    }

    /// Makes a full-text index over columns of a synced table, and tells its name: `search_<table>`.
    ///
    /// It is kept in step with the table whoever writes, and stays on this device. One with the same columns and tokenizer
    /// stays as it is; another is made anew. `tokenizer` is one of FTS5's, `unicode61 remove_diacritics 2` if there is none.
    /// Works offline; costs a scan of the table. Throws `InvalidInput` for another table, for no or an unknown column,
    /// and for an unknown tokenizer; nothing was made then.
    pub async fn create_search_index(
        &self,
        table: String,
        columns: Vec<String>,
        tokenizer: Option<String>,
    ) -> Result<String> {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        Ok(self.inner.create_search_index(&table, &columns, tokenizer.as_deref()).await?)
    }

    /// Removes the full-text index of a synced table, if it has one.
    pub async fn drop_search_index(&self, table: String) -> Result<()> {
        Ok(self.inner.drop_search_index(&table).await?)
    }

    /// Moves the write-ahead log into the file: for the moment before a copy of the file is made. The client does so itself
    /// when the log has grown.
    ///
    /// Somebody in the way is no error; the result says so.
    pub async fn checkpoint(&self, mode: CheckpointMode) -> Result<Checkpointed> {
        Ok(self.inner.checkpoint(mode.into()).await?.into())
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
