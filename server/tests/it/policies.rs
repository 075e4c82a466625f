//! What a table's policy makes of a change that meets another value than it was made on.

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

/// The change as it is, or asking to go over whatever is there.
async fn push(device: &mut Device<'_>, id: &str, mut change: Value, force: bool) -> String {
    if force {
        change["force"] = json!(true);
    }
    ended(&device.push(id, json!([change])).await.0)
}

#[apply(stores!)]
async fn a_change_goes_over_what_is_there_only_where_the_servers_own_policy_says_so(
    backend: Backend,
) {
    let delete = crate::world::erase("p2", "what nobody wrote");
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

#[apply(stores!)]
async fn nothing_is_forced_onto_rows_that_are_deleted_or_somebody_elses(backend: Backend) {
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
async fn devices_are_told_the_policy_and_plain_peers_are_not(backend: Backend) {
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

/// Places in which the later edit wins, by this tolerance.
fn by_time(backend: Backend, skew_tolerance_ms: u32) -> World {
    World::with(backend, TABLES, |config: Config| {
        let places = TableConfig::owned("places", "owner_id").with_policy(Policy::LastWriteWins);
        config.with_table(TableConfig { skew_tolerance_ms, ..places })
    })
}

/// Pushes what was written so long ago.
async fn aged(device: &mut Device<'_>, id: &str, change: Value, age_ms: i64) -> String {
    let mut group = device.group(id, &json!([change]));
    group["age_ms"] = json!(age_ms);
    ended(&device.push_group(group).await.0)
}

fn erase(old: &str) -> Value {
    delete("places", "p1", &json!({"name": old, "score": 0}))
}

/// `name score` of the place, or nothing.
async fn shown(device: &mut Device<'_>) -> String {
    let rows = device.snapshot_rows().await;
    let Some(Some(row)) = rows.get("places/p1") else { return String::new() };
    format!("{} {}", row["name"].as_str().unwrap(), row["score"])
}

/// Theirs is two hours old when it comes, mine of this age; how mine ended, and what stood before and stands.
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
async fn the_later_edit_wins_in_every_pair(backend: Backend) {
    // Theirs, mine, and what stands if mine is the later and if theirs is; a dash: mine is superseded. Nobody can edit or
    // delete what another has just inserted.
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
            let (ended, before, stands) = meet(backend, theirs, mine, age).await;
            let lost = expected == "-";
            let verdict = if lost { "conflict row.superseded" } else { "accepted -" };
            let expected = if lost { before.as_str() } else { expected };
            let name = format!("{theirs}, {mine}, {age}");
            assert_eq!((ended.as_str(), stands.as_str()), (verdict, expected), "{name}");
        }
    }
}

#[apply(stores!)]
async fn times_are_measured_by_the_servers_clock_and_never_lie_in_the_future(backend: Backend) {
    let world = by_time(backend, 0);
    let mut one = world.device("anna", "a1").await;
    let mut two = world.device("anna", "a2").await;
    one.accept("m0", json!([place("p1", "old")])).await;
    world.clock.advance(9 * HOUR * 1_000);
    // A clock that was put back says that it was written after it was sent: it was written now.
    assert_eq!(aged(&mut one, "m1", rename("p1", "old", "b"), -50 * HOUR).await, "accepted -");
    world.clock.advance(1_000);
    assert_eq!(aged(&mut two, "m2", rename("p1", "old", "c"), 0).await, "accepted -");
    world.clock.advance(1_000);
    // A clock that jumped by fifty years: after what was seen, all the same.
    let row = one.snapshot_rows().await["places/p1"].clone().unwrap();
    let mut seen = rename("p1", "nothing", "d");
    seen["version"] = row["updated_at"].clone();
    assert_eq!(aged(&mut one, "m3", seen, 50 * 365 * 24 * HOUR).await, "accepted -");
    let unseen = rename("p1", "nothing", "e");
    let lost = aged(&mut two, "m4", unseen.clone(), 50 * 365 * 24 * HOUR).await;
    assert_eq!(lost, "conflict row.superseded");
    // Who does not say how old it is is compared: an action, or what is offered again.
    assert_eq!(push(&mut two, "m5", unseen, false).await, "conflict row.changed");
}

#[apply(stores!)]
async fn an_edit_counts_from_when_it_was_written_and_an_outside_writer_from_now(backend: Backend) {
    let world = by_time(backend, 0);
    let mut one = world.device("anna", "a1").await;
    let mut two = world.device("anna", "a2").await;
    one.accept("m0", json!([place("p1", "old")])).await;
    world.clock.advance(9 * HOUR * 1_000);
    assert_eq!(aged(&mut one, "m1", rename("p1", "old", "b"), 3 * HOUR).await, "accepted -");
    // It came here a minute before; it was written an hour after the one that stands.
    world.clock.advance(60_000_000);
    assert_eq!(aged(&mut two, "m2", rename("p1", "old", "c"), 2 * HOUR).await, "accepted -");
    // An older edit of another column merges, and takes the row's time back for nobody.
    assert_eq!(aged(&mut one, "m3", score(0, 5), 8 * HOUR).await, "accepted -");
    let lost = aged(&mut one, "m4", rename("p1", "old", "d"), 5 * HOUR / 2).await;
    assert_eq!(lost, "conflict row.superseded");
    assert_eq!(shown(&mut one).await, "c 5");
    world.write("UPDATE places SET name = 'out'");
    let lost = aged(&mut one, "m5", rename("p1", "c", "e"), HOUR).await;
    assert_eq!(lost, "conflict row.superseded", "what was known of an older version is void");
}

#[apply(stores!)]
async fn time_of_an_edit_is_kept_for_as_long_as_verdicts(backend: Backend) {
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
    // A device that the server did not wait for wrote it an hour after `m1`, and before `m1` arrived.
    let mut copy = world.device("anna", "a3").await;
    assert_eq!(aged(&mut copy, "m2", rename("p1", "old", "c"), 26 * HOUR).await, "accepted -");
    world.clock.advance(91 * 24 * HOUR * 1_000);
    assert_eq!(compact(), 1);
}

#[apply(stores!)]
async fn some_skew_is_tolerated_if_the_table_says_so(backend: Backend) {
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
async fn where_the_server_wins_rows_do_not_merge(backend: Backend) {
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
    // Above an edit of one's own there is no version to name.
    assert_eq!(push(&mut anna, "m5", rename("p1", "old", "b"), false).await, "accepted -");
    let seen = at(delete("places", "p1", &json!({"name": "b", "score": 3})), &first);
    assert_eq!(push(&mut anna, "m6", seen, false).await, "conflict row.changed");
    let headers = [("X-User-ID", "anna"), ("Rejoin-Protocol", "1")];
    let (_, _, schema) = world.send("GET", "/sync/schema", &headers, "").await;
    assert_eq!(schema["tables"][0]["rejoin"]["whole_rows"], true);
}

/// The larger score wins; names are put together; nobody's place is called `no`.
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
                Resolution::Refuse(String::from("nobody's place is called so"))
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
async fn a_resolver_of_the_hosts_decides_what_cannot_be_merged_with_all_the_data(backend: Backend) {
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
    for (number, (name, change, verdict, stands)) in table.into_iter().enumerate() {
        let id = format!("n{number}");
        assert_eq!(push(&mut anna, &id, change, false).await, verdict, "{name}");
        assert_eq!(shown(&mut anna).await, stands, "{name}");
    }
}

/// A plain record's status and reason.
async fn plain(device: &mut Device<'_>, clock: &str, base: Option<&str>) -> String {
    let mut edit = record("update", "p1", &json!({"name": "Dock"}), clock);
    edit["base_updated_at"] = json!(base);
    device.push_records(&json!([edit])).await.concat().replace("p1 ", "")
}

#[apply(stores!)]
async fn plain_peers_go_by_the_tables_policy_and_resolver_too(backend: Backend) {
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
        // A clock that is early, one that is late, and the row as it stands.
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
            let stands = if expected == WON {
                "Quay 0"
            } else if name == "ours" && case < 2 {
                "Quay & Dock 0"
            } else {
                "Dock 0"
            };
            assert_eq!(shown(&mut ours).await, stands, "{name} {case}");
        }
    }
}
