//! A server over a fresh file, devices that speak to it, and another program that writes the file.

use std::path::PathBuf;
use std::sync::Arc;

use rejoin_protocol::wire::pull::PullResponse;
use rejoin_protocol::wire::push::{Ending, PushResponse, Verdict};
use rejoin_protocol::wire::row::RowImage;
use rejoin_protocol::wire::snapshot::SnapshotResponse;
use rejoin_server::{Config, ManualClock, RowSecurity, Server, TableConfig};
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::postgres::Database;

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

/// What is declared in another word by PostgreSQL, where a twin is told there.
const WORDS: [(&str, &str); 4] = [
    ("INTEGER PRIMARY KEY", "BIGINT PRIMARY KEY"),
    (" DATETIME", " TIMESTAMP"),
    (" BLOB", " BYTEA"),
    (" WITHOUT ROWID", ""),
];

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) clock: ManualClock,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) config: Config,
    /// Where the tables are, if not in a file.
    pub(crate) database: Option<Database>,
}

/// Whether the running test is the one of its twins that is told over PostgreSQL (`on_postgres.rs`).
pub(crate) fn is_on_postgres() -> bool {
    is_in("on_postgres::") || is_secured()
}

/// Whether it is the one that is told over PostgreSQL with row level security (`on_rls.rs`).
pub(crate) fn is_secured() -> bool {
    is_in("on_rls::")
}

fn is_in(module: &str) -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with(module))
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(TABLES, standard)
    }

    /// Over a file, or over PostgreSQL in a test that is told there; where there is none, over a file after all.
    pub(crate) fn with(tables: &str, configure: impl Fn(Config) -> Config) -> Self {
        if is_on_postgres()
            && let Some(world) = Self::on_postgres(tables, &configure)
        {
            return world;
        }
        Self::in_a_file(tables, configure)
    }

    /// Over a file, wherever the test is told.
    pub(crate) fn in_a_file(tables: &str, configure: impl Fn(Config) -> Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        Connection::open(&path).unwrap().execute_batch(tables).unwrap();
        let config = configure(Config::new(path));
        let clock = ManualClock::at(MORNING);
        let server = Server::open_at(config.clone(), Arc::new(clock.clone())).unwrap();
        Self { server, clock, folder, config, database: None }
    }

    /// `None`, and said so, if there is no PostgreSQL.
    pub(crate) fn on_postgres(tables: &str, configure: impl Fn(Config) -> Config) -> Option<Self> {
        let database = Database::new()?;
        if is_on_postgres() {
            // What the twins' words mean where they were written.
            database.session().run(
                "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
            );
            let tables = WORDS
                .iter()
                .fold(tables.to_owned(), |tables, (ours, theirs)| tables.replace(ours, theirs));
            database.session().run(&tables);
        } else {
            database.session().run(tables);
        }
        let mut world = Self::over(database, configure);
        if is_secured() {
            world.secure();
        }
        Some(world)
    }

    /// A server over this database.
    pub(crate) fn over(database: Database, configure: impl Fn(Config) -> Config) -> Self {
        let config = configure(Config::postgres(database.url.as_str()));
        let clock = ManualClock::at(MORNING);
        let server = Server::open_at(config.clone(), Arc::new(clock.clone())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { server, clock, folder, config, database: Some(database) }
    }

    /// Another node over the same database, by the same clock.
    pub(crate) fn node(&self) -> Self {
        let url = &self.database.as_ref().unwrap().url;
        let mut node = Self::over(Database::at(url), |_| self.config.clone());
        node.clock = self.clock.clone();
        node.restart();
        node
    }

    /// An operator sets row level security up, and the server starts again under it.
    pub(crate) fn secure(&mut self) {
        let database = self.database.as_ref().unwrap();
        let security = RowSecurity { role: database.role("app"), ..RowSecurity::default() };
        self.config.row_security = Some(security);
        database.session().run(&rejoin_server::row_security(&self.config).unwrap());
        self.restart();
    }

    /// Another program writes the tables, wherever they are.
    pub(crate) fn write(&self, sql: &str) {
        match &self.database {
            Some(database) => {
                let session = database.session();
                if is_on_postgres() {
                    // As the outsider of a file: without the foreign keys' triggers.
                    session.run("SET session_replication_role = replica");
                }
                session.run(&sql.replace("rejoin_", "rejoin."));
            }
            None => self.outsider().execute_batch(sql).unwrap(),
        }
    }

    /// Another program begins a transaction of its own, in the words of either database, and goes on in it.
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

    /// Another program reads one cell, as text.
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

    /// The server stops and starts again over the same file.
    pub(crate) fn restart(&mut self) {
        self.server = Server::open_at(self.config.clone(), Arc::new(self.clock.clone())).unwrap();
    }

    /// The database as it now stands, to be restored as one of its own.
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

    /// Another program: a connection that knows nothing of us.
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
        let mut device = Device {
            world: self,
            user: user.into(),
            client_id: client_id.into(),
            version: 0,
            hash: String::new(),
            epoch: String::new(),
            cursor: String::new(),
            request: 0,
            seq: 0,
        };
        device.register().await;
        device
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

pub(crate) struct Device<'a> {
    pub(crate) world: &'a World,
    pub(crate) user: String,
    pub(crate) client_id: String,
    pub(crate) version: i64,
    pub(crate) hash: String,
    pub(crate) epoch: String,
    pub(crate) cursor: String,
    pub(crate) request: i64,
    pub(crate) seq: i64,
}

impl Device<'_> {
    pub(crate) async fn post(&mut self, path: &str, mut body: Value) -> (u16, Value) {
        self.request += 1;
        let frame = json!({
            "client_id": self.client_id, "schema_version": self.version, "schema_hash": self.hash,
        });
        for (name, value) in frame.as_object().unwrap() {
            body.as_object_mut().unwrap().entry(name.clone()).or_insert(value.clone());
        }
        if let Some(rejoin) = body.get_mut("rejoin").and_then(Value::as_object_mut) {
            rejoin.insert("request".into(), json!(self.request));
        }
        let headers = [("X-User-ID", self.user.as_str())];
        let (status, _, answer) = self.world.send("POST", path, &headers, body.to_string()).await;
        (status, answer)
    }

    async fn good<T: DeserializeOwned>(&mut self, path: &str, body: Value) -> T {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        serde_json::from_value(answer).unwrap()
    }

    pub(crate) async fn register(&mut self) -> Value {
        let hello =
            json!({"protocol": 1, "capabilities": ["groups", "events"], "cursor": self.cursor});
        let answer: Value = self
            .good(
                "/sync/register",
                json!({"schema_version": 0, "schema_hash": "", "rejoin": hello}),
            )
            .await;
        self.version = answer["schema_version"].as_i64().unwrap();
        self.hash = answer["schema_hash"].as_str().unwrap().into();
        self.epoch = answer["rejoin"]["epoch"].as_str().unwrap().into();
        answer
    }

    pub(crate) async fn snapshot_page(
        &mut self,
        cursor: Option<Value>,
        limit: i64,
    ) -> SnapshotResponse {
        let rejoin = json!({"epoch": if cursor.is_some() { self.epoch.as_str() } else { "" }});
        self.good("/sync/snapshot", json!({"cursor": cursor, "limit": limit, "rejoin": rejoin}))
            .await
    }

    /// Every page; the rows as `table/id`, and the cursor for pulls is kept.
    pub(crate) async fn snapshot(&mut self, limit: i64) -> Vec<String> {
        let mut names = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.snapshot_page(cursor, limit).await;
            let rejoin = page.rejoin.unwrap();
            assert!(!rejoin.restart);
            self.cursor = rejoin.pull_cursor;
            for set in rejoin.sets {
                let key =
                    set.columns.iter().position(|name| name == "id" || name == "code").unwrap();
                let rows: Vec<Vec<Value>> = serde_json::from_str(set.rows.get()).unwrap();
                names.extend(
                    rows.iter().map(|row| format!("{}/{}", set.table_name, plain(&row[key]))),
                );
            }
            if !page.has_more {
                return names;
            }
            cursor = Some(serde_json::to_value(page.cursor.unwrap()).unwrap());
        }
    }

    pub(crate) async fn pull_page(&mut self, limit: i64) -> PullResponse {
        let rejoin = json!({"cursor": self.cursor});
        let page: PullResponse =
            self.good("/sync/pull", json!({"limit": limit, "rejoin": rejoin})).await;
        if !page.snapshot_required {
            self.cursor.clone_from(&page.rejoin.as_ref().unwrap().cursor);
        }
        page
    }

    /// The rows of a pull or snapshot, by name, as JSON objects.
    pub(crate) async fn pull_rows(&mut self) -> std::collections::BTreeMap<String, Option<Value>> {
        let mut rows = std::collections::BTreeMap::new();
        loop {
            let page = self.pull_page(7).await;
            assert!(!page.snapshot_required, "{:?}", page.snapshot_reason);
            rows.extend(objects(&page.rejoin.as_ref().unwrap().sets));
            for gone in &page.deletes {
                rows.insert(format!("{}/{}", gone.table_name, gone.id), None);
            }
            if !page.has_more {
                return rows;
            }
        }
    }

    pub(crate) async fn snapshot_rows(
        &mut self,
    ) -> std::collections::BTreeMap<String, Option<Value>> {
        let page = self.snapshot_page(None, 1_000).await;
        assert!(!page.has_more);
        let rejoin = page.rejoin.unwrap();
        self.cursor = rejoin.pull_cursor;
        objects(&rejoin.sets).into_iter().collect()
    }

    /// Pulls to the end; live rows as `table/id`, gone ones as `-table/id`.
    pub(crate) async fn pull(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..1_000 {
            let page = self.pull_page(100).await;
            assert!(!page.snapshot_required, "{:?}", page.snapshot_reason);
            names.extend(named(&page));
            if !page.has_more {
                return names;
            }
        }
        panic!("the pull does not end");
    }

    pub(crate) fn group(&mut self, id: &str, changes: &Value) -> Value {
        self.seq += 1;
        json!({
            "id": id, "seq": self.seq, "attempt": 1, "hash": format!("hash of {id}"), "after": [],
            "time": "2026-11-20T08:00:00.000000Z", "changes": changes,
        })
    }

    pub(crate) async fn push_groups(&mut self, groups: Value) -> PushResponse {
        let rejoin = json!({"epoch": self.epoch, "groups": groups, "acked_below": 0});
        self.good("/sync/push", json!({"changes": [], "rejoin": rejoin})).await
    }

    /// One group; its verdict and the rows of the answer.
    pub(crate) async fn push(&mut self, id: &str, changes: Value) -> (Verdict, Vec<RowImage>) {
        let group = self.group(id, &changes);
        self.push_group(group).await
    }

    pub(crate) async fn push_group(&mut self, group: Value) -> (Verdict, Vec<RowImage>) {
        let answer = self.push_groups(json!([group])).await.rejoin.unwrap();
        assert_eq!(answer.verdicts.len(), 1);
        (answer.verdicts[0].clone(), answer.rows)
    }

    pub(crate) async fn accept(&mut self, id: &str, changes: Value) -> Vec<RowImage> {
        let (verdict, rows) = self.push(id, changes).await;
        assert_eq!(verdict.verdict, Ending::Accepted, "{verdict:?}");
        rows
    }
}

pub(crate) fn named(page: &PullResponse) -> Vec<String> {
    let mut names = Vec::new();
    for set in &page.rejoin.as_ref().unwrap().sets {
        let key = set.columns.iter().position(|name| name == "id" || name == "code").unwrap();
        let rows: Vec<Vec<Value>> = serde_json::from_str(set.rows.get()).unwrap();
        names.extend(rows.iter().map(|row| format!("{}/{}", set.table_name, plain(&row[key]))));
    }
    names.extend(page.deletes.iter().map(|row| format!("-{}/{}", row.table_name, row.id)));
    names
}

/// Rows of sets as `table/id` and an object.
pub(crate) fn objects(sets: &[rejoin_protocol::wire::row::RowSet]) -> Vec<(String, Option<Value>)> {
    let mut found = Vec::new();
    for set in sets {
        let rows: Vec<Vec<Value>> = serde_json::from_str(set.rows.get()).unwrap();
        for row in rows {
            let object: serde_json::Map<String, Value> =
                set.columns.iter().cloned().zip(row).collect();
            let key = object.get("id").or(object.get("code")).unwrap();
            found.push((format!("{}/{}", set.table_name, plain(key)), Some(Value::Object(object))));
        }
    }
    found
}

pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A row's column in an answer.
pub(crate) fn column(image: &RowImage, name: &str) -> Value {
    let data: Value = serde_json::from_str(image.data.as_ref().unwrap().get()).unwrap();
    data[name].clone()
}

pub(crate) fn place(id: &str, name: &str) -> Value {
    json!({"operation": "create", "table_name": "places", "id": id, "data": {"name": name}})
}

pub(crate) fn rename(id: &str, old: &str, new: &str) -> Value {
    json!({"operation": "update", "table_name": "places", "id": id,
           "data": {"name": new}, "old": {"name": old}})
}
