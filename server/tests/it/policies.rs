//! What a table's policy makes of a change that meets another value than it was made on.

use rejoin_protocol::Policy;
use rejoin_protocol::wire::push::{Ending, Verdict};
use rejoin_server::{Config, TableConfig};
use serde_json::{Value, json};

use crate::world::{Device, TABLES, World, place, rename};

fn with(policy: Policy) -> World {
    World::with(TABLES, |config: Config| {
        config.with_table(TableConfig::owned("places", "owner_id").with_policy(policy))
    })
}

fn ended(verdict: &Verdict) -> String {
    let code = verdict.code.as_deref().unwrap_or("-");
    format!("{:?} {code}", verdict.verdict).to_lowercase()
}

/// The change as it is, or asking to go over whatever is there.
async fn push(device: &mut Device<'_>, id: &str, mut change: Value, force: bool) -> String {
    if force {
        change["force"] = json!(true);
    }
    ended(&device.push(id, json!([change])).await.0)
}

#[tokio::test]
async fn a_change_goes_over_what_is_there_only_where_the_servers_own_policy_says_so() {
    let delete = json!({"operation": "delete", "table_name": "places", "id": "p2",
                        "old": {"name": "what nobody wrote"}});
    let table = [
        (Policy::AcceptServer, "conflict row.changed"),
        (Policy::Rebase, "accepted -"),
        (Policy::KeepLocal, "accepted -"),
        (Policy::Manual, "conflict row.changed"),
    ];
    assert_eq!(table.map(|(policy, _)| policy), Policy::ALL);
    for (policy, forced) in table {
        let world = with(policy);
        let mut anna = world.device("anna", "a1").await;
        anna.accept("m1", json!([place("p1", "Quay"), place("p2", "Pier")])).await;
        let stale = rename("p1", "what nobody wrote", "Dock");
        assert_eq!(push(&mut anna, "m2", stale.clone(), false).await, "conflict row.changed");
        assert_eq!(push(&mut anna, "m3", stale, true).await, forced, "{policy:?}");
        assert_eq!(push(&mut anna, "m4", delete.clone(), false).await, "conflict row.changed");
        assert_eq!(push(&mut anna, "m5", delete.clone(), true).await, forced, "{policy:?}");
        let rows = anna.snapshot_rows().await;
        let name = if forced == "accepted -" { "Dock" } else { "Quay" };
        assert_eq!(rows["places/p1"].as_ref().unwrap()["name"], name, "{policy:?}");
        assert_eq!(rows.contains_key("places/p2"), name == "Quay", "{policy:?}");
    }
}

#[tokio::test]
async fn nothing_is_forced_onto_rows_that_are_deleted_or_somebody_elses() {
    let world = with(Policy::KeepLocal);
    let mut anna = world.device("anna", "a1").await;
    let mut bert = world.device("bert", "b1").await;
    anna.accept("m1", json!([place("p1", "Quay"), place("p2", "Pier")])).await;
    let sees =
        json!({"operation": "delete", "table_name": "places", "id": "p2", "old": {"name": "Pier"}});
    anna.accept("m2", json!([sees])).await;
    let stolen = push(&mut bert, "m3", rename("p1", "Quay", "Mine"), true).await;
    assert_eq!(stolen, "conflict row.not_found");
    let gone = push(&mut anna, "m4", rename("p2", "Pier", "Dock"), true).await;
    assert_eq!(gone, "conflict row.deleted", "only a create brings a row back");
    let whole = push(&mut anna, "m5", place("p2", "Dock"), false).await;
    assert_eq!(whole, "accepted -");
    let moved = json!({"operation": "update", "table_name": "places", "id": "p1",
                       "data": {"owner_id": "bert"}, "old": {}});
    assert_eq!(push(&mut anna, "m6", moved, true).await, "rejected column.protected");
    assert_eq!(Ending::Accepted, anna.push("m7", json!([place("p9", "Last")])).await.0.verdict);
}

#[tokio::test]
async fn devices_are_told_the_policy_and_plain_peers_are_not() {
    let world = with(Policy::Rebase);
    let headers = [("X-User-ID", "anna"), ("Rejoin-Protocol", "1")];
    let (_, _, ours) = world.send("GET", "/sync/schema", &headers, "").await;
    assert_eq!(ours["tables"][0]["rejoin"]["policy"], "rebase");
    let (_, _, plain) = world.send("GET", "/sync/schema", &headers[..1], "").await;
    assert_eq!(plain["tables"][0].get("rejoin"), None);
    assert_eq!(plain["schema_hash"], ours["schema_hash"], "it is no part of the plain schema");
    let silent = with(Policy::AcceptServer);
    let (_, _, silent) = silent.send("GET", "/sync/schema", &headers, "").await;
    assert_eq!(
        silent["tables"][0]["rejoin"].get("policy"),
        None,
        "what is not said is the default"
    );
    assert_ne!(silent["rejoin"]["rules_hash"], ours["rejoin"]["rules_hash"], "devices ask again");
}
