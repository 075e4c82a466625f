//! Local tables of the app and indexes.

use super::SchemaHandle;
use crate::engine::ddl;
use crate::engine::search;
use crate::error::Result;
use crate::writer::Task;

impl SchemaHandle<'_> {
    /// Creates a local-only table if it does not exist. `definition` is the text between the
    /// parentheses of `CREATE TABLE`.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// client.schema().create_table("draft", "id TEXT PRIMARY KEY, body TEXT").wait()?;
    /// client.schema().alter_table("draft", "seen INTEGER NOT NULL DEFAULT 0").wait()?;
    /// assert_eq!(client.schema().create_index("draft", &["seen", "id"]).wait()?, "idx_draft_seen_id");
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InputFault::Refused`](crate::InputFault::Refused) for a FOREIGN KEY to a synced table; nothing
    /// changed.
    pub fn create_table(&self, name: &str, definition: &str) -> Task<()> {
        let (name, definition) = (name.to_owned(), definition.to_owned());
        self.0.core().writer.call(move |engine| ddl::create_table(engine, &name, &definition))
    }

    /// Adds a column to a local-only table; `definition` is its name, type and constraints.
    ///
    /// # Errors
    /// [`InputFault::Refused`](crate::InputFault::Refused) for a synced table, whose columns the server
    /// defines.
    pub fn alter_table(&self, name: &str, definition: &str) -> Task<()> {
        let (name, definition) = (name.to_owned(), definition.to_owned());
        self.0.core().writer.call(move |engine| ddl::alter_table(engine, &name, &definition))
    }

    /// Creates an index named `idx_<table>_<columns>` if it does not exist, and returns the name.
    /// If another index has this name, the lengths of the parts are added to it:
    /// `idx_<table>_<columns>$5$2`. An index on a synced table survives schema changes and snapshots.
    ///
    /// # Errors
    /// Those of SQLite; [`InputFault::Refused`](crate::InputFault::Refused) if both names are in use
    /// for other columns. Nothing changed.
    pub fn create_index(&self, table: &str, columns: &[&str]) -> Task<String> {
        let table = table.to_owned();
        let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
        self.0.core().writer.call(move |engine| -> Result<String> {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            ddl::create_named_index(engine, &table, &columns)
        })
    }

    /// Creates a full-text index over columns of a synced table, named `search_<table>`. All writes
    /// update it: local writes, remote rows and replays. It stays on this device. An index with the
    /// same columns and tokenizer is kept, another one is rebuilt. `tokenizer` is one of
    /// [FTS5's](https://www.sqlite.org/fts5.html#tokenizers). Default:
    /// `unicode61 remove_diacritics 2`; `trigram` finds parts of words.
    ///
    /// It has these columns, and the table's key to join by:
    ///
    /// ```
    /// # use rejoin_core::{Client, Config};
    /// # const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
    /// #   "push_policy": "owner_only", "updated_at_column": "updated_at", "deleted_at_column": "", "primary_key": ["id"],
    /// #   "columns": [
    /// #     {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
    /// #     {"name": "title", "db_type": "text", "logical_type": "string"},
    /// #     {"name": "updated_at", "db_type": "text", "logical_type": "datetime", "nullable": true}]}]}"#;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let schema = serde_json::from_str(SCHEMA).unwrap();
    /// # let config = Config::new(folder.path().join("a.db")).schema(schema);
    /// # let client = Client::open(config).wait()?;
    /// client.schema().create_search_index("task", &["title"], None).wait()?;
    /// client.execute("INSERT INTO task (id, title) VALUES ('1', char(67, 97, 102, 233) || ' au lait')", ()).wait()?;
    /// let found = client.query(
    ///     "SELECT task.* FROM search_task JOIN task USING (id) WHERE search_task MATCH ? ORDER BY rank",
    ///     ("cafe",),
    /// ).wait()?;
    /// assert_eq!(found.len(), 1);
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// Works offline, in one transaction. Scans the table. If the server removes a column, the
    /// index continues with the others.
    ///
    /// # Errors
    /// [`InputFault::NotSynced`](crate::InputFault::NotSynced) for another table;
    /// [`InputFault::Refused`](crate::InputFault::Refused) for a missing or unknown column, an unknown
    /// tokenizer, or a name that is in use. Nothing changed.
    pub fn create_search_index(
        &self,
        table: &str,
        columns: &[&str],
        tokenizer: Option<&str>,
    ) -> Task<String> {
        let (table, tokenizer) = (table.to_owned(), tokenizer.map(str::to_owned));
        let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
        self.0.core().writer.call(move |engine| {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            search::create_search_index(engine, &table, &columns, tokenizer.as_deref())
        })
    }

    /// Removes the full-text index of a table, if it has one.
    ///
    /// # Errors
    /// [`InputFault::NotSynced`](crate::InputFault::NotSynced), and those of writing the file.
    pub fn drop_search_index(&self, table: &str) -> Task<()> {
        let table = table.to_owned();
        self.0.core().writer.call(move |engine| search::drop_search_index(engine, &table))
    }
}
