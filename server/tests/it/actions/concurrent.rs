//! Concurrent actions of two users end as if run one after the other, even if they read missing
//! rows.

use macro_rules_attribute::apply;
use rejoin_server::{Config, TableConfig};
use serde_json::{Value, json};

use crate::push::concurrent::push_at_once;
use crate::world::{Backend, World, create, ended, update};

const TABLES: &str = "CREATE TABLE shifts(
    id TEXT PRIMARY KEY, owner TEXT, team TEXT, name TEXT, updated_at TEXT, deleted_at TEXT);";

/// A server where anna and bert see each other's shifts.
fn world(backend: Backend) -> World {
    let world = World::with(backend, TABLES, |config: Config| {
        config.with_table(TableConfig::owned("shifts", "owner").with_bucket("team", "team:"))
    });
    for user in ["anna", "bert"] {
        world.server.grant(user, "team:red").unwrap();
    }
    world
}

fn absent(id: &str) -> Value {
    json!([{"table_name": "shifts", "id": id, "absent": true}])
}

/// Another program inserts the rows that each action writes last, after its reads were validated.
const HOLD: (&str, &str, &str) = (
    "BEGIN IMMEDIATE",
    "BEGIN; INSERT INTO shifts(id) VALUES('anna-last'), ('bert-last')",
    "ROLLBACK",
);

/// Anna and bert each read a key as absent, make a change, and create a row; returns the outcomes.
async fn perform_at_once(world: &World, reads: [&str; 2], changes: [Value; 2]) -> Vec<String> {
    let mut anna = world.device("anna", "a1").await;
    let mut bert = world.device("bert", "b1").await;
    let [by_anna, by_bert] = changes;
    let last = |user: &str| create("shifts", &format!("{user}-last"), &json!({"team": "red"}));
    let mut left = anna.group("m-anna", &json!([by_anna, last("anna")]));
    let mut right = bert.group("m-bert", &json!([by_bert, last("bert")]));
    for (group, id) in [&mut left, &mut right].into_iter().zip(reads) {
        group["old_only"] = json!(true);
        group["reads"] = absent(id);
    }
    let verdicts = push_at_once(world, HOLD, [(&mut anna, left), (&mut bert, right)]);
    let mut found = verdicts.map(|verdict| ended(&verdict)).to_vec();
    found.sort();
    found
}

/// The other action creates or restores the row read as absent, or makes it visible.
#[apply(parallel_stores!)]
async fn actions_that_read_each_others_absent_rows_exclude_one(backend: Backend) {
    let (new, shown) = (json!({"team": "red"}), json!({"team": null}));
    let cases = [
        ("no row", "", ["anna", "bert"].map(|id| create("shifts", id, &new))),
        ("deleted", "'red', '2026-11-20'", ["anna", "bert"].map(|id| create("shifts", id, &new))),
        ("hidden", "NULL, NULL", ["anna", "bert"].map(|id| update("shifts", id, &shown, &new))),
    ];
    for (name, row, changes) in cases {
        let world = world(backend);
        if !row.is_empty() {
            world.write(&format!(
                "INSERT INTO shifts(id, owner, team, deleted_at) VALUES('anna', 'anna', {row}), ('bert', 'bert', {row})"
            ));
        }
        let found = perform_at_once(&world, ["bert", "anna"], changes).await;
        assert_eq!(found, ["accepted -", "conflict row.exists"], "{name}");
    }
}

#[apply(parallel_stores!)]
async fn actions_that_read_one_absent_row_are_both_accepted(backend: Backend) {
    let changes = ["anna", "bert"].map(|id| create("shifts", id, &json!({"team": "red"})));
    let found = perform_at_once(&world(backend), ["other"; 2], changes).await;
    assert_eq!(found, ["accepted -"; 2]);
}

/// Other programs do not lock keys; a row that was read is locked against them until the action is
/// decided.
#[tokio::test(flavor = "multi_thread")]
async fn row_that_an_action_read_is_locked_until_it_ends_postgres() {
    let world = world(Backend::Postgres);
    world.write("INSERT INTO shifts(id, owner, team, name) VALUES('read', 'bert', 'red', 'late')");
    let mut anna = world.device("anna", "a1").await;
    let mut group = anna.group("m1", &json!([create("shifts", "anna", &json!({"team": "red"}))]));
    group["reads"] = json!([{"table_name": "shifts", "id": "read", "data": {"name": "late"}}]);
    let held = world.hold("", "BEGIN; INSERT INTO shifts(id) VALUES('anna')");
    std::thread::scope(|scope| {
        let push = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(anna.push_group(group)).0
        });
        crate::push::concurrent::until_they_wait(&world, "1");
        let write =
            "SET lock_timeout = '300ms'; UPDATE shifts SET name = 'early' WHERE id = 'read'";
        let refused = world.database().session().attempt(write).unwrap_err();
        assert!(refused.contains("lock timeout"), "{refused}");
        held("ROLLBACK");
        assert_eq!(ended(&push.join().unwrap()), "accepted -");
    });
}
