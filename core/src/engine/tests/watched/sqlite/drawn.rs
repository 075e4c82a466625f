//! Random schemas: two synced tables, and what an app keeps beside them.

use fastrand::Rng;
use rejoin_protocol::manifest::{GeneratedColumn, ReferenceAction, Rule, TableManifest};

use crate::engine::tests::table;

/// A schema as it was drawn.
#[derive(Debug)]
pub(super) struct Drawn {
    /// What the app creates.
    pub(super) local: Vec<String>,
    /// Whether REPLACE of a synced row fires no delete trigger of the app.
    pub(super) replaces: bool,
    is_stored: bool,
    on_delete: ReferenceAction,
    without_rowid: bool,
}

/// What each schema has.
const FIXED: &[&str] = &[
    "CREATE TABLE log (no INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT, id TEXT)",
    "CREATE VIRTUAL TABLE words USING fts5(id UNINDEXED, body)",
    "CREATE VIEW shown AS SELECT item.id, unread.seen FROM item LEFT JOIN unread USING (id)",
    "CREATE VIEW inbox AS SELECT id, seen FROM unread",
    "CREATE VIEW counted AS
        SELECT id, (SELECT count(*) FROM comment WHERE comment.item = item.id) AS comments FROM item",
    "CREATE TRIGGER inbox_new INSTEAD OF INSERT ON inbox BEGIN
        INSERT INTO unread (id) VALUES (NEW.id) ON CONFLICT (id) DO UPDATE SET seen = seen + 1; END",
    "CREATE TRIGGER inbox_seen INSTEAD OF UPDATE ON inbox BEGIN
        UPDATE unread SET seen = NEW.seen WHERE id = OLD.id; END",
    "CREATE TRIGGER inbox_gone INSTEAD OF DELETE ON inbox BEGIN
        DELETE FROM unread WHERE id = OLD.id; INSERT INTO log (what, id) VALUES ('inbox', OLD.id); END",
];

/// The tables that have triggers, with what identifies their rows.
const TRIGGERED: &[(&str, &str)] = &[
    ("item", "id"),
    ("item", "id"),
    ("comment", "item"),
    ("unread", "id"),
    ("draft", "id"),
    ("mark", "unread"),
];

impl Drawn {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let stored = *rng.choice(&["VIRTUAL", "STORED"]).unwrap();
        let mut local = tables(rng, stored);
        local.extend((0..rng.u8(..7)).map(|number| trigger(rng, number)));
        let has = |part: &str| local.iter().any(|sql| sql.contains(part));
        let deletes = has("DELETE ON item") || has("DELETE ON comment");
        // A row that REPLACE removes is gone earlier than in SQLite.
        let counts = has("BEFORE INSERT ON item") && has("count(*) FROM item;");
        // In triggers that a cascade of SQLite fires, each clause is OR ABORT.
        let updates = has("UPDATE ON comment") || has("UPDATE OF item ON comment");
        let on_delete = match rng.u8(..3) {
            0 if !updates => ReferenceAction::SetNull,
            1 => ReferenceAction::NoAction,
            _ => ReferenceAction::Cascade,
        };
        Self {
            replaces: !deletes && !counts,
            is_stored: stored == "STORED",
            on_delete,
            without_rowid: rng.u8(..4) == 0,
            local,
        }
    }

    pub(super) fn manifests(&self) -> Vec<TableManifest> {
        self.manifests_of(1)
    }

    /// The tables as the server's schema of this version has them: a column comes and goes.
    pub(super) fn manifests_of(&self, version: i64) -> Vec<TableManifest> {
        let more: &[(&str, &str)] = if version % 2 == 0 { &[("more", "string")] } else { &[] };
        let columns = [&[("id", "string"), ("body", "string"), ("n", "int64")], more].concat();
        let mut item = table("item", &columns, Vec::new());
        let extension = item.rejoin.get_or_insert_default();
        extension.without_rowid = self.without_rowid;
        extension.generated = vec![GeneratedColumn {
            name: "size".to_owned(),
            sql_type: "INTEGER".to_owned(),
            expression: "coalesce(length(body), 0) + n".to_owned(),
            stored: self.is_stored,
        }];
        let refers = Rule::References {
            column: "item".to_owned(),
            table: "item".to_owned(),
            on_delete: self.on_delete,
            on_update: ReferenceAction::NoAction,
        };
        let comment =
            table("comment", &[("id", "string"), ("item", "string"), ("n", "int64")], vec![refers]);
        vec![comment, item]
    }

    /// The synced tables in SQLite.
    pub(super) fn native(&self) -> String {
        let stored = if self.is_stored { "STORED" } else { "VIRTUAL" };
        let without = if self.without_rowid { " WITHOUT ROWID" } else { "" };
        let on_delete = match self.on_delete {
            ReferenceAction::Cascade => "CASCADE",
            ReferenceAction::SetNull => "SET NULL",
            _ => "NO ACTION",
        };
        format!(
            "CREATE TABLE item (id TEXT PRIMARY KEY, body TEXT, n INTEGER,
                 size INTEGER AS (coalesce(length(body), 0) + n) {stored}){without};
             CREATE TABLE comment (id TEXT PRIMARY KEY, item TEXT REFERENCES item (id) ON DELETE {on_delete}, n INTEGER);
             CREATE INDEX comment_item ON comment (item)"
        )
    }

    /// A change of the schema.
    pub(super) fn ddl(rng: &mut Rng) -> String {
        match rng.u8(..5) {
            0 => "CREATE INDEX IF NOT EXISTS draft_body ON draft (body, n)".to_owned(),
            1 => "DROP INDEX IF EXISTS draft_body".to_owned(),
            2 => "CREATE INDEX IF NOT EXISTS item_n ON item (n)".to_owned(),
            3 => "DROP TRIGGER inbox_gone; CREATE TRIGGER inbox_gone INSTEAD OF DELETE ON inbox BEGIN
                      DELETE FROM unread WHERE id = OLD.id; END"
                .to_owned(),
            _ => "ALTER TABLE log RENAME COLUMN what TO kind; ALTER TABLE log RENAME COLUMN kind TO what".to_owned(),
        }
    }
}

/// The tables, views and triggers that each schema has, with random columns and constraints.
fn tables(rng: &mut Rng, stored: &str) -> Vec<String> {
    let mut pick = |all: &[&'static str]| *rng.choice(all).unwrap();
    let without = pick(&["", " WITHOUT ROWID"]);
    let check = pick(&["", " CHECK (seen < 60)"]);
    let unique = pick(&["", " UNIQUE", " UNIQUE ON CONFLICT REPLACE"]);
    let above = pick(&["CASCADE", "SET NULL", "RESTRICT", "NO ACTION"]);
    let random = [
        format!(
            "CREATE TABLE unread (id TEXT PRIMARY KEY, seen INTEGER NOT NULL DEFAULT 0{check}, \
             twice INTEGER AS (seen * 2) {stored}){without}"
        ),
        format!(
            "CREATE TABLE draft (id TEXT PRIMARY KEY, n INTEGER{unique}, body TEXT, \
             long INTEGER AS (length(body)) {stored})"
        ),
        format!(
            "CREATE TABLE mark (no INTEGER PRIMARY KEY, unread TEXT REFERENCES unread (id) ON DELETE {above})"
        ),
    ];
    random.into_iter().chain(FIXED.iter().map(|sql| (*sql).to_owned())).collect()
}

fn trigger(rng: &mut Rng, number: u8) -> String {
    let (table, key) = *rng.choice(TRIGGERED).unwrap();
    let time = *rng.choice(&["BEFORE", "AFTER", "AFTER"]).unwrap();
    let column = if table == "unread" { "seen" } else { key };
    let of = format!("UPDATE OF {column}");
    let event = *rng.choice(&["INSERT", "UPDATE", of.as_str(), "DELETE"]).unwrap();
    let row = match event {
        "INSERT" => "NEW",
        "DELETE" => "OLD",
        _ => *rng.choice(&["NEW", "OLD"]).unwrap(),
    };
    let id = format!("{row}.{key}");
    let when = if rng.u8(..4) == 0 { format!(" WHEN {id} <> 'b'") } else { String::new() };
    let kinds: &[u8] = match (table, event) {
        // A row that REPLACE removes is gone earlier than in SQLite.
        ("item", _) if time == "BEFORE" => &[0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12],
        // Cascades of SQLite and the engine's run before and after other triggers.
        ("comment", "DELETE") => &[0],
        ("item" | "comment", _) => &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        _ => &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
    };
    let body: Vec<String> = (0..rng.u8(1..3))
        .map(|_| action(rng.choice(kinds).copied().unwrap_or(0), &id, number, rng.u8(..6)))
        .collect();
    format!(
        "CREATE TRIGGER t{number} {time} {event} ON {table}{when} BEGIN {}; END",
        body.join("; ")
    )
}

fn action(kind: u8, id: &str, number: u8, n: u8) -> String {
    match kind {
        1 => format!("INSERT OR IGNORE INTO unread (id, seen) VALUES ({id}, {n})"),
        2 => format!("UPDATE unread SET seen = seen + 1 WHERE id = {id}"),
        3 => format!("DELETE FROM unread WHERE id = {id}"),
        4 => format!(
            "INSERT INTO unread (id) SELECT {id} WHERE true ON CONFLICT (id) DO UPDATE SET seen = seen + 10"
        ),
        5 => format!("INSERT OR REPLACE INTO unread (id, seen) VALUES ({id}, {n})"),
        6 => format!("INSERT INTO words (id, body) VALUES ({id}, 'milk')"),
        7 => format!("DELETE FROM words WHERE id = {id}"),
        8 => format!("UPDATE draft SET body = 'seen' WHERE id = {id}"),
        9 => "INSERT INTO log (what, id) SELECT 'count', count(*) FROM item".to_owned(),
        10 => format!("INSERT INTO inbox (id) VALUES ({id})"),
        11 => format!("UPDATE OR IGNORE draft SET n = n + 1 WHERE id = {id}"),
        12 => format!("INSERT INTO mark (unread) SELECT id FROM unread WHERE id = {id}"),
        13 => format!(
            "SELECT RAISE({}) WHERE {id} = 'c'",
            if n < 3 { "IGNORE" } else { "ABORT, 'no'" }
        ),
        _ => format!("INSERT INTO log (what, id) VALUES ('t{number}', {id})"),
    }
}
