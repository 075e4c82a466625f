//! The database of a device or the server: an SQLite file or PostgreSQL. The controller reads it
//! with plain SQL while other processes have it open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use rejoin_protocol::{ColumnKind, Value, time};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::scene::TABLES;
use rejoin_postgres::{Database, Session};

/// A database.
#[derive(Debug, Clone)]
pub(crate) enum Site {
    File(PathBuf),
    Postgres(Arc<Database>),
}

impl Site {
    /// Every row of a query, each cell as text; NULL is `-`.
    pub(crate) fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        match self {
            Self::File(path) => rows_of_a_file(path, sql),
            Self::Postgres(database) => Ok(cells(&database.session(), sql)?
                .into_iter()
                .map(|row| row.into_iter().map(|cell| cell.unwrap_or("-".to_owned())).collect())
                .collect()),
        }
    }

    /// The cells of a query, decoded by the kinds of their columns.
    pub(crate) fn values(&self, sql: &str, kinds: &[ColumnKind]) -> Result<Vec<Vec<Value>>> {
        match self {
            Self::File(path) => {
                let connection = open(path)?;
                let mut statement = connection.prepare(sql)?;
                let rows = statement
                    .query_map([], |row| (0..kinds.len()).map(|at| row.get(at)).collect())?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            }
            Self::Postgres(database) => cells(&database.session(), sql)?
                .into_iter()
                .map(|row| {
                    row.into_iter().zip(kinds).map(|(cell, kind)| value(cell, *kind)).collect()
                })
                .collect(),
        }
    }

    /// Runs SQL as a program other than the server.
    pub(crate) fn run(&self, sql: &str) -> Result<()> {
        match self {
            Self::File(path) => {
                let connection = Connection::open(path)?;
                connection.busy_timeout(std::time::Duration::from_secs(5))?;
                connection.execute_batch(sql).with_context(|| sql.to_owned())
            }
            Self::Postgres(database) => {
                database.session().attempt(&in_postgres(sql)).map_err(|why| anyhow!("{why}: {sql}"))
            }
        }
    }

    /// Damages the tables for `--sabotage`, with Rejoin's triggers disabled.
    pub(crate) fn tamper(&self, sql: &str) -> Result<()> {
        let silent: Vec<String> = match self {
            Self::File(_) => {
                let triggers = "SELECT name FROM sqlite_schema WHERE type = 'trigger'";
                let names = self.rows(triggers)?.into_iter().flatten();
                names.map(|name| format!("DROP TRIGGER \"{name}\"")).collect()
            }
            Self::Postgres(_) => TABLES
                .iter()
                .map(|table| format!("ALTER TABLE {table} DISABLE TRIGGER USER"))
                .collect(),
        };
        self.run(&format!("{};{sql}", silent.join(";"))).with_context(|| format!("sabotage: {sql}"))
    }
}

/// Translates type and table names of SQLite to those of PostgreSQL.
fn in_postgres(sql: &str) -> String {
    [("DATETIME", "TIMESTAMPTZ"), (" REAL", " DOUBLE PRECISION"), ("rejoin_", "rejoin.")]
        .iter()
        .fold(sql.to_owned(), |sql, (ours, theirs)| sql.replace(ours, theirs))
}

fn cells(session: &Session, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
    let sql = format!("SET TimeZone = 'UTC'; {}", in_postgres(sql));
    session.cells(&sql).map_err(|why| anyhow!("{why}: {sql}"))
}

/// Converts a cell of PostgreSQL to the value that SQLite stores.
fn value(cell: Option<String>, kind: ColumnKind) -> Result<Value> {
    let Some(text) = cell else { return Ok(Value::Null) };
    Ok(match kind {
        ColumnKind::Int | ColumnKind::Int64 => Value::Integer(text.parse()?),
        ColumnKind::Float => Value::Real(text.parse()?),
        ColumnKind::Boolean => Value::Integer(i64::from(text == "t")),
        ColumnKind::Datetime => {
            let utc =
                text.strip_suffix("+00").map_or_else(|| text.clone(), |bare| format!("{bare}Z"));
            Value::Text(time::format(time::parse(&utc).context("an instant")?))
        }
        _ => Value::Text(text),
    })
}

/// Opens a file for reading.
fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .with_context(|| format!("cannot open {}", path.display()))?;
    connection.pragma_update(None, "query_only", true)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

fn rows_of_a_file(path: &Path, sql: &str) -> Result<Vec<Vec<String>>> {
    let connection = open(path)?;
    let mut statement = connection.prepare(sql).with_context(|| sql.to_owned())?;
    let width = statement.column_count();
    let rows = statement.query_map([], |row| {
        (0..width)
            .map(|index| {
                Ok(match row.get_ref(index)? {
                    ValueRef::Null => "-".to_owned(),
                    ValueRef::Integer(number) => number.to_string(),
                    ValueRef::Real(number) => number.to_string(),
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    ValueRef::Blob(bytes) => hex(bytes),
                })
            })
            .collect()
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
