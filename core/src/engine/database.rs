//! The connections to the file: one that writes, and what guards it.
//!
//! Everything that the engine itself runs is prefixed by [`OURS`], so that an app's statement never meets one of ours in
//! the cache of prepared statements, where the authorizer is not asked again.

pub(crate) mod authorizer;
pub(crate) mod copy;
pub(crate) mod fault;
pub(crate) mod fit;
pub(crate) mod lock;
pub(crate) mod timing;

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::engine::database::timing::Watch;
use crate::engine::migrate;
use crate::error::{Error, Result};
use authorizer::Gate;

/// Begins every cached statement of the engine; no statement of an app may begin so.
pub(crate) const OURS: &str = "/*rejoin*/";

/// Pages in the WAL at which a commit itself makes a checkpoint, when nobody else has: 64 MiB.
const WAL_CAP: i64 = 16_000;

/// Steps of SQLite's machine between two looks at whether the engine is suspended: some ten microseconds.
const STEPS: std::ffi::c_int = 1000;

/// What a transaction asks of triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Triggers {
    /// They fire: local writes are captured, and the app's own see what they shall see.
    Fire,
    /// Many base rows come: if the app has no triggers, all may rest.
    MayRest,
    /// Every table is emptied: they rest, the app's too.
    Rest,
}

/// The writing connection, and what belongs to the file.
#[derive(Debug)]
pub(crate) struct Database {
    conn: Connection,
    pub(crate) path: PathBuf,
    pub(crate) gate: Arc<Gate>,
    pub(crate) suspended: Arc<AtomicBool>,
    /// The time of the action that runs.
    pub(crate) watch: Arc<Watch>,
    /// Whether SQLite compiles triggers into statements; and whether the app has any, as of a version of the schema.
    triggers_rest: Cell<bool>,
    app_triggers: Cell<Option<(i64, bool)>>,
    /// Made when the first checkpoint is asked for.
    pub(crate) maintenance: Option<Connection>,
    /// `None` on a file that is only looked at.
    lock: Option<lock::Lock>,
}

impl Database {
    /// Opens or makes the file, takes its lock, and brings our tables up to date.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        look_at_header(path)?;
        let lock = lock::take(path)?;
        copy::clear_away(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(fault::of)?;
        let number = |conn: &Connection, name: &str| {
            conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).map_err(fault::of)
        };
        if conn.is_readonly("main").map_err(fault::of)? {
            return Err(Error::ReadOnly(path.display().to_string()));
        }
        let application = number(&conn, "application_id")?;
        if application == 0 {
            not_of_synchro(&conn, path)?;
        }
        migrate::check(application, number(&conn, "user_version")?)?;
        settings(&conn).map_err(fault::of)?;
        migrate::migrate(&conn)?;
        Self::around(conn, path, Some(lock))
    }

    /// Opens the file to look at it, beside whoever holds it: takes no lock, writes nothing, changes nothing.
    pub(crate) fn open_to_read(path: &Path) -> Result<Self> {
        look_at_header(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(fault::of)?;
        let number = |name: &str| {
            conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).map_err(fault::of)
        };
        migrate::check_to_read(path, number("application_id")?, number("user_version")?)?;
        conn.busy_timeout(std::time::Duration::from_secs(5)).map_err(fault::of)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(fault::of)?;
        // Even the last to leave brings no log into the file.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(fault::of)?;
        conn.execute_batch("PRAGMA query_only = ON").map_err(fault::of)?;
        Self::around(conn, path, None)
    }

    fn around(mut conn: Connection, path: &Path, lock: Option<lock::Lock>) -> Result<Self> {
        let gate = Arc::new(Gate::default());
        authorizer::install(&mut conn, &gate).map_err(fault::of)?;
        conn.set_prepared_statement_cache_capacity(256);
        let suspended = Arc::<AtomicBool>::default();
        let flag = Arc::clone(&suspended);
        let watch = Arc::<Watch>::default();
        let timed = Arc::clone(&watch);
        // An interrupt is lost on a connection that is idle just then; a flag is not.
        conn.progress_handler(STEPS, Some(move || flag.load(Ordering::Acquire) || timed.is_over()))
            .map_err(fault::of)?;
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

    /// Closes every connection and lets the lock go: no lock of ours remains on the file.
    pub(crate) fn close(self) -> Result<()> {
        let Self { conn, maintenance, lock, .. } = self;
        drop(maintenance);
        let closed = conn.close().map_err(|(_, error)| fault::of(error));
        drop(lock);
        closed
    }

    /// The writing connection, for the engine's own statements.
    pub(crate) fn conn(&self) -> &Connection {
        &self.conn
    }

    /// Learns which objects in the file are the engine's own; to be called when they have changed.
    pub(crate) fn note_ours(&self) -> Result<()> {
        let sql = format!(
            "{OURS}SELECT name FROM sqlite_schema WHERE name LIKE 'rejoin\\_%' ESCAPE '\\'"
        );
        let mut statement = self.conn.prepare_cached(&sql).map_err(fault::of)?;
        let names = statement
            .query_map([], |row| row.get(0))
            .and_then(Iterator::collect::<rusqlite::Result<Vec<String>>>)
            .map_err(fault::of)?;
        self.gate.set_ours(names.into_iter());
        Ok(())
    }

    /// Names the file in an error of a lock.
    pub(crate) fn named(&self, error: Error) -> Error {
        match error {
            Error::Locked { .. } => Error::Locked { path: self.path.display().to_string() },
            other => other,
        }
    }

    /// Lets triggers fire or rest. A change makes SQLite compile every statement anew, so that resting pays for many rows
    /// only, and lasts until a transaction needs them.
    pub(crate) fn set_triggers(&self, triggers: Triggers) -> Result<()> {
        let rest = match triggers {
            Triggers::Fire => false,
            Triggers::MayRest => !self.app_has_triggers()?,
            Triggers::Rest => true,
        };
        if rest != self.triggers_rest.get() {
            let config = DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
            self.conn.set_db_config(config, !rest).map_err(fault::of)?;
            self.triggers_rest.set(rest);
        }
        Ok(())
    }

    fn app_has_triggers(&self) -> Result<bool> {
        let one = |sql: &str| {
            let mut statement = self.conn.prepare_cached(&format!("{OURS}{sql}"))?;
            statement.query_row([], |row| row.get(0))
        };
        let version = one("PRAGMA schema_version").map_err(fault::of)?;
        if let Some((known, has)) = self.app_triggers.get()
            && known == version
        {
            return Ok(has);
        }
        let found = one("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' \
             AND name NOT LIKE 'rejoin\\_%' ESCAPE '\\')");
        let has = found.map_err(fault::of)? != 0_i64;
        self.app_triggers.set(Some((version, has)));
        Ok(has)
    }

    /// Refuses to go on while the engine is suspended.
    pub(crate) fn awake(&self) -> Result<()> {
        if self.suspended.load(Ordering::Acquire) { Err(Error::Suspended) } else { Ok(()) }
    }
}

/// Whether the tables of Synchro stand in a database.
pub(crate) fn is_synchro(conn: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' \
               AND name IN ('_synchro_pending_changes', '_synchro_meta')";
    conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|count| count == 2)
}

/// Refuses an app's old Synchro database, which an app that keeps its file name would open: its tables are not ours, and its
/// triggers would go on writing.
fn not_of_synchro(conn: &Connection, path: &Path) -> Result<()> {
    if !is_synchro(conn).map_err(fault::of)? {
        return Ok(());
    }
    // Else the last to close it would bring its log in.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(fault::of)?;
    Err(Error::Refused {
        what: path.display().to_string(),
        why: String::from(
            "it is a database of the Synchro SDK; give Rejoin a file of its own, and take this one over with import_synchro",
        ),
    })
}

fn settings(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Else an index on a column that is gone would be one on a string.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY),
            Some(format!("journal mode is {mode}, not wal")),
        ));
    }
    conn.execute_batch(&format!(
        "PRAGMA synchronous = NORMAL; PRAGMA recursive_triggers = ON; PRAGMA foreign_keys = ON;
         PRAGMA wal_autocheckpoint = {WAL_CAP}; PRAGMA journal_size_limit = 67108864;"
    ))
}

/// Whether a rollback journal lies beside the file: then a change of it was cut off. Our files use a write-ahead log, except
/// while they are made.
fn has_journal(path: &Path) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push("-journal");
    std::fs::metadata(PathBuf::from(name)).is_ok_and(|journal| journal.len() > 0)
}

/// Reads the first bytes of an existing file, so that a file that is no database, or a newer release's, is refused before
/// anything is written beside it.
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
    // A journal that a power cut has left says what the first page was: only SQLite can read this file, and does so first.
    if header.is_empty() || has_journal(path) {
        return Ok(());
    }
    if header.len() < 100 || !header.starts_with(b"SQLite format 3\0") {
        return Err(Error::Corrupt(String::from("the file is no SQLite database")));
    }
    let number =
        |at: usize| header[at..at + 4].iter().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
    migrate::check(number(68), number(60))
}
