//! Beginning anew: for the next user of a device, or because the server's rows shall come afresh.

use std::sync::Arc;

use super::{Client, Pending, to_pending};
use crate::engine::reset::Keep;
use crate::ids::MutationId;
use crate::writer::Answer;

/// What a reset took away, for whoever has to show it or to keep it elsewhere.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reset {
    /// What waited for the server or was parked, and went: all that the app had named, with every value that was written.
    pub given_up: Vec<Pending>,
    /// Rows of synced tables that went, with what waited on them.
    pub rows: u64,
    /// Rows of local-only tables that went.
    pub local_rows: u64,
}

impl Client {
    /// Begins anew in the same file. [`Keep`] says what stays; the tables do in any case, and watches go on over them.
    ///
    /// What waits for the server is the user's work, and goes only by name: `give_up` lists every mutation of
    /// [`Client::pending`], parked ones too, unless the queue stays. The answer has them once more, whole. Whoever may come
    /// back should have a file of his own instead, which is simply not opened meanwhile; see `docs/identity.md`.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, Error, Keep};
    /// # const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
    /// #   "push_policy": "owner_only", "updated_at_column": "updated_at", "deleted_at_column": "", "primary_key": ["id"],
    /// #   "columns": [
    /// #     {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
    /// #     {"name": "updated_at", "db_type": "text", "logical_type": "datetime", "nullable": true}]}]}"#;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let schema = serde_json::from_str(SCHEMA).unwrap();
    /// # let config = Config { schema: Some(schema), ..Config::new(folder.path().join("a.db")) };
    /// # let client = Client::open(config).wait()?;
    /// client.execute("INSERT INTO task (id) VALUES ('t1')", ()).wait()?;
    /// let refused = client.reset(Keep::Nothing, Vec::new()).wait();
    /// assert!(matches!(refused, Err(Error::Unsent { waiting: 1 })));
    ///
    /// let waiting = client.pending().wait()?; // Show it, or write it down.
    /// let reset = client.reset(Keep::Nothing, waiting.iter().map(|one| one.id).collect()).wait()?;
    /// assert_eq!((reset.given_up, reset.rows), (waiting, 1));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// One transaction: after a crash either nothing has happened or all has. Works offline. If syncing is on, its pass ends,
    /// and the next one begins with what the token provider then gives: tell it of the next user before. What was on its way
    /// to the server arrives there, or does not, as the former user's; no answer to it is taken. The rows are deleted, not
    /// overwritten on the disk; where that matters, shut the client down and delete the file.
    ///
    /// # Errors
    /// [`Error::Unsent`](crate::Error::Unsent) if something waits that is not named;
    /// [`Error::Refused`](crate::Error::Refused) if something is named with [`Keep::Pending`]; those of writing the file:
    /// nothing was changed.
    pub fn reset(&self, keep: Keep, give_up: Vec<MutationId>) -> Answer<Reset> {
        let syncing = Arc::clone(&self.core().syncing);
        self.core().writer.call(move |engine| {
            let emptied = engine.reset(keep, &give_up)?;
            syncing.file_was_reset();
            let schema = engine.schema();
            let gone = emptied.given_up.into_iter().map(|one| to_pending(one, schema));
            let (rows, local_rows) = (emptied.rows, emptied.local_rows);
            Ok(Reset { given_up: gone.collect(), rows, local_rows })
        })
    }
}
