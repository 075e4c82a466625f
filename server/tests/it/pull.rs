//! Pull: changes, deletes, pages, buckets, retention, epochs.

use macro_rules_attribute::apply;
use std::collections::BTreeMap;
use std::ops::Range;

use rejoin_protocol::limits;
use rejoin_protocol::wire::pull::PullResponse;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{Backend, World, named, place, rename};

#[apply(secured_stores!)]
async fn row_changed_often_is_sent_once_in_its_current_state(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    world.write("INSERT INTO places(id, owner_id, name) VALUES('p1', 'anna', 'v0')");
    for number in 0..30 {
        world.write(&format!("UPDATE places SET name = 'v{number}'"));
    }
    let rows = anna.pull_page(1_000).await;
    assert_eq!(named(&rows), ["places/p1"]);
    let cells: Vec<Vec<Value>> =
        serde_json::from_str(rows.rejoin.unwrap().sets[0].rows.get()).unwrap();
    assert!(cells[0].contains(&json!("v29")));
}

#[apply(secured_stores!)]
async fn page_ends_at_the_end_of_a_transaction(world: World) {
    let mut one = world.device("anna", "a1").await;
    let mut two = world.device("anna", "a2").await;
    two.snapshot(100).await;
    let many: Vec<Value> = (0..5).map(|n| place(&format!("p{n}"), "x")).collect();
    one.accept("m1", json!(many)).await;
    one.accept("m2", json!([place("q1", "x"), place("q2", "x")])).await;
    let page = two.pull_page(1).await;
    assert_eq!((named(&page).len(), page.has_more), (5, true));
    assert_eq!(page.rejoin.unwrap().remaining, 2);
    let page = two.pull_page(1).await;
    assert_eq!((named(&page).len(), page.has_more), (2, false));
    world.write(
        "INSERT INTO places(id, owner_id, name) VALUES('r1', 'anna', 'x'), ('r2', 'anna', 'x')",
    );
    if world.database.is_some() {
        // PostgreSQL also knows that an outside statement is one transaction.
        assert_eq!(named(&two.pull_page(1).await), ["places/r1", "places/r2"]);
        return;
    }
    assert_eq!(named(&two.pull_page(1).await), ["places/r1"]);
    assert_eq!(named(&two.pull_page(1).await), ["places/r2"]);
}

#[apply(secured_stores!)]
async fn missing_or_foreign_cursor_needs_a_snapshot(backend: Backend) {
    let world = World::new(backend);
    let mut anna = world.device("anna", "a1").await;
    let page = anna.pull_page(10).await;
    assert_eq!(page.snapshot_reason.as_deref(), Some("initial_sync_required"));
    let other = World::new(backend);
    let mut there = other.device("anna", "a1").await;
    there.snapshot(10).await;
    for cursor in [there.cursor.as_str(), "nonsense", "bm9uc2Vuc2U.00"] {
        anna.cursor = String::from(cursor);
        let page = anna.pull_page(10).await;
        assert_eq!(page.snapshot_reason.as_deref(), Some("epoch_changed"), "{cursor}");
        assert_eq!(page.rejoin.unwrap().epoch, anna.epoch, "no stranger begins an epoch");
    }
}

#[apply(secured_stores!)]
async fn restored_database_is_detected_by_tag_and_starts_epoch(mut world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    anna.snapshot(10).await;
    let backup = world.backup();
    anna.accept("m2", json!([rename("p1", "Quay", "Pier")])).await;
    anna.pull().await;
    let (cursor, epoch) = (anna.cursor.clone(), anna.epoch.clone());

    world.config = backup;
    world.restart();
    // Writes continue in the restored file, past the position of the device.
    let mut ben = world.device("ben", "b1").await;
    assert_eq!(ben.epoch, epoch, "the file has its old epoch");
    for number in 0..5 {
        ben.accept(&format!("b{number}"), json!([place(&format!("b{number}"), "x")])).await;
    }
    let mut anna = world.device("anna", "a1").await;
    anna.cursor = cursor;
    let page = anna.pull_page(10).await;
    assert_eq!(page.snapshot_reason.as_deref(), Some("epoch_changed"));
    let new = page.rejoin.unwrap().epoch;
    assert_ne!(new, epoch);
    let group = anna.group("m3", &json!([place("p3", "x")]));
    let answer = anna.push_groups(json!([group])).await.rejoin.unwrap();
    assert!(answer.verdicts.is_empty());
    assert_eq!(answer.epoch, new);
}

#[apply(secured_stores!)]
async fn register_detects_a_restored_database(mut world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    let backup = world.backup();
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    anna.pull().await;
    let answer = anna.register().await;
    assert_eq!(answer["rejoin"]["cursor_valid"], true);
    let (cursor, epoch) = (anna.cursor.clone(), anna.epoch.clone());
    world.config = backup;
    world.restart();
    let mut anna = world.device("anna", "a1").await;
    anna.cursor = cursor;
    let answer = anna.register().await;
    assert_eq!(answer["rejoin"]["cursor_valid"], false);
    assert_ne!(anna.epoch, epoch);
}

/// The response to a push carries the log tip, and so does the next push.
#[apply(secured_stores!)]
async fn push_to_a_restored_database_starts_a_new_epoch(mut world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    let backup = world.backup();
    let group = anna.group("m1", &json!([place("p1", "Quay")]));
    let tip = anna.push_groups(json!([group])).await.rejoin.unwrap().witness;
    let epoch = anna.epoch.clone();
    world.config = backup;
    world.restart();
    let mut anna = world.device("anna", "a1").await;
    let group = anna.group("m2", &json!([place("p2", "x")]));
    let rejoin = json!({"epoch": epoch, "witness": tip, "groups": [group], "acked_below": 0});
    let (_, answer) = anna.post("/sync/push", json!({"changes": [], "rejoin": rejoin})).await;
    assert!(answer["rejoin"]["verdicts"].as_array().unwrap().is_empty(), "{answer}");
    assert_ne!(answer["rejoin"]["epoch"], epoch);
}

#[apply(secured_stores!)]
async fn row_is_sent_again_on_request(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    anna.pull().await;
    let recheck = json!([{"table_name": "places", "id": "p1"}, {"table_name": "places", "id": "p2"},
                         {"table_name": "nowhere", "id": "x"}]);
    let rejoin = json!({"cursor": anna.cursor, "recheck": recheck});
    let (_, page) = anna.post("/sync/pull", json!({"rejoin": rejoin})).await;
    assert_eq!(named(&serde_json::from_value(page).unwrap()), ["places/p1", "-places/p2"]);
}

/// Subscribed buckets are filled in pages and removed row by row; entries of either are never
/// missed.
#[apply(secured_stores!)]
async fn granted_buckets_fill_and_revoked_buckets_drop_rows(world: World) {
    for number in 0..7 {
        world.write(&format!(
            "INSERT INTO places(id, owner_id, name) VALUES('b{number}', 'ben', 'x')"
        ));
    }
    let mut anna = world.device("anna", "a1").await;
    let mut base: BTreeMap<String, Option<Value>> = anna.snapshot_rows().await;
    let statements = [
        "INSERT INTO rejoin_bucket(user_id, bucket) VALUES('anna', 'user:ben')",
        "UPDATE places SET name = 'changed in the middle' WHERE id = 'b5'",
        "UPDATE places SET owner_id = 'cleo' WHERE id = 'b1'",
        "DELETE FROM rejoin_bucket",
        "INSERT INTO places(id, owner_id, name) VALUES('b9', 'ben', 'not hers')",
        "UPDATE places SET owner_id = 'anna' WHERE id = 'b2'",
        "INSERT INTO rejoin_bucket(user_id, bucket) VALUES('anna', 'user:cleo'), ('anna', 'user:ben')",
        "DELETE FROM rejoin_bucket WHERE bucket = 'user:ben'",
    ];
    for statement in statements {
        // Each page is preceded by a write.
        world.write(statement);
        anna.pull_into(&mut base, 2).await;
    }
    while anna.pull_into(&mut base, 2).await {}
    assert_eq!(base, anna.snapshot_rows().await);
    assert!(base.contains_key("places/b2") && base.contains_key("places/b1"));
}

/// Rows that a device asks for by name may fill its pages. Found by a simulated run.
#[apply(secured_stores!)]
async fn granted_bucket_fills_beside_rows_asked_for_by_name(world: World) {
    world.write("INSERT INTO places(id, owner_id, name) VALUES('b1', 'ben', 'x')");
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    anna.pull().await;
    world.write("INSERT INTO rejoin_bucket(user_id, bucket) VALUES('anna', 'user:ben')");
    let recheck = json!([{"table_name": "places", "id": "p1"}]);
    let mut found = Vec::new();
    loop {
        let ask = json!({"limit": 1, "rejoin": {"cursor": anna.cursor, "recheck": recheck}});
        let (_, page) = anna.post("/sync/pull", ask).await;
        let page: PullResponse = serde_json::from_value(page).unwrap();
        found.extend(named(&page));
        if !page.has_more {
            break;
        }
        let next = page.rejoin.unwrap().cursor;
        assert_ne!(next, anna.cursor, "a page leads nowhere");
        anna.cursor = next;
    }
    assert!(found.contains(&"places/b1".to_owned()), "{found:?}");
}

#[apply(secured_stores!)]
async fn push_response_names_the_readable_buckets(world: World) {
    let mut anna = world.device("anna", "a1").await;
    world.write("INSERT INTO rejoin_bucket(user_id, bucket) VALUES('anna', 'user:ben')");
    let group = anna.group("m1", &json!([place("p1", "x")]));
    let answer = anna.push_groups(json!([group])).await.rejoin.unwrap();
    assert_eq!(answer.held, ["global", "user:anna", "user:ben"]);
}

#[apply(secured_stores!)]
async fn empty_polls_write_nothing(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    let outsider = world.outsider();
    let version = || match world.database {
        Some(_) => world.one("SELECT string_agg(ctid::text || xmin::text, ' ') FROM rejoin_client"),
        None => outsider
            .query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0))
            .unwrap()
            .to_string(),
    };
    let before = version();
    for _ in 0..20 {
        world.clock.advance(1_000_000);
        anna.pull().await;
    }
    assert_eq!(version(), before);
}

#[apply(secured_stores!)]
async fn cursor_has_a_thousand_buckets_and_the_hash_of_more(world: World) {
    let grant = |numbers: Range<u32>| {
        let team = |number: u32| Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes());
        let rows = numbers.map(|number| format!("('anna', 'team:{}')", team(number)));
        let rows = rows.collect::<Vec<_>>().join(", ");
        world.write(&format!("INSERT INTO rejoin_bucket(user_id, bucket) VALUES {rows}"));
    };
    grant(0..1_000);
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    anna.accept("m1", json!([place("p1", "x")])).await;
    assert_eq!(anna.pull().await, ["places/p1"]);
    let end = anna.cursor.clone();
    assert!(anna.pull().await.is_empty());
    assert_eq!(anna.cursor, end, "nothing has changed");
    grant(1_000..1_001);
    assert!(anna.pull().await.is_empty(), "the walk through a bucket without rows");
    assert!(anna.cursor.len() <= limits::CURSOR, "{}", anna.cursor.len());

    grant(1_001..3_000);
    let page = anna.pull_page(10).await;
    assert_eq!(page.snapshot_reason.as_deref(), Some("checkpoint_before_retention"));
    anna.snapshot(10).await;
    assert!(anna.cursor.len() < 1_000, "{}", anna.cursor.len());
    assert!(anna.pull().await.is_empty());
}
