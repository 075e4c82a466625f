//! Buckets: named by rows or subscribed by operators; membership alone decides what devices get.

use macro_rules_attribute::apply;
use std::collections::BTreeMap;

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::Ending;
use rejoin_server::{Config, Grant, ServerError, TableConfig};
use serde_json::{Value, json};

use crate::world::{Backend, Device, World, create, record};

const TABLES: &str = "
    CREATE TABLE tasks(id TEXT PRIMARY KEY, owner TEXT, team TEXT, title TEXT, updated_at TEXT, deleted_at TEXT);
    CREATE TABLE comments(id TEXT PRIMARY KEY, task_id TEXT, body TEXT, updated_at TEXT, deleted_at TEXT);
    CREATE TABLE boards(id INTEGER PRIMARY KEY, room INTEGER, updated_at TEXT);
";

/// Tasks belong to their owner and team, and are public without team and owner. Comments are in a
/// bucket of their task, as in v0.1.2's documentation. Boards are in rooms only.
fn teams(config: Config) -> Config {
    let tasks = TableConfig::owned("tasks", "owner").with_bucket("team", "team:");
    config
        .with_table(TableConfig { allow_global_read: true, ..tasks })
        .with_table(
            TableConfig::child("comments", "tasks", "task_id").with_bucket("task_id", "task:"),
        )
        .with_table(TableConfig::new("boards").with_bucket("room", "room:"))
}

const ROWS: &str = "
    INSERT INTO tasks(id, owner, team, title) VALUES
      ('t1', 'anna', 'red', 'a'), ('t2', 'ben', 'red', 'b'), ('t3', 'ben', NULL, 'c'), ('t4', 'ben', '', 'd'),
      ('t5', NULL, NULL, 'e'), ('t6', 'zoe', 'Red', 'f');
    INSERT INTO comments(id, task_id) VALUES('c1', 't1'), ('c2', 't2'), ('c3', 't3'), ('c0', 'nowhere');
    INSERT INTO boards(id, room) VALUES(1, 7), (2, 70), (3, NULL);
";

fn world(backend: Backend) -> World {
    let world = World::with(backend, TABLES, teams);
    world.write(ROWS);
    world
}

async fn sees(world: &World, user: &str) -> Vec<String> {
    world.device(user, "look").await.snapshot(3).await
}

/// Pulls in small pages into the device's rows, which then equal a snapshot.
async fn catch_up(device: &mut Device<'_>, base: &mut BTreeMap<String, Option<Value>>) {
    while device.pull_into(base, 2).await {}
    let cursor = device.cursor.clone();
    assert_eq!(*base, device.snapshot_rows().await);
    device.cursor = cursor;
}

/// In any readable bucket: the owner's, the parent owner's, or the one a column names. Children are
/// in their parent's buckets.
#[apply(secured_stores!)]
async fn row_in_any_readable_bucket_is_delivered(backend: Backend) {
    let world = world(backend);
    assert_eq!(sees(&world, "anna").await, ["comments/c1", "tasks/t1", "tasks/t5"]);
    assert_eq!(
        sees(&world, "ben").await,
        ["comments/c2", "comments/c3", "tasks/t2", "tasks/t3", "tasks/t4", "tasks/t5"]
    );
    assert_eq!(sees(&world, "cleo").await, ["tasks/t5"]);
    for (bucket, more) in [
        ("team:red", &["comments/c1", "comments/c2", "tasks/t1", "tasks/t2"][..]),
        ("team:Red", &["tasks/t6"]),
        ("team:", &[]),
        ("team", &[]),
        ("task:t3", &["comments/c3"]),
        ("task:nowhere", &["comments/c0"]),
        ("room:7", &["boards/1"]),
        ("room:07", &[]),
        ("user:anna", &["comments/c1", "tasks/t1"]),
        ("%", &[]),
    ] {
        assert!(world.server.grant("cleo", bucket).unwrap());
        let mut expected: Vec<&str> = more.iter().copied().chain(["tasks/t5"]).collect();
        expected.sort_unstable();
        assert_eq!(sees(&world, "cleo").await, expected, "{bucket}");
        assert!(world.server.revoke("cleo", bucket).unwrap());
    }
}

/// Statements that write or move a row, each with what the devices of four users receive.
#[apply(secured_stores!)]
async fn rows_move_between_buckets_and_take_their_children_along(backend: Backend) {
    let world = world(backend);
    let statements = [
        "UPDATE tasks SET title = 'x' WHERE id = 't2'",
        "UPDATE tasks SET team = 'blue' WHERE id = 't2'",
        "UPDATE tasks SET team = 'red', owner = 'anna' WHERE id = 't2'",
        "UPDATE tasks SET team = NULL WHERE id = 't1'",
        "UPDATE tasks SET owner = NULL WHERE id = 't2'",
        "UPDATE tasks SET owner = 'dora', team = 'blue' WHERE id IN ('t1', 't5')",
        "UPDATE comments SET task_id = 't1' WHERE id = 'c0'",
        "UPDATE comments SET body = 'x'",
        "INSERT INTO tasks(id, team) VALUES('t7', 'blue')",
        "INSERT INTO comments(id, task_id) VALUES('c7', 't7')",
        "UPDATE tasks SET deleted_at = '2026-11-20T08:00:00.000000Z' WHERE id = 't7'",
        "UPDATE tasks SET deleted_at = NULL WHERE id = 't7'",
        "UPDATE tasks SET id = 't8' WHERE id = 't7'",
        "UPDATE boards SET room = 70 WHERE id = 1",
        "UPDATE boards SET room = NULL WHERE id = 2",
        "DELETE FROM boards WHERE id = 1",
        "DELETE FROM tasks WHERE team = 'blue'",
    ];
    world.server.grant("cleo", "team:red").unwrap();
    world.server.grant("dora", "team:blue").unwrap();
    world.server.grant("dora", "room:70").unwrap();
    let mut devices = Vec::new();
    for user in ["anna", "ben", "cleo", "dora"] {
        let mut device = world.device(user, "d").await;
        let base = device.snapshot_rows().await;
        devices.push((device, base));
    }
    for statement in statements {
        world.write(statement);
        for (device, base) in &mut devices {
            catch_up(device, base).await;
        }
    }
    let left: Vec<usize> = devices.iter().map(|(_, base)| base.len()).collect();
    assert_eq!(left, [2, 5, 2, 2], "final number of rows per user");
}

/// Through the API: the next pull brings the rows of added buckets and drops those of removed ones.
#[apply(secured_stores!)]
async fn next_pull_applies_changed_grants(backend: Backend) {
    let world = world(backend);
    let mut cleo = world.device("cleo", "c1").await;
    let mut base = cleo.snapshot_rows().await;
    assert!(world.server.grant("cleo", "team:red").unwrap());
    assert!(!world.server.grant("cleo", "team:red").unwrap(), "already granted");
    let red = |reads, writes| vec![Grant { bucket: String::from("team:red"), reads, writes }];
    assert_eq!(world.server.grants("cleo").unwrap(), red(true, true));
    assert!(world.server.grant_read("cleo", "team:red").unwrap(), "it replaces the other");
    assert_eq!(world.server.grants("cleo").unwrap(), red(true, false));
    catch_up(&mut cleo, &mut base).await;
    assert!(base.contains_key("comments/c2"));
    world.server.grant("cleo", "room:7").unwrap();
    world.server.revoke("cleo", "team:red").unwrap();
    world.write("UPDATE tasks SET team = 'blue' WHERE id = 't1'");
    catch_up(&mut cleo, &mut base).await;
    assert_eq!(base.keys().collect::<Vec<_>>(), ["boards/1", "tasks/t5"]);
    assert!(!world.server.revoke("cleo", "team:red").unwrap(), "it is gone");
    // A row that is readable through another bucket stays when one is removed.
    world.server.grant("cleo", "team:red").unwrap();
    world.server.grant("cleo", "user:ben").unwrap();
    catch_up(&mut cleo, &mut base).await;
    world.server.revoke("cleo", "team:red").unwrap();
    catch_up(&mut cleo, &mut base).await;
    assert!(base.contains_key("tasks/t2"));
    for name in ["", "#hash", "two\nlines", "nul\0"] {
        assert!(
            matches!(world.server.grant("cleo", name), Err(ServerError::Bucket { .. })),
            "{name:?}"
        );
    }
}

/// Found by simulation (seed 10300950): the second change of the buckets dropped the pending
/// removals of the first.
#[apply(secured_stores!)]
async fn bucket_change_during_a_walk_leaves_no_row_behind(backend: Backend) {
    let world = world(backend);
    let mut cleo = world.device("cleo", "c1").await;
    let mut base = cleo.snapshot_rows().await;
    world.server.grant("cleo", "team:red").unwrap();
    for _ in 0..2 {
        assert!(cleo.pull_into(&mut base, 1).await);
    }
    world.server.revoke("cleo", "team:red").unwrap();
    // The page that starts to remove its rows.
    assert!(cleo.pull_into(&mut base, 1).await);
    world.server.grant("cleo", "room:7").unwrap();
    catch_up(&mut cleo, &mut base).await;
    assert_eq!(base.keys().collect::<Vec<_>>(), ["boards/1", "tasks/t5"]);
    // The row leaves its bucket before the bucket is removed: only the log shows that.
    world.server.grant("cleo", "team:red").unwrap();
    catch_up(&mut cleo, &mut base).await;
    world.write("UPDATE tasks SET team = 'blue' WHERE id = 't2'");
    world.server.revoke("cleo", "team:red").unwrap();
    // The walk has ended; the log is not read yet.
    assert!(cleo.pull_into(&mut base, 100).await);
    world.server.revoke("cleo", "room:7").unwrap();
    catch_up(&mut cleo, &mut base).await;
    assert_eq!(base.keys().collect::<Vec<_>>(), ["tasks/t5"]);
}

fn update(id: &str, old: &Value, new: &Value) -> Value {
    json!([crate::world::update("tasks", id, old, new)])
}

/// Buckets grant read access: only the owner writes, and not into unreadable buckets.
#[apply(secured_stores!)]
async fn bucket_grants_no_write_access_and_cannot_be_forged(backend: Backend) {
    let world = world(backend);
    world.server.grant("ben", "team:red").unwrap();
    let mut ben = world.device("ben", "b1").await;
    let (verdict, _) =
        ben.push("m1", update("t1", &json!({"title": "a"}), &json!({"title": "x"}))).await;
    assert_eq!(verdict.code.as_deref(), Some(code::OWNERSHIP), "the row is readable");
    let comment = create("comments", "c9", &json!({"task_id": "t1"}));
    let (verdict, _) = ben.push("m2", json!([comment])).await;
    assert_eq!(verdict.code.as_deref(), Some(code::OWNERSHIP));
    let create = |id: &str, team: &Value| json!([create("tasks", id, &json!({"team": team}))]);
    for (name, changes, is_good) in [
        ("to another team", update("t2", &json!({"team": "red"}), &json!({"team": "blue"})), false),
        ("by another case", update("t2", &json!({"team": "red"}), &json!({"team": "RED"})), false),
        ("to none", update("t2", &json!({"team": "red"}), &json!({"team": null})), true),
        ("to the user's team", update("t3", &json!({"team": null}), &json!({"team": "red"})), true),
        ("a new one elsewhere", create("n1", &json!("blue")), false),
        ("a new one in the user's team", create("n2", &json!("red")), true),
        ("a new own one", create("n3", &Value::Null), true),
    ] {
        let (verdict, _) = ben.push(name, changes).await;
        let expected = if is_good { Ending::Accepted } else { Ending::Refused };
        assert_eq!(verdict.verdict, expected, "{name}: {verdict:?}");
        if !is_good {
            assert_eq!(
                (verdict.code.as_deref(), verdict.column.as_deref()),
                (Some(code::OWNERSHIP), Some("team"))
            );
        }
    }
    assert_eq!(world.one("SELECT count(*) FROM tasks WHERE team IN ('blue', 'RED')"), "0");
}

/// The same for a plain peer.
#[apply(secured_stores!)]
async fn plain_peer_cannot_forge_a_bucket(backend: Backend) {
    let world = world(backend);
    world.server.grant("ben", "team:red").unwrap();
    let mut ben = world.device("ben", "b1").await;
    let record = |id: &str, team: &str| {
        let mut record = record("create", id, &json!({"team": team}), "2026-11-20T08:00:00Z");
        record["table_name"] = json!("tasks");
        record
    };
    let ended = ben.push_records(&json!([record("p1", "blue"), record("p2", "red")])).await;
    assert_eq!(ended, ["p2 applied -", "p1 rejected_terminal record_not_found"]);
    assert_eq!(world.one("SELECT count(*) FROM tasks WHERE team = 'blue'"), "0");
}

/// Readers of a row's former bucket learn that its old key is gone, but not its new key.
#[apply(secured_stores!)]
async fn former_bucket_readers_do_not_learn_the_new_key(backend: Backend) {
    let world = world(backend);
    world.server.grant("cleo", "team:red").unwrap();
    world.server.grant("dora", "team:blue").unwrap();
    let mut cleo = world.device("cleo", "d").await;
    let mut dora = world.device("dora", "d").await;
    let mut anna = world.device("anna", "d").await;
    for device in [&mut cleo, &mut dora, &mut anna] {
        device.snapshot(9).await;
    }
    world.write("UPDATE tasks SET id = 'secret', team = 'blue' WHERE id = 't1'");
    assert_eq!(cleo.pull().await, ["-comments/c1", "-tasks/t1"]);
    assert_eq!(dora.pull().await, ["tasks/secret", "-comments/c1"]);
    assert_eq!(anna.pull().await, ["tasks/secret", "-comments/c1", "-tasks/t1"]);
}

/// Where a row without a team is public, only another program can write one.
#[apply(secured_stores!)]
async fn device_cannot_make_a_row_public(backend: Backend) {
    let open = World::with(backend, TABLES, |config| {
        let tasks = TableConfig::owned("tasks", "owner").with_bucket("team", "team:");
        config.with_table(TableConfig {
            allow_global_read: true,
            global_when_bucket_null: true,
            ..tasks
        })
    });
    open.write(
        "INSERT INTO tasks(id, owner, team) VALUES('t1', 'anna', NULL), ('t2', 'anna', 'red')",
    );
    assert_eq!(sees(&open, "cleo").await, ["tasks/t1"]);
    let mut anna = open.device("anna", "a1").await;
    let (verdict, _) =
        anna.push("m1", update("t2", &json!({"team": "red"}), &json!({"team": null}))).await;
    assert_eq!(verdict.code.as_deref(), Some(code::OWNERSHIP));
    open.write("UPDATE tasks SET team = NULL WHERE id = 't2'");
    assert_eq!(sees(&open, "cleo").await, ["tasks/t1", "tasks/t2"]);
}

/// A child row is readable with its parent or through its own bucket; neither grants write access.
#[apply(secured_stores!)]
async fn reader_of_child_rows_cannot_write_them(backend: Backend) {
    let world = world(backend);
    world.write("INSERT INTO comments(id, task_id, deleted_at) VALUES('c8', 't1', '2026-11-20')");
    let before = world.one("SELECT count(*) FROM comments WHERE body IS NULL");
    for bucket in ["team:red", "task:t3"] {
        world.server.grant("cleo", bucket).unwrap();
    }
    let mut cleo = world.device("cleo", "d").await;
    assert!(cleo.snapshot(9).await.contains(&String::from("comments/c1")), "it is read");
    let (none, text) = (json!({"body": null}), json!({"body": "x"}));
    let below = json!({"task_id": "t1", "body": "x"});
    for (name, change) in [
        ("update below a parent", crate::world::update("comments", "c1", &none, &text)),
        ("delete below a parent", crate::world::delete("comments", "c1", &none)),
        ("restore below a parent", create("comments", "c8", &below)),
        ("create over a row", create("comments", "c1", &below)),
        ("update by a bucket", crate::world::update("comments", "c3", &none, &text)),
        ("delete by a bucket", crate::world::delete("comments", "c3", &none)),
    ] {
        let (verdict, _) = cleo.push(name, json!([change])).await;
        assert_eq!(crate::world::ended(&verdict), "refused ownership", "{name}");
    }
    let plain = |operation: &str| {
        let mut record = record(operation, "c1", &text, "2026-11-20T08:00:00Z");
        record["table_name"] = json!("comments");
        record
    };
    for operation in ["update", "delete"] {
        let ended = cleo.push_records(&json!([plain(operation)])).await;
        assert!(ended[0].starts_with("c1 rejected_terminal"), "{operation}: {ended:?}");
    }
    let after =
        "SELECT count(*) FROM comments WHERE body IS NULL AND (id = 'c8' OR deleted_at IS NULL)";
    assert_eq!(world.one(after), before);
}
