//! Rights that a push gives to its own user: a device that was offline sends a new team, its members and the
//! first rows of it together.

use macro_rules_attribute::apply;
use rejoin_protocol::argument::{Parameter, ParameterType};
use rejoin_protocol::wire::subscription::Subscription;
use rejoin_server::{Config, MembershipConfig, PushPolicy, StreamConfig, TableConfig};
use serde_json::{Value, json};

use crate::world::{Backend, Device, World, create, ended, update};

const TABLES: &str = "
    CREATE TABLE team(id TEXT PRIMARY KEY, owner TEXT, name TEXT, updated_at TEXT, deleted_at TEXT);
    CREATE TABLE team_member(
      id TEXT PRIMARY KEY, owner TEXT, team_id TEXT REFERENCES team(id), user_id TEXT, role TEXT,
      updated_at TEXT, deleted_at TEXT);
    CREATE TABLE reports(id TEXT PRIMARY KEY, team_id TEXT, title TEXT, updated_at TEXT, deleted_at TEXT);
    CREATE TABLE remarks(
      id TEXT PRIMARY KEY, report_id TEXT REFERENCES reports(id), body TEXT, updated_at TEXT, deleted_at TEXT);
";

const QUERY: &str =
    "SELECT user_id, 'team:' || team_id AS bucket, role <> 'viewer' AS writes FROM team_member";

fn tables(config: Config) -> Config {
    let reports = TableConfig::new("reports").with_bucket("team_id", "team:");
    config
        .with_table(TableConfig::owned("team", "owner"))
        .with_table(TableConfig::owned("team_member", "owner"))
        .with_table(reports.with_push(PushPolicy::Bucket))
        .with_table(TableConfig::child("remarks", "reports", "report_id"))
}

fn by_membership(config: Config) -> Config {
    let membership = MembershipConfig { query: QUERY.into(), tables: vec!["team_member".into()] };
    tables(config).with_membership(membership)
}

fn by_stream(config: Config) -> Config {
    let allow =
        "SELECT role <> 'viewer' FROM Team_Member WHERE user_id = :user AND team_id = :team";
    let stream = StreamConfig::new("team", "team:{team}", allow);
    tables(config).with_stream(stream.with_parameter(Parameter::new("team", ParameterType::Text)))
}

/// A new team with a member, in the order in which an app writes it.
fn founded(team: &str, user: &str, role: &str) -> Vec<Value> {
    let member = json!({"team_id": team, "user_id": user, "role": role});
    vec![
        create("team", team, &json!({"name": "new"})),
        create("team_member", &format!("{team}-{user}"), &member),
    ]
}

fn report(id: &str, team: &str) -> Value {
    create("reports", id, &json!({"team_id": team, "title": "x"}))
}

fn remark(id: &str, report: &str) -> Value {
    create("remarks", id, &json!({"report_id": report, "body": "x"}))
}

/// Pushes these mutations in one request and returns the verdicts.
async fn push(device: &mut Device<'_>, mutations: Vec<(&str, Vec<Value>)>) -> Vec<String> {
    let groups: Vec<Value> = mutations
        .into_iter()
        .map(|(id, changes)| device.group(id, &Value::Array(changes)))
        .collect();
    let answer = device.push_groups(Value::Array(groups)).await.rejoin.unwrap();
    answer.verdicts.iter().map(ended).collect()
}

async fn founds_a_team(world: World, subscriptions: Vec<Subscription>) {
    let mut anna = world.device("anna", "a").await;
    anna.subscriptions = subscriptions;
    anna.snapshot(9).await;
    let mutations = vec![
        ("m1", founded("t1", "anna", "editor")),
        ("m2", vec![report("r1", "t1")]),
        ("m3", vec![remark("k1", "r1")]),
        ("m4", vec![update("reports", "r1", &json!({"title": "x"}), &json!({"title": "y"}))]),
    ];
    assert_eq!(push(&mut anna, mutations).await, ["accepted -"; 4]);
    let whole = [founded("t2", "anna", "editor"), vec![report("r2", "t2"), remark("k2", "r2")]];
    let verdicts = push(&mut anna, vec![("m5", whole.concat()), ("m6", vec![report("r3", "t2")])]);
    assert_eq!(verdicts.await, ["accepted -"; 2]);
    let mut seen = anna.pull().await;
    seen.retain(|row| row.starts_with("re"));
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["remarks/k1", "remarks/k2", "reports/r1", "reports/r2", "reports/r3"]);
}

#[apply(secured_stores!)]
async fn new_team_is_sent_with_its_first_rows(backend: Backend) {
    founds_a_team(World::with(backend, TABLES, by_membership), Vec::new()).await;
}

#[apply(secured_stores!)]
async fn new_team_of_a_stream_is_sent_with_its_first_rows(backend: Backend) {
    let subscribed = ["t1", "t2"].map(|team| Subscription {
        stream: "team".to_owned(),
        parameters: [("team".to_owned(), team.to_owned())].into(),
        priority: 3,
    });
    founds_a_team(World::with(backend, TABLES, by_stream), subscribed.into()).await;
}

/// All rows of the team are in its bucket: its members see each other.
fn in_the_bucket(config: Config) -> Config {
    let membership = MembershipConfig { query: QUERY.into(), tables: vec!["team_member".into()] };
    let by = |table: &str, column: &str| TableConfig::new(table).with_bucket(column, "team:");
    config
        .with_table(TableConfig::owned("team", "owner").with_bucket("id", "team:"))
        .with_table(by("team_member", "team_id").with_push(PushPolicy::Bucket))
        .with_table(by("reports", "team_id").with_push(PushPolicy::Bucket))
        .with_table(TableConfig::child("remarks", "reports", "report_id"))
        .with_membership(membership)
}

#[apply(secured_stores!)]
async fn mutation_founds_a_bucket_in_which_no_row_is(backend: Backend) {
    let world = World::with(backend, TABLES, in_the_bucket);
    let mut anna = world.device("anna", "a").await;
    let mut ben = world.device("ben", "b").await;
    ben.snapshot(9).await;
    anna.snapshot(9).await;
    let whole = [founded("t1", "anna", "editor"), vec![report("r1", "t1"), remark("k1", "r1")]];
    let mutations = vec![("m1", whole.concat()), ("m2", vec![report("r2", "t1")])];
    assert_eq!(push(&mut anna, mutations).await, ["accepted -"; 2]);
    let mut seen = anna.pull().await;
    seen.sort();
    seen.dedup();
    let all = ["remarks/k1", "reports/r1", "reports/r2", "team/t1", "team_member/t1-anna"];
    assert_eq!(seen, all);

    let member = |id: &str, team: &str, user: &str, role: &str| {
        let columns = json!({"team_id": team, "user_id": user, "role": role});
        create("team_member", id, &columns)
    };
    for (id, changes) in [
        ("into a team that has rows", vec![member("x", "t1", "ben", "editor")]),
        ("with a row of it", vec![member("x", "t1", "ben", "editor"), report("x", "t1")]),
        ("without a member", vec![create("team", "t2", &json!({"name": "x"}))]),
        ("as a reader", founded("t2", "ben", "viewer")),
        ("with another member", founded("t2", "zoe", "editor")),
        (
            "beside a foreign bucket",
            [founded("t2", "ben", "editor"), vec![report("x", "t1")]].concat(),
        ),
    ] {
        let verdicts = push(&mut ben, vec![(id, changes)]).await;
        assert!(verdicts[0].starts_with("refused "), "{id}: {verdicts:?}");
    }
    assert!(ben.pull().await.is_empty());
    // A member admits others.
    anna.accept("m3", json!([member("t1-ben", "t1", "ben", "viewer")])).await;
    let mut seen = ben.pull().await;
    seen.sort();
    seen.dedup();
    assert_eq!(seen, [&all[..], &["team_member/t1-ben"]].concat());
}

/// Neither a row in another team's bucket nor one that a reader writes, in one mutation with the member or after it.
#[apply(secured_stores!)]
async fn own_member_gives_no_other_right(backend: Backend) {
    let world = World::with(backend, TABLES, by_membership);
    let mut anna = world.device("anna", "a").await;
    anna.snapshot(9).await;
    for (team, role, into) in [("t1", "viewer", "t1"), ("t2", "editor", "t9")] {
        let founded = founded(team, "anna", role);
        let whole = [founded.clone(), vec![report("r", into)]].concat();
        let apart = vec![("a", founded), ("b", vec![report("r", into)])];
        let refused = push(&mut anna, vec![(team, whole)]).await;
        assert_eq!(refused.len(), 1);
        assert!(refused[0].starts_with("refused "), "{refused:?}");
        let apart = apart.into_iter().map(|(id, changes)| (format!("{team}{id}"), changes));
        let apart: Vec<_> = apart.collect();
        let apart = apart.iter().map(|(id, changes)| (id.as_str(), changes.clone())).collect();
        let verdicts = push(&mut anna, apart).await;
        assert_eq!(verdicts[0], "accepted -");
        assert_eq!(verdicts[1], refused[0]);
    }
    assert!(anna.pull().await.iter().all(|row| !row.starts_with("reports")));
}
