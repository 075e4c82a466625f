//! Full-text search: the index always matches the table.

use rejoin_protocol::Manifest;

use super::{all, base, notes, open, table};
use crate::engine::Engine;
use crate::engine::adopt;
use crate::engine::rebase::Batch;
use crate::engine::rows::ServerRow;
use crate::engine::search;
use crate::error::{Error, InputFault};

/// The ids of notes that a search finds.
fn find(engine: &mut Engine, words: &str) -> Vec<String> {
    all(
        engine,
        &format!("SELECT id FROM search_notes WHERE search_notes MATCH '{words}' ORDER BY id"),
    )
}

/// Checks that the index equals a rebuilt one, and passes FTS5's own integrity check.
fn is_right(engine: &mut Engine) {
    let rows = all(engine, "SELECT id || ' ' || coalesce(body, '-') FROM notes ORDER BY id");
    let entries =
        all(engine, "SELECT id || ' ' || coalesce(body, '-') FROM search_notes ORDER BY id");
    assert_eq!(entries, rows);
    engine
        .execute("INSERT INTO search_notes (search_notes) VALUES ('integrity-check')", &[])
        .unwrap();
}

#[test]
fn index_contains_existing_rows_and_follows_every_write() {
    let (_folder, mut engine) = notes();
    engine
        .execute(
            "INSERT INTO notes (id, body) VALUES ('a', 'Cr\u{e8}me br\u{fb}l\u{e9}e'), ('b', NULL)",
            &[],
        )
        .unwrap();
    assert_eq!(
        search::create_search_index(&mut engine, "notes", &["body"], None).unwrap(),
        "search_notes"
    );
    assert_eq!(find(&mut engine, "creme"), ["'a'"]);
    for sql in [
        "INSERT INTO notes (id, body) VALUES ('c', 'milk and honey')",
        "UPDATE notes SET body = 'oats' WHERE id = 'b'",
        "UPDATE notes SET n = 1",
        "INSERT OR REPLACE INTO notes (id, body) VALUES ('c', 'milk')",
        "INSERT INTO notes (id, body) VALUES ('c', 'x') ON CONFLICT (id) DO UPDATE SET body = 'honey'",
        "UPDATE notes SET id = 'd' WHERE id = 'c'",
        "DELETE FROM notes WHERE id = 'a'",
    ] {
        engine.execute(sql, &[]).unwrap();
        is_right(&mut engine);
    }
    assert_eq!(find(&mut engine, "honey"), ["'d'"]);
    assert!(find(&mut engine, "milk").is_empty() && find(&mut engine, "creme").is_empty());
    base(&mut engine, "INSERT INTO notes (id, body) VALUES ('e', 'of the server')");
    is_right(&mut engine);
    assert_eq!(find(&mut engine, "server"), ["'e'"]);
}

#[test]
fn equal_index_stays_and_another_one_is_rebuilt() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id, body, n) VALUES ('a', 'buttermilk', 7)", &[]).unwrap();
    search::create_search_index(&mut engine, "notes", &["body"], None).unwrap();
    let version = |engine: &mut Engine| all(engine, "PRAGMA schema_version");
    let before = version(&mut engine);
    search::create_search_index(&mut engine, "notes", &["body"], None).unwrap();
    assert_eq!(version(&mut engine), before, "nothing was changed");
    assert!(find(&mut engine, "milk").is_empty());
    search::create_search_index(&mut engine, "notes", &["body", "n"], Some("trigram")).unwrap();
    assert_eq!(find(&mut engine, "milk"), ["'a'"]);
    search::drop_search_index(&mut engine, "notes").unwrap();
    search::drop_search_index(&mut engine, "notes").unwrap();
    engine.execute("UPDATE notes SET body = 'b'", &[]).unwrap();
    let left = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'search%'";
    assert_eq!(all(&mut engine, left), ["0"]);
}

#[test]
fn invalid_index_is_refused_and_nothing_is_created() {
    let (_folder, mut engine) = notes();
    assert!(matches!(
        search::create_search_index(&mut engine, "mirror", &["body"], None),
        Err(Error::InvalidInput(InputFault::NotSynced(_)))
    ));
    engine.execute("CREATE TABLE search_notes (a)", &[]).unwrap();
    let table: [(&[&str], Option<&str>, &str); 4] = [
        (&["nothing"], None, "no such column"),
        (&[], None, "names no column"),
        (&["body"], Some("klingon"), "klingon"),
        (&["body"], None, "already exists"),
    ];
    for (columns, tokenizer, words) in table {
        let error =
            search::create_search_index(&mut engine, "notes", columns, tokenizer).unwrap_err();
        let is_refused = matches!(error, Error::InvalidInput(InputFault::Refused { .. }));
        assert!(is_refused && error.to_string().contains(words), "{columns:?}: {error}");
    }
    let triggers = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'search_notes_%'";
    assert_eq!(all(&mut engine, triggers), ["0"]);
}

#[test]
fn index_keeps_the_columns_of_a_new_schema() {
    let (_folder, mut engine) = notes();
    search::create_search_index(&mut engine, "notes", &["body", "n"], None).unwrap();
    engine.execute("INSERT INTO notes (id, body, n) VALUES ('a', 'milk', 7)", &[]).unwrap();
    super::settle(&engine);
    engine.queue = crate::engine::queue::Queue::load(engine.db.conn(), &engine.schema).unwrap();
    let manifest = |version, columns: &[(&str, &str)]| {
        Manifest::new(version, vec![table("notes", columns, Vec::new())])
    };
    let without_n = [("id", "string"), ("body", "string"), ("r", "float"), ("b", "bytes")];
    adopt::adopt(&mut engine, &manifest(2, &without_n)).unwrap();
    assert!(find(&mut engine, "7").is_empty());
    assert_eq!(find(&mut engine, "milk"), ["'a'"]);
    engine.execute("UPDATE notes SET body = 'oats'", &[]).unwrap();
    is_right(&mut engine);
    adopt::adopt(&mut engine, &manifest(3, &[("id", "string"), ("r", "float")])).unwrap();
    let left = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'search%'";
    assert_eq!(all(&mut engine, left), ["0"], "no column of it is left");
}

#[test]
fn index_without_a_trigger_is_rebuilt_on_open() {
    let (folder, mut engine) = notes();
    search::create_search_index(&mut engine, "notes", &["body"], None).unwrap();
    engine.execute("DROP TRIGGER search_notes_insert", &[]).unwrap();
    engine.execute("INSERT INTO notes (id, body) VALUES ('a', 'unseen')", &[]).unwrap();
    assert!(find(&mut engine, "unseen").is_empty());
    drop(engine);
    let mut engine = open(&folder, None).unwrap();
    assert_eq!(find(&mut engine, "unseen"), ["'a'"]);
    is_right(&mut engine);
}

#[test]
fn index_without_a_trigger_is_rebuilt_by_creating_it_again() {
    let (_folder, mut engine) = notes();
    search::create_search_index(&mut engine, "notes", &["body"], None).unwrap();
    engine.execute("DROP TRIGGER search_notes_insert", &[]).unwrap();
    engine.execute("INSERT INTO notes (id, body) VALUES ('a', 'unseen')", &[]).unwrap();
    search::create_search_index(&mut engine, "notes", &["body"], None).unwrap();
    assert_eq!(find(&mut engine, "unseen"), ["'a'"]);
    is_right(&mut engine);
}

#[test]
fn tables_of_an_index_are_not_dropped_or_renamed() {
    let (_folder, mut engine) = notes();
    search::create_search_index(&mut engine, "notes", &["body"], None).unwrap();
    for sql in [
        "DROP TABLE search_notes",
        "DROP TABLE search_notes_rows",
        "ALTER TABLE Search_Notes RENAME TO other",
        "ALTER TABLE search_notes_rows ADD COLUMN more",
    ] {
        let error = engine.execute(sql, &[]).unwrap_err().to_string();
        assert!(error.contains("drop_search_index"), "{sql}: {error}");
    }
    base(&mut engine, "INSERT INTO notes (id, body) VALUES ('a', 'milk')");
    assert_eq!(find(&mut engine, "milk"), ["'a'"]);
    search::drop_search_index(&mut engine, "notes").unwrap();
}

/// A damaged index must reject no row of the server: its trigger fails, and it is rebuilt.
#[test]
fn index_whose_trigger_fails_on_a_remote_row_is_rebuilt() {
    let (_folder, mut engine) = notes();
    search::create_search_index(&mut engine, "notes", &["body"], None).unwrap();
    base(&mut engine, "INSERT INTO notes (id, body) VALUES ('a', 'milk')");
    engine.execute("INSERT INTO search_notes_rows (key) VALUES ('b')", &[]).unwrap();
    arrive(&mut engine, "b", "tea");
    assert_eq!(find(&mut engine, "milk OR tea"), ["'a'", "'b'"]);
    is_right(&mut engine);
    arrive(&mut engine, "c", "oats");
    assert_eq!(find(&mut engine, "oats"), ["'c'"]);
}

/// Applies a row of the server.
fn arrive(engine: &mut Engine, key: &str, body: &str) {
    let table = engine.schema().named("notes").unwrap().clone();
    let id = table.columns[table.column_named("body").unwrap()].id;
    let row = Some(vec![(id, body.into())]);
    let image = ServerRow { table: table.number, key: key.into(), row };
    engine.apply(Batch { images: vec![image], ..Batch::default() }).unwrap();
}
