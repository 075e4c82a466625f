//! The old file: copied beside ours, opened there, and validated.
//!
//! A copy, because only a writing connection can recover a log or roll back an interrupted
//! transaction; the old file itself is never opened by SQLite and stays unchanged. It must not be
//! open meanwhile: two files copied at different moments are no database.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::engine::database::copy::Copy;
use crate::engine::database::{fault, is_synchro};
use crate::engine::migrate::APPLICATION_ID;
use crate::error::{Error, InputFault, Result, StorageFault};

/// An opened old file.
#[derive(Debug)]
pub(crate) struct OldFile {
    conn: Connection,
    /// As the app named it; for messages.
    pub(super) name: String,
    /// Dropped after the connection.
    _copy: Copy,
}

/// The columns of the old queue; other columns belong to another version of the SDK.
const QUEUE: [&str; 5] =
    ["base_updated_at", "client_updated_at", "operation", "record_id", "table_name"];

impl OldFile {
    /// Copies the file and its log beside `ours`, and opens the copy.
    pub(crate) fn copy(old: &Path, ours: &Path) -> Result<Self> {
        let name = old.display().to_string();
        let named = |error: std::io::Error| fault::of_file(&error, &name);
        let old = old.canonicalize().map_err(named)?;
        if old == ours {
            return Err(refused(&name, "it is the file of this client itself"));
        }
        look_at_header(&old, &name)?;
        let copy = Copy::beside(ours).map_err(|error| fault::of_file(&error, "the copy"))?;
        let target = copy.file("old.db");
        copy_bytes(&old, &target).map_err(named)?;
        for suffix in ["-wal", "-journal"] {
            let log = with_suffix(&old, suffix);
            if log.exists() {
                copy_bytes(&log, &with_suffix(&target, suffix)).map_err(named)?;
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&target, flags)?;
        let file = Self { conn, name, _copy: copy };
        file.run(|conn| {
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map(drop)
        })?;
        file.test()?;
        Ok(file)
    }

    /// Runs a query on the old file; errors name the file.
    pub(super) fn run<T>(
        &self,
        body: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        body(&self.conn).map_err(|error| match Error::from(error) {
            Error::Storage(StorageFault::Corrupt(words)) => {
                Error::Storage(StorageFault::Corrupt(format!("{}: {words}", self.name)))
            }
            Error::InvalidInput(InputFault::Sql(error)) => {
                self.refused(format!("it cannot be read: {error}"))
            }
            other => other,
        })
    }

    /// The error for a file that cannot be imported.
    pub(super) fn refused(&self, why: impl Into<String>) -> Error {
        refused(&self.name, why)
    }

    /// Checks that it is an intact database with the tables of Synchro.
    fn test(&self) -> Result<()> {
        let found: String =
            self.run(|conn| conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)))?;
        if found != "ok" {
            return Err(StorageFault::Corrupt(format!("{}: {found}", self.name)).into());
        }
        if !self.run(is_synchro)? {
            return Err(
                self.refused("it is no database of the Synchro SDK: its tables are missing")
            );
        }
        let mut columns = self.columns("_synchro_pending_changes")?;
        columns.sort();
        if columns != QUEUE {
            return Err(self.refused(
                "it was written by a version of the Synchro SDK that this release does not know; send its unsent \
                 edits with the app that wrote it",
            ));
        }
        Ok(())
    }
}

/// Copies only the bytes: the copy of a read-only file must be writable.
fn copy_bytes(from: &Path, to: &Path) -> std::io::Result<()> {
    std::io::copy(&mut fs::File::open(from)?, &mut fs::File::create_new(to)?).map(drop)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn refused(name: &str, why: impl Into<String>) -> Error {
    Error::InvalidInput(InputFault::Refused {
        what: format!("the import of {name}"),
        reason: why.into(),
    })
}

fn look_at_header(path: &Path, name: &str) -> Result<()> {
    let mut header = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(100).read_to_end(&mut header))
        .map_err(|error| fault::of_file(&error, name))?;
    if header.len() < 100 || !header.starts_with(b"SQLite format 3\0") {
        return Err(StorageFault::Corrupt(format!("{name} is no SQLite database")).into());
    }
    let application = header[68..72].iter().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
    if application == APPLICATION_ID {
        return Err(refused(name, "it is a Rejoin database already; open it instead"));
    }
    Ok(())
}
