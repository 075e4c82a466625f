//! From one manifest to the next: what is additive never loses pending work; what is not is refused with the reason.

use rejoin_protocol::manifest::{
    ColumnIdentity, ColumnManifest, Index, Manifest, Rule, TableExtension, TableManifest,
};

use super::{all, column, engine, mutations, open, queued, table};
use crate::engine::Engine;
use crate::error::Error;
use crate::ids::{ColumnId, TableNumber};

const TWO: &[(&str, &str)] = &[("id", "string"), ("body", "string")];

fn manifest(version: i64, tables: Vec<TableManifest>) -> Manifest {
    Manifest::new(version, tables)
}

fn with(mut table: TableManifest, change: impl FnOnce(&mut TableExtension)) -> TableManifest {
    let mut extension = table.rejoin.take().unwrap_or_default();
    change(&mut extension);
    table.rejoin = Some(extension);
    table
}

fn identified(columns: &[(&str, &str, u32)]) -> TableManifest {
    let plain: Vec<(&str, &str)> = columns.iter().map(|(name, kind, _)| (*name, *kind)).collect();
    with(table("notes", &plain, Vec::new()), |extension| {
        extension.identities = (columns.iter())
            .map(|(name, _, id)| ColumnIdentity { name: (*name).to_owned(), id: *id })
            .collect();
    })
}

/// An engine with one pending insert into `notes`.
fn pending(first: TableManifest) -> (tempfile::TempDir, Engine) {
    let (folder, mut engine) = engine(vec![first]);
    engine.execute("INSERT INTO notes (id, body) VALUES ('a', 'x')", &[]).unwrap();
    (folder, engine)
}

fn reason(result: Result<crate::engine::Adopted, Error>) -> String {
    match result {
        Err(Error::SchemaRefused { table, why }) => format!("{table}: {why}"),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn an_additive_change_keeps_pending_work_and_says_what_was_gained() {
    let (_folder, mut engine) = pending(table("notes", TWO, Vec::new()));
    engine
        .execute_batch(
            "CREATE TABLE log (x); CREATE INDEX mine ON notes (body); CREATE VIEW seen AS SELECT * FROM notes;
             CREATE TRIGGER told AFTER INSERT ON notes BEGIN INSERT INTO log VALUES (NEW.id); END",
        )
        .unwrap();
    let mut count = column("count", "int");
    count.sqlite_default_sql = Some(String::from("7"));
    let mut notes = table(
        "notes",
        &[("id", "string"), ("body", "string"), ("at", "datetime")],
        vec![Rule::NotNull { column: String::from("body") }],
    );
    notes.columns.push(count);
    let notes = with(notes, |extension| {
        extension.indexes =
            vec![Index { name: String::from("by_at"), columns: vec![String::from("at")] }];
    });
    let more = table("more", TWO, Vec::new());
    let adopted = engine.adopt(&manifest(2, vec![notes.clone(), more.clone()])).unwrap();
    assert_eq!(adopted.new_tables, [TableNumber(2)]);
    assert_eq!(adopted.gained, [(TableNumber(1), vec![ColumnId(3), ColumnId(4)])]);
    assert_eq!(queued(&engine), ["notes a insert body 'x'"]);
    // Old rows wait for the server; the default is for new ones (S3).
    engine.execute("INSERT INTO notes (id, body) VALUES ('b', 'y')", &[]).unwrap();
    assert_eq!(all(&mut engine, "SELECT count FROM notes ORDER BY id"), ["NULL", "7"]);
    assert_eq!(queued(&engine)[1], "notes b insert body 'y' count 7");
    // What the app had made is there, and the new rule holds.
    assert_eq!(all(&mut engine, "SELECT x FROM log"), ["'b'"]);
    assert_eq!(all(&mut engine, "SELECT count(*) FROM seen"), ["2"]);
    let indexes = all(
        &mut engine,
        "SELECT name FROM pragma_index_list('notes') WHERE origin = 'c' ORDER BY name",
    );
    assert_eq!(indexes, ["'by_at'", "'mine'"]);
    assert!(matches!(engine.execute("UPDATE notes SET body = NULL", &[]), Err(Error::Rule { .. })));
    // The same manifest again is nothing.
    assert!(!engine.adopt(&manifest(2, vec![notes, more])).unwrap().changed);
}

#[test]
fn a_gained_column_without_default_is_added_in_place() {
    let (_folder, mut engine) = pending(table("notes", TWO, Vec::new()));
    let columns = [("id", "string"), ("extra", "int"), ("body", "string")];
    let adopted = engine.adopt(&manifest(2, vec![table("notes", &columns, Vec::new())])).unwrap();
    assert_eq!(adopted.gained, [(TableNumber(1), vec![ColumnId(3)])]);
    engine.execute("UPDATE notes SET extra = 5", &[]).unwrap();
    assert_eq!(queued(&engine), ["notes a insert body 'x'", "notes a update extra NULL>5"]);
}

#[test]
fn a_renamed_column_is_the_same_one() {
    let (folder, mut engine) = pending(identified(&[("id", "string", 1), ("body", "string", 2)]));
    let renamed = identified(&[("id", "string", 1), ("text", "string", 2)]);
    let adopted = engine.adopt(&manifest(2, vec![renamed])).unwrap();
    assert!(adopted.gained.is_empty());
    assert_eq!(queued(&engine), ["notes a insert text 'x'"]);
    assert_eq!(all(&mut engine, "SELECT text FROM notes"), ["'x'"]);
    engine.close().unwrap();
    let mut engine = open(&folder, None).unwrap();
    engine.execute("UPDATE notes SET text = 'y'", &[]).unwrap();
    assert_eq!(queued(&engine)[1], "notes a update text 'x'>'y'");
}

#[test]
fn columns_may_swap_names_or_take_the_name_of_one_that_goes() {
    let (_folder, mut engine) = engine(vec![identified(&[
        ("id", "string", 1),
        ("a", "string", 2),
        ("b", "string", 3),
        ("c", "string", 4),
    ])]);
    super::base(&mut engine, "INSERT INTO notes VALUES ('k', 'two', 'three', 'four')");
    let next = identified(&[
        ("id", "string", 1),
        ("b", "string", 2),
        ("c", "string", 3),
        ("a", "string", 5),
    ]);
    let adopted = engine.adopt(&manifest(2, vec![next])).unwrap();
    assert_eq!(adopted.gained, [(TableNumber(1), vec![ColumnId(5)])]);
    assert_eq!(all(&mut engine, "SELECT b || c || coalesce(a, '-') FROM notes"), ["'twothree-'"]);
    engine.execute("UPDATE notes SET c = 'x'", &[]).unwrap();
    assert_eq!(queued(&engine), ["notes k update c 'three'>'x'"]);
}

#[test]
fn what_is_taken_away_is_refused_while_pending_work_names_it_and_done_when_none_does() {
    let none = || table("other", TWO, Vec::new());
    let cases: Vec<(&str, TableManifest, &str)> = vec![
        ("column removed", table("notes", &[("id", "string")], Vec::new()), "column body"),
        (
            "column retyped",
            table("notes", &[("id", "string"), ("body", "int")], Vec::new()),
            "column body",
        ),
        (
            "column dropped and made anew",
            identified(&[("id", "string", 1), ("body", "string", 9)]),
            "column body",
        ),
        ("table removed", none(), "removed the table"),
        (
            "another key",
            {
                let mut other = table("notes", &[("id", "string"), ("body", "string")], Vec::new());
                other.primary_key = vec![String::from("body")];
                other
            },
            "another column",
        ),
    ];
    for (what, next, why) in cases {
        let (_folder, mut engine) =
            pending(identified(&[("id", "string", 1), ("body", "string", 2)]));
        let next = manifest(2, vec![next]);
        let refused = reason(engine.adopt(&next));
        assert!(refused.starts_with("notes: ") && refused.contains(why), "{what}: {refused}");
        // Everything is as it was, and works.
        assert_eq!(engine.meta("schema_version").unwrap().as_deref(), Some("1"));
        engine.execute("UPDATE notes SET body = 'y'", &[]).unwrap();
        assert_eq!(mutations(&engine), 2, "{what}");
        super::settle(&engine);
        engine.queue = crate::engine::queue::Queue::load(engine.db.conn(), &engine.schema).unwrap();
        let adopted = engine.adopt(&next).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(adopted.changed);
        for table in std::sync::Arc::clone(engine.schema()).tables.values() {
            let sql = format!("INSERT INTO {} (id) VALUES ('new')", table.name);
            let result = engine.execute(&sql, &[]);
            assert_eq!(result.is_ok(), what != "another key", "{what}: {result:?}");
        }
    }
}

#[test]
fn a_retyped_column_waits_for_the_server_and_a_widened_one_does_not() {
    let number = |kind| table("notes", &[("id", "string"), ("n", kind)], Vec::new());
    let (_folder, mut engine) = engine(vec![number("int")]);
    super::base(&mut engine, "INSERT INTO notes VALUES ('a', 5)");
    assert!(engine.adopt(&manifest(2, vec![number("int64")])).unwrap().gained.is_empty());
    assert_eq!(all(&mut engine, "SELECT n FROM notes"), ["5"]);
    let adopted = engine.adopt(&manifest(3, vec![number("string")])).unwrap();
    assert_eq!(adopted.gained, [(TableNumber(1), vec![ColumnId(3)])]);
    assert_eq!(all(&mut engine, "SELECT n FROM notes"), ["NULL"]);
}

#[test]
fn numbers_are_never_given_twice() {
    let (_folder, mut engine) = engine(vec![table("a", TWO, Vec::new())]);
    engine.adopt(&manifest(2, vec![table("b", TWO, Vec::new())])).unwrap();
    engine.adopt(&manifest(3, vec![table("c", &[("id", "string")], Vec::new())])).unwrap();
    let again = engine
        .adopt(&manifest(4, vec![table("c", TWO, Vec::new()), table("d", TWO, Vec::new())]))
        .unwrap();
    assert_eq!(again.new_tables, [TableNumber(4)]);
    engine.adopt(&manifest(5, vec![table("c", &[("id", "string")], Vec::new())])).unwrap();
    let again = engine.adopt(&manifest(6, vec![table("c", TWO, Vec::new())])).unwrap();
    assert_eq!(again.gained, [(TableNumber(3), vec![ColumnId(3)])]);
}

#[test]
fn what_cannot_be_synced_is_refused_by_table_and_column() {
    let keyed = |keys: &[&str]| {
        let mut table = table("t", TWO, Vec::new());
        table.primary_key = keys.iter().map(|key| (*key).to_owned()).collect();
        table
    };
    let ruled = |rule: Rule| table("t", TWO, vec![rule]);
    let check = |expression: &str| {
        ruled(Rule::Check { name: String::from("c"), expression: expression.to_owned() })
    };
    let cases: Vec<(TableManifest, &str)> = vec![
        (
            table("t", &[("id", "string"), ("x", "geometry")], Vec::new()),
            "column x has the unknown type geometry",
        ),
        (keyed(&[]), "no key"),
        (keyed(&["id", "body"]), "several columns"),
        (keyed(&["nope"]), "key nope"),
        (table("t", &[("id", "bytes")], Vec::new()), "key id"),
        (table("t", &[("id", "string"), ("ID", "string")], Vec::new()), "stands twice"),
        (table("rejoin_t", TWO, Vec::new()), "reserved"),
        (table("sqlite_t", TWO, Vec::new()), "reserved"),
        (ruled(Rule::NotNull { column: String::from("nope") }), "nope"),
        (ruled(Rule::Unique { columns: vec![String::from("nope")] }), "nope"),
        (
            ruled(Rule::References {
                column: String::from("body"),
                table: String::from("nope"),
                on_delete: rejoin_protocol::manifest::ReferenceAction::NoAction,
                on_update: rejoin_protocol::manifest::ReferenceAction::NoAction,
            }),
            "nope",
        ),
        (check("nope > 1"), "nope"),
        (check("EXISTS (SELECT 1 FROM sqlite_schema)"), "another table"),
        (check("rejoin_local()"), "CHECK c"),
        (
            with(table("t", TWO, Vec::new()), |extension| {
                extension.indexes =
                    vec![Index { name: String::from("i"), columns: vec![String::from("nope")] }];
            }),
            "nope",
        ),
        (table("mine", TWO, Vec::new()), "made a table"),
        (table("parent", TWO, Vec::new()), "FOREIGN KEY"),
    ];
    let (_folder, mut engine) = pending(table("notes", TWO, Vec::new()));
    engine.execute_batch("CREATE TABLE mine (x REFERENCES parent (id))").unwrap();
    for (bad, why) in cases {
        let name = bad.table_name.clone();
        let refused =
            reason(engine.adopt(&manifest(2, vec![table("notes", TWO, Vec::new()), bad])));
        assert!(
            refused.starts_with(&format!("{name}: ")) && refused.contains(why),
            "{why}: {refused}"
        );
    }
    engine.execute("UPDATE notes SET body = 'y'", &[]).unwrap();
    assert_eq!(mutations(&engine), 2);
}

#[test]
fn local_only_tables_are_made_and_grow_and_are_never_synced() {
    let local = |columns: &[(&str, &str)]| {
        with(table("drafts", columns, Vec::new()), |extension| extension.local_only = true)
    };
    let (folder, mut engine) = engine(vec![table("notes", TWO, Vec::new()), local(TWO)]);
    engine.execute("INSERT INTO drafts VALUES ('a', 'b')", &[]).unwrap();
    assert_eq!(mutations(&engine), 0);
    // A server knows nothing of them.
    engine.adopt(&manifest(2, vec![table("notes", TWO, Vec::new())])).unwrap();
    assert_eq!(all(&mut engine, "SELECT body FROM drafts"), ["'b'"]);
    engine.close().unwrap();
    let wider = local(&[("id", "string"), ("body", "string"), ("pinned", "boolean")]);
    let bundle = manifest(1, vec![table("notes", TWO, Vec::new()), wider]);
    let mut engine = open(&folder, Some(bundle)).unwrap();
    engine.execute("UPDATE drafts SET pinned = 1", &[]).unwrap();
    assert_eq!(engine.meta("schema_version").unwrap().as_deref(), Some("2"), "the server's stays");
}

#[test]
fn a_default_of_now_is_the_hosts_instant_in_our_form() {
    let mut at: ColumnManifest = column("at", "datetime");
    at.sqlite_default_sql = Some(String::from("CURRENT_TIMESTAMP"));
    let mut notes = table("notes", TWO, Vec::new());
    notes.columns.push(at);
    let (_folder, mut engine) = engine(vec![notes]);
    engine.execute("INSERT INTO notes (id) VALUES ('a')", &[]).unwrap();
    let line = queued(&engine).remove(0);
    assert!(
        line.starts_with("notes a insert at '2026-01-01T00:00:0") && line.ends_with("Z'"),
        "{line}"
    );
}

#[test]
fn indexes_of_the_app_survive_a_table_that_is_built_anew() {
    let (_folder, mut engine) = engine(vec![table("notes", TWO, Vec::new())]);
    engine.create_index("mine", "notes", &["body"]).unwrap();
    let next = with(table("notes", TWO, Vec::new()), |extension| extension.without_rowid = true);
    engine.adopt(&manifest(2, vec![next])).unwrap();
    let indexes =
        all(&mut engine, "SELECT name FROM pragma_index_list('notes') WHERE origin = 'c'");
    assert_eq!(indexes, ["'mine'"]);
    // One that no longer fits is the reason for a refusal.
    let refused =
        reason(engine.adopt(&manifest(3, vec![table("notes", &[("id", "string")], Vec::new())])));
    assert!(refused.contains("mine"), "{refused}");
}
