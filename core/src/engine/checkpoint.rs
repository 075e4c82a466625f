//! Checkpoints of the write-ahead log on a separate connection, and the durability of commits.
//!
//! A checkpoint other than PASSIVE waits for readers; on the writing connection it would delay
//! every write. On its own connection it waits for no other connection and reports if it could not
//! finish. The log stays bounded either way, by the client's upkeep and by the size at which a
//! commit itself makes a checkpoint.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::death::{self, Failpoint};
use crate::engine::Engine;
use crate::engine::database::{Database, OURS};
use crate::error::Result;

/// Which failures an acknowledged local write survives. With either setting it survives the end of
/// the app, by a crash or by the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A power cut or a crash of the operating system may lose the last writes; the remaining state
    /// is consistent. `PRAGMA synchronous = NORMAL`: a commit does not wait for the disk.
    #[default]
    Normal,
    /// A write survives a power cut, if the disk flushes as it reports: each commit waits for the
    /// disk (`PRAGMA synchronous = FULL`). On Apple's platforms also `fullfsync`.
    Full,
}

/// How far a checkpoint goes; the four modes of SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckpointMode {
    /// As much as possible without blocking other connections.
    Passive,
    /// All of the log, if no reader needs it.
    Full,
    /// Like `Full`; the next write restarts the log.
    Restart,
    /// Like `Restart`; truncates the log's file.
    Truncate,
}

/// Result of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpointed {
    /// Whether a reader or writer prevented it from finishing; try again later.
    pub busy: bool,
    /// Pages in the log.
    pub pages: i64,
    /// Pages of it that are in the file.
    pub moved: i64,
}

/// SQLite's page size, which the engine does not change.
const PAGE: u64 = 4096;

/// Makes a checkpoint; never waits.
///
/// # Errors
/// `Full` or `Io`: nothing is lost, the log still holds everything.
pub fn checkpoint(engine: &mut Engine, mode: CheckpointMode) -> Result<Checkpointed> {
    engine.db.checkpoint(mode)
}

/// Sets the durability of future commits; [`Durability::Normal`] after an open.
///
/// # Errors
/// `Io`: the file cannot be accessed.
pub fn set_durability(engine: &mut Engine, durability: Durability) -> Result<()> {
    if durability == Durability::Normal {
        return engine.run_ours("PRAGMA synchronous = NORMAL");
    }
    // Without it, Apple's disks may keep a commit in their own memory. No effect on other
    // platforms.
    engine.run_ours("PRAGMA fullfsync = ON")?;
    engine.run_ours("PRAGMA synchronous = FULL")
}

/// The log's content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogUse {
    /// Bytes in use; the file keeps its size when the log restarts.
    pub(crate) bytes: u64,
    /// Whether all of it is in the database file: the next write may restart the log.
    pub(crate) is_moved: bool,
}

/// What the log holds. Exact from `at_least` on; below, the cheap file size is returned.
pub(crate) fn log_in_use(engine: &Engine, at_least: u64) -> Result<LogUse> {
    let size = std::fs::metadata(engine.db.log_path()).map_or(0, |metadata| metadata.len());
    if size < at_least {
        return Ok(LogUse { bytes: size, is_moved: false });
    }
    // On the writing connection: another connection's view of the log is as old as its last
    // read.
    let (pages, moved): (i64, i64) = (engine.db.conn())
        .prepare_cached(&format!("{OURS}PRAGMA wal_checkpoint(NOOP)"))?
        .query_row([], |row| Ok((row.get(1)?, row.get(2)?)))?;
    Ok(LogUse { bytes: u64::try_from(pages).unwrap_or(0) * PAGE, is_moved: moved >= pages })
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
            None => open(self)?,
        };
        death::pass(Failpoint::Checkpoint);
        let result = conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
            Ok(Checkpointed { busy: row.get(0)?, pages: row.get(1)?, moved: row.get(2)? })
        });
        death::pass(Failpoint::Checkpoint);
        self.maintenance = Some(conn);
        Ok(result?)
    }
}

fn open(db: &Database) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&db.path, flags)?;
    conn.busy_timeout(Duration::ZERO)?;
    conn.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0")?;
    Ok(conn)
}
