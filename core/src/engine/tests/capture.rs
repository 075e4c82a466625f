//! What is captured of each kind of write.

use rejoin_protocol::manifest::{ColumnManifest, GeneratedColumn, TableExtension};

use super::{all, column, engine, mutations, notes, queued, settle, table};
use crate::engine::Engine;
use crate::error::{Error, InputFault};
use crate::value::Value;

/// Runs `before` without capture, then `sql` in one transaction; returns the queue's lines.
fn captured(engine: &mut Engine, before: &str, sql: &str) -> Vec<String> {
    engine.execute_batch(before).unwrap();
    settle(engine);
    engine.execute_batch(sql).unwrap();
    queued(engine)
}

fn of_notes(before: &str, sql: &str) -> Vec<String> {
    let (_folder, mut engine) = notes();
    captured(&mut engine, before, sql)
}

const ONE: &str = "INSERT INTO notes (id, body, n) VALUES ('a', 'x', 1)";

#[test]
fn insert_update_and_delete_are_captured() {
    assert_eq!(of_notes("", ONE), ["notes a insert body 'x' n 1"]);
    assert_eq!(of_notes(ONE, "UPDATE notes SET body = 'y'"), ["notes a update body 'x'>'y'"]);
    assert_eq!(of_notes(ONE, "DELETE FROM notes"), ["notes a delete body 'x' n 1"]);
}

#[test]
fn replace_is_a_delete_and_an_insert() {
    let lines = of_notes(ONE, "INSERT OR REPLACE INTO notes (id, body) VALUES ('a', 'y')");
    assert_eq!(lines, ["notes a update body 'x'>'y' n 1>null".replace("null", "NULL")]);
    let moved = "INSERT INTO notes (id, body) VALUES ('b', 'z'); ";
    let lines =
        of_notes(&format!("{ONE}; {moved}"), "UPDATE OR REPLACE notes SET id = 'a' WHERE id = 'b'");
    assert_eq!(lines, ["notes a update body 'x'>'z' n 1>NULL", "notes b delete body 'z'"]);
}

#[test]
fn upsert_is_an_insert_or_an_update() {
    let upsert = format!("{ONE} ON CONFLICT (id) DO UPDATE SET n = n + 1");
    assert_eq!(of_notes("", &upsert), ["notes a insert body 'x' n 1"]);
    assert_eq!(of_notes(ONE, &upsert), ["notes a update n 1>2"]);
    let nothing = format!("{ONE} ON CONFLICT DO NOTHING");
    assert!(of_notes(ONE, &nothing).is_empty());
}

#[test]
fn key_change_is_a_delete_and_an_insert() {
    let lines = of_notes(ONE, "UPDATE notes SET id = 'b'");
    assert_eq!(lines, ["notes a delete body 'x' n 1", "notes b insert body 'x' n 1"]);
}

#[test]
fn null_and_empty_text_are_different_values() {
    assert_eq!(of_notes(ONE, "UPDATE notes SET body = NULL"), ["notes a update body 'x'>NULL"]);
    assert_eq!(of_notes(ONE, "UPDATE notes SET body = ''"), ["notes a update body 'x'>''"]);
    let lines = of_notes("INSERT INTO notes (id) VALUES ('a')", "UPDATE notes SET b = x''");
    assert_eq!(lines, ["notes a update b NULL>x[]"]);
}

#[test]
fn extreme_integers_reals_and_blobs_are_exact() {
    let (_folder, mut engine) = notes();
    for (at, number) in [i64::MIN, i64::MAX, (1 << 53) + 1, -1].into_iter().enumerate() {
        let key = Value::Text(format!("k{at}"));
        engine
            .execute(
                "INSERT INTO notes (id, n, r, b) VALUES (?1, ?2, ?3, ?4)",
                &[key, number.into(), f64::MIN_POSITIVE.into(), vec![0, 255, 0].into()],
            )
            .unwrap();
        let line = queued(&engine).pop().unwrap();
        assert!(line.contains(&format!(" n {number} r {:?}", f64::MIN_POSITIVE)), "{line}");
        assert!(line.ends_with("b x[00, ff, 00]"), "{line}");
    }
}

#[test]
fn write_without_a_change_adds_no_mutation() {
    let (_folder, mut engine) = notes();
    for sql in
        ["UPDATE notes SET body = body", "UPDATE notes SET n = n + 1; UPDATE notes SET n = n - 1"]
    {
        engine.execute_batch(ONE.replace("INSERT", "INSERT OR REPLACE").as_str()).unwrap();
        settle(&engine);
        engine.execute_batch(sql).unwrap();
        assert!(queued(&engine).is_empty(), "{sql}");
    }
    assert!(of_notes("", &format!("{ONE}; DELETE FROM notes")).is_empty());
}

/// The changes of a large transaction take another way to the queue than those of a small one: in
/// the memory in which they were captured, and into the row after it was inserted.
#[test]
fn large_transaction_is_captured_like_a_small_one() {
    let rows = |size: usize| {
        format!(
            "WITH RECURSIVE k (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < 400)
             INSERT INTO notes (id, body, n) SELECT 'k' || i, printf('%.*c', {size}, 'x'), i FROM k"
        )
    };
    let once = ["UPDATE notes SET n = n + 1, body = body || 'y'", "DELETE FROM notes"];
    let twice = "UPDATE notes SET body = body || 'y'; UPDATE notes SET n = 0 WHERE id = 'k7'";
    let moved = "UPDATE notes SET id = 'm' || id";
    for sql in once.into_iter().chain([twice, moved, ""]) {
        let of_size = |size: usize| {
            let (before, sql) = match sql {
                "" => (String::new(), rows(size)),
                sql => (rows(size), sql.to_owned()),
            };
            let x = "x".repeat(size);
            let lines = of_notes(&before, &sql).into_iter();
            lines.map(|line| line.replace(&x, "body")).collect::<Vec<_>>()
        };
        let (small, large) = (of_size(10), of_size(4_000));
        assert!(small.len() >= 400, "{sql}");
        assert_eq!(small, large, "{sql}");
    }
}

/// Text and a blob of the same bytes are different values: the change is captured, and rejected
/// like any other of the wrong type.
#[test]
fn blob_differs_from_text_of_the_same_bytes() {
    let (_folder, mut engine) = notes();
    engine.execute_batch("INSERT INTO notes (id, body, b) VALUES ('a', 'x', x'78')").unwrap();
    settle(&engine);
    for sql in [
        "UPDATE notes SET body = CAST(body AS BLOB)",
        "UPDATE notes SET b = CAST(b AS TEXT)",
        "INSERT OR REPLACE INTO notes (id, body, b) VALUES ('a', x'78', x'78')",
    ] {
        let refused = engine.execute_batch(sql);
        assert!(
            matches!(refused, Err(Error::InvalidInput(InputFault::Value { .. }))),
            "{sql}: {refused:?}"
        );
        let types = "SELECT typeof(body) || ' ' || typeof(b) FROM notes";
        assert_eq!(all(&mut engine, types), ["'text blob'"], "{sql}");
        assert!(queued(&engine).is_empty(), "{sql}");
    }
}

#[test]
fn generated_columns_are_not_captured() {
    // A server may also list a computed column among the others.
    let columns = [("id", "string"), ("twice_VIRTUAL", "int"), ("a", "int")];
    let mut manifest = table("g", &columns, Vec::new());
    manifest.rejoin = Some(TableExtension {
        generated: ["VIRTUAL", "STORED"]
            .map(|kind| GeneratedColumn {
                name: format!("twice_{kind}"),
                sql_type: String::from("INTEGER"),
                expression: String::from("a * 2"),
                stored: kind == "STORED",
            })
            .into(),
        ..TableExtension::default()
    });
    let (_folder, mut engine) = engine(vec![manifest]);
    let lines = captured(&mut engine, "", "INSERT INTO g (id, a) VALUES ('a', 2)");
    assert_eq!(lines, ["g a insert a 2"]);
    assert_eq!(all(&mut engine, "SELECT twice_virtual + twice_stored FROM g"), ["8"]);
}

#[test]
fn table_without_rowid_is_captured() {
    let mut manifest = table("w", &[("id", "string"), ("a", "int")], Vec::new());
    manifest.rejoin = Some(TableExtension { without_rowid: true, ..TableExtension::default() });
    let (_folder, mut engine) = engine(vec![manifest]);
    let before = "INSERT INTO w VALUES ('a', 1), ('b', 2)";
    let sql = "INSERT OR REPLACE INTO w VALUES ('a', 5); UPDATE w SET id = 'c' WHERE id = 'b'";
    let lines = captured(&mut engine, before, sql);
    assert_eq!(lines, ["w a update a 1>5", "w b delete a 2", "w c insert a 2"]);
}

#[test]
fn names_may_be_quoted_spaced_and_unicode() {
    let name = "a \"b\" 'c' [d] \u{1f98a} select";
    let manifest = table(name, &[("id", "string"), ("\u{e9}t\u{e9} \"x\"", "string")], Vec::new());
    let (_folder, mut engine) = engine(vec![manifest]);
    let quoted = name.replace('"', "\"\"");
    let sql = format!("INSERT INTO \"{quoted}\" VALUES ('a', 'b')");
    let lines = captured(&mut engine, "", &sql);
    assert_eq!(lines, [format!("{name} a insert \u{e9}t\u{e9} \"x\" 'b'")]);
}

#[test]
fn app_trigger_may_write_a_local_only_table() {
    let (_folder, mut engine) = notes();
    engine
        .execute_batch(
            "CREATE TRIGGER mirrored AFTER INSERT ON notes BEGIN INSERT INTO mirror VALUES (NEW.id, NEW.body); END",
        )
        .unwrap();
    engine.execute(ONE, &[]).unwrap();
    assert_eq!(queued(&engine), ["notes a insert body 'x' n 1"]);
    assert_eq!(all(&mut engine, "SELECT body FROM mirror"), ["'x'"]);
    // The mirror's own UNIQUE fails the second: the row, its mirror and its captured change are
    // rolled back together.
    let error = engine.transaction(|tx| {
        tx.execute("INSERT INTO notes (id, body) VALUES ('b', 'x')", &[]).unwrap_err();
        tx.execute("INSERT INTO notes (id, body) VALUES ('c', 'y')", &[])
    });
    assert_eq!(error.unwrap(), 1);
    assert_eq!(queued(&engine).len(), 2);
    assert_eq!(all(&mut engine, "SELECT id FROM notes ORDER BY id"), ["'a'", "'c'"]);
}

#[test]
fn capture_works_with_trusted_schema_off() {
    let (_folder, mut engine) = notes();
    assert_eq!(all(&mut engine, "PRAGMA trusted_schema"), ["0"]);
    engine.execute(ONE, &[]).unwrap();
    assert_eq!(mutations(&engine), 1);
}

#[test]
fn protected_columns_are_captured() {
    let columns = [("id", "string"), ("updated_at", "datetime"), ("deleted_at", "datetime")];
    let (_folder, mut engine) = engine(vec![table("t", &columns, Vec::new())]);
    let time = "2026-01-31T12:00:00.000001Z";
    let sql = format!("INSERT INTO t VALUES ('a', '{time}', NULL)");
    assert_eq!(captured(&mut engine, "", &sql), [format!("t a insert updated_at '{time}'")]);
}

/// The server, the digest and the device protect the same columns, also columns that are named like
/// times and are none of the table's.
#[test]
fn engine_protects_the_columns_of_the_manifest() {
    let columns = [
        ("id", "string"),
        ("title", "string"),
        ("Title2", "string"),
        ("created_at", "datetime"),
        ("deleted_at", "datetime"),
        ("changed", "datetime"),
        ("owner", "string"),
        ("score", "int"),
    ];
    let mut manifest = table("t", &columns, Vec::new());
    manifest.updated_at_column = String::from("changed");
    manifest.deleted_at_column = String::new();
    let extension = manifest.rejoin.get_or_insert_default();
    extension.owner_column = Some(String::from("owner"));
    extension.protected = vec![String::from("score"), String::from("title2")];
    let (_folder, engine) = engine(vec![manifest.clone()]);
    let table = engine.schema().named("t").unwrap();
    for column in &table.columns {
        assert_eq!(column.protected, manifest.is_protected(&column.name), "{}", column.name);
    }
    let protected = table.columns.iter().filter(|column| column.protected);
    let names: Vec<&str> = protected.map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["created_at", "deleted_at", "changed", "owner", "score"]);
}

#[test]
fn table_of_499_columns_is_captured_and_500_is_refused() {
    let columns = |count: usize| -> Vec<(String, &str)> {
        let mut columns = vec![(String::from("id"), "string")];
        columns.extend((1..count).map(|at| (format!("c{at}"), "int")));
        columns
    };
    let borrowed =
        |columns: &[(String, &'static str)]| -> Vec<(String, &'static str)> { columns.to_vec() };
    let wide = borrowed(&columns(499));
    let wide: Vec<(&str, &str)> = wide.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let (folder, mut engine) = engine(vec![table("wide", &wide, Vec::new())]);
    engine.execute("INSERT INTO wide (id, c498) VALUES ('a', 1)", &[]).unwrap();
    settle(&engine);
    engine.execute("UPDATE wide SET c498 = 2", &[]).unwrap();
    assert_eq!(queued(&engine), ["wide a update c498 1>2"]);
    drop((folder, engine));

    let wider = columns(500);
    let wider: Vec<(&str, &str)> =
        wider.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let folder = tempfile::tempdir().unwrap();
    let manifest = rejoin_protocol::Manifest::new(1, vec![table("wider", &wider, Vec::new())]);
    let error = super::open(&folder, Some(manifest)).unwrap_err();
    assert!(
        matches!(&error, Error::InvalidInput(InputFault::SchemaRefused { table, reason: why }) if table == "wider" && why.contains("499"))
    );
}

#[test]
fn one_commit_reports_one_change_with_its_keys() {
    use std::sync::{Arc, Mutex};
    let (_folder, mut engine) = notes();
    let changes = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&changes);
    engine.on_commit(Box::new(move |change| into.lock().unwrap().push(change.clone())));
    engine
        .transaction(|tx| {
            tx.execute(ONE, &[])?;
            tx.execute("INSERT INTO notes (id) VALUES ('b')", &[])?;
            tx.execute("INSERT INTO mirror VALUES ('m', 'm')", &[])
        })
        .unwrap();
    engine.execute("INSERT INTO notes (id) VALUES ('b')", &[]).unwrap_err();
    let changes = changes.lock().unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].tables["notes"], Some(vec!["a".into(), "b".into()]));
    assert_eq!(changes[0].tables["mirror"], None);
    assert!(changes[0].queue);
}

#[test]
fn default_of_now_is_the_host_time_in_canonical_form() {
    let mut at: ColumnManifest = column("at", "datetime");
    at.sqlite_default_sql = Some(String::from("CURRENT_TIMESTAMP"));
    let mut notes = table("notes", &[("id", "string"), ("body", "string")], Vec::new());
    notes.columns.push(at);
    let (_folder, mut engine) = engine(vec![notes]);
    engine.execute("INSERT INTO notes (id) VALUES ('a')", &[]).unwrap();
    let line = queued(&engine).remove(0);
    assert!(
        line.starts_with("notes a insert at '2026-01-01T00:00:0") && line.ends_with("Z'"),
        "{line}"
    );
}

/// The server takes a transaction as a whole, so only the app can divide it.
#[test]
fn transaction_that_no_server_takes_is_refused_at_its_end() {
    let (_folder, mut engine) =
        engine(vec![table("files", &[("id", "string"), ("b", "bytes")], Vec::new())]);
    engine.execute_batch("CREATE TABLE mine (id INTEGER PRIMARY KEY)").unwrap();
    let rows = |count: usize, from: usize, into: &str| {
        format!(
            "INSERT INTO {into} WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n
             WHERE i < {from} + {count} - 1) SELECT 'f' || i, NULL FROM n"
        )
    };
    engine.execute("INSERT INTO files VALUES ('first', NULL)", &[]).unwrap();
    let half = "zeroblob(33000000)";
    let refused = [
        (vec![rows(100_001, 1, "files")], "100001 rows"),
        (
            vec![
                format!("INSERT INTO files VALUES ('a', {half})"),
                format!("INSERT INTO files VALUES ('b', {half}), ('c', {half})"),
            ],
            "at most 100000 rows and 64 MiB",
        ),
    ];
    for (statements, named) in refused {
        let done = engine.transaction(|tx| {
            tx.execute("INSERT INTO mine VALUES (1)", &[])?;
            statements.iter().try_for_each(|sql| tx.execute(sql, &[]).map(drop))
        });
        let Err(Error::InvalidInput(InputFault::Refused { what, reason })) = done else {
            panic!("{named}: {done:?}")
        };
        assert!(format!("{what}: {reason}").contains(named), "{what}: {reason}");
        let counts = "SELECT (SELECT count(*) FROM files) || (SELECT count(*) FROM mine)";
        assert_eq!(all(&mut engine, counts), ["'10'"], "{named}");
    }
    engine.execute(&rows(99_999, 1, "files"), &[]).unwrap();
    engine.execute("UPDATE files SET b = x'00'", &[]).unwrap();
    assert_eq!(engine.counts().unwrap().pending, 3);
}
