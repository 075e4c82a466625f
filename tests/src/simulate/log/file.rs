//! A server's log in the tables of an SQLite file, through the server's own store.
//!
//! Each call is one transaction. Some writes first crash before their commit: the run continues with
//! a copy of the file and of its write-ahead log as they are at that moment, where the same call is
//! made again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use rejoin_log::ids::Epoch;
use rejoin_log::server::{Limits, Server, ServerError};
use rejoin_protocol::manifest::SyncModel;
use rejoin_server::TableConfig;
use rejoin_server::error::Fault;
use rejoin_server::store::sqlite::SqliteStore;
use rejoin_server::store::{LogTables, Writing, read, write};
use tempfile::TempDir;

use super::deed::{ITEM, MINE, NOTE};
use super::oracle::Rows;
use super::world::{Columns, unexpected};
use crate::simulate::Checked;

/// A log in a file.
#[derive(Debug)]
pub(super) struct LogFile {
    store: SqliteStore,
    folder: TempDir,
    limits: Limits,
    /// Decides which writes crash.
    rng: Rng,
    /// The writes that crashed since this was read.
    crashes: u64,
}

type Log<'t> = Server<LogTables<'t>>;

const FILE: &str = "server.db";

const TABLES: [&str; 3] = [ITEM, NOTE, MINE];

/// Those of all rows: `p` is written by one action, `x` by another.
const COLUMNS: &str =
    "id TEXT PRIMARY KEY, n INTEGER, b TEXT, also TEXT, v TEXT, o TEXT, p TEXT, x INTEGER";

/// The time of the row model, which these runs do not have.
const NOW: &str = "2026-11-20T08:00:00.000000Z";

/// One write of so many crashes.
const CRASH: u8 = 16;

impl LogFile {
    /// A new log; the seed decides which of its writes crash.
    pub(super) fn create(limits: Limits, epoch: Epoch, seed: u64) -> Checked<Self> {
        let folder = tempfile::tempdir().map_err(unexpected)?;
        let app = rusqlite::Connection::open(folder.path().join(FILE)).map_err(unexpected)?;
        for table in TABLES {
            app.execute_batch(&format!("CREATE TABLE {table}({COLUMNS})")).map_err(unexpected)?;
        }
        let file = Self::open(folder, limits, Rng::with_seed(seed))?;
        let created = write(&file.store, NOW, |writing| {
            let log = writing.log();
            let created = Server::create(log, epoch, Arc::new(Columns), limits);
            created.map(drop).map_err(|error| log.fault(error))
        });
        created.map(|()| file).map_err(unexpected)
    }

    fn open(folder: TempDir, limits: Limits, rng: Rng) -> Checked<Self> {
        let of_log = |name| TableConfig { sync: SyncModel::Log, ..TableConfig::new(name) };
        let (path, wait) = (folder.path().join(FILE), Duration::from_secs(5));
        let store = SqliteStore::open(&path, &TABLES.map(of_log), wait, NOW).map_err(unexpected)?;
        Ok(Self { store, folder, limits, rng, crashes: 0 })
    }

    /// A copy, as after a crash.
    pub(super) fn copied(&self) -> Checked<Self> {
        let copy = tempfile::tempdir().map_err(unexpected)?;
        copy_files(self.folder.path(), copy.path()).map_err(unexpected)?;
        Self::open(copy, self.limits, self.rng.clone())
    }

    /// The writes that crashed since this was called.
    pub(super) fn take_crashes(&mut self) -> u64 {
        std::mem::take(&mut self.crashes)
    }

    pub(super) fn read<T>(
        &self,
        mut body: impl FnMut(&Log<'_>) -> Result<T, ServerError>,
    ) -> Checked<T> {
        let done = read(&self.store, |reading| {
            let tables = reading.log();
            self.opened(tables).and_then(|log| body(&log)).map_err(|error| fault(tables, error))
        });
        done.map_err(unexpected)
    }

    pub(super) fn write<T>(
        &mut self,
        mut body: impl FnMut(&mut Log<'_>) -> Result<T, ServerError>,
    ) -> Checked<T> {
        self.transact(&mut |_, log| body(log))
    }

    /// A write whose statements are sent together, as the server sends those of a request.
    pub(super) fn write_batched<T>(
        &mut self,
        mut body: impl FnMut(&mut Log<'_>) -> Result<T, ServerError>,
    ) -> Checked<T> {
        self.transact(&mut |tables, log| tables.batched(|| body(log)))
    }

    fn transact<T>(
        &mut self,
        body: &mut dyn FnMut(LogTables<'_>, &mut Log<'_>) -> Result<T, ServerError>,
    ) -> Checked<T> {
        if self.rng.u8(..CRASH) == 0 {
            self.crash(body)?;
        }
        write(&self.store, NOW, |writing| self.run(writing, body)).map_err(unexpected)
    }

    fn run<T>(
        &self,
        writing: &dyn Writing,
        body: &mut dyn FnMut(LogTables<'_>, &mut Log<'_>) -> Result<T, ServerError>,
    ) -> Result<T, Fault> {
        let tables = writing.log();
        let done = self.opened(tables).and_then(|mut log| body(tables, &mut log));
        done.map_err(|error| fault(tables, error))
    }

    /// Continues with what is on disk when everything is done but the commit.
    fn crash<T>(
        &mut self,
        body: &mut dyn FnMut(LogTables<'_>, &mut Log<'_>) -> Result<T, ServerError>,
    ) -> Checked {
        let left = tempfile::tempdir().map_err(unexpected)?;
        let mut copied = None;
        let crashed: Result<(), Fault> = write(&self.store, NOW, |writing| {
            self.run(writing, body)?;
            copied = Some(copy_files(self.folder.path(), left.path()));
            Err(Fault::Internal(String::from("a crash")))
        });
        match (copied, crashed) {
            (Some(copied), Err(_)) => copied.map_err(unexpected)?,
            (_, crashed) => return crashed.map_err(unexpected),
        }
        let count = self.crashes + 1;
        *self = Self { crashes: count, ..Self::open(left, self.limits, self.rng.clone())? };
        Ok(())
    }

    fn opened<'t>(&self, tables: LogTables<'t>) -> Result<Log<'t>, ServerError> {
        Ok(Server::open(tables, Arc::new(Columns), self.limits)?)
    }

    /// The rows of the application's tables.
    pub(super) fn current_rows(&self) -> Checked<Rows> {
        let found = read(&self.store, |reading| {
            let (log, mut rows) = (reading.log(), Rows::new());
            for table in reading.log_tables() {
                let read = log.each_current(table, &mut |name, _, image| {
                    rows.insert(name.clone(), image.columns().clone());
                });
                read.map_err(|error| log.fault(error))?;
            }
            Ok(rows)
        });
        found.map_err(unexpected)
    }
}

fn fault(tables: LogTables<'_>, error: ServerError) -> Fault {
    match error {
        ServerError::Store(error) => tables.fault(error),
        other => Fault::Internal(other.to_string()),
    }
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    for name in [FILE.to_owned(), format!("{FILE}-wal")] {
        if from.join(&name).exists() {
            std::fs::copy(from.join(&name), to.join(&name))?;
        }
    }
    Ok(())
}
