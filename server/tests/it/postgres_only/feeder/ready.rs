//! `/readyz` reports when a feeder cannot work, and when it has caught up.

use std::sync::Arc;
use std::time::Duration;

use rejoin_server::{Limits, Server};
use serde_json::{Value, json};

use super::{A, B, Readers, configure, fed, put};
use crate::world::World;

/// The lock that the one feeder holds.
const ENDS_ITS_CONNECTION: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
    AND classid::bigint = 1380600396 AND objid = 0 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Allows a lag of a minute by default, so that slow machines do not matter.
fn world(readers: &Arc<Readers>) -> World {
    let configure = configure(readers);
    World::postgres(super::TABLES, |config| {
        configure(config).with_limits(Limits { lag_ms: 60_000, ..Limits::default() })
    })
}

async fn readyz(server: &Server) -> (u16, Value) {
    let (status, _, body) = server.handle("GET", "/readyz", &[], "").await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    let ok = json!(true);
    for probe in ["database", "schema", "sequencer", "serving"] {
        assert_eq!(body["checks"][probe]["ok"], ok, "{body}");
    }
    assert_eq!(body["checks"]["feeder"]["ok"], json!(status == 200), "{body}");
    (status, body["checks"]["feeder"].clone())
}

/// Polls until the status is reached.
async fn becomes(server: &Server, expected: u16) -> Value {
    for _ in 0..6_000 {
        let (status, feeder) = readyz(server).await;
        if status == expected {
            return feeder;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", server.readiness());
}

#[tokio::test]
async fn slow_resolver_is_reported_until_it_catches_up() {
    let readers = Arc::new(Readers::default());
    let world = world(&readers);
    becomes(&world.server, 200).await;
    readers.set_gate(true);
    put(&world, A, "x", "stop");
    readers.wait_at_gate();
    put(&world, B, "x", "b");
    let (status, feeder) = readyz(&world.server).await;
    assert_eq!((status, feeder["waiting"].as_u64() >= Some(2)), (200, true), "not for long yet");
    world.write("UPDATE rejoin_ask SET at = at - interval '1 hour'");
    let (status, feeder) = readyz(&world.server).await;
    assert_eq!((status, &feeder["why"]), (503, &json!("it is behind")), "{feeder}");
    assert!(feeder["lag_ms"].as_u64() >= Some(3_600_000), "{feeder}");
    readers.set_gate(false);
    fed(&world.server);
    let (status, feeder) = readyz(&world.server).await;
    assert_eq!((status, &feeder), (200, &json!({"ok": true, "waiting": 0})));
}

/// A row for which the resolver fails is recorded, and blocks nothing.
#[tokio::test]
async fn failing_resolver_does_not_fail_the_feeder_check() {
    let readers = Arc::new(Readers::default());
    let world = world(&readers);
    put(&world, A, "fail", "a");
    fed(&world.server);
    assert_eq!(world.server.bucket_failures().unwrap().len(), 1);
    assert_eq!(becomes(&world.server, 200).await["waiting"], 0);
}

/// Its connection ends during a call: there is no feeder until it reconnects. A push has a lock of the
/// same class meanwhile.
#[tokio::test]
async fn lost_feeder_connection_is_reported_until_it_returns() {
    let readers = Arc::new(Readers::default());
    let world = world(&readers);
    becomes(&world.server, 200).await;
    readers.set_gate(true);
    put(&world, A, "x", "stop");
    readers.wait_at_gate();
    let push = world.database().session();
    push.run("BEGIN; SELECT pg_advisory_xact_lock(1380600396, hashtext('anna'))");
    world.write(ENDS_ITS_CONNECTION);
    let feeder = becomes(&world.server, 503).await;
    assert_eq!(feeder["why"], "no feeder is running", "{feeder}");
    readers.set_gate(false);
    fed(&world.server);
    assert_eq!(becomes(&world.server, 200).await["waiting"], 0);
}

/// A table that it reads is missing: its state cannot be read.
#[tokio::test]
async fn unreadable_feeder_state_is_reported() {
    let readers = Arc::new(Readers::default());
    let world = world(&readers);
    becomes(&world.server, 200).await;
    world.write("ALTER TABLE rejoin_tell RENAME TO moved");
    let (status, feeder) = readyz(&world.server).await;
    assert_eq!((status, &feeder["why"]), (503, &json!("its state cannot be read")), "{feeder}");
    world.write("ALTER TABLE rejoin_moved RENAME TO tell");
    // The feeder pauses for five seconds at most before it begins again.
    becomes(&world.server, 200).await;
}
