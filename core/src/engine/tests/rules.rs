//! Declared rules: enforced for local writes, with SQLite's messages, and never for base rows.

use std::sync::Arc;

use rejoin_protocol::manifest::{ReferenceAction, Rule};
use serde_json::json;

use super::{all, base, engine, mutations, queued, table};
use crate::engine::Engine;
use crate::engine::action::{Actions, perform};
use crate::engine::database::Triggers;
use crate::error::{Error, InputFault};

fn refer(column: &str, table: &str, on_delete: ReferenceAction) -> Rule {
    Rule::References {
        column: column.to_owned(),
        table: table.to_owned(),
        on_delete,
        on_update: ReferenceAction::NoAction,
    }
}

fn ruled() -> (tempfile::TempDir, Engine) {
    let unique = |columns: &[&str]| Rule::Unique {
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
    };
    let check = |name: &str, expression: &str| Rule::Check {
        name: name.to_owned(),
        expression: expression.to_owned(),
    };
    let (folder, mut engine) = engine(vec![
        table(
            "p",
            &[("id", "string"), ("a", "int"), ("b", "string")],
            vec![
                Rule::NotNull { column: String::from("a") },
                check("a_is_not_negative", "a >= 0"),
                check("b_is_short", "length(b) < 5"),
            ],
        ),
        table(
            "u",
            &[("id", "string"), ("n", "int"), ("m", "int")],
            vec![unique(&["n"]), unique(&["m", "n"])],
        ),
        table(
            "c",
            &[("id", "string"), ("p", "string")],
            vec![refer("p", "p", ReferenceAction::Cascade)],
        ),
        table(
            "d",
            &[("id", "string"), ("p", "string")],
            vec![refer("p", "p", ReferenceAction::Restrict)],
        ),
        table(
            "f",
            &[("id", "string"), ("p", "string")],
            vec![refer("p", "p", ReferenceAction::NoAction)],
        ),
        table(
            "t",
            &[("id", "string"), ("up", "string")],
            vec![refer("up", "t", ReferenceAction::NoAction)],
        ),
    ]);
    engine
        .execute_batch(
            "INSERT INTO p VALUES ('p', 1, 'b'); INSERT INTO u VALUES ('1', 1, 1), ('2', 2, 2)",
        )
        .unwrap();
    super::settle(&engine);
    (folder, engine)
}

/// The error of one statement: it must leave rows and queue unchanged, and the transaction usable.
fn error_of(engine: &mut Engine, sql: &str) -> String {
    let rows = |engine: &mut Engine| {
        ["p", "u", "c", "d", "f", "t"].map(|table| {
            all(
                engine,
                &format!("SELECT json_array(*) FROM (SELECT * FROM {table})")
                    .replace("json_array(*)", "quote(id)"),
            )
        })
    };
    let before = (rows(engine), mutations(engine));
    let alone = engine.execute(sql, &[]).expect_err(sql).to_string();
    assert_eq!(before, (rows(engine), mutations(engine)), "{sql}");
    let mut inside = String::new();
    engine
        .transaction(|tx| {
            inside = tx.execute(sql, &[]).expect_err(sql).to_string();
            Ok(())
        })
        .unwrap();
    assert_eq!(before, (rows(engine), mutations(engine)), "{sql}");
    assert_eq!(alone, inside);
    alone
}

#[test]
fn violated_rule_is_reported_with_sqlites_message() {
    let (_folder, mut engine) = ruled();
    for (sql, error) in [
        ("INSERT INTO p VALUES ('x', NULL, 'b')", "NOT NULL constraint failed: p.a"),
        ("INSERT INTO p (id) VALUES ('x')", "NOT NULL constraint failed: p.a"),
        ("UPDATE p SET a = NULL", "NOT NULL constraint failed: p.a"),
        ("INSERT INTO p VALUES ('x', -1, 'b')", "CHECK constraint failed: p.a_is_not_negative"),
        ("UPDATE p SET b = 'longer'", "CHECK constraint failed: p.b_is_short"),
        ("INSERT INTO u VALUES ('3', 1, 5)", "UNIQUE constraint failed: u.n"),
        ("UPDATE u SET n = 2 WHERE id = '1'", "UNIQUE constraint failed: u.n"),
        ("INSERT INTO u VALUES ('1', 7, 7)", "UNIQUE constraint failed: u.id"),
        ("INSERT INTO c VALUES ('c', 'missing')", "FOREIGN KEY constraint failed: c.p"),
        ("INSERT INTO t VALUES ('t', 'missing')", "FOREIGN KEY constraint failed: t.up"),
    ] {
        assert_eq!(error_of(&mut engine, sql), error, "{sql}");
    }
    engine.execute("INSERT INTO d VALUES ('d', 'p')", &[]).unwrap();
    assert_eq!(error_of(&mut engine, "DELETE FROM p"), "FOREIGN KEY constraint failed: d.p");
    engine.execute_batch("DELETE FROM d; INSERT INTO f VALUES ('f', 'p')").unwrap();
    for sql in ["DELETE FROM p", "UPDATE p SET id = 'q'"] {
        assert_eq!(error_of(&mut engine, sql), "FOREIGN KEY constraint failed: f.p");
    }
}

#[test]
fn every_or_clause_raises_on_a_declared_rule() {
    let (_folder, mut engine) = ruled();
    for clause in ["IGNORE", "REPLACE", "ABORT", "FAIL", "ROLLBACK"] {
        let sql = format!("INSERT OR {clause} INTO p VALUES ('x', 1, 'b'), ('y', -1, 'b')");
        assert_eq!(error_of(&mut engine, &sql), "CHECK constraint failed: p.a_is_not_negative");
        let sql = format!("INSERT OR {clause} INTO u VALUES ('x', 8, 8), ('y', 1, 9)");
        assert_eq!(error_of(&mut engine, &sql), "UNIQUE constraint failed: u.n");
    }
    // The key is a native constraint, so its clauses work.
    engine.execute("INSERT OR IGNORE INTO u VALUES ('1', 9, 9)", &[]).unwrap();
    assert!(queued(&engine).is_empty());
}

#[test]
fn upsert_on_more_than_the_key_is_explained() {
    let (_folder, mut engine) = ruled();
    let sql = "INSERT INTO u VALUES ('3', 1, 1) ON CONFLICT (n) DO UPDATE SET m = 9";
    let error = engine.execute(sql, &[]).unwrap_err();
    assert!(
        matches!(&error, Error::InvalidInput(InputFault::Refused { reason: why, .. }) if why.contains("the key only")),
        "{error}"
    );
}

#[test]
fn unique_and_references_are_checked_after_the_statement() {
    let (_folder, mut engine) = ruled();
    for sql in [
        "UPDATE u SET n = 3 - n",
        "UPDATE u SET n = n + 1, m = m + 1",
        "INSERT INTO t VALUES ('child', 'parent'), ('parent', NULL)",
        "DELETE FROM t",
        "INSERT INTO u (id, n) VALUES ('3', NULL), ('4', NULL)",
    ] {
        engine.execute(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[test]
fn update_checks_only_rules_of_changed_columns() {
    let (_folder, mut engine) = ruled();
    base(
        &mut engine,
        "INSERT INTO p VALUES ('bad', NULL, 'far too long'); INSERT INTO u VALUES ('9', 1, 3);
         INSERT INTO c VALUES ('c', 'missing')",
    );
    engine.execute("UPDATE p SET a = 5 WHERE id = 'bad'", &[]).unwrap();
    engine.execute("UPDATE u SET m = 4 WHERE id = '9'", &[]).unwrap();
    engine.execute("UPDATE u SET n = 8 WHERE id = '9'", &[]).unwrap();
    assert_eq!(
        error_of(&mut engine, "UPDATE u SET n = 1 WHERE id = '9'"),
        "UNIQUE constraint failed: u.n"
    );
    assert_eq!(
        error_of(&mut engine, "UPDATE p SET b = 'too long as well' WHERE id = 'bad'"),
        "CHECK constraint failed: p.b_is_short"
    );
}

/// Rows that violate every rule, as a server may send them in any order.
const BROKEN: &str = "INSERT INTO p VALUES ('x', NULL, 'far too long'), ('y', -1, NULL);
    INSERT INTO u VALUES ('8', 1, 1), ('9', 1, 1); INSERT INTO c VALUES ('c', 'missing');
    INSERT INTO f VALUES ('f', 'p'); INSERT INTO d VALUES ('d', 'p'); DELETE FROM p WHERE id = 'p'";

#[test]
fn base_rows_are_never_refused_captured_or_cascaded() {
    let (_folder, mut engine) = ruled();
    base(&mut engine, BROKEN);
    assert!(queued(&engine).is_empty());
    assert_eq!(all(&mut engine, "SELECT p FROM d"), ["'p'"]);
    base(
        &mut engine,
        "INSERT INTO p VALUES ('missing', 1, NULL); DELETE FROM p WHERE id = 'missing'",
    );
    assert_eq!(
        all(&mut engine, "SELECT p FROM c"),
        ["'missing'"],
        "a cascade never runs in base application"
    );
}

#[test]
fn cascades_nest_at_most_a_thousand_levels() {
    let cascading = refer("up", "t", ReferenceAction::Cascade);
    let columns = [("id", "string"), ("up", "string")];
    let (_folder, mut engine) = engine(vec![table("t", &columns, vec![cascading])]);
    let chain = |prefix: &str, levels: usize| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {levels})
             INSERT INTO t SELECT '{prefix}' || i, iif(i = 0, NULL, '{prefix}' || (i - 1)) FROM n"
        )
    };
    engine.execute(&chain("a", 999), &[]).unwrap();
    engine.execute("DELETE FROM t WHERE id = 'a0'", &[]).unwrap();
    assert_eq!(all(&mut engine, "SELECT count(*) FROM t"), ["0"]);
    engine.execute(&chain("b", 1001), &[]).unwrap();
    let error = engine.execute("DELETE FROM t WHERE id = 'b0'", &[]).unwrap_err().to_string();
    assert!(error.contains("triggers nested too deep"), "{error}");
    assert_eq!(all(&mut engine, "SELECT count(*) FROM t"), ["1002"]);
}

#[test]
fn check_compares_like_a_native_check() {
    for (logical, native, expression, value) in [
        ("string", "TEXT", "a > 5", "'10'"),
        ("string", "TEXT", "a < 5", "'10'"),
        ("int", "INTEGER", "a > '5'", "'10'"),
        ("float", "REAL", "a > '5'", "10"),
        ("string", "TEXT", "a IN ('x', 'y')", "NULL"),
        ("string", "TEXT", "a <> 'x'", "'x'"),
        ("int", "INTEGER", "typeof(a) = 'integer'", "'7'"),
    ] {
        let rule = Rule::Check { name: String::from("rule"), expression: expression.to_owned() };
        let (_folder, mut engine) =
            engine(vec![table("q", &[("id", "string"), ("a", logical)], vec![rule])]);
        engine
            .execute(&format!("CREATE TABLE n (id, a {native} CHECK ({expression}))"), &[])
            .unwrap();
        let [ours, theirs] = ["q", "n"].map(|table| {
            engine.execute(&format!("INSERT INTO {table} VALUES ('1', {value})"), &[])
        });
        assert_eq!(
            ours.is_ok(),
            theirs.is_ok(),
            "{expression} on {logical} with {value}: {ours:?}"
        );
    }
}

#[test]
fn values_that_cannot_be_synced_are_refused_by_column() {
    let columns = [
        ("id", "string"),
        ("s", "string"),
        ("i", "int64"),
        ("f", "float"),
        ("o", "boolean"),
        ("b", "bytes"),
        ("d", "datetime"),
        ("y", "date"),
        ("c", "time"),
        ("j", "json"),
    ];
    let (_folder, mut engine) = engine(vec![table("v", &columns, Vec::new())]);
    for (column, good, bad) in [
        ("s", "'text'", vec!["CAST(x'ff' AS TEXT)", "'a' || char(0) || 'b'", "x'00'"]),
        ("i", "'42'", vec!["'x'", "1.5", "9e999", "x'01'"]),
        ("f", "1", vec!["9e999", "-9e999", "'x'"]),
        ("o", "1", vec!["2", "'true'"]),
        ("b", "x'ff00'", vec!["'text'", "1"]),
        (
            "d",
            "'2026-02-28 12:00:00'",
            vec!["'yesterday'", "'2026-02-30T00:00:00.000000Z'", "'0000-01-01T00:00:00.000000Z'"],
        ),
        ("y", "'2024-02-29'", vec!["'2023-02-29'", "'2024-2-9'"]),
        ("c", "'23:59:59.5'", vec!["'24:00'", "'noon'"]),
        ("j", "'{\"a\": [1]}'", vec!["'{a}'"]),
    ] {
        for value in bad {
            let sql = format!("INSERT OR REPLACE INTO v (id, {column}) VALUES ('a', {value})");
            let error = engine.execute(&sql, &[]).expect_err(&sql);
            assert!(
                matches!(&error, Error::InvalidInput(InputFault::Value { table, column: named, .. }) if table == "v" && named == column),
                "{sql}: {error}"
            );
        }
        let sql = format!("INSERT OR REPLACE INTO v (id, {column}) VALUES ('a', {good})");
        engine.execute(&sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[test]
fn key_is_required_and_a_uuid_has_one_text() {
    let integer = table("i", &[("id", "int64"), ("x", "int")], Vec::new());
    let (_folder, mut engine) =
        engine(vec![table("s", &[("id", "string"), ("x", "int")], Vec::new()), integer]);
    let uuid = "6F9619FF-8B86-4D01-B42D-00CF4FC964FF";
    for (sql, word) in [
        (String::from("INSERT INTO s (x) VALUES (1)"), "NULL"),
        (String::from("INSERT OR IGNORE INTO s VALUES (NULL, 1)"), "NULL"),
        (String::from("INSERT INTO i (x) VALUES (1)"), "NULL"),
        (format!("INSERT INTO s VALUES ('{uuid}', 1)"), "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"),
        (format!("INSERT INTO s VALUES ('{{{uuid}}}', 1)"), "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"),
        (String::from("INSERT INTO s VALUES (x'00', 1)"), "BLOB"),
    ] {
        let error = engine.execute(&sql, &[]).expect_err(&sql);
        assert!(
            matches!(&error, Error::InvalidInput(InputFault::Value { reason: why, .. }) if why.contains(word)),
            "{sql}: {error}"
        );
    }
    engine.execute(&format!("INSERT INTO s VALUES ('{}', 1)", uuid.to_lowercase()), &[]).unwrap();
    engine.execute("INSERT INTO s VALUES ('d41d8cd98f00b204e9800998ecf8427e', 1)", &[]).unwrap();
    engine.execute("INSERT INTO i VALUES (7, 1)", &[]).unwrap();
    assert_eq!(mutations(&engine), 3);
}

#[test]
fn read_only_table_refuses_writes_by_name() {
    let mut manifest = table("fixed", &[("id", "string"), ("x", "int")], Vec::new());
    manifest.push_policy = String::from("disabled");
    let (_folder, mut engine) = engine(vec![manifest]);
    base(&mut engine, "INSERT INTO fixed VALUES ('a', 1)");
    for sql in ["INSERT INTO fixed VALUES ('b', 1)", "UPDATE fixed SET x = 2", "DELETE FROM fixed"]
    {
        let error = engine.execute(sql, &[]).expect_err(sql);
        assert!(
            matches!(&error, Error::InvalidInput(InputFault::Refused { what, .. }) if what.contains("fixed")),
            "{error}"
        );
    }
}

/// What a statement does by cascades is found when it is compiled, also after large pages of remote
/// rows, which are written without triggers.
#[test]
fn action_that_is_compiled_while_triggers_are_off_checks_its_cascades() {
    let columns = [("id", "string"), ("up", "string")];
    let (column, up) = (String::from("up"), String::from("a"));
    let cascade = ReferenceAction::Cascade;
    let both = Rule::References { column, table: up, on_delete: cascade, on_update: cascade };
    let (_folder, mut engine) = engine(vec![
        table("a", &columns, Vec::new()),
        table("b", &columns, vec![both]),
        table("c", &columns, vec![refer("up", "b", ReferenceAction::NoAction)]),
    ]);
    base(
        &mut engine,
        "INSERT INTO a VALUES ('1', NULL); INSERT INTO b VALUES ('2', '1'); INSERT INTO c VALUES ('3', '2')",
    );
    engine.db.set_triggers(Triggers::MayRest).unwrap();
    let delete = r#"{"name": "delete", "parameters": [{"name": "id", "type": "text"}],
        "statements": ["DELETE FROM a WHERE id = :id"]}"#;
    let actions = Actions::new().declare(delete);
    perform::set_actions(&mut engine, Arc::new(actions), true).unwrap();
    let refused = perform::perform(&mut engine, "delete", &json!({"id": "1"})).unwrap_err();
    assert!(refused.to_string().contains("FOREIGN KEY"), "{refused}");
    assert_eq!(all(&mut engine, "SELECT up FROM c"), ["'2'"]);
}
