//! Plain pushes and pulls that v0.1.2 would fail as a whole, wedge, or answer with more than was asked for.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::world::{Backend, Device, World, standard};

/// Eleven minutes in microseconds.
const LONG: i64 = 660_000_000;

async fn plain<'a>(world: &'a World, user: &str) -> Device<'a> {
    let mut device = world.device(user, "plain").await;
    let (status, _) =
        device.post("/sync/register", json!({"schema_version": 0, "schema_hash": ""})).await;
    assert_eq!(status, 200);
    device
}

fn create(table: &str, id: &str, data: &Value) -> Value {
    json!({"id": id, "table_name": table, "operation": "create", "data": data,
           "client_updated_at": "2026-11-20T08:00:00Z"})
}

fn place(id: &str) -> Value {
    create("places", id, &json!({"name": id}))
}

fn visit(id: &str, place: &str) -> Value {
    create("visits", id, &json!({"place_id": place}))
}

/// Each record's id, status and reason, accepted ones first.
async fn push(device: &mut Device<'_>, records: Value) -> Vec<String> {
    let (status, answer) = device.post("/sync/push", json!({"changes": records})).await;
    assert_eq!(status, 200, "{answer}");
    let results =
        ["accepted", "rejected"].into_iter().flat_map(|list| answer[list].as_array().unwrap());
    let text = |result: &Value, name: &str| result[name].as_str().unwrap_or("-").to_owned();
    results
        .map(|result| ["id", "status", "reason_code"].map(|name| text(result, name)).join(" "))
        .collect()
}

#[apply(stores!)]
async fn children_wait_for_parents_behind_them(world: World) {
    let mut one = plain(&world, "anna").await;
    let tag = create("tags", "7", &json!({"visit_id": "v1", "label": "x"}));
    let edit = json!({"id": "v1", "table_name": "visits", "operation": "update", "data": {"note": "n"},
                      "client_updated_at": "2030-01-01T00:00:00Z"});
    let ended = push(&mut one, json!([tag, visit("v1", "p1"), edit, place("p1")])).await;
    assert_eq!(ended, ["7 applied -", "v1 applied -", "v1 applied -", "p1 applied -"]);
}

#[apply(stores!)]
async fn what_waits_harms_no_other_and_may_be_sent_again(world: World) {
    let mut one = plain(&world, "anna").await;
    let ended = push(&mut one, json!([visit("v1", "p1"), place("p2")])).await;
    assert_eq!(ended, ["p2 applied -", "v1 rejected_retryable create_failed"]);
    assert_eq!(
        push(&mut one, json!([visit("v1", "p1")])).await,
        ["v1 rejected_retryable create_failed"]
    );
    assert_eq!(push(&mut one, json!([place("p1"), visit("v1", "p1")])).await.len(), 2);
}

#[apply(stores!)]
async fn what_waits_for_long_and_alone_is_refused(world: World) {
    let mut one = plain(&world, "anna").await;
    world.clock.advance(LONG);
    let orphan = visit("v1", "nowhere");
    let ended = push(&mut one, json!([orphan, place("p1")])).await;
    assert_eq!(
        ended[1], "v1 rejected_retryable create_failed",
        "the parent may come with the next push"
    );
    let many: Vec<Value> = (0..100).map(|number| visit(&format!("v{number}"), "nowhere")).collect();
    let ended = push(&mut one, json!(many)).await;
    assert!(
        ended.iter().all(|end| end.contains("retryable")),
        "its parent may be behind a full push"
    );
    assert_eq!(push(&mut one, json!([orphan])).await, ["v1 rejected_terminal create_failed"]);
}

#[apply(stores!)]
async fn a_strangers_parent_and_none_look_alike(world: World) {
    let mut ben = plain(&world, "ben").await;
    assert_eq!(push(&mut ben, json!([place("theirs")])).await, ["theirs applied -"]);
    let mut one = plain(&world, "anna").await;
    let (_, foreign) = one.post("/sync/push", json!({"changes": [visit("v1", "theirs")]})).await;
    let (_, missing) = one.post("/sync/push", json!({"changes": [visit("v1", "none")]})).await;
    assert_eq!(foreign["rejected"], missing["rejected"]);
}

#[apply(stores!)]
async fn what_dropped_the_connection_is_answered(world: World) {
    let mut one = plain(&world, "anna").await;
    let empty = json!({"id": "p1", "table_name": "places", "operation": "create", "data": null,
                      "client_updated_at": "2026-11-20T08:00:00Z"});
    assert_eq!(push(&mut one, json!([empty])).await, ["p1 rejected_terminal invalid_data"]);
    let cursor = json!({"checkpoint": 1, "table_idx": -1, "after_id": ""});
    let (status, _) = one.post("/sync/snapshot", json!({"cursor": cursor})).await;
    assert_eq!(status, 200);
}

/// Go reads it so.
#[apply(stores!)]
async fn null_is_the_empty_value_and_a_missing_time_is_the_oldest(world: World) {
    let mut one = plain(&world, "anna").await;
    let body = json!({"platform": null, "app_version": null, "client_name": null});
    assert_eq!(one.post("/sync/register", body).await.0, 200);
    let body = json!({"checkpoint": null, "limit": null, "tables": null, "known_buckets": null});
    assert_eq!(one.post("/sync/pull", body).await.0, 200);
    let mut unnamed = place("p1");
    unnamed["table_name"] = json!(null);
    unnamed["client_updated_at"] = json!(null);
    assert_eq!(
        push(&mut one, json!([unnamed])).await,
        ["p1 rejected_terminal table_not_registered"]
    );
    push(&mut one, json!([place("p1")])).await;
    let old =
        json!({"id": "p1", "table_name": "places", "operation": "update", "data": {"name": "x"}});
    assert_eq!(push(&mut one, json!([old])).await, ["p1 conflict server_won_conflict"]);
}

#[apply(stores!)]
async fn a_plain_page_ends_at_its_limit_within_a_push(world: World) {
    let mut one = plain(&world, "anna").await;
    let (_, start) = one.post("/sync/snapshot", json!({})).await;
    let many: Vec<Value> = (0..1_500).map(|number| place(&format!("p{number:04}"))).collect();
    push(&mut one, json!(many)).await;
    let mut checkpoint = start["checkpoint"].clone();
    let mut counts = Vec::new();
    loop {
        let (_, page) =
            one.post("/sync/pull", json!({"checkpoint": checkpoint, "limit": 5_000})).await;
        counts.push(page["changes"].as_array().unwrap().len());
        checkpoint = page["checkpoint"].clone();
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(counts, [1_000, 500]);
}

#[apply(stores!)]
async fn a_plain_page_of_heavy_rows_is_shorter(backend: Backend) {
    let world = World::with(backend, crate::world::TABLES, |config| {
        let mut config = standard(config);
        config.limits.page_bytes = 10_000;
        config
    });
    let mut one = plain(&world, "anna").await;
    let (_, start) = one.post("/sync/snapshot", json!({})).await;
    let heavy =
        |number: i32| create("places", &format!("p{number}"), &json!({"name": "x".repeat(4_000)}));
    push(&mut one, json!((0..8).map(heavy).collect::<Vec<_>>())).await;
    push(&mut one, json!([create("places", "whale", &json!({"name": "x".repeat(40_000)}))])).await;
    let (mut checkpoint, mut found) = (start["checkpoint"].clone(), Vec::new());
    loop {
        let (_, page) = one.post("/sync/pull", json!({"checkpoint": checkpoint})).await;
        found.push(page["changes"].as_array().unwrap().len());
        checkpoint = page["checkpoint"].clone();
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(found.iter().sum::<usize>(), 9, "{found:?}");
    assert!(found.iter().all(|count| *count <= 2), "{found:?}");
}

#[apply(stores!)]
async fn a_filter_passes_over_no_more_than_v0_1_2(world: World) {
    let mut one = plain(&world, "anna").await;
    let (_, start) = one.post("/sync/snapshot", json!({})).await;
    push(&mut one, json!([place("p1"), visit("v1", "p1"), place("p2")])).await;
    let ask =
        |checkpoint: &Value, tables: Value| json!({"checkpoint": checkpoint, "tables": tables});
    let (_, page) = one.post("/sync/pull", ask(&start["checkpoint"], json!(["visits"]))).await;
    assert_eq!(page["changes"][0]["id"], "v1");
    let (_, rest) = one.post("/sync/pull", ask(&page["checkpoint"], Value::Null)).await;
    assert_eq!(rest["changes"][0]["id"], "p2", "what came after is still to be had");
    let (_, none) = one.post("/sync/pull", ask(&start["checkpoint"], json!(["countries"]))).await;
    assert_eq!(none["checkpoint"], start["checkpoint"]);
}

#[apply(stores!)]
async fn nothing_is_said_of_compression_that_was_not_asked_for(world: World) {
    let user = ("X-User-ID", "anna");
    let (_, headers, _) = world.send("GET", "/sync/schema", &[user], "").await;
    let known = ["content-type", "content-length"];
    let other = headers.iter().find(|(name, _)| !known.contains(&name.as_str()));
    assert_eq!(other, None);
    let asking = [user, ("Accept-Encoding", "gzip")];
    let (_, headers, _) = world.send("GET", "/sync/schema", &asking, "").await;
    assert!(headers.iter().any(|(name, value)| name == "content-encoding" && value == "gzip"));
    assert!(headers.iter().any(|(name, _)| name == "vary"));
}
