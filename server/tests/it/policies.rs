//! A table's policy and resolver for conflicting changes.

use macro_rules_attribute::apply;
use std::sync::Arc;

use rejoin_protocol::wire::push::Ending;
use rejoin_protocol::wire::push::Operation;
use rejoin_protocol::{Policy, Value as Cell};
use rejoin_server::{Config, Contention, Resolution, Resolve, Resolver, TableConfig};
use serde_json::{Value, json};

use crate::world::{
    Backend, Device, TABLES, World, delete, ended, place, record, rename, score, update,
};

fn with(backend: Backend, policy: Policy) -> World {
    World::with(backend, TABLES, |config: Config| {
        config.with_table(TableConfig::owned("places", "owner_id").with_policy(policy))
    })
}

/// Pushes the change, with `force` if asked.
async fn push(device: &mut Device<'_>, id: &str, mut change: Value, force: bool) -> String {
    if force {
        change["force"] = json!(true);
    }
    ended(&device.push(id, json!([change])).await.0)
}

#[apply(stores!)]
async fn forced_change_overwrites_only_by_server_policy(backend: Backend) {
    let delete = crate::world::erase("p2", "never written");
    let table = [
        (Policy::AcceptServer, "conflict row.changed"),
        (Policy::Rebase, "accepted -"),
        (Policy::KeepLocal, "accepted -"),
        (Policy::Manual, "conflict row.changed"),
        (Policy::LastWriteWins, "conflict row.changed"),
    ];
    assert_eq!(table.map(|(policy, _)| policy), Policy::ALL);
    for (policy, forced) in table {
        let world = with(backend, policy);
        let mut anna = world.device("anna", "a1").await;
        anna.accept("m1", json!([place("p1", "Quay"), place("p2", "Pier")])).await;
        let stale = rename("p1", "never written", "Dock");
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

#[apply(stores!)]
async fn force_does_not_apply_to_deleted_or_foreign_rows(backend: Backend) {
    let world = with(backend, Policy::KeepLocal);
    let mut anna = world.device("anna", "a1").await;
    let mut bert = world.device("bert", "b1").await;
    anna.accept("m1", json!([place("p1", "Quay"), place("p2", "Pier")])).await;
    anna.accept("m2", json!([delete("places", "p2", &json!({"name": "Pier"}))])).await;
    let stolen = push(&mut bert, "m3", rename("p1", "Quay", "Mine"), true).await;
    assert_eq!(stolen, "conflict row.not_found");
    let gone = push(&mut anna, "m4", rename("p2", "Pier", "Dock"), true).await;
    assert_eq!(gone, "conflict row.deleted", "only a create brings a row back");
    let whole = push(&mut anna, "m5", place("p2", "Dock"), false).await;
    assert_eq!(whole, "accepted -");
    let moved = update("places", "p1", &json!({}), &json!({"owner_id": "bert"}));
    assert_eq!(push(&mut anna, "m6", moved, true).await, "rejected column.protected");
    assert_eq!(Ending::Accepted, anna.push("m7", json!([place("p9", "Last")])).await.0.verdict);
}

#[apply(stores!)]
async fn policy_is_sent_to_rejoin_devices_only(backend: Backend) {
    let world = with(backend, Policy::Rebase);
    let headers = [("X-User-ID", "anna"), ("Rejoin-Protocol", "1")];
    let (_, _, ours) = world.send("GET", "/sync/schema", &headers, "").await;
    assert_eq!(ours["tables"][0]["rejoin"]["policy"], "rebase");
    let (_, _, plain) = world.send("GET", "/sync/schema", &headers[..1], "").await;
    assert_eq!(plain["tables"][0].get("rejoin"), None);
    assert_eq!(plain["schema_hash"], ours["schema_hash"], "it is no part of the plain schema");
    let silent = with(backend, Policy::AcceptServer);
    let (_, _, silent) = silent.send("GET", "/sync/schema", &headers, "").await;
    assert_eq!(
        silent["tables"][0]["rejoin"].get("policy"),
        None,
        "what is not said is the default"
    );
    assert_ne!(silent["rejoin"]["rules_hash"], ours["rejoin"]["rules_hash"], "devices ask again");
}

const HOUR: i64 = 3_600_000;

/// A server where the later edit wins, with this tolerance.
fn by_time(backend: Backend, skew_tolerance_ms: u32) -> World {
    World::with(backend, TABLES, |config: Config| {
        let places = TableConfig::owned("places", "owner_id").with_policy(Policy::LastWriteWins);
        config.with_table(TableConfig { skew_tolerance_ms, ..places })
    })
}

/// Pushes a change of this age.
async fn aged(device: &mut Device<'_>, id: &str, change: Value, age_ms: i64) -> String {
    let mut group = device.group(id, &json!([change]));
    group["age_ms"] = json!(age_ms);
    ended(&device.push_group(group).await.0)
}

fn erase(old: &str) -> Value {
    delete("places", "p1", &json!({"name": old, "score": 0}))
}

/// `name score` of the place, or an empty text.
async fn shown(device: &mut Device<'_>) -> String {
    let rows = device.snapshot_rows().await;
    let Some(Some(row)) = rows.get("places/p1") else { return String::new() };
    format!("{} {}", row["name"].as_str().unwrap(), row["score"])
}

/// Pushes `theirs`, two hours old, then `mine` of this age; returns the outcome, and the row before
/// and after.
async fn meet(backend: Backend, theirs: &str, mine: &str, age: i64) -> (String, String, String) {
    let edit = |what: &str, who: &str| match what {
        "insert" => place("p1", who),
        "update" => rename("p1", "old", who),
        "other" => score(0, 7),
        _ => erase("old"),
    };
    let world = by_time(backend, 0);
    let mut one = world.device("anna", "a1").await;
    let mut two = world.device("anna", "a2").await;
    if theirs != "insert" {
        one.accept("m0", json!([place("p1", "old")])).await;
        world.clock.advance(9 * HOUR * 1_000);
    }
    let accepted = aged(&mut one, "m1", edit(theirs, "theirs"), 2 * HOUR).await;
    assert_eq!(accepted, "accepted -", "{theirs}");
    let before = shown(&mut one).await;
    let ended = aged(&mut two, "m2", edit(mine, "mine"), age).await;
    (ended, before, shown(&mut one).await)
}

#[apply(stores!)]
async fn later_edit_wins_in_every_pair(backend: Backend) {
    // Theirs, mine, and the row if mine is later and if theirs is; a dash: mine is superseded. A
    // row that another device has just inserted cannot be edited or deleted.
    let table = [
        ("insert", "insert", "mine 0", "-"),
        ("update", "insert", "mine 0", "-"),
        ("update", "update", "mine 0", "-"),
        ("update", "delete", "", "-"),
        ("other", "insert", "mine 7", "-"),
        ("other", "update", "mine 7", "mine 7"),
        ("other", "delete", "", "-"),
        ("delete", "insert", "mine 0", "mine 0"),
        ("delete", "update", "mine 0", "-"),
        ("delete", "delete", "", ""),
    ];
    for (theirs, mine, later, earlier) in table {
        for (age, expected) in [(HOUR, later), (3 * HOUR, earlier)] {
            let (ended, before, shows) = meet(backend, theirs, mine, age).await;
            let lost = expected == "-";
            let verdict = if lost { "conflict row.superseded" } else { "accepted -" };
            let expected = if lost { before.as_str() } else { expected };
            let name = format!("{theirs}, {mine}, {age}");
            assert_eq!((ended.as_str(), shows.as_str()), (verdict, expected), "{name}");
        }
    }
}

#[apply(stores!)]
async fn edit_times_use_the_server_clock_and_are_never_future(backend: Backend) {
    let world = by_time(backend, 0);
    let mut one = world.device("anna", "a1").await;
    let mut two = world.device("anna", "a2").await;
    one.accept("m0", json!([place("p1", "old")])).await;
    world.clock.advance(9 * HOUR * 1_000);
    // A clock that was set back reports a negative age: the edit counts as made now.
    assert_eq!(aged(&mut one, "m1", rename("p1", "old", "b"), -50 * HOUR).await, "accepted -");
    world.clock.advance(1_000);
    assert_eq!(aged(&mut two, "m2", rename("p1", "old", "c"), 0).await, "accepted -");
    world.clock.advance(1_000);
    // A clock that jumped by fifty years: the edit still counts as made after the version it was
    // based on.
    let row = one.snapshot_rows().await["places/p1"].clone().unwrap();
    let mut seen = rename("p1", "nothing", "d");
    seen["version"] = row["updated_at"].clone();
    assert_eq!(aged(&mut one, "m3", seen, 50 * 365 * 24 * HOUR).await, "accepted -");
    let unseen = rename("p1", "nothing", "e");
    let lost = aged(&mut two, "m4", unseen.clone(), 50 * 365 * 24 * HOUR).await;
    assert_eq!(lost, "conflict row.superseded");
    // Without an age the change is compared: an action, or a re-offered mutation.
    assert_eq!(push(&mut two, "m5", unseen, false).await, "conflict row.changed");
}

#[apply(stores!)]
async fn edit_counts_from_its_own_time_outside_write_from_now(backend: Backend) {
    let world = by_time(backend, 0);
    let mut one = world.device("anna", "a1").await;
    let mut two = world.device("anna", "a2").await;
    one.accept("m0", json!([place("p1", "old")])).await;
    world.clock.advance(9 * HOUR * 1_000);
    assert_eq!(aged(&mut one, "m1", rename("p1", "old", "b"), 3 * HOUR).await, "accepted -");
    // It arrived a minute earlier, but was made an hour after the stored edit.
    world.clock.advance(60_000_000);
    assert_eq!(aged(&mut two, "m2", rename("p1", "old", "c"), 2 * HOUR).await, "accepted -");
    // An older edit of another column merges and does not lower the row's time.
    assert_eq!(aged(&mut one, "m3", score(0, 5), 8 * HOUR).await, "accepted -");
    let lost = aged(&mut one, "m4", rename("p1", "old", "d"), 5 * HOUR / 2).await;
    assert_eq!(lost, "conflict row.superseded");
    assert_eq!(shown(&mut one).await, "c 5");
    world.write("UPDATE places SET name = 'out'");
    let lost = aged(&mut one, "m5", rename("p1", "c", "e"), HOUR).await;
    assert_eq!(lost, "conflict row.superseded", "what was known of an older version is void");
}

#[apply(stores!)]
async fn edit_times_are_kept_as_long_as_verdicts(backend: Backend) {
    let world = by_time(backend, 0);
    let mut one = world.device("anna", "a1").await;
    let mut two = world.device("anna", "a2").await;
    one.accept("m0", json!([place("p1", "old")])).await;
    one.snapshot(10).await;
    two.snapshot(10).await;
    world.clock.advance(9 * HOUR * 1_000);
    assert_eq!(aged(&mut one, "m1", rename("p1", "old", "b"), 3 * HOUR).await, "accepted -");
    let compact = || world.server.compact().unwrap().times;
    world.clock.advance(24 * HOUR * 1_000);
    for _ in 0..2 {
        world.clock.advance(2 * 60_000_000);
        one.pull().await;
        two.pull().await;
    }
    assert_eq!(compact(), 0);
    // A device that the server did not wait for made it an hour after `m1`, and before `m1`
    // arrived.
    let mut copy = world.device("anna", "a3").await;
    assert_eq!(aged(&mut copy, "m2", rename("p1", "old", "c"), 26 * HOUR).await, "accepted -");
    world.clock.advance(91 * 24 * HOUR * 1_000);
    assert_eq!(compact(), 1);
}

#[apply(stores!)]
async fn configured_skew_is_tolerated(backend: Backend) {
    for (tolerance, ended) in [(0, "conflict row.superseded"), (2_000, "accepted -")] {
        let world = by_time(backend, tolerance);
        let mut one = world.device("anna", "a1").await;
        one.accept("m0", json!([place("p1", "old")])).await;
        world.clock.advance(1_000_000);
        one.accept("m1", json!([rename("p1", "old", "b")])).await;
        let mine = aged(&mut one, "m2", rename("p1", "old", "c"), 1_000).await;
        assert_eq!(mine, ended, "{tolerance}");
    }
}

#[apply(stores!)]
async fn server_wins_policy_disables_column_merge(backend: Backend) {
    let world = World::with(backend, TABLES, |config: Config| {
        let places = TableConfig::owned("places", "owner_id").with_resolver(Resolve::ServerWins);
        config.with_table(places)
    });
    let mut anna = world.device("anna", "a1").await;
    let rows = anna.accept("m1", json!([place("p1", "old")])).await;
    let first = rows[0].updated_at.clone().unwrap();
    let at = |mut change: Value, version: &str| {
        change["version"] = json!(version);
        change
    };
    assert_eq!(push(&mut anna, "m2", at(score(0, 3), &first), false).await, "accepted -");
    let other = at(rename("p1", "old", "b"), &first);
    assert_eq!(push(&mut anna, "m3", other, false).await, "conflict row.changed");
    let so_already = at(score(1, 3), &first);
    assert_eq!(push(&mut anna, "m4", so_already, false).await, "accepted -");
    // After a device's own edit there is no version to name.
    assert_eq!(push(&mut anna, "m5", rename("p1", "old", "b"), false).await, "accepted -");
    let seen = at(delete("places", "p1", &json!({"name": "b", "score": 3})), &first);
    assert_eq!(push(&mut anna, "m6", seen, false).await, "conflict row.changed");
    let headers = [("X-User-ID", "anna"), ("Rejoin-Protocol", "1")];
    let (_, _, schema) = world.send("GET", "/sync/schema", &headers, "").await;
    assert_eq!(schema["tables"][0]["rejoin"]["whole_rows"], true);
}

/// The larger score wins; names are concatenated; the name `no` is rejected.
#[derive(Debug)]
struct Ours;

impl Resolver for Ours {
    fn resolve(&self, contention: &Contention<'_>) -> Resolution {
        assert_eq!((contention.table, contention.user), ("places", "anna"));
        if contention.operation == Operation::Delete || contention.is_deleted {
            return Resolution::Apply;
        }
        match (contention.sent.get("name"), contention.sent.get("score")) {
            (Some(name), _) if name.as_text() == Some("no") => {
                Resolution::Refuse(String::from("the name is not allowed"))
            }
            (Some(name), _) if name.as_text() == Some("wrong") => {
                Resolution::Write(vec![(String::from("owner_id"), Cell::from("bert"))])
            }
            (Some(name), _) => {
                let present = contention.present["name"].as_text().unwrap();
                let both = format!("{present} & {}", name.as_text().unwrap());
                Resolution::Write(vec![(String::from("name"), both.into())])
            }
            (None, Some(Cell::Integer(score))) => match contention.present["score"] {
                Cell::Integer(present) if present < score => Resolution::Apply,
                _ => Resolution::Conflict,
            },
            _ => Resolution::Conflict,
        }
    }
}

#[apply(stores!)]
async fn host_resolver_decides_unmergeable_changes(backend: Backend) {
    let world = World::with(backend, TABLES, |config: Config| {
        let ours = Resolve::Custom(Arc::new(Ours));
        config.with_table(TableConfig::owned("places", "owner_id").with_resolver(ours))
    });
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    let table = [
        ("merged as ever", rename("p1", "Quay", "Pier"), "accepted -", "Pier 0"),
        ("put together", rename("p1", "Quay", "Dock"), "accepted -", "Pier & Dock 0"),
        ("refused", rename("p1", "Quay", "no"), "rejected resolver.refused", "Pier & Dock 0"),
        ("a fault of its own", rename("p1", "Quay", "wrong"), "retry transient", "Pier & Dock 0"),
        ("wins", score(9, 4), "accepted -", "Pier & Dock 4"),
        ("loses", score(9, 2), "conflict row.changed", "Pier & Dock 4"),
        ("a create", place("p1", "Mole"), "accepted -", "Pier & Dock & Mole 4"),
        ("a delete", erase("Quay"), "accepted -", ""),
        ("an edit of what is deleted", rename("p1", "Quay", "Back"), "accepted -", "Back 4"),
    ];
    for (number, (name, change, verdict, shows)) in table.into_iter().enumerate() {
        let id = format!("n{number}");
        assert_eq!(push(&mut anna, &id, change, false).await, verdict, "{name}");
        assert_eq!(shown(&mut anna).await, shows, "{name}");
    }
}

/// The status and reason of a plain record.
async fn plain(device: &mut Device<'_>, clock: &str, base: Option<&str>) -> String {
    let mut edit = record("update", "p1", &json!({"name": "Dock"}), clock);
    edit["base_updated_at"] = json!(base);
    device.push_records(&json!([edit])).await.concat().replace("p1 ", "")
}

#[apply(stores!)]
async fn plain_peers_follow_policy_and_resolver(backend: Backend) {
    const WON: &str = "conflict server_won_conflict";
    let (early, late) = ("2026-11-20T07:00:00Z", "2100-01-01T00:00:00Z");
    let stale = Some("2026-11-19T00:00:00Z");
    let of = |policy, resolver: Resolve| {
        World::with(backend, TABLES, move |config: Config| {
            let places = TableConfig::owned("places", "owner_id").with_policy(policy);
            config.with_table(places.with_resolver(resolver.clone()))
        })
    };
    let table: [(&str, Policy, Resolve, [&str; 3]); 4] = [
        // An early clock, a late one, and the stored row.
        ("v0.1.2", Policy::AcceptServer, Resolve::ColumnMerge, [WON, "applied -", "applied -"]),
        ("by time", Policy::LastWriteWins, Resolve::ColumnMerge, [WON, "applied -", "applied -"]),
        ("server wins", Policy::AcceptServer, Resolve::ServerWins, [WON, WON, "applied -"]),
        (
            "ours",
            Policy::AcceptServer,
            Resolve::Custom(Arc::new(Ours)),
            ["applied -", "applied -", "applied -"],
        ),
    ];
    for (name, policy, resolver, expected) in table {
        for (case, expected) in expected.into_iter().enumerate() {
            let world = of(policy, resolver.clone());
            let mut ours = world.device("anna", "a1").await;
            let rows = ours.accept("m1", json!([place("p1", "Quay")])).await;
            world.clock.advance(1_000_000);
            let mut peer = Device::plain(&world, "anna", "plain").await;
            let version = rows[0].updated_at.clone();
            let (clock, base) = [(early, stale), (late, stale), (early, version.as_deref())][case];
            let ended = plain(&mut peer, clock, base).await;
            assert_eq!(ended, expected, "{name} {case}");
            let shows = if expected == WON {
                "Quay 0"
            } else if name == "ours" && case < 2 {
                "Quay & Dock 0"
            } else {
                "Dock 0"
            };
            assert_eq!(shown(&mut ours).await, shows, "{name} {case}");
        }
    }
}
