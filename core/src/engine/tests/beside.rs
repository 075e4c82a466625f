//! Local-only tables behave as in plain SQLite with its defaults, for every writer; and every
//! module of SQLite works on the writing and on the reading connections.

use rusqlite::Connection;

use super::{all, base, engine, queued, table, text_of};
use crate::engine::Engine;
use crate::error::{Error, InputFault};
use crate::value::Value;
use rejoin_protocol::manifest::{ReferenceAction, Rule};

const COLUMNS: &[(&str, &str)] = &[("id", "string"), ("up", "string"), ("n", "int64")];

/// A synced table with a reference to itself.
fn items() -> (tempfile::TempDir, Engine) {
    let (column, table_name) = (String::from("up"), String::from("item"));
    let (on_delete, on_update) = (ReferenceAction::Cascade, ReferenceAction::NoAction);
    let rule = Rule::References { column, table: table_name, on_delete, on_update };
    engine(vec![table("item", COLUMNS, vec![rule])])
}

const LOCAL: &str = "
    CREATE TABLE draft (id TEXT PRIMARY KEY, n INTEGER, updated_at INTEGER DEFAULT 0, UNIQUE (n));
    CREATE TABLE gone (id TEXT);
    CREATE TRIGGER draft_updated AFTER UPDATE ON draft BEGIN
        UPDATE draft SET updated_at = updated_at + 1 WHERE id = NEW.id; END;
    CREATE TRIGGER draft_gone AFTER DELETE ON draft BEGIN INSERT INTO gone VALUES (OLD.id); END;";

const WRITES: &[&str] = &[
    "INSERT INTO draft (id, n) VALUES ('a', 1), ('b', 2)",
    "UPDATE draft SET n = 3 WHERE id = 'a'",
    "REPLACE INTO draft (id, n) VALUES ('b', 3)",
    "UPDATE OR REPLACE draft SET n = 3",
    "INSERT INTO draft (id, n) VALUES ('b', 9) ON CONFLICT DO UPDATE SET n = 10",
    "DELETE FROM draft WHERE id = 'b'",
];

const DRAFTS: &str = "SELECT id || ' ' || n || ' ' || updated_at FROM draft ORDER BY id";
const GONE: &str = "SELECT id FROM gone ORDER BY rowid";

#[allow(clippy::disallowed_methods)] // Plain SQLite, to compare with.
fn plain() -> Connection {
    let plain = Connection::open_in_memory().unwrap();
    plain.execute_batch(LOCAL).unwrap();
    plain
}

fn of_plain(plain: &Connection, sql: &str) -> Vec<String> {
    let mut statement = plain.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, Value>(0)).unwrap();
    rows.map(|value| text_of(&value.unwrap())).collect()
}

#[test]
fn local_tables_with_triggers_behave_as_in_sqlite() {
    let (_folder, mut engine) = items();
    engine.execute_batch(LOCAL).unwrap();
    let plain = plain();
    for (at, sql) in WRITES.iter().enumerate() {
        // A write of a synced table, between them, that needs recursive triggers.
        let item = format!("REPLACE INTO item (id, n) VALUES ('x', {at})");
        engine.execute(&item, &[]).unwrap();
        engine.execute(sql, &[]).unwrap();
        plain.execute_batch(sql).unwrap();
        for found in [DRAFTS, GONE] {
            assert_eq!(all(&mut engine, found), of_plain(&plain, found), "{sql}");
        }
    }
    engine.execute_batch(&WRITES.join(";\n")).unwrap();
    plain.execute_batch(&WRITES.join(";\n")).unwrap();
    for found in [DRAFTS, GONE] {
        assert_eq!(all(&mut engine, found), of_plain(&plain, found), "as a batch");
    }
}

#[test]
fn or_fail_keeps_rows_of_local_tables_as_in_sqlite() {
    let (_folder, mut engine) = items();
    engine.execute_batch(LOCAL).unwrap();
    let plain = plain();
    let [insert, fails] =
        ["INSERT INTO draft (id, n) VALUES ('a', 1), ('b', 2)", "UPDATE OR FAIL draft SET n = 5"];
    let kept = engine.transaction(|tx| {
        tx.execute(insert, &[])?;
        tx.execute("INSERT INTO item (id, n) VALUES ('x', 1)", &[])?;
        tx.execute(fails, &[]).unwrap_err();
        tx.execute("UPDATE item SET n = 2", &[])
    });
    assert_eq!(kept.unwrap(), 1);
    plain.execute_batch(insert).unwrap();
    plain.execute_batch(fails).unwrap_err();
    assert_eq!(all(&mut engine, DRAFTS), ["'a 5 1'", "'b 2 0'"]);
    assert_eq!(of_plain(&plain, DRAFTS), ["'a 5 1'", "'b 2 0'"]);
    assert_eq!(queued(&engine), ["item x insert n 2"]);
}

#[test]
fn local_triggers_under_synced_rows_behave_as_in_sqlite() {
    let (_folder, mut engine) = items();
    engine.execute_batch(LOCAL).unwrap();
    let trigger = "CREATE TRIGGER item_n AFTER INSERT ON item WHEN NEW.up IS NOT NULL BEGIN
        INSERT OR IGNORE INTO draft (id, n) VALUES (NEW.up, 0);
        UPDATE draft SET n = n + 1 WHERE id = NEW.up; END";
    engine.execute(trigger, &[]).unwrap();
    engine.execute("REPLACE INTO item (id, n) VALUES ('x', 1)", &[]).unwrap();
    engine.execute("INSERT INTO item (id, up) VALUES ('y', 'x')", &[]).unwrap();
    assert_eq!(all(&mut engine, DRAFTS), ["'x 1 1'"], "by the app");
    base(&mut engine, "INSERT INTO item (id, up) VALUES ('z', 'x')");
    assert_eq!(all(&mut engine, DRAFTS), ["'x 2 2'"], "by the server");
    engine.execute_batch("DROP TRIGGER item_n; DELETE FROM item; DELETE FROM draft").unwrap();
}

#[test]
fn replace_of_synced_rows_fires_local_triggers_once() {
    let (_folder, mut engine) = engine(vec![table("item", COLUMNS, Vec::new())]);
    engine.execute_batch(LOCAL).unwrap();
    let trigger = "CREATE TRIGGER item_n AFTER INSERT ON item BEGIN
        INSERT INTO draft (id, n) VALUES (NEW.up, 0) ON CONFLICT (id) DO NOTHING;
        UPDATE draft SET n = n + 1 WHERE id = NEW.up; END";
    engine.execute(trigger, &[]).unwrap();
    let replace = "REPLACE INTO item (id, up, n) VALUES ('a', 'x', 1), ('a', 'x', 2)";
    // What captures the rows is rolled back with a transaction, and created again.
    let rolled_back: Result<(), Error> = engine.transaction(|tx| {
        tx.execute(replace, &[])?;
        Err(Error::Closed)
    });
    rolled_back.unwrap_err();
    engine.execute(replace, &[]).unwrap();
    assert_eq!(all(&mut engine, DRAFTS), ["'x 2 2'"]);
    engine.execute_batch(&format!("{replace}; SELECT 1")).unwrap();
    assert_eq!(all(&mut engine, DRAFTS), ["'x 4 4'"]);
    engine.execute("INSERT INTO item (id, n) VALUES ('a', 3)", &[]).unwrap_err();
    engine.execute("INSERT INTO item (id, n) VALUES ('b', 3)", &[]).unwrap();
    engine.execute("UPDATE OR REPLACE item SET id = 'b' WHERE id = 'a'", &[]).unwrap();
    assert_eq!(
        queued(&engine),
        [
            "item a insert up 'x' n 2",
            "item b insert n 3",
            "item b update up NULL>'x' n 3>2",
            "item a delete up 'x' n 2"
        ]
    );
    let replaced =
        "INSERT OR REPLACE INTO item (id, n) VALUES ('b', 7) ON CONFLICT (id) DO UPDATE SET n = 8";
    engine.execute("DROP TRIGGER item_n", &[]).unwrap();
    engine.execute(replaced, &[]).unwrap();
    assert_eq!(all(&mut engine, "SELECT up || n FROM item"), ["'x8'"]);
}

#[test]
fn replace_and_cascades_of_synced_rows_are_captured() {
    let (_folder, mut engine) = items();
    engine.execute_batch(LOCAL).unwrap();
    for sql in [
        "INSERT INTO item (id, up, n) VALUES ('a', NULL, 1), ('b', 'a', 1), ('c', 'b', 1)",
        "UPDATE draft SET n = 1",
        "REPLACE INTO item (id, n) VALUES ('d', 2)",
        "UPDATE draft SET n = 1",
        "REPLACE INTO item (id, n) VALUES ('d', 3)",
    ] {
        engine.execute(sql, &[]).unwrap();
    }
    assert_eq!(queued(&engine).last().unwrap(), "item d update n 2>3");
    engine.execute("UPDATE draft SET n = 1", &[]).unwrap();
    engine.execute("DELETE FROM item WHERE id = 'a'", &[]).unwrap();
    assert_eq!(all(&mut engine, "SELECT id FROM item"), ["'d'"]);
    assert_eq!(queued(&engine).iter().filter(|line| line.contains("delete")).count(), 3);
}

/// Module, the statement that fills it, and a query with its result.
const MODULES: &[(&str, &str, &str, &str)] = &[
    ("rtree(id, a, b)", "INSERT INTO m VALUES (1, 2, 3)", "SELECT id FROM m WHERE a > 1", "1"),
    ("rtree_i32(id, a, b)", "INSERT INTO m VALUES (1, 2, 3)", "SELECT id FROM m", "1"),
    (
        "geopoly(name)",
        "INSERT INTO m (name, _shape) VALUES ('x', '[[0,0],[1,0],[0,1],[0,0]]')",
        "SELECT name FROM m",
        "'x'",
    ),
    ("fts3(a)", "INSERT INTO m VALUES ('milk')", "SELECT a FROM m WHERE m MATCH 'milk'", "'milk'"),
    ("fts4(a)", "INSERT INTO m VALUES ('milk')", "SELECT a FROM m WHERE m MATCH 'milk'", "'milk'"),
    ("fts5(a)", "INSERT INTO m VALUES ('milk')", "SELECT a FROM m WHERE m MATCH 'milk'", "'milk'"),
    ("fts5vocab(other, row)", "INSERT INTO other VALUES ('milk')", "SELECT term FROM m", "'milk'"),
    (
        "fts4aux(older)",
        "INSERT INTO older VALUES ('milk')",
        "SELECT DISTINCT term FROM m",
        "'milk'",
    ),
    ("dbstat", "INSERT INTO other VALUES ('milk')", "SELECT count(*) > 0 FROM m", "1"),
];

#[test]
fn every_module_is_read_written_and_watched() {
    for (module, fill, query, found) in MODULES {
        let (_folder, mut engine) = items();
        engine
            .execute_batch(
                "CREATE VIRTUAL TABLE other USING fts5(a); CREATE VIRTUAL TABLE older USING fts4(a)",
            )
            .unwrap();
        match engine.execute(&format!("CREATE VIRTUAL TABLE m USING {module}"), &[]) {
            Err(error) if error.to_string().contains("no such module") => continue,
            made => made.unwrap(),
        };
        engine.execute(fill, &[]).unwrap();
        assert_eq!(all(&mut engine, query), [*found], "{module}, by the writer");
        // A new connection connects to the module.
        let mut reader = engine.open_reader().unwrap();
        let reads = reader.tables_of(query).unwrap();
        assert!(reads.tables.contains("m"), "{module}: {reads:?}");
        let rows = reader.query(query, &[], |row| row.get::<_, Value>(0)).unwrap();
        assert_eq!(rows.iter().map(text_of).collect::<Vec<_>>(), [*found], "{module}, by a reader");
        let delete = reader.query("DELETE FROM m", &[], |_| Ok(()));
        let refused = matches!(delete, Err(Error::InvalidInput(InputFault::Refused { .. })));
        assert!(refused || delete.is_err(), "{module}: {delete:?}");
        reader.tables_of("DELETE FROM item").unwrap_err();
    }
}

#[test]
fn functions_that_return_tables_are_read() {
    let (_folder, mut engine) = items();
    let mut reader = engine.open_reader().unwrap();
    for sql in [
        "SELECT count(*) FROM json_each('[1]')",
        "SELECT count(*) FROM json_tree('1')",
        "SELECT count(*) > 0 FROM dbstat",
        "SELECT count(*) > 0 FROM pragma_table_info('item')",
    ] {
        assert_eq!(all(&mut engine, sql), ["1"], "{sql}, by the writer");
        let rows = reader.query(sql, &[], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(rows, [1], "{sql}, by a reader");
    }
}
