//! Runs the work of a transaction again that had not begun: the application's tables had changed, the
//! log had changes without a position, or the database went away since the connection was last used.

use super::PostgresStore;
use super::connection::Connection;
use super::transaction::{NotBegun, PostgresTransaction};
use crate::error::Fault;

/// How often work runs again because the tables have changed.
const SCHEMA_CHANGES: usize = 8;

/// How often the work of a request ran again.
#[derive(Debug, Default)]
pub(super) struct Retries {
    outdated: usize,
    lost: bool,
    unnumbered: bool,
}

impl Retries {
    /// Whether a snapshot had changes without a position, so that the sequencer must run first.
    pub(super) fn needs_sequencer(&self) -> bool {
        self.unnumbered
    }

    /// Whether the work of a transaction counts. If not, the tables were read again if need be, and
    /// the work runs again.
    pub(super) fn counts(
        &mut self,
        store: &PostgresStore,
        connection: &Connection,
        transaction: &PostgresTransaction<'_>,
    ) -> Result<bool, Fault> {
        match transaction.not_begun() {
            None => Ok(true),
            Some(NotBegun::Failed(fault)) => Err(fault),
            Some(NotBegun::Outdated) if self.outdated < SCHEMA_CHANGES => {
                self.outdated += 1;
                connection.roll_back()?;
                store.refresh(connection)?;
                Ok(false)
            }
            Some(NotBegun::Outdated) => {
                let why = "the schema changes faster than it can be read";
                Err(Fault::Transient(String::from(why)))
            }
            Some(NotBegun::Unnumbered) => {
                self.unnumbered = true;
                connection.leave();
                Ok(false)
            }
            Some(NotBegun::Lost) if !self.lost => {
                self.lost = true;
                store.pool.forget_idle();
                Ok(false)
            }
            Some(NotBegun::Lost) => {
                Err(Fault::Transient(String::from("the database closed the connection")))
            }
        }
    }
}
