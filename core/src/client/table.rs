//! Tables of the app's own, beside the synced ones.

use super::Client;
use crate::error::Result;
use crate::writer::Answer;

impl Client {
    /// Makes a table that stays on this device, unless it is there. `definition` is what SQLite expects between the
    /// parentheses of `CREATE TABLE`.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// client.create_table("draft", "id TEXT PRIMARY KEY, body TEXT").wait()?;
    /// client.alter_table("draft", "seen INTEGER NOT NULL DEFAULT 0").wait()?;
    /// assert_eq!(client.create_index("draft", &["seen", "id"]).wait()?, "idx_draft_seen_id");
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) if it refers to a synced table by FOREIGN KEY; nothing was made.
    pub fn create_table(&self, name: &str, definition: &str) -> Answer<()> {
        let (name, definition) = (name.to_owned(), definition.to_owned());
        self.core().writer.call(move |engine| engine.create_table(&name, &definition))
    }

    /// Adds a column to a table of the app's own; `definition` is its name, type and constraints.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) for a synced table, whose columns are the server's to change.
    pub fn alter_table(&self, name: &str, definition: &str) -> Answer<()> {
        let (name, definition) = (name.to_owned(), definition.to_owned());
        self.core().writer.call(move |engine| engine.alter_table(&name, &definition))
    }

    /// Makes an index named `idx_<table>_<columns>`, unless it is there; gives back the name. On synced tables too, where it
    /// survives schema changes and snapshots.
    ///
    /// # Errors
    /// Those of SQLite; nothing was made.
    pub fn create_index(&self, table: &str, columns: &[&str]) -> Answer<String> {
        let table = table.to_owned();
        let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
        self.core().writer.call(move |engine| -> Result<String> {
            let name = format!("idx_{table}_{}", columns.join("_"));
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            engine.create_index(&name, &table, &columns)?;
            Ok(name)
        })
    }
}
