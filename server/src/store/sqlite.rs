//! The embedded store: the user's tables and ours in one SQLite file, in WAL mode.
//!
//! One writer connection behind a lock, and a pool of readers. The user's tables are written by anybody who has the file:
//! triggers in plain SQL record every change (D29). When somebody changed the schema, the next transaction notices by
//! `PRAGMA schema_version`, reads the tables again and mends the triggers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use rejoin_protocol::time;
use rusqlite::{Connection, OpenFlags};

use super::{Reading, Store, WriteProblem, Writing};
use crate::clock::{Clock, SystemClock};
use crate::config::TableConfig;
use crate::error::{Fault, ServerError};
use crate::model::{Schema, Touched};

mod access;
mod changelog;
mod check;
mod ddl;
mod decimals;
mod error;
mod hook;
mod install;
mod introspect;
mod migrate;
mod records;
mod room;
mod rows;
mod transaction;
mod triggers;

use transaction::Transaction;

/// Idle readers that are kept; more are opened when needed and closed after use.
const KEPT_READERS: usize = 8;

/// The store over one file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    wait: Duration,
    tables: Vec<TableConfig>,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    pulse: Mutex<Connection>,
    schema: RwLock<Known>,
    /// Dates a schema that is seen first while it serves.
    clock: Arc<dyn Clock>,
}

/// The schema as it was read last, and when.
#[derive(Debug, Clone)]
struct Known {
    version: i64,
    schema: Arc<Schema>,
}

impl SqliteStore {
    /// Opens the file, brings our tables up to date, reads the user's and installs the triggers. A file that is missing is not
    /// created ([`ServerError::NoDatabase`]).
    ///
    /// `now` is canonical text; it dates the schema as it is. `wait` is how long a statement waits for another program's lock.
    pub fn open(
        path: &Path,
        tables: &[TableConfig],
        wait: Duration,
        now: &str,
    ) -> Result<Self, ServerError> {
        let writer = connect(path, wait).map_err(|error| match path.try_exists() {
            Ok(false) => ServerError::NoDatabase { path: path.to_owned() },
            _ => error.into(),
        })?;
        writer.pragma_update(None, "journal_mode", "wal")?;
        migrate::migrate(&writer)?;
        let known = install::refresh(&writer, tables, now, true)?;
        Ok(Self {
            path: path.to_owned(),
            wait,
            tables: tables.to_vec(),
            pulse: Mutex::new(connect(path, wait)?),
            writer: Mutex::new(writer),
            readers: Mutex::new(Vec::new()),
            schema: RwLock::new(known),
            clock: Arc::new(SystemClock),
        })
    }

    /// The same store by this clock, by which a schema is dated that comes while it serves; the machine's otherwise.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn known(&self) -> Known {
        self.schema.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the tables again if this connection sees another schema than the one that is known.
    fn current(&self, connection: &Connection) -> Result<Known, Fault> {
        let known = self.known();
        if schema_version(connection)? == known.version {
            return Ok(known);
        }
        let writer = self.writer()?;
        self.refresh(&writer)
    }

    fn refresh(&self, writer: &Connection) -> Result<Known, Fault> {
        let known = self.known();
        if schema_version(writer)? == known.version {
            return Ok(known);
        }
        let now = time::format(self.clock.now());
        let fresh =
            install::refresh(writer, &self.tables, &now, false).map_err(error::fault_of_refresh)?;
        fresh.clone_into(&mut self.schema.write().unwrap_or_else(PoisonError::into_inner));
        Ok(fresh)
    }

    /// The connection that writes, in no transaction. One is left open where its rollback itself failed, for want of memory:
    /// no other could begin after it.
    fn writer(&self) -> Result<MutexGuard<'_, Connection>, Fault> {
        let writer = lock(&self.writer);
        if !writer.is_autocommit() {
            writer.execute_batch("ROLLBACK")?;
        }
        Ok(writer)
    }

    fn reader(&self) -> Result<Connection, Fault> {
        if let Some(idle) = lock(&self.readers).pop() {
            return Ok(idle);
        }
        let reader = connect(&self.path, self.wait)?;
        reader.pragma_update(None, "query_only", true)?;
        Ok(reader)
    }

    fn give_back(&self, reader: Connection) {
        let mut readers = lock(&self.readers);
        if readers.len() < KEPT_READERS && reader.is_autocommit() {
            readers.push(reader);
        }
    }
}

impl Store for SqliteStore {
    fn read(&self, work: &mut dyn FnMut(&dyn Reading) -> Result<(), Fault>) -> Result<(), Fault> {
        let reader = self.reader()?;
        let done = self.read_on(&reader, work);
        if !reader.is_autocommit() {
            reader.execute_batch("ROLLBACK")?;
        }
        self.give_back(reader);
        done
    }

    fn write(
        &self,
        now: &str,
        work: &mut dyn FnMut(&dyn Writing) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let writer = self.writer()?;
        writer.execute_batch("BEGIN IMMEDIATE")?;
        let done = self.write_on(&writer, now, work);
        if !writer.is_autocommit() {
            writer.execute_batch("ROLLBACK")?;
        }
        done
    }

    fn try_write(&self) -> Result<(), WriteProblem> {
        // Who writes just now finds out by itself.
        let writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        writer.busy_timeout(Duration::ZERO).map_err(room::problem)?;
        let tried = room::try_write(&writer);
        writer.busy_timeout(self.wait).map_err(room::problem)?;
        tried
    }

    fn touched(&self, after: i64, upto: i64) -> Result<Option<Vec<Touched>>, Fault> {
        Ok(changelog::touched(&lock(&self.pulse), after, upto)?)
    }

    fn pulse(&self) -> Result<i64, Fault> {
        let watcher = lock(&self.pulse);
        Ok(watcher
            .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'rejoin_changelog'")?
            .query_row([], |row| row.get(0))
            .or_else(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => Ok(0),
                other => Err(other),
            })?)
    }
}

impl SqliteStore {
    fn read_on(
        &self,
        reader: &Connection,
        work: &mut dyn FnMut(&dyn Reading) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        // Another schema can come between the test and the snapshot; then the test is done again.
        for _ in 0..8 {
            let known = self.current(reader)?;
            reader.execute_batch("BEGIN")?;
            if schema_version(reader)? == known.version {
                return work(&Transaction::new(reader, known.schema));
            }
            reader.execute_batch("ROLLBACK")?;
        }
        Err(Fault::Transient(String::from("the schema changes faster than it can be read")))
    }

    fn write_on(
        &self,
        writer: &Connection,
        now: &str,
        work: &mut dyn FnMut(&dyn Writing) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut known = self.known();
        if schema_version(writer)? != known.version {
            writer.execute_batch("ROLLBACK")?;
            known = self.refresh(writer)?;
            writer.execute_batch("BEGIN IMMEDIATE")?;
            if schema_version(writer)? != known.version {
                return Err(Fault::Transient(String::from("the schema changes all the time")));
            }
        }
        changelog::stamp(writer, now)?;
        work(&Transaction::new(writer, known.schema))?;
        if writer.is_autocommit() {
            return Err(Fault::Transient(String::from("SQLite ended the transaction")));
        }
        changelog::clear_stamp(writer)?;
        writer.execute_batch("COMMIT")?;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves a connection at worst in a transaction, and that is rolled back before the next use.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))
}

/// A connection with our pragmas to a file that exists. Synchronous FULL: an accepted mutation is gone from the device.
#[allow(clippy::disallowed_methods)] // This is the place where the server opens connections.
fn connect(path: &Path, wait: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(wait)?;
    connection.set_prepared_statement_cache_capacity(256);
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "recursive_triggers", false)?;
    connection.pragma_update(None, "trusted_schema", true)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::{SqliteStore, lock};
    use crate::store::{Store, WriteProblem};

    const NOW: &str = "2026-11-20T08:00:00.000000Z";

    /// A store over a new file whose writers wait so long for one another.
    fn store(wait: Duration) -> (SqliteStore, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        std::fs::File::create(&path).unwrap();
        (SqliteStore::open(&path, &[], wait, NOW).unwrap(), folder)
    }

    /// What is accepted is gone from the device, so it must outlast a power cut here.
    #[test]
    fn each_connection_waits_until_the_disk_has_it() {
        let (store, _folder) = store(Duration::from_secs(1));
        store.read(&mut |_| Ok(())).unwrap();
        store.write(NOW, &mut |_| Ok(())).unwrap();
        let (writer, pulse, readers) =
            (lock(&store.writer), lock(&store.pulse), lock(&store.readers));
        assert!(!readers.is_empty());
        for connection in [&*writer, &*pulse].into_iter().chain(readers.iter()) {
            let pragma = |name: &str| -> String {
                let cell = |row: &rusqlite::Row<'_>| row.get::<_, rejoin_protocol::Value>(0);
                let value = connection.query_row(&format!("PRAGMA {name}"), [], cell).unwrap();
                value.to_id().unwrap()
            };
            // 2 is FULL: in WAL mode each commit is synced.
            assert_eq!([pragma("synchronous"), pragma("journal_mode")], ["2", "wal"]);
        }
    }

    /// SQLite's own bound of the file's size stands in for the disk: the same error, at the same place.
    #[test]
    fn full_file_is_reported_until_there_is_room_again() {
        let (store, _folder) = store(Duration::from_secs(5));
        let pages = |pragma: &str| {
            let text = format!("PRAGMA {pragma}");
            lock(&store.writer).query_row(&text, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        store.try_write().unwrap();
        // What the try itself has left free is used up first.
        lock(&store.writer).execute_batch("VACUUM").unwrap();
        let bound = pages("page_count");
        assert_eq!(pages(&format!("max_page_count = {bound}")), bound);
        assert!(matches!(store.try_write(), Err(WriteProblem::Full(_))));
        assert!(lock(&store.writer).is_autocommit());
        pages(&format!("max_page_count = {}", bound + 100));
        store.try_write().unwrap();
        let left = "SELECT count(*) FROM rejoin_meta WHERE key = 'probe'";
        let left: i64 = lock(&store.writer).query_row(left, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn try_of_a_write_does_not_wait_for_another_writer() {
        // If it waited, the test would end at its time limit.
        let (store, folder) = store(Duration::from_hours(1));
        let other = super::connect(&folder.path().join("app.db"), Duration::ZERO).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        store.try_write().unwrap();
        let held = lock(&store.writer);
        store.try_write().unwrap();
        drop(held);
    }
}
