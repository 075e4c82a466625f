//! Database outages: requests meanwhile are answered 503, and each push is applied exactly once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rejoin_protocol::wire::push::Ending;
use serde_json::{Value, json};

use super::proxy::Proxy;
use crate::world::{Backend, Device, TABLES, World, place, rename, standard};
use rejoin_postgres::{Cluster, ClusterOptions, Database, Session};

/// Records every write of a place.
const AUDIT: &str = "
    CREATE TABLE done(id text, name text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO done VALUES(NEW.id, NEW.name); RETURN NULL; END $$;
    CREATE TRIGGER note AFTER INSERT OR UPDATE ON places FOR EACH ROW EXECUTE FUNCTION note();
";

/// Maximum time until a restored database is noticed: the longest pause, with reserve.
const PATIENCE: Duration = Duration::from_secs(30);

fn own(cluster: &Cluster) -> World {
    Session::to(&cluster.url("postgres")).run("CREATE DATABASE app");
    let database = Database::at(&cluster.url("app"));
    database.session().run(&format!("{TABLES}{AUDIT}"));
    World::over(database, standard)
}

/// Pushes the group until it has a verdict; returns the number of retryable failures.
async fn offer(device: &mut Device<'_>, group: &Value) -> (Value, u64) {
    let since = Instant::now();
    let mut later = 0;
    loop {
        let rejoin = json!({"epoch": device.epoch, "groups": [group], "acked_below": 0});
        let (status, answer) =
            device.post("/sync/push", json!({"changes": [], "rejoin": rejoin})).await;
        if status == 200 && answer["rejoin"]["verdicts"][0]["verdict"] != "retry" {
            return (answer["rejoin"]["verdicts"][0].clone(), later);
        }
        if status != 200 {
            assert_is_for_later(status, &answer);
        }
        later += 1;
        assert!(since.elapsed() < PATIENCE, "{answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn assert_is_for_later(status: u16, answer: &Value) {
    let found = (status, &answer["code"], &answer["retryable"]);
    assert_eq!(found, (503, &json!("unavailable"), &json!(true)), "{answer}");
}

/// Each user renames its own place by consecutive numbers: a rename applied twice would conflict.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pushes_with_cut_connections_are_applied_once() {
    const TURNS: u64 = 40;
    let mut cluster = super::cluster();
    let world = own(&cluster);
    let (running, cuts, later) = (AtomicBool::new(true), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let users: Vec<_> = (0..3)
            .map(|user| {
                let (world, later) = (&world, &later);
                scope.spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build();
                    let waited = runtime.unwrap().block_on(pushes(world, user, TURNS));
                    later.fetch_add(waited, Ordering::Relaxed);
                })
            })
            .collect();
        let cutting = scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(7);
            let mut turn = 0;
            while running.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(random.u64(5..120)));
                turn += 1;
                if turn == 12 {
                    cluster.stop().unwrap();
                    cluster.start_again().unwrap();
                }
                let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                           WHERE application_name = 'rejoin-server'";
                let admin = Session::to(&cluster.url("postgres"));
                cuts.fetch_add(admin.one(cut).parse().unwrap(), Ordering::Relaxed);
            }
        });
        // A failing thread lets the others end.
        let done: Vec<_> = users.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        running.store(false, Ordering::Relaxed);
        cutting.join().unwrap();
        assert!(done.iter().all(Result::is_ok));
    });
    let (cuts, later) = (cuts.into_inner(), later.into_inner());
    assert!(cuts > 5 && later > 0, "{cuts} connections were cut, {later} answers were for later");
    let twice =
        "SELECT count(*) FROM (SELECT FROM done GROUP BY id, name HAVING count(*) > 1) AS d";
    assert_eq!(world.one(twice), "0");
    assert_eq!(world.one("SELECT count(*) FROM done"), (3 * (TURNS + 1)).to_string());
    assert_eq!(world.one("SELECT count(*) FROM rejoin_verdict"), (3 * (TURNS + 1)).to_string());
}

/// Registers, creates a place and renames it; returns the number of retries.
async fn pushes(world: &World, user: usize, turns: u64) -> u64 {
    let (name, id) = (format!("user{user}"), format!("place{user}"));
    let since = Instant::now();
    let mut device = loop {
        let hello = json!({"protocol": 1, "capabilities": ["groups"]});
        let body =
            json!({"client_id": "d", "schema_version": 0, "schema_hash": "", "rejoin": hello});
        let headers = [("X-User-ID", name.as_str())];
        let (status, _, answer) =
            world.send("POST", "/sync/register", &headers, body.to_string()).await;
        if status == 200 {
            break Device {
                world,
                user: name.clone(),
                client_id: String::from("d"),
                version: answer["schema_version"].as_i64().unwrap(),
                hash: answer["schema_hash"].as_str().unwrap().into(),
                epoch: answer["rejoin"]["epoch"].as_str().unwrap().into(),
                cursor: String::new(),
                request: 0,
                seq: 0,
                subscriptions: Vec::new(),
            };
        }
        assert_is_for_later(status, &answer);
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut waited = 0;
    for turn in 0..=turns {
        let change = match turn {
            0 => place(&id, "0"),
            _ => rename(&id, &(turn - 1).to_string(), &turn.to_string()),
        };
        let group = device.group(&format!("m{turn}"), &json!([change]));
        let (verdict, later) = offer(&mut device, &group).await;
        assert_eq!(verdict["verdict"], "accepted", "{verdict}");
        waited += later;
    }
    waited
}

#[tokio::test]
async fn unconfirmed_commit_is_found_on_retry() {
    let database = Database::new();
    database.session().run(&format!("{TABLES}{AUDIT}"));
    let proxy = Proxy::to(&database.url);
    let mut world = World::over(database, standard);
    world.config.store = Some(proxy.url.as_str().into());
    world.restart();
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    let group = anna.group("m2", &json!([rename("p1", "Quay", "Pier")]));
    let rejoin = json!({"epoch": anna.epoch, "groups": [group], "acked_below": 0});
    let body = json!({"changes": [], "rejoin": rejoin});
    proxy.lose_the_next_commit();
    let (status, answer) = anna.post("/sync/push", body).await;
    assert_is_for_later(status, &answer);
    assert_eq!(proxy.lost(), 1);
    assert_eq!(world.one("SELECT name FROM places"), "Pier", "it was committed");
    let (verdict, rows) = anna.push_group(group).await;
    assert_eq!(verdict.verdict, Ending::Accepted);
    assert_eq!(rows.len(), 1, "and the current row is returned");
    assert_eq!(world.one("SELECT string_agg(name, ' ' ORDER BY name) FROM done"), "Pier Quay");
}

/// Nothing but a commit writes the WAL to the disk here, and a push with entries leaves that to the sequencer.
#[tokio::test]
async fn answered_push_survives_a_crash_of_the_database() {
    let settings = "-c wal_writer_delay=10s -c autovacuum=off";
    let options = ClusterOptions { settings, ..ClusterOptions::default() };
    let mut cluster = Cluster::start(&options).unwrap();
    let world = own(&cluster);
    let mut anna = world.device("anna", "a1").await;
    let wrong = json!([{"operation": "create", "table_name": "places", "id": "p2", "data": {"name": "x", "score": -1}}]);
    let stored =
        "SELECT (SELECT count(*) FROM places) || ' ' || (SELECT count(*) FROM rejoin_verdict)";
    for (id, changes, ending, expected) in [
        ("m1", json!([place("p1", "Quay")]), Ending::Accepted, "1 1"),
        ("m2", wrong, Ending::Rejected, "1 2"),
    ] {
        assert_eq!(anna.push(id, changes).await.0.verdict, ending);
        cluster.stop().unwrap();
        cluster.start_again().unwrap();
        assert_eq!(world.one(stored), expected, "{id}");
        // The first request on each lost connection fails.
        anna.post("/sync/snapshot", json!({"limit": 10})).await;
    }
}

/// A trigger of the application discards the prepared statements of its connection. The connection
/// is closed, and costs two requests at most.
#[tokio::test]
async fn connection_without_its_statements_is_not_used_again() {
    let world = World::new(Backend::Postgres);
    world.write(
        "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN NULL; END $$;
         CREATE TRIGGER forget AFTER INSERT ON places FOR EACH ROW
           WHEN (NEW.name = 'forget') EXECUTE FUNCTION forget()",
    );
    let mut anna = world.device("anna", "a1").await;
    let group = anna.group("m1", &json!([place("p1", "forget")]));
    let rejoin = json!({"epoch": anna.epoch, "groups": [group], "acked_below": 0});
    anna.post("/sync/push", json!({"changes": [], "rejoin": rejoin})).await;
    anna.post("/sync/snapshot", json!({"limit": 10})).await;
    for _ in 0..3 {
        let (status, page) = anna.post("/sync/snapshot", json!({"limit": 10})).await;
        assert_eq!(status, 200, "{page}");
    }
}
