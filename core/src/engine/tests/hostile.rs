//! Manifests of a hostile server: they are refused by name, and local writes go on.

use rejoin_protocol::manifest::{
    GeneratedColumn, Index, Manifest, ReferenceAction, Rule, TableExtension, TableManifest,
};
use tempfile::TempDir;

use super::{all, column, engine, mutations, open, table};
use crate::engine::database::authorizer::LARGEST;
use crate::engine::{Engine, adopt};
use crate::error::{Error, InputFault};

const COLUMNS: &[(&str, &str)] = &[("id", "string"), ("body", "string"), ("n", "int")];

/// The places of an expression in a manifest.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Check,
    Generated,
    Stored,
    Default,
    Local,
}

const PLACES: [Place; 5] =
    [Place::Check, Place::Generated, Place::Stored, Place::Default, Place::Local];

fn extended(change: impl FnOnce(&mut TableExtension)) -> TableManifest {
    let mut notes = table("notes", COLUMNS, Vec::new());
    change(notes.rejoin.get_or_insert_default());
    notes
}

fn checked(expression: &str) -> TableManifest {
    let rule = Rule::Check { name: String::from("rule"), expression: expression.to_owned() };
    extended(|extension| extension.rules.push(rule))
}

/// The tables of a manifest with an expression at a place, and what a refusal names.
fn with(place: Place, expression: &str) -> (Vec<TableManifest>, &'static str) {
    let computed = |stored| {
        let (name, sql_type) = (String::from("made"), String::from("TEXT"));
        let expression = expression.to_owned();
        let made = GeneratedColumn { name, sql_type, expression, stored };
        extended(|extension| extension.generated.push(made))
    };
    let mut more = column("more", "string");
    more.sqlite_default_sql = Some(expression.to_owned());
    let mut notes = table("notes", COLUMNS, Vec::new());
    match place {
        Place::Check => (vec![checked(expression)], "notes: the CHECK rule "),
        Place::Generated => (vec![computed(false)], "notes: the expression of column made "),
        Place::Stored => (vec![computed(true)], "notes: the expression of column made "),
        Place::Default => {
            notes.columns.push(more);
            (vec![notes], "notes: the default of column more ")
        }
        Place::Local => {
            let mut aside = table("aside", COLUMNS, Vec::new());
            aside.columns.push(more);
            aside.rejoin.get_or_insert_default().local_only = true;
            (vec![notes, aside], "aside: the default of column more ")
        }
    }
}

/// An engine with one pending insert.
fn pending() -> (TempDir, Engine) {
    let (folder, mut engine) = engine(vec![table("notes", COLUMNS, Vec::new())]);
    engine.execute("INSERT INTO notes VALUES ('a', '{}', 1)", &[]).unwrap();
    (folder, engine)
}

fn adopted(engine: &mut Engine, tables: Vec<TableManifest>) -> Result<(), String> {
    match adopt::adopt(engine, &Manifest::new(2, tables)) {
        Ok(_) => Ok(()),
        Err(Error::InvalidInput(InputFault::SchemaRefused { table, reason })) => {
            Err(format!("{table}: {reason}"))
        }
        Err(other) => panic!("refused otherwise: {other}"),
    }
}

/// Checks that the manifest is refused, the schema and the queue are as before, and writes go on.
#[track_caller]
fn refuses(engine: &mut Engine, tables: Vec<TableManifest>, what: &str) -> String {
    let before = (engine.schema.manifest.clone(), mutations(engine));
    let why = adopted(engine, tables).expect_err(what);
    assert_eq!((engine.schema.manifest.clone(), mutations(engine)), before, "{what}");
    engine.execute("INSERT INTO notes VALUES ('b', 'y', 2)", &[]).expect(what);
    engine.execute("DELETE FROM notes WHERE id = 'b'", &[]).expect(what);
    assert_eq!(all(engine, "SELECT id || body FROM notes"), ["'a{}'"], "{what}");
    why
}

#[test]
fn functions_that_fail_or_exhaust_memory_are_refused() {
    let (_folder, mut engine) = pending();
    for (expression, named) in [
        ("load_extension('x')", "load_extension"),
        ("zeroblob(1000000000)", "zeroblob"),
        ("randomblob(1000000000)", "randomblob"),
        ("hex(zeroblob(500000000))", "zeroblob"),
        ("CASE WHEN 1 THEN 1 ELSE printf('%1000000000d', 1) END", "printf"),
        ("replace(replace('aaaaaaaaaa', 'a', 'aaaaaaaaaa'), 'a', 'aaaaaaaaaa')", "replace"),
        ("quote(quote(quote(quote(quote('''')))))", "quote"),
        ("group_concat('a')", "group_concat"),
        ("sqlite_compileoption_get(1)", "sqlite_compileoption_get"),
        ("rejoin_row_state('notes', 'a')", "rejoin_row_state"),
        ("fts3_tokenizer('simple')", "fts3_tokenizer"),
    ] {
        for place in PLACES {
            let (tables, whose) = with(place, expression);
            let why = refuses(&mut engine, tables, &format!("{place:?} {expression}"));
            assert!(why.starts_with(&format!("{whose}calls {named}")), "{place:?}: {why}");
        }
    }
}

#[test]
fn queries_in_expressions_are_refused() {
    let (_folder, mut engine) = pending();
    let endless = "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c) > 0";
    for expression in [endless, "n IN (SELECT n FROM notes)", "EXISTS (VALUES (1))"] {
        let why = refuses(&mut engine, vec![checked(expression)], expression);
        assert_eq!(why, "notes: the CHECK rule has a query");
    }
}

/// SQLite calls a function for some operators.
#[test]
fn operators_that_always_fail_are_refused() {
    let (_folder, mut engine) = pending();
    for (expression, named) in [
        ("body MATCH 'x'", "match"),
        ("CASE WHEN length(body) > 9 THEN body MATCH 'x' END", "match"),
        ("body REGEXP 'x'", "regexp"),
    ] {
        for place in [Place::Check, Place::Generated, Place::Stored] {
            let (tables, _) = with(place, expression);
            let why = refuses(&mut engine, tables, &format!("{place:?} {expression}"));
            assert!(why.contains(named), "{place:?}: {why}");
        }
    }
}

#[test]
fn expression_that_fails_for_every_row_is_refused() {
    let (_folder, mut engine) = pending();
    for expression in [
        "abs(-9223372036854775807 - 1)",
        "abs(-9223372036854775807 - n)",
        "json_extract('{', '$.a')",
        "json_extract(id || '{', '$.a')",
        "printf('%.99d', 1) || substr(printf('%99d', 1) || abs(-9223372036854775807 - 1), 1, 1)",
    ] {
        for place in [Place::Check, Place::Generated, Place::Stored] {
            let (tables, whose) = with(place, expression);
            let why = refuses(&mut engine, tables, &format!("{place:?} {expression}"));
            assert!(why.starts_with(&format!("{whose}fails: ")), "{place:?}: {why}");
        }
    }
    let (tables, whose) = with(Place::Default, "abs(-9223372036854775807 - 1)");
    let why = refuses(&mut engine, tables, "a default");
    assert!(why.starts_with(&format!("{whose}fails: integer overflow")), "{why}");
}

#[test]
fn expressions_of_honest_servers_are_adopted() {
    for expression in [
        "n BETWEEN 0 AND 5",
        "body IN ('open', 'closed') OR (body LIKE ('%x%') AND NOT body GLOB ('*y*'))",
        "length(trim(body)) < 50 AND abs(n) <= 90",
        "json_valid(body) OR body ->> '$.a' IS NULL",
        "json_extract(body, '$.a')",
        "substr('*****', 1, n)",
        "upper(body) || CAST(n AS VARCHAR(20))",
        "printf('INV-%05d', n)",
        "replace(lower(body), ' ', '-')",
        "n * 9223372036854775807 + 1",
        "strftime('%Y', body)",
        "CASE WHEN (n > 0) THEN (body) ELSE (id) END",
    ] {
        for place in [Place::Check, Place::Generated, Place::Stored] {
            let (_folder, mut engine) = pending();
            let is_time = expression.starts_with("strftime") && place != Place::Check;
            if is_time {
                continue; // SQLite does not allow it in a generated column.
            }
            let adopted = adopted(&mut engine, with(place, expression).0);
            assert_eq!(adopted, Ok(()), "{place:?} {expression}");
            assert_eq!(all(&mut engine, "SELECT count(*) FROM sqlite_temp_schema"), ["0"]);
        }
    }
    for expression in ["'it''s'", "-5", "NULL", "CURRENT_TIMESTAMP", "lower(hex(randomblob(16)))"] {
        for place in [Place::Default, Place::Local] {
            let (_folder, mut engine) = pending();
            let adopted = adopted(&mut engine, with(place, expression).0);
            assert_eq!(adopted, Ok(()), "{place:?} {expression}");
        }
    }
}

/// A limit that is lowered for the trial must be as before after it, also if the trial fails.
#[test]
fn large_values_are_stored_and_larger_ones_are_refused() {
    let (_folder, mut engine) =
        engine(vec![table("files", &[("id", "string"), ("b", "bytes")], Vec::new())]);
    let reader = |engine: &Engine, sql: &str| {
        engine.open_reader().unwrap().query(sql, &[], |row| row.get::<_, i64>(0))
    };
    adopted(&mut engine, vec![checked("json_extract('{', '$.a')")]).unwrap_err();
    let files = table("files", &[("id", "string"), ("b", "bytes")], Vec::new());
    let mut checked = checked("length(body) < 9");
    checked.columns.truncate(2);
    adopted(&mut engine, vec![files, checked]).unwrap();
    engine.execute("INSERT INTO files VALUES ('a', zeroblob(50000000))", &[]).unwrap();
    assert_eq!(reader(&engine, "SELECT length(b) FROM files").unwrap(), [50_000_000]);
    let too_large = format!("SELECT length(zeroblob({}))", LARGEST + 1);
    for error in [
        engine.execute(&format!("INSERT INTO files VALUES ('b', ({too_large}))"), &[]).unwrap_err(),
        reader(&engine, &too_large).unwrap_err(),
    ] {
        let Error::InvalidInput(InputFault::Sql(why)) = error else { panic!("{error}") };
        assert!(why.contains("at most 256 MiB"), "{why}");
    }
}

#[test]
fn manifest_beyond_its_limits_is_refused() {
    let (_folder, mut engine) = pending();
    let long = "x".repeat(256);
    let literal = format!("body <> '{}'", "y".repeat(17_000));
    let many = |count: usize, rule: &dyn Fn(usize) -> Rule| {
        let mut notes = table("notes", COLUMNS, Vec::new());
        notes.rejoin.get_or_insert_default().rules = (0..count).map(rule).collect();
        notes
    };
    let check = |at: usize| Rule::Check {
        name: format!("c{at}"),
        expression: format!("n <> {at} AND body <> '{}'", "y".repeat(200)),
    };
    let reference = |_| Rule::References {
        column: String::from("body"),
        table: String::from("notes"),
        on_delete: ReferenceAction::Cascade,
        on_update: ReferenceAction::Cascade,
    };
    let index = |at: usize| Index { name: format!("i{at}"), columns: vec![String::from("n")] };
    let deep = format!("{}n{}", "(".repeat(8_000), ")".repeat(8_000));
    let minus = format!("{}n", "- ".repeat(8_000));
    let mut noisy = table("notes", COLUMNS, Vec::new());
    noisy.columns[1].default_sql = Some("z".repeat(17 << 20));
    let numbered = |at: usize| table(&format!("t{at}"), &[("id", "string")], Vec::new());
    let parents = |at: usize| {
        let mut child = many(900, &reference);
        child.table_name = format!("t{at}");
        child
    };
    for (what, tables) in [
        ("2001 tables", (0..2_001).map(numbered).collect()),
        ("a long table name", vec![table(&long, COLUMNS, Vec::new())]),
        (
            "a long column name",
            vec![table("t", &[("id", "string"), (&long, "string")], Vec::new())],
        ),
        ("a long expression", vec![checked(&literal)]),
        ("many checks", vec![many(500, &check)]),
        ("many references", vec![many(1_001, &reference)]),
        ("references of many tables", (0..12).map(parents).chain([numbered(99)]).collect()),
        ("many indexes", vec![extended(|it| it.indexes = (0..1_001).map(index).collect())]),
        ("many brackets", vec![checked(&deep)]),
        ("many signs", vec![checked(&minus)]),
        ("17 MiB of text", vec![noisy]),
    ] {
        let why = refuses(&mut engine, tables, what);
        assert!(why.len() < 500, "{what}: {why}");
    }
}

/// Numbers of columns are never used again, and removed columns stay in memory.
#[test]
fn schema_after_very_many_removed_columns_is_refused() {
    let (_folder, mut engine) = pending();
    let sql = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
        INSERT INTO rejoin_column (table_number, id, name, kind, gone)
        SELECT 2 + i / 400, i % 400, 'c', 'String', 1 FROM n";
    engine.db.conn().execute_batch(&format!("/*rejoin*/{sql}")).unwrap();
    let why = refuses(&mut engine, vec![table("other", COLUMNS, Vec::new())], "numbers");
    assert!(why.contains("more than 200000 columns"), "{why}");
}

/// A manifest that an earlier release adopted must not keep the file from opening.
#[test]
fn stored_manifest_with_a_forbidden_function_opens() {
    let (folder, mut engine) = pending();
    let tables = vec![checked("length(zeroblob(n)) >= 0")];
    let stored = serde_json::to_string(&Manifest::new(1, tables)).unwrap();
    engine.set_meta("manifest", Some(&stored)).unwrap();
    engine.close().unwrap();
    let mut engine = open(&folder, None).unwrap();
    engine.execute("UPDATE notes SET n = 3", &[]).unwrap();
    assert_eq!(mutations(&engine), 2);
}
