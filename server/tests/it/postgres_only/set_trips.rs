//! The number of database round trips of groups that are applied as a set.

use rejoin_server::{Config, TableConfig};
use serde_json::{Value, json};

use super::proxy::Proxy;
use super::round_trips::{PUSH, moved_away};
use crate::world::{Backend, Device, World, create, ended, update};

const TABLES: &str = "
    CREATE TABLE country(id TEXT PRIMARY KEY, updated_at TIMESTAMPTZ);
    CREATE TABLE node(
      id TEXT PRIMARY KEY, owner_id TEXT, parent TEXT REFERENCES node, country TEXT REFERENCES country,
      updated_at TIMESTAMPTZ);
    CREATE TABLE item(id TEXT PRIMARY KEY, owner_id TEXT, pos INTEGER NOT NULL UNIQUE, updated_at TIMESTAMPTZ);
";

fn configured(config: Config) -> Config {
    config
        .with_table(TableConfig::global("country"))
        .with_table(TableConfig::owned("node", "owner_id"))
        .with_table(TableConfig::owned("item", "owner_id"))
}

fn far_away() -> (World, Proxy) {
    moved_away(World::with(Backend::Postgres, TABLES, configured))
}

/// The changes of a group: its name, which is new for each, and the number of its rows.
type Changes = fn(&str, usize) -> Vec<Value>;

fn node(name: &str, at: usize, parent: &str) -> Value {
    create("node", &format!("{name} {at}"), &json!({"parent": parent}))
}

fn item(name: &str, at: usize, old: usize, new: usize) -> Value {
    update("item", &format!("{name} {at}"), &json!({"pos": old}), &json!({"pos": new}))
}

/// The fewest round trips of several groups of 20 rows, and of such with 200.
async fn trips(
    proxy: &Proxy,
    device: &mut Device<'_>,
    changes: Changes,
    expected: &str,
    before: Option<Changes>,
) -> [u64; 2] {
    let mut fewest = [u64::MAX; 2];
    for (number, size) in [20, 200].into_iter().enumerate() {
        for round in 0..4 {
            let name = format!("{size} {round} {}", device.request);
            if let Some(before) = before {
                device.accept(&format!("before {name}"), json!(before(&name, size))).await;
            }
            let changes = json!(changes(&name, size));
            let pushed = async {
                let (verdict, _) = device.push(&format!("group {name}"), changes).await;
                assert_eq!(ended(&verdict), expected, "{verdict:?}");
            };
            fewest[number] = fewest[number].min(proxy.trips(pushed).await);
        }
    }
    fewest
}

#[tokio::test]
async fn reference_to_no_row_costs_no_round_trip_per_row() {
    let (world, proxy) = far_away();
    let mut anna = world.device("anna", "a1").await;
    let all: Changes = |name, size| (0..size).map(|at| node(name, at, "nowhere")).collect();
    let last: Changes = |name, size| {
        let parent = |at| (at + 1 == size).then_some("nowhere");
        let row = |at| create("node", &format!("{name} {at}"), &json!({"parent": parent(at)}));
        (0..size).map(row).collect()
    };
    for changes in [all, last] {
        let found = trips(&proxy, &mut anna, changes, "rejected constraint.references", None).await;
        assert!(found.iter().all(|trips| *trips <= PUSH + 1), "{found:?}");
    }
    // No device can create a country: the database is asked for one row only.
    let abroad: Changes = |name, size| {
        let row = |at| create("node", &format!("{name} {at}"), &json!({"country": "zz"}));
        (0..size).map(row).collect()
    };
    let found = trips(&proxy, &mut anna, abroad, "rejected constraint.references", None).await;
    assert!(found.iter().all(|trips| *trips <= PUSH + 25), "{found:?}");
}

#[tokio::test]
async fn chain_takes_the_round_trips_of_any_push() {
    let (world, proxy) = far_away();
    let mut anna = world.device("anna", "a1").await;
    let chain: Changes = |name, size| {
        let parent = |at: usize| format!("{name} {}", at + 1);
        let mut rows: Vec<Value> = (0..size).map(|at| node(name, at, &parent(at))).collect();
        rows[size - 1]["data"]["parent"] = Value::Null;
        rows
    };
    let found = trips(&proxy, &mut anna, chain, "accepted -", None).await;
    assert_eq!(found, [PUSH; 2]);
}

/// Pairs of rows that refer to each other, positions that move by one, and positions in reverse.
#[tokio::test]
async fn set_of_any_size_takes_as_many_round_trips() {
    let (world, proxy) = far_away();
    let mut anna = world.device("anna", "a1").await;
    let pairs: Changes =
        |name, size| (0..size).map(|at| node(name, at, &format!("{name} {}", at ^ 1))).collect();
    let found = trips(&proxy, &mut anna, pairs, "accepted -", None).await;
    assert!(found[0].max(found[1]) <= PUSH + 120, "{found:?}");
    assert!(found[1] <= found[0] + 4, "{found:?}");
    let made: Changes = |name, size| {
        let row =
            |at: usize| create("item", &format!("{name} {at}"), &json!({"pos": first(name) + at}));
        (0..size).map(row).collect()
    };
    let shift: Changes = |name, size| {
        (0..size).map(|at| item(name, at, first(name) + at, first(name) + at + 1)).collect()
    };
    let reverse: Changes = |name, size| {
        (0..size).map(|at| item(name, at, first(name) + at, first(name) + size - 1 - at)).collect()
    };
    for (changes, most) in [(shift, PUSH + 60), (reverse, PUSH + 120)] {
        let found = trips(&proxy, &mut anna, changes, "accepted -", Some(made)).await;
        assert!(found[0].max(found[1]) <= most, "{found:?}");
        assert!(found[1] <= found[0] + 4, "{found:?}");
    }
}

/// The first position of a group's rows, apart from those of the others.
fn first(name: &str) -> usize {
    let number = |sum: usize, byte: u8| (sum * 31 + usize::from(byte)) % 2_000_000;
    name.bytes().fold(7, number) * 1_000
}
