//! Migration from the Synchro SDK, including unsent changes.

use std::path::Path;

use super::StorageHandle;
use super::lifecycle::in_background;
use crate::engine::import::take;
use crate::engine::import::{OldFile, SynchroImport};
use crate::error::{Error, InputFault, Result};
use crate::writer::Task;

impl StorageHandle<'_> {
    /// Imports an app's old Synchro database. Its unsent changes are queued, one mutation per row,
    /// and its rows are visible until the first sync replaces them with the server's. The report
    /// lists what was imported, and what was left out and why.
    ///
    /// The old file is copied and only the copy is opened. No other process may have it open
    /// meanwhile. The import is one transaction: after a crash or an error nothing was imported.
    /// Repeated calls import only what is new, so an app may call this at each start until it
    /// deletes the old file.
    ///
    /// The old queue does not record which columns changed. So the queue waits for the first sync;
    /// imported edits and deletes then become the difference to the server's row. If another user
    /// changed that row since, the edit is parked as a conflict, with both rows.
    ///
    /// Works offline, if a bundled schema or an earlier sync defines the tables. See
    /// `docs/from-synchro.md`.
    ///
    /// # Errors
    /// [`InputFault::Refused`] if the file is no Synchro database, has an unknown version, or is this
    /// client's own, and if no schema is known; [`StorageFault::Corrupt`](crate::StorageFault::Corrupt) if it is damaged; [`StorageFault::Io`](crate::StorageFault::Io),
    /// [`StorageFault::ReadOnly`](crate::StorageFault::ReadOnly), [`StorageFault::Full`](crate::StorageFault::Full) if the copy fails; [`InputFault::Reentrant`] in a
    /// transaction.
    pub fn import_synchro(&self, old: impl AsRef<Path>) -> Task<SynchroImport> {
        let core = self.0.core().clone();
        if core.writer.is_current() || core.readers.is_current() {
            return Task::ready(Err(Error::InvalidInput(InputFault::Reentrant)));
        }
        let old = old.as_ref().to_owned();
        // The copy does not block the writer.
        in_background("import", move || -> Result<SynchroImport> {
            let old = OldFile::copy(&old, &core.path)?;
            core.writer.call_blocking(move |engine| take::import_synchro(engine, &old))
        })
    }
}
