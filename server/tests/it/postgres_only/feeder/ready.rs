//! `/readyz` tells when a feeder cannot do its work, and that it has caught up.

use std::sync::Arc;
use std::time::Duration;

use rejoin_server::{Limits, Server};
use serde_json::{Value, json};

use super::{A, B, Readers, configure, fed, put};
use crate::world::World;

/// The lock that the one feeder holds.
const ENDS_ITS_CONNECTION: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
    AND classid::bigint = 1380600396 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Nobody is behind by a minute, however slow the machine, unless that is said.
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

/// Asks until it is so.
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
async fn a_resolver_that_takes_too_long_is_told_and_that_it_has_caught_up() {
    let readers = Arc::new(Readers::default());
    let world = world(&readers);
    becomes(&world.server, 200).await;
    readers.set_gate(true);
    put(&world, A, "x", "stop");
    readers.stands();
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

/// A row of which the resolver can say nothing is noted, and holds nothing up.
#[tokio::test]
async fn a_resolver_that_fails_is_no_feeder_that_fails() {
    let readers = Arc::new(Readers::default());
    let world = world(&readers);
    put(&world, A, "fail", "a");
    fed(&world.server);
    assert_eq!(world.server.bucket_failures().unwrap().len(), 1);
    assert_eq!(becomes(&world.server, 200).await["waiting"], 0);
}

/// Its connection ends while it asks: nobody feeds, until it has another.
#[tokio::test]
async fn a_feeder_whose_connection_is_gone_is_told_and_its_return() {
    let readers = Arc::new(Readers::default());
    let world = world(&readers);
    becomes(&world.server, 200).await;
    readers.set_gate(true);
    put(&world, A, "x", "stop");
    readers.stands();
    world.write(ENDS_ITS_CONNECTION);
    let feeder = becomes(&world.server, 503).await;
    assert_eq!(feeder["why"], "nobody feeds the resolvers", "{feeder}");
    readers.set_gate(false);
    fed(&world.server);
    assert_eq!(becomes(&world.server, 200).await["waiting"], 0);
}

/// What it reads is not there: it cannot be asked.
#[tokio::test]
async fn a_feeder_that_cannot_be_asked_is_told() {
    let readers = Arc::new(Readers::default());
    let world = world(&readers);
    becomes(&world.server, 200).await;
    world.write("ALTER TABLE rejoin_tell RENAME TO told");
    let (status, feeder) = readyz(&world.server).await;
    assert_eq!((status, &feeder["why"]), (503, &json!("it cannot be asked")), "{feeder}");
    world.write("ALTER TABLE rejoin_told RENAME TO tell");
    // The feeder pauses for five seconds at most before it begins again.
    becomes(&world.server, 200).await;
}
