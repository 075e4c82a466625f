//! Random statements over the tables of a schema: few keys and values, so that they overlap.

use fastrand::Rng;

use super::drawn::Drawn;

pub(super) const IDS: &[&str] = &["a", "b", "c", "d", "e"];

pub(super) const BODIES: &[Option<&str>] =
    &[Some("milk"), Some("tea and milk"), Some("oats"), Some("Milk"), None];

/// A statement; one that returns rows has two columns.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) returns: bool,
}

/// The tables and their columns; the first one is the key.
const TABLES: &[(&str, &[&str])] = &[
    ("item", &["id", "body", "n"]),
    ("comment", &["id", "item", "n"]),
    ("unread", &["id", "seen"]),
    ("draft", &["id", "n", "body"]),
    ("mark", &["no", "unread"]),
    ("words", &["id", "body"]),
    ("log", &["no", "what", "id"]),
    ("inbox", &["id", "seen"]),
];

fn value(rng: &mut Rng, column: &str) -> String {
    let text = |text: Option<&str>| text.map_or("NULL".to_owned(), |text| format!("'{text}'"));
    match column {
        "item" | "unread" if rng.u8(..4) == 0 => "NULL".to_owned(),
        "id" | "item" | "unread" => text(rng.choice(IDS).copied()),
        "body" | "what" => text(*rng.choice(BODIES).unwrap()),
        _ => rng.i64(0..6).to_string(),
    }
}

fn filter(rng: &mut Rng, (table, columns): (&str, &[&str])) -> String {
    let key = columns[0];
    match rng.u8(..6) {
        0 => String::new(),
        1 if key == "id" => format!(" WHERE id > {}", value(rng, key)),
        2 if table != "words" => format!(" WHERE {} > 2", columns[columns.len() - 1]),
        3 if key == "id" => " WHERE id IN (SELECT id FROM item WHERE n < 3)".to_owned(),
        4 if key == "id" => " WHERE id IN (SELECT id FROM unread)".to_owned(),
        _ => format!(" WHERE {key} = {}", value(rng, key)),
    }
}

fn clause(rng: &mut Rng, drawn: &Drawn, table: &str) -> &'static str {
    let is_synced = matches!(table, "item" | "comment");
    match rng.u8(..9) {
        0 => "OR ABORT ",
        1 => "OR IGNORE ",
        2 => "OR ROLLBACK ",
        3 | 4 if !is_synced || drawn.replaces => "OR REPLACE ",
        // It ends the transaction if it changes a synced table.
        5 if !is_synced => "OR FAIL ",
        _ => "",
    }
}

fn rows(rng: &mut Rng, columns: &[&str]) -> String {
    let row = |rng: &mut Rng| {
        let values: Vec<String> = columns.iter().map(|column| value(rng, column)).collect();
        format!("({})", values.join(", "))
    };
    let rows: Vec<String> = (0..rng.u8(1..4)).map(|_| row(rng)).collect();
    rows.join(", ")
}

/// A statement that reads one table and writes another.
fn across(rng: &mut Rng) -> String {
    let n = rng.u8(..6);
    let all = [
        format!(
            "INSERT OR IGNORE INTO item (id, body, n) SELECT id, body, n FROM draft WHERE n > {n}"
        ),
        format!("INSERT OR IGNORE INTO draft (id, body) SELECT id, body FROM item WHERE n > {n}"),
        format!(
            "INSERT INTO unread (id, seen) SELECT id, n FROM item WHERE n < {n} ON CONFLICT DO NOTHING"
        ),
        "UPDATE unread SET seen = item.n FROM item WHERE item.id = unread.id".to_owned(),
        "UPDATE item SET n = unread.seen FROM unread WHERE item.id = unread.id".to_owned(),
        format!(
            "UPDATE comment SET n = (SELECT n FROM item WHERE item.id = comment.item) WHERE n <> {n}"
        ),
        "DELETE FROM comment WHERE item IN (SELECT id FROM item WHERE n = 1)".to_owned(),
        format!(
            "WITH few AS (SELECT id FROM item WHERE n < {n}) DELETE FROM unread WHERE id IN few"
        ),
        "DELETE FROM mark WHERE unread IS NULL".to_owned(),
        "UPDATE item SET body = NULL WHERE id IN (SELECT id FROM words WHERE words MATCH 'tea')"
            .to_owned(),
        format!(
            "UPDATE item SET (body, n) = (SELECT body, n FROM draft WHERE n = {n} ORDER BY id) WHERE n = {n}"
        ),
    ];
    rng.choice(all).unwrap()
}

pub(super) fn draw(rng: &mut Rng, drawn: &Drawn) -> Statement {
    let weights = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6, 7, 7];
    let one @ (table, columns) = TABLES[*rng.choice(&weights).unwrap()];
    let is_table = !matches!(table, "words" | "inbox");
    let or = if is_table { clause(rng, drawn, table) } else { "" };
    let sql = match rng.u8(..16) {
        0..6 => {
            // SQLite assigns the other keys.
            let columns = if columns[0] == "no" { &columns[1..] } else { columns };
            format!(
                "INSERT {or}INTO {table} ({}) VALUES {}",
                columns.join(", "),
                rows(rng, columns)
            )
        }
        6..8 if is_table && columns[0] == "id" => {
            let set = columns[rng.usize(1..columns.len())];
            let then = match rng.u8(..3) {
                0 => "NOTHING".to_owned(),
                1 => format!("UPDATE SET {set} = excluded.{set} WHERE {set} IS NOT excluded.{set}"),
                _ => format!("UPDATE SET {set} = excluded.{set}"),
            };
            let rows = rows(rng, columns);
            format!(
                "INSERT INTO {table} ({}) VALUES {rows} ON CONFLICT (id) DO {then}",
                columns.join(", ")
            )
        }
        8..12 => {
            let set = columns[rng.usize(1..columns.len())];
            let to = match rng.u8(..3) {
                0 if matches!(set, "n" | "seen") => format!("{set} + 1"),
                _ => value(rng, set),
            };
            format!("UPDATE {or}{table} SET {set} = {to}{}", filter(rng, one))
        }
        12 if is_table && columns[0] == "id" => {
            let [to, from] = [(); 2].map(|()| value(rng, "id"));
            format!("UPDATE {or}{table} SET id = {to} WHERE id = {from}")
        }
        13..15 => return Statement { sql: across(rng), returns: false },
        _ => format!("DELETE FROM {table}{}", filter(rng, one)),
    };
    let returns = is_table && rng.u8(..6) == 0;
    let returning =
        if returns { format!(" RETURNING {}, {}", columns[0], columns[1]) } else { String::new() };
    Statement { sql: sql + &returning, returns }
}
