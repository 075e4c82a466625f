//! The files of the story, and how the narrator looks into them: plain SQLite, read-only, beside whoever has them open.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};

/// The tables that are synced, parents first.
pub(crate) const TABLES: [&str; 4] = ["places", "visits", "notes", "parts"];

/// The user to whom both devices belong.
pub(crate) const USER: &str = "inspectors";

/// What the server's database looks like before Rejoin comes to it. The CHECK is the server's own: the manifest does not
/// carry it, so a device can write what it refuses.
pub(crate) const SERVER_TABLES: &str = "
CREATE TABLE places (
    id TEXT PRIMARY KEY NOT NULL, owner_id TEXT, name TEXT NOT NULL, country TEXT, latitude REAL, longitude REAL,
    population INTEGER, timezone TEXT, status TEXT, inspector TEXT,
    created_at DATETIME, updated_at DATETIME, deleted_at DATETIME);
CREATE TABLE visits (
    id TEXT PRIMARY KEY NOT NULL, place_id TEXT NOT NULL REFERENCES places (id), visited_at DATETIME, score INTEGER,
    created_at DATETIME, updated_at DATETIME, deleted_at DATETIME,
    CONSTRAINT score_is_a_percentage CHECK (score BETWEEN 0 AND 100));
CREATE TABLE notes (
    id TEXT PRIMARY KEY NOT NULL, visit_id TEXT NOT NULL REFERENCES visits (id), body TEXT,
    created_at DATETIME, updated_at DATETIME, deleted_at DATETIME);
CREATE TABLE parts (
    id TEXT PRIMARY KEY NOT NULL, owner_id TEXT, name TEXT NOT NULL, stock INTEGER,
    created_at DATETIME, updated_at DATETIME, deleted_at DATETIME);
";

/// Where everything lies.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) folder: PathBuf,
}

impl Scene {
    pub(crate) fn server(&self) -> PathBuf {
        self.folder.join("server.db")
    }

    pub(crate) fn device(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.db"))
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

/// Opens a file for looking.
pub(crate) fn look(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .with_context(|| format!("cannot open {}", path.display()))?;
    connection.pragma_update(None, "query_only", true)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

/// Every row of a query, each cell as text; NULL is `-`.
pub(crate) fn rows(path: &Path, sql: &str) -> Result<Vec<Vec<String>>> {
    let connection = look(path)?;
    let mut statement = connection.prepare(sql).with_context(|| sql.to_owned())?;
    let width = statement.column_count();
    let rows = statement.query_map([], |row| {
        (0..width)
            .map(|index| {
                Ok(match row.get_ref(index)? {
                    rusqlite::types::ValueRef::Null => "-".to_owned(),
                    rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                    rusqlite::types::ValueRef::Real(number) => number.to_string(),
                    rusqlite::types::ValueRef::Text(text) => {
                        String::from_utf8_lossy(text).into_owned()
                    }
                    rusqlite::types::ValueRef::Blob(bytes) => hex(bytes),
                })
            })
            .collect()
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The first cell of the first row of a query, or `(no row)`.
pub(crate) fn cell(path: &Path, sql: &str) -> Result<String> {
    let mut rows = rows(path, sql)?;
    Ok(match rows.first_mut() {
        Some(row) if !row.is_empty() => row.swap_remove(0),
        _ => "(no row)".to_owned(),
    })
}

/// The first cell as a number.
pub(crate) fn number(path: &Path, sql: &str) -> Result<i64> {
    let text = cell(path, sql)?;
    text.parse().with_context(|| format!("{sql}: {text} is no number"))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Breaks a file on purpose, as only a sabotage does: with our triggers out of the way.
pub(crate) fn tamper(path: &Path, sql: &str) -> Result<()> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let triggers: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for trigger in triggers {
        connection.execute_batch(&format!("DROP TRIGGER \"{trigger}\""))?;
    }
    connection.execute_batch(sql).with_context(|| format!("sabotage: {sql}"))
}
