//! The setting of a run: tables, policies, users, actions.

use std::sync::Arc;

use fastrand::Rng;
use rejoin_core::{Actions, Parameter, ParameterType, Policy};
use rejoin_server::{Limits, MembershipConfig, PushPolicy, StreamConfig, TableConfig};

use crate::{Backend, Store};

/// The users, whose first letters begin the keys of their rows.
pub(super) const USERS: [&str; 3] = ["ana", "ben", "cyd"];

/// The permanent tables, parents first.
pub(super) const TABLES: [&str; 6] = ["items", "parts", "marks", "tallies", "takings", "kinds"];

/// `items` are soft-deleted, have parts, and a rule that only the server has; those without an
/// owner are visible to all. `marks` are hard-deleted; their `tint` is optional. Actions take
/// from `tallies`: from `m`, or from `n` with a row of `takings`. All users read `kinds`, which
/// only other programs write.
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
    CREATE TABLE kinds (id TEXT PRIMARY KEY, name TEXT, updated_at TEXT);
";

/// The tables of teams: users read the plans of their teams, and the jobs of those of their teams
/// to which a device subscribes. Members who are no viewers write both.
pub(super) const TEAM_TABLES: [&str; 2] = [PLANS, JOBS];
pub(super) const PLANS: &str = "plans";
pub(super) const JOBS: &str = "jobs";

/// `plans` are soft-deleted, `jobs` are hard-deleted. `members` is the app's own table.
const TEAM_SQL: &str = "
    CREATE TABLE plans (id TEXT PRIMARY KEY, team TEXT, name TEXT, note TEXT, updated_at TEXT, deleted_at TEXT);
    CREATE TABLE jobs (id TEXT PRIMARY KEY, team TEXT, name TEXT, note TEXT, updated_at TEXT);
    CREATE TABLE members (user_id TEXT, team TEXT, role TEXT NOT NULL, PRIMARY KEY (user_id, team));
";

/// Whether a run has teams: every third one.
pub(super) fn has_teams(seed: u64) -> bool {
    Rng::with_seed(seed ^ 0x0074_6561_6d73).u8(..3) == 0
}

/// The optional table. The names of a user's rows in it are unique, which only the
/// server checks: by triggers, because SQLite tables may have no UNIQUE beside the key.
pub(super) const LEAVES: &str = "leaves";

/// The SQL that creates `leaves`.
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

/// Takes from `m` without another trace.
const TAKE: &str = r#"{"name": "take",
    "parameters": [{"name": "id", "type": "text"}, {"name": "by", "type": "integer"}],
    "preconditions": [{"sql": "SELECT m >= :by FROM tallies WHERE id = :id", "message": "too few"}],
    "statements": ["UPDATE tallies SET m = m - :by WHERE id = :id"]}"#;

/// Takes from `n`, and records it in a row.
const COUNT: &str = r#"{"name": "count",
    "parameters": [{"name": "id", "type": "text"}, {"name": "by", "type": "integer"}],
    "ids": {"row": {"table": "takings", "identity": ["id"]}},
    "preconditions": [{"sql": "SELECT count(*) FROM tallies WHERE id = :id", "message": "no such tally"}],
    "statements": ["UPDATE tallies SET n = n - :by WHERE id = :id",
        "INSERT INTO takings (id, tally_id, n) VALUES (:row, :id, :by)"]}"#;

/// Writes a value that it reads in another table.
const COPY_NUMBER: &str = r#"{"name": "copy_number",
    "parameters": [{"name": "id", "type": "text"}, {"name": "of", "type": "text"}],
    "preconditions": [{"sql": "SELECT count(*) FROM marks WHERE id = :id", "message": "no such mark"}],
    "statements": ["UPDATE marks SET note = 'm' || (SELECT m FROM tallies WHERE id = :of) WHERE id = :id"]}"#;

/// Writes every mark without reading any.
const SIGN: &str = r#"{"name": "sign", "parameters": [{"name": "as", "type": "text"}],
    "statements": ["UPDATE marks SET note = :as"]}"#;

/// Reads a table that only this device has, which is not allowed.
const QUOTE: &str = r#"{"name": "quote", "parameters": [{"name": "id", "type": "text"}],
    "statements": ["UPDATE marks SET note = (SELECT note FROM drafts) WHERE id = :id"]}"#;

/// A local-only table of the app, and its row.
pub(super) const DRAFTS: &str = "CREATE TABLE drafts (id TEXT PRIMARY KEY, note TEXT); INSERT INTO drafts VALUES ('d', 'draft')";

/// Whether `weigh` writes an item, and not a mark, at this value of `m`, which other writers may
/// change.
pub(super) fn is_light(m: i64) -> bool {
    m % 2 == 0
}

/// Writes in another table what its user saw, if it is still current.
const VOUCH: &str = r#"{"name": "vouch",
    "parameters": [{"name": "id", "type": "text"}, {"name": "of", "type": "text"}, {"name": "m", "type": "integer"}],
    "preconditions": [{"sql": "SELECT m = :m FROM tallies WHERE id = :of", "message": "it has changed"},
        {"sql": "SELECT count(*) FROM marks WHERE id = :id", "message": "no such mark"}],
    "statements": ["UPDATE marks SET note = 'v' || :m WHERE id = :id"]}"#;

/// The setting of a run, which follows from its seed.
#[derive(Debug)]
pub(super) struct Setting {
    /// The first user of each device.
    pub(super) users: Vec<&'static str>,
    /// The policies of `items` and `marks`.
    pub(super) policies: [Policy; 2],
    /// The policy of `tallies`, which does not apply to actions.
    pub(super) tallies: Policy,
    /// Number of keys that each user writes, by table.
    pub(super) rows: u8,
    /// Whether users are members of teams, and devices subscribe to their rows.
    pub(super) teams: bool,
}

impl Setting {
    pub(super) fn new(rng: &mut Rng, seed: u64) -> Self {
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
        Self { users, policies, tallies, rows: rng.u8(1..4), teams: has_teams(seed) }
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
            TableConfig::global("kinds"),
        ];
        if self.teams {
            self.with_teams(store, tables)
        } else {
            Backend::made(store, SQL, tables, Limits::default())
        }
    }

    /// A server with the rows of teams too.
    fn with_teams(&self, store: Store, mut tables: Vec<TableConfig>) -> Backend {
        tables.extend(TEAM_TABLES.map(|table| {
            let prefix = if table == PLANS { "team:" } else { "job:" };
            let table = TableConfig::new(table).with_policy(self.policy(table));
            table.with_bucket("team", prefix).with_push(PushPolicy::Bucket)
        }));
        let mut server =
            Backend::made(store, &format!("{SQL}{TEAM_SQL}"), tables, Limits::default());
        let query =
            "SELECT user_id, 'team:' || team AS bucket, role <> 'viewer' AS writes FROM members";
        let tables = vec!["members".to_owned()];
        server.set_membership(MembershipConfig { query: query.to_owned(), tables });
        let allow = "SELECT role <> 'viewer' FROM members WHERE user_id = :user AND team = :team";
        let stream = StreamConfig::new(JOBS, "job:{team}", allow);
        server.add_stream(stream.with_parameter(Parameter::new("team", ParameterType::Text)));
        server
    }

    /// The tables of the server, without the optional one.
    pub(super) fn tables(&self) -> impl Iterator<Item = &'static str> + use<> {
        TABLES.into_iter().chain(TEAM_TABLES.into_iter().filter({
            let teams = self.teams;
            move |_| teams
        }))
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
            // No time decides: the model of later edits has no rows that a user does not see.
            PLANS | JOBS => match self.policies[usize::from(table == JOBS)] {
                Policy::LastWriteWins => Policy::AcceptServer,
                policy => policy,
            },
            _ => Policy::AcceptServer,
        }
    }
}

/// The actions of the apps.
pub(super) fn actions() -> Arc<Actions> {
    let declared = Actions::new().declare(TAKE).declare(COUNT).declare(COPY_NUMBER).declare(SIGN);
    Arc::new(weighing(declared.declare(QUOTE).declare(VOUCH)))
}

/// The value that it reads decides which table it writes.
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
