//! Snapshot: pages by key, ranges, the pull cursor, resumption.

use macro_rules_attribute::apply;
use std::collections::BTreeSet;

use rejoin_protocol::wire::snapshot::KeyRange;
use serde_json::json;

use crate::device::Device;
use crate::world::{World, place};

#[apply(secured_stores!)]
async fn integer_keys_sort_by_number_and_text_keys_by_bytes(world: World) {
    world.write(
            "INSERT INTO places(id, owner_id, name) VALUES('p', 'anna', 'x'), ('P', 'anna', 'x'),
               ('p10', 'anna', 'x'), ('p9', 'anna', 'x');
             INSERT INTO visits(id, place_id) VALUES('v', 'p');
             INSERT INTO tags(id, visit_id) VALUES(10, 'v'), (9, 'v'), (-1, 'v'), (9223372036854775807, 'v');",
        );
    let mut anna = world.device("anna", "a1").await;
    for limit in [1, 3, 100] {
        let expected = [
            "places/P",
            "places/p",
            "places/p10",
            "places/p9",
            "tags/-1",
            "tags/9",
            "tags/10",
            "tags/9223372036854775807",
            "visits/v",
        ];
        assert_eq!(anna.snapshot(limit).await, expected);
    }
}

/// The key ranges of all pages cover every table without gap or overlap, and a complete device
/// drops nothing through them, wherever the pages end.
#[apply(secured_stores!)]
async fn ranges_cover_every_key_and_only_rows_of_their_page(world: World) {
    world.write(
        "INSERT INTO places(id, owner_id, name) VALUES('a', 'anna', 'x'), ('b', 'anna', 'x'),
               ('c', 'anna', 'x');
             INSERT INTO visits(id, place_id) VALUES('v', 'a'), ('w', 'b');
             INSERT INTO countries(code) VALUES('FI'), ('NO');",
    );
    let mut anna = world.device("anna", "a1").await;
    let all: BTreeSet<String> = anna.snapshot(100).await.into_iter().collect();
    assert_eq!(all.len(), 7);
    for limit in 1..9 {
        let (mut device, mut ranges) = (all.clone(), Vec::<KeyRange>::new());
        let mut cursor = None;
        loop {
            let page = anna.snapshot_page(cursor, limit).await;
            let rejoin = page.rejoin.unwrap();
            assert_eq!(rejoin.total, 7);
            let rows: BTreeSet<String> =
                crate::world::objects(&rejoin.sets).into_iter().map(|(name, _)| name).collect();
            assert!(rows.len() <= usize::try_from(limit).unwrap());
            device.retain(|name| {
                let (table, id) = name.split_once('/').unwrap();
                let covered = rejoin.ranges.iter().any(|range| {
                    range.table_name == table
                        && range.after.as_deref().is_none_or(|after| id > after)
                        && range.through.as_deref().is_none_or(|through| id <= through)
                });
                !covered || rows.contains(name)
            });
            ranges.extend(rejoin.ranges);
            let Some(next) = page.cursor else { break };
            assert!(page.has_more);
            cursor = Some(serde_json::to_value(next).unwrap());
        }
        assert_eq!(device, all, "pages of {limit}");
        let tables: BTreeSet<&str> = ranges.iter().map(|range| range.table_name.as_str()).collect();
        assert_eq!(tables.len(), 5, "empty tables too");
        for table in tables {
            let own: Vec<_> = ranges.iter().filter(|range| range.table_name == table).collect();
            let ends: Vec<_> = own.iter().map(|range| &range.through).collect();
            let begins: Vec<_> = own.iter().skip(1).map(|range| &range.after).collect();
            assert_eq!((&own[0].after, ends.last()), (&None, Some(&&None)), "{table} by {limit}");
            assert_eq!(begins, ends[..ends.len() - 1], "{table} by {limit}");
        }
    }
}

#[apply(secured_stores!)]
async fn changes_between_pages_come_with_the_next_pull(world: World) {
    let mut anna = world.device("anna", "a1").await;
    for number in 0..4 {
        anna.accept(&format!("m{number}"), json!([place(&format!("p{number}"), "x")])).await;
    }
    let first = anna.snapshot_page(None, 2).await;
    world.write(
        "UPDATE places SET name = 'y' WHERE id = 'p0'; DELETE FROM places WHERE id = 'p1';
             INSERT INTO places(id, owner_id, name) VALUES('o', 'anna', 'late');",
    );
    let cursor = serde_json::to_value(first.cursor.unwrap()).unwrap();
    let second = anna.snapshot_page(Some(cursor), 100).await;
    let (first, second) = (first.rejoin.unwrap(), second.rejoin.unwrap());
    assert_eq!(first.pull_cursor, second.pull_cursor, "the first page's, on every page");
    anna.cursor = second.pull_cursor;
    assert_eq!(anna.pull().await, ["places/o", "places/p0", "-places/p1"]);
}

#[apply(secured_stores!)]
async fn page_that_cannot_be_served_requests_a_restart(world: World) {
    let mut anna = world.device("anna", "a1").await;
    for number in 0..4 {
        anna.accept(&format!("m{number}"), json!([place(&format!("p{number}"), "x")])).await;
    }
    let page = anna.snapshot_page(None, 2).await;
    let cursor = serde_json::to_value(page.cursor.unwrap()).unwrap();
    let resumed = anna.snapshot_page(Some(cursor.clone()), 2).await;
    assert!(!resumed.rejoin.unwrap().restart, "resumable as often as wanted");

    let mut torn = cursor.clone();
    torn["after_id"] = json!("p1");
    assert!(anna.snapshot_page(Some(torn), 2).await.rejoin.unwrap().restart);

    anna.accept("more", json!([place("p9", "x")])).await;
    world.clock.advance(40 * 86_400_000_000);
    world.server.compact().unwrap();
    let page = anna.snapshot_page(Some(cursor.clone()), 2).await;
    let rejoin = page.rejoin.unwrap();
    assert!(rejoin.restart && rejoin.sets.is_empty() && !page.has_more && page.cursor.is_none());

    anna.epoch = String::from("another");
    assert!(anna.snapshot_page(Some(cursor), 2).await.rejoin.unwrap().restart);
}

#[apply(secured_stores!)]
async fn page_has_at_most_ten_thousand_rows_and_a_thousand_for_plain_peers(world: World) {
    world.write(
        "INSERT INTO places(id, owner_id, name) WITH RECURSIVE n(i) AS
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10500)
             SELECT 'p' || (10000 + i), 'anna', 'x' FROM n",
    );
    let mut plain = Device::plain(&world, "anna", "plain").await;
    let (status, page) = plain.post("/sync/snapshot", json!({"limit": 20_000})).await;
    assert_eq!((status, page["records"].as_array().map(Vec::len)), (200, Some(1_000)));
    let mut anna = world.device("anna", "a1").await;
    for (asked, given) in [(20_000, 10_000), (0, 100), (-3, 100), (1, 1)] {
        let page = anna.snapshot_page(None, asked).await;
        let rows: Vec<serde_json::Value> =
            serde_json::from_str(page.rejoin.unwrap().sets[0].rows.get()).unwrap();
        assert_eq!(rows.len(), given, "asked for {asked}");
    }
}
