//! Tests of rows as values of the app's own types, and of temporary files.

use std::collections::BTreeMap;

use rejoin_core::{Client, Config, Error};
use serde::{Deserialize, Serialize};

use crate::world::World;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Part {
    id: String,
    count: i64,
    weight: f64,
    is_new: bool,
    photo: Vec<u8>,
    tags: Vec<String>,
    note: Option<String>,
}

const TABLE: &str = "id TEXT PRIMARY KEY, count INTEGER, weight REAL, is_new INTEGER, photo BLOB, \
                     tags TEXT, note TEXT DEFAULT 'none'";

fn bolt() -> Part {
    Part {
        id: "bolt".to_owned(),
        count: -3,
        weight: 2.0,
        is_new: true,
        photo: vec![0, 255],
        tags: vec!["steel".to_owned()],
        note: None,
    }
}

fn world() -> World {
    let world = World::new();
    world.client.schema().create_table("part", TABLE).wait().unwrap();
    world
}

/// The `why` of a refusal.
fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Refused { what, why }) => format!("{what}: {why}"),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn inserted_value_is_stored_by_its_columns_types() {
    let World { client, .. } = &world();
    client.insert("part", &bolt()).wait().unwrap();
    let types = "SELECT typeof(count) || typeof(weight) || typeof(is_new) || typeof(photo) || \
                 typeof(tags) || typeof(note) FROM part";
    let types: Option<String> = client.query_scalar(types, ()).wait().unwrap();
    assert_eq!(types.unwrap(), "integerrealintegerblobtextnull");
    let tags: Option<String> = client.query_scalar("SELECT tags FROM part", ()).wait().unwrap();
    assert_eq!(tags.unwrap(), "[\"steel\"]");
}

#[test]
fn column_without_a_member_keeps_its_default_or_its_value() {
    let World { client, .. } = &world();
    let id = BTreeMap::from([("id", "nut")]);
    client.insert("part", &id).wait().unwrap();
    let notes: Vec<String> = client.query_as("SELECT note FROM part", ()).wait().unwrap();
    assert_eq!(notes, ["none"]);
    let note = BTreeMap::from([("id", "nut"), ("note", "M6")]);
    assert!(client.update("part", &note).wait().unwrap());
    assert!(client.update("part", &id).wait().unwrap(), "a row with nothing to set");
    let missing = BTreeMap::from([("id", "no"), ("note", "M6")]);
    assert!(!client.update("part", &missing).wait().unwrap());
    assert!(client.exists("SELECT 1 FROM part WHERE note = ?", ["M6"]).wait().unwrap());
    assert!(client.delete("part", "nut").wait().unwrap());
    assert!(!client.delete("part", "nut").wait().unwrap());
}

#[test]
fn scalar_of_no_row_is_none_and_null_is_an_error_or_an_option() {
    let World { client, .. } = &world();
    let none = client.query_scalar::<i64>("SELECT count FROM part", ()).wait().unwrap();
    assert_eq!(none, None);
    assert_eq!(client.query_scalar("SELECT NULL", ()).wait().unwrap(), Some(None::<i64>));
    refusal(client.query_scalar::<i64>("SELECT NULL", ()).wait());
}

#[test]
fn value_that_is_no_row_of_the_table_is_refused_by_name() {
    let World { client, .. } = &world();
    let why = refusal(client.insert("part", &BTreeMap::from([("id", "a"), ("size", "9")])).wait());
    assert_eq!(why, "a row of part: it has no column size");
    let why = refusal(client.insert("screw", &bolt()).wait());
    assert_eq!(why, "a row of screw: there is no such table");
    let why = refusal(client.insert("part", &"bolt").wait());
    assert_eq!(why, "a row of part: it has no named members: use a struct or a map");
    let why = refusal(client.insert("part", &BTreeMap::from([("count", u64::MAX)])).wait());
    assert!(why.contains("count does not fit 64 bits"), "{why}");
    let why = refusal(client.insert("part", &BTreeMap::from([("photo", [999])])).wait());
    assert!(why.contains("photo needs bytes"), "{why}");
    let why = refusal(client.update("part", &BTreeMap::from([("count", 1)])).wait());
    assert!(why.contains("each column of the key"), "{why}");
    client.schema().create_table("pair", "a, b, PRIMARY KEY (a, b)").wait().unwrap();
    let why = refusal(client.delete("pair", 1).wait());
    assert!(why.contains("not one column"), "{why}");
    assert!(!client.exists("SELECT 1 FROM part", ()).wait().unwrap(), "nothing was written");
}

#[test]
fn typed_writes_of_a_transaction_are_undone_with_it() {
    let World { client, .. } = &world();
    let undone = client.transaction(|tx| {
        tx.insert("part", &bolt())?;
        assert!(tx.update("part", &Part { count: 7, ..bolt() })?);
        assert!(tx.delete("part", "bolt")?);
        tx.insert("part", &bolt())?;
        tx.execute("INSERT INTO part (id) VALUES ('bolt')", ()).map(drop)
    });
    assert!(matches!(undone.wait(), Err(Error::Rule { .. } | Error::Sql(_))));
    assert!(!client.exists("SELECT 1 FROM part", ()).wait().unwrap());
}

#[test]
fn temporary_file_and_its_folder_are_removed_at_shutdown() {
    let client = Client::open(Config::temporary()).wait().unwrap();
    let other = Client::open(Config::temporary()).wait().unwrap();
    assert_ne!(client.path(), other.path());
    let folder = client.path().parent().unwrap().to_owned();
    client.schema().create_table("part", TABLE).wait().unwrap();
    client.sync().suspend().wait().unwrap();
    assert!(client.path().exists(), "suspension keeps the file");
    client.shutdown().wait().unwrap();
    assert!(!folder.exists());
    assert!(other.path().exists());
    other.shutdown().wait().unwrap();
}

#[test]
fn temporary_folder_is_removed_if_opening_fails() {
    let config = Config::temporary();
    let folder = config.path.parent().unwrap().to_owned();
    std::fs::create_dir_all(&config.path).unwrap(); // A folder is no database.
    Client::open(config).wait().unwrap_err();
    assert!(!folder.exists());
}
