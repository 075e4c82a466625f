//! Random statements over the property's tables: small keys and values, so that they overlap.

use fastrand::Rng;

use super::TABLES;

/// A value of a column; sometimes one that violates a rule.
fn value(rng: &mut Rng, column: &str) -> String {
    let number = |rng: &mut Rng, range| rng.i64(range).to_string();
    match column {
        "a" if rng.u8(..5) == 0 => {
            String::from(*rng.choice(["-1", "NULL"].iter()).unwrap_or(&"NULL"))
        }
        "pid" | "up" if rng.u8(..4) == 0 => String::from("NULL"),
        "id" => number(rng, 0..6),
        "a" | "n" | "x" | "pid" | "up" => number(rng, 0..7),
        "b" | "name" => {
            String::from(*rng.choice(["'a'", "'A'", "'b'", "''", "NULL"].iter()).unwrap_or(&"''"))
        }
        _ => number(rng, 0..9),
    }
}

fn row(rng: &mut Rng, columns: &[&str]) -> String {
    let values: Vec<String> = columns.iter().map(|column| value(rng, column)).collect();
    format!("({})", values.join(", "))
}

/// A statement, and its conflict clause.
pub(super) fn statement(rng: &mut Rng) -> (&'static str, String) {
    let tables = [0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 6, 6, 7, 7, 8, 8];
    let (table, columns) = TABLES[tables[rng.usize(..tables.len())]];
    let clauses = ["", "", "OR ABORT", "OR FAIL", "OR IGNORE", "OR REPLACE", "OR ROLLBACK"];
    let clause = clauses[rng.usize(..clauses.len())];
    match rng.u8(..20) {
        0..9 => {
            let rows: Vec<String> = (0..rng.usize(1..4)).map(|_| row(rng, columns)).collect();
            (clause, format!("INSERT {clause} INTO {table} VALUES {}", rows.join(", ")))
        }
        9..12 => {
            let set = columns[rng.usize(1..columns.len())];
            let rows: Vec<String> = (0..rng.usize(1..3)).map(|_| row(rng, columns)).collect();
            let rows = rows.join(", ");
            let sql = format!(
                "INSERT INTO {table} VALUES {rows} ON CONFLICT (id) DO UPDATE SET {set} = excluded.{set}"
            );
            ("UPSERT", sql)
        }
        12..18 => {
            let column = columns[rng.usize(..columns.len())];
            let to = match rng.u8(..5) {
                0 if column != "b" && column != "name" => format!("{column} + 1"),
                1 if column != "b" && column != "name" => format!("3 - {column}"),
                _ => value(rng, column),
            };
            let filter = match rng.u8(..3) {
                0 => String::new(),
                1 => format!(" WHERE id = {}", rng.u8(..6)),
                _ => format!(" WHERE id > {}", rng.u8(..6)),
            };
            (clause, format!("UPDATE {clause} {table} SET {column} = {to}{filter}"))
        }
        _ => {
            let filter = if rng.u8(..6) == 0 {
                String::new()
            } else {
                format!(" WHERE id = {}", rng.u8(..6))
            };
            ("", format!("DELETE FROM {table}{filter}"))
        }
    }
}

/// A row of the server, or the key of a removed one. It follows no rule.
pub(super) fn base_row(rng: &mut Rng) -> (&'static str, Result<Vec<String>, String>) {
    let (table, columns) = TABLES[rng.usize(..TABLES.len() - 1)];
    if rng.u8(..3) == 0 {
        return (table, Err(rng.u8(..6).to_string()));
    }
    (table, Ok(columns.iter().map(|column| value(rng, column)).collect()))
}
