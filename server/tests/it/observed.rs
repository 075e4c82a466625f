//! Observing hooks: conflicts, pages, snapshots, outdated apps, inactive devices.

use macro_rules_attribute::apply;
use std::sync::Arc;

use rejoin_server::{Contention, Resolution, Resolve, Resolver, TableConfig};
use serde_json::{Value, json};

use crate::host::{Host, hosted, hosted_with};
use crate::world::{Backend, World, create, erase, place, rename, score, standard};

/// In microseconds.
const DAY: i64 = 86_400_000_000;

/// The recorded lines with this prefix.
fn recorded(host: &Host, of: &str) -> Vec<String> {
    host.take_events().into_iter().filter(|line| line.starts_with(of)).collect()
}

#[apply(stores!)]
async fn conflict_hook_reports_real_conflicts_only(backend: Backend) {
    let (world, host) = hosted(backend, Host::listening());
    let mut anna = world.device("anna", "a1").await;
    let mut second = world.device("anna", "a2").await;
    anna.accept("m1", json!([place("p1", "Quay"), place("p2", "Pier")])).await;
    anna.accept("m2", json!([rename("p1", "Quay", "Dock")])).await;
    second.accept("m3", json!([score(0, 5)])).await; // Another column: they merge.
    second.accept("m4", json!([rename("p1", "Quay", "Dock")])).await; // Already equal.
    anna.accept("m5", json!([erase("p2", "Pier")])).await;
    assert_eq!(recorded(&host, "anna places"), [""; 0], "no conflict");
    let late = second.group("m6", &json!([rename("p1", "Quay", "Mole")]));
    for _ in 0..3 {
        second.push_group(late.clone()).await; // The verdict is stored; the hook runs once.
    }
    second.push("m7", json!([rename("p2", "Pier", "Mole")])).await;
    second.push("m8", json!([place("p1", "Mole")])).await;
    second.push("m9", json!([rename("nowhere", "Pier", "Mole")])).await;
    assert_eq!(
        recorded(&host, "anna places"),
        [
            "anna places/p1 row.changed Dock Mole Kept",
            "anna places/p2 row.deleted Pier Mole Kept",
            "anna places/p1 row.exists Dock Mole Kept",
        ]
    );
    let mut eve = world.device("eve", "e1").await;
    eve.push("m10", json!([rename("p1", "Quay", "Mine")])).await;
    assert_eq!(recorded(&host, "eve places"), [""; 0], "a hidden row is no conflict");
    let mut takes = second.group("m11", &json!([place("p3", "Mole")]));
    takes["old_only"] = json!(true);
    takes["reads"] = json!([{"table_name": "places", "id": "p1", "data": {"name": "Quay"}}]);
    second.push_group(takes).await;
    assert_eq!(recorded(&host, "anna places"), ["anna places/p1 row.changed - - Kept"]);
}

/// Rejects one name, and lets all other changes overwrite the row.
#[derive(Debug)]
struct Picky;

impl Resolver for Picky {
    fn resolve(&self, contention: &Contention<'_>) -> Resolution {
        match contention.sent.get("name").and_then(|name| name.as_text()) {
            Some("Mole") => Resolution::Refuse(String::from("no moles")),
            _ => Resolution::Apply,
        }
    }
}

#[apply(stores!)]
async fn conflict_hook_reports_the_winner_of_kept_groups(backend: Backend) {
    let (world, host) = hosted_with(backend, Host::listening(), |config| {
        let places = TableConfig::owned("places", "owner_id");
        config.with_table(TableConfig { resolver: Resolve::Custom(Arc::new(Picky)), ..places })
    });
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay"), place("p2", "Pier")])).await;
    anna.accept("m2", json!([rename("p1", "other", "Dock")])).await;
    anna.push("m3", json!([rename("p1", "other", "Mole")])).await;
    let broken = create("places", "p9", &json!({"name": "x", "score": -1}));
    anna.push("m4", json!([rename("p2", "other", "Dock"), broken])).await;
    assert_eq!(
        recorded(&host, "anna places"),
        [
            "anna places/p1 row.changed Quay Dock Written",
            "anna places/p1 row.changed Dock Mole Refused",
        ]
    );
}

/// A plain record made on the version `base`.
fn record(operation: &str, name: &str, base: Option<&str>) -> Value {
    let data = json!({"name": name});
    let mut record = crate::world::record(operation, "p1", &data, "2026-11-20T09:00:00Z");
    record["base_updated_at"] = json!(base);
    json!([record])
}

#[apply(stores!)]
async fn conflict_hook_reports_plain_peers_without_retries(backend: Backend) {
    let (world, host) = hosted(backend, Host::listening());
    let mut anna = world.device("anna", "a1").await;
    anna.push_records(&record("create", "Quay", None)).await;
    anna.push_records(&record("create", "Quay", None)).await; // A lost response.
    let version = world.one("SELECT updated_at FROM places");
    let to_the_millisecond = format!("{}Z", &version[..23]);
    world.clock.advance(1_000_000);
    anna.push_records(&record("update", "Dock", Some(&to_the_millisecond))).await;
    assert_eq!(recorded(&host, "anna places"), [""; 0], "no conflict");
    anna.push_records(&record("update", "Mole", Some(&to_the_millisecond))).await;
    let mut late = record("update", "Pier", Some(&to_the_millisecond));
    late[0]["client_updated_at"] = json!("2020-01-01T00:00:00Z");
    anna.push_records(&late).await;
    anna.push_records(&record("create", "Pier", None)).await;
    assert_eq!(
        recorded(&host, "anna places"),
        [
            "anna places/p1 row.changed Dock Mole Written",
            "anna places/p1 row.changed Mole Pier Kept",
            "anna places/p1 row.exists Mole Pier Kept",
        ]
    );
}

#[apply(stores!)]
async fn pull_pages_and_compactions_are_reported(backend: Backend) {
    let (world, host) = hosted(backend, Host::listening());
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    for number in 0..3 {
        let id = format!("p{number}");
        anna.accept(&format!("m{number}"), json!([place(&id, "Quay")])).await;
    }
    anna.accept("m9", json!([erase("p0", "Quay")])).await;
    host.take_events();
    anna.pull_page(2).await;
    anna.pull_page(100).await;
    let read = anna.pull_page(100).await.checkpoint;
    let expected = ["anna/a1 pulled 2 true", "anna/a1 pulled 2 false", "anna/a1 pulled 0 false"];
    assert_eq!(host.take_events(), expected);
    let (_, page) = anna.post("/sync/pull", json!({"checkpoint": read, "limit": 100})).await;
    assert_eq!((&page["has_more"], &page["snapshot_required"]), (&json!(false), &Value::Null));
    assert_eq!(recorded(&host, "anna/a1 pulled").len(), 1, "a plain peer's too");
    world.server.compact().unwrap();
    assert_eq!(recorded(&host, "compacted").len(), 1);
}

#[apply(stores!)]
async fn every_snapshot_reason_is_reported(backend: Backend) {
    let (world, host) = hosted(backend, Host::listening());
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(1).await;
    assert_eq!(recorded(&host, "anna/a1 snapshot"), ["anna/a1 snapshot Initial"]);
    let good = anna.cursor.clone();
    anna.register().await;
    assert_eq!(recorded(&host, "anna/a1 snapshot"), [""; 0], "its cursor is good");
    anna.cursor = String::new();
    assert!(anna.pull_page(1).await.snapshot_required);
    anna.cursor = String::from("not one of ours");
    assert!(anna.pull_page(1).await.snapshot_required);
    anna.register().await;
    let expected = ["Initial", "Epoch", "Epoch"].map(|why| format!("anna/a1 snapshot {why}"));
    assert_eq!(recorded(&host, "anna/a1 snapshot"), expected);
    // The log is compacted before the device returns.
    let mut ben = world.device("ben", "b1").await;
    for number in 0..4 {
        ben.accept(&format!("m{number}"), json!([place(&format!("p{number}"), "Quay")])).await;
    }
    let mut cursor = ben.snapshot_page(None, 1).await.cursor.unwrap();
    cursor.after_id.push('x');
    world.clock.advance(31 * DAY);
    world.server.compact().unwrap();
    anna.cursor = good;
    assert!(anna.pull_page(1).await.snapshot_required);
    anna.register().await;
    let expected = ["Retention", "Retention"].map(|why| format!("anna/a1 snapshot {why}"));
    assert_eq!(recorded(&host, "anna/a1 snapshot"), expected);
    ben.snapshot_page(Some(serde_json::to_value(cursor).unwrap()), 1).await;
    assert_eq!(recorded(&host, "ben/b1 snapshot"), ["ben/b1 snapshot Restart"]);
    let body = json!({"schema_version": 0, "schema_hash": "", "client_id": "plain"});
    anna.post("/sync/register", body).await;
    for checkpoint in [0, 1_000_000] {
        anna.post("/sync/pull", json!({"client_id": "plain", "checkpoint": checkpoint})).await;
    }
    let expected = ["Initial", "Retention"].map(|why| format!("anna/plain snapshot {why}"));
    assert_eq!(recorded(&host, "anna/plain snapshot"), expected);
}

#[apply(stores!)]
async fn outdated_app_is_reported_wherever_it_is_refused(backend: Backend) {
    let (world, host) = hosted_with(backend, Host::listening(), |config| {
        let mut config = standard(config);
        config.min_app_version = Some(String::from("2.0.0"));
        config
    });
    let body =
        json!({"client_id": "a1", "app_version": "1.9.9", "schema_version": 0, "schema_hash": ""});
    let user = ("X-User-ID", "anna");
    let (status, _, _) = world.send("POST", "/sync/register", &[user], body.to_string()).await;
    assert_eq!(status, 426);
    let old = ("X-App-Version", "1.0.0");
    let (status, _, _) = world.send("GET", "/sync/schema", &[user, old], "").await;
    assert_eq!(status, 426);
    assert_eq!(host.take_events(), ["anna/a1 has 1.9.9 not 2.0.0", "anna/- has 1.0.0 not 2.0.0"]);
    let new = ("X-App-Version", "2.0.0");
    world.send("GET", "/sync/schema", &[user, new], "").await;
    assert_eq!(host.take_events(), [""; 0]);
}

/// A device that synced and returns after this many days: the statuses of its register, push and
/// pull, and the lines the host recorded.
async fn comes_back(backend: Backend, host: Host, days: i64) -> (World, Vec<u16>, Vec<String>) {
    let (world, host) = hosted(backend, host);
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    anna.pull().await;
    host.take_events();
    world.clock.advance(days * DAY);
    let mut statuses = Vec::new();
    let hello = json!({"schema_version": 0, "schema_hash": "", "rejoin": {"protocol": 1}});
    statuses.push(anna.post("/sync/register", hello).await.0);
    let group = anna.group("m1", &json!([place("p1", "Quay")]));
    let push = json!({"changes": [], "rejoin": {"epoch": anna.epoch, "groups": [group]}});
    let (status, answer) = anna.post("/sync/push", push).await;
    if status == 403 {
        assert_eq!(
            (&answer["code"], &answer["retryable"]),
            (&json!("client_stale"), &json!(false))
        );
    }
    statuses.push(status);
    statuses.push(anna.post("/sync/pull", json!({"rejoin": {"cursor": anna.cursor}})).await.0);
    let (status, answer) = anna.post("/sync/pull", json!({"checkpoint": 1})).await;
    if status == 403 {
        let words = "this device was away for longer than this server lets in";
        assert_eq!(answer, json!({"error": words}), "to a plain peer");
    }
    statuses.push(status);
    drop(anna);
    let asked = recorded(&host, "anna/a1 was here");
    (world, statuses, asked)
}

#[apply(stores!)]
async fn host_decides_whether_to_admit_a_stale_device(backend: Backend) {
    let (_world, statuses, asked) = comes_back(backend, Host::listening(), 30).await;
    assert_eq!((statuses, asked.len()), (vec![200; 4], 0), "the log is kept for so long");
    let (world, statuses, asked) = comes_back(backend, Host::listening(), 31).await;
    assert_eq!(statuses, [200; 4]);
    let line = "anna/a1 was here 2026-11-20T08:00:00.000000Z";
    assert_eq!(asked, [line, line], "until it has pushed");
    assert_eq!(world.one("SELECT count(*) FROM places"), "1", "its work was done once");
    let shut = Host::shutting_out();
    let (world, statuses, asked) = comes_back(backend, shut, 31).await;
    assert_eq!((statuses, asked.len()), (vec![403; 4], 4));
    assert_eq!(world.one("SELECT count(*) FROM places"), "0");
}
