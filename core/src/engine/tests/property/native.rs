//! Comparison with SQLite's own constraints: the same statements on the same tables with native
//! rules.
//!
//! What SQLite accepts, the engine accepts, with the same rows. What SQLite rejects, the engine
//! rejects, with two documented exceptions: UNIQUE is checked after the statement, so that values
//! may be swapped and shifted; and a row that an upsert does not insert is not checked at all.

use fastrand::Rng;
use rusqlite::Connection;

use super::{Dump, TABLES, difference, dump, engine, generate, manifests, settle};
use crate::error::Error;

const NATIVE: &str = "
    CREATE TABLE p (id INT PRIMARY KEY, a INT NOT NULL CHECK (a >= 0), b TEXT);
    CREATE TABLE c (id INT PRIMARY KEY, pid INT REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE, v INT);
    CREATE TABLE d (id INT PRIMARY KEY, pid INT REFERENCES p (id) ON DELETE RESTRICT, v INT);
    CREATE TABLE e (id INT PRIMARY KEY, pid INT REFERENCES p (id) ON DELETE SET NULL ON UPDATE SET NULL, v INT);
    CREATE TABLE f (id INT PRIMARY KEY, pid INT REFERENCES p (id), v INT);
    CREATE TABLE u (id INT PRIMARY KEY, n INT UNIQUE, name TEXT, x INT, UNIQUE (name, x));
    CREATE TABLE t (id INT PRIMARY KEY, up INT REFERENCES t (id) ON DELETE CASCADE, v INT);
    CREATE TABLE s (id INT PRIMARY KEY, a INT, v INT);
    CREATE TABLE w (id INT PRIMARY KEY, a INT, b TEXT) WITHOUT ROWID;";

#[allow(clippy::disallowed_methods)] // The reference connection is not the engine's.
fn native() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch("PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON").unwrap();
    conn.execute_batch(NATIVE).unwrap();
    conn
}

/// Copies the engine's rows to the native tables.
fn follow(conn: &Connection, rows: &Dump) {
    conn.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    for (table, _) in TABLES {
        conn.execute(&format!("DELETE FROM {table}"), []).unwrap();
    }
    for ((table, _), values) in rows {
        conn.execute(&format!("INSERT INTO {table} VALUES ({})", values.join(", ")), []).unwrap();
    }
    conn.execute_batch("PRAGMA foreign_keys = ON").unwrap();
}

/// Statements that the engine accepts and SQLite does not: see `docs/sql.md`.
fn promised(clause: &str, why: &str) -> bool {
    let of_a_row_that_becomes_an_update =
        clause == "UPSERT" && ["NOT NULL", "CHECK"].iter().any(|rule| why.starts_with(rule));
    of_a_row_that_becomes_an_update || why.contains("UNIQUE constraint failed: u.")
}

#[test]
fn rules_match_native_constraints_except_deferred_unique() {
    let (mut same, mut both_refused, mut only_we_take) = (0_u32, 0_u32, 0_u32);
    for case in 0..60 {
        let mut rng = Rng::with_seed(case);
        let (_folder, mut engine) = engine(manifests());
        let reference = native();
        for _ in 0..200 {
            let (clause, sql) = generate::statement(&mut rng);
            // Under the other clauses the engine differs as documented, for example for a REPLACE
            // on UNIQUE. The result of changing several keys at once depends on the order of the
            // rows in the file.
            let keys_moved = sql.contains("SET id =") && !sql.contains("WHERE id =");
            let like_theirs = match clause {
                "" | "OR ABORT" | "UPSERT" => true,
                "OR REPLACE" => !sql.contains(" u "),
                _ => false,
            };
            if keys_moved || !like_theirs {
                continue;
            }
            let ours = engine.execute(&sql, &[]);
            let theirs = reference.execute(&sql, []);
            let rows = dump(&engine);
            settle(&engine);
            match (&ours, &theirs) {
                (Ok(_), Ok(_)) => same += 1,
                (Err(Error::Constraint { .. }), Err(_)) => both_refused += 1,
                (Ok(_), Err(why)) if promised(clause, &why.to_string()) => {
                    only_we_take += 1;
                    follow(&reference, &rows);
                }
                _ => panic!("case {case}: {sql}: ours {ours:?}, SQLite's {theirs:?}"),
            }
            let mirror = super::dump_of(&reference);
            assert!(rows == mirror, "case {case}: {sql}: {:?}", difference(&rows, &mirror));
        }
    }
    assert!(same > 2_000 && both_refused > 1_500, "{same} {both_refused}");
    assert!(only_we_take > 10, "{only_we_take}");
}
