//! The connections to the file: one that writes, and its authorizer and lock.
//!
//! The engine's own statements are prefixed by [`OURS`], so that an app's statement never matches
//! one of them in the cache of prepared statements, where the authorizer does not run again.

pub(crate) mod authorizer;
pub(crate) mod copy;
pub(crate) mod fault;
pub(crate) mod fit;
pub(crate) mod lock;
pub(crate) mod module;
pub(crate) mod timing;
pub(crate) mod user_version;

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::engine::database::timing::ActionDeadline;
use crate::engine::migrate;
use crate::error::{Error, InputFault, Result, StorageFault};
use authorizer::Authorizer;

/// Prefix of every cached statement of the engine; no statement of an app may start with it.
pub(crate) const OURS: &str = "/*rejoin*/";

/// Pages in the WAL at which a commit itself makes a checkpoint, if none was made: 64 MiB.
const WAL_CAP: i64 = 16_000;

/// SQLite virtual machine steps between two checks for suspension: about ten microseconds.
const STEPS: std::ffi::c_int = 1000;

/// Triggers in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Triggers {
    /// Triggers fire: local writes are captured, and the app's triggers run.
    Fire,
    /// Many base rows are written: all triggers are off if the app has none.
    MayRest,
    /// Few base rows are written: if all triggers are off and the app has none, they stay off.
    MayStayOff,
    /// Every table is emptied: all triggers are off, including the app's.
    Rest,
}

/// The writing connection and the state of the file.
#[derive(Debug)]
pub(crate) struct Database {
    conn: Connection,
    pub(crate) path: PathBuf,
    pub(crate) gate: Arc<Authorizer>,
    pub(crate) suspended: Arc<AtomicBool>,
    /// Time limit of the running action.
    pub(crate) watch: Arc<ActionDeadline>,
    /// Whether triggers are off; and whether the app has triggers, by schema version.
    triggers_rest: Cell<bool>,
    app_triggers: Cell<Option<(i64, bool)>>,
    /// Opened for the first checkpoint.
    pub(crate) maintenance: Option<Connection>,
    /// `None` for a file that is opened read-only.
    lock: Option<lock::Lock>,
}

impl Database {
    /// Opens or creates the file, takes its lock, and migrates the engine's tables.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        look_at_header(path)?;
        let lock = lock::take(path)?;
        copy::clear_away(path);
        if !path.exists() {
            lock::create(path)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        let number = |conn: &Connection, name: &str| {
            conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
        };
        if conn.is_readonly("main")? {
            return Err(StorageFault::ReadOnly(path.display().to_string()).into());
        }
        let application = number(&conn, "application_id")?;
        if application == 0 {
            not_of_synchro(&conn, path)?;
        }
        migrate::check(application, number(&conn, "user_version")?)?;
        settings(&conn)?;
        migrate::migrate(&conn)?;
        Self::around(conn, path, Some(lock))
    }

    /// Opens the file read-only while another process may hold it: takes no lock and writes
    /// nothing.
    pub(crate) fn open_to_read(path: &Path) -> Result<Self> {
        // The header is not read here: closing the file would release the locks that SQLite holds on
        // it for the rest of this process.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        let number = |name: &str| conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
        migrate::check_to_read(path, number("application_id")?, number("user_version")?)?;
        conn.busy_timeout(std::time::Duration::from_secs(5))?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        // Even the last connection to close makes no checkpoint.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        conn.execute_batch("PRAGMA query_only = ON")?;
        Self::around(conn, path, None)
    }

    fn around(mut conn: Connection, path: &Path, lock: Option<lock::Lock>) -> Result<Self> {
        let gate = Arc::new(Authorizer::default());
        authorizer::install(&mut conn, &gate)?;
        conn.set_prepared_statement_cache_capacity(256);
        let suspended = Arc::<AtomicBool>::default();
        let flag = Arc::clone(&suspended);
        let watch = Arc::<ActionDeadline>::default();
        let timed = Arc::clone(&watch);
        // An interrupt is lost if the connection is idle at that moment; a flag is not.
        conn.progress_handler(
            STEPS,
            Some(move || flag.load(Ordering::Acquire) || timed.is_over()),
        )?;
        let path = path.to_owned();
        Ok(Self {
            conn,
            path,
            gate,
            suspended,
            watch,
            triggers_rest: Cell::new(false),
            app_triggers: Cell::new(None),
            maintenance: None,
            lock,
        })
    }

    /// Closes every connection and releases the lock: no lock of ours remains on the file.
    pub(crate) fn close(self) -> Result<()> {
        let Self { conn, maintenance, lock, .. } = self;
        drop(maintenance);
        let closed = conn.close().map_err(|(_, error)| error.into());
        drop(lock);
        closed
    }

    /// The writing connection, for the engine's own statements.
    pub(crate) fn conn(&self) -> &Connection {
        &self.conn
    }

    /// Reads which objects in the file belong to the engine; must be called when they have changed.
    pub(crate) fn note_ours(&self) -> Result<()> {
        let sql = format!(
            "{OURS}SELECT name FROM sqlite_schema WHERE name LIKE 'rejoin\\_%' ESCAPE '\\'
             UNION ALL SELECT name FROM sqlite_temp_schema WHERE name LIKE 'rejoin\\_%' ESCAPE '\\'"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let names = statement
            .query_map([], |row| row.get(0))
            .and_then(Iterator::collect::<rusqlite::Result<Vec<String>>>)?;
        self.gate.set_ours(names.into_iter());
        Ok(())
    }

    /// Adds the file's path to a lock error.
    pub(crate) fn named(&self, error: Error) -> Error {
        match error {
            Error::Storage(StorageFault::Locked { .. }) => {
                Error::Storage(StorageFault::Locked { path: self.path.display().to_string() })
            }
            other => other,
        }
    }

    /// Turns triggers on or off. A change makes SQLite compile every statement again, so it pays
    /// off for many rows only. It lasts until a transaction needs triggers.
    pub(crate) fn set_triggers(&self, triggers: Triggers) -> Result<()> {
        let rest = match triggers {
            Triggers::Fire => false,
            Triggers::MayRest => !self.app_has_triggers()?,
            Triggers::MayStayOff => self.triggers_rest.get() && !self.app_has_triggers()?,
            Triggers::Rest => true,
        };
        if rest != self.triggers_rest.get() {
            let config = DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
            self.conn.set_db_config(config, !rest)?;
            self.triggers_rest.set(rest);
        }
        Ok(())
    }

    pub(crate) fn app_has_triggers(&self) -> Result<bool> {
        let one = |sql: &str| {
            let mut statement = self.conn.prepare_cached(&format!("{OURS}{sql}"))?;
            statement.query_row([], |row| row.get(0))
        };
        let version = one("PRAGMA schema_version")?;
        if let Some((known, has)) = self.app_triggers.get()
            && known == version
        {
            return Ok(has);
        }
        let found = one("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' \
             AND name NOT LIKE 'rejoin\\_%' ESCAPE '\\')");
        let has = found? != 0_i64;
        self.app_triggers.set(Some((version, has)));
        Ok(has)
    }

    /// Fails while the engine is suspended.
    pub(crate) fn awake(&self) -> Result<()> {
        if self.suspended.load(Ordering::Acquire) { Err(Error::Suspended) } else { Ok(()) }
    }
}

/// Whether a database contains the tables of Synchro.
pub(crate) fn is_synchro(conn: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' \
               AND name IN ('_synchro_pending_changes', '_synchro_meta')";
    conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|count| count == 2)
}

/// Rejects an app's old Synchro database, which an app that keeps its file name would open: its
/// triggers would continue to write.
fn not_of_synchro(conn: &Connection, path: &Path) -> Result<()> {
    if !is_synchro(conn)? {
        return Ok(());
    }
    // Otherwise closing the last connection would checkpoint its log.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Err(Error::InvalidInput(InputFault::Refused {
        what: path.display().to_string(),
        reason: String::from(
            "it is a database of the Synchro SDK; use another file for Rejoin, and take this one over with import_synchro",
        ),
    }))
}

/// Page cache of the writer, as SQLite has it: negative KiB, at most, and allocated when needed.
/// With SQLite's default, a quarter, a transaction of thousands of rows writes pages to the file and
/// reads them again before its end.
const WRITER_CACHE: i32 = -8_192;

fn settings(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Otherwise an index on a removed column would be an index on a string.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY),
            Some(format!("journal mode is {mode}, not wal")),
        ));
    }
    conn.execute_batch(&format!(
        "PRAGMA synchronous = NORMAL; PRAGMA recursive_triggers = OFF; PRAGMA foreign_keys = ON;
         PRAGMA cache_size = {WRITER_CACHE}; PRAGMA wal_autocheckpoint = {WAL_CAP};
         PRAGMA journal_size_limit = 67108864;"
    ))
}

/// Whether the file has a rollback journal: then a change of it was interrupted. Our files use a
/// write-ahead log, except while they are created.
fn has_journal(path: &Path) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push("-journal");
    std::fs::metadata(PathBuf::from(name)).is_ok_and(|journal| journal.len() > 0)
}

/// Reads the first bytes of an existing file, so that a file that is no database, or is of a newer
/// release, is rejected before anything is written beside it.
fn look_at_header(path: &Path) -> Result<()> {
    use std::io::Read;
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fault::of_file(&error, &path.display().to_string())),
    };
    let mut header = Vec::new();
    file.by_ref()
        .take(100)
        .read_to_end(&mut header)
        .map_err(|error| fault::of_file(&error, &path.display().to_string()))?;
    // A journal that a power cut has left holds the original first page: SQLite must open this file
    // first to read it.
    if header.is_empty() || has_journal(path) {
        return Ok(());
    }
    if header.len() < 100 || !header.starts_with(b"SQLite format 3\0") {
        return Err(StorageFault::Corrupt(String::from("the file is no SQLite database")).into());
    }
    let number =
        |at: usize| header[at..at + 4].iter().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
    migrate::check(number(68), number(60))
}
