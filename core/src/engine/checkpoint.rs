//! Moving the write-ahead log into the file, on a connection of its own; and what a commit survives.
//!
//! A checkpoint other than PASSIVE waits for readers; on the writing connection it would hold up every write. So it runs
//! beside it, waits for nobody, and says when it could not finish. The log stays bounded either way: see
//! the client's upkeep, and the cap at which a commit itself makes a checkpoint.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::death::{self, Place};
use crate::engine::Engine;
use crate::engine::database::{Database, OURS, fault};
use crate::error::Result;

/// What an acknowledged local write survives. Either survives the end of the app, by a crash or by the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A power cut or a crash of the operating system may lose the last writes; what is left is a state that the app had.
    /// `PRAGMA synchronous = NORMAL`: a commit does not wait for the disk.
    #[default]
    Normal,
    /// A power cut as well, if the disk keeps its word: each commit waits until the disk has it
    /// (`PRAGMA synchronous = FULL`). On Apple's platforms also `fullfsync`.
    Full,
}

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

/// SQLite's size of a page, which the engine does not change.
const PAGE: u64 = 4096;

impl Engine {
    /// Makes a checkpoint; never waits.
    ///
    /// # Errors
    /// `Full` or `Io`: nothing is lost, the log still holds everything.
    pub fn checkpoint(&mut self, mode: CheckpointMode) -> Result<Checkpointed> {
        self.db.checkpoint(mode)
    }

    /// What commits survive from now on; [`Durability::Normal`] after an open.
    ///
    /// # Errors
    /// `Io`: the file cannot be reached.
    pub fn set_durability(&mut self, durability: Durability) -> Result<()> {
        if durability == Durability::Normal {
            return self.run_ours("PRAGMA synchronous = NORMAL");
        }
        // Without it, Apple's disks may keep a commit in their own memory. Elsewhere it has no effect.
        self.run_ours("PRAGMA fullfsync = ON")?;
        self.run_ours("PRAGMA synchronous = FULL")
    }

    /// How many bytes of the log are in use; the file keeps its size when the log begins anew. Exact from `at_least` on; below,
    /// it says how large the file is, which costs next to nothing.
    pub(crate) fn log_in_use(&self, at_least: u64) -> Result<u64> {
        let size = std::fs::metadata(self.db.log_path()).map_or(0, |metadata| metadata.len());
        if size < at_least {
            return Ok(size);
        }
        // On the writing connection: another's view of the log is as old as its last read.
        let pages: i64 = (self.db.conn())
            .prepare_cached(&format!("{OURS}PRAGMA wal_checkpoint(NOOP)"))
            .and_then(|mut noop| noop.query_row([], |row| row.get(1)))
            .map_err(fault::of)?;
        Ok(u64::try_from(pages).unwrap_or(0) * PAGE)
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
        let mode = match mode {
            CheckpointMode::Passive => "PASSIVE",
            CheckpointMode::Full => "FULL",
            CheckpointMode::Restart => "RESTART",
            CheckpointMode::Truncate => "TRUNCATE",
        };
        let conn = match self.maintenance.take() {
            Some(conn) => conn,
            None => open(self).map_err(fault::of)?,
        };
        death::pass(Place::Checkpoint);
        let result = conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
            Ok(Checkpointed { busy: row.get(0)?, pages: row.get(1)?, moved: row.get(2)? })
        });
        death::pass(Place::Checkpoint);
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
