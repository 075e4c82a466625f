//! Full-text indexes of the app that refer to rows by rowid.

use super::{all, engine, table};
use crate::engine::schema::app_trigger::TRIGGER_DISABLED;
use crate::engine::{Engine, adopt};
use rejoin_protocol::Manifest;

const COLUMNS: &[(&str, &str)] = &[("id", "string"), ("name", "string"), ("n", "int64")];

/// People with an index of the app by rowid, which its triggers keep. There are gaps.
fn people(index: &str, delete: &str) -> (tempfile::TempDir, Engine) {
    let (folder, mut engine) = engine(vec![table("person", COLUMNS, Vec::new())]);
    engine
        .execute_batch(&format!(
            "CREATE VIRTUAL TABLE names USING {index};
             CREATE TRIGGER person_new AFTER INSERT ON person BEGIN
                 INSERT INTO names (rowid, name) VALUES (NEW.rowid, NEW.name); END;
             CREATE TRIGGER person_gone BEFORE DELETE ON person BEGIN {delete}; END;
             INSERT INTO person (id, name) VALUES ('1', 'anna'), ('2', 'bert'), ('3', 'carl'), ('4', 'dora');
             DELETE FROM person WHERE id = '2';"
        ))
        .unwrap();
    (folder, engine)
}

const FIVE: (&str, &str) = (
    "fts5(name, content='person', content_rowid='rowid')",
    "INSERT INTO names (names, rowid, name) VALUES ('delete', OLD.rowid, OLD.name)",
);
const FOUR: (&str, &str) =
    ("fts4(name, content='person')", "DELETE FROM names WHERE docid = OLD.rowid");

const CARL: &str =
    "SELECT name FROM person WHERE rowid IN (SELECT rowid FROM names WHERE names MATCH 'carl')";

fn adopt_columns(engine: &mut Engine, version: i64, columns: &[(&str, &str)]) {
    let next = Manifest::new(version, vec![table("person", columns, Vec::new())]);
    adopt::adopt(engine, &next).unwrap();
}

#[test]
fn schema_change_keeps_rowids() {
    for (index, delete) in [FIVE, FOUR] {
        let (_folder, mut engine) = people(index, delete);
        let rowids = "SELECT rowid || ' ' || id FROM person ORDER BY rowid";
        let before = all(&mut engine, rowids);
        adopt_columns(&mut engine, 2, &[("id", "string"), ("name", "string")]);
        assert_eq!(all(&mut engine, rowids), before, "{index}");
        assert_eq!(all(&mut engine, CARL), ["'carl'"], "{index}");
        engine.execute("DELETE FROM person WHERE id = '3'", &[]).unwrap();
        assert!(all(&mut engine, CARL).is_empty(), "{index}");
        engine.execute("INSERT INTO names (names) VALUES ('integrity-check')", &[]).unwrap();
    }
}

#[test]
fn index_whose_columns_changed_is_rebuilt() {
    for (index, delete) in [FIVE, FOUR] {
        let (_folder, mut engine) = people(index, delete);
        // The column of this name is another one now: it is empty until the server has sent it.
        adopt_columns(&mut engine, 2, &[("id", "string"), ("name", "int64"), ("n", "int64")]);
        assert!(all(&mut engine, CARL).is_empty(), "{index}");
        adopt_columns(&mut engine, 3, &[("id", "string"), ("n", "int64")]);
        let reported = engine.meta(TRIGGER_DISABLED).unwrap().unwrap();
        assert!(reported.contains("names"), "{index}: {reported}");
    }
}

#[test]
fn corrupt_search_index_is_no_corrupt_file() {
    for (index, delete) in [FIVE, FOUR] {
        let (_folder, mut engine) = people(index, delete);
        engine.execute("DROP TRIGGER person_gone", &[]).unwrap();
        engine.execute("DELETE FROM person WHERE id = '3'", &[]).unwrap();
        let sql = "SELECT name FROM names WHERE names MATCH 'carl'";
        let by_writer =
            engine.transaction(|tx| tx.query(sql, &[], |row| row.get::<_, Option<String>>(0)));
        let mut reader = engine.open_reader().unwrap();
        let by_reader = reader.query(sql, &[], |row| row.get::<_, Option<String>>(0));
        for found in [by_writer, by_reader] {
            let Err(error) = found else { continue }; // FTS4 returns NULL.
            let text = error.to_string();
            assert!(!matches!(error, crate::Error::Storage(_)), "{index}: {text}");
            assert!(text.contains("names") && text.contains("'rebuild'"), "{index}: {text}");
        }
        engine.execute("INSERT INTO names (names) VALUES ('rebuild')", &[]).unwrap();
        assert!(all(&mut engine, sql).is_empty());
    }
}
