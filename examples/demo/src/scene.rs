//! The databases of the demo and their locations.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::site::Site;
use rejoin_postgres::Database;

/// The synced tables, parents first.
pub(crate) const TABLES: [&str; 6] =
    ["places", "visits", "notes", "parts", "inspections", "surveys"];

/// The user of both devices.
pub(crate) const USER: &str = "inspectors";

/// The tables of the server's database before Rejoin is added. The manifest does not contain the
/// CHECK, so a device accepts a write that violates it.
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
CREATE TABLE team_member (
    user_id TEXT NOT NULL, team TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (user_id, team));
CREATE TABLE inspections (
    id TEXT PRIMARY KEY NOT NULL, team TEXT, created_by TEXT, place TEXT, state TEXT, note TEXT,
    created_at DATETIME, updated_at DATETIME, deleted_at DATETIME);
CREATE TABLE sites (id TEXT PRIMARY KEY NOT NULL, team TEXT NOT NULL);
CREATE TABLE surveys (
    id TEXT PRIMARY KEY NOT NULL, site TEXT, finding TEXT,
    created_at DATETIME, updated_at DATETIME, deleted_at DATETIME);
";

/// The locations of all databases and logs.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) folder: PathBuf,
    /// The server's database, if it is not a file in the folder.
    pub(crate) postgres: Option<Arc<Database>>,
}

/// The name of the server, used like a device name.
const SERVER: &str = "server";

impl Scene {
    pub(crate) fn server(&self) -> Site {
        self.device(SERVER)
    }

    /// The tables of a device, or of the server by its name.
    pub(crate) fn device(&self, name: &str) -> Site {
        match &self.postgres {
            Some(database) if name == SERVER => Site::Postgres(database.clone()),
            _ => Site::File(self.file(name)),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.db"))
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

/// Every row of a query, each cell as text; NULL is `-`.
pub(crate) fn rows(site: &Site, sql: &str) -> Result<Vec<Vec<String>>> {
    site.rows(sql)
}

/// The first cell of the first row of a query, or `(no row)`.
pub(crate) fn cell(site: &Site, sql: &str) -> Result<String> {
    let mut rows = rows(site, sql)?;
    Ok(match rows.first_mut() {
        Some(row) if !row.is_empty() => row.swap_remove(0),
        _ => "(no row)".to_owned(),
    })
}

/// The first cell as a number.
pub(crate) fn number(site: &Site, sql: &str) -> Result<i64> {
    let text = cell(site, sql)?;
    text.parse().with_context(|| format!("{sql}: {text} is no number"))
}

/// Damages tables for `--sabotage`.
pub(crate) fn tamper(site: &Site, sql: &str) -> Result<()> {
    site.tamper(sql)
}
