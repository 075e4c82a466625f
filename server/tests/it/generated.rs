//! Generated pushes: one push of many mutations must equal many pushes of one mutation. Stores
//! lock, write and roll back the rows of a push as a batch, which must not be observable.
//!
//! With PostgreSQL, the same pushes are also sent to an SQLite server, which must return the same
//! verdicts.

use macro_rules_attribute::apply;
use std::collections::BTreeMap;
use std::sync::Arc;

use rejoin_protocol::Policy;
use rejoin_protocol::wire::push::{PushAnswer, Verdict};
use rejoin_server::hooks::{AcceptedChanges, Hooks, Veto, Within};
use rejoin_server::{Config, TableConfig};
use serde_json::{Map, Value, json};

use crate::world::{Backend, Device, World, cases};

mod records;

const USERS: [&str; 2] = ["anna", "ben"];

/// Places are writable by their owner and visible to their team; each may refer to a nearby place.
const TABLES: &str = "
    CREATE TABLE places(
      id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, team TEXT, name TEXT NOT NULL, score INTEGER DEFAULT 0,
      near TEXT REFERENCES places(id), updated_at TEXT, deleted_at TEXT, CHECK (score IS NULL OR score >= 0));
    CREATE TABLE visits(
      id TEXT PRIMARY KEY, place_id TEXT NOT NULL REFERENCES places(id), note TEXT, updated_at TEXT, deleted_at TEXT);
    CREATE TABLE tags(id INTEGER PRIMARY KEY, visit_id TEXT NOT NULL, label TEXT, updated_at TEXT);
    CREATE TABLE countries(code TEXT PRIMARY KEY, name TEXT, updated_at TEXT);
    CREATE TABLE secrets(id TEXT PRIMARY KEY, body TEXT, updated_at TEXT);
";

fn registered(config: Config) -> Config {
    let visits = TableConfig::child("visits", "places", "place_id");
    config
        .with_table(TableConfig::owned("places", "owner_id").with_bucket("team", "team:"))
        .with_table(visits.with_policy(Policy::LastWriteWins))
        .with_table(TableConfig::child("tags", "visits", "visit_id"))
        .with_table(TableConfig::global("countries"))
        .with_table(TableConfig::new("secrets"))
}

/// A random element.
fn any<'t>(random: &mut fastrand::Rng, of: &[&'t str]) -> &'t str {
    of[random.usize(..of.len())]
}

/// The tables whose rows a device writes.
const WRITABLE: [&str; 3] = ["places", "visits", "tags"];

/// The rows a device believes to exist; occasionally wrong.
struct Beliefs {
    /// By table and key.
    rows: BTreeMap<&'static str, BTreeMap<String, Map<String, Value>>>,
    /// The index of the user.
    user: usize,
}

impl Beliefs {
    /// From the rows of a snapshot.
    fn of(seen: &BTreeMap<String, Option<Value>>, user: usize) -> Self {
        let mut beliefs = Self { rows: BTreeMap::new(), user };
        for (name, row) in seen {
            let (table, id) = name.split_once('/').unwrap();
            let table = WRITABLE.into_iter().find(|known| *known == table);
            if let (Some(table), Some(Value::Object(row))) = (table, row) {
                beliefs.rows.entry(table).or_default().insert(id.to_owned(), row.clone());
            }
        }
        beliefs
    }

    /// A key: mostly one whose row `is_there`, or one of the half that this user takes for new
    /// rows.
    fn key(&self, random: &mut fastrand::Rng, table: &str, is_there: bool) -> String {
        let number = random.usize(..16) * 2 + self.user;
        let number = if random.u8(..8) == 0 { random.usize(..32) } else { number };
        let new = match table {
            "places" => format!("p{number}"),
            "visits" => format!("v{number}"),
            _ => (number + 1).to_string(),
        };
        let rows = self.rows.get(table).filter(|rows| is_there && !rows.is_empty());
        match rows.filter(|_| random.u8(..10) > 0) {
            Some(rows) => rows.keys().nth(random.usize(..rows.len())).unwrap().clone(),
            None => new,
        }
    }

    /// The believed values of these columns, or random ones.
    fn old(
        &self,
        random: &mut fastrand::Rng,
        table: &str,
        id: &str,
        cells: &Map<String, Value>,
    ) -> Value {
        let row = self.rows.get(table).and_then(|rows| rows.get(id));
        let row = row.filter(|_| random.usize(..8) > 0);
        let old = cells.iter().map(|(name, value)| {
            let old = row.map_or(value, |row| row.get(name).unwrap_or(&Value::Null));
            (name.clone(), old.clone())
        });
        Value::Object(old.collect())
    }

    fn write(&mut self, change: &Value) {
        let Some(table) = WRITABLE.into_iter().find(|table| change["table_name"] == *table) else {
            return;
        };
        let id = change["id"].as_str().unwrap().to_owned();
        let rows = self.rows.entry(table).or_default();
        match change["data"].as_object() {
            None => drop(rows.remove(&id)),
            Some(data) => rows.entry(id).or_default().extend(data.clone()),
        }
    }
}

/// A score, occasionally NULL or rejected by the table's CHECK.
fn score(random: &mut fastrand::Rng) -> Value {
    match random.usize(..40) {
        0 => json!(-1),
        1 => json!("many"),
        2..=4 => json!(null),
        at => json!(at),
    }
}

/// Columns of a place.
fn cells(random: &mut fastrand::Rng, beliefs: &Beliefs) -> Map<String, Value> {
    let mut cells = Map::new();
    if random.u8(..3) > 0 {
        cells.insert("name".into(), json!(any(random, &["Quay", "Pier"])));
    }
    if random.u8(..3) > 0 || cells.is_empty() {
        cells.insert("score".into(), score(random));
    }
    if random.u8(..4) == 0 {
        let team = ["red", "blue"].get(random.usize(..3));
        cells.insert("team".into(), json!(team));
    }
    if random.u8(..6) == 0 {
        cells.insert("near".into(), json!(beliefs.key(random, "places", true)));
    }
    match random.usize(..60) {
        0 => cells.insert("owner_id".into(), json!(any(random, &USERS))),
        1 => cells.insert("height".into(), json!(1)),
        2 => cells.insert("name".into(), json!(null)),
        _ => None,
    };
    cells
}

/// The data of a row of this table.
fn data(
    random: &mut fastrand::Rng,
    table: &str,
    beliefs: &Beliefs,
    is_new: bool,
) -> Map<String, Value> {
    let data = match table {
        "places" => {
            let mut cells = cells(random, beliefs);
            if is_new {
                cells.entry("name").or_insert(json!("Quay"));
            }
            cells.into()
        }
        "visits" => {
            json!({"place_id": beliefs.key(random, "places", true), "note": any(random, &["x", "y"])})
        }
        "tags" => {
            json!({"visit_id": beliefs.key(random, "visits", true), "label": any(random, &["x", "y"])})
        }
        _ => json!({"name": "x"}),
    };
    data.as_object().unwrap().clone()
}

fn change(random: &mut fastrand::Rng, beliefs: &mut Beliefs) -> Value {
    let table = match random.usize(..40) {
        0 => any(random, &["countries", "secrets", "nowhere"]),
        1..=26 => "places",
        27..=36 => "visits",
        _ => "tags",
    };
    let mut change = json!({"table_name": table});
    let kind = any(random, &["create", "create", "create", "update", "update", "delete"]);
    change["operation"] = json!(kind);
    let id = beliefs.key(random, table, kind != "create");
    change["id"] = json!(id);
    let data = data(random, table, beliefs, kind == "create");
    if kind != "create" {
        change["old"] = beliefs.old(random, table, &id, &data);
    }
    if kind != "delete" {
        change["data"] = data.into();
    }
    if kind == "update" && random.u8(..6) == 0 {
        change["force"] = json!(true);
    }
    beliefs.write(&change);
    change
}

/// A mutation. `sent`: mutations of earlier pushes; `beside`: earlier mutations of this push.
fn group(
    random: &mut fastrand::Rng,
    beliefs: &mut Beliefs,
    (id, seq): (&str, usize),
    sent: &[Value],
    beside: &[Value],
) -> Value {
    if !sent.is_empty() && random.usize(..15) == 0 {
        let again = &sent[random.usize(..sent.len())];
        if beside.iter().all(|one| one["id"] != again["id"]) {
            return again.clone();
        }
    }
    let changes: Vec<Value> =
        (0..=[0, 0, 0, 1, 2][random.usize(..5)]).map(|_| change(random, beliefs)).collect();
    let mut group = json!({"id": id, "seq": seq, "attempt": 1, "hash": format!("hash of {id}"), "after": [],
        "time": "2026-11-20T08:00:00.000000Z", "changes": changes});
    let before: Vec<&Value> = sent.iter().chain(beside).rev().take(8).collect();
    if !before.is_empty() && random.usize(..10) == 0 {
        group["after"] = json!([before[random.usize(..before.len())]["id"]]);
    }
    if random.usize(..4) == 0 {
        group["age_ms"] = json!(random.u32(..5_000));
    }
    if random.usize(..10) == 0 {
        group["old_only"] = json!(true);
    }
    if random.usize(..8) == 0 {
        let name = json!({"name": any(random, &["Quay", "Pier"])});
        group["reads"] = json!([{"table_name": "places", "id": beliefs.key(random, "places", true), "data": name}]);
    }
    group
}

/// The mutations of one push.
fn groups(
    random: &mut fastrand::Rng,
    mut beliefs: Beliefs,
    name: &str,
    sent: &[Value],
) -> Vec<Value> {
    let mut groups = Vec::new();
    for at in 0..random.usize(1..25) {
        let next = (&*format!("{name}-{at}"), sent.len() + at + 1);
        groups.push(group(random, &mut beliefs, next, sent, &groups));
    }
    groups
}

/// Removes versions, which depend on the time.
fn timeless(mut value: Value) -> Value {
    match &mut value {
        Value::Object(object) => {
            object.remove("updated_at");
            object.values_mut().for_each(|value| *value = timeless(value.take()));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| *value = timeless(value.take())),
        _ => {}
    }
    value
}

/// The verdicts in comparable form.
fn comparable(answer: &PushAnswer) -> Vec<Value> {
    let verdicts = answer.verdicts.iter();
    verdicts.map(|verdict| timeless(serde_json::to_value(verdict).unwrap())).collect()
}

/// The rows visible to the device's user; its cursor does not change.
async fn seen(device: &mut Device<'_>) -> BTreeMap<String, Option<Value>> {
    let cursor = device.cursor.clone();
    let seen = device.snapshot_rows().await;
    device.cursor = cursor;
    seen
}

/// Asserts that every row in the response is as the user sees it.
async fn assert_current_rows(device: &mut Device<'_>, answer: PushAnswer) {
    let seen = seen(device).await;
    for image in answer.rows {
        let name = format!("{}/{}", image.table_name, image.id);
        let data = image.data.map(|data| serde_json::from_str::<Value>(data.get()).unwrap());
        assert_eq!(seen.get(&name).cloned().flatten(), data, "{name}");
    }
}

/// The devices of one server.
async fn devices(world: &World) -> Vec<Device<'_>> {
    let mut devices = Vec::new();
    for (user, bucket) in [("anna", "team:red"), ("ben", "team:red"), ("ben", "team:blue")] {
        world.server.grant(user, bucket).unwrap();
    }
    for user in USERS {
        let mut device = world.device(user, user).await;
        device.snapshot(100).await;
        devices.push(device);
    }
    devices
}

/// The rows and the log as seen by all users.
async fn state(world: &World, devices: &mut [Device<'_>]) -> Value {
    let mut state = Vec::new();
    for device in devices {
        let pulled = device.pull_rows().await;
        state.push(timeless(json!([pulled, seen(device).await])));
    }
    let counts =
        ["places", "visits", "tags", "countries", "secrets", "rejoin_changelog", "rejoin_verdict"];
    state.extend(counts.map(|table| json!(world.one(&format!("SELECT count(*) FROM {table}")))));
    state.into()
}

/// A host that vetoes the writes of two mutations in seven, if it is configured.
#[derive(Debug)]
struct Host;

impl Hooks for Host {
    fn accepted(&self, accepted: &AcceptedChanges<'_>, _: &Within<'_>) -> Result<(), Veto> {
        match accepted.mutation.unwrap_or_default().bytes().map(usize::from).sum::<usize>() % 7 {
            0 => Err(Veto::Refuse(String::from("not this one"))),
            1 => Err(Veto::Later(String::from("not now"))),
            _ => Ok(()),
        }
    }
}

fn hosted(config: Config) -> Config {
    registered(config).with_hooks(Arc::new(Host))
}

/// Runs one seed; counts the verdicts by kind.
async fn story(backend: Backend, seed: u64, covered: &mut BTreeMap<String, usize>) {
    let configure = if seed % 3 == 2 { hosted } else { registered };
    let mut random = fastrand::Rng::with_seed(seed);
    let is_secured = backend == Backend::PostgresRls;
    let world = || World::with(backend, TABLES, configure);
    let (together, alone) = (world(), world());
    let in_a_file =
        (backend != Backend::Sqlite).then(|| World::with(Backend::Sqlite, TABLES, configure));
    let (mut many, mut one) = (devices(&together).await, devices(&alone).await);
    let mut other = match &in_a_file {
        Some(world) => Some((world, devices(world).await)),
        None => None,
    };
    let mut sent: [Vec<Value>; 2] = Default::default();
    for round in 0..8 {
        let user = random.usize(..USERS.len());
        let beliefs = Beliefs::of(&seen(&mut many[user]).await, user);
        let groups = groups(&mut random, beliefs, &format!("{user}-{round}"), &sent[user]);
        let answer = many[user].push_groups(json!(groups)).await.rejoin.unwrap();
        let verdicts = comparable(&answer);
        let mut by_one = Vec::new();
        for group in &groups {
            by_one.extend(comparable(&one[user].push_groups(json!([group])).await.rejoin.unwrap()));
        }
        let there = match &mut other {
            Some((_, other)) => {
                comparable(&other[user].push_groups(json!(groups)).await.rejoin.unwrap())
            }
            None => verdicts.clone(),
        };
        let each = [&verdicts, &by_one, &there].map(Vec::len);
        assert_eq!(each, [groups.len(); 3], "a verdict for each");
        for (at, group) in groups.iter().enumerate() {
            let what = format!("seed {seed}, round {round}: {group}");
            if changes(group) == 1 {
                assert_eq!(verdicts[at], by_one[at], "{what}");
            }
            let [first, others @ ..] =
                [&verdicts, &by_one, &there].map(|all| anywhere(is_secured, group, &all[at]));
            assert_eq!(others, [first.clone(), first], "{what}");
            *covered.entry(word(&answer.verdicts[at])).or_default() += 1;
        }
        assert_current_rows(&mut many[user], answer).await;
        sent[user].extend(groups);
        let expected = state(&alone, &mut one).await;
        assert_eq!(state(&together, &mut many).await, expected, "seed {seed}, round {round}");
        if let Some((world, other)) = &mut other {
            assert_eq!(state(world, other).await, expected, "seed {seed}, round {round}");
        }
        for world in [&together, &alone].into_iter().chain(&in_a_file) {
            world.clock.advance(1_000_000);
        }
    }
}

#[apply(secured_stores!)]
async fn push_of_many_mutations_equals_many_pushes(backend: Backend) {
    let mut covered = BTreeMap::new();
    // Every third seed has hooks. With PostgreSQL, pushes also go to SQLite, so fewer seeds
    // suffice.
    for seed in 0..cases(if backend == Backend::Sqlite { 6 } else { 3 }) {
        story(backend, seed, &mut covered).await;
    }
    let least = [
        ("Accepted ", 20),
        ("Conflict row.not_found", 3),
        ("Conflict row.changed", 3),
        ("Blocked blocked", 3),
        ("Refused ownership", 3),
        ("Conflict row.exists", 1),
        ("Rejected constraint.check", 1),
        ("Rejected value.invalid", 1),
        ("Rejected constraint.references", 1),
        ("Rejected hook.refused", 1),
        ("Retry hook.later", 1),
    ];
    for (word, least) in least {
        assert!(covered.get(word).is_some_and(|met| *met >= least), "{word}: {covered:?}");
    }
}

/// The outcome of a mutation in two words.
fn word(verdict: &Verdict) -> String {
    format!("{:?} {}", verdict.verdict, verdict.code.as_deref().unwrap_or_default())
}

fn changes(group: &Value) -> usize {
    group["changes"].as_array().unwrap().len()
}

/// The parts of a verdict that are equal in all stores and batches. Of several faults any may be
/// reported (row level security hides rows of others where a key is taken), and messages differ by
/// store.
fn anywhere(is_secured: bool, group: &Value, verdict: &Value) -> Value {
    let may_have_several = changes(group) > 1 || is_secured;
    if may_have_several && verdict["verdict"] != "accepted" {
        return json!("not accepted");
    }
    let mut verdict = verdict.clone();
    verdict.as_object_mut().unwrap().remove("message");
    verdict
}
