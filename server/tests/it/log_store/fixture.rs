//! A store with log tables, and a log in it.

use std::sync::Arc;
use std::time::Duration;

use rejoin_log::effect::{Effect, Effects};
use rejoin_log::entry::{Offer, Revision};
use rejoin_log::fixture::{Column, author, buckets, entry, image, row};
use rejoin_log::ids::{Buckets, Epoch, Name, UserId};
use rejoin_log::key::Key;
use rejoin_log::message::{Cursor, EpochStamp, Fetch, Fetched, Page, Publish, Published};
use rejoin_log::server::contract::Clause;
use rejoin_log::server::store::LogStore;
use rejoin_log::server::{Limits, Server, ServerError};
use rejoin_log::store::StoreError;
use rejoin_postgres::Database;
use rejoin_protocol::manifest::SyncModel;
use rejoin_server::error::Fault;
use rejoin_server::store::postgres::PostgresStore;
use rejoin_server::store::sqlite::SqliteStore;
use rejoin_server::store::{LogTables, Store, read, write};
use rejoin_server::{PostgresUrl, TableConfig};
use rusqlite::Connection;
use uuid::Uuid;

use super::wrapped::{EachCall, Wrapped};
use crate::world::Backend;

pub(super) const NOW: &str = "2026-11-20T08:00:00.000000Z";

/// The tables of the log's own fixture.
const TABLES: &str = r#"
    CREATE TABLE r(id TEXT PRIMARY KEY, "buckets" TEXT NOT NULL, "text" TEXT, "number" BIGINT NOT NULL DEFAULT 7,
      "owner" TEXT);
    CREATE TABLE k(id TEXT PRIMARY KEY, "buckets" TEXT, "text" TEXT, "number" BIGINT, "owner" TEXT);"#;

const LIMITS: Limits = Limits { drift: 1_000, retention: 1_000 };

/// The server's time.
pub(super) const TIME: u64 = 1_000_000;

/// A database with the log's tables.
pub(super) struct Fresh {
    pub(super) store: Arc<dyn Store>,
    pub(super) database: Option<Database>,
    folder: tempfile::TempDir,
    names: Vec<String>,
}

pub(super) fn fresh(backend: Backend) -> Fresh {
    with(backend, TABLES, &["r", "k"])
}

/// A store over these tables, all written by the log.
pub(super) fn with(backend: Backend, tables: &str, names: &[&str]) -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let database = (backend != Backend::Sqlite).then(Database::new);
    if let Some(database) = &database {
        database.run(tables);
    } else {
        let path = folder.path().join("app.db");
        Connection::open(path).unwrap().execute_batch(tables).unwrap();
    }
    let store = open(&folder, database.as_ref(), &names).unwrap();
    Fresh { store, database, folder, names }
}

/// Tables of the log. The stores do not look at their buckets.
pub(super) fn of_log(names: &[String]) -> Vec<TableConfig> {
    let log = |name: &String| TableConfig { sync: SyncModel::Log, ..TableConfig::new(name) };
    names.iter().map(log).collect()
}

pub(super) fn open(
    folder: &tempfile::TempDir,
    database: Option<&Database>,
    names: &[String],
) -> Result<Arc<dyn Store>, rejoin_server::ServerError> {
    let (wait, tables) = (Duration::from_secs(30), of_log(names));
    Ok(if let Some(database) = database {
        let url = PostgresUrl::from(database.url.clone());
        Arc::new(PostgresStore::open(&url, &tables, wait, NOW)?)
    } else {
        let path = folder.path().join("app.db");
        Arc::new(SqliteStore::open(&path, &tables, wait, NOW)?)
    })
}

impl Fresh {
    /// Another store over the same database: another node.
    pub(super) fn node(&self) -> Arc<dyn Store> {
        open(&self.folder, self.database.as_ref(), &self.names).unwrap()
    }

    pub(super) fn file(&self) -> Connection {
        Connection::open(self.folder.path().join("app.db")).unwrap()
    }

    /// Runs statements as another program.
    pub(super) fn run(&self, sql: &str) {
        match &self.database {
            Some(database) => database.run(sql),
            None => self.file().execute_batch(sql).unwrap(),
        }
    }

    /// Every row of these tables, as text.
    pub(super) fn rows(&self, tables: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        for table in tables {
            if let Some(database) = &self.database {
                let name = table.replace("rejoin_", "rejoin.");
                let rows = database
                    .session()
                    .lines(&format!("SELECT t::text FROM {name} AS t ORDER BY 1"));
                lines.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
                continue;
            }
            let file = self.file();
            let mut statement =
                file.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
            let width = statement.column_count();
            let rows = statement.query_map([], |row| {
                let cells = (0..width).map(|at| row.get::<_, rejoin_protocol::Value>(at).unwrap());
                Ok(format!("{table}: {:?}", cells.collect::<Vec<_>>()))
            });
            lines.extend(rows.unwrap().map(Result::unwrap));
        }
        lines
    }

    /// Everything that the log stores.
    pub(super) fn all(&self) -> Vec<String> {
        self.rows(&[
            "rejoin_log_facts",
            "rejoin_log_entry",
            "rejoin_log_base",
            "rejoin_log_link",
            "rejoin_log_final",
            "rejoin_log_author",
            "rejoin_log_member",
            "r",
            "k",
        ])
    }
}

pub(super) fn each_call(fresh: &Fresh) -> Wrapped<EachCall> {
    Wrapped(EachCall(Arc::clone(&fresh.store)))
}

/// Runs a clause of the contract of stores in one batch.
pub(super) fn in_batch(backend: Backend, clause: Clause) {
    write(&*fresh(backend).store, NOW, |writing| {
        let log = writing.log();
        let done = log.batched(|| {
            clause(&mut { log });
            Ok::<_, StoreError>(())
        });
        done.map_err(|error| log.fault(error))
    })
    .unwrap();
}

fn epoch() -> Epoch {
    Epoch(Uuid::from_u128(1))
}

fn user() -> UserId {
    UserId(Name::from("anna"))
}

/// The fault of an error of the log.
pub(super) fn fault(log: LogTables<'_>, error: ServerError) -> Fault {
    match error {
        ServerError::Store(error) => log.fault(error),
        other => Fault::Internal(other.to_string()),
    }
}

/// A log with this many authors of one user, who is a member of `a` and `b`.
pub(super) fn create(store: &dyn Store, authors: u128) {
    write(store, NOW, |writing| {
        let log = writing.log();
        let all = || {
            let mut server = Server::create(log, epoch(), Arc::new(Column), LIMITS)?;
            (1..=authors).try_for_each(|number| server.register(author(number), user()))?;
            server.set_buckets(&user(), buckets("a b"), Buckets::default())
        };
        all().map_err(|error| log.fault(error))
    })
    .unwrap();
}

pub(super) fn server<S: LogStore>(log: S) -> Server<S> {
    Server::open(log, Arc::new(Column), LIMITS).unwrap()
}

/// An entry of `by` that inserts a row.
pub(super) fn insert(by: u128, number: u64, id: &str) -> Offer {
    offer(by, number, [(row(id), Effect::Insert(image("a", id)))].into_iter().collect())
}

pub(super) fn offer(by: u128, number: u64, effects: Effects) -> Offer {
    let id = entry(by * 1_000_000 + u128::from(number));
    let key = Key { millis: number, counter: number, author: author(by), id };
    Offer { key, time: number, intent: None, revision: Revision(0), effects }
}

pub(super) fn request(number: u64, offers: Vec<Offer>) -> Publish {
    Publish { stamp: EpochStamp { epoch: epoch(), membership: 1 }, number, offers }
}

/// Publishes in one transaction; `before_commit` runs after the state machine is done.
pub(super) fn publish_then(
    store: &dyn Store,
    by: u128,
    request: &Publish,
    mut before_commit: impl FnMut(),
) -> Result<Published, Fault> {
    write(store, NOW, |writing| {
        let log = writing.log();
        let published = Server::open(log, Arc::new(Column), LIMITS)
            .map_err(ServerError::from)
            .and_then(|mut server| log.batched(|| server.publish(author(by), request, TIME)));
        before_commit();
        published.map_err(|error| fault(log, error))
    })
}

pub(super) fn publish(
    store: &dyn Store,
    by: u128,
    number: u64,
    offers: Vec<Offer>,
) -> Result<Published, Fault> {
    publish_then(store, by, &request(number, offers), || ())
}

/// A page of the feed for author 1.
pub(super) fn fetch(store: &dyn Store, cursor: Cursor) -> Page {
    let stamp = EpochStamp { epoch: epoch(), membership: 1 };
    let fetched = read(store, |reading| {
        let log = reading.log();
        let fetch = Fetch { stamp, cursor, limit: 1_000 };
        server(log).fetch(author(1), &fetch).map_err(|error| fault(log, error))
    });
    let Fetched::Page(page) = fetched.unwrap() else { panic!("a page") };
    page
}
