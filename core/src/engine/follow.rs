//! Follows the commits of another process by their number, for readers without a writer.
//!
//! Keeps the states of the rows as of the last commit. Writes nothing, and leaves it to the caller
//! when to look.

use std::path::Path;
use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::database::Database;
use crate::engine::row_state::SharedRowStates;
use crate::error::Result;
use crate::host::Host;

/// A file that another process writes.
#[derive(Debug)]
pub(crate) struct Follower {
    db: Database,
    host: Arc<dyn Host>,
    states: SharedRowStates,
    /// SQLite's number of the last commit that was seen. Another connection's commit changes it.
    version: i64,
}

impl Follower {
    /// Opens the file, and an engine for opening readers, which share the states of the rows.
    ///
    /// # Errors
    /// As those of [`Inspection::of`](crate::Inspection::of).
    pub(crate) fn open(path: &Path, host: Arc<dyn Host>) -> Result<(Self, Engine)> {
        let db = Database::open_to_read(path)?;
        let version = version(&db)?;
        let engine = Engine::open_to_read(path, Arc::clone(&host))?;
        Ok((Self { db, host, states: engine.queue.states(), version }, engine))
    }

    /// Reads the states of the rows again if there is a new commit. Returns whether there is.
    ///
    /// # Errors
    /// As [`Follower::open`]; the next call tries again.
    pub(crate) fn refresh(&mut self) -> Result<bool> {
        // Read before the states: a commit between the two is seen by the next call.
        let version = version(&self.db)?;
        if version == self.version {
            return Ok(false);
        }
        let now = Engine::open_to_read(&self.db.path, Arc::clone(&self.host))?.queue.states();
        std::mem::swap(&mut *self.states.write(), &mut *now.write());
        self.version = version;
        Ok(true)
    }
}

fn version(db: &Database) -> Result<i64> {
    Ok(db.conn().query_row("PRAGMA data_version", [], |row| row.get(0))?)
}
