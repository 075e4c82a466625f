//! The server's database: its tables, and direct reads by the controller.
//!
//! A database trigger records every value of a register in order. This is the version order of each
//! register, by which the checker compares two values. It also shows a write that was stored twice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rejoin_postgres::Database;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::Store;

/// Number of registers.
pub(crate) const REGISTERS: usize = 100;

/// The user of all devices, so that each sees all registers.
pub(crate) const USER: &str = "ana";

/// The values of all registers in their order.
pub(crate) const READ_ALL: &str = "SELECT value FROM registers ORDER BY id";

const READ_STORED: &str = "SELECT register, value FROM stored ORDER BY number";

const TABLES: &str = "
CREATE TABLE registers (id TEXT PRIMARY KEY NOT NULL, owner_id TEXT, value TEXT NOT NULL,
    created_at DATETIME, updated_at DATETIME, deleted_at DATETIME);
";

const STORED_SQLITE: &str = "
CREATE TABLE stored (number INTEGER PRIMARY KEY AUTOINCREMENT, register TEXT, value TEXT);
CREATE TRIGGER registers_stored AFTER UPDATE OF value ON registers WHEN OLD.value IS NOT NEW.value
BEGIN INSERT INTO stored (register, value) VALUES (NEW.id, NEW.value); END;
";

/// The number is drawn while the row is locked, so the numbers of one register follow its commits.
const STORED_POSTGRES: &str = "
CREATE TABLE stored (number BIGSERIAL PRIMARY KEY, register TEXT, value TEXT);
CREATE FUNCTION store_register() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO stored (register, value) VALUES (NEW.id, NEW.value); RETURN NULL; END $$;
CREATE TRIGGER registers_stored AFTER UPDATE OF value ON registers FOR EACH ROW
WHEN (OLD.value IS DISTINCT FROM NEW.value) EXECUTE FUNCTION store_register();
";

/// Reads the registers from a SQLite file that another process has open; `None` while that process
/// holds a lock that excludes readers.
pub(crate) fn read_beside(file: &Path) -> Result<Option<Vec<String>>> {
    let read = || -> rusqlite::Result<(String, Vec<String>)> {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let damage: String = connection.query_row("PRAGMA quick_check", [], |row| row.get(0))?;
        let mut statement = connection.prepare(READ_ALL)?;
        let rows = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok((damage, rows))
    };
    match read() {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(None),
        Err(error) => Err(error).with_context(|| file.display().to_string()),
        Ok((damage, rows)) => {
            ensure!(damage == "ok", "{} is damaged: {damage}", file.display());
            Ok(Some(rows))
        }
    }
}

/// The key of a register; keys sort in register order.
pub(crate) fn id(register: usize) -> String {
    format!("r{register:03}")
}

/// Location of the server's tables.
#[derive(Debug)]
pub(crate) enum Site {
    File(PathBuf),
    Postgres(Box<Database>),
}

impl Site {
    /// Creates the tables, with every register empty.
    pub(crate) fn create(store: Store, folder: &Path) -> Result<Self> {
        let seeds: Vec<String> =
            (0..REGISTERS).map(|register| format!("('{}', '{USER}', '')", id(register))).collect();
        let seeds =
            format!("INSERT INTO registers (id, owner_id, value) VALUES {};", seeds.join(","));
        match store {
            Store::Sqlite => {
                let file = folder.join("server.db");
                Connection::open(&file)?
                    .execute_batch(&format!("{TABLES}{STORED_SQLITE}{seeds}"))?;
                Ok(Self::File(file))
            }
            Store::Postgres => {
                let database = Database::create()?;
                let tables = TABLES.replace("DATETIME", "TIMESTAMPTZ");
                database.run(&format!("{tables}{STORED_POSTGRES}{seeds}"));
                Ok(Self::Postgres(Box::new(database)))
            }
        }
    }

    /// The URL of the database, if it is not a file.
    pub(crate) fn postgres_url(&self) -> Option<&str> {
        match self {
            Self::File(_) => None,
            Self::Postgres(database) => Some(&database.url),
        }
    }

    /// The registers.
    pub(crate) fn rows(&self) -> Result<Vec<String>> {
        let rows = self.cells(READ_ALL)?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next()).collect())
    }

    /// The values that each register was set to, in order.
    pub(crate) fn stored(&self) -> Result<Vec<Vec<String>>> {
        let mut stored = vec![Vec::new(); REGISTERS];
        for row in self.cells(READ_STORED)? {
            let [register, value] = row.try_into().map_err(|_| anyhow!("two columns"))?;
            let number: usize = register.trim_start_matches('r').parse()?;
            stored.get_mut(number).with_context(|| register)?.push(value);
        }
        Ok(stored)
    }

    fn cells(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        match self {
            Self::File(path) => {
                let connection = Connection::open(path)?;
                connection.busy_timeout(Duration::from_secs(20))?;
                let mut statement = connection.prepare(sql)?;
                let width = statement.column_count();
                let rows = statement
                    .query_map([], |row| (0..width).map(|column| row.get(column)).collect())?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            }
            Self::Postgres(database) => {
                let rows = database.session().cells(sql).map_err(|why| anyhow!("{why}: {sql}"))?;
                let text =
                    |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default);
                Ok(rows.into_iter().map(|row| text(row).collect()).collect())
            }
        }
    }
}
