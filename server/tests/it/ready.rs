//! `/readyz` tells the truth, and nothing that is nobody's business.

use macro_rules_attribute::apply;
use rejoin_server::Limits;
use serde_json::{Value, json};

use crate::world::{TABLES, World, place, standard};

async fn readyz(world: &World) -> (u16, Value) {
    let (status, _, body) = world.send("GET", "/readyz", &[], "").await;
    (status, body)
}

/// What does not hold.
fn failing(body: &Value) -> Vec<&str> {
    let checks = body["checks"].as_object().unwrap().iter();
    checks.filter(|(_, check)| check["ok"] == false).map(|(name, _)| name.as_str()).collect()
}

#[apply(stores!)]
async fn a_server_that_can_work_says_so_without_credentials(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "a name nobody else may see")])).await;
    let (status, body) = readyz(&world).await;
    assert_eq!((status, &body["status"]), (200, &json!("ready")), "{body}");
    let names: Vec<&String> = body["checks"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["database", "feeder", "schema", "sequencer", "serving"]);
    assert_eq!(body["log"]["epoch"], json!(anna.epoch));
    assert!(body["log"]["position"].as_i64().unwrap() > 0);
    assert_eq!(body["listening"], 0);
    for secret in ["anna", "a name", "places", "owner_id", "postgres", "app.db"] {
        assert!(!body.to_string().contains(secret), "{secret}: {body}");
    }
    assert!(world.server.readiness().is_ready());
    let (status, ..) = world.send("POST", "/readyz", &[], "").await;
    assert_eq!(status, 405);
}

#[apply(stores!)]
async fn tables_that_can_no_longer_be_synced_are_not_ready(world: World) {
    world.write("ALTER TABLE tags RENAME TO other_tags");
    let (status, body) = readyz(&world).await;
    assert_eq!((status, failing(&body)), (503, vec!["schema"]), "{body}");
    assert_eq!(body["checks"]["schema"]["why"], "the tables can no longer be synced");
    world.write("ALTER TABLE other_tags RENAME TO tags");
    assert_eq!(readyz(&world).await.0, 200);
}

#[apply(stores!)]
async fn a_server_that_ends_is_not_ready(world: World) {
    world.server.shutdown();
    let (status, body) = readyz(&world).await;
    assert_eq!((status, failing(&body)), (503, vec!["serving"]), "{body}");
}

fn impatient() -> World {
    World::postgres(TABLES, |config| {
        standard(config).with_limits(Limits { wait_ms: 50, lag_ms: 2_000, ..Limits::default() })
    })
}

#[tokio::test]
async fn postgres_sequencer_that_gets_no_turn_is_not_ready() {
    let world = impatient();
    let database = world.database.as_ref().unwrap();
    let holder = database.session();
    holder.run("BEGIN; SELECT pg_advisory_xact_lock(1380600394, 0)");
    assert_eq!(readyz(&world).await.0, 200, "nothing waits for it");
    database.session().run("INSERT INTO places(id, owner_id, name) VALUES ('p1', 'anna', 'Quay')");
    let (status, body) = readyz(&world).await;
    assert_eq!((status, failing(&body)), (503, vec!["schema", "sequencer"]), "{body}");
    assert_eq!(body["checks"]["sequencer"]["waiting"], 1);
    assert_eq!(body["checks"]["sequencer"]["why"], "it does not get its turn");
    assert!(body["checks"]["sequencer"]["lag_ms"].as_i64().unwrap() >= 50, "{body}");
    holder.run("COMMIT");
    let (status, body) = readyz(&world).await;
    assert_eq!((status, &body["status"]), (200, &json!("ready")), "{body}");
}

#[tokio::test]
async fn postgres_sequencer_that_is_late_is_not_ready() {
    let world = World::postgres(TABLES, |config| {
        standard(config).with_limits(Limits { wait_ms: 5_000, lag_ms: 0, ..Limits::default() })
    });
    // Even the quickest takes longer than nothing.
    let readiness = world.server.readiness();
    assert_eq!(readiness.sequencer.failing, Some("it is behind"));
    assert!(!readiness.is_ready());
}

#[tokio::test]
async fn postgres_that_is_away_is_not_ready_until_it_returns() {
    let world = impatient();
    let database = world.database.as_ref().unwrap();
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    assert_eq!(readyz(&world).await.0, 200);
    database.close();
    let (status, body) = readyz(&world).await;
    assert_eq!(status, 503);
    assert_eq!(failing(&body), ["database", "feeder", "schema", "sequencer"], "{body}");
    assert_eq!(body["checks"]["database"]["why"], "it does not answer");
    let (status, _, health) = world.send("GET", "/healthz", &[], "").await;
    assert_eq!((status, health), (503, json!({"status": "failing"})));
    let hello = json!({"rejoin": {"protocol": 1, "capabilities": ["groups", "events"]}});
    let push =
        json!({"changes": [], "rejoin": {"epoch": anna.epoch, "groups": [], "acked_below": 0}});
    for (path, body) in [
        ("/sync/register", hello),
        ("/sync/pull", json!({"limit": 10, "rejoin": {"cursor": anna.cursor}})),
        ("/sync/snapshot", json!({"limit": 10, "rejoin": {"epoch": ""}})),
        ("/sync/push", push),
    ] {
        let (status, answer) = anna.post(path, body).await;
        let told = (status, &answer["code"], &answer["retryable"]);
        assert_eq!(told, (503, &json!("unavailable"), &json!(true)), "{path}: {answer}");
    }
    let headers = [("X-User-ID", "anna"), ("Rejoin-Protocol", "1")];
    let (status, headers, _) = world.send("GET", "/sync/schema", &headers, "").await;
    assert!(status == 503 && headers.iter().any(|(name, _)| name == "retry-after"), "{headers:?}");
    database.reopen();
    // The server asks again after a pause, of five seconds at most.
    let begun = std::time::Instant::now();
    while readyz(&world).await.0 != 200 {
        assert!(begun.elapsed().as_secs() < 30, "it stays away");
    }
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    assert_eq!(anna.pull().await, ["places/p1"]);
}
