//! Another program writes the SQLite file over a bare connection without custom functions; all its
//! changes reach devices.
//!
//! SQLite only, with its own SQL (REPLACE, PRAGMAs). `postgres_only/writer.rs` covers PostgreSQL,
//! and `oracle.rs` both.

use rusqlite::Connection;
use serde_json::Value;

use crate::world::{Backend, World};

const SEED: &str = "
    INSERT INTO places(id, owner_id, name) VALUES('p1', 'anna', 'Quay'), ('p2', 'ben', 'Pier');
    INSERT INTO visits(id, place_id, note) VALUES('v1', 'p1', 'x'), ('v2', 'p2', 'y');
    INSERT INTO tags(id, visit_id, label) VALUES(1, 'v1', 'red'), (2, 'v2', 'blue');
";

fn entries(outsider: &Connection) -> Vec<String> {
    let sql = "SELECT bucket || ' ' || t.name || '/' || record_id FROM rejoin_changelog AS c
               JOIN rejoin_table AS t ON t.number = c.table_number ORDER BY seq";
    let mut query = outsider.prepare(sql).unwrap();
    query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn version(outsider: &Connection, id: &str) -> String {
    outsider
        .query_row("SELECT updated_at FROM places WHERE id = ?1", [id], |row| row.get(0))
        .unwrap()
}

#[tokio::test]
async fn cascade_in_sqlite_creates_entries_for_children() {
    let world = World::with(
        Backend::Sqlite,
        "CREATE TABLE places(id TEXT PRIMARY KEY, owner_id TEXT, updated_at TEXT);
         CREATE TABLE visits(id TEXT PRIMARY KEY, updated_at TEXT,
           place_id TEXT REFERENCES places(id) ON DELETE CASCADE ON UPDATE CASCADE);",
        |config| {
            config
                .with_table(rejoin_server::TableConfig::owned("places", "owner_id"))
                .with_table(rejoin_server::TableConfig::child("visits", "places", "place_id"))
        },
    );
    let outsider = world.outsider();
    outsider.pragma_update(None, "foreign_keys", true).unwrap();
    outsider
        .execute_batch(
            "INSERT INTO places(id, owner_id) VALUES('p1', 'anna'), ('p2', 'anna');
             INSERT INTO visits(id, place_id) VALUES('v1', 'p1'), ('v2', 'p2');",
        )
        .unwrap();
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    outsider.execute_batch("DELETE FROM places WHERE id = 'p1'").unwrap();
    assert_eq!(anna.pull().await, ["-places/p1", "-visits/v1"]);
    outsider.execute_batch("UPDATE places SET id = 'p3' WHERE id = 'p2'").unwrap();
    assert_eq!(anna.pull().await, ["places/p3", "visits/v2", "-places/p2"]);
}

#[tokio::test]
async fn one_update_is_one_entry_with_and_without_recursive_triggers() {
    let world = World::new(Backend::Sqlite);
    let outsider = world.outsider();
    for recursive in [false, true] {
        outsider.pragma_update(None, "recursive_triggers", recursive).unwrap();
        outsider.execute_batch("DELETE FROM rejoin_changelog; DELETE FROM places;").unwrap();
        outsider.execute_batch("DELETE FROM rejoin_changelog").unwrap();
        outsider
            .execute_batch("INSERT INTO places(id, owner_id, name) VALUES('p1', 'anna', 'Quay')")
            .unwrap();
        assert_eq!(entries(&outsider), ["user:anna places/p1"]);
        outsider.execute_batch("UPDATE places SET name = 'Pier'").unwrap();
        outsider.execute_batch("UPDATE places SET name = 'Dock'").unwrap();
        assert_eq!(entries(&outsider).len(), 3, "recursive triggers {recursive}");
    }
}

#[tokio::test]
async fn versions_rise_strictly_whatever_the_writer_does() {
    let world = World::new(Backend::Sqlite);
    let outsider = world.outsider();
    outsider
        .execute_batch("INSERT INTO places(id, owner_id, name) VALUES('p1', 'anna', 'Quay')")
        .unwrap();
    let mut last = version(&outsider, "p1");
    for number in 0..200 {
        let statement = match number % 5 {
            0 => "UPDATE places SET name = 'x'",
            1 => "UPDATE places SET updated_at = '1970-01-01T00:00:00.000000Z'",
            2 => "UPDATE places SET name = 'y', updated_at = '9999-01-01T00:00:00.000000Z'",
            3 => "REPLACE INTO places(id, owner_id, name) VALUES('p1', 'anna', 'z')",
            _ => "UPDATE places SET name = name",
        };
        outsider.execute_batch(statement).unwrap();
        let next = version(&outsider, "p1");
        assert!(next > last, "{statement}: {next} after {last}");
        assert!(next.len() == 27 && next.starts_with("20"), "{next}");
        last = next;
    }
}

#[tokio::test]
async fn versions_rise_across_seconds_with_a_stopped_clock() {
    let world = World::new(Backend::Sqlite);
    let outsider = world.outsider();
    outsider
        .execute_batch(
            "INSERT INTO places(id, owner_id, name) VALUES('p1', 'anna', 'Quay');
             UPDATE rejoin_clock SET last = '2999-12-31T23:59:59.999998Z';
             UPDATE places SET name = 'a';",
        )
        .unwrap();
    assert_eq!(version(&outsider, "p1"), "2999-12-31T23:59:59.999999Z");
    outsider.execute_batch("UPDATE places SET name = 'b'").unwrap();
    assert_eq!(version(&outsider, "p1"), "3000-01-01T00:00:00.000000Z");
}

#[tokio::test]
async fn triggers_need_no_custom_functions_or_trust() {
    let world = World::new(Backend::Sqlite);
    let outsider = world.outsider();
    outsider.pragma_update(None, "trusted_schema", false).unwrap();
    outsider.execute_batch(SEED).unwrap();
    outsider.execute_batch("UPDATE places SET owner_id = 'ben'; DELETE FROM places").unwrap();
}

#[tokio::test]
async fn writes_without_triggers_are_detected_at_start() {
    let mut world = World::new(Backend::Sqlite);
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    let cursor = anna.cursor.clone();
    let outsider = world.outsider();
    let triggers: Vec<String> = outsider
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for trigger in triggers {
        outsider.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    outsider.execute_batch(SEED).unwrap();
    world.restart();
    let mut anna = world.device("anna", "a1").await;
    anna.cursor = cursor;
    let page = anna.pull_page(100).await;
    assert_eq!(page.snapshot_reason.as_deref(), Some("checkpoint_before_retention"));
    assert_eq!(anna.snapshot(100).await, ["places/p1", "tags/1", "visits/v1"]);
    assert_eq!(version(&outsider, "p1").len(), 27);
}

#[tokio::test]
async fn invalid_utf8_and_infinities_do_not_block_other_rows() {
    let world = World::new(Backend::Sqlite);
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    world
        .outsider()
        .execute_batch(
            "INSERT INTO places(id, owner_id, name, score) VALUES('p1', 'anna', CAST(x'ff41' AS TEXT), 9e999);
             INSERT INTO places(id, owner_id, name) VALUES('p2', 'anna', 'Pier');",
        )
        .unwrap();
    let rows = anna.pull_rows().await;
    let odd = rows["places/p1"].as_ref().unwrap();
    assert_eq!(odd["name"], "\u{fffd}A");
    assert_eq!(odd["score"], Value::Null);
    assert!(rows["places/p2"].is_some());
}
