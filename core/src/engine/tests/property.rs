//! Property tests: captured patches equal the difference of the tables before and after, and a base
//! row is never rejected.
//!
//! Random statements on real SQLite, a third of them failing, under every conflict clause, in
//! transactions that continue after errors, with savepoints, cascades, an app trigger, and rows of
//! the server that violate the rules in between. The generator counts what it covered.

mod generate;
mod native;

use std::collections::BTreeMap;

use fastrand::Rng;
use rejoin_protocol::manifest::{ReferenceAction, Rule, TableExtension, TableManifest};
use rusqlite::Connection;

use super::{engine, queued, settle, table, text_of};
use crate::engine::change::Origin;
use crate::engine::{Engine, EngineTransaction};
use crate::error::{Error, InputFault, Result};
use crate::value::Value;

const TABLES: &[(&str, &[&str])] = &[
    ("p", &["id", "a", "b"]),
    ("c", &["id", "pid", "v"]),
    ("d", &["id", "pid", "v"]),
    ("e", &["id", "pid", "v"]),
    ("f", &["id", "pid", "v"]),
    ("u", &["id", "n", "name", "x"]),
    ("t", &["id", "up", "v"]),
    ("s", &["id", "a", "v"]),
    ("w", &["id", "a", "b"]),
];

fn manifests() -> Vec<TableManifest> {
    use ReferenceAction::{Cascade, NoAction, Restrict, SetNull};
    let refer = |column: &str, table: &str, on_delete, on_update| {
        let (column, table) = (column.to_owned(), table.to_owned());
        vec![Rule::References { column, table, on_delete, on_update }]
    };
    let unique = |columns: &[&str]| Rule::Unique {
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
    };
    let rules = |name: &str| match name {
        "p" => vec![
            Rule::NotNull { column: String::from("a") },
            Rule::Check { name: String::from("a"), expression: String::from("a >= 0") },
        ],
        "c" => refer("pid", "p", Cascade, Cascade),
        "d" => refer("pid", "p", Restrict, NoAction),
        "e" => refer("pid", "p", SetNull, SetNull),
        "f" => refer("pid", "p", NoAction, NoAction),
        "t" => refer("up", "t", Cascade, NoAction),
        "u" => vec![unique(&["n"]), unique(&["name", "x"])],
        _ => Vec::new(),
    };
    (TABLES.iter())
        .map(|(name, columns)| {
            let columns: Vec<(&str, &str)> = (columns.iter())
                .map(|column| {
                    (*column, if matches!(*column, "b" | "name") { "string" } else { "int" })
                })
                .collect();
            let mut manifest = table(name, &columns, rules(name));
            if *name == "w" {
                manifest.rejoin =
                    Some(TableExtension { without_rowid: true, ..TableExtension::default() });
            }
            manifest
        })
        .collect()
}

/// Rows by table and key, as text.
type Dump = BTreeMap<(String, String), Vec<String>>;

fn dump(engine: &Engine) -> Dump {
    dump_of(engine.db.conn())
}

fn dump_of(conn: &Connection) -> Dump {
    let mut out = Dump::new();
    for (table, columns) in TABLES {
        let sql = format!("/*rejoin*/SELECT {} FROM {table}", columns.join(", "));
        let mut statement = conn.prepare_cached(&sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<String> =
                (0..columns.len()).map(|at| text_of(&row.get::<_, Value>(at).unwrap())).collect();
            out.insert(((*table).to_owned(), values[0].clone()), values);
        }
    }
    out
}

/// The difference of two dumps, in the notation of [`queued`].
fn difference(before: &Dump, after: &Dump) -> Vec<String> {
    let mut out = Vec::new();
    let columns = |table: &str| TABLES.iter().find(|(name, _)| *name == table).unwrap().1;
    let line = |(table, key): &(String, String), kind: &str, parts: Vec<String>| {
        let mut line = format!("{table} {key} {kind}");
        for part in parts {
            line.push(' ');
            line.push_str(&part);
        }
        line
    };
    let whole = |name: &(String, String), kind: &str, row: &[String]| {
        let parts = (columns(&name.0).iter().zip(row).skip(1))
            .filter(|(_, value)| *value != "NULL")
            .map(|(column, value)| format!("{column} {value}"));
        line(name, kind, parts.collect())
    };
    for (name, old) in before {
        match after.get(name) {
            None => out.push(whole(name, "delete", old)),
            Some(new) if new == old => {}
            Some(new) => {
                let parts = (columns(&name.0).iter().zip(old.iter().zip(new)))
                    .filter(|(_, (old, new))| old != new)
                    .map(|(column, (old, new))| format!("{column} {old}>{new}"));
                out.push(line(name, "update", parts.collect()));
            }
        }
    }
    let added = after.iter().filter(|(name, _)| !before.contains_key(*name));
    out.extend(added.map(|(name, new)| whole(name, "insert", new)));
    out.sort();
    out
}

/// Counts of what the cases covered.
#[derive(Debug, Default)]
struct Coverage {
    statements: u64,
    failed: u64,
    failed_by_clause: BTreeMap<&'static str, u64>,
    partial: u64,
    ended: u64,
    savepoints_undone: u64,
    transactions: u64,
    patches: u64,
    cascaded: u64,
    base_rows: u64,
    by_rule: BTreeMap<String, u64>,
}

fn statement(tx: &mut EngineTransaction<'_>, rng: &mut Rng, seen: &mut Coverage) -> Result<()> {
    let (clause, sql) = generate::statement(rng);
    seen.statements += 1;
    match tx.execute(&sql, &[]) {
        Ok(_) => Ok(()),
        Err(error) => {
            seen.failed += 1;
            *seen.failed_by_clause.entry(clause).or_default() += 1;
            match &error {
                Error::InvalidInput(InputFault::PartialStatement(_)) => seen.partial += 1,
                Error::InvalidInput(InputFault::Refused { .. }) => seen.ended += 1,
                Error::Constraint { rule, column, .. } if column != "id" => {
                    *seen.by_rule.entry(rule.clone()).or_default() += 1;
                }
                _ => {}
            }
            // Most apps stop at an error; many continue.
            if rng.u8(..4) == 0 { Err(error) } else { Ok(()) }
        }
    }
}

fn some(
    tx: &mut EngineTransaction<'_>,
    rng: &mut Rng,
    seen: &mut Coverage,
    depth: u8,
) -> Result<()> {
    for _ in 0..rng.u8(1..5) {
        if depth < 3 && rng.u8(..5) == 0 {
            let give_up = rng.bool();
            let result = tx.savepoint(|tx| {
                some(tx, rng, seen, depth + 1)?;
                if give_up { Err(Error::Callback(String::from("given up"))) } else { Ok(()) }
            });
            seen.savepoints_undone += u64::from(result.is_err());
        } else {
            statement(tx, rng, seen)?;
        }
    }
    Ok(())
}

/// A transaction of the app; whether it commits or not, the queue must equal the difference.
fn transaction(engine: &mut Engine, rng: &mut Rng, seen: &mut Coverage) -> Result<(), String> {
    let before = dump(engine);
    let result = if rng.u8(..3) == 0 {
        let (clause, sql) = generate::statement(rng);
        seen.statements += 1;
        engine.execute(&sql, &[]).map(drop).inspect_err(|_| {
            seen.failed += 1;
            *seen.failed_by_clause.entry(clause).or_default() += 1;
        })
    } else {
        engine.transaction(|tx| some(tx, rng, seen, 0))
    };
    let after = dump(engine);
    let expected = difference(&before, &after);
    let mut captured: Vec<String> = queued(engine);
    captured.sort();
    seen.transactions += 1;
    seen.patches += captured.len() as u64;
    seen.cascaded +=
        u64::from(captured.iter().any(|line| line.starts_with("c ") && line.contains("delete")));
    if result.is_err() && before != after {
        return Err(format!("a failed transaction left something: {expected:?}"));
    }
    if captured != expected {
        return Err(format!("captured {captured:?}, but the difference is {expected:?}"));
    }
    settle(engine);
    Ok(())
}

/// Rows of the server in any order, violating every rule: all of them must be written, and nothing
/// else may change.
fn base(engine: &mut Engine, rng: &mut Rng, seen: &mut Coverage) -> Result<(), String> {
    let mut expected = dump(engine);
    let rows: Vec<_> = (0..rng.usize(1..12)).map(|_| generate::base_row(rng)).collect();
    let applied = engine.write(Origin::Remote, |engine| {
        for (table, values) in &rows {
            let columns = TABLES.iter().find(|(name, _)| name == table).unwrap().1;
            let conn = engine.db.conn();
            let sql = match values {
                Ok(values) => {
                    let set: Vec<String> = columns[1..]
                        .iter()
                        .map(|column| format!("{column} = excluded.{column}"))
                        .collect();
                    let values = values.join(", ");
                    format!(
                        "INSERT INTO {table} VALUES ({values}) ON CONFLICT (id) DO UPDATE SET {}",
                        set.join(", ")
                    )
                }
                Err(key) => format!("DELETE FROM {table} WHERE id = {key}"),
            };
            conn.execute(&format!("/*rejoin*/{sql}"), [])?;
        }
        Ok(())
    });
    applied.map_err(|error| format!("a base row was refused: {error}"))?;
    for (table, values) in rows {
        seen.base_rows += 1;
        match values {
            Ok(values) => expected.insert((table.to_owned(), values[0].clone()), values),
            Err(key) => expected.remove(&(table.to_owned(), key)),
        };
    }
    let found = dump(engine);
    if found != expected {
        return Err(format!("base rows had side effects: {:?}", difference(&expected, &found)));
    }
    if !queued(engine).is_empty() {
        return Err(String::from("a base row was captured"));
    }
    Ok(())
}

/// Runs cases until `statements` have run, or one fails.
fn cases(statements: u64) -> Result<Coverage, String> {
    let mut seen = Coverage::default();
    let mut number = 0;
    while seen.statements < statements {
        number += 1;
        let mut rng = Rng::with_seed(number);
        let (_folder, mut engine) = engine(manifests());
        engine
            .execute_batch(
                "CREATE TABLE mirror (n INT UNIQUE, x INT);
                 CREATE TRIGGER mirrored AFTER INSERT ON w BEGIN
                   INSERT OR FAIL INTO mirror VALUES (NEW.a, 0), (NEW.a + 20, 1); END;
                 CREATE TRIGGER unmirrored AFTER DELETE ON w BEGIN DELETE FROM mirror WHERE n = OLD.a; END",
            )
            .unwrap();
        for _ in 0..150 {
            let step = if rng.u8(..8) == 0 {
                base(&mut engine, &mut rng, &mut seen)
            } else {
                transaction(&mut engine, &mut rng, &mut seen)
            };
            step.map_err(|error| format!("case {number}: {error}"))?;
        }
    }
    Ok(seen)
}

#[test]
fn captured_patches_equal_table_diff() {
    let seen = cases(20_000).unwrap();
    assert!(seen.failed * 3 >= seen.statements, "a third fails: {seen:?}");
    for clause in ["", "OR ABORT", "OR FAIL", "OR IGNORE", "OR REPLACE", "OR ROLLBACK", "UPSERT"] {
        let failed = seen.failed_by_clause.get(clause).copied().unwrap_or(0);
        assert!(failed >= 100, "{clause:?} failed {failed} times: {seen:?}");
    }
    for rule in ["NOT NULL", "CHECK", "UNIQUE", "FOREIGN KEY"] {
        let broken = seen.by_rule.get(rule).copied().unwrap_or(0);
        assert!(broken >= 100, "{rule} was broken {broken} times: {seen:?}");
    }
    for (what, count, least) in [
        ("partial statements", seen.partial, 20),
        ("statements after an end", seen.ended, 20),
        ("savepoints undone", seen.savepoints_undone, 500),
        ("patches", seen.patches, 5_000),
        ("cascaded deletes", seen.cascaded, 20),
        ("base rows", seen.base_rows, 2_000),
    ] {
        assert!(count >= least, "{what}: {count}, at least {least}: {seen:?}");
    }
}
