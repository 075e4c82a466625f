//! The number of database round trips of pulls and pushes, which dominates the cost across a
//! network.

use futures_util::future::join_all;
use macro_rules_attribute::apply;
use rejoin_protocol::wire::push::{Ending, Verdict};
use serde_json::{Value, json};

use super::proxy::Proxy;
use crate::events::Listening;
use crate::world::{Backend, Device, World, place};

/// A server that reaches its database through a proxy.
fn far_away(backend: Backend) -> (World, Proxy) {
    moved_away(World::new(backend))
}

pub(crate) fn moved_away(mut world: World) -> (World, Proxy) {
    let proxy = Proxy::to(&world.database().url);
    world.config.store = Some(proxy.url.as_str().into());
    world.restart();
    (world, proxy)
}

/// The minimum of several runs: a thread delayed between two requests of one batch splits the round
/// trip.
async fn fewest(proxy: &Proxy, device: &mut Device<'_>, expected: usize) -> u64 {
    fewest_by(100, proxy, device, expected).await
}

async fn fewest_by(limit: i64, proxy: &Proxy, device: &mut Device<'_>, expected: usize) -> u64 {
    let mut fewest = u64::MAX;
    for _ in 0..5 {
        let cursor = device.cursor.clone();
        let trips = proxy.trips(async {
            let page = device.pull_page(limit).await;
            assert_eq!(crate::world::named(&page).len(), expected);
        });
        fewest = fewest.min(trips.await);
        device.cursor = cursor;
    }
    fewest
}

#[apply(postgres_stores!)]
async fn pull_takes_one_or_two_round_trips(backend: Backend) {
    let (world, proxy) = far_away(backend);
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    anna.accept("m0", json!([place("p0", "Quay")])).await;
    anna.pull().await;
    assert_eq!(fewest(&proxy, &mut anna, 0).await, 1);
    if world.is_secured() {
        return; // The rest is counted without row level security.
    }
    anna.accept("m1", json!([place("p1", "Pier")])).await;
    world.write(
        "INSERT INTO visits(id, place_id, note) VALUES('v1', 'p1', 'x');
         INSERT INTO tags(id, visit_id, label) VALUES(1, 'v1', 'red');
         INSERT INTO countries(code, name) VALUES('ch', 'Switzerland')",
    );
    assert_eq!(fewest(&proxy, &mut anna, 4).await, 2);
    // The number of entries after a full page is queried with its rows.
    for name in ["Norway", "Sweden", "Denmark"] {
        world.write(&format!("UPDATE countries SET name = '{name}' WHERE code = 'ch'"));
    }
    assert_eq!(fewest_by(4, &proxy, &mut anna, 4).await, 2);
    // Queries that are not prefetched still work: added buckets are walked first.
    world.server.grant("anna", "user:ben").unwrap();
    assert!(fewest(&proxy, &mut anna, 0).await > 2);
}

#[tokio::test]
async fn streams_opened_at_once_share_round_trips() {
    const STREAMS: u64 = 50;
    let (world, proxy) = far_away(Backend::Postgres);
    let trips = proxy.trips(async {
        let opens = (0..STREAMS).map(|_| Listening::start(&world.server, ("X-User-ID", "anna")));
        assert_eq!(join_all(opens).await.len(), 50);
    });
    let trips = trips.await;
    assert!(trips < STREAMS / 2, "{trips}");
}

#[tokio::test]
async fn empty_plain_pull_takes_one_round_trip() {
    let (world, proxy) = far_away(Backend::Postgres);
    let mut anna = world.device("anna", "a1").await;
    let (status, page) = anna.post("/sync/snapshot", json!({"limit": 10})).await;
    assert_eq!(status, 200, "{page}");
    let checkpoint = page["checkpoint"].clone();
    let mut fewest = u64::MAX;
    for _ in 0..5 {
        let trips = proxy.trips(async {
            let (status, page) = anna.post("/sync/pull", json!({"checkpoint": checkpoint})).await;
            assert_eq!((status, &page["snapshot_required"]), (200, &Value::Null), "{page}");
        });
        fewest = fewest.min(trips.await);
    }
    assert_eq!(fewest, 1);
}

#[apply(postgres_stores!)]
async fn plain_push_costs_the_same_round_trips_for_any_number_of_records(backend: Backend) {
    let (world, proxy) = far_away(backend);
    let mut anna = Device::plain(&world, "anna", "a1").await;
    let record = |operation: &str, id: String, data: Value| {
        json!({"id": id, "table_name": "places", "operation": operation, "data": data,
               "client_updated_at": "2030-01-01T00:00:00Z"})
    };
    for (operation, data) in [
        ("create", json!({"name": "Quay"})),
        ("update", json!({"name": "Pier"})),
        ("delete", Value::Null),
    ] {
        let mut fewest = u64::MAX;
        for round in 0..5 {
            let records: Vec<Value> = (0..100)
                .map(|at| record(operation, format!("p{round} {at}"), data.clone()))
                .collect();
            let trips = proxy.trips(async {
                let (_, answer) = anna.post("/sync/push", json!({"changes": records})).await;
                assert_eq!(answer["accepted"].as_array().map(Vec::len), Some(100), "{answer}");
            });
            fewest = fewest.min(trips.await);
        }
        assert_eq!(fewest, PLAIN_PUSH, "{operation}");
    }
}

/// The minimum number of round trips of pushes with this many mutations.
async fn pushed(
    proxy: &Proxy,
    device: &mut Device<'_>,
    many: usize,
    change: impl Fn(usize, usize) -> Value,
) -> u64 {
    let mut fewest = u64::MAX;
    for round in 0..5 {
        let mut group = |at: usize| {
            let id = format!("m{round} {at} {}", device.request);
            device.group(&id, &json!([change(round, at)]))
        };
        let groups: Vec<Value> = (0..many).map(&mut group).collect();
        let trips = proxy.trips(async {
            let answer = device.push_groups(json!(groups)).await.rejoin.unwrap();
            let is_accepted = |verdict: &Verdict| verdict.verdict == Ending::Accepted;
            assert_eq!(answer.verdicts.iter().filter(|verdict| is_accepted(verdict)).count(), many);
        });
        fewest = fewest.min(trips.await);
    }
    fewest
}

/// Begin with device and log, verdicts and rows, writes, images, commit with log tip.
pub(crate) const PUSH: u64 = 5;

/// A plain push looks at the log after its commit.
const PLAIN_PUSH: u64 = PUSH + 1;

#[apply(postgres_stores!)]
async fn push_takes_five_round_trips_for_any_size(backend: Backend) {
    let (world, proxy) = far_away(backend);
    let proxy = &proxy;
    let mut anna = world.device("anna", "a1").await;
    let id = |round: usize, at: usize| format!("p{round} {at}");
    let creates = |round, at| place(&id(round, at), "Quay");
    assert_eq!(pushed(proxy, &mut anna, 100, creates).await, PUSH);
    let renames = |round, at| crate::world::rename(&id(round, at), "Quay", "Pier");
    assert_eq!(pushed(proxy, &mut anna, 100, renames).await, PUSH);
    let visits = |round, at| {
        json!({"operation": "create", "table_name": "visits", "id": format!("v{round} {at}"),
               "data": {"place_id": id(round, at), "note": "x"}})
    };
    assert_eq!(pushed(proxy, &mut anna, 50, visits).await, PUSH);
    let one = |round, at| place(&format!("q{round} {at}"), "Quay");
    assert_eq!(pushed(proxy, &mut anna, 1, one).await, PUSH);
}

#[tokio::test]
async fn rejected_mutation_adds_constant_round_trips() {
    let (world, proxy) = far_away(Backend::Postgres);
    let mut anna = world.device("anna", "a1").await;
    let mut fewest = u64::MAX;
    for round in 0..3 {
        let change = |at: usize| {
            let score = if at == 60 { -1 } else { 1 };
            json!([{"operation": "create", "table_name": "places", "id": format!("p{round} {at}"),
                    "data": {"name": "Quay", "score": score}}])
        };
        let groups: Vec<Value> =
            (0..100).map(|at| anna.group(&format!("m{round} {at}"), &change(at))).collect();
        let trips = proxy.trips(async {
            let answer = anna.push_groups(json!(groups)).await.rejoin.unwrap();
            let is_accepted = |verdict: &&Verdict| verdict.verdict == Ending::Accepted;
            assert_eq!(answer.verdicts.iter().filter(is_accepted).count(), 99);
        });
        fewest = fewest.min(trips.await);
    }
    assert!(fewest <= PUSH + 20, "{fewest}");
}

/// Counting reveals nothing: a hidden row costs as much as a missing one.
#[apply(postgres_stores!)]
async fn hidden_row_costs_as_many_round_trips_as_a_missing_one(backend: Backend) {
    let (world, proxy) = far_away(backend);
    let mut ben = world.device("ben", "b1").await;
    ben.accept("m0", json!([place("theirs", "Quay")])).await;
    let mut anna = world.device("anna", "a1").await;
    let changes = [
        json!({"operation": "update", "table_name": "places", "id": "ID", "data": {"name": "y"}, "old": {"name": "x"}}),
        json!({"operation": "delete", "table_name": "places", "id": "ID", "old": {"name": "x"}}),
        json!({"operation": "create", "table_name": "visits", "id": "v1", "data": {"place_id": "ID"}}),
    ];
    for change in changes {
        let mut pushes = Vec::new();
        for id in ["theirs", "none"] {
            let change: Value =
                serde_json::from_str(&change.to_string().replace("ID", id)).unwrap();
            let (mut fewest, mut endings) = (u64::MAX, Vec::new());
            for round in 0..5 {
                let mutation = format!("{id} {round} {}", anna.request);
                let group = anna.group(&mutation, &json!([change]));
                let trips = proxy.trips(async {
                    let answer = anna.push_groups(json!([group])).await.rejoin.unwrap();
                    endings.push((answer.verdicts[0].verdict, answer.verdicts[0].code.clone()));
                });
                fewest = fewest.min(trips.await);
            }
            pushes.push((fewest, endings));
        }
        assert_eq!(pushes[0], pushes[1], "{change}");
    }
}
