//! Reset of a file: for the next user of a device, or to fetch the server's rows again.

use std::sync::Arc;

use super::{PendingMutation, StorageHandle, to_pending};
use crate::engine::reset;
use crate::engine::reset::Keep;
use crate::ids::MutationId;
use crate::writer::Task;

/// What a reset removed, so that the app can show it or store it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reset {
    /// The pending and parked mutations that the call listed, with all written values.
    pub given_up: Vec<PendingMutation>,
    /// Number of removed rows of synced tables, with pending changes.
    pub rows: u64,
    /// Number of removed rows of local-only tables.
    pub local_rows: u64,
}

impl StorageHandle<'_> {
    /// Resets the file. [`Keep`] decides what stays; the tables always stay and watches continue.
    ///
    /// Pending mutations are the user's work and are removed only if listed: unless the queue is
    /// kept, `give_up` must list every mutation of [`QueueHandle::all`](crate::QueueHandle::all), including parked ones. The
    /// result returns them in full. A user who may return should have a separate file; see
    /// `docs/identity.md`.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, Error, Keep, QueueFault};
    /// # const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
    /// #   "push_policy": "owner_only", "updated_at_column": "updated_at", "deleted_at_column": "", "primary_key": ["id"],
    /// #   "columns": [
    /// #     {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
    /// #     {"name": "updated_at", "db_type": "text", "logical_type": "datetime", "nullable": true}]}]}"#;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let schema = serde_json::from_str(SCHEMA).unwrap();
    /// # let config = Config::new(folder.path().join("a.db")).schema(schema);
    /// # let client = Client::open(config).wait()?;
    /// client.execute("INSERT INTO task (id) VALUES ('t1')", ()).wait()?;
    /// let refused = client.storage().reset(Keep::Nothing, Vec::new()).wait();
    /// assert!(matches!(refused, Err(Error::Queue(QueueFault::Unsent { waiting: 1 }))));
    ///
    /// let waiting = client.queue().all().wait()?; // Show it, or store it.
    /// let reset = client.storage().reset(Keep::Nothing, waiting.iter().map(|one| one.id).collect()).wait()?;
    /// assert_eq!((reset.given_up, reset.rows), (waiting, 1));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// The reset is one transaction. It works offline. Running sync passes end, and the next one
    /// uses the token provider's next token: switch the provider to the next user first. Requests
    /// that were already sent count for the former user; their responses are ignored. Rows are
    /// deleted, not overwritten on disk; if that matters, shut the client down and delete the file.
    ///
    /// # Errors
    /// [`QueueFault::Unsent`](crate::QueueFault::Unsent) if an unaccepted mutation is not listed;
    /// [`InputFault::Refused`](crate::InputFault::Refused) if any is listed with [`Keep::Pending`]; those of
    /// writing the file. Nothing changed.
    pub fn reset(&self, keep: Keep, give_up: Vec<MutationId>) -> Task<Reset> {
        let syncing = Arc::clone(&self.0.core().syncing);
        self.0.core().writer.call(move |engine| {
            let emptied = reset::reset(engine, keep, &give_up)?;
            syncing.file_was_reset();
            let schema = engine.schema();
            let gone = emptied.given_up.into_iter().map(|one| to_pending(one, schema));
            let (rows, local_rows) = (emptied.rows, emptied.local_rows);
            Ok(Reset { given_up: gone.collect(), rows, local_rows })
        })
    }

    /// Empties the file for the next user of the device: [`StorageHandle::reset`] that keeps the
    /// local-only tables. Subscriptions to streams are removed, too. `discarding` lists every mutation that the server has not accepted.
    ///
    /// # Errors
    /// As [`StorageHandle::reset`].
    pub fn clear_for_next_user(&self, discarding: Vec<MutationId>) -> Task<Reset> {
        self.reset(Keep::Local, discarding)
    }
}
