//! Moving the write-ahead log into the file, on a connection of its own.
//!
//! A checkpoint other than PASSIVE waits for readers; on the writing connection it would hold up every write. So it runs
//! beside it, waits for nobody, and says when it could not finish. The log stays bounded either way: see
//! [`Engine::checkpoint_if_large`], and the cap at which a commit itself makes a checkpoint.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::engine::Engine;
use crate::engine::database::{Database, fault};
use crate::error::Result;

/// How far a checkpoint goes; SQLite's four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckpointMode {
    /// As much as is possible without being in anybody's way.
    Passive,
    /// All of the log, if no reader needs it.
    Full,
    /// As `Full`; the next write begins the log anew.
    Restart,
    /// As `Restart`; the log's file becomes empty.
    Truncate,
}

/// What a checkpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpointed {
    /// Whether a reader or writer kept it from finishing; try again later.
    pub busy: bool,
    /// Pages in the log.
    pub pages: i64,
    /// Pages of it that are in the file.
    pub moved: i64,
}

/// The log's size from which [`Engine::checkpoint_if_large`] acts, and from which it begins the log anew: bytes.
const LARGE: u64 = 4 << 20;
const VERY_LARGE: u64 = 32 << 20;

impl Engine {
    /// Makes a checkpoint; never waits.
    ///
    /// # Errors
    /// `Full` or `Io`: nothing is lost, the log still holds everything.
    pub fn checkpoint(&mut self, mode: CheckpointMode) -> Result<Checkpointed> {
        self.db.checkpoint(mode)
    }

    /// Makes a checkpoint if the log has grown; to be called now and then, after commits. Never waits.
    pub fn checkpoint_if_large(&mut self) -> Result<Option<Checkpointed>> {
        let size = std::fs::metadata(self.db.log_path()).map_or(0, |metadata| metadata.len());
        match size {
            ..LARGE => Ok(None),
            LARGE..VERY_LARGE => self.db.checkpoint(CheckpointMode::Passive).map(Some),
            _ => self.db.checkpoint(CheckpointMode::Truncate).map(Some),
        }
    }
}

impl Database {
    /// The write-ahead log's file.
    pub(crate) fn log_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push("-wal");
        PathBuf::from(name)
    }

    fn checkpoint(&mut self, mode: CheckpointMode) -> Result<Checkpointed> {
        let conn = match self.maintenance.take() {
            Some(conn) => conn,
            None => open(self).map_err(fault::of)?,
        };
        let mode = match mode {
            CheckpointMode::Passive => "PASSIVE",
            CheckpointMode::Full => "FULL",
            CheckpointMode::Restart => "RESTART",
            CheckpointMode::Truncate => "TRUNCATE",
        };
        let result = conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
            Ok(Checkpointed { busy: row.get(0)?, pages: row.get(1)?, moved: row.get(2)? })
        });
        self.maintenance = Some(conn);
        result.map_err(fault::of)
    }
}

fn open(db: &Database) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&db.path, flags)?;
    conn.busy_timeout(Duration::ZERO)?;
    conn.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0")?;
    Ok(conn)
}
