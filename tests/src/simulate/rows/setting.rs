//! What a world is made of before anything happens: tables, policies, users, actions.

use std::sync::Arc;

use fastrand::Rng;
use rejoin_core::{Actions, Parameter, ParameterType, Policy};
use rejoin_server::{Limits, TableConfig};

use crate::{Backend, Store};

/// The users, whose first letters begin the keys of their rows.
pub(super) const USERS: [&str; 3] = ["ana", "ben", "cyd"];

/// The tables that are always there, parents first.
pub(super) const TABLES: [&str; 5] = ["items", "parts", "marks", "tallies", "takings"];

/// `items` are deleted softly, have parts, and a rule that only the server knows; those without an owner are everybody's.
/// `marks` are deleted for good; their `tint` comes and goes. Of `tallies` actions take (`m`), or take and say so (`n`, and a row of `takings`).
const SQL: &str = "
    CREATE TABLE items (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, note TEXT, level INTEGER CHECK (level BETWEEN 0 AND 9),
        user_id TEXT, created_at TEXT, updated_at TEXT, deleted_at TEXT
    );
    CREATE TABLE parts (
        id TEXT PRIMARY KEY, item_id TEXT NOT NULL REFERENCES items (id), name TEXT, updated_at TEXT, deleted_at TEXT
    );
    CREATE TABLE marks (id TEXT PRIMARY KEY, name TEXT, note TEXT, tint TEXT, user_id TEXT, updated_at TEXT);
    CREATE TABLE tallies (id TEXT PRIMARY KEY, m INTEGER, n INTEGER, user_id TEXT, updated_at TEXT);
    CREATE TABLE takings (id TEXT PRIMARY KEY, tally_id TEXT, n INTEGER, user_id TEXT, updated_at TEXT);
";

/// The table that comes and goes. A user has no two rows of one name in it, which only the server checks: by triggers, because
/// it takes no UNIQUE over SQLite (D29).
pub(super) const LEAVES: &str = "leaves";

/// How `leaves` is made.
pub(super) fn create_leaves(store: Store) -> String {
    let triggers = match store {
        Store::Sqlite => LEAF_TRIGGERS,
        Store::Postgres => LEAF_TRIGGERS_IN_POSTGRES,
    };
    format!(
        "CREATE TABLE leaves (id TEXT PRIMARY KEY, name TEXT, user_id TEXT, updated_at TEXT); {triggers}"
    )
}

const LEAF_TRIGGERS: &str = "
    CREATE TRIGGER leaf_made BEFORE INSERT ON leaves
        WHEN EXISTS (SELECT 1 FROM leaves WHERE user_id = NEW.user_id AND name = NEW.name AND id <> NEW.id)
        BEGIN SELECT RAISE(ABORT, 'the name is taken'); END;
    CREATE TRIGGER leaf_named BEFORE UPDATE OF name ON leaves
        WHEN EXISTS (SELECT 1 FROM leaves WHERE user_id = NEW.user_id AND name = NEW.name AND id <> NEW.id)
        BEGIN SELECT RAISE(ABORT, 'the name is taken'); END";

const LEAF_TRIGGERS_IN_POSTGRES: &str = "
    CREATE OR REPLACE FUNCTION leaf_is_alone() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM leaves WHERE user_id = NEW.user_id AND name = NEW.name AND id <> NEW.id) THEN
            RAISE EXCEPTION 'the name is taken';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER leaf_made BEFORE INSERT ON leaves FOR EACH ROW EXECUTE FUNCTION leaf_is_alone();
    CREATE TRIGGER leaf_named BEFORE UPDATE OF name ON leaves FOR EACH ROW EXECUTE FUNCTION leaf_is_alone()";

/// Takes of `m` what is there, and nothing else shows it.
const TAKE: &str = r#"{"name": "take",
    "parameters": [{"name": "id", "type": "text"}, {"name": "by", "type": "integer"}],
    "preconditions": [{"sql": "SELECT m >= :by FROM tallies WHERE id = :id", "message": "too few"}],
    "statements": ["UPDATE tallies SET m = m - :by WHERE id = :id"]}"#;

/// Takes of `n`, and notes it in a row of its own.
const COUNT: &str = r#"{"name": "count",
    "parameters": [{"name": "id", "type": "text"}, {"name": "by", "type": "integer"}],
    "ids": {"row": {"table": "takings", "identity": ["id"]}},
    "preconditions": [{"sql": "SELECT count(*) FROM tallies WHERE id = :id", "message": "no such tally"}],
    "statements": ["UPDATE tallies SET n = n - :by WHERE id = :id",
        "INSERT INTO takings (id, tally_id, n) VALUES (:row, :id, :by)"]}"#;

/// Writes what it reads in another table.
const TELL: &str = r#"{"name": "tell",
    "parameters": [{"name": "id", "type": "text"}, {"name": "of", "type": "text"}],
    "preconditions": [{"sql": "SELECT count(*) FROM marks WHERE id = :id", "message": "no such mark"}],
    "statements": ["UPDATE marks SET note = 'm' || (SELECT m FROM tallies WHERE id = :of) WHERE id = :id"]}"#;

/// Writes every mark without looking at any.
const SIGN: &str = r#"{"name": "sign", "parameters": [{"name": "as", "type": "text"}],
    "statements": ["UPDATE marks SET note = :as"]}"#;

/// Reads a table that only this device has: nobody may.
const QUOTE: &str = r#"{"name": "quote", "parameters": [{"name": "id", "type": "text"}],
    "statements": ["UPDATE marks SET note = (SELECT note FROM drafts) WHERE id = :id"]}"#;

/// A table of the app's own, and what stands in it.
pub(super) const DRAFTS: &str = "CREATE TABLE drafts (id TEXT PRIMARY KEY, note TEXT); INSERT INTO drafts VALUES ('d', 'draft')";

/// Whether `weigh` writes an item, and not a mark, at so much of `m`: others' taking may turn that over.
pub(super) fn is_light(m: i64) -> bool {
    m % 2 == 0
}

/// Writes in another table what its user saw, if that is still so.
const VOUCH: &str = r#"{"name": "vouch",
    "parameters": [{"name": "id", "type": "text"}, {"name": "of", "type": "text"}, {"name": "m", "type": "integer"}],
    "preconditions": [{"sql": "SELECT m = :m FROM tallies WHERE id = :of", "message": "it has changed"},
        {"sql": "SELECT count(*) FROM marks WHERE id = :id", "message": "no such mark"}],
    "statements": ["UPDATE marks SET note = 'v' || :m WHERE id = :id"]}"#;

/// A world's setting, which follows from its seed.
#[derive(Debug)]
pub(super) struct Setting {
    /// The user of each device at first.
    pub(super) users: Vec<&'static str>,
    /// The policies of `items` and `marks`.
    pub(super) policies: [Policy; 2],
    /// The policy of `tallies`, which holds for no action (O7).
    pub(super) tallies: Policy,
    /// Keys that each user writes, by table.
    pub(super) rows: u8,
}

impl Setting {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let users = match rng.u8(..10) {
            0..3 => vec!["ana", "ana"],
            3 => vec!["ana", "ben"],
            4..6 => vec!["ana", "ana", "ana"],
            6..8 => vec!["ana", "ana", "ben"],
            8 => vec!["ana", "ben", "ana", "ben"],
            _ => vec!["ana", "ana", "ben", "ben", "cyd"],
        };
        let policies = [policy(rng), policy(rng)];
        let tallies = if rng.bool() { Policy::Rebase } else { Policy::AcceptServer };
        Self { users, policies, tallies, rows: rng.u8(1..4) }
    }

    pub(super) fn server(&self, store: Store) -> Backend {
        let mut items = TableConfig::owned("items", "user_id").with_policy(self.policies[0]);
        items.allow_global_read = true;
        let tables = vec![
            items,
            TableConfig::child("parts", "items", "item_id").with_policy(self.policies[0]),
            TableConfig::owned("marks", "user_id").with_policy(self.policies[1]),
            TableConfig::owned("tallies", "user_id").with_policy(self.tallies),
            TableConfig::owned("takings", "user_id"),
        ];
        Backend::made(store, SQL, tables, Limits::default())
    }

    /// The tables in which the later edit wins.
    pub(super) fn by_time(&self) -> impl Iterator<Item = &'static str> {
        TABLES.into_iter().filter(|table| self.policy(table) == Policy::LastWriteWins)
    }

    /// The policy of a table.
    pub(super) fn policy(&self, table: &str) -> Policy {
        match table {
            "items" | "parts" => self.policies[0],
            "marks" => self.policies[1],
            "tallies" => self.tallies,
            _ => Policy::AcceptServer,
        }
    }
}

/// What the apps can perform.
pub(super) fn actions() -> Arc<Actions> {
    let declared = Actions::new().declare(TAKE).declare(COUNT).declare(TELL).declare(SIGN);
    Arc::new(weighing(declared.declare(QUOTE).declare(VOUCH)))
}

/// What it reads decides which table it writes.
fn weighing(actions: Actions) -> Actions {
    let text = |name| Parameter::new(name, ParameterType::Text);
    actions.handler("weigh", [text("id"), text("of")], |context, arguments| {
        let m = "SELECT m FROM tallies WHERE id = ?";
        let m = context.query_one(m, [arguments.value("of")])?;
        let m: Option<i64> = m.map(|row| row.get(0)).transpose()?;
        let sql = if is_light(m.unwrap_or_default()) {
            "UPDATE items SET name = 'light' WHERE id = ? AND deleted_at IS NULL"
        } else {
            "UPDATE marks SET name = 'heavy' WHERE id = ?"
        };
        context.execute(sql, [arguments.value("id")]).map(Into::into)
    })
}

fn policy(rng: &mut Rng) -> Policy {
    match rng.u8(..9) {
        0..3 => Policy::AcceptServer,
        3 => Policy::Manual,
        4..6 => Policy::Rebase,
        6..8 => Policy::KeepLocal,
        _ => Policy::LastWriteWins,
    }
}
