//! What the engine returns where an app expects plain SQLite: counts, `user_version`, error texts.

use rejoin_protocol::Manifest;

use super::{all, engine, notes, open, table};
use crate::engine::reset::{self, Keep};
use crate::engine::{Engine, Reader, adopt};
use crate::error::Error;
use crate::value::Value;

fn reads(reader: &mut Reader, sql: &str) -> Result<Vec<Value>, Error> {
    reader.query(sql, &[], |row| row.get(0))
}

fn fails(engine: &mut Engine, sql: &str) -> String {
    engine.execute(sql, &[]).unwrap_err().to_string()
}

#[test]
fn user_version_of_app_is_independent_of_the_format() {
    let (folder, mut engine) = notes();
    let mut reader = engine.open_reader().unwrap();
    assert_eq!(all(&mut engine, "PRAGMA user_version"), ["0"]);
    engine.execute_batch("CREATE TABLE mine (x); PRAGMA user_version = 7;").unwrap();
    for sql in ["PRAGMA user_version", " pragma main.User_Version ;"] {
        assert_eq!(all(&mut engine, sql), ["7"]);
        assert_eq!(reads(&mut reader, sql).unwrap(), [Value::Integer(7)], "{sql}");
    }
    let rolled_back = engine.transaction(|tx| {
        tx.execute("PRAGMA main.user_version = 8", &[])?;
        tx.execute("INSERT INTO nowhere VALUES (1)", &[])
    });
    assert!(rolled_back.is_err());
    reset::reset(&mut engine, Keep::Nothing, &[]).unwrap();
    engine.close().unwrap();
    let mut engine = open(&folder, None).unwrap();
    assert_eq!(all(&mut engine, "PRAGMA user_version"), ["7"]);
    engine.execute("EXPLAIN PRAGMA user_version = 9", &[]).unwrap();
    assert_eq!(all(&mut engine, "PRAGMA user_version"), ["7"], "only explained");
    engine.execute("PRAGMA user_version(-3)", &[]).unwrap();
    assert_eq!(all(&mut engine, "PRAGMA user_version"), ["-3"]);
}

#[test]
fn user_version_of_app_can_be_explained() {
    let (_folder, mut engine) = notes();
    let mut reader = engine.open_reader().unwrap();
    for sql in [
        "EXPLAIN PRAGMA user_version",
        "explain query plan pragma main.user_version;",
        "EXPLAIN PRAGMA table_info(notes)",
    ] {
        assert!(!reader.rows(sql, &[]).unwrap().is_empty(), "{sql}");
        assert!(reader.tables_of(sql).is_ok(), "{sql}");
        engine.execute(sql, &[]).unwrap();
    }
    let refused = |sql: &str, reader: &mut Reader| reader.rows(sql, &[]).unwrap_err().to_string();
    for sql in ["EXPLAIN PRAGMA user_version = 3", "EXPLAIN UPDATE notes SET n = 1"] {
        let error = refused(sql, &mut reader);
        assert!(error.contains("readers cannot write"), "{sql}: {error}");
    }
}

#[test]
fn temporary_table_lasts_for_its_transaction_only() {
    let (_folder, mut engine) = notes();
    let error = fails(&mut engine, "CREATE TEMP TABLE scratch (x)");
    assert!(error.contains("temporary scratch after its transaction"), "{error}");
    let found = engine.transaction(|tx| {
        tx.execute_batch("CREATE TEMP TABLE scratch (x); INSERT INTO scratch VALUES (7)")?;
        let found = tx.query("SELECT x FROM scratch", &[], |row| row.get::<_, i64>(0))?;
        tx.execute("DROP TABLE scratch", &[])?;
        Ok(found)
    });
    assert_eq!(found.unwrap(), [7]);
    engine.execute("INSERT INTO notes (id) VALUES ('a')", &[]).unwrap();
}

#[test]
fn execute_without_changed_rows_returns_zero() {
    let (_folder, mut engine) = notes();
    let mut count = |sql: &str| engine.execute(sql, &[]).unwrap();
    assert_eq!(count("INSERT INTO mirror (id) VALUES ('a'), ('b')"), 2);
    assert_eq!(count("SELECT * FROM mirror"), 0);
    assert_eq!(count("CREATE TABLE mine (x)"), 0);
    assert_eq!(count("UPDATE mirror SET body = id"), 2);
    assert_eq!(count("CREATE INDEX by_x ON mine (x)"), 0);
    assert_eq!(count("DROP TABLE mine"), 0);
    assert_eq!(count("PRAGMA user_version = 2"), 0);
    assert_eq!(count("CREATE VIRTUAL TABLE words USING fts5(x)"), 0);
    assert_eq!(count("INSERT INTO words VALUES ('x')"), 1);
}

#[test]
fn number_in_a_datetime_has_a_remedy_that_works() {
    let columns = [("id", "string"), ("at", "datetime"), ("on", "date"), ("t", "time")];
    let (_folder, mut engine) = engine(vec![table("stay", &columns, Vec::new())]);
    for column in ["at", "on", "t"] {
        let insert = |value: &str| {
            format!("INSERT INTO stay (id, \"{column}\") VALUES ('{column}', {value})")
        };
        let error = fails(&mut engine, &insert("1767225600"));
        assert!(error.contains("cannot store the number 1767225600 here"), "{error}");
        let remedy = &error[error.find("strftime").unwrap()..];
        engine.execute(&insert(&remedy.replace('?', "1767225600")), &[]).unwrap();
    }
    assert_eq!(all(&mut engine, "SELECT at FROM stay WHERE id = 'at'"), ["'2026-01-01T00:00:00Z'"]);
}

#[test]
fn empty_statement_is_named() {
    let (_folder, mut engine) = notes();
    let mut reader = engine.open_reader().unwrap();
    for sql in ["", " -- nothing"] {
        for error in [fails(&mut engine, sql), reads(&mut reader, sql).unwrap_err().to_string()] {
            assert_eq!(error, "sql: the text contains no statement");
        }
    }
}

#[test]
fn row_state_of_an_unknown_table_is_an_error() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id) VALUES ('a')", &[]).unwrap();
    let mut reader = engine.open_reader().unwrap();
    let state = reads(&mut reader, "SELECT rejoin_row_state('NOTES', 'a')").unwrap();
    assert_eq!(state, [Value::from("pending")]);
    for name in ["nope", "mirror"] {
        let error =
            reads(&mut reader, &format!("SELECT rejoin_row_state('{name}', 'a')")).unwrap_err();
        assert!(error.to_string().contains(&format!("table {name} is not synced")), "{error}");
    }
}

#[test]
fn broken_virtual_table_has_a_remedy() {
    let (_folder, mut engine) = notes();
    engine.execute_batch("CREATE VIRTUAL TABLE words USING fts5(x)").unwrap();
    let conn = engine.db.conn();
    let defensive = rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE;
    conn.set_db_config(defensive, false).unwrap();
    conn.execute_batch("DROP TABLE words_config; DROP TABLE words_data").unwrap();
    let error = reads(&mut engine.open_reader().unwrap(), "SELECT * FROM words").unwrap_err();
    assert!(error.to_string().contains("drop this virtual table"), "{error}");
}

#[test]
fn rename_that_a_broken_view_prevents_has_a_remedy() {
    let columns = [("id", "string"), ("body", "string"), ("n", "int64")];
    let (_folder, mut engine) = engine(vec![table("notes", &columns, Vec::new())]);
    engine.execute_batch("CREATE VIEW seen AS SELECT n FROM notes; CREATE TABLE mine (x)").unwrap();
    let next = Manifest::new(2, vec![table("notes", &columns[..2], Vec::new())]);
    adopt::adopt(&mut engine, &next).unwrap();
    let error = fails(&mut engine, "ALTER TABLE mine RENAME TO ours");
    assert!(
        error.contains("error in view seen") && error.contains("drop it or create it"),
        "{error}"
    );
    engine.execute("DROP VIEW seen", &[]).unwrap();
    engine.execute("ALTER TABLE mine RENAME TO ours", &[]).unwrap();
}

#[test]
fn read_only_folder_is_named_as_the_cause() {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
    let words = Some(String::from("attempt to write a readonly database"));
    let error = Error::from(rusqlite::Error::SqliteFailure(code, words)).to_string();
    assert!(error.contains("its folder must be writable"), "{error}");
}
