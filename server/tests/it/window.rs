//! Compatibility window: a plain peer keeps its schema for some days while tables only gain
//! columns. v0.1.2 stops it at once, and its SDKs do not read the schema again until the app
//! restarts.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::world::{Backend, Device, TABLES, World, record, standard};

const DAY: i64 = 86_400_000_000;

/// A plain peer of Anna's with two rows, one of them a child of the other.
async fn plain(world: &World) -> Device<'_> {
    world.write(
        "INSERT INTO places(id, owner_id, name) VALUES('p1', 'anna', 'Quay');
         INSERT INTO visits(id, place_id, note) VALUES('v1', 'p1', 'x')",
    );
    let mut device = Device::plain(world, "anna", "plain").await;
    let (status, _) = device.post("/sync/snapshot", json!({})).await;
    assert_eq!(status, 200);
    device
}

/// The peer after a deployment with these statements, which restarts the server.
async fn deployed<'a>(world: &'a mut World, sql: &str, old: (i64, String)) -> Device<'a> {
    world.write(sql);
    world.restart();
    let mut device = world.device("anna", "plain").await;
    (device.version, device.hash) = old;
    device
}

fn edit(name: &str) -> Value {
    json!({"changes": [record("update", "p1", &json!({"name": name}), "2030-01-01T00:00:00Z")]})
}

#[apply(stores!)]
async fn plain_peer_keeps_its_schema_while_tables_only_gain(mut world: World) {
    let device = plain(&world).await;
    let old = (device.version, device.hash.clone());
    let came = "ALTER TABLE places ADD COLUMN colour TEXT DEFAULT 'grey'; ALTER TABLE visits ADD COLUMN kind TEXT";
    let mut device = deployed(&mut world, came, old.clone()).await;
    let (status, answer) = device.post("/sync/push", edit("Dock")).await;
    assert_eq!(
        (status, answer["accepted"][0]["status"].as_str()),
        (200, Some("applied")),
        "{answer}"
    );
    let (_, pulled) = device.post("/sync/pull", json!({"checkpoint": 1})).await;
    let (_, paged) = device.post("/sync/snapshot", json!({})).await;
    for (answer, rows) in [(&pulled, &pulled["changes"]), (&paged, &paged["records"])] {
        assert_eq!(
            (answer["schema_version"].as_i64(), answer["schema_hash"].as_str()),
            (Some(old.0), Some(&*old.1))
        );
        let rows = rows.as_array().unwrap();
        let place = rows.iter().find(|row| row["id"] == "p1").unwrap();
        assert_eq!(place["data"]["name"], "Dock", "{answer}");
        assert!(place["data"].get("colour").is_none(), "only what it knows: {answer}");
    }
    // Also for the server's row in a response; unknown columns keep their values.
    let mut stale = edit("late");
    stale["changes"][0]["client_updated_at"] = json!("2020-01-01T00:00:00Z");
    let (_, answer) = device.post("/sync/push", stale).await;
    let row = &answer["rejected"][0]["server_version"]["data"];
    assert_eq!((row["name"].as_str(), row.get("colour")), (Some("Dock"), None), "{answer}");
    assert_eq!(world.one("SELECT colour FROM places"), "grey");
    // A Rejoin device is notified immediately, and migrates.
    let mut ours = world.device("anna", "ours").await;
    (ours.version, ours.hash) = old;
    let (status, answer) = ours.post("/sync/pull", json!({"rejoin": {}})).await;
    assert_eq!((status, &answer["code"]), (409, &json!("schema_mismatch")));
}

#[apply(stores!)]
async fn added_table_is_not_sent_to_an_older_schema(backend: Backend) {
    let mut world = World::with(backend, TABLES, |config| {
        let mut config = standard(config);
        config.tables.retain(|table| table.name != "countries");
        config
    });
    let device = plain(&world).await;
    let old = (device.version, device.hash.clone());
    world.config = standard(rejoin_server::Config { tables: Vec::new(), ..world.config.clone() });
    let sql = "INSERT INTO countries(code, name) VALUES('FI', 'Finland')";
    let mut device = deployed(&mut world, sql, old).await;
    device.world.write("DELETE FROM countries");
    let (status, pulled) = device.post("/sync/pull", json!({"checkpoint": 0})).await;
    assert_eq!(status, 200, "{pulled}");
    let (status, paged) = device.post("/sync/snapshot", json!({})).await;
    assert_eq!(status, 200, "{paged}");
    let tables = |rows: &Value| -> Vec<String> {
        rows.as_array().unwrap().iter().map(|row| row["table_name"].to_string()).collect()
    };
    for rows in [&pulled["changes"], &pulled["deletes"], &paged["records"]] {
        assert!(!tables(rows).contains(&String::from("\"countries\"")), "{pulled} {paged}");
    }
}

#[apply(stores!)]
async fn other_schema_changes_refuse_the_plain_peer(backend: Backend) {
    let changes = [
        ("a column that is gone", "ALTER TABLE visits DROP COLUMN note", 409),
        ("one that has another name", "ALTER TABLE visits RENAME COLUMN note TO remark", 409),
        ("one that is filled", "ALTER TABLE visits ADD COLUMN kind TEXT NOT NULL DEFAULT 'x'", 200),
    ];
    for (what, sql, expected) in changes {
        let mut world = World::new(backend);
        let device = plain(&world).await;
        let old = (device.version, device.hash.clone());
        let mut device = deployed(&mut world, sql, old).await;
        let (status, answer) = device.post("/sync/pull", json!({"checkpoint": 1})).await;
        assert_eq!(status, expected, "{what}: {answer}");
    }
}

#[apply(stores!)]
async fn window_closes_after_the_configured_days(backend: Backend) {
    for (days, after, expected) in
        [(90, 89, 200), (90, 91, 409), (0, 0, 409), (0, 1, 409), (7, 8, 409)]
    {
        let mut world = World::new(backend);
        world.config.retention.schema_days = days;
        let device = plain(&world).await;
        let old = (device.version, device.hash.clone());
        let came = "ALTER TABLE places ADD COLUMN colour TEXT";
        let mut device = deployed(&mut world, came, old).await;
        device.world.clock.advance(after * DAY);
        let (status, answer) = device.post("/sync/push", edit("Dock")).await;
        assert_eq!(status, expected, "{days} days, {after} days later: {answer}");
    }
}
