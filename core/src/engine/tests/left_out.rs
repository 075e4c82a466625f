//! What a device leaves out of a manifest, and a property test: over tables with odd names, rules and
//! indexes, everything that can be built is built.

use fastrand::Rng;
use rejoin_protocol::admit::{self, MOST_COLUMNS};
use rejoin_protocol::manifest::{
    ColumnIdentity, ColumnManifest, GeneratedColumn, Index, Manifest, ReferenceAction, Rule,
    TableManifest,
};

use super::{all, column, engine, in_log, mutations, open, table};
use crate::cases::cases;
use crate::engine::{Adopted, Engine, adopt};
use crate::error::{Error, InputFault, Result};

const TWO: &[(&str, &str)] = &[("id", "string"), ("body", "string")];

fn fit(engine: &mut Engine, version: i64, tables: Vec<TableManifest>) -> Result<Adopted> {
    adopt::adopt_what_fits(engine, &Manifest::new(version, tables), |_, _| Ok(Vec::new()))
}

/// What is left out, as `table/part`.
fn parts(engine: &Engine) -> Vec<String> {
    let parts = engine.schema.left_out.parts.iter();
    parts.map(|part| format!("{}/{}", part.table, part.part)).collect()
}

fn good() -> TableManifest {
    table("good", TWO, Vec::new())
}

fn indexed(name: &str, index: &str) -> TableManifest {
    let mut table = table(name, TWO, Vec::new());
    let columns = vec![String::from("body")];
    table.rejoin.get_or_insert_default().indexes = vec![Index { name: index.to_owned(), columns }];
    table
}

fn computed(name: &str, expression: &str) -> TableManifest {
    let mut table = table(name, TWO, Vec::new());
    let (made, sql_type) = (String::from("made"), String::from("TEXT"));
    let expression = expression.to_owned();
    let made = GeneratedColumn { name: made, sql_type, expression, stored: false };
    table.rejoin.get_or_insert_default().generated = vec![made];
    table
}

#[test]
fn bad_table_is_left_out_and_its_edits_are_parked() {
    let (folder, mut engine) = engine(vec![good(), table("t", TWO, Vec::new())]);
    engine.execute("INSERT INTO t VALUES ('a', 'kept')", &[]).unwrap();
    engine.execute("INSERT INTO good VALUES ('a', 'x')", &[]).unwrap();
    let bad = computed("t", "abs(-9223372036854775807 - 1)");
    let adopted = fit(&mut engine, 2, vec![good(), bad.clone()]).unwrap();
    assert_eq!((adopted.dropped, adopted.parked.len()), (vec![String::from("t")], 1));
    assert_eq!(parts(&engine), ["t/table"]);
    assert!(engine.schema.is_left_out("t") && !engine.schema.is_left_out("good"));
    assert_eq!(engine.meta("schema_version").unwrap().as_deref(), Some("2"));
    engine.execute("UPDATE good SET body = 'y'", &[]).unwrap();
    // The same manifest changes nothing, and the file opens.
    assert!(!fit(&mut engine, 2, vec![good(), bad]).unwrap().changed);
    engine.close().unwrap();
    let mut engine = open(&folder, None).unwrap();
    assert_eq!((parts(&engine), mutations(&engine)), (vec![String::from("t/table")], 3));
    assert!(!adopt::may_return(&engine).unwrap());
    let healed = fit(&mut engine, 3, vec![good(), table("t", TWO, Vec::new())]).unwrap();
    assert_eq!((healed.new_tables.len(), parts(&engine).len()), (1, 0));
    assert_eq!(engine.meta("left_out").unwrap(), None);
    assert_eq!(all(&mut engine, "SELECT body FROM good"), ["'y'"]);
}

#[test]
fn rule_index_and_default_are_left_out_without_their_table() {
    let check = |expression: &str| Rule::Check {
        name: String::from("c"),
        expression: expression.to_owned(),
    };
    let references = Rule::References {
        column: String::from("body"),
        table: String::from("t"),
        on_delete: ReferenceAction::NoAction,
        on_update: ReferenceAction::NoAction,
    };
    let mut given = good();
    given.columns[1].sqlite_default_sql = Some(String::from("abs(-9223372036854775807 - 1)"));
    let cases = [
        (vec![table("good", TWO, vec![check("body ~ 'x'")])], vec!["good/CHECK c"]),
        (vec![table("good", TWO, vec![check("body ILIKE 'x'")])], vec!["good/CHECK c"]),
        (vec![table("good", TWO, vec![check("body MATCH 'x'")])], vec!["good/CHECK c"]),
        (vec![given], vec!["good/the default of column body"]),
        (vec![indexed("good", "sqlite_i")], vec!["good/index sqlite_i"]),
        (
            vec![table("good", TWO, vec![references]), computed("t", "randomblob(9)")],
            vec!["t/table", "good/the reference of column body"],
        ),
        (vec![good(), indexed("more", "good")], vec!["more/index good"]),
    ];
    for (tables, expected) in cases {
        let (_folder, mut engine) = engine(vec![good()]);
        fit(&mut engine, 2, tables).unwrap();
        assert_eq!(parts(&engine), expected);
        engine.execute("INSERT INTO good VALUES ('a', 'x')", &[]).unwrap();
        assert_eq!(mutations(&engine), 1, "{expected:?}");
    }
}

#[test]
fn name_of_the_app_is_adopted_after_the_app_has_freed_it() {
    let cases = [
        (table("mine", TWO, Vec::new()), "mine/table", "CREATE TABLE mine (x)", "DROP TABLE mine"),
        (
            table("mine", TWO, Vec::new()),
            "mine/table",
            "CREATE VIEW mine AS SELECT 1",
            "DROP VIEW mine",
        ),
        (
            table("mine", TWO, Vec::new()),
            "mine/table",
            "CREATE TABLE own (x REFERENCES mine (id))",
            "DROP TABLE own",
        ),
        (
            table("mine", TWO, Vec::new()),
            "mine/table",
            "CREATE TABLE own (x); CREATE INDEX mine ON own (x)",
            "DROP INDEX mine",
        ),
        (
            indexed("t", "mine"),
            "t/index mine",
            "CREATE TABLE mine (x)",
            "ALTER TABLE mine RENAME TO own",
        ),
        (
            indexed("t", "mine"),
            "t/index mine",
            "CREATE TABLE own (x); CREATE INDEX mine ON own (x)",
            "DROP TABLE own",
        ),
        (
            in_log(table("mine", TWO, Vec::new())),
            "mine/table",
            "CREATE TABLE mine (x)",
            "DROP TABLE mine",
        ),
    ];
    for (declared, expected, create, free) in cases {
        let (_folder, mut engine) = engine(vec![good()]);
        engine.execute_batch(create).unwrap();
        fit(&mut engine, 2, vec![good(), declared.clone()]).unwrap();
        assert_eq!(parts(&engine), [expected], "{create}");
        assert!(!adopt::may_return(&engine).unwrap(), "{create}");
        engine.execute_batch(free).unwrap();
        assert!(adopt::may_return(&engine).unwrap(), "{free}");
        fit(&mut engine, 2, vec![good(), declared]).unwrap();
        assert_eq!(parts(&engine), [""; 0], "{free}");
        assert!(!adopt::may_return(&engine).unwrap());
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'mine'";
        assert_eq!(all(&mut engine, sql), ["1"], "{free}");
    }
}

#[test]
fn name_of_a_dropped_index_is_free_for_a_table() {
    let (_folder, mut engine) = engine(vec![indexed("good", "more")]);
    fit(&mut engine, 2, vec![good(), table("more", TWO, Vec::new())]).unwrap();
    assert_eq!(parts(&engine), [""; 0]);
    fit(&mut engine, 3, vec![indexed("good", "more")]).unwrap();
    assert_eq!(parts(&engine), [""; 0]);
}

/// Regression: SQLite adds or renames no such column in place.
#[test]
fn column_with_a_name_of_the_rowid_can_be_added_and_renamed() {
    let declared = |third: Option<&str>| {
        let columns = [Some("id"), Some("body"), third].into_iter().flatten();
        let columns: Vec<(&str, &str)> = columns.map(|name| (name, "string")).collect();
        let mut table = table("good", &columns, Vec::new());
        table.rejoin.get_or_insert_default().identities = (1..)
            .zip(columns)
            .map(|(id, (name, _))| ColumnIdentity { name: name.to_owned(), id })
            .collect();
        table
    };
    let (_folder, mut engine) = engine(vec![declared(None)]);
    engine.execute("INSERT INTO good VALUES ('a', 'x')", &[]).unwrap();
    for (version, name) in (2..).zip(["_rowid_", "OID", "n", "rowid"]) {
        adopt::adopt(&mut engine, &Manifest::new(version, vec![declared(Some(name))])).unwrap();
        let expected = if name == "_rowid_" { "NULL" } else { "'kept'" };
        let sql = format!("SELECT \"{name}\" FROM good");
        assert_eq!(all(&mut engine, &sql), [expected], "{name}");
        engine.execute(&format!("UPDATE good SET \"{name}\" = 'kept'"), &[]).unwrap();
    }
}

#[test]
fn another_release_tries_what_an_earlier_one_has_left_out() {
    let (folder, mut engine) = engine(vec![good()]);
    fit(&mut engine, 2, vec![good(), computed("t", "randomblob(9)")]).unwrap();
    assert!(!adopt::may_return(&engine).unwrap());
    let stored = engine.meta("left_out").unwrap().unwrap();
    let older = stored.replace(env!("CARGO_PKG_VERSION"), "0.0.0");
    engine.set_meta("left_out", Some(&older)).unwrap();
    engine.close().unwrap();
    let mut engine = open(&folder, None).unwrap();
    assert!(adopt::may_return(&engine).unwrap());
    fit(&mut engine, 2, vec![good(), computed("t", "randomblob(9)")]).unwrap();
    assert!(!adopt::may_return(&engine).unwrap(), "it was tried");
}

#[test]
fn manifest_without_a_table_that_fits_is_refused() {
    let (_folder, mut engine) = engine(vec![good()]);
    engine.execute("INSERT INTO good VALUES ('a', 'x')", &[]).unwrap();
    let refused = fit(&mut engine, 2, vec![computed("t", "randomblob(9)")]);
    let Err(Error::InvalidInput(InputFault::SchemaRefused { table, reason })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((table.as_str(), reason.contains("randomblob")), ("t", true), "{reason}");
    assert_eq!((parts(&engine).len(), mutations(&engine)), (0, 1));
    assert_eq!(engine.meta("schema_version").unwrap().as_deref(), Some("1"));
}

const NAMES: &[&str] = &[
    "notes",
    "Notes",
    "NOTES",
    "order",
    "a b",
    "q\"q",
    "semi;colon",
    "sqlite_x",
    "rejoin_x",
    "",
    "x\0y",
    "\u{e4}",
    "mine",
    "Own_View",
    "own_index",
    "t1",
    "t2",
    "by_body",
    "t1_by_body",
    "temp",
    "rowid",
    "_rowid_",
];

/// Expressions that a server finds good or bad without SQLite.
const KNOWN: &[&str] = &[
    "length(id) < 50",
    "id <> ''",
    "1",
    "(1",
    "1; DROP TABLE good",
    "randomblob(9)",
    "id IN (SELECT 1)",
    "?1",
    "",
];

/// Those that only an evaluation refuses.
const EVALUATED: &[&str] = &[
    "id ~ 'x'",
    "id ILIKE 'x'",
    "id::text = ''",
    "abs(-9223372036854775807 - 1)",
    "nope > 1",
    "id MATCH 'x'",
];

fn any<'a>(rng: &mut Rng, list: &[&'a str]) -> &'a str {
    list[rng.usize(..list.len())]
}

fn any_column(rng: &mut Rng, name: &str) -> ColumnManifest {
    column(name, any(rng, &["string", "int64", "float", "json", "bytes", "nonsense"]))
}

/// A table with odd parts.
fn odd_table(rng: &mut Rng, expressions: &[&str]) -> TableManifest {
    let long = "n".repeat(300);
    let name = if rng.u8(..40) == 0 { long.as_str() } else { any(rng, NAMES) };
    let mut table = table(name, TWO, Vec::new());
    for _ in 0..rng.usize(..4) {
        let name = any(rng, &["n", "N", "body", "Body", "id", "", "order", "_rowid_"]);
        table.columns.push(any_column(rng, name));
    }
    if rng.u8(..20) == 0 {
        let most = MOST_COLUMNS + rng.usize(..3) - table.columns.len();
        table.columns.extend((0..most).map(|at| column(&format!("c{at}"), "string")));
    }
    if rng.u8(..10) == 0 {
        table.primary_key = [vec![], vec!["n"], vec!["id", "n"]][rng.usize(..3)]
            .iter()
            .map(|name| String::from(*name))
            .collect();
    }
    if rng.u8(..6) == 0 {
        let at = rng.usize(..table.columns.len());
        table.columns[at].sqlite_default_sql = Some(any(rng, expressions).to_owned());
    }
    let is_local = rng.u8(..15) == 0;
    let extension = table.rejoin.get_or_insert_default();
    extension.local_only = is_local;
    extension.without_rowid = rng.u8(..8) == 0;
    for at in 0..rng.usize(..4) {
        let column = any(rng, &["id", "body", "n", "nope"]).to_owned();
        let (on_delete, on_update) = (ReferenceAction::Cascade, ReferenceAction::NoAction);
        extension.rules.push(match rng.u8(..4) {
            0 => Rule::NotNull { column },
            1 => Rule::Unique { columns: vec![column] },
            2 => {
                Rule::Check { name: format!("c{at}"), expression: any(rng, expressions).to_owned() }
            }
            _ => {
                Rule::References { column, table: any(rng, NAMES).to_owned(), on_delete, on_update }
            }
        });
    }
    for _ in 0..rng.usize(..3) {
        let columns = vec![any(rng, &["id", "body", "made", "nope"]).to_owned()];
        extension.indexes.push(Index { name: any(rng, NAMES).to_owned(), columns });
    }
    if rng.u8(..5) == 0 {
        let name = any(rng, &["made", "body", "rowid"]).to_owned();
        let (sql_type, expression) = (String::from("TEXT"), any(rng, expressions).to_owned());
        extension.generated.push(GeneratedColumn {
            name,
            sql_type,
            expression,
            stored: rng.bool(),
        });
    }
    table
}

fn odd_tables(rng: &mut Rng, expressions: &[&str]) -> Vec<TableManifest> {
    let mut tables: Vec<TableManifest> =
        (0..rng.usize(1..6)).map(|_| odd_table(rng, expressions)).collect();
    tables.insert(rng.usize(..=tables.len()), good());
    tables
}

/// Whatever a server keeps of a manifest, a device that uses none of its names adopts all of it.
#[test]
fn manifest_of_a_server_is_never_refused() {
    let (_folder, mut engine) = engine(vec![good()]);
    let mut kept = 0;
    for seed in 0..cases(150) {
        let mut rng = Rng::with_seed(seed);
        let mut tables = odd_tables(&mut rng, KNOWN);
        for table in &mut tables {
            // A device keeps tables of its own, and their names.
            table.rejoin.get_or_insert_default().local_only = false;
            for column in &mut table.columns {
                // Only an evaluation finds that a default reads a column.
                column.sqlite_default_sql.take_if(|default| default.contains("id"));
            }
        }
        admit::prune(&mut tables, |_, _| None);
        kept += tables.len();
        let version = i64::try_from(seed).unwrap() + 2;
        if let Err(error) = adopt::adopt(&mut engine, &Manifest::new(version, tables.clone())) {
            panic!("seed {seed}: {error}: {tables:#?}");
        }
    }
    assert!(kept > 300, "{kept}");
}

/// Whatever a server sends, the good table is built and takes writes.
#[test]
fn device_builds_the_good_tables_of_any_manifest() {
    let (_folder, mut engine) = engine(vec![good()]);
    let own = "CREATE TABLE mine (x); CREATE VIEW own_view AS SELECT 1; CREATE INDEX own_index ON mine (x);
               INSERT INTO mine VALUES (7)";
    engine.execute_batch(own).unwrap();
    engine.execute("INSERT INTO good VALUES ('a', '0')", &[]).unwrap();
    let expressions: Vec<&str> = [KNOWN, EVALUATED].concat();
    let (mut left_out, mut kept) = (0, 0);
    for seed in 0..cases(150) {
        let mut rng = Rng::with_seed(seed);
        let tables = odd_tables(&mut rng, &expressions);
        let version = i64::try_from(seed).unwrap() + 2;
        if let Err(error) = fit(&mut engine, version, tables.clone()) {
            panic!("seed {seed}: {error}: {tables:#?}");
        }
        assert!(engine.schema.named("good").is_some(), "seed {seed}");
        engine.execute("UPDATE good SET body = body || 'x' WHERE id = 'a'", &[]).unwrap();
        assert_eq!(all(&mut engine, "SELECT x FROM mine"), ["7"], "seed {seed}");
        for table in &tables {
            let is_there = engine.schema.by_name.contains_key(&table.table_name);
            let is_local = table.rejoin.as_ref().is_some_and(|extension| extension.local_only);
            let is_named = engine.schema.left_out.is_table(&table.table_name);
            assert!(is_there || is_local || is_named, "seed {seed}: {}", table.table_name);
        }
        left_out += parts(&engine).len();
        kept += engine.schema.tables.len();
    }
    assert!(left_out > 100 && kept > 150, "{left_out} {kept}");
}
