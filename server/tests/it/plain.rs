//! A plain v0.1.2 peer: the same rows by the same six endpoints, and no extension anywhere.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::world::{Device, World, place};

async fn plain<'a>(world: &'a World, user: &str) -> Device<'a> {
    let mut device = world.device(user, "plain").await;
    let body = json!({"schema_version": 0, "schema_hash": ""});
    let (status, answer) = device.post("/sync/register", body).await;
    assert_eq!(status, 200);
    assert_eq!(answer.get("rejoin"), None);
    device
}

fn record(operation: &str, id: &str, data: &Value) -> Value {
    json!({"id": id, "table_name": "places", "operation": operation, "data": data,
           "client_updated_at": "2030-01-01T00:00:00Z"})
}

async fn push(device: &mut Device<'_>, record: Value) -> Value {
    let (status, answer) = device.post("/sync/push", json!({"changes": [record]})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer.get("rejoin"), None);
    let mut results = answer["accepted"].as_array().unwrap().clone();
    results.extend(answer["rejected"].as_array().unwrap().iter().cloned());
    assert_eq!(results.len(), 1);
    results.remove(0)
}

#[apply(secured_stores!)]
async fn a_plain_peer_pushes_pulls_and_takes_snapshots(world: World) {
    let mut one = plain(&world, "anna").await;
    let mut ours = world.device("anna", "ours").await;
    let (_, first) = one.post("/sync/pull", json!({"checkpoint": 0})).await;
    assert_eq!(first["snapshot_required"], true);
    assert_eq!(first["snapshot_reason"], "initial_sync_required");
    ours.accept("m1", json!([place("p1", "Quay"), place("p2", "Pier")])).await;
    let (_, page) = one.post("/sync/snapshot", json!({"limit": 1})).await;
    assert_eq!(page["records"].as_array().unwrap().len(), 1);
    assert_eq!(page.get("rejoin"), None);
    let (_, page) = one.post("/sync/snapshot", json!({"limit": 1, "cursor": page["cursor"]})).await;
    assert_eq!(page["records"][0]["id"], "p2");
    let (_, last) = one.post("/sync/snapshot", json!({"limit": 1, "cursor": page["cursor"]})).await;
    let done = if page["has_more"] == true { last } else { page };
    assert_eq!(done["has_more"], false);
    let checkpoint = done["checkpoint"].clone();
    let result =
        push(&mut one, record("update", "p1", &json!({"name": "Dock", "owner_id": "x"}))).await;
    assert_eq!(result["status"], "applied");
    assert!(result["server_updated_at"].is_string());
    let (_, page) = one.post("/sync/pull", json!({"checkpoint": checkpoint})).await;
    assert_eq!(page["changes"][0]["data"]["name"], "Dock");
    assert_eq!(page["changes"][0]["data"]["owner_id"], "anna");
    assert_eq!(page.get("rejoin"), None);
    assert_eq!(page["has_more"], false);
}

/// v0.1.2's table of endings.
#[apply(secured_stores!)]
async fn records_end_as_the_specification_says(world: World) {
    let mut one = plain(&world, "anna").await;
    let mut ben = world.device("ben", "b").await;
    ben.accept("m1", json!([place("theirs", "x")])).await;
    let good = |name: &str| json!({"name": name});
    let stale = |id: &str| {
        let mut record = record("update", id, &json!({"name": "late"}));
        record["client_updated_at"] = json!("2020-01-01T00:00:00Z");
        record
    };
    let in_table = |mut record: Value, table: &str| {
        record["table_name"] = json!(table);
        record
    };
    let table = [
        (record("create", "p1", &good("a")), "applied", None),
        (record("create", "p1", &good("a")), "conflict", Some("record_exists")),
        (record("update", "p1", &good("b")), "applied", None),
        (stale("p1"), "conflict", Some("server_won_conflict")),
        (record("update", "none", &good("b")), "rejected_terminal", Some("record_not_found")),
        (record("update", "theirs", &good("b")), "rejected_terminal", Some("record_not_found")),
        (record("delete", "theirs", &json!({})), "rejected_terminal", Some("record_not_found")),
        (record("create", "theirs", &good("b")), "rejected_terminal", Some("record_not_found")),
        (record("upsert", "p1", &good("b")), "rejected_terminal", Some("invalid_operation")),
        (record("create", "p2", &json!(7)), "rejected_terminal", Some("invalid_data")),
        (record("create", "p2", &json!({})), "rejected_terminal", Some("create_failed")),
        (record("update", "p1", &json!({"score": -1})), "rejected_terminal", Some("update_failed")),
        (
            in_table(record("create", "x", &json!({})), "nowhere"),
            "rejected_terminal",
            Some("table_not_registered"),
        ),
        (
            in_table(record("create", "x", &json!({})), "countries"),
            "rejected_terminal",
            Some("table_read_only"),
        ),
        (
            in_table(record("create", "v", &json!({"place_id": "theirs"})), "visits"),
            "rejected_retryable",
            Some("create_failed"),
        ),
        (record("delete", "p1", &json!({})), "applied", None),
        (record("delete", "p1", &json!({})), "applied", Some("already_deleted")),
        (record("update", "p1", &good("c")), "conflict", Some("record_deleted")),
        (record("create", "p1", &good("c")), "applied", None),
    ];
    for (record, status, reason) in table {
        let result = push(&mut one, record.clone()).await;
        assert_eq!(result["status"], status, "{record}: {result}");
        assert_eq!(result["reason_code"].as_str(), reason, "{record}: {result}");
        if status == "conflict" {
            assert!(result["server_version"]["data"].is_object());
        }
    }
}

#[apply(secured_stores!)]
async fn a_time_that_is_no_time_fails_the_whole_request(world: World) {
    let mut one = plain(&world, "anna").await;
    let mut bad = record("create", "p1", &json!({"name": "x"}));
    bad["client_updated_at"] = json!("2026-11-20 08:00:00");
    let (status, answer) = one.post("/sync/push", json!({"changes": [bad]})).await;
    assert_eq!((status, answer), (400, json!({"error": "invalid request body"})));
}

#[apply(secured_stores!)]
async fn buckets_that_a_plain_peer_does_not_know_are_named(world: World) {
    let mut one = plain(&world, "anna").await;
    one.post("/sync/snapshot", json!({})).await;
    let (_, page) = one
        .post("/sync/pull", json!({"checkpoint": 1, "known_buckets": ["global", "user:old"]}))
        .await;
    let expected = json!({"added": ["user:anna"], "removed": ["user:old"]});
    assert_eq!(page["bucket_updates"], expected, "{page}");
}
