//! A plain v0.1.2 device beyond the scenarios of `rejoin-conformance`: the result of each record,
//! records that wait for their parent, and page ends.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::world::{Backend, Device, TABLES, World, place, standard};

fn record(operation: &str, id: &str, data: &Value) -> Value {
    crate::world::record(operation, id, data, "2030-01-01T00:00:00Z")
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

/// v0.1.2's table of results.
#[apply(secured_stores!)]
async fn plain_records_end_as_specified(world: World) {
    let mut one = Device::plain(&world, "anna", "plain").await;
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
    let none = json!({});
    let table = [
        (record("create", "p1", &good("a")), "applied -"),
        (record("create", "p1", &good("a")), "conflict record_exists"),
        (record("update", "p1", &good("b")), "applied -"),
        (stale("p1"), "conflict server_won_conflict"),
        (record("update", "none", &good("b")), "rejected_terminal record_not_found"),
        (record("update", "theirs", &good("b")), "rejected_terminal record_not_found"),
        (record("delete", "theirs", &none), "rejected_terminal record_not_found"),
        (record("create", "theirs", &good("b")), "rejected_terminal record_not_found"),
        (record("upsert", "p1", &good("b")), "rejected_terminal invalid_operation"),
        (record("create", "p2", &json!(7)), "rejected_terminal invalid_data"),
        (record("create", "p2", &none), "rejected_terminal create_failed"),
        (record("update", "p1", &json!({"score": -1})), "rejected_terminal update_failed"),
        (
            in_table(record("create", "x", &none), "nowhere"),
            "rejected_terminal table_not_registered",
        ),
        (in_table(record("create", "x", &none), "countries"), "rejected_terminal table_read_only"),
        (
            in_table(record("create", "v", &json!({"place_id": "theirs"})), "visits"),
            "rejected_retryable create_failed",
        ),
        (record("delete", "p1", &none), "applied -"),
        (record("delete", "p1", &none), "applied already_deleted"),
        (record("update", "p1", &good("c")), "conflict record_deleted"),
        (record("create", "p1", &good("c")), "applied -"),
    ];
    for (record, expected) in table {
        let result = push(&mut one, record.clone()).await;
        let (status, reason) = (&result["status"], result["reason_code"].as_str().unwrap_or("-"));
        assert_eq!(
            format!("{} {reason}", status.as_str().unwrap()),
            expected,
            "{record}: {result}"
        );
        if status == "conflict" {
            assert!(result["server_version"]["data"].is_object());
        }
    }
}

fn place_record(id: &str, name: &str) -> Value {
    record("create", id, &json!({"name": name}))
}

/// The number of rows in each page of a pull, to the end.
async fn pages(device: &mut Device<'_>, mut checkpoint: Value) -> Vec<usize> {
    let mut counts = Vec::new();
    loop {
        let ask = json!({"checkpoint": checkpoint, "limit": 5_000});
        let (_, page) = device.post("/sync/pull", ask).await;
        counts.push(page["changes"].as_array().unwrap().len());
        checkpoint = page["checkpoint"].clone();
        if page["has_more"] == false {
            return counts;
        }
    }
}

#[apply(stores!)]
async fn record_waiting_too_long_is_refused(world: World) {
    let mut one = Device::plain(&world, "anna", "plain").await;
    world.clock.advance(660_000_000); // Eleven minutes.
    let visit = |id: &str| {
        let mut visit = record("create", id, &json!({"place_id": "nowhere"}));
        visit["table_name"] = json!("visits");
        visit["client_updated_at"] = json!("2026-11-20T08:00:00Z");
        visit
    };
    let orphan = visit("v1");
    let ended = one.push_records(&json!([orphan, place_record("p1", "x")])).await;
    assert_eq!(
        ended[1], "v1 rejected_retryable create_failed",
        "the parent may come with the next push"
    );
    let many: Vec<Value> = (0..100).map(|number| visit(&format!("v{number}"))).collect();
    let ended = one.push_records(&json!(many)).await;
    assert!(ended.iter().all(|end| end.contains("retryable")), "its parent may follow a full push");
    // A later record for the same row waits with it.
    let mut edit = visit("v1");
    edit["operation"] = json!("update");
    let ended = one.push_records(&json!([visit("v1"), edit, place_record("p2", "x")])).await;
    assert_eq!(
        ended[1..],
        ["v1 rejected_retryable create_failed", "v1 rejected_retryable update_failed"]
    );
    assert_eq!(one.push_records(&json!([orphan])).await, ["v1 rejected_terminal create_failed"]);
}

/// As Go decodes it.
#[apply(stores!)]
async fn null_and_missing_time_have_go_defaults(world: World) {
    let mut one = Device::plain(&world, "anna", "plain").await;
    let body = json!({"platform": null, "app_version": null, "client_name": null});
    assert_eq!(one.post("/sync/register", body).await.0, 200);
    let body = json!({"checkpoint": null, "limit": null, "tables": null, "known_buckets": null});
    assert_eq!(one.post("/sync/pull", body).await.0, 200);
    let mut unnamed = place_record("p1", "x");
    unnamed["table_name"] = json!(null);
    unnamed["client_updated_at"] = json!(null);
    assert_eq!(
        one.push_records(&json!([unnamed])).await,
        ["p1 rejected_terminal table_not_registered"]
    );
    one.push_records(&json!([place_record("p1", "x")])).await;
    let old =
        json!({"id": "p1", "table_name": "places", "operation": "update", "data": {"name": "x"}});
    assert_eq!(one.push_records(&json!([old])).await, ["p1 conflict server_won_conflict"]);
}

#[apply(stores!)]
async fn plain_page_ends_at_its_limit_within_a_push(world: World) {
    let mut one = Device::plain(&world, "anna", "plain").await;
    let (_, start) = one.post("/sync/snapshot", json!({})).await;
    let many: Vec<Value> =
        (0..1_500).map(|number| place_record(&format!("p{number:04}"), "x")).collect();
    one.push_records(&json!(many)).await;
    assert_eq!(pages(&mut one, start["checkpoint"].clone()).await, [1_000, 500]);
}

#[apply(stores!)]
async fn plain_page_of_large_rows_is_shorter(backend: Backend) {
    let world = World::with(backend, TABLES, |config| {
        let mut config = standard(config);
        config.limits.page_bytes = 10_000;
        config
    });
    let mut one = Device::plain(&world, "anna", "plain").await;
    let (_, start) = one.post("/sync/snapshot", json!({})).await;
    let heavy = |number: i32| place_record(&format!("p{number}"), &"x".repeat(4_000));
    one.push_records(&json!((0..8).map(heavy).collect::<Vec<_>>())).await;
    one.push_records(&json!([place_record("whale", &"x".repeat(40_000))])).await;
    let found = pages(&mut one, start["checkpoint"].clone()).await;
    assert_eq!(found.iter().sum::<usize>(), 9, "{found:?}");
    assert!(found.iter().all(|count| *count <= 2), "{found:?}");
}

#[apply(stores!)]
async fn checkpoint_of_any_number_is_answered(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "x")])).await;
    for checkpoint in [i64::MIN, i64::MIN + 1, -1, i64::MAX - 1, i64::MAX] {
        let (status, answer) = anna.post("/sync/pull", json!({"checkpoint": checkpoint})).await;
        assert_eq!((status, &answer["snapshot_required"]), (200, &json!(true)), "{checkpoint}");
    }
}
