//! The test fixture: a server over a fresh database, and another program that writes it.

use std::path::PathBuf;
use std::sync::Arc;

use rejoin_postgres::{Database, Pooler};
use rejoin_server::{Config, ManualClock, RowSecurity, Server, TableConfig};
use rusqlite::Connection;
use serde_json::Value;

pub(crate) use crate::device::{
    Device, column, create, delete, ended, erase, named, objects, place, record, rename, score,
    update,
};

/// 2026-11-20T08:00:00Z.
pub(crate) const MORNING: i64 = 1_795_161_600_000_000;

pub(crate) const TABLES: &str = "
    CREATE TABLE places(
      id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, name TEXT NOT NULL, score INTEGER DEFAULT 0,
      created_at TEXT, updated_at TEXT, deleted_at TEXT, CHECK (score IS NULL OR score >= 0));
    CREATE TABLE visits(
      id TEXT PRIMARY KEY, place_id TEXT NOT NULL REFERENCES places(id), note TEXT,
      updated_at TEXT, deleted_at TEXT);
    CREATE TABLE tags(id INTEGER PRIMARY KEY, visit_id TEXT NOT NULL, label TEXT, updated_at TEXT);
    CREATE TABLE countries(code TEXT PRIMARY KEY, name TEXT, updated_at TEXT);
    CREATE TABLE secrets(id TEXT PRIMARY KEY, body TEXT, updated_at TEXT);
";

/// SQLite types, and their PostgreSQL equivalents.
const DIALECT: [(&str, &str); 4] = [
    ("INTEGER PRIMARY KEY", "BIGINT PRIMARY KEY"),
    (" DATETIME", " TIMESTAMP"),
    (" BLOB", " BYTEA"),
    (" WITHOUT ROWID", ""),
];

/// Compares text as SQLite's NOCASE does.
const NOCASE: &str =
    "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);";

/// The number of cases of a generated test, multiplied by `REJOIN_CASES`.
pub(crate) fn cases(count: u64) -> u64 {
    let factor = std::env::var("REJOIN_CASES").ok().and_then(|text| text.parse().ok());
    count * factor.unwrap_or(1)
}

/// The store of the server under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
    PostgresRls,
    /// With row level security, through a PgBouncer with fewer sessions than the pool has connections.
    PostgresPooled,
}

impl From<Backend> for World {
    fn from(backend: Backend) -> Self {
        Self::new(backend)
    }
}

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) clock: ManualClock,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) config: Config,
    /// The PostgreSQL database, if the store is not a file.
    pub(crate) database: Option<Database>,
    /// The PgBouncer in front of it, if there is one.
    pub(crate) pooler: Option<Pooler>,
    /// Whether SQL is written for SQLite and translated.
    is_translated: bool,
}

impl World {
    pub(crate) fn new(backend: Backend) -> Self {
        Self::with(backend, TABLES, standard)
    }

    /// A server over these tables, declared in SQLite's syntax.
    pub(crate) fn with(
        backend: Backend,
        tables: &str,
        configure: impl Fn(Config) -> Config,
    ) -> Self {
        if backend == Backend::Sqlite {
            return Self::in_a_file(tables, configure);
        }
        let database = Database::new();
        let start = if tables.contains("NOCASE") { NOCASE } else { "" };
        let tables = DIALECT
            .iter()
            .fold(tables.to_owned(), |tables, (sqlite, postgres)| tables.replace(sqlite, postgres));
        database.run(&format!("{start} {tables}"));
        let configure = |config: Config| match backend {
            Backend::PostgresRls | Backend::PostgresPooled => {
                let role = database.role("app");
                let config = configure(config)
                    .with_row_security(RowSecurity { role, ..RowSecurity::default() });
                database.run(&rejoin_server::row_security(&config).unwrap());
                config
            }
            _ => configure(config),
        };
        let mut config = configure(Config::postgres(database.url.as_str()));
        let pooler = (backend == Backend::PostgresPooled).then(|| Pooler::to(&database.url, 3));
        config.pooler = pooler.as_ref().map(|pooler| pooler.url.as_str().into());
        let world = Self::over(database, |_| config.clone());
        Self { is_translated: true, pooler, ..world }
    }

    fn in_a_file(tables: &str, configure: impl Fn(Config) -> Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        Connection::open(&path).unwrap().execute_batch(tables).unwrap();
        Self::open(configure(Config::new(path)), folder, None)
    }

    /// A server over PostgreSQL, with tables in its syntax.
    pub(crate) fn postgres(tables: &str, configure: impl Fn(Config) -> Config) -> Self {
        let database = Database::new();
        database.run(tables);
        Self::over(database, configure)
    }

    /// A server over this database.
    pub(crate) fn over(database: Database, configure: impl Fn(Config) -> Config) -> Self {
        let config = configure(Config::postgres(database.url.as_str()));
        Self::open(config, tempfile::tempdir().unwrap(), Some(database))
    }

    pub(crate) fn open(
        config: Config,
        folder: tempfile::TempDir,
        database: Option<Database>,
    ) -> Self {
        let clock = ManualClock::at(MORNING);
        let server = Server::open_at(config.clone(), Arc::new(clock.clone())).unwrap();
        let (is_translated, pooler) = (false, None);
        Self { server, clock, folder, config, database, pooler, is_translated }
    }

    /// Another node over the same database, with the same clock.
    pub(crate) fn node(&self) -> Self {
        let url = &self.database().url;
        let mut node = Self::over(Database::at(url), |_| self.config.clone());
        node.clock = self.clock.clone();
        node.restart();
        node
    }

    pub(crate) fn database(&self) -> &Database {
        self.database.as_ref().expect("the tables are in a file")
    }

    pub(crate) fn is_secured(&self) -> bool {
        self.config.row_security.is_some()
    }

    /// Sets up row level security and restarts the server under it.
    pub(crate) fn secure(&mut self) {
        let role = self.database().role("app");
        self.config.row_security = Some(RowSecurity { role, ..RowSecurity::default() });
        self.database().run(&rejoin_server::row_security(&self.config).unwrap());
        self.restart();
    }

    /// Writes as another program, in either store.
    pub(crate) fn write(&self, sql: &str) {
        let Some(database) = &self.database else {
            return self.outsider().execute_batch(sql).unwrap();
        };
        let sql = sql.replace("rejoin_", "rejoin.");
        if self.is_translated {
            // Without foreign key triggers, like another program on a file.
            database.run(&format!("SET session_replication_role = replica; {sql}"));
        } else if sql.starts_with("SET ") {
            // The setting ends with the session.
            database.session().run(&sql);
        } else {
            database.run(&sql);
        }
    }

    /// Begins a transaction as another program, with a statement per store; returns a function for
    /// further statements.
    pub(crate) fn hold(&self, in_file: &str, on_postgres: &str) -> Box<dyn Fn(&str)> {
        if let Some(database) = &self.database {
            let session = database.session();
            session.run(on_postgres);
            return Box::new(move |sql| session.run(sql));
        }
        let outsider = self.outsider();
        outsider.execute_batch(in_file).unwrap();
        Box::new(move |sql| outsider.execute_batch(sql).unwrap())
    }

    /// Reads one cell as another program, as text.
    pub(crate) fn one(&self, sql: &str) -> String {
        if let Some(database) = &self.database {
            return database.one(&sql.replace("rejoin_", "rejoin."));
        }
        match self.outsider().query_row(sql, [], |row| row.get(0)).unwrap() {
            rejoin_protocol::Value::Text(text) => text,
            rejoin_protocol::Value::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    /// Restarts the server over the same database.
    pub(crate) fn restart(&mut self) {
        self.server = Server::open_at(self.config.clone(), Arc::new(self.clock.clone())).unwrap();
    }

    /// A copy of the current database, to be restored as a separate one.
    pub(crate) fn backup(&self) -> Config {
        let mut config = self.config.clone();
        if let Some(database) = &self.database {
            config.store = Some(database.copy().into());
            return config;
        }
        config.database = self.folder.path().join("backup.db");
        let path = config.database.to_str().unwrap();
        self.outsider().execute("VACUUM INTO ?1", [path]).unwrap();
        config
    }

    /// A connection of another program, without the server's functions.
    pub(crate) fn outsider(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.pragma_update(None, "foreign_keys", false).unwrap();
        connection.pragma_update(None, "synchronous", "off").unwrap();
        connection
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> (u16, Vec<(String, String)>, Value) {
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let (status, headers, body) = self.server.handle(method, path, &headers, body.into()).await;
        (status, headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// A registered device of this user.
    pub(crate) async fn device(&self, user: &str, client_id: &str) -> Device<'_> {
        Device::registered(self, user, client_id).await
    }
}

pub(crate) fn standard(config: Config) -> Config {
    config
        .with_table(TableConfig::owned("places", "owner_id"))
        .with_table(TableConfig::child("visits", "places", "place_id"))
        .with_table(TableConfig::child("tags", "visits", "visit_id"))
        .with_table(TableConfig::global("countries"))
        .with_table(TableConfig::new("secrets"))
}
