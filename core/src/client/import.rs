//! Moving over from the Synchro SDK: what a device has not sent comes along.

use std::path::Path;

use super::Client;
use super::open::in_background;
use crate::engine::import::{OldFile, SynchroImport};
use crate::error::{Error, Result};
use crate::writer::Answer;

impl Client {
    /// Takes over an app's old Synchro database: what it had not sent is in the queue when this is done, a mutation per row,
    /// and will be pushed; its rows are seen until the first sync brings the server's. The report says what was taken,
    /// and what was left out and why.
    ///
    /// The old file is copied and only the copy is opened: it stays as it is, with what was left out. Nobody may have it
    /// open meanwhile. All is taken in one transaction: after a crash or an error nothing was, and the call can be made
    /// again. Made again later it takes what is new, and nothing twice; so an app may make it at each start, until it has
    /// removed the old file.
    ///
    /// The old queue does not say what was changed in a row. So imported edits and deletes wait for the first sync, and
    /// everything else in the queue with them; then they are what differs from the server's row. If that has been changed
    /// by somebody since, the edit is parked as a conflict, with both rows.
    ///
    /// Works offline, once the synced tables are known: by a bundled schema, or a sync before. See `docs/from-synchro.md`.
    ///
    /// # Errors
    /// [`Error::Refused`] for a file that is no Synchro database, of a version that is not known, or this client's own, and
    /// where no schema is known; [`Error::Corrupt`] for a damaged one; [`Error::Io`], [`Error::ReadOnly`] and
    /// [`Error::Full`] if it cannot be copied: nothing was taken. [`Error::Reentrant`] inside a transaction's closure.
    pub fn import_synchro(&self, old: impl AsRef<Path>) -> Answer<SynchroImport> {
        let core = self.core().clone();
        if core.writer.is_current() || core.readers.is_current() {
            return Answer::ready(Err(Error::Reentrant));
        }
        let old = old.as_ref().to_owned();
        // The copy is made beside the writer's work.
        in_background("import", move || -> Result<SynchroImport> {
            let old = OldFile::copy(&old, &core.path)?;
            core.writer.call_blocking(move |engine| engine.import_synchro(&old))
        })
    }
}
