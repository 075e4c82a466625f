//! Validation of an action's reads, and server-side checks of actions.

mod concurrent;

use macro_rules_attribute::apply;
use rejoin_protocol::argument::{Parameter, ParameterType};
use rejoin_protocol::wire::push::Verdict;
use rejoin_server::{ActionConfig, Check, Config, Server, ServerError};
use serde_json::{Value, json};

use crate::world::{Backend, Device, TABLES, World, ended, erase, place, rename, standard};

/// Pushes an action that renames p1 and has these reads.
async fn reading(device: &mut Device<'_>, id: &str, read: Value) -> (String, Verdict) {
    let mut group = device.group(id, &json!([rename("p1", "Quay", "Dock")]));
    group["old_only"] = json!(true);
    group["reads"] = json!([read]);
    let verdict = device.push_group(group).await.0;
    (ended(&verdict), verdict)
}

#[apply(stores!)]
async fn action_key_reads_are_validated_before_any_write(world: World) {
    let table = [
        ("as it was", json!({"id": "p2", "data": {"name": "Pier"}}), "accepted -"),
        ("only that it is there", json!({"id": "p2"}), "accepted -"),
        ("another value", json!({"id": "p2", "data": {"name": "Lock"}}), "conflict row.changed"),
        ("the row that it writes", json!({"id": "p1", "data": {"score": 0}}), "accepted -"),
        ("the same, changed", json!({"id": "p1", "data": {"score": 1}}), "conflict row.changed"),
        ("none, and there is none", json!({"id": "p9", "absent": true}), "accepted -"),
        ("none, and there is one", json!({"id": "p2", "absent": true}), "conflict row.exists"),
        ("one, and there is none", json!({"id": "p9"}), "conflict row.not_found"),
        ("one that is deleted", json!({"id": "p3"}), "conflict row.deleted"),
        ("none, where it is deleted", json!({"id": "p3", "absent": true}), "accepted -"),
        (
            "another user's",
            json!({"id": "b1", "data": {"name": "Berts"}}),
            "conflict row.not_found",
        ),
        ("none, where another user has one", json!({"id": "b1", "absent": true}), "accepted -"),
        ("a column of the server's", json!({"id": "p2", "data": {"owner_id": "me"}}), "accepted -"),
        ("no such column", json!({"id": "p2", "data": {"x": 1}}), "rejected column.unknown"),
        (
            "a table that is read only",
            json!({"table_name": "countries", "id": "nl", "data": {"name": "N"}}),
            "accepted -",
        ),
        ("no such table", json!({"table_name": "nowhere", "id": "x"}), "refused table.unknown"),
    ];
    world.write("INSERT INTO countries (code, name) VALUES ('nl', 'N')");
    let mut bert = world.device("bert", "b1").await;
    bert.accept("b1", json!([place("b1", "Berts")])).await;
    let mut anna = world.device("anna", "a1").await;
    let places = json!([place("p1", "Quay"), place("p2", "Pier"), place("p3", "Gone")]);
    anna.accept("m1", places).await;
    anna.accept("m2", json!([erase("p3", "Gone")])).await;
    for (name, mut read, expected) in table {
        world.write("UPDATE places SET name = 'Quay' WHERE id = 'p1'");
        if read.get("table_name").is_none() {
            read["table_name"] = json!("places");
        }
        let (found, verdict) = reading(&mut anna, name, read.clone()).await;
        assert_eq!(found, expected, "{name}");
        let rows = anna.snapshot_rows().await;
        let written = rows["places/p1"].as_ref().unwrap()["name"] == "Dock";
        assert_eq!(written, expected == "accepted -", "{name}");
        if !written {
            assert_eq!(json!(verdict.record_id), read["id"], "{name}: the row at fault is named");
        }
    }
}

#[apply(stores!)]
async fn conflict_on_a_read_row_returns_its_current_image(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay"), place("p2", "Pier")])).await;
    let mut group = anna.group("m2", &json!([rename("p1", "Quay", "Dock")]));
    let absent = json!({"table_name": "places", "id": "p8", "absent": true});
    group["reads"] =
        json!([{"table_name": "places", "id": "p2", "data": {"name": "Lock"}}, absent]);
    let rows = anna.push_group(group.clone()).await.1;
    let ids: Vec<(&str, bool)> = rows.iter().map(|row| (row.id.as_str(), row.absent)).collect();
    assert_eq!(ids, [("p1", false), ("p2", false), ("p8", true)]);
    // The verdict is final for the attempt; the next attempt has read the current row.
    assert_eq!(ended(&anna.push_group(group.clone()).await.0), "conflict row.changed");
    group["attempt"] = json!(2);
    group["reads"][0]["data"]["name"] = json!("Pier");
    assert_eq!(ended(&anna.push_group(group).await.0), "accepted -");
}

/// Leaving is allowed while two places are left, one of them the user's own.
fn leave() -> ActionConfig {
    ActionConfig::new("leave")
        .with_parameter(Parameter::new("id", ParameterType::Text))
        .with_parameter(Parameter::optional("least", ParameterType::Integer))
        .with_check(
            "SELECT count(*) > coalesce(:least, 1) FROM places WHERE deleted_at IS NULL AND id <> :id",
            "too few are left",
        )
        .with_check("SELECT count(*) FROM places WHERE owner_id = :user", "none of yours")
}

fn world(backend: Backend) -> World {
    World::with(backend, TABLES, |config: Config| standard(config).with_action(leave()))
}

async fn performed(
    device: &mut Device<'_>,
    id: &str,
    place: &str,
    action: Value,
) -> (String, String) {
    let gone =
        json!({"operation": "delete", "table_name": "places", "id": place, "old": {"score": 0}});
    let mut group = device.group(id, &json!([gone]));
    group["old_only"] = json!(true);
    group["action"] = action;
    let verdict = device.push_group(group).await.0;
    (ended(&verdict), verdict.message.unwrap_or_default())
}

#[apply(stores!)]
async fn action_check_holds_when_the_action_is_applied(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "a"), place("p2", "b"), place("p3", "c")])).await;
    let leaving = |id: &str| json!({"name": "leave", "version": 1, "arguments": {"id": id}});
    assert_eq!(performed(&mut anna, "m2", "p1", leaving("p1")).await.0, "accepted -");
    let refused = performed(&mut anna, "m3", "p2", leaving("p2")).await;
    assert_eq!(refused, ("rejected action.check".to_owned(), "too few are left".to_owned()));
    let with = |action: &str| serde_json::from_str(action).unwrap();
    let least = with(r#"{"name": "leave", "version": 7, "arguments": {"id": "p2", "least": 0}}"#);
    assert_eq!(performed(&mut anna, "m4", "p2", least).await.0, "accepted -");
    let odd = with(r#"{"name": "leave", "version": 1, "arguments": {"least": "two"}}"#);
    let (ending, why) = performed(&mut anna, "m5", "p3", odd).await;
    assert_eq!(ending, "refused action.arguments");
    assert_eq!(why, "arguments: id is missing; least is no integer of 64 bits");
    let other = with(r#"{"name": "stay", "version": 1}"#);
    assert_eq!(
        performed(&mut anna, "m6", "p3", other).await.0,
        "accepted -",
        "nothing is said of it"
    );
}

#[apply(stores!)]
async fn check_parameter_user_is_set_by_the_server(backend: Backend) {
    let world = world(backend);
    let mut bert = world.device("bert", "b1").await;
    bert.accept("b1", json!([place("b1", "x"), place("b2", "y"), place("b3", "z")])).await;
    let mut anna = world.device("anna", "a1").await;
    let claims = json!({"name": "leave", "version": 1, "arguments": {"id": "b1", "user": "bert"}});
    let (ending, why) = performed(&mut anna, "m1", "b1", claims).await;
    assert_eq!(
        (ending.as_str(), why.as_str()),
        ("refused action.arguments", "arguments: user is no parameter")
    );
    let honest = json!({"name": "leave", "version": 1, "arguments": {"id": "b1"}});
    assert_eq!(performed(&mut anna, "m2", "b1", honest).await.1, "none of yours");
}

#[apply(stores!)]
async fn unlisted_action_version_is_refused(backend: Backend) {
    let world = World::with(backend, TABLES, |config: Config| {
        let two = ActionConfig { parameters: Vec::new(), checks: Vec::new(), ..leave() };
        let two = two.with_version(2).with_check("SELECT 0", "never again");
        standard(config).with_action(leave().with_version(1)).with_action(two)
    });
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "a"), place("p2", "b"), place("p3", "c")])).await;
    let version = |version: i64, arguments: Value| json!({"name": "leave", "version": version, "arguments": arguments});
    let id = json!({"id": "p1"});
    assert_eq!(
        performed(&mut anna, "m2", "p1", version(3, id.clone())).await.0,
        "refused action.version"
    );
    assert_eq!(performed(&mut anna, "m3", "p1", version(2, json!({}))).await.1, "never again");
    assert_eq!(performed(&mut anna, "m4", "p1", version(1, id)).await.0, "accepted -");
}

#[apply(stores!)]
async fn register_offers_checks_only_if_configured(backend: Backend) {
    for (world, offers) in [(World::new(backend), false), (world(backend), true)] {
        let mut device = world.device("anna", "a1").await;
        let hello = json!({"protocol": 1, "capabilities": ["groups", "reads", "checks"]});
        let body = json!({"schema_version": 0, "schema_hash": "", "rejoin": hello});
        let answer = device.post("/sync/register", body).await.1;
        let agreed = answer["rejoin"]["capabilities"].as_array().unwrap();
        assert!(agreed.contains(&json!("reads")));
        assert_eq!(agreed.contains(&json!("checks")), offers);
    }
}

#[apply(stores!)]
fn invalid_checks_are_reported_at_start(world: World) {
    let asking = |sql: &str| {
        let action = ActionConfig::new("leave").with_check(sql, "no");
        match Server::open(world.config.clone().with_action(action)) {
            Ok(_) => String::new(),
            Err(ServerError::Config(problems)) => problems[0].to_string(),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(asking("SELECT count(*) FROM places WHERE owner_id = :user"), "");
    assert_eq!(asking("SELECT :id"), "actions.leave.checks: :id is no parameter");
    let only_reads = "actions.leave.checks: a check is one query that only reads";
    let deleting = asking("DELETE FROM places RETURNING 1");
    // PostgreSQL reports a syntax error instead.
    assert!(deleting == only_reads || deleting.contains("syntax error"), "{deleting}");
    let nowhere = asking("SELECT count(*) FROM nowhere");
    let is_unknown =
        ["no such table", "does not exist"].iter().any(|words| nowhere.contains(words));
    assert!(is_unknown && nowhere.contains("nowhere"), "{nowhere}");
    let none = ActionConfig { checks: Vec::new(), ..leave() };
    let odd = ActionConfig::new("")
        .with_version(0)
        .with_parameter(Parameter::new("user", ParameterType::Text));
    let config = world.config.clone().with_action(none.clone()).with_action(none).with_action(odd);
    assert_eq!(config.problems().len(), 7, "{:?}", config.problems());
}

#[test]
fn actions_are_read_from_the_config_file() {
    let text = |actions: &str| {
        format!(
            "database = 'a.db'\n[auth]\nheader = 'X-User-ID'\n[[tables]]\nname = 'places'\nowner_column = 'o'\n{actions}"
        )
    };
    let good = "[[actions]]\nname = 'leave'\nversion = 2\nparameters = [{ name = 'n', type = 'integer', optional = true }]\n\
                checks = [{ sql = 'SELECT :n', message = 'no' }]";
    let config = Config::from_toml(&text(good), &[]).unwrap();
    let expected = ActionConfig {
        name: String::from("leave"),
        version: Some(2),
        parameters: vec![Parameter::optional("n", ParameterType::Integer)],
        checks: vec![Check { sql: String::from("SELECT :n"), message: String::from("no") }],
    };
    assert_eq!(config.actions, [expected]);
    let bad = "[[actions]]\nname = 'leave'\nparameters = [{ name = 'n', type = 'number' }]\nchecks = [{ sql = 'SELECT 1' }]\n\
               [[actions]]\ncheck = 1";
    let problems = Config::from_toml(&text(bad), &[]).unwrap_err();
    let reported: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let has = |part: &str| reported.iter().any(|line| line.contains(part));
    assert!(has("type: text, integer, real"), "{reported:?}");
    assert!(has("message: missing"), "{reported:?}");
    assert!(has("missing: name the action"), "{reported:?}");
    assert!(reported.iter().all(|line| line.starts_with("line ")), "{reported:?}");
}
