//! Where a server's tables are stored: in an SQLite file, or in a PostgreSQL database of the test.

use std::path::{Path, PathBuf};

use rejoin_postgres::Database;
use rejoin_server::Config;
use rusqlite::Connection;
use tempfile::TempDir;

use super::SideSession;
use crate::device::line;

/// Tables that plain test queries read without soft-deleted rows.
const SOFT: [&str; 2] = ["places", "visits"];

/// SQLite terms in the SQL of tests, and their PostgreSQL equivalents.
const WORDS: [(&str, &str); 5] = [
    ("INTEGER", "BIGINT"),
    (" REAL", " DOUBLE PRECISION"),
    (" BLOB", " BYTEA"),
    ("rejoin_", "rejoin."),
    ("group_concat", "string_agg"),
];

/// A kind of database under a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Store {
    /// A file.
    #[default]
    Sqlite,
    /// A separate database. Without PostgreSQL the test fails with `StartError::NoPrograms`.
    Postgres,
}

/// The location of the tables.
#[derive(Debug)]
pub(super) enum Site {
    /// A file.
    File(PathBuf),
    /// A database.
    Postgres(Box<Database>),
}

/// A copy of a server's database.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    File(PathBuf),
    /// The URL of a database.
    Postgres(String),
}

impl Site {
    /// Creates tables with this SQL, and returns the configuration that names their location.
    pub(super) fn new(store: Store, folder: &TempDir, sql: &str) -> (Self, Config) {
        let (site, config) = match store {
            Store::Postgres => {
                let database = Database::new();
                let config = Config::postgres(database.url.as_str());
                (Self::Postgres(Box::new(database)), config)
            }
            Store::Sqlite => {
                let path = folder.path().join("server.db");
                (Self::File(path.clone()), Config::new(path))
            }
        };
        site.run(sql).expect("the server's tables");
        (site, config)
    }

    /// Runs SQL of an outside writer.
    pub(super) fn run(&self, sql: &str) -> Result<(), String> {
        match self {
            Self::File(path) => connect(path).execute_batch(sql).map_err(|error| error.to_string()),
            Self::Postgres(database) => database.session().attempt(&translated(sql)),
        }
    }

    /// An outside writer with an open connection.
    pub(super) fn outside_writer(&self) -> Box<dyn Fn(&str)> {
        match self {
            Self::File(path) => {
                let conn = connect(path);
                Box::new(move |sql| conn.execute_batch(sql).expect("it is written"))
            }
            Self::Postgres(database) => {
                let session = database.session();
                Box::new(move |sql| session.run(&translated(sql)))
            }
        }
    }

    /// A session of another program, which is kept open.
    pub(super) fn side_session(&self) -> SideSession {
        match self {
            Self::File(path) => SideSession::Sqlite(connect(path)),
            Self::Postgres(database) => SideSession::Postgres(database.session()),
        }
    }

    /// Removes a database. A file is removed with its folder.
    pub(super) fn remove(&self) {
        if let Self::Postgres(database) = self {
            database.remove();
        }
    }

    /// The rows of a query, each as a line; see [`super::Backend::see`].
    pub(super) fn see(&self, sql: &str) -> Result<Vec<String>, String> {
        let live = if sql.contains("deleted_at") {
            sql.to_owned()
        } else {
            SOFT.iter().fold(sql.to_owned(), |sql, table| {
                sql.replace(&format!("FROM {table}"), &format!("FROM live_{table}"))
            })
        };
        match self {
            Self::File(path) => {
                let conn = connect(path);
                let rows = || -> rusqlite::Result<Vec<String>> {
                    conn.execute_batch(&views("main"))?;
                    conn.prepare(&live)?.query_map([], line)?.collect()
                };
                rows().map_err(|error| error.to_string())
            }
            Self::Postgres(database) => {
                // In a transaction that ends: a view that remained would block changes of the
                // table's columns.
                let views = if live == sql { String::new() } else { views("public") };
                let query = format!("BEGIN; {views}; {}; ROLLBACK", translated(&live));
                let rows = database.session().cells(&query)?;
                Ok(rows.into_iter().map(|cells| row_as_text(&cells)).collect())
            }
        }
    }

    /// Copies the whole database.
    pub(super) fn back_up(&self, folder: &TempDir) -> Kept {
        match self {
            Self::File(path) => {
                let copy = folder.path().join("backup.db");
                let _ = std::fs::remove_file(&copy);
                let target = copy.to_string_lossy().into_owned();
                connect(path).execute("VACUUM INTO ?1", [target]).expect("a backup");
                Kept::File(copy)
            }
            Self::Postgres(database) => Kept::Postgres(database.copy()),
        }
    }

    /// Replaces the database with a copy; no connection is open.
    pub(super) fn restore(&self, backup: &Kept) {
        match (self, backup) {
            (Self::File(path), Kept::File(copy)) => {
                for suffix in ["-wal", "-shm"] {
                    let mut name = path.clone().into_os_string();
                    name.push(suffix);
                    let _ = std::fs::remove_file(name);
                }
                std::fs::copy(copy, path).expect("the backup is put in place");
            }
            (Self::Postgres(database), Kept::Postgres(copy)) => database.replace_by(copy),
            _ => panic!("a backup of another kind of server"),
        }
    }

    /// The file, where there is one.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Postgres(_) => panic!("this test needs a server over a file"),
        }
    }
}

fn views(space: &str) -> String {
    let view = |table: &&str| {
        format!(
            "CREATE TEMP VIEW live_{table} AS SELECT * FROM {space}.{table} WHERE deleted_at IS NULL"
        )
    };
    SOFT.iter().map(view).collect::<Vec<_>>().join(";")
}

/// Translates SQL to PostgreSQL.
pub(super) fn translated(sql: &str) -> String {
    WORDS.iter().fold(sql.to_owned(), |sql, (ours, theirs)| sql.replace(ours, theirs))
}

fn row_as_text(cells: &[Option<String>]) -> String {
    cells.iter().map(|cell| cell.as_deref().unwrap_or("-")).collect::<Vec<_>>().join("|")
}

pub(super) fn connect(path: &Path) -> Connection {
    let conn = Connection::open(path).expect("the server's file opens");
    conn.busy_timeout(std::time::Duration::from_secs(5)).expect("a timeout is set");
    conn
}
