//! The embedded store: the application's and Rejoin's tables in one SQLite file, in WAL mode.
//!
//! One writer connection behind a lock, and a pool of readers. Any program may write the
//! application's tables: triggers in plain SQL record every change. After a schema change, the next
//! transaction detects a new `PRAGMA schema_version`, reads the tables again and reinstalls the
//! triggers.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use parking_lot::{FairMutex, FairMutexGuard};
use rejoin_protocol::time;
use rusqlite::{Connection, OpenFlags};

use super::admit::{self, Strictness};
use super::{Reading, Store, WriteProblem, Writing};
use crate::clock::{Clock, SystemClock};
use crate::config::{MembershipConfig, TableConfig};
use crate::error::{Fault, ServerError};
use crate::model::{LogTable, PlanStep, Schema, Touched};

mod access;
mod changelog;
mod check;
mod ddl;
mod decimals;
mod error;
mod hook;
mod install;
mod introspect;
mod log;
mod log_tables;
mod membership;
mod migrate;
mod records;
mod rows;
mod staged;
mod transaction;
mod triggers;
mod write_probe;

use transaction::SqliteTransaction;

/// Idle readers to keep; more are opened when needed and closed after use.
const KEPT_READERS: usize = 8;

/// A store over one file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    wait: Duration,
    tables: Vec<TableConfig>,
    membership: Option<MembershipConfig>,
    /// In the order of arrival: a push of several transactions leaves it to others in between.
    writer: FairMutex<Connection>,
    /// Threads that wait for `writer`.
    waiting: AtomicUsize,
    readers: Mutex<Vec<Connection>>,
    pulse: Mutex<Connection>,
    schema: RwLock<Known>,
    /// Dates schema versions that appear while the server runs.
    clock: Arc<dyn Clock>,
}

/// The schema as last read, and its `schema_version`.
#[derive(Debug, Clone)]
struct Known {
    version: i64,
    schema: Arc<Schema>,
    log: Arc<[LogTable]>,
    /// The query for the grants of a user.
    grants: Arc<str>,
}

impl SqliteStore {
    /// Opens the file, migrates Rejoin's tables, reads the application's tables and installs the
    /// triggers. A missing file is not created ([`ServerError::NoDatabase`]).
    ///
    /// `now` is canonical text; it dates the current schema. `wait` is how long a statement waits
    /// for another program's lock. Tables that cannot be synced are refused if the file was never
    /// served; later they are left out.
    pub fn open(
        path: &Path,
        tables: &[TableConfig],
        wait: Duration,
        now: &str,
    ) -> Result<Self, ServerError> {
        Self::open_with(path, tables, wait, (now, Strictness::First), None)
    }

    /// Like [`open`](Self::open), with what the start refuses.
    pub(crate) fn open_with(
        path: &Path,
        tables: &[TableConfig],
        wait: Duration,
        (now, strictness): (&str, Strictness),
        membership: Option<&MembershipConfig>,
    ) -> Result<Self, ServerError> {
        let writer = connect(path, wait).map_err(|error| match path.try_exists() {
            Ok(false) => ServerError::NoDatabase { path: path.to_owned() },
            _ => error.into(),
        })?;
        writer.pragma_update(None, "journal_mode", "wal")?;
        migrate::migrate(&writer)?;
        let known = install::refresh(&writer, (tables, membership), now, Some(strictness))?;
        admit::log_changes(&[], &known.schema.left_out);
        Ok(Self {
            path: path.to_owned(),
            wait,
            tables: tables.to_vec(),
            membership: membership.cloned(),
            pulse: Mutex::new(connect(path, wait)?),
            writer: FairMutex::new(writer),
            waiting: AtomicUsize::new(0),
            readers: Mutex::new(Vec::new()),
            schema: RwLock::new(known),
            clock: Arc::new(SystemClock),
        })
    }

    /// The same store with this clock for dating new schema versions; by default the system clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn known(&self) -> Known {
        self.schema.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the tables again if this connection's schema differs from the known one.
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
        let configured = (self.tables.as_slice(), self.membership.as_ref());
        let fresh =
            install::refresh(writer, configured, &now, None).map_err(error::fault_of_refresh)?;
        admit::log_changes(&known.schema.left_out, &fresh.schema.left_out);
        fresh.clone_into(&mut self.schema.write().unwrap_or_else(PoisonError::into_inner));
        Ok(fresh)
    }

    /// The write connection, outside of a transaction. Ends a transaction whose rollback failed for
    /// lack of memory: no other could begin otherwise.
    fn writer(&self) -> Result<FairMutexGuard<'_, Connection>, Fault> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let writer = self.writer.lock();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
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
    fn plan(&self, sql: &str) -> Result<Vec<PlanStep>, Fault> {
        let reader = self.reader()?;
        let plan = check::plan(&reader, sql)?;
        self.give_back(reader);
        Ok(plan)
    }

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
        // An active writer detects the problem itself.
        let Some(writer) = self.writer.try_lock() else { return Ok(()) };
        writer.busy_timeout(Duration::ZERO).map_err(write_probe::problem)?;
        let tried = write_probe::try_write(&writer);
        writer.busy_timeout(self.wait).map_err(write_probe::problem)?;
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
        // The schema may change between the test and the snapshot; then the test is repeated.
        for _ in 0..8 {
            let known = self.current(reader)?;
            reader.execute_batch("BEGIN")?;
            if schema_version(reader)? == known.version {
                return work(&SqliteTransaction::new(reader, known, None));
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
        work(&SqliteTransaction::new(writer, known, Some(&self.waiting)))?;
        if writer.is_autocommit() {
            return Err(Fault::Transient(String::from("SQLite ended the transaction")));
        }
        changelog::clear_stamp(writer)?;
        writer.execute_batch("COMMIT")?;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves a connection at worst in a transaction, which is rolled back before the next
    // use.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))
}

/// Opens a connection to an existing file. Synchronous FULL: devices drop accepted mutations, so
/// they must be durable.
#[allow(clippy::disallowed_methods)] // The only place where the server opens connections.
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tempfile::TempDir;

    use super::{SqliteStore, lock};
    use crate::config::TableConfig;
    use crate::model::{PageLimit, ReadScope};
    use crate::store::{Reading, Store, WriteProblem, Writing};

    const NOW: &str = "2026-11-20T08:00:00.000000Z";

    /// A store over tasks of the project `a`, whose keys this expression makes of the numbers from 1.
    fn tasks(key: &str, rows: usize) -> (SqliteStore, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let file = rusqlite::Connection::open_in_memory().unwrap();
        file.execute_batch(&format!(
            "CREATE TABLE tasks(id TEXT PRIMARY KEY, project TEXT, updated_at TEXT);
             WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT {rows})
               INSERT INTO tasks(id, project) SELECT {key}, 'a' FROM n;
             VACUUM INTO '{}'",
            path.display()
        ))
        .unwrap();
        let tables = [TableConfig::new("tasks").with_bucket("project", "project:")];
        (SqliteStore::open(&path, &tables, Duration::from_secs(5), NOW).unwrap(), folder)
    }

    /// The number of rows in the first page of the project, which has at most 100, and whether it is the
    /// last.
    fn first_page(store: &SqliteStore) -> (usize, bool) {
        let mut found = (0, false);
        let work = &mut |reading: &dyn Reading| {
            let table = reading.schema().table("tasks").unwrap();
            let room = PageLimit { rows: 100, bytes: usize::MAX };
            let scope = ReadScope::of(&[String::from("project:a"), String::from("#")]);
            let page = reading.page(table, None, room, &scope)?;
            found = (page.rows.len(), page.ends);
            Ok(())
        };
        store.read(work).unwrap();
        found
    }

    /// The work of the first page of a bucket with so many rows, in thousands of SQLite's instructions.
    fn work_of_a_page(rows: usize) -> usize {
        let (store, _folder) = tasks("hex(n)", rows);
        assert_eq!(first_page(&store), (100, false));
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let tick = move || counted.fetch_add(1, Ordering::Relaxed) == usize::MAX;
        lock(&store.readers)[0].progress_handler(1_000, Some(tick)).unwrap();
        first_page(&store);
        count.load(Ordering::Relaxed)
    }

    /// A page that read its whole bucket made the pages of a bucket cost the square of its rows.
    #[test]
    fn page_of_a_bucket_reads_its_own_rows_only() {
        let (small, large) = (work_of_a_page(1_000), work_of_a_page(10_000));
        assert!(small > 0 && large <= small + small / 2, "{small} and {large}");
    }

    /// A key with a NUL has no form on the wire. 200 such rows come before the others.
    #[test]
    fn hidden_rows_take_no_places_of_a_page() {
        let key = "iif(n > 200, 'b', 'a' || char(0)) || printf('%03d', n)";
        assert_eq!(first_page(&tasks(key, 205).0), (5, true));
        assert_eq!(first_page(&tasks(key, 300).0), (100, true));
        assert_eq!(first_page(&tasks(key, 301).0), (100, false));
    }

    /// A store over a new file, with this lock timeout.
    fn store(wait: Duration) -> (SqliteStore, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        std::fs::File::create(&path).unwrap();
        (SqliteStore::open(&path, &[], wait, NOW).unwrap(), folder)
    }

    /// Devices drop accepted mutations, so they must survive a power loss here.
    #[test]
    fn each_connection_syncs_commits_to_disk() {
        let (store, _folder) = store(Duration::from_secs(1));
        store.read(&mut |_| Ok(())).unwrap();
        store.write(NOW, &mut |_| Ok(())).unwrap();
        let (writer, pulse, readers) =
            (store.writer.lock(), lock(&store.pulse), lock(&store.readers));
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

    #[test]
    fn transaction_knows_whether_another_write_waits() {
        let (store, _folder) = store(Duration::from_secs(5));
        std::thread::scope(|scope| {
            let work = &mut |writing: &dyn Writing| {
                assert!(!writing.is_awaited());
                scope.spawn(|| store.write(NOW, &mut |_| Ok(())).unwrap());
                while !writing.is_awaited() {
                    std::thread::yield_now();
                }
                Ok(())
            };
            store.write(NOW, work).unwrap();
        });
        let work = &mut |writing: &dyn Writing| {
            assert!(!writing.is_awaited());
            Ok(())
        };
        store.write(NOW, work).unwrap();
    }

    /// SQLite's own size limit simulates a full disk: the same error at the same place.
    #[test]
    fn full_file_is_reported_until_space_is_free() {
        let (store, _folder) = store(Duration::from_secs(5));
        let pages = |pragma: &str| {
            let text = format!("PRAGMA {pragma}");
            store.writer.lock().query_row(&text, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        store.try_write().unwrap();
        // Use up the space that the test write has left free.
        store.writer.lock().execute_batch("VACUUM").unwrap();
        let bound = pages("page_count");
        assert_eq!(pages(&format!("max_page_count = {bound}")), bound);
        assert!(matches!(store.try_write(), Err(WriteProblem::Full(_))));
        assert!(store.writer.lock().is_autocommit());
        pages(&format!("max_page_count = {}", bound + 100));
        store.try_write().unwrap();
        let left = "SELECT count(*) FROM rejoin_meta WHERE key = 'probe'";
        let left: i64 = store.writer.lock().query_row(left, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn test_write_does_not_wait_for_another_writer() {
        // If it waited, the test would exceed its time limit.
        let (store, folder) = store(Duration::from_hours(1));
        let other = super::connect(&folder.path().join("app.db"), Duration::ZERO).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        store.try_write().unwrap();
        let held = store.writer.lock();
        store.try_write().unwrap();
        drop(held);
    }
}
