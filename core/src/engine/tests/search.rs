//! Full-text search: the index holds what the table holds, whoever wrote it.

use rejoin_protocol::Manifest;

use super::{all, base, notes, open, table};
use crate::engine::Engine;
use crate::error::Error;

/// The ids of notes that a search finds.
fn find(engine: &mut Engine, words: &str) -> Vec<String> {
    all(
        engine,
        &format!("SELECT id FROM search_notes WHERE search_notes MATCH '{words}' ORDER BY id"),
    )
}

/// The index is what a rebuilt one would be; FTS5 itself finds nothing wrong with it.
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
fn it_holds_what_was_there_and_follows_every_kind_of_write() {
    let (_folder, mut engine) = notes();
    engine
        .execute(
            "INSERT INTO notes (id, body) VALUES ('a', 'Cr\u{e8}me br\u{fb}l\u{e9}e'), ('b', NULL)",
            &[],
        )
        .unwrap();
    assert_eq!(engine.create_search_index("notes", &["body"], None).unwrap(), "search_notes");
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
fn the_same_one_stays_another_is_made_anew_and_one_can_be_removed() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id, body, n) VALUES ('a', 'buttermilk', 7)", &[]).unwrap();
    engine.create_search_index("notes", &["body"], None).unwrap();
    let version = |engine: &mut Engine| all(engine, "PRAGMA schema_version");
    let before = version(&mut engine);
    engine.create_search_index("notes", &["body"], None).unwrap();
    assert_eq!(version(&mut engine), before, "nothing was done");
    assert!(find(&mut engine, "milk").is_empty());
    engine.create_search_index("notes", &["body", "n"], Some("trigram")).unwrap();
    assert_eq!(find(&mut engine, "milk"), ["'a'"]);
    engine.drop_search_index("notes").unwrap();
    engine.drop_search_index("notes").unwrap();
    engine.execute("UPDATE notes SET body = 'b'", &[]).unwrap();
    let left = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'search%'";
    assert_eq!(all(&mut engine, left), ["0"]);
}

#[test]
fn what_cannot_be_indexed_is_refused_and_nothing_is_made() {
    let (_folder, mut engine) = notes();
    assert!(matches!(
        engine.create_search_index("mirror", &["body"], None),
        Err(Error::NotSynced(_))
    ));
    engine.execute("CREATE TABLE search_notes (a)", &[]).unwrap();
    let table: [(&[&str], Option<&str>, &str); 4] = [
        (&["nothing"], None, "no such column"),
        (&[], None, "names no column"),
        (&["body"], Some("klingon"), "klingon"),
        (&["body"], None, "already exists"),
    ];
    for (columns, tokenizer, words) in table {
        let error = engine.create_search_index("notes", columns, tokenizer).unwrap_err();
        let is_refused = matches!(error, Error::Refused { .. });
        assert!(is_refused && error.to_string().contains(words), "{columns:?}: {error}");
    }
    let triggers = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'search_notes_%'";
    assert_eq!(all(&mut engine, triggers), ["0"]);
}

#[test]
fn it_goes_on_with_the_columns_that_a_new_schema_has() {
    let (_folder, mut engine) = notes();
    engine.create_search_index("notes", &["body", "n"], None).unwrap();
    engine.execute("INSERT INTO notes (id, body, n) VALUES ('a', 'milk', 7)", &[]).unwrap();
    super::settle(&engine);
    engine.queue = crate::engine::queue::Queue::load(engine.db.conn(), &engine.schema).unwrap();
    let manifest = |version, columns: &[(&str, &str)]| {
        Manifest::new(version, vec![table("notes", columns, Vec::new())])
    };
    let without_n = [("id", "string"), ("body", "string"), ("r", "float"), ("b", "bytes")];
    engine.adopt(&manifest(2, &without_n)).unwrap();
    assert!(find(&mut engine, "7").is_empty());
    assert_eq!(find(&mut engine, "milk"), ["'a'"]);
    engine.execute("UPDATE notes SET body = 'oats'", &[]).unwrap();
    is_right(&mut engine);
    engine.adopt(&manifest(3, &[("id", "string"), ("r", "float")])).unwrap();
    let left = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'search%'";
    assert_eq!(all(&mut engine, left), ["0"], "no column of it is left");
}

#[test]
fn one_that_lost_a_trigger_is_made_anew_when_the_file_is_opened() {
    let (folder, mut engine) = notes();
    engine.create_search_index("notes", &["body"], None).unwrap();
    engine.execute("DROP TRIGGER search_notes_insert", &[]).unwrap();
    engine.execute("INSERT INTO notes (id, body) VALUES ('a', 'unseen')", &[]).unwrap();
    assert!(find(&mut engine, "unseen").is_empty());
    drop(engine);
    let mut engine = open(&folder, None).unwrap();
    assert_eq!(find(&mut engine, "unseen"), ["'a'"]);
    is_right(&mut engine);
}
