//! Scenarios of v0.1.2's own suites and its known defects that no other test covers for plain
//! devices. `tests/conformance/synchro.md` lists them all.

use macro_rules_attribute::apply;
use rejoin_protocol::time;
use rejoin_server::{Config, TableConfig};
use serde_json::{Value, json};

use crate::world::{Backend, Device, MORNING, TABLES, World, standard};

const DAY: i64 = 86_400_000_000;
const MINUTE: i64 = 60_000_000;

fn record(operation: &str, id: &str, name: &str, at: i64) -> Value {
    crate::world::record(operation, id, &json!({"name": name}), &time::format(at))
}

/// The status of the pushed record and the version in its result.
async fn push(device: &mut Device<'_>, record: Value) -> (String, i64) {
    let (status, answer) = device.post("/sync/push", json!({"changes": [record]})).await;
    assert_eq!(status, 200, "{answer}");
    let result = answer["accepted"].get(0).or(answer["rejected"].get(0)).unwrap();
    let version = result["server_updated_at"].as_str().and_then(time::parse);
    (result["status"].as_str().unwrap().to_owned(), version.unwrap_or_default())
}

async fn pull(device: &mut Device<'_>, checkpoint: i64) -> Value {
    let (status, page) = device.post("/sync/pull", json!({"checkpoint": checkpoint})).await;
    assert_eq!(status, 200, "{page}");
    page
}

/// All pages of a snapshot with `limit` rows: the ids and the checkpoint.
async fn snapshot(device: &mut Device<'_>, limit: i64) -> (Vec<String>, i64) {
    let (mut ids, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let body = json!({"limit": limit, "cursor": cursor});
        let (status, page) = device.post("/sync/snapshot", body).await;
        assert_eq!(status, 200, "{page}");
        let records = page["records"].as_array().unwrap().iter();
        ids.extend(records.map(|record| record["id"].as_str().unwrap().to_owned()));
        if page["has_more"] == false {
            return (ids, page["checkpoint"].as_i64().unwrap());
        }
        cursor = page["cursor"].clone();
    }
}

/// v0.1.2's resolver: equal bases, then the clocks, with the tolerance added to the device's.
#[apply(stores!)]
async fn winner_depends_on_base_clock_and_tolerance(backend: Backend) {
    let table = [
        // The device's base and clock relative to the row's version, the tolerance in milliseconds,
        // and whether the device wins.
        (None, 1, 0, true),
        (None, -1, 0, false),
        (None, 0, 0, false),
        (Some(0), -DAY, 0, true),
        (Some(0), 0, 0, true),
        (Some(-DAY), 1, 0, true),
        (Some(-DAY), 0, 0, false),
        (Some(-DAY), -1, 0, false),
        (Some(1), DAY, 0, false),
        (None, -4_999_999, 5_000, true),
        (None, -5_000_000, 5_000, false),
        (Some(-DAY), -4_999_999, 5_000, true),
        (Some(-DAY), -6_000_000, 5_000, false),
        (Some(1), DAY, 5_000, false),
    ];
    for tolerance in [0, 5_000] {
        let world = World::with(backend, TABLES, |config| {
            let mut config = standard(config);
            config.limits.plain_clock_ms = tolerance;
            config
        });
        let mut one = Device::plain(&world, "anna", "one").await;
        for (number, (base, clock, tolerated, wins)) in table.iter().enumerate() {
            if *tolerated != tolerance {
                continue;
            }
            let id = format!("p{number}");
            let (_, version) = push(&mut one, record("create", &id, "theirs", MORNING)).await;
            let mut edit = record("update", &id, "mine", version + clock);
            if let Some(base) = base {
                edit["base_updated_at"] = json!(time::format(version + base));
            }
            let (status, _) = push(&mut one, edit.clone()).await;
            assert_eq!(status, if *wins { "applied" } else { "conflict" }, "{number}: {edit}");
        }
    }
}

/// Neither for the schema's hash nor for the register response.
#[apply(stores!)]
async fn table_order_does_not_matter(backend: Backend) {
    let turned = |config: Config| {
        config
            .with_table(TableConfig::new("secrets"))
            .with_table(TableConfig::child("tags", "visits", "visit_id"))
            .with_table(TableConfig::global("countries"))
            .with_table(TableConfig::child("visits", "places", "place_id"))
            .with_table(TableConfig::owned("places", "owner_id"))
    };
    let (one, other) = (World::new(backend), World::with(backend, TABLES, turned));
    let user = [("X-User-ID", "anna")];
    let (_, _, first) = one.send("GET", "/sync/schema", &user, "").await;
    let (_, _, second) = other.send("GET", "/sync/schema", &user, "").await;
    assert!(first["schema_hash"].is_string());
    assert_eq!(first["schema_hash"], second["schema_hash"]);
    assert_eq!(first["tables"], second["tables"]);
}

/// v0.1.2 joins and splits lists at commas, and converts users to lower case.
#[apply(stores!)]
async fn names_may_contain_commas_and_quotes(world: World) {
    let users = ["anna", "anna,ben", "ben", "{anna}", "an'na", "an\"na", "global", "user:anna"];
    for (number, user) in users.into_iter().enumerate() {
        let mut device = Device::plain(&world, user, "a,b'c\"d").await;
        push(&mut device, record("create", &format!("p{number},'\""), user, MORNING)).await;
    }
    for (number, user) in users.into_iter().enumerate() {
        let mut device = Device::plain(&world, user, "another,one").await;
        let (ids, checkpoint) = snapshot(&mut device, 10).await;
        assert_eq!(ids, [format!("p{number},'\"")], "{user}");
        let (status, _) =
            push(&mut device, record("create", &format!("q{number}"), user, MORNING)).await;
        assert_eq!(status, "applied");
        let page = pull(&mut device, checkpoint).await;
        assert_eq!(page["changes"][0]["id"], format!("q{number}"), "{user}: {page}");
    }
}

/// Position 0 means "no snapshot yet" to devices. Rows written between the pages come with the
/// pull.
#[apply(stores!)]
async fn snapshot_of_an_empty_log_has_a_position(world: World) {
    let mut one = Device::plain(&world, "anna", "one").await;
    let (ids, checkpoint) = snapshot(&mut one, 1).await;
    assert!(ids.is_empty());
    assert!(checkpoint > 0);
    push(&mut one, record("create", "p1", "x", MORNING)).await;
    let page = pull(&mut one, checkpoint).await;
    assert_eq!(page["changes"][0]["id"], "p1", "{page}");
}

/// An inactive device no longer counts. Its position is then before the log, and it takes a
/// snapshot.
#[apply(stores!)]
async fn inactive_plain_device_rebuilds_and_counts_again(world: World) {
    let mut silent = Device::plain(&world, "anna", "silent").await;
    let (_, checkpoint) = snapshot(&mut silent, 10).await;
    let mut busy = Device::plain(&world, "anna", "busy").await;
    let (_, mut read) = snapshot(&mut busy, 10).await;
    for number in 0..10 {
        push(&mut busy, record("create", &format!("p{number}"), "x", MORNING)).await;
    }
    let mut noted = async || {
        for _ in 0..3 {
            world.clock.advance(2 * MINUTE);
            read = pull(&mut busy, read).await["checkpoint"].as_i64().unwrap();
        }
    };
    noted().await;
    assert_eq!(world.server.compact().unwrap().entries, 0, "the silent one may still come");
    world.clock.advance(40 * DAY);
    noted().await;
    assert!(world.server.compact().unwrap().entries >= 9, "the inactive device no longer counts");
    let page = pull(&mut silent, checkpoint).await;
    assert_eq!(page["snapshot_required"], true);
    assert_eq!(page["snapshot_reason"], "checkpoint_before_retention");
    assert_eq!(page["checkpoint"], checkpoint);
    let (ids, checkpoint) = snapshot(&mut silent, 3).await;
    assert_eq!(ids.len(), 10);
    // It counts again: new entries are kept for it.
    push(&mut silent, record("create", "p10", "x", MORNING)).await;
    noted().await;
    assert_eq!(world.server.compact().unwrap().entries, 0);
    let page = pull(&mut silent, checkpoint).await;
    assert_eq!(page["changes"][0]["id"], "p10", "{page}");
}

/// Key, owner, version and deletion columns with custom names.
#[apply(stores!)]
async fn tables_may_use_custom_column_names(backend: Backend) {
    let tables =
        "CREATE TABLE things(code TEXT PRIMARY KEY, who TEXT, words TEXT, changed TEXT, gone TEXT)";
    let world = World::with(backend, tables, |config| {
        let named = TableConfig {
            id_column: Some(String::from("code")),
            updated_at_column: String::from("changed"),
            deleted_at_column: String::from("gone"),
            ..TableConfig::owned("things", "who")
        };
        config.with_table(named)
    });
    let mut one = Device::plain(&world, "anna", "one").await;
    let (_, checkpoint) = snapshot(&mut one, 10).await;
    let thing = |operation: &str, words: &str, at: i64| {
        let mut record = record(operation, "t1", "", at);
        record["table_name"] = json!("things");
        record["data"] = json!({"words": words, "changed": "2001-01-01T00:00:00Z", "gone": "2001-01-01T00:00:00Z"});
        record
    };
    let (status, version) = push(&mut one, thing("create", "a", MORNING)).await;
    assert_eq!((status.as_str(), version >= MORNING), ("applied", true));
    let (status, later) = push(&mut one, thing("update", "b", version + 1)).await;
    assert_eq!((status.as_str(), later > version), ("applied", true));
    let page = pull(&mut one, checkpoint).await;
    let row = &page["changes"][0];
    assert_eq!(
        (&row["id"], &row["data"]["words"], &row["data"]["gone"]),
        (&json!("t1"), &json!("b"), &Value::Null)
    );
    assert_eq!((&row["data"]["who"], &row["data"]["code"]), (&json!("anna"), &json!("t1")));
    assert_eq!(push(&mut one, thing("delete", "", 0)).await.0, "applied");
    let page = pull(&mut one, page["checkpoint"].as_i64().unwrap()).await;
    assert_eq!(page["deletes"][0]["id"], "t1", "{page}");
}
