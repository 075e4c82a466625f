//! Tests of inspection: exact cells, named refusals, no writes.

#![allow(clippy::disallowed_methods)] // Foreign files are created without the engine.

use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::engine::tests::notes;
use crate::error::{Error, StorageFault};
use crate::value::Value;

#[test]
fn inspection_shows_every_cell_exactly() {
    let (_folder, mut engine) = notes();
    let insert = "INSERT INTO notes (id, body, n, r, b) VALUES (?1, NULL, ?2, ?3, ?4)";
    let cells: [Value; 4] = ["a".into(), i64::MAX.into(), 0.1.into(), vec![0, 255].into()];
    engine.execute(insert, &cells).unwrap();
    let found = Inspection::of(engine.path()).unwrap().to_json();
    let row = &found["queue"][0]["rows"][0];
    assert_eq!((&row["table"], &row["key"]), (&json!("notes"), &json!("a")));
    assert_eq!(row["operation"], "insert", "{found}");
    assert_eq!(row["columns"]["n"], json!({ "new": i64::MAX }));
    assert_eq!(row["columns"]["r"], json!({ "new": 0.1 }));
    assert_eq!(row["columns"]["b"], json!({ "new": { "blob": "00ff" } }));
}

#[test]
fn unreadable_file_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let made =
        |name: &str, sql: &str| Connection::open(at(name)).unwrap().execute_batch(sql).unwrap();
    std::fs::write(at("text.db"), "not a database, but longer than a header".repeat(3)).unwrap();
    made("other.db", "CREATE TABLE t (a)");
    made("older.db", &format!("PRAGMA application_id = {}; PRAGMA user_version = 0", 0x524A_4E31));
    made("newer.db", &format!("PRAGMA application_id = {}; PRAGMA user_version = 99", 0x524A_4E31));
    let table = [
        ("missing.db", "unable to open"),
        ("text.db", "not a database"),
        ("other.db", "no file of Rejoin's"),
        ("older.db", "its format is 0"),
        ("newer.db", "99"),
    ];
    for (name, expected) in table {
        let error = Inspection::of(at(name)).unwrap_err();
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
    assert!(!at("missing.db").exists(), "inspection created a file");
}

#[test]
fn read_only_engine_rejects_writes() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id) VALUES ('a')", &[]).unwrap();
    let mut looking = Engine::open_to_read(engine.path(), Arc::new(SystemHost::default())).unwrap();
    let error = looking.set_meta("epoch", Some("another")).unwrap_err();
    assert!(matches!(error, Error::Storage(StorageFault::ReadOnly(_))), "{error}");
    let found = Inspection::of(engine.path()).unwrap();
    assert!(!found.facts.contains_key("epoch"));
}
