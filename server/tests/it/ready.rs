//! `/readyz` reports the true state, without private data.

use macro_rules_attribute::apply;
use rejoin_server::Limits;
use serde_json::{Value, json};

use crate::ending::{Running, TASKS, answer, push};
use crate::world::{TABLES, World, place, standard};

async fn readyz(world: &World) -> (u16, Value) {
    let (status, _, body) = world.send("GET", "/readyz", &[], "").await;
    (status, body)
}

/// The failing checks.
fn failing(body: &Value) -> Vec<&str> {
    let checks = body["checks"].as_object().unwrap().iter();
    checks.filter(|(_, check)| check["ok"] == false).map(|(name, _)| name.as_str()).collect()
}

#[apply(stores!)]
async fn ready_server_reports_it_without_credentials(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "a private name")])).await;
    let (status, body) = readyz(&world).await;
    assert_eq!((status, &body["status"]), (200, &json!("ready")), "{body}");
    let names: Vec<&String> = body["checks"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["database", "feeder", "schema", "sequencer", "serving", "writes"]);
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
async fn unsyncable_table_is_reported_as_degraded(world: World) {
    world.write("ALTER TABLE tags RENAME TO other_tags");
    let (status, body) = readyz(&world).await;
    assert_eq!((status, &body["status"]), (200, &json!("degraded")), "{body}");
    assert_eq!(body["left_out"][0]["table"], "tags");
    world.write("ALTER TABLE other_tags RENAME TO tags");
    let (status, body) = readyz(&world).await;
    assert_eq!((status, &body["status"]), (200, &json!("ready")), "{body}");
}

#[apply(stores!)]
async fn server_shutting_down_is_not_ready(world: World) {
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
async fn blocked_postgres_sequencer_is_not_ready() {
    let world = impatient();
    let database = world.database.as_ref().unwrap();
    let holder = database.session();
    holder.run("BEGIN; SELECT pg_advisory_xact_lock(1380600394, 0)");
    assert_eq!(readyz(&world).await.0, 200, "nothing waits for it");
    database.session().run("INSERT INTO places(id, owner_id, name) VALUES ('p1', 'anna', 'Quay')");
    let (status, body) = readyz(&world).await;
    assert_eq!((status, failing(&body)), (503, vec!["schema", "sequencer", "writes"]), "{body}");
    assert_eq!(body["checks"]["sequencer"]["waiting"], 1);
    assert_eq!(body["checks"]["sequencer"]["why"], "it does not get its turn");
    assert!(body["checks"]["sequencer"]["lag_ms"].as_i64().unwrap() >= 50, "{body}");
    holder.run("COMMIT");
    let (status, body) = readyz(&world).await;
    assert_eq!((status, &body["status"]), (200, &json!("ready")), "{body}");
}

#[tokio::test]
async fn lagging_postgres_sequencer_is_not_ready() {
    let world = World::postgres(TABLES, |config| {
        standard(config).with_limits(Limits { wait_ms: 5_000, lag_ms: 0, ..Limits::default() })
    });
    // Even the fastest check takes more than no time.
    let readiness = world.server.readiness();
    assert_eq!(readiness.sequencer.failing, Some("it is behind"));
    assert!(!readiness.is_ready());
}

#[tokio::test]
async fn unreachable_postgres_is_not_ready_until_it_returns() {
    let world = impatient();
    let database = world.database.as_ref().unwrap();
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    assert_eq!(readyz(&world).await.0, 200);
    database.close();
    let (status, body) = readyz(&world).await;
    assert_eq!(status, 503);
    assert_eq!(failing(&body), ["database", "feeder", "schema", "sequencer", "writes"], "{body}");
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
        let refusal = (status, &answer["code"], &answer["retryable"]);
        assert_eq!(refusal, (503, &json!("unavailable"), &json!(true)), "{path}: {answer}");
    }
    let headers = [("X-User-ID", "anna"), ("Rejoin-Protocol", "1")];
    let (status, headers, _) = world.send("GET", "/sync/schema", &headers, "").await;
    assert!(status == 503 && headers.iter().any(|(name, _)| name == "retry-after"), "{headers:?}");
    database.reopen();
    // The server reconnects after a pause of at most five seconds.
    let begun = std::time::Instant::now();
    while readyz(&world).await.0 != 200 {
        assert!(begun.elapsed().as_secs() < 30, "it stays away");
    }
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    assert_eq!(anna.pull().await, ["places/p1"]);
}

/// The file size limit of this process. A write beyond it fails like on a full disk; reads do not.
#[cfg(target_os = "linux")]
fn limit_files(server: &Running, bytes: &str) {
    let limit = format!("--fsize={bytes}:");
    let mut command = std::process::Command::new("prlimit");
    assert!(command.args(["--pid", &server.id(), &limit]).status().unwrap().success());
}

#[cfg(target_os = "linux")]
#[test]
fn full_file_is_not_ready_until_it_can_grow() {
    let folder = tempfile::tempdir().unwrap();
    let outsider = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
    outsider.execute_batch(TASKS).unwrap();
    let settings = rejoin_server::config::TEMPLATE;
    std::fs::write(folder.path().join("rejoin.toml"), settings).unwrap();
    // A write beyond the limit then returns an error instead of a signal.
    let serve = "trap '' XFSZ; exec \"$0\" serve --listen 127.0.0.1:0";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", serve, env!("CARGO_BIN_EXE_rejoin-server")]).current_dir(folder.path());
    command.stderr(std::process::Stdio::null());
    let server = Running::by(command);
    let readyz = || answer(server.send("GET /readyz", "")).1;
    assert_eq!(readyz()["status"], "ready");
    let changes = push(&server);
    limit_files(&server, "1");
    // A successful test write is reused for a second.
    let body = std::iter::repeat_with(readyz).find(|body| body["status"] != "ready").unwrap();
    assert_eq!(failing(&body), ["writes"], "{body}");
    assert_eq!(body["checks"]["writes"]["why"], "it takes no writes");
    let (head, _) = answer(server.post("/sync/push", &changes));
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    limit_files(&server, "unlimited");
    assert_eq!(readyz()["status"], "ready");
    let (head, body) = answer(server.post("/sync/push", &changes));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body["rejoin"]["verdicts"][0]["verdict"], "accepted", "{body}");
}

/// PostgreSQL's errors for a full disk and for a standby.
#[tokio::test]
async fn read_only_postgres_is_not_ready_until_it_accepts_writes() {
    let world = World::postgres(TABLES, standard);
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'STATE', MESSAGE = 'refused'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON rejoin.meta EXECUTE FUNCTION refuse();";
    for (state, why) in [
        ("53100", "the disk is full"),
        ("25006", "the database is read-only"),
        ("58030", "it takes no writes"),
    ] {
        assert_eq!(readyz(&world).await.0, 200);
        world.clock.advance(1_000_000);
        world.database().run(&refuse.replace("STATE", state));
        let (status, body) = readyz(&world).await;
        assert_eq!((status, failing(&body)), (503, vec!["writes"]), "{body}");
        assert_eq!(body["checks"]["writes"]["why"], why);
        assert!(!body.to_string().contains("refused"), "{body}");
        world.database().run("DROP FUNCTION refuse CASCADE");
    }
    assert_eq!(readyz(&world).await.0, 200);
    assert_eq!(world.one("SELECT count(*) FROM rejoin_meta WHERE key LIKE 'probe%'"), "0");
}
