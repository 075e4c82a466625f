//! A fresh store for each test, with rows of one user.

use std::time::Duration;

use rejoin_protocol::Value;
use rejoin_server::store::postgres::PostgresStore;
use rejoin_server::store::sqlite::SqliteStore;
use rejoin_server::store::{Store, StoreWrite, WriteError, write};
use rejoin_server::{Config, PostgresUrl, TableConfig};
use rusqlite::Connection;

use super::NOW;
use crate::world::{Backend, TABLES, standard};
use rejoin_postgres::Database;

pub(super) fn tables() -> Vec<TableConfig> {
    standard(Config::new("")).tables
}

/// An empty store and its location.
pub(super) struct Fresh {
    pub(super) store: Box<dyn Store>,
    _folder: tempfile::TempDir,
}

impl From<Backend> for Fresh {
    fn from(backend: Backend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let store: Box<dyn Store> = if backend == Backend::Sqlite {
            Connection::open(&path).unwrap().execute_batch(TABLES).unwrap();
            Box::new(SqliteStore::open(&path, &tables(), Duration::ZERO, NOW).unwrap())
        } else {
            let database = Database::new();
            database.run(TABLES);
            let url = PostgresUrl::from(database.url);
            Box::new(PostgresStore::open(&url, &tables(), Duration::from_secs(5), NOW).unwrap())
        };
        Self { store, _folder: folder }
    }
}

pub(super) fn buckets() -> Vec<String> {
    vec![String::from("user:anna"), String::from("global")]
}

/// Writes a place owned by Anna.
pub(super) fn put(store: &dyn Store, id: &str, name: &str) {
    write(store, NOW, |writing| {
        let schema = writing.schema().clone();
        let table = schema.table("places").unwrap();
        let at = |name: &str| table.column(name).unwrap();
        let cells = vec![
            (at("id"), Value::from(id)),
            (at("owner_id"), Value::from("anna")),
            (at("name"), Value::from(name)),
        ];
        writing.write(table, &StoreWrite::Insert { cells }).map_err(|error| match error {
            WriteError::Fault(fault) => fault,
            WriteError::Rule(rule) => panic!("{rule:?}"),
        })
    })
    .unwrap();
}
