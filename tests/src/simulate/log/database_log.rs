//! A server's log in the tables of an SQLite file or of a PostgreSQL database, through the server's own
//! store.
//!
//! Each call is one transaction. Some writes first crash before their commit, and the same call is made
//! again: after a rollback, or, with a file, in a copy of the file and of its write-ahead log as they
//! are at the crash.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use rejoin_log::ids::Epoch;
use rejoin_log::server::{Limits, Server, ServerError};
use rejoin_postgres::Database;
use rejoin_protocol::manifest::SyncModel;
use rejoin_server::error::Fault;
use rejoin_server::store::postgres::PostgresStore;
use rejoin_server::store::sqlite::SqliteStore;
use rejoin_server::store::{LogTables, Store, Writing, read, write};
use rejoin_server::{PostgresUrl, TableConfig};
use tempfile::TempDir;

use super::actions::{ITEM, MINE, NOTE};
use super::oracle::Rows;
use super::run::{Columns, unexpected};
use super::store::copy_database;
use crate::Store as Kind;
use crate::simulate::Checked;

/// A log in a database.
#[derive(Debug)]
pub(super) struct DatabaseLog {
    store: Box<dyn Store>,
    location: DatabaseLocation,
    limits: Limits,
    /// Decides which writes crash.
    rng: Rng,
    /// The writes that crashed since this was read.
    crashes: u64,
}

#[derive(Debug)]
enum DatabaseLocation {
    Folder(TempDir),
    Postgres(Box<Database>),
}

type Log<'t> = Server<LogTables<'t>>;

const FILE: &str = "server.db";

const TABLES: [&str; 3] = [ITEM, NOTE, MINE];

/// Those of all rows: `p` is written by one action, `x` by another.
const COLUMNS: &str =
    "id TEXT PRIMARY KEY, n BIGINT, b TEXT, also TEXT, v TEXT, o TEXT, p TEXT, x BIGINT";

/// The time of the row model, which these runs do not have.
const NOW: &str = "2026-11-20T08:00:00.000000Z";

/// One write of so many crashes.
const CRASH: u8 = 16;

impl DatabaseLog {
    /// A new log; the seed decides which of its writes crash.
    pub(super) fn create(kind: Kind, limits: Limits, epoch: Epoch, seed: u64) -> Checked<Self> {
        let sql = TABLES.map(|table| format!("CREATE TABLE {table}({COLUMNS});")).concat();
        let location = match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().map_err(unexpected)?;
                let app = rusqlite::Connection::open(folder.path().join(FILE));
                app.and_then(|app| app.execute_batch(&sql)).map_err(unexpected)?;
                DatabaseLocation::Folder(folder)
            }
            Kind::Postgres => {
                let database = Database::new();
                database.run(&sql);
                DatabaseLocation::Postgres(Box::new(database))
            }
        };
        let tables = Self::open(location, limits, Rng::with_seed(seed))?;
        let created = write(&*tables.store, NOW, |writing| {
            let log = writing.log();
            let created = Server::create(log, epoch, Arc::new(Columns), limits);
            created.map(drop).map_err(|error| log.fault(error))
        });
        created.map(|()| tables).map_err(unexpected)
    }

    fn open(location: DatabaseLocation, limits: Limits, rng: Rng) -> Checked<Self> {
        let of_log = |name| TableConfig { sync: SyncModel::Log, ..TableConfig::new(name) };
        let (tables, wait) = (TABLES.map(of_log), Duration::from_secs(30));
        let store: Box<dyn Store> = match &location {
            DatabaseLocation::Folder(folder) => {
                let path = folder.path().join(FILE);
                Box::new(SqliteStore::open(&path, &tables, wait, NOW).map_err(unexpected)?)
            }
            DatabaseLocation::Postgres(database) => {
                let url = PostgresUrl::from(database.url.clone());
                Box::new(PostgresStore::open(&url, &tables, wait, NOW).map_err(unexpected)?)
            }
        };
        Ok(Self { store, location, limits, rng, crashes: 0 })
    }

    /// A copy of the file, as after a crash; `None` without a file.
    pub(super) fn copied(&self) -> Checked<Option<Self>> {
        let DatabaseLocation::Folder(folder) = &self.location else { return Ok(None) };
        let copy = tempfile::tempdir().map_err(unexpected)?;
        copy_database(folder.path(), copy.path(), FILE).map_err(unexpected)?;
        Self::open(DatabaseLocation::Folder(copy), self.limits, self.rng.clone()).map(Some)
    }

    /// The writes that crashed since this was called.
    pub(super) fn take_crashes(&mut self) -> u64 {
        std::mem::take(&mut self.crashes)
    }

    pub(super) fn read<T>(
        &self,
        mut body: impl FnMut(&Log<'_>) -> Result<T, ServerError>,
    ) -> Checked<T> {
        let done = read(&*self.store, |reading| {
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
        write(&*self.store, NOW, |writing| self.run(writing, body)).map_err(unexpected)
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

    /// Runs a write without its commit. A file is then as a crash at that moment leaves it.
    fn crash<T>(
        &mut self,
        body: &mut dyn FnMut(LogTables<'_>, &mut Log<'_>) -> Result<T, ServerError>,
    ) -> Checked {
        let mut copy = None;
        self.roll_back(&mut |writing| {
            let done = self.run(writing, body).map(drop);
            copy = Some(self.copied());
            done
        })?;
        let crashes = self.crashes + 1;
        if let Some(copy) = copy.transpose()?.flatten() {
            *self = copy;
        }
        self.crashes = crashes;
        Ok(())
    }

    /// What a write would return, without its effects.
    pub(super) fn attempt<T>(
        &self,
        mut body: impl FnMut(&mut Log<'_>) -> Result<T, ServerError>,
    ) -> Checked<T> {
        self.roll_back(&mut |writing| self.run(writing, &mut |_, log| body(log)))
    }

    fn roll_back<T>(&self, body: &mut dyn FnMut(&dyn Writing) -> Result<T, Fault>) -> Checked<T> {
        let mut done = None;
        let crashed: Result<(), Fault> = write(&*self.store, NOW, |writing| {
            done = Some(body(writing)?);
            Err(Fault::Internal(String::from("a crash")))
        });
        match (done, crashed) {
            (Some(done), Err(_)) => Ok(done),
            (_, crashed) => Err(unexpected(format!("{crashed:?} without a crash"))),
        }
    }

    fn opened<'t>(&self, tables: LogTables<'t>) -> Result<Log<'t>, ServerError> {
        Ok(Server::open(tables, Arc::new(Columns), self.limits)?)
    }

    /// The rows of the application's tables.
    pub(super) fn current_rows(&self) -> Checked<Rows> {
        let found = read(&*self.store, |reading| {
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

impl Drop for DatabaseLog {
    fn drop(&mut self) {
        if let DatabaseLocation::Postgres(database) = &self.location {
            database.remove();
        }
    }
}

fn fault(tables: LogTables<'_>, error: ServerError) -> Fault {
    match error {
        ServerError::Store(error) => tables.fault(error),
        other => Fault::Internal(other.to_string()),
    }
}
