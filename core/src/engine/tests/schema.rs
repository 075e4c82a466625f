//! Schema changes: they keep pending mutations or park them whole; refusals give the reason.

use rejoin_protocol::manifest::{
    ColumnIdentity, GeneratedColumn, Index, Manifest, Rule, TableExtension, TableManifest,
};
use std::sync::Arc;

use super::{all, column, engine, mutations, open, queued, table};
use crate::engine::queue::mutation::{Mutation, MutationState, ParkReason};
use crate::engine::rebase::{Batch, ServerVerdict, decide};
use crate::engine::{Engine, adopt, ddl};
use crate::error::{Error, InputFault::SchemaRefused};
use crate::host::TestHost;
use crate::ids::{ColumnId, Seq, TableNumber};
use crate::sync::rows::push::group::{ActionParts, group};
use rejoin_protocol::wire::push::Ending;

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
        Err(Error::InvalidInput(SchemaRefused { table, reason })) => format!("{table}: {reason}"),
        other => panic!("not refused: {other:?}"),
    }
}

/// A server must not inject SQL: each text of a manifest is one expression, type or name.
#[test]
fn manifest_with_statements_is_refused_and_changes_nothing() {
    let evil = "1); DELETE FROM rejoin_mutation; --";
    let default = |name: &str| {
        let mut evil_column = column(name, "string");
        evil_column.sqlite_default_sql = Some(evil.to_owned());
        evil_column
    };
    let mut with_default = table("notes", TWO, Vec::new());
    with_default.columns.push(default("more"));
    let mut local = with(table("aside", TWO, Vec::new()), |extension| extension.local_only = true);
    local.columns.push(default("more"));
    let ours = with(table("rejoin_meta", TWO, Vec::new()), |extension| extension.local_only = true);
    let generated = with(table("notes", TWO, Vec::new()), |extension| {
        let (name, sql_type) = ("made".to_owned(), "TEXT".to_owned());
        let expression = evil.to_owned();
        extension.generated = vec![GeneratedColumn { name, sql_type, expression, stored: false }];
    });
    let check = Rule::Check { name: "short".to_owned(), expression: evil.to_owned() };
    let checked = table("notes", TWO, vec![check]);
    let (_folder, mut engine) = pending(table("notes", TWO, Vec::new()));
    for (of, what) in [
        (with_default, "notes: the default of column more"),
        (local, "aside: the default of column more"),
        (generated, "notes: the expression of column made"),
        (checked, "notes: the CHECK short"),
    ] {
        let of = manifest(2, vec![of]);
        let why = "is not one expression: it closes a bracket that it has not opened";
        assert_eq!(reason(adopt::adopt(&mut engine, &of)), format!("{what} {why}"));
    }
    let of = manifest(2, vec![ours]);
    assert_eq!(
        reason(adopt::adopt(&mut engine, &of)),
        "rejoin_meta: the name rejoin_meta is reserved"
    );
    assert_eq!(engine.pending().unwrap().len(), 1);
}

/// A second barrier: if text of a manifest became a statement despite the checks, it could not
/// write the queue.
#[test]
fn schema_change_may_not_write_the_engines_tables() {
    let (_folder, engine) = pending(table("notes", TWO, Vec::new()));
    let conn = engine.db.conn();
    let change = engine.db.gate.schema_change();
    for sql in [
        "DELETE FROM rejoin_mutation",
        "UPDATE rejoin_table SET name = 'x'",
        "INSERT INTO rejoin_history DEFAULT VALUES",
        "ATTACH ':memory:' AS other",
    ] {
        let error = conn.execute(sql, []).unwrap_err();
        assert_eq!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::AuthorizationForStatementDenied),
            "{sql}"
        );
    }
    conn.execute("CREATE TABLE rejoin_rebuilt (id TEXT)", []).unwrap();
    drop(change);
    conn.execute("UPDATE rejoin_mutation SET attempt = attempt", []).unwrap();
}

/// The device derives one of SQLite's five types from it.
#[test]
fn declared_type_of_a_generated_column_adds_no_constraint() {
    let made = with(table("notes", TWO, Vec::new()), |extension| {
        let (name, expression) = ("made".to_owned(), "upper(body)".to_owned());
        let sql_type = "TEXT REFERENCES other ON DELETE CASCADE".to_owned();
        extension.generated = vec![GeneratedColumn { name, sql_type, expression, stored: false }];
    });
    let (_folder, mut engine) = pending(made);
    let sql = "SELECT count(*) FROM pragma_foreign_key_list('notes')";
    let count = engine.transaction(|tx| tx.query_one(sql, &[], |row| row.get::<_, i64>(0)));
    assert_eq!(count.unwrap(), Some(0));
}

#[test]
fn additive_change_keeps_pending_work_and_lists_additions() {
    let (_folder, mut engine) = pending(table("notes", TWO, Vec::new()));
    engine
        .execute_batch(
            "CREATE TABLE log (x); CREATE INDEX mine ON notes (body); CREATE VIEW seen AS SELECT * FROM notes;
             CREATE TRIGGER logged AFTER INSERT ON notes BEGIN INSERT INTO log VALUES (NEW.id); END",
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
    let adopted =
        adopt::adopt(&mut engine, &manifest(2, vec![notes.clone(), more.clone()])).unwrap();
    assert_eq!(adopted.new_tables, [TableNumber(2)]);
    assert_eq!(adopted.gained, [(TableNumber(1), vec![ColumnId(3), ColumnId(4)])]);
    assert_eq!(queued(&engine), ["notes a insert body 'x'"]);
    // Old rows wait for the server; the default is for new ones.
    engine.execute("INSERT INTO notes (id, body) VALUES ('b', 'y')", &[]).unwrap();
    assert_eq!(all(&mut engine, "SELECT count FROM notes ORDER BY id"), ["NULL", "7"]);
    assert_eq!(queued(&engine)[1], "notes b insert body 'y' count 7");
    // The app's objects still exist, and the new rule is enforced.
    assert_eq!(all(&mut engine, "SELECT x FROM log"), ["'b'"]);
    assert_eq!(all(&mut engine, "SELECT count(*) FROM seen"), ["2"]);
    let indexes = all(
        &mut engine,
        "SELECT name FROM pragma_index_list('notes') WHERE origin = 'c' ORDER BY name",
    );
    assert_eq!(indexes, ["'by_at'", "'mine'"]);
    assert!(matches!(
        engine.execute("UPDATE notes SET body = NULL", &[]),
        Err(Error::Constraint { .. })
    ));
    // The same manifest again changes nothing.
    assert!(!adopt::adopt(&mut engine, &manifest(2, vec![notes, more])).unwrap().changed);
}

#[test]
fn column_without_default_is_added_in_place() {
    let (_folder, mut engine) = pending(table("notes", TWO, Vec::new()));
    let columns = [("id", "string"), ("extra", "int"), ("body", "string")];
    let adopted =
        adopt::adopt(&mut engine, &manifest(2, vec![table("notes", &columns, Vec::new())]))
            .unwrap();
    assert_eq!(adopted.gained, [(TableNumber(1), vec![ColumnId(3)])]);
    engine.execute("UPDATE notes SET extra = 5", &[]).unwrap();
    assert_eq!(queued(&engine), ["notes a insert body 'x'", "notes a update extra NULL>5"]);
}

#[test]
fn renamed_column_keeps_its_identity() {
    let (folder, mut engine) = pending(identified(&[("id", "string", 1), ("body", "string", 2)]));
    let renamed = identified(&[("id", "string", 1), ("text", "string", 2)]);
    let adopted = adopt::adopt(&mut engine, &manifest(2, vec![renamed])).unwrap();
    assert!(adopted.gained.is_empty());
    assert_eq!(queued(&engine), ["notes a insert text 'x'"]);
    assert_eq!(all(&mut engine, "SELECT text FROM notes"), ["'x'"]);
    engine.close().unwrap();
    let mut engine = open(&folder, None).unwrap();
    engine.execute("UPDATE notes SET text = 'y'", &[]).unwrap();
    assert_eq!(queued(&engine)[1], "notes a update text 'x'>'y'");
}

#[test]
fn columns_may_swap_names_or_reuse_a_removed_name() {
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
    let adopted = adopt::adopt(&mut engine, &manifest(2, vec![next])).unwrap();
    assert_eq!(adopted.gained, [(TableNumber(1), vec![ColumnId(5)])]);
    assert_eq!(all(&mut engine, "SELECT b || c || coalesce(a, '-') FROM notes"), ["'twothree-'"]);
    engine.execute("UPDATE notes SET c = 'x'", &[]).unwrap();
    assert_eq!(queued(&engine), ["notes k update c 'three'>'x'"]);
}

/// Checks that it is parked with the verdict that the server would give.
#[track_caller]
fn is_parked_for(mutation: &Mutation, code: &str) {
    let detail = mutation.detail.as_deref().unwrap();
    assert!(detail.contains(code) && detail.contains("notes"), "{detail}");
    let is_column = code == "column.unknown";
    let reason = if is_column { ParkReason::Rejected } else { ParkReason::Refused };
    assert_eq!(mutation.reason, Some(reason));
}

/// A pending insert of ('a', 'x'), and a schema that lacks something it names.
#[test]
fn pending_mutation_of_a_removed_column_is_parked_whole() {
    let other_key = || {
        let mut other = table("notes", TWO, Vec::new());
        other.primary_key = vec![String::from("body")];
        other
    };
    let cases = [
        ("column removed", table("notes", &[("id", "string")], Vec::new()), "column.unknown"),
        (
            "column retyped",
            table("notes", &[("id", "string"), ("body", "int")], Vec::new()),
            "column.unknown",
        ),
        (
            "column dropped and created again",
            identified(&[("id", "string", 1), ("body", "string", 9)]),
            "column.unknown",
        ),
        ("table removed", table("other", TWO, Vec::new()), "table.unknown"),
        ("another key", other_key(), "table.unknown"),
    ];
    for (what, next, code) in cases {
        let (folder, mut engine) =
            pending(identified(&[("id", "string", 1), ("body", "string", 2)]));
        engine.execute("UPDATE notes SET body = 'y'", &[]).unwrap();
        let adopted = adopt::adopt(&mut engine, &manifest(2, vec![next.clone()])).unwrap();
        let parked: Vec<_> = engine.pending().unwrap();
        assert_eq!(adopted.parked, [parked[0].id, parked[1].id], "{what}");
        is_parked_for(&parked[0], code);
        // It keeps its values and old names, also after the next start; the rows contain nothing of
        // it.
        for _ in 0..2 {
            assert_eq!(queued(&engine)[0], "notes a insert body 'x'", "{what}");
            let pending =
                crate::client::to_pending(engine.pending().unwrap().remove(0), engine.schema());
            assert_eq!(
                (pending.rows[0].table.as_str(), pending.rows[0].columns[0].name.as_str()),
                ("notes", "body")
            );
            assert_eq!(
                all(&mut engine, &format!("SELECT count(*) FROM {}", next.table_name)),
                ["0"]
            );
            engine.close().unwrap();
            engine = open(&folder, None).unwrap();
            engine.host = Arc::new(TestHost::new(2));
        }
        let refused = decide::retry(&mut engine, parked[0].id).unwrap_err().to_string();
        assert!(
            refused.contains("has removed") && refused.contains("discard"),
            "{what}: {refused}"
        );
        engine
            .execute(&format!("INSERT INTO {} (id, body) VALUES ('b', '1')", next.table_name), &[])
            .map_or_else(|error| assert_eq!(what, "column removed", "{error}"), drop);
        assert_eq!(
            decide::edit(&mut engine, parked[0].id, |_| Ok(())).unwrap().is_some(),
            code == "column.unknown",
            "{what}"
        );
        decide::discard(&mut engine, parked[1].id).unwrap();
    }
}

#[test]
fn mutation_without_a_removed_column_stays_pending() {
    let mut count = column("count", "int");
    count.sqlite_default_sql = Some(String::from("'7'"));
    let mut notes = table("notes", TWO, Vec::new());
    notes.columns.push(count);
    let (_folder, mut engine) = engine(vec![notes, table("more", TWO, Vec::new())]);
    super::base(&mut engine, "INSERT INTO notes VALUES ('old', 'x', 3), ('other', 'y', 4)");
    for write in [
        "INSERT INTO notes (id, body) VALUES ('by default', 'x')",
        "INSERT INTO notes (id, body, count) VALUES ('null', 'x', NULL)",
        "UPDATE notes SET body = 'z' WHERE id = 'other'",
        "DELETE FROM notes WHERE id = 'old'",
        "INSERT INTO more (id) VALUES ('m')",
    ] {
        engine.execute(write, &[]).unwrap();
    }
    engine.execute("INSERT INTO notes VALUES ('named', 'x', 8)", &[]).unwrap();
    let named = engine.pending().unwrap()[5].id;
    let less = table("more", &[("id", "string")], Vec::new());
    let adopted =
        adopt::adopt(&mut engine, &manifest(2, vec![table("notes", TWO, Vec::new()), less]))
            .unwrap();
    assert_eq!(adopted.parked, [named]);
    assert_eq!(
        all(&mut engine, "SELECT id || ' ' || body FROM notes ORDER BY id"),
        ["'by default x'", "'null x'", "'other z'"]
    );
    let seqs: Vec<_> = engine.queue_view().sendable(9).unwrap().iter().map(|one| one.seq).collect();
    let offers = engine.mark_sent(&seqs, 1).unwrap();
    let sent =
        offers.iter().map(|offer| group(engine.schema(), offer, ActionParts::default()).unwrap());
    for group in sent {
        let text = serde_json::to_string(&group.changes).unwrap();
        assert!(!text.contains("removed column") && !text.contains("count"), "{text}");
    }
}

#[test]
fn sent_mutation_of_a_removed_column_awaits_its_verdict() {
    let (folder, mut engine) = pending(table("notes", TWO, Vec::new()));
    let id = engine.pending().unwrap()[0].id;
    engine.mark_sent(&[Seq(1)], 1).unwrap();
    engine.mark_uncertain(1).unwrap();
    let adopted =
        adopt::adopt(&mut engine, &manifest(2, vec![table("other", TWO, Vec::new())])).unwrap();
    assert_eq!((adopted.parked.len(), adopted.dropped), (0, vec![String::from("notes")]));
    engine.close().unwrap();
    let mut engine = open(&folder, None).unwrap();
    engine.host = Arc::new(TestHost::new(2));
    let offer = engine.mark_sent(&[Seq(1)], 2).unwrap().remove(0);
    let group = group(engine.schema(), &offer, ActionParts::default());
    assert_eq!(group.unwrap().changes[0].table_name, "(removed table 1)");
    // A later table of the same name is another one, and the verdict on the first does not affect
    // it.
    adopt::adopt(&mut engine, &manifest(3, vec![table("notes", TWO, Vec::new())])).unwrap();
    engine.execute("INSERT INTO notes VALUES ('a', 'of the second')", &[]).unwrap();
    for ending in [Ending::Retry, Ending::Conflict] {
        let verdict = ServerVerdict { id, attempt: 1, ending, code: None, detail: None };
        engine.apply(Batch { verdicts: vec![verdict], ..Batch::default() }).unwrap();
        assert_eq!(all(&mut engine, "SELECT body FROM notes"), ["'of the second'"]);
    }
    assert_eq!(engine.pending().unwrap()[0].state, MutationState::Parked, "{:?}", engine.pending());
    decide::discard(&mut engine, id).unwrap();
    assert_eq!(queued(&engine), ["notes a insert body 'of the second'"]);
}

#[test]
fn retyped_column_is_emptied_and_a_widened_one_is_kept() {
    let number = |kind| table("notes", &[("id", "string"), ("n", kind)], Vec::new());
    let (_folder, mut engine) = engine(vec![number("int")]);
    super::base(&mut engine, "INSERT INTO notes VALUES ('a', 5)");
    assert!(
        adopt::adopt(&mut engine, &manifest(2, vec![number("int64")])).unwrap().gained.is_empty()
    );
    assert_eq!(all(&mut engine, "SELECT n FROM notes"), ["5"]);
    let adopted = adopt::adopt(&mut engine, &manifest(3, vec![number("string")])).unwrap();
    assert_eq!(adopted.gained, [(TableNumber(1), vec![ColumnId(3)])]);
    assert_eq!(all(&mut engine, "SELECT n FROM notes"), ["NULL"]);
}

#[test]
fn table_and_column_numbers_are_never_reused() {
    let (_folder, mut engine) = engine(vec![table("a", TWO, Vec::new())]);
    adopt::adopt(&mut engine, &manifest(2, vec![table("b", TWO, Vec::new())])).unwrap();
    adopt::adopt(&mut engine, &manifest(3, vec![table("c", &[("id", "string")], Vec::new())]))
        .unwrap();
    let again = adopt::adopt(
        &mut engine,
        &manifest(4, vec![table("c", TWO, Vec::new()), table("d", TWO, Vec::new())]),
    )
    .unwrap();
    assert_eq!(again.new_tables, [TableNumber(4)]);
    adopt::adopt(&mut engine, &manifest(5, vec![table("c", &[("id", "string")], Vec::new())]))
        .unwrap();
    let again = adopt::adopt(&mut engine, &manifest(6, vec![table("c", TWO, Vec::new())])).unwrap();
    assert_eq!(again.gained, [(TableNumber(3), vec![ColumnId(3)])]);
}

#[test]
fn unsyncable_schema_is_refused_by_table_and_column() {
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
        (table("t", &[("id", "string"), ("ID", "string")], Vec::new()), "is listed twice"),
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
        (check("body IN mine"), "another table"),
        (check("rejoin_local()"), "CHECK c"),
        (
            with(table("t", TWO, Vec::new()), |extension| {
                extension.indexes =
                    vec![Index { name: String::from("i"), columns: vec![String::from("nope")] }];
            }),
            "nope",
        ),
        (table("mine", TWO, Vec::new()), "created a table"),
        (table("parent", TWO, Vec::new()), "FOREIGN KEY"),
    ];
    let (_folder, mut engine) = pending(table("notes", TWO, Vec::new()));
    engine.execute_batch("CREATE TABLE mine (x REFERENCES parent (id))").unwrap();
    for (bad, why) in cases {
        let name = bad.table_name.clone();
        let refused = reason(adopt::adopt(
            &mut engine,
            &manifest(2, vec![table("notes", TWO, Vec::new()), bad]),
        ));
        assert!(
            refused.starts_with(&format!("{name}: ")) && refused.contains(why),
            "{why}: {refused}"
        );
    }
    engine.execute("UPDATE notes SET body = 'y'", &[]).unwrap();
    assert_eq!(mutations(&engine), 2);
}

#[test]
fn local_only_tables_are_extended_and_never_synced() {
    let local = |columns: &[(&str, &str)]| {
        with(table("drafts", columns, Vec::new()), |extension| extension.local_only = true)
    };
    let (folder, mut engine) = engine(vec![table("notes", TWO, Vec::new()), local(TWO)]);
    engine.execute("INSERT INTO drafts VALUES ('a', 'b')", &[]).unwrap();
    assert_eq!(mutations(&engine), 0);
    // A server does not have them.
    adopt::adopt(&mut engine, &manifest(2, vec![table("notes", TWO, Vec::new())])).unwrap();
    assert_eq!(all(&mut engine, "SELECT body FROM drafts"), ["'b'"]);
    engine.close().unwrap();
    let wider = local(&[("id", "string"), ("body", "string"), ("pinned", "boolean")]);
    let bundle = manifest(1, vec![table("notes", TWO, Vec::new()), wider]);
    let mut engine = open(&folder, Some(bundle)).unwrap();
    engine.execute("UPDATE drafts SET pinned = 1", &[]).unwrap();
    assert_eq!(engine.meta("schema_version").unwrap().as_deref(), Some("2"), "the server's stays");
}

#[test]
fn app_indexes_survive_a_table_rebuild() {
    let (_folder, mut engine) = engine(vec![table("notes", TWO, Vec::new())]);
    ddl::create_index(&mut engine, "mine", "notes", &["body"]).unwrap();
    let next = with(table("notes", TWO, Vec::new()), |extension| extension.without_rowid = true);
    adopt::adopt(&mut engine, &manifest(2, vec![next])).unwrap();
    let indexes =
        all(&mut engine, "SELECT name FROM pragma_index_list('notes') WHERE origin = 'c'");
    assert_eq!(indexes, ["'mine'"]);
    // An index that names a removed column does not block the schema.
    adopt::adopt(&mut engine, &manifest(3, vec![table("notes", &[("id", "string")], Vec::new())]))
        .unwrap();
    let dropped = engine.meta("trigger_disabled").unwrap().unwrap();
    assert!(dropped.contains("mine") && dropped.contains("CREATE INDEX"), "{dropped}");
}
