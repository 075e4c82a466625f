//! Scenarios: what an app and a server may do to three small tables, as data, from a seed.
//!
//! `p` (a, b; a row with b is soft-deleted), `c` (pid REFERENCES p ON DELETE CASCADE, v), `u` (name
//! UNIQUE, n CHECK n >= 0). The few keys make overlaps frequent; the server follows none of the
//! declared rules.

use std::fmt;

use fastrand::Rng;
use rejoin_protocol::wire::push::Ending;
use serde_json::Value as Json;

use super::act;
use crate::value::Value;

/// The tables with their columns beside the key.
pub(super) const TABLES: [(&str, [&str; 2]); 3] =
    [("p", ["a", "b"]), ("c", ["pid", "v"]), ("u", ["name", "n"])];

/// The events, in order.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) base: Vec<Row>,
    pub(super) events: Vec<Event>,
}

/// A row of the server, or its absence.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) table: usize,
    pub(super) key: String,
    pub(super) cells: Option<[Value; 2]>,
}

#[derive(Debug, Clone)]
pub(super) enum Event {
    /// One local transaction; a failed statement is ignored or fails all of it.
    Local { statements: Vec<String>, passes_over: bool },
    /// An action is performed.
    Act { name: String, args: Json },
    /// Rows of a pull, as images or as arrays.
    Pull { rows: Vec<Row>, arrays: bool, detect_conflicts: bool },
    /// A whole range of a table, paged.
    Page { table: usize, rows: Vec<Row>, through: String },
    /// Some pending mutations are sent and get verdicts; accepted ones are in the base from then
    /// on.
    Answer { first: usize, endings: Vec<Ending>, detect_conflicts: bool },
    /// A request is lost.
    Lost { count: usize },
    /// The app discards a mutation.
    Discard { which: usize },
    /// The file is closed and opened.
    Reopen,
}

fn key(rng: &mut Rng) -> String {
    format!("k{}", rng.u8(..5))
}

fn cells(rng: &mut Rng, table: usize) -> [Value; 2] {
    let small = |rng: &mut Rng| match rng.u8(..12) {
        0 => Value::Null,
        1 => Value::Integer(i64::MAX),
        2 => Value::Integer(-1),
        n => Value::Integer(i64::from(n)),
    };
    match table {
        0 => [small(rng), small(rng)],
        1 => [Value::from(key(rng)), small(rng)],
        _ => [Value::from(rng.choice(["x", "y", "z", "w", "v", "t"]).unwrap_or("x")), small(rng)],
    }
}

fn remote(rng: &mut Rng) -> Row {
    let table = rng.usize(..3);
    let cells = (rng.u8(..4) > 0).then(|| cells(rng, table));
    Row { table, key: key(rng), cells }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => format!("'{text}'"),
        _ => String::from("NULL"),
    }
}

/// A statement under any conflict clause; many violate a rule or find no row.
fn statement(rng: &mut Rng) -> String {
    let table = rng.usize(..3);
    let (name, columns) = TABLES[table];
    let clause = rng.choice([
        "",
        "",
        "",
        "",
        "",
        "OR IGNORE",
        "OR IGNORE",
        "OR REPLACE",
        "OR REPLACE",
        "OR FAIL",
        "OR ROLLBACK",
    ]);
    let clause = clause.unwrap_or("");
    let [first, second] = cells(rng, table).map(|value| literal(&value));
    let (id, other) = (key(rng), key(rng));
    let [a, b] = columns;
    let new = format!("k{}", rng.u8(..8));
    match rng.u8(..16) {
        0..=2 => format!(
            "INSERT {clause} INTO {name} (id, {a}, {b}) VALUES ('{new}', {first}, {second})"
        ),
        3..=6 => format!("UPDATE {clause} {name} SET {b} = {second} WHERE id = '{id}'"),
        7 => format!("UPDATE {clause} {name} SET {a} = {first}, {b} = {second} WHERE id >= '{id}'"),
        8..=10 => format!("UPDATE {name} SET {b} = {second} WHERE id IN ('{id}', '{other}')"),
        11 => format!("UPDATE {clause} {name} SET id = '{new}' WHERE id = '{id}'"),
        12 => format!(
            "INSERT INTO {name} (id, {a}, {b}) VALUES ('{id}', {first}, {second}) \
             ON CONFLICT (id) DO UPDATE SET {b} = excluded.{b}"
        ),
        13..=14 => format!("DELETE FROM {name} WHERE id = '{id}'"),
        _ => format!("UPDATE {name} SET {b} = {b} + 1"),
    }
}

fn pull(rng: &mut Rng) -> Event {
    let mut rows: Vec<Row> = (0..rng.usize(1..4)).map(|_| remote(rng)).collect();
    if rng.u8(..5) == 0 {
        // A child whose parent arrives later, or never.
        let cells = Some([Value::from("k4"), Value::Integer(1)]);
        rows.push(Row { table: 1, key: key(rng), cells });
    }
    let mut seen = std::collections::HashSet::new();
    rows.reverse();
    rows.retain(|row| seen.insert((row.table, row.key.clone())));
    Event::Pull { rows, arrays: rng.bool(), detect_conflicts: rng.u8(..3) == 0 }
}

/// Dependent edits, one by one, and a remote row under the first of them.
fn chain(events: &mut Vec<Event>, rng: &mut Rng) -> Event {
    let table = rng.usize(..3);
    let (name, [_, column]) = TABLES[table];
    for first in 0..rng.usize(2..4) {
        let second = first + 1;
        let sql = format!(
            "UPDATE {name} SET {column} = {} WHERE id IN ('k{first}', 'k{second}')",
            rng.u8(..9)
        );
        events.push(Event::Local { statements: vec![sql], passes_over: true });
    }
    let rows = vec![Row { table, key: String::from("k0"), cells: Some(cells(rng, table)) }];
    Event::Pull { rows, arrays: rng.bool(), detect_conflicts: rng.u8(..4) == 0 }
}

/// An action that branches or refuses by what it reads, plain edits of what its other branch
/// writes, and the remote row that makes it take that branch.
fn branch(events: &mut Vec<Event>, rng: &mut Rng) -> Event {
    let [key, other] = [key(rng), key(rng)];
    let is_even = rng.bool();
    // In some, an action that refuses below two instead of branching.
    let (name, args) = act::turning(rng, &key, &other);
    let low = i64::from(name == "guard");
    let odd = |odd: bool| Value::Integer(2 - low + i64::from(odd));
    let row = |table, key: &str, cells| Row { table, key: key.to_owned(), cells: Some(cells) };
    let pointer = |is_odd| row(0, &key, [odd(is_odd), Value::Null]);
    let child = row(1, &other, [Value::from("k0"), Value::Integer(0)]);
    let named = row(2, &other, [Value::from("t"), Value::Integer(0)]);
    let rows = vec![pointer(!is_even), child, named];
    events.push(Event::Pull { rows, arrays: rng.bool(), detect_conflicts: false });
    events.push(Event::Act { name, args });
    let table = if is_even { "u SET n" } else { "c SET v" };
    let edit = format!("UPDATE {table} = {} WHERE id = '{other}'", rng.u8(10..20));
    events.push(Event::Local { statements: vec![edit], passes_over: true });
    Event::Pull {
        rows: vec![pointer(is_even)],
        arrays: rng.bool(),
        detect_conflicts: rng.u8(..4) == 0,
    }
}

/// Two rows that exchange a unique value, in the base or on the way to it.
fn named(names: [&str; 2], rng: &mut Rng) -> Event {
    let row = |(key, name): (&str, &str)| Row {
        table: 2,
        key: key.to_owned(),
        cells: Some([Value::from(name), Value::Integer(0)]),
    };
    let rows = ["k0", "k1"].into_iter().zip(names).map(row).collect();
    Event::Pull { rows, arrays: rng.bool(), detect_conflicts: false }
}

fn page(rng: &mut Rng) -> Event {
    let table = rng.usize(..3);
    let through = rng.usize(1..5);
    let keys = (0..=through).filter(|_| rng.bool()).collect::<Vec<_>>();
    let row =
        |rng: &mut Rng, at| Row { table, key: format!("k{at}"), cells: Some(cells(rng, table)) };
    let rows = keys.into_iter().map(|at| row(rng, at)).collect();
    Event::Page { table, rows, through: format!("k{through}") }
}

impl Story {
    /// The scenario of a seed.
    pub(super) fn generate(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let rng = &mut rng;
        let base = (0..rng.usize(8..20)).map(|_| remote(rng)).collect();
        let mut events = Vec::new();
        let acts = rng.u8(..5) < 3;
        for number in 0..rng.usize(4..9) {
            // First the app writes for a while, then the server responds more often.
            let event = match rng.u8(if number < 3 { 0..30 } else { 10..40 }) {
                0..=8 if acts => {
                    let (name, args) = act::any(rng);
                    Event::Act { name, args }
                }
                9..=10 if acts => branch(&mut events, rng),
                0..=19 => Event::Local {
                    statements: (0..rng.usize(1..4)).map(|_| statement(rng)).collect(),
                    passes_over: rng.u8(..4) > 0,
                },
                20..=26 => pull(rng),
                30 => {
                    events.push(named(["x", "y"], rng));
                    named(["y", "x"], rng)
                }
                31 => page(rng),
                27..=29 => chain(&mut events, rng),
                32..=35 => Event::Answer {
                    first: rng.usize(..4),
                    endings: (0..rng.usize(1..3)).map(|_| ending(rng)).collect(),
                    detect_conflicts: rng.bool(),
                },
                36 => Event::Lost { count: rng.usize(1..3) },
                37..=38 => Event::Discard { which: rng.usize(..6) },
                _ if seed.is_multiple_of(3) => Event::Reopen,
                _ => pull(rng),
            };
            events.push(event);
        }
        Self { base, events }
    }
}

fn ending(rng: &mut Rng) -> Ending {
    match rng.u8(..10) {
        0..=4 => Ending::Accepted,
        5 => Ending::Rejected,
        6 => Ending::Conflict,
        7 => Ending::Blocked,
        8 => Ending::Refused,
        _ => Ending::Retry,
    }
}

impl fmt::Display for Story {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |row: &Row| match &row.cells {
            Some([a, b]) => {
                format!("{} {} ({}, {})", TABLES[row.table].0, row.key, literal(a), literal(b))
            }
            None => format!("{} {} absent", TABLES[row.table].0, row.key),
        };
        let rows = |rows: &[Row]| rows.iter().map(row).collect::<Vec<_>>().join("; ");
        writeln!(out, "  base: {}", rows(&self.base))?;
        for event in &self.events {
            match event {
                Event::Local { statements, passes_over } => {
                    writeln!(out, "  local (passes over failures: {passes_over}):")?;
                    statements.iter().try_for_each(|sql| writeln!(out, "    {sql}"))?;
                }
                Event::Pull { rows: pulled, arrays, detect_conflicts } => {
                    writeln!(
                        out,
                        "  pull (arrays {arrays}, detect_conflicts {detect_conflicts}): {}",
                        rows(pulled)
                    )?;
                }
                Event::Page { table, rows: paged, through } => {
                    writeln!(
                        out,
                        "  page of {} through {through}: {}",
                        TABLES[*table].0,
                        rows(paged)
                    )?;
                }
                other => writeln!(out, "  {other:?}")?,
            }
        }
        Ok(())
    }
}
