//! Check and repair of the device's rows: [`SyncHandle::doctor`] and [`SyncHandle::resync`].

use std::sync::Arc;
use std::time::Duration;

use super::SyncHandle;
use super::lifecycle::in_background;
use crate::error::{Error, InputFault};
use crate::sync::doctor::{self, DoctorReport};
use crate::sync::driver::{Driver, SyncReport};
use crate::writer::Task;

impl SyncHandle<'_> {
    /// Syncs, compares the rows of each synced table with the server's, and fetches again those that
    /// differ. Pending mutations stay. Starts syncing if it is not started.
    ///
    /// Digests are compared first, so a sound file costs about 45 bytes, before compression, for every
    /// thousand rows; on both sides each row is read once. Differing rows are fetched by name, those of
    /// a table of the log with the entries that touch them.
    ///
    /// # Errors
    /// As [`SyncHandle::run`], which include those of the check itself: call it again. Offline,
    /// the next pass does the check, too. [`InputFault::Reentrant`] in a transaction.
    /// [`InputFault::Refused`] if the server has no digests, as a Synchro server.
    pub fn doctor(&self, timeout: Option<Duration>) -> Task<DoctorReport> {
        let core = Arc::clone(self.0.core());
        if core.writer.is_current() || core.readers.is_current() {
            return Task::ready(Err(Error::InvalidInput(InputFault::Reentrant)));
        }
        in_background("doctor", move || {
            let number = core.writer.call(doctor::request).wait()?;
            core.driven_task(|driver| driver.sync_and_wait(timeout)).wait()?;
            core.writer.call(move |engine| doctor::report(engine, number)).wait()
        })
    }

    /// Fetches all rows of the synced tables again and waits, as [`SyncHandle::run`]. Pending
    /// mutations stay; rows that the server does not have are removed when all are here. Entries of the
    /// log that were made here, and that the server has lost, are published again. Starts syncing if it
    /// is not started.
    ///
    /// [`SyncHandle::doctor`] finds out whether this is necessary, and fetches less.
    ///
    /// # Errors
    /// As [`SyncHandle::run`]; the rows are then fetched by a later pass. [`InputFault::Reentrant`] in
    /// a transaction.
    pub fn resync(&self, timeout: Option<Duration>) -> Task<SyncReport> {
        let core = Arc::clone(self.0.core());
        if core.writer.is_current() || core.readers.is_current() {
            return Task::ready(Err(Error::InvalidInput(InputFault::Reentrant)));
        }
        in_background("resync", move || {
            core.writer.call(doctor::resync).wait()?;
            core.driven_task(|driver: &Driver| driver.sync_and_wait(timeout)).wait()
        })
    }
}
