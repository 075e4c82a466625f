//! What the contract is told over: fresh stores, Anna's places, and who looks.

use std::path::Path;
use std::time::Duration;

use rejoin_protocol::Value;
use rejoin_server::store::postgres::PostgresStore;
use rejoin_server::store::sqlite::SqliteStore;
use rejoin_server::store::{Room, Sight, Store, WriteError, read, write};
use rejoin_server::{Config, PostgresUrl, TableConfig};
use rusqlite::Connection;

use super::NOW;
use crate::postgres::Database;
use crate::world::{TABLES, standard};

pub(super) fn tables() -> Vec<TableConfig> {
    standard(Config::new("")).tables
}

#[allow(clippy::unnecessary_wraps)] // As the makers of other stores.
pub(super) fn sqlite(path: &Path) -> Option<Box<dyn Store>> {
    Connection::open(path).unwrap().execute_batch(TABLES).unwrap();
    Some(Box::new(SqliteStore::open(path, &tables(), Duration::ZERO, NOW).unwrap()))
}

pub(super) fn postgres(_: &Path) -> Option<Box<dyn Store>> {
    let database = Database::new()?;
    database.session().run(TABLES);
    let url = PostgresUrl::from(database.url);
    Some(Box::new(PostgresStore::open(&url, &tables(), Duration::from_secs(5), NOW).unwrap()))
}

pub(super) fn anna() -> Sight {
    Sight { owners: vec![String::from("anna")], global: false, buckets: Vec::new() }
}

pub(super) fn room(rows: usize) -> Room {
    Room { rows, bytes: usize::MAX }
}

pub(super) fn buckets() -> Vec<String> {
    vec![String::from("user:anna"), String::from("global")]
}

/// Writes a place of Anna's.
pub(super) fn put(store: &dyn Store, id: &str, name: &str) {
    write(store, NOW, |writing| {
        let schema = writing.schema().clone();
        let table = schema.table("places").unwrap();
        let at = |name: &str| table.column(name).unwrap();
        let cells = [
            (at("id"), Value::from(id)),
            (at("owner_id"), Value::from("anna")),
            (at("name"), Value::from(name)),
        ];
        writing.insert(table, &cells).map_err(|error| match error {
            WriteError::Fault(fault) => fault,
            WriteError::Rule(rule) => panic!("{rule:?}"),
        })
    })
    .unwrap();
}

pub(super) fn names(store: &dyn Store) -> Vec<String> {
    read(store, |reading| {
        let schema = reading.schema().clone();
        let table = schema.table("places").unwrap();
        let page = reading.page(table, None, room(100), &anna())?;
        assert!(page.ends);
        Ok(page.rows.iter().map(|row| row.id(table)).collect())
    })
    .unwrap()
}
