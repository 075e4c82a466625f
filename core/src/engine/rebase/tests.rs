//! Tests of server responses that overlap pending mutations.

mod budget;
mod by_version;
mod edit;
mod endings;
mod linear;
mod outdated;
mod policies;
mod policy;
mod replays;
pub(super) mod support;
mod verdicts;
mod waiting;

use super::*;
use crate::engine::rebase::decide;
use crate::engine::schema::app_trigger::TRIGGER_DISABLED;
use crate::engine::search;
use crate::engine::tests::{engine, table};
use crate::value::Value;
use rejoin_protocol::wire::push::Ending;
use rejoin_protocol::wire::snapshot::KeyRange;
use support::*;

#[test]
fn edit_survives_the_same_value_from_the_server() {
    let (_folder, mut engine) = notes();
    engine.apply(images(&engine, &[("a", Some("one"), 1)])).unwrap();
    engine.execute("UPDATE notes SET n = 5 WHERE id = 'a'", &[]).unwrap();
    engine.apply(images(&engine, &[("a", Some("one"), 5)])).unwrap();
    engine.apply(images(&engine, &[("a", Some("one"), 6)])).unwrap();
    assert_eq!(shown(&engine), "a one 5", "the effect is unchanged");
    assert_eq!(base(&engine, "a"), Some(vec!["a".into(), "one".into(), 6.into()]));
}

#[test]
fn edit_of_removed_row_applies_when_the_row_returns() {
    let (_folder, mut engine) = notes();
    engine.apply(images(&engine, &[("a", Some("one"), 1)])).unwrap();
    engine.execute("UPDATE notes SET n = 5 WHERE id = 'a'", &[]).unwrap();
    engine.apply(images(&engine, &[("a", None, 0)])).unwrap();
    assert_eq!(shown(&engine), "");
    engine.apply(images(&engine, &[("a", Some("two"), 2)])).unwrap();
    assert_eq!(shown(&engine), "a two 5");
}

#[test]
fn batch_without_overlap_undoes_nothing() {
    let (_folder, mut engine) = notes();
    for key in 0..20 {
        let sql = "INSERT INTO notes (id, body, n) VALUES (?1, 'x', 0)";
        engine.execute(sql, &[format!("k{key}").into()]).unwrap();
    }
    let applied = engine.apply(images(&engine, &[("z", Some("far"), 1)])).unwrap();
    assert_eq!(applied.affected, 0);
    let applied = engine.apply(images(&engine, &[("k3", Some("near"), 1)])).unwrap();
    assert_eq!(applied.affected, 1);
}

#[test]
fn local_writes_are_captured_after_a_bulk_batch() {
    for (rows, arrives) in [(r#"[["a","one",1]]"#, true), (r#"[["a","one"]]"#, false)] {
        let (_folder, mut engine) = notes();
        let sets = vec![set("notes", &["id", "body", "n"], rows)];
        let applied = engine.apply(Batch { sets, bulk: true, ..Batch::default() });
        assert_eq!(applied.is_ok(), arrives, "{rows}");
        engine.execute("INSERT INTO notes (id, body, n) VALUES ('b', 'mine', 2)", &[]).unwrap();
        let pending = engine.pending().unwrap();
        assert_eq!(pending.len(), 1, "{rows}: only the later write is a mutation");
        assert_eq!(pending[0].effect.rows.len(), 1);
    }
}

#[test]
fn rows_with_only_a_key_are_added_and_removed() {
    let (_folder, mut engine) = engine(vec![table("tags", &[("id", "string")], vec![])]);
    let seen = |engine: &Engine| column(engine, "SELECT id FROM tags ORDER BY id").join(" ");
    let remote = |engine: &Engine, key: &str, there: bool| {
        let cells: Option<&[(&str, Value)]> = there.then_some(&[]);
        Batch { images: vec![image(engine, "tags", key, cells)], ..Batch::default() }
    };
    let batch = remote(&engine, "a", true);
    engine.apply(batch).unwrap();
    engine.execute("INSERT INTO tags (id) VALUES ('b')", &[]).unwrap();
    engine.execute("DELETE FROM tags WHERE id = 'a'", &[]).unwrap();
    for (key, there) in [("a", true), ("b", true), ("b", false)] {
        let batch = remote(&engine, key, there);
        engine.apply(batch).unwrap();
        assert_eq!(seen(&engine), "b", "{key} {there}: the local write stays on top");
    }
    for mutation in engine.pending().unwrap() {
        decide::discard(&mut engine, mutation.id).unwrap();
    }
    assert_eq!(seen(&engine), "a", "without it, the base");
}

#[test]
fn rows_and_a_range_replace_the_base_rows_in_it() {
    let (_folder, mut engine) = notes();
    let rows = [("a", Some("1"), 1), ("b", Some("2"), 2), ("c", Some("3"), 3), ("x", Some("4"), 4)];
    engine.apply(images(&engine, &rows)).unwrap();
    engine.execute("DELETE FROM notes WHERE id = 'b'", &[]).unwrap();
    engine.execute("INSERT INTO notes (id, body, n) VALUES ('bb', 'mine', 0)", &[]).unwrap();
    let batch = Batch {
        sets: vec![set("notes", &["n", "id", "body"], r#"[[7,"a","one"],[8,"d","four"]]"#)],
        ranges: vec![KeyRange {
            table_name: String::from("notes"),
            after: None,
            through: Some(String::from("d")),
        }],
        ..Batch::default()
    };
    let applied = engine.apply(batch).unwrap();
    assert_eq!(applied.rows, 4, "two are written, b and c are removed");
    assert_eq!(shown(&engine), "a one 7; bb mine 0; d four 8; x 4 4");
    assert_eq!(base(&engine, "b"), None, "also below a pending delete");
    assert_eq!(base(&engine, "bb"), None);
}

#[test]
fn unknown_table_or_column_fails_the_whole_batch() {
    let (_folder, mut engine) = notes();
    for (table, columns, rows) in [
        ("strangers", &["id"][..], r#"[["a"]]"#),
        ("notes", &["id", "colour"][..], r#"[["a","red"]]"#),
        ("notes", &["body"][..], r#"[["red"]]"#),
        ("notes", &["id", "n"][..], r#"[["a",1],["b","many"]]"#),
        ("notes", &["id", "n"][..], r#"[["a",1],[null,1]]"#),
    ] {
        let batch = Batch {
            sets: vec![set(table, columns, rows)],
            meta: vec![(String::from("cursor"), Some(String::from("7")))],
            ..Batch::default()
        };
        let error = engine.apply(batch).unwrap_err();
        assert!(
            matches!(error, crate::Error::Sync(crate::SyncFault::Protocol(_))),
            "{table} {columns:?}: {error}"
        );
        assert_eq!(shown(&engine), "", "{table} {columns:?}");
        assert_eq!(engine.meta("cursor").unwrap(), None, "the cursor is rolled back");
    }
}

#[test]
fn failing_app_trigger_is_disabled_for_its_transaction() {
    let (_folder, mut engine) = notes();
    engine.execute_batch("CREATE TABLE mirror (body TEXT UNIQUE)").unwrap();
    engine.execute_batch("CREATE TABLE log (id TEXT)").unwrap();
    let trigger = |name: &str, body: &str| {
        format!("CREATE TRIGGER {name} AFTER INSERT ON notes BEGIN {body}; END")
    };
    engine.execute_batch(&trigger("a_log", "INSERT INTO log VALUES (NEW.id)")).unwrap();
    engine.execute_batch(&trigger("b_mirror", "INSERT INTO mirror VALUES (NEW.body)")).unwrap();
    let rows = [("a", Some("same"), 1), ("b", Some("same"), 2), ("c", Some("same"), 3)];
    engine.apply(images(&engine, &rows)).unwrap();
    assert_eq!(shown(&engine), "a same 1; b same 2; c same 3");
    assert_eq!(column(&engine, "SELECT id FROM log"), ["a", "b", "c"], "the other one still works");
    let disabled = engine.meta(TRIGGER_DISABLED).unwrap().unwrap();
    assert!(disabled.contains("b_mirror") && !disabled.contains("a_log"), "{disabled}");
    engine.apply(images(&engine, &[("d", Some("other"), 4), ("e", Some("other"), 5)])).unwrap();
    assert_eq!(column(&engine, "SELECT body FROM mirror"), ["same", "other"], "it works again");
    let disabled = engine.meta(TRIGGER_DISABLED).unwrap().unwrap();
    assert!(disabled.contains(r#""measure":"disabled","times":2"#), "{disabled}");
}

#[test]
fn two_failing_app_triggers_leave_the_others_enabled() {
    let (_folder, mut engine) = notes();
    search::create_search_index(&mut engine, "notes", &["body"], None).unwrap();
    engine
        .execute_batch(
            "CREATE TABLE log (id TEXT);
             CREATE TABLE one (n CHECK (n < 5)); CREATE TABLE two (n CHECK (n < 5));
             CREATE TRIGGER a_log AFTER INSERT ON notes BEGIN INSERT INTO log VALUES (NEW.id); END;
             CREATE TRIGGER b_one AFTER INSERT ON notes BEGIN INSERT INTO one VALUES (NEW.n); END;
             CREATE TRIGGER c_two AFTER INSERT ON notes BEGIN INSERT INTO two VALUES (NEW.n); END;
             CREATE TRIGGER d_log AFTER INSERT ON notes BEGIN INSERT INTO log VALUES (NEW.id); END;",
        )
        .unwrap();
    let triggers = "SELECT name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name";
    let before = column(&engine, triggers);
    engine.apply(images(&engine, &[("a", Some("milk"), 9), ("b", Some("milk"), 1)])).unwrap();
    assert_eq!(column(&engine, triggers), before, "all exist again");
    assert_eq!(column(&engine, "SELECT id FROM log ORDER BY id"), ["a", "a", "b", "b"]);
    let found = "SELECT id FROM search_notes WHERE search_notes MATCH 'milk' ORDER BY id";
    assert_eq!(column(&engine, found), ["a", "b"]);
    let disabled = engine.meta(TRIGGER_DISABLED).unwrap().unwrap();
    for (name, is) in [("b_one", true), ("c_two", true), ("_log", false), ("search", false)] {
        assert_eq!(disabled.contains(name), is, "{name}: {disabled}");
    }
    engine.apply(images(&engine, &[("c", Some("tea"), 2)])).unwrap();
    assert_eq!(column(&engine, "SELECT n || '' FROM one"), ["2"]);
}

/// The cached answer whether the app has triggers is refreshed after it has created one.
#[test]
fn trigger_made_after_the_first_bulk_page_runs_for_later_ones() {
    let (_folder, mut engine) = notes();
    engine.execute_batch("CREATE TABLE log (id TEXT)").unwrap();
    let page = |rows: &str| {
        let sets = vec![set("notes", &["id", "body", "n"], rows)];
        Batch { sets, bulk: true, ..Batch::default() }
    };
    engine.apply(page(r#"[["a","one",1]]"#)).unwrap();
    engine.apply(page(r#"[["b","two",2]]"#)).unwrap();
    let sql = "CREATE TRIGGER t AFTER INSERT ON notes BEGIN INSERT INTO log VALUES (NEW.id); END";
    engine.execute_batch(sql).unwrap();
    engine.apply(page(r#"[["c","three",3]]"#)).unwrap();
    assert_eq!(column(&engine, "SELECT id FROM log"), ["c"]);
    engine.execute_batch("DROP TRIGGER t").unwrap();
    engine.apply(page(r#"[["d","four",4]]"#)).unwrap();
    assert_eq!(column(&engine, "SELECT id FROM log"), ["c"]);
}

/// Two images in one batch name some columns each: they are applied in the order of the batch.
#[test]
fn later_of_two_partial_images_wins() {
    let (_folder, mut engine) = notes();
    engine.apply(images(&engine, &[("a", Some("one"), 1), ("z", Some("far"), 1)])).unwrap();
    let part = |engine: &Engine, key: &str, cells: &[(&str, Value)]| {
        image(engine, "notes", key, Some(cells))
    };
    let mut parts: Vec<_> = (0..20_i64)
        .flat_map(|number| {
            [
                part(&engine, "z", &[("n", number.into())]),
                part(&engine, "a", &[("n", number.into())]),
            ]
        })
        .collect();
    parts.push(part(&engine, "a", &[("body", "two".into())]));
    parts.push(part(&engine, "a", &[("body", "three".into()), ("n", 30.into())]));
    parts.push(part(&engine, "a", &[("n", 40.into())]));
    engine.apply(Batch { images: parts, ..Batch::default() }).unwrap();
    assert_eq!(shown(&engine), "a three 40; z far 19");
}

#[test]
fn trigger_with_a_missing_table_rejects_no_row() {
    let (_folder, mut engine) = notes();
    engine.execute_batch("CREATE TABLE mirror (body TEXT)").unwrap();
    let sql =
        "CREATE TRIGGER m AFTER UPDATE ON notes BEGIN INSERT INTO mirror VALUES (NEW.body); END";
    engine.execute_batch(sql).unwrap();
    let batch = images(&engine, &[("a", Some("one"), 1)]);
    engine.apply(batch).unwrap();
    engine.execute("UPDATE notes SET n = 2", &[]).unwrap();
    engine.execute("DROP TABLE mirror", &[]).unwrap();
    let batch = images(&engine, &[("a", Some("two"), 1)]);
    engine.apply(batch).unwrap();
    assert_eq!(shown(&engine), "a two 2");
    assert!(engine.meta(TRIGGER_DISABLED).unwrap().unwrap().contains("mirror"));
}

#[test]
fn large_first_page_restores_the_triggers() {
    let (_folder, mut engine) = notes();
    let triggers = |engine: &Engine| {
        let sql = "SELECT name || sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name";
        let mut statement = engine.db.conn().prepare(sql).unwrap();
        let found = statement.query_map([], |row| row.get(0)).unwrap();
        found.collect::<rusqlite::Result<Vec<String>>>().unwrap()
    };
    let before = triggers(&engine);
    engine.execute("INSERT INTO notes VALUES ('k7', 'mine', 0)", &[]).unwrap();
    let rows: Vec<String> = (0..2_000).map(|n| format!("[\"k{n}\",\"a row\",{n}]")).collect();
    let batch = Batch {
        sets: vec![set("notes", &["id", "body", "n"], &format!("[{}]", rows.join(",")))],
        bulk: true,
        ..Batch::default()
    };
    assert_eq!(engine.apply(batch).unwrap().rows, 2_000);
    assert_eq!(triggers(&engine), before);
    assert_eq!(column(&engine, "SELECT count(*) || '' FROM notes"), ["2000"]);
    assert_eq!(engine.queue.len(), 1);
    engine.execute("UPDATE notes SET n = -1 WHERE id = 'k9'", &[]).unwrap();
    assert_eq!(engine.queue.len(), 2, "writes are captured again");
    assert_eq!(column(&engine, "SELECT body FROM notes WHERE id = 'k7'"), ["mine"]);
}
