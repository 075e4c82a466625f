//! Eve attacks the rows of ben (`trespasses.toml`): she must not read, change or detect any of
//! them.
//!
//! Each attack runs once against an object of ben's and once against a missing one, with identical
//! responses. To show that the attacks are real, most of them succeed on a server where all tables
//! are public.

use macro_rules_attribute::apply;
use std::error::Error;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rejoin_protocol::argument::{Parameter, ParameterType};
use rejoin_protocol::{Policy, time};
use rejoin_server::hooks::{AcceptedChanges, Hooks, Veto, Within};
use rejoin_server::{ActionConfig, BucketResolver, Config, PushPolicy, RowWrite, TableConfig};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{Backend, Device, TABLES, World, rename, standard};

/// Tables besides those of every test server.
const MORE_TABLES: &str = "
    CREATE TABLE notes(id TEXT PRIMARY KEY, owner_id TEXT, body TEXT, updated_at TEXT);
    CREATE TABLE drafts(id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, body TEXT, updated_at TEXT);
    CREATE TABLE marks(id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, body TEXT, updated_at TEXT);
    CREATE TABLE photos(
      id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, place_id TEXT REFERENCES places(id), title TEXT, updated_at TEXT);
    CREATE TABLE papers(id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, team TEXT, body TEXT, updated_at TEXT);
    CREATE TABLE dossiers(id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, readers TEXT, body TEXT, updated_at TEXT);
    CREATE TABLE reports(id TEXT PRIMARY KEY, team TEXT, author TEXT, body TEXT, updated_at TEXT);
    CREATE TABLE remarks(id TEXT PRIMARY KEY, report_id TEXT, body TEXT, updated_at TEXT);
    CREATE TABLE \"bens-hidden\"(id TEXT PRIMARY KEY, body TEXT);
";

/// The rows before each attack. All values that are neither eve's nor public contain `hush`.
const ROWS: &str = "
    DELETE FROM photos; DELETE FROM tags; DELETE FROM visits; DELETE FROM places; DELETE FROM countries;
    DELETE FROM secrets; DELETE FROM notes; DELETE FROM drafts; DELETE FROM marks; DELETE FROM papers; DELETE FROM dossiers;
    DELETE FROM reports; DELETE FROM remarks;
    DELETE FROM rejoin_bucket; INSERT INTO rejoin_bucket(user_id, bucket, writes) VALUES
      ('eve', 'team:blue', '1'), ('eve', 'team:green', '0');
    INSERT INTO reports(id, team, author, body) VALUES('bens-report', 'red', 'ben', 'hush report'), ('bens-green', 'green', 'ben', 'for reading'),
      ('bens-blue', 'blue', 'ben', 'for the team'), ('eves-lost', 'red', 'eve', 'hush lost');
    INSERT INTO remarks(id, report_id, body) VALUES('bens-remark', 'bens-report', 'hush remark'), ('eves-remark', 'bens-blue', 'for the team');
    INSERT INTO places(id, owner_id, name, deleted_at) VALUES('bens-place', 'ben', 'hush place', NULL),
      ('bens-gone', 'ben', 'hush gone', '2026-11-20T07:00:00.000000Z'), ('eves-place', 'eve', 'mine', NULL);
    INSERT INTO visits(id, place_id, note, deleted_at) VALUES('bens-visit', 'bens-place', 'hush visit', NULL),
      ('lost-visit', 'nowhere', 'hush lost', NULL), ('left-visit', 'bens-left', 'hush left', NULL), ('eves-visit', 'eves-place', 'mine', NULL),
      ('eves-gone', 'eves-place', 'mine', '2026-11-20T07:00:00.000000Z');
    INSERT INTO tags(id, visit_id, label) VALUES(7770001, 'bens-visit', 'hush tag'), (7, 'eves-visit', 'mine'), (8, 'bens-torn', 'hush torn');
    INSERT INTO countries(code, name) VALUES('NO', 'Norway');
    INSERT INTO secrets(id, body) VALUES('bens-secret', 'hush secret');
    INSERT INTO notes(id, owner_id, body) VALUES('bens-note', 'ben', 'hush note'), ('all-note', NULL, 'for all');
    INSERT INTO drafts(id, owner_id, body) VALUES('bens-draft', 'ben', 'hush draft'), ('eves-draft', 'eve', 'mine');
    INSERT INTO marks(id, owner_id, body) VALUES('bens-mark', 'ben', 'hush mark'), ('eves-mark', 'eve', 'mine');
    INSERT INTO photos(id, owner_id, place_id, title) VALUES('bens-photo', 'ben', 'bens-place', 'hush photo'),
      ('eves-photo', 'eve', NULL, 'mine');
    INSERT INTO papers(id, owner_id, team, body) VALUES('bens-paper', 'ben', 'red', 'hush paper'),
      ('bens-shared', 'ben', 'blue', 'for the team'), ('eves-paper', 'eve', NULL, 'mine');
    INSERT INTO dossiers(id, owner_id, readers, body) VALUES('bens-dossier', 'ben', 'red', 'hush dossier'),
      ('bens-lent', 'ben', 'blue', 'for the team'), ('bens-moved', 'ben', 'blue', 'for the team'), ('eves-dossier', 'eve', NULL, 'mine');
    UPDATE dossiers SET readers = 'red', body = 'hush moved' WHERE id = 'bens-moved';
";

/// All rows of other users and references to them, one line each.
const THEIRS: &str = "
    SELECT 'place ' || id || owner_id || name || updated_at || coalesce(deleted_at, '') AS line FROM places WHERE owner_id <> 'eve'
    UNION ALL SELECT 'visit ' || id || place_id || note || updated_at || coalesce(deleted_at, '') FROM visits
      WHERE NOT EXISTS (SELECT 1 FROM places AS p WHERE p.id = place_id AND p.owner_id = 'eve')
    UNION ALL SELECT 'tag ' || id || visit_id || label || updated_at FROM tags
      WHERE NOT EXISTS (SELECT 1 FROM visits AS v JOIN places AS p ON p.id = v.place_id WHERE v.id = visit_id AND p.owner_id = 'eve')
    UNION ALL SELECT 'country ' || code || name || updated_at FROM countries
    UNION ALL SELECT 'secret ' || id || body || coalesce(updated_at, '') FROM secrets
    UNION ALL SELECT 'note ' || id || coalesce(owner_id, '') || body || updated_at FROM notes WHERE coalesce(owner_id, '') <> 'eve'
    UNION ALL SELECT 'draft ' || id || owner_id || body || updated_at FROM drafts WHERE owner_id <> 'eve'
    UNION ALL SELECT 'mark ' || id || owner_id || body || updated_at FROM marks WHERE owner_id <> 'eve'
    UNION ALL SELECT 'photo ' || id || owner_id || coalesce(place_id, '') || title || updated_at FROM photos
      WHERE owner_id <> 'eve' OR place_id = 'bens-place'
    UNION ALL SELECT 'paper ' || id || owner_id || coalesce(team, '') || body || updated_at FROM papers
      WHERE owner_id <> 'eve' OR team = 'red'
    UNION ALL SELECT 'dossier ' || id || owner_id || coalesce(readers, '') || body || updated_at FROM dossiers
      WHERE owner_id <> 'eve'
    UNION ALL SELECT 'report ' || id || coalesce(team, '') || author || body || updated_at FROM reports WHERE coalesce(team, '') <> 'blue'
    UNION ALL SELECT 'remark ' || id || report_id || body || updated_at FROM remarks WHERE report_id IN ('bens-report', 'bens-green')
    UNION ALL SELECT 'verdict ' || mutation_id || ending || attempt FROM rejoin_verdict WHERE user_id = 'ben'
    UNION ALL SELECT 'bucket ' || user_id || bucket || CASE WHEN writes THEN 'w' ELSE '' END FROM rejoin_bucket
";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trespass {
    name: String,
    tries: String,
    change: Option<String>,
    group: Option<String>,
    plain: Option<String>,
    post: Option<String>,
    body: Option<String>,
    get: Option<String>,
    #[serde(rename = "as")]
    user: Option<String>,
    #[serde(default)]
    collides: bool,
    holds: Option<String>,
}

impl Trespass {
    /// Whether it names an object of ben's, which can be replaced by a missing one.
    fn names_bens(&self) -> bool {
        let texts = [&self.change, &self.group, &self.plain, &self.body, &self.get];
        let all: String = texts.into_iter().flatten().map(String::as_str).collect();
        ["$own", "$epoch", "$forged"]
            .iter()
            .fold(all, |all, own| all.replace(own, ""))
            .contains('$')
    }
}

fn trespasses() -> Vec<Trespass> {
    #[derive(Deserialize)]
    struct List {
        trespass: Vec<Trespass>,
    }
    toml::from_str::<List>(include_str!("trespasses.toml")).unwrap().trespass
}

/// A host that returns the place of an accepted group to the user who pushed it.
#[derive(Debug)]
struct Quoting;

impl Hooks for Quoting {
    fn accepted(&self, accepted: &AcceptedChanges<'_>, within: &Within<'_>) -> Result<(), Veto> {
        if !accepted.mutation.is_some_and(|id| id.contains("-hook-")) {
            return Ok(());
        }
        let Some(first) = accepted.changes.first() else { return Ok(()) };
        let id = [("id", first.id.into())];
        let place = within.query("SELECT name FROM places WHERE id = :id", &id)?;
        Err(Veto::Refuse(format!("{place:?}")))
    }
}

/// Names the readers of a dossier, in code where there is a feeder. An unresolved row is visible to
/// ben only.
#[derive(Debug)]
struct Teams;

impl BucketResolver for Teams {
    fn buckets(&self, write: &RowWrite<'_>) -> Result<Vec<String>, Box<dyn Error + Send + Sync>> {
        Ok(write.new["readers"].as_str().map(|team| format!("team:{team}")).into_iter().collect())
    }
}

fn configure(config: Config) -> Config {
    let dossiers = TableConfig::owned("dossiers", "owner_id");
    let dossiers = if config.store.is_some() {
        dossiers.with_bucket_resolver(Arc::new(Teams))
    } else {
        dossiers.with_bucket("readers", "team:")
    };
    let everybodys =
        TableConfig { allow_global_read: true, ..TableConfig::owned("notes", "owner_id") };
    let policy = |name, policy| TableConfig { policy, ..TableConfig::owned(name, "owner_id") };
    let place = Parameter::new("place", ParameterType::Text);
    let check = "SELECT count(*) FROM places WHERE id = :place AND owner_id = :user";
    standard(config)
        .with_table(everybodys)
        .with_table(policy("drafts", Policy::Rebase))
        .with_table(policy("marks", Policy::LastWriteWins))
        .with_table(TableConfig::owned("photos", "owner_id"))
        .with_table(TableConfig::owned("papers", "owner_id").with_bucket("team", "team:"))
        .with_table(dossiers)
        .with_table(TableConfig {
            owner_column: Some(String::from("author")),
            ..TableConfig::new("reports").with_bucket("team", "team:").with_push(PushPolicy::Bucket)
        })
        .with_table(TableConfig::child("remarks", "reports", "report_id"))
        .with_hooks(Arc::new(Quoting))
        .with_action(
            ActionConfig::new("enter").with_parameter(place).with_check(check, "another's place"),
        )
}

fn world(backend: Backend) -> World {
    World::with(backend, &format!("{TABLES}{MORE_TABLES}"), configure)
}

/// Resets the rows before each attack, and waits for the resolver.
fn reset(world: &World) {
    world.write(ROWS);
    crate::postgres_only::feeder::fed(&world.server);
}

/// The same after a response that may have written.
fn reset_after(world: &World, answer: &str) {
    if answer.contains("\"verdict\":\"accepted\"") || answer.contains("\"status\":\"applied\"") {
        reset(world);
    }
}

/// Values of ben's that eve may know.
struct Spoils {
    cursor: String,
    page: String,
}

/// Ben has a device, an accepted mutation, a snapshot in progress and a cursor.
async fn spoils(world: &World) -> Spoils {
    reset(world);
    let mut ben = world.device("ben", "bens-device").await;
    ben.push("bens-mutation", json!([rename("bens-place", "hush place", "hush renamed")])).await;
    reset(world);
    let first = ben.snapshot_page(None, 1).await;
    ben.snapshot(100).await;
    Spoils { cursor: ben.cursor.clone(), page: first.cursor.unwrap().after_id }
}

fn theirs(world: &World) -> String {
    let all = match world.database {
        Some(_) => "string_agg(line, chr(10) ORDER BY line)",
        None => "group_concat(line, char(10) ORDER BY line)",
    };
    world.one(&format!("SELECT {all} FROM ({THEIRS}) AS theirs"))
}

/// The cursor with another bucket, under its old signature.
fn forged(cursor: &str) -> String {
    let (body, signature) = cursor.split_once('.').unwrap();
    let json = String::from_utf8(URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap();
    assert!(json.contains("user:eve"), "{json}");
    format!("{}.{signature}", URL_SAFE_NO_PAD.encode(json.replace("user:eve", "user:ben")))
}

/// An attack in progress, against an object of ben's (`bens`) or a missing one (`benx`).
struct Try<'a> {
    trespass: &'a Trespass,
    spoils: &'a Spoils,
    whose: &'static str,
}

impl Try<'_> {
    fn filled(&self, device: &Device<'_>, text: &str) -> String {
        let is_real = self.whose == "bens";
        let spoil = |text: &str| if is_real { text.to_owned() } else { text.replace('.', ".0") };
        let mut filled = text.to_owned();
        if filled.contains("$forged") {
            filled = filled.replace("$forged", &forged(&device.cursor));
        }
        filled
            .replace("$own", &device.cursor)
            .replace("$epoch", &device.epoch)
            .replace("$cursor", &spoil(&self.spoils.cursor))
            .replace("$page", &spoil(&self.spoils.page))
            .replace("$number", if is_real { "7770001" } else { "7770002" })
            .replace('$', &format!("{}-", self.whose))
    }

    fn json(&self, device: &Device<'_>, text: &str) -> Value {
        let filled = self.filled(device, text);
        let name = &self.trespass.name;
        serde_json::from_str(&filled).unwrap_or_else(|error| panic!("{name}: {error}: {filled}"))
    }

    /// The path and body of the request; without a body it is a GET.
    fn request(&self, device: &mut Device<'_>) -> (String, Option<Value>) {
        let Trespass { name, change, group, plain, post, body, get, .. } = self.trespass;
        if let (Some(path), Some(body)) = (post, body) {
            return (path.clone(), Some(self.json(device, body)));
        }
        if let Some(path) = get {
            return (self.filled(device, path), None);
        }
        if let Some(record) = plain {
            let mut record = self.json(device, record);
            record["client_updated_at"] = json!("2030-01-01T00:00:00Z");
            return ("/sync/push".to_owned(), Some(json!({"changes": [record]})));
        }
        let changes: Vec<Value> = change.iter().map(|text| self.json(device, text)).collect();
        let mut sent = device.group(&format!("{}-{name}", self.whose), &json!(changes));
        if let Some(members) = group {
            let members = self.json(device, members);
            sent.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        }
        let rejoin = json!({"epoch": device.epoch, "groups": [sent], "acked_below": 0});
        ("/sync/push".to_owned(), Some(json!({"changes": [], "rejoin": rejoin})))
    }

    /// The status and the body of the response.
    async fn make(&self, world: &World) -> (u16, Value) {
        let user = self.trespass.user.as_deref().unwrap_or("eve");
        let mut device =
            world.device(user, &format!("{}-{}", self.trespass.name, self.whose)).await;
        device.snapshot(100).await;
        let (path, body) = self.request(&mut device);
        if let Some(body) = body {
            return device.post(&path, body).await;
        }
        let headers = [("X-User-ID", user), ("Rejoin-Protocol", "1")];
        let (status, _, answer) = world.send("GET", &path, &headers, "").await;
        (status, answer)
    }
}

/// The response without parts that differ between requests, and without the name of the object.
fn alike(status: u16, mut answer: Value) -> String {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for name in ["request", "witness", "cursor", "pull_cursor", "checkpoint"] {
                    members.remove(name);
                }
                members.values_mut().for_each(strip);
            }
            Value::String(text) if time::parse(text).is_some() => "a time".clone_into(text),
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    if answer.get("server_time").is_some() && answer.get("rejoin").is_some() {
        // The server's id of a new device.
        answer.as_object_mut().unwrap().remove("id");
    }
    strip(&mut answer);
    format!("{status} {answer}").replace("benx-", "bens-").replace("7770002", "7770001")
}

/// Why an attack succeeds, if it does.
async fn succeeds(world: &World, spoils: &Spoils, trespass: &Trespass) -> Option<String> {
    let before = theirs(world);
    let (status, answer) = Try { trespass, spoils, whose: "bens" }.make(world).await;
    let after = theirs(world);
    let text = answer.to_string();
    if after != before {
        reset(world);
        return Some(format!("changes\n{before}\nto\n{after}"));
    }
    if text.contains("hush") {
        reset_after(world, &text);
        return Some(format!("receives {text}"));
    }
    if trespass.holds.as_ref().is_some_and(|holds| !text.contains(holds)) {
        reset_after(world, &text);
        return Some(format!("is answered {text}"));
    }
    if trespass.collides || !trespass.names_bens() {
        reset_after(world, &text);
        return None;
    }
    reset_after(world, &text);
    let (other_status, other) = Try { trespass, spoils, whose: "benx" }.make(world).await;
    reset_after(world, &other.to_string());
    let (real, none) = (alike(status, answer), alike(other_status, other));
    (real != none).then(|| format!("can distinguish\n{real}\nfrom\n{none}"))
}

/// The names of the successful attacks, with reasons.
#[allow(clippy::print_stdout)] // Prints why each one succeeds.
async fn successes(world: &World) -> Vec<String> {
    let spoils = spoils(world).await;
    let mut found = Vec::new();
    for trespass in &trespasses() {
        if let Some(why) = succeeds(world, &spoils, trespass).await {
            println!("{}: {}: {why}\n", trespass.name, trespass.tries);
            found.push(trespass.name.clone());
        }
    }
    found
}

#[apply(secured_stores!)]
async fn every_attack_fails_like_on_missing_data(backend: Backend) {
    let all = trespasses();
    let names: std::collections::BTreeSet<&str> = all.iter().map(|t| t.name.as_str()).collect();
    assert!(names.len() == all.len() && all.len() >= 40, "{} trespasses", all.len());
    let world = world(backend);
    assert_eq!(successes(&world).await, [""; 0]);
    let verdict = "SELECT ending FROM rejoin_verdict WHERE mutation_id = 'bens-mutation'";
    assert_eq!(world.one(verdict), "accepted", "there was a verdict to reach for");
}

/// The attacks are real: with all tables public, they obtain what they try to read.
#[tokio::test]
async fn reading_attacks_succeed_where_tables_are_global() {
    let world = World::with(Backend::Sqlite, &format!("{TABLES}{MORE_TABLES}"), |config| {
        let mut config = configure(config);
        for table in &mut config.tables {
            *table = TableConfig::global(&table.name);
        }
        config
    });
    let found = successes(&world).await;
    assert!(found.len() > 30, "{} of {}", found.len(), trespasses().len());
}
