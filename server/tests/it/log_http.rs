//! The log model over HTTP: devices with the real state machine against the real server.

use macro_rules_attribute::apply;
use rejoin_log::effect::{Effect, Effects};
use rejoin_log::message::{Cursor, EntryVerdict, Fetch, Fetched, Verdict};
use rejoin_log::replica::{ReplicaEvent, fetch, publish};
use rejoin_protocol::Value;
use rejoin_server::{Config, Grant, Limits, Server, TableConfig};
use serde_json::json;
use std::collections::BTreeSet;
use std::ops::Range;

use crate::costs::Ticking;
use crate::world::{Backend, World, cases};
use device::{Device, columns, rows, seat, settle, table};

mod authority;
mod device;
mod forged;
mod import;
mod nodes;
mod round_trips;

const TABLES: &str =
    "CREATE TABLE seats(id TEXT PRIMARY KEY, event TEXT, owner TEXT, note TEXT, number BIGINT);
    CREATE TABLE places(id TEXT PRIMARY KEY, owner_id TEXT, name TEXT, updated_at TEXT NOT NULL)";

fn with_log(config: Config) -> Config {
    config
        .with_table(TableConfig::log("seats", "event", "event:"))
        .with_table(TableConfig::owned("places", "owner_id"))
}

fn world(backend: Backend) -> World {
    let world = World::with(backend, TABLES, with_log);
    for user in ["anna", "ben", "cleo"] {
        world.server.grant(user, "event:e1").unwrap();
    }
    world
}

struct Log(World);

impl From<Backend> for Log {
    fn from(backend: Backend) -> Self {
        Self(world(backend))
    }
}

#[apply(secured_stores!)]
async fn seat_sold_twice_offline_goes_to_the_first_buyer(log: Log) {
    let world = &log.0;
    let mut anna = Device::new(world, "anna", 1).await;
    let mut ben = Device::new(world, "ben", 2).await;
    anna.act("create", "r0", "e1").unwrap();
    assert!(matches!(anna.sync().await[..], [Verdict::Held { .. }]));
    ben.sync().await;
    ben.act("sell", "r0", "ben").unwrap();
    anna.act("sell", "r0", "anna").unwrap();
    anna.sync().await;
    assert_eq!(table(world), "r0=e1,anna,,0", "the sale that arrived");
    ben.sync().await;
    assert_eq!(table(world), "r0=e1,anna,,0", "absolute values, until Anna runs hers again");
    anna.sync().await;
    assert_eq!(table(world), "r0=e1,ben,,0", "the earlier sale");
    let events = anna.replica.take_events();
    assert!(matches!(events[..], [ReplicaEvent::Refused { .. }]), "{events:?}");
    let mut devices = [anna, ben];
    settle(&mut devices).await;
    for device in &devices {
        assert_eq!(rows(device), "r0=e1,ben,,0", "{}", device.user);
    }
}

/// Programs of random actions by several devices that sync at random times.
#[apply(pooled_stores!)]
async fn random_programs_leave_equal_rows_everywhere(backend: Backend) {
    // A device fetches the entries of all programs before its own: each world has few of them.
    let few = if backend == Backend::Sqlite { 12 } else { 6 };
    for first in (0..cases(few)).step_by(6) {
        random_programs(&world(backend), first..first + 6).await;
    }
}

async fn random_programs(world: &World, seeds: Range<u64>) {
    for seed in seeds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let count = if seed % 3 == 0 { 6 } else { 3 };
        let mut devices = Vec::new();
        for number in 0..count {
            let user = ["anna", "ben", "cleo"][number % 3];
            let id = u128::from(seed) * 100 + number as u128 + 10;
            devices.push(Device::new(world, user, id).await);
        }
        for _ in 0..30 {
            let device = &mut devices[rng.usize(..count)];
            let id = format!("s{}", rng.u8(..4));
            let actions = ["create", "append", "toggle", "append", "delete", "sell", "set"];
            let action = actions[rng.usize(..actions.len())];
            let argument = if action == "create" { "e1" } else { "x" };
            // Refused actions have no effect.
            let _ = device.act(action, &id, argument);
            if rng.u8(..3) == 0 {
                device.sync().await;
            }
        }
        settle(&mut devices).await;
        let expected = table(world);
        for device in &devices {
            assert_eq!(rows(device), expected, "seed {seed}, {}", device.user);
        }
    }
}

#[apply(stores!)]
async fn user_sees_rows_of_held_buckets_only(log: Log) {
    let world = &log.0;
    let mut anna = Device::new(world, "anna", 1).await;
    let mut dora = Device::new(world, "dora", 4).await;
    anna.act("create", "r0", "e1").unwrap();
    anna.act("create", "r1", "e1").unwrap();
    anna.sync().await;
    dora.sync().await;
    assert_eq!(rows(&dora), "", "not a member");
    world.server.grant("dora", "event:e1").unwrap();
    dora.sync().await;
    assert_eq!(rows(&dora), table(world), "after joining");
    dora.act("append", "r0", "hello").unwrap();
    world.server.revoke("dora", "event:e1").unwrap();
    dora.fetch().await;
    assert!(!rows(&dora).contains("r1"), "after leaving: {}", rows(&dora));
    anna.act("append", "r1", "new").unwrap();
    anna.sync().await;
    world.server.grant("dora", "event:e1").unwrap();
    let mut devices = [anna, dora];
    settle(&mut devices).await;
    assert_eq!(rows(&devices[1]), table(world), "after returning");
    assert!(table(world).contains("hello"), "what was written before leaving is not lost");
}

#[apply(stores!)]
async fn granted_bucket_is_written_and_not_read(log: Log) {
    let world = &log.0;
    let mut anna = Device::new(world, "anna", 1).await;
    let mut dora = Device::new(world, "dora", 4).await;
    anna.act("create", "r0", "e1").unwrap();
    anna.sync().await;
    assert!(world.server.grant_write("dora", "event:e1").unwrap());
    assert!(!world.server.grant_write("dora", "event:e1").unwrap(), "granted already");
    let expected = Grant { bucket: "event:e1".into(), reads: false, writes: true };
    assert_eq!(world.server.grants("dora").unwrap(), [expected]);
    dora.fetch().await;
    assert_eq!(rows(&dora), "", "it is not read");
    dora.act("create", "r1", "e1").unwrap();
    dora.act("append", "r1", "seen").unwrap();
    assert!(rows(&dora).contains("seen"), "until the server has the entry");
    let mut devices = [anna, dora];
    settle(&mut devices).await;
    let [anna, mut dora] = devices;
    assert_eq!(rows(&anna), table(world));
    assert!(table(world).contains("r0") && table(world).contains("seen"), "{}", table(world));
    assert_eq!(rows(&dora), "");
    assert!(world.server.revoke("dora", "event:e1").unwrap());
    dora.fetch().await;
    assert!(dora.act("create", "r2", "e1").is_err(), "revoked");
    assert!(world.server.grant_write("dora", "#1").is_err(), "no bucket has this name");
}

/// Entries above the share of a user wait on their device, and none is lost.
#[apply(stores!)]
async fn entries_of_a_user_are_limited_per_hour(backend: Backend) {
    let world = World::with(backend, TABLES, |config| {
        with_log(config).with_limits(Limits { log_entries_per_user: 60, ..Limits::default() })
    });
    world.server.grant("anna", "event:e1").unwrap();
    let mut anna = Device::new(&world, "anna", 1).await;
    anna.act("create", "r0", "e1").unwrap();
    for number in 1..100 {
        anna.act("set", "r0", &format!("{number}")).unwrap();
    }
    let verdicts = anna.sync().await;
    assert_eq!(verdicts.len(), 60);
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Held { .. })));
    let note = |world: &World| world.one("SELECT note FROM seats");
    assert_eq!(note(&world), "59");
    let request = publish::publish_request(&mut anna.replica, 100, &BTreeSet::new()).unwrap();
    let (status, answer) = anna.post("/log/publish", request.unwrap()).await;
    assert_eq!((status, &answer["code"]), (429, &json!("too_many_requests")), "{answer}");
    assert_eq!((&answer["retryable"], &answer["retry_after"]), (&json!(true), &json!(60)));
    assert_eq!(note(&world), "59");
    world.clock.advance(3_600_000_000);
    assert_eq!(anna.sync().await.len(), 40);
    assert_eq!(note(&world), "99");
}

#[apply(stores!)]
async fn value_that_the_table_cannot_hold_is_denied_and_blocks_nothing(log: Log) {
    let world = &log.0;
    let mut anna = Device::new(world, "anna", 1).await;
    anna.act("create", "r0", "e1").unwrap();
    let bad = Effect::Update(columns(&[("number", Value::from("many"))]));
    anna.write(Effects::from_iter([(seat("r0"), bad)]));
    let unknown = Effect::Update(columns(&[("colour", Value::from("red"))]));
    anna.write(Effects::from_iter([(seat("r0"), unknown)]));
    anna.act("append", "r0", "good").unwrap();
    for _ in 0..4 {
        anna.sync().await;
    }
    let parked = anna.replica.take_events();
    let count = parked.iter().filter(|event| matches!(event, ReplicaEvent::Parked { .. })).count();
    assert_eq!(count, 2, "{parked:?}");
    assert_eq!(table(world), "r0=e1,-,good,0");
}

#[apply(stores!)]
async fn forged_requests_are_answered_and_change_nothing(log: Log) {
    let world = &log.0;
    let mut anna = Device::new(world, "anna", 1).await;
    let mut ben = Device::new(world, "ben", 2).await;
    anna.act("create", "r0", "e1").unwrap();
    anna.sync().await;
    ben.fetch().await;
    // A request in the name of another user's device.
    let request = fetch::fetch_request(&ben.replica, 9).unwrap();
    ben.author = anna.author;
    let (status, answer) = ben.post("/log/fetch", request).await;
    assert_eq!((status, &answer["code"]), (404, &json!("not_registered")));
    world.device("ben", &anna.author.to_string()).await;
    let (status, answer) = ben.post("/log/fetch", request).await;
    assert_eq!((status, &answer["code"]), (409, &json!("client_replaced")), "{answer}");
    ben.author = rejoin_log::ids::AuthorId(uuid::Uuid::from_u128(2));
    // A key of another author.
    ben.act("append", "r0", "x").unwrap();
    let mut forged =
        publish::publish_request(&mut ben.replica, 9, &BTreeSet::new()).unwrap().unwrap();
    forged.offers[0].key.author = anna.author;
    let answer: rejoin_log::message::Published = ben.ask("/log/publish", forged).await;
    let rejoin_log::message::Outcome::Verdicts { verdicts } = answer.outcome else { panic!() };
    assert!(matches!(verdicts[..], [EntryVerdict { verdict: Verdict::Denied, .. }]));
    // A cursor of the future.
    let cursor = Cursor(u64::MAX);
    let answer: Fetched = ben.ask("/log/fetch", Fetch { cursor, ..request }).await;
    assert_eq!(answer, Fetched::Resync);
    // No request at all.
    for (body, expected) in [
        (json!({}), "missing field `client_id`"),
        (json!({"client_id": "x"}), "client_id"),
        (json!({"client_id": ben.author, "log": {"stamp": 1}}), "log.stamp"),
    ] {
        let headers = [("x-user-id", "ben"), ("rejoin-protocol", "1")];
        let body = body.to_string().into_bytes();
        let (status, _, answer) = world.send("POST", "/log/fetch", &headers, body).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(expected), "{answer}");
    }
    assert_eq!(table(world), "r0=e1,-,,0");
}

#[apply(stores!)]
async fn server_without_a_log_refuses_it_and_serves_rows(world: World) {
    let mut anna = world.device("anna", "6fa459ea-ee8a-3ca4-894e-db77e160355e").await;
    let hello = json!({"schema_version": 0, "schema_hash": "",
                       "rejoin": {"protocol": 1, "capabilities": ["log", "groups"]}});
    let (_, answer) = anna.post("/sync/register", hello).await;
    assert_eq!(answer["rejoin"]["capabilities"], json!(["groups"]));
    let (status, answer) = anna.post("/log/snapshot", json!({"log": {"limit": 9}})).await;
    assert_eq!((status, &answer["code"]), (404, &json!("log_refused")), "{answer}");
}

#[apply(stores!)]
async fn compaction_makes_old_entries_final_and_old_cursors_take_a_snapshot(log: Log) {
    let world = &log.0;
    let mut anna = Device::new(world, "anna", 1).await;
    let mut ben = Device::new(world, "ben", 2).await;
    anna.act("create", "r0", "e1").unwrap();
    anna.sync().await;
    ben.fetch().await;
    anna.act("append", "r0", "a").unwrap();
    anna.sync().await;
    world.clock.advance(31 * 86_400_000_000);
    world.server.compact().unwrap();
    let status = world.server.log_status().unwrap();
    assert!(status.horizon_ms > 0 && status.head >= 2, "{status:?}");
    ben.act("append", "r0", "b").unwrap();
    let request = fetch::fetch_request(&ben.replica, 9).unwrap();
    let answer: Fetched = ben.ask("/log/fetch", request).await;
    assert_eq!(answer, Fetched::Resync, "an entry was folded away after its cursor");
    let mut devices = [anna, ben];
    settle(&mut devices).await;
    assert_eq!(table(world), "r0=e1,-,ab,0");
    for device in &devices {
        assert_eq!(rows(device), table(world), "{}", device.user);
    }
}

#[apply(stores!)]
async fn clock_far_ahead_gets_a_later_key(log: Log) {
    let world = &log.0;
    let mut anna = Device::new(world, "anna", 1).await;
    let mut ben = Device::new(world, "ben", 2).await;
    anna.ahead = 3_600_000;
    anna.act("create", "r0", "e1").unwrap();
    let verdicts = anna.sync().await;
    assert!(matches!(verdicts[..], [Verdict::TooFarAhead { .. }]), "{verdicts:?}");
    anna.sync().await;
    ben.sync().await;
    ben.act("append", "r0", "b").unwrap();
    let mut devices = [anna, ben];
    settle(&mut devices).await;
    assert_eq!(table(world), "r0=e1,-,b,0", "the later append is later");
    assert_eq!(devices[0].see("r0", "note"), json!("b"));
}

#[apply(stores!)]
async fn restored_server_gets_back_what_its_backup_lacks(mut log: Log) {
    let world = &log.0;
    let mut anna = Device::new(world, "anna", 1).await;
    let mut ben = Device::new(world, "ben", 2).await;
    anna.act("create", "r0", "e1").unwrap();
    anna.sync().await;
    ben.sync().await;
    let backup = world.backup();
    ben.act("append", "r0", "late").unwrap();
    ben.sync().await;
    anna.sync().await;
    assert_eq!(table(world), "r0=e1,-,late,0");
    let (anna, ben) = (anna.replica, ben.replica);
    log.0.config = backup;
    log.0.restart();
    log.0.server.begin_epoch().unwrap();
    let world = &log.0;
    let mut devices = [Device::at(world, "anna", anna), Device::at(world, "ben", ben)];
    settle(&mut devices).await;
    for device in &devices {
        assert_eq!(rows(device), "r0=e1,-,late,0", "{}", device.user);
    }
}

/// Entries for which a request has no time have no verdict, and the device offers them again.
#[apply(stores!)]
async fn publish_without_time_leaves_the_rest_for_the_next(backend: Backend) {
    let mut world = World::with(backend, TABLES, |config| {
        with_log(config).with_limits(Limits { push_ms: 20, ..Limits::default() })
    });
    world.server = Server::open_at(world.config.clone(), Ticking::new()).unwrap();
    world.server.grant("anna", "event:e1").unwrap();
    let mut anna = Device::new(&world, "anna", 1).await;
    for number in 0..60 {
        anna.act("create", &format!("r{number}"), "e1").unwrap();
    }
    let first = anna.sync().await;
    assert!((1..60).contains(&first.len()), "{first:?}");
    let mut devices = [anna];
    settle(&mut devices).await;
    assert_eq!(world.one("SELECT count(*) FROM seats"), "60");
}
