//! Tests of rows as values of the app's own types, and of temporary files.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use rejoin_core::{Client, Config, Error, InputFault};
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
        Err(Error::InvalidInput(InputFault::Refused { what, reason: why })) => {
            format!("{what}: {why}")
        }
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
    let read: Vec<Part> = client.query_as("SELECT * FROM part", ()).wait().unwrap();
    assert_eq!(read, [bolt()], "it is read as it was inserted");
    let tags: Option<String> = client.query_scalar("SELECT tags FROM part", ()).wait().unwrap();
    assert_eq!(tags.unwrap(), "[\"steel\"]");
}

#[test]
fn members_of_nested_types_are_read_as_they_were_inserted() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Nested {
        id: Ipv4Addr,
        count: u8,
        tags: BTreeMap<String, (f64, Option<bool>)>,
        photo: [u8; 2],
    }
    let World { client, .. } = &world();
    let id = Ipv4Addr::LOCALHOST;
    let tags = BTreeMap::from([("a".to_owned(), (0.5, None)), ("b".to_owned(), (1.0, Some(true)))]);
    let nested = Nested { id, count: 3, tags, photo: [0, 255] };
    client.insert("part", &nested).wait().unwrap();
    assert_eq!(client.query_as::<Nested>("SELECT * FROM part", ()).wait().unwrap(), [nested]);
    let stored = client.query_scalar::<String>("SELECT id FROM part", ()).wait().unwrap();
    assert_eq!(stored.unwrap(), "127.0.0.1", "as a type is in JSON, not its bytes");
    client.execute("UPDATE part SET tags = '{} and more'", ()).wait().unwrap();
    let why = refusal(client.query_as::<Nested>("SELECT * FROM part", ()).wait());
    assert!(why.contains("column tags: trailing characters"), "{why}");
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
    assert_eq!(why, "a row of part: it has no column size that can be written");
    let why = refusal(client.insert("screw", &bolt()).wait());
    assert_eq!(why, "a row of screw: there is no such table");
    let why = refusal(client.insert("part", &"bolt").wait());
    assert_eq!(why, "a row of part: it has no named members: use a struct or a map");
    let why = refusal(client.insert("part", &BTreeMap::from([("count", u64::MAX)])).wait());
    assert!(why.contains("count: the number does not fit 64 bits"), "{why}");
    let why = refusal(client.insert("part", &BTreeMap::from([("photo", [999])])).wait());
    assert!(why.contains("photo: bytes are needed"), "{why}");
    let why = refusal(client.update("part", &BTreeMap::from([("count", 1)])).wait());
    assert!(why.contains("each column of the key"), "{why}");
    client.schema().create_table("pair", "a, b, PRIMARY KEY (a, b)").wait().unwrap();
    let why = refusal(client.delete("pair", 1).wait());
    assert!(why.contains("not one column"), "{why}");
    assert!(!client.exists("SELECT 1 FROM part", ()).wait().unwrap(), "nothing was written");
}

/// JSON has no such numbers; the row got NULL instead, without an error.
#[test]
fn infinity_is_stored_as_by_execute() {
    let World { client, .. } = &world();
    client.insert("part", &Part { weight: f64::INFINITY, ..bolt() }).wait().unwrap();
    let weight = client.query_scalar::<f64>("SELECT weight FROM part", ()).wait().unwrap();
    assert_eq!(weight, Some(f64::INFINITY));
}

#[test]
fn update_of_a_synced_row_sends_only_what_differs() {
    #[derive(Serialize)]
    struct Task {
        id: &'static str,
        title: &'static str,
        done: bool,
    }
    let world = World::with(|config| config.schema = Some(serde_json::from_str(TASK).unwrap()));
    let client = &world.client;
    let task = Task { id: "t1", title: "Milk", done: false };
    client.insert("task", &task).wait().unwrap();
    client.update("task", &Task { done: true, ..task }).wait().unwrap();
    let pending = client.queue().all().wait().unwrap();
    let columns = pending[1].rows[0].columns.iter().map(|column| column.name.as_str());
    assert_eq!(columns.collect::<Vec<_>>(), ["done"]);
}

const TASK: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
    "push_policy": "owner_only", "updated_at_column": "", "deleted_at_column": "", "primary_key": ["id"],
    "columns": [
      {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
      {"name": "title", "db_type": "text", "logical_type": "string", "nullable": true},
      {"name": "done", "db_type": "boolean", "logical_type": "boolean", "nullable": true}]}]}"#;

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
    assert!(matches!(
        undone.wait(),
        Err(Error::Constraint { .. } | Error::InvalidInput(InputFault::Sql(_)))
    ));
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
    let config = Config::temporary().page_size(0);
    let folder = config.path.parent().unwrap().to_owned();
    Client::open(config).wait().unwrap_err();
    assert!(!folder.exists());
}

/// The refused opening removed the folder of the open client.
#[test]
fn refused_second_opening_of_a_temporary_file_keeps_it() {
    let config = Config::temporary();
    let client = Client::open(config.clone()).wait().unwrap();
    Client::open(config.page_size(500)).wait().unwrap_err();
    assert!(client.path().exists());
    client.shutdown().wait().unwrap();
}

/// The parent folder of the app's own path was removed.
#[test]
fn path_set_after_temporary_is_never_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::temporary();
    config.path = folder.path().join("app.db");
    let client = Client::open(config).wait().unwrap();
    client.shutdown().wait().unwrap();
    assert!(folder.path().join("app.db").exists());
}
