//! The rules that the server keeps, each broken on purpose: a story that holds, and does not hold once its rule is broken.
//!
//! Told over both stores, and with row level security. `PredicatesOff` is `trespass.rs`'s; the sequencer (C1) is broken in the
//! words of PostgreSQL in `sequencer.rs`; what the devices have to keep is broken in the stories of `rejoin-tests`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rejoin_protocol::Policy;
use rejoin_protocol::wire::push::{Ending, Verdict};
use rejoin_server::mutant::{self, Mutant};
use rejoin_server::{ActionConfig, Config, TableConfig};
use serde_json::{Value, json};

use crate::world::{Device, TABLES, World, column, is_secured, place, rename, standard};

/// Tells a story as it should be, and once more with a rule broken: then it must not hold.
fn caught<S: Future<Output = ()>>(mutant: Mutant, story: impl Fn() -> S) {
    let tell = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(story());
    };
    tell();
    let broken = catch_unwind(AssertUnwindSafe(|| mutant::with(mutant, tell)));
    assert!(broken.is_err(), "the story holds although {mutant:?} breaks its rule");
}

fn ended(verdict: &Verdict) -> String {
    let code = verdict.code.as_deref().unwrap_or("-");
    format!("{:?} {code}", verdict.verdict).to_lowercase()
}

/// An action that renames p1 and has read this of p2.
async fn reading(device: &mut Device<'_>, read: Value) -> String {
    device.accept("m1", json!([place("p1", "Quay"), place("p2", "Pier")])).await;
    let mut group = device.group("m2", &json!([rename("p1", "Quay", "Dock")]));
    group["old_only"] = json!(true);
    group["reads"] = json!([read]);
    ended(&device.push_group(group).await.0)
}

#[test]
fn o8_what_was_read_is_compared() {
    caught(Mutant::ReadsUncompared, || async {
        let world = World::new();
        let stale = json!({"table_name": "places", "id": "p2", "data": {"name": "Lock"}});
        let ended = reading(&mut world.device("anna", "a1").await, stale).await;
        assert_eq!(ended, "conflict row.changed");
    });
}

#[test]
fn o8_what_was_absent_is_compared() {
    caught(Mutant::AbsentUncompared, || async {
        let world = World::new();
        let absent = json!({"table_name": "places", "id": "p2", "absent": true});
        let ended = reading(&mut world.device("anna", "a1").await, absent).await;
        assert_eq!(ended, "conflict row.exists");
    });
}

#[test]
fn o8_what_the_operator_asks_is_asked() {
    caught(Mutant::ChecksUnasked, || async {
        let world = World::with(TABLES, |config: Config| {
            let leave = ActionConfig::new("leave")
                .with_check("SELECT count(*) > 1 FROM places WHERE deleted_at IS NULL", "too few");
            standard(config).with_action(leave)
        });
        let mut anna = world.device("anna", "a1").await;
        anna.accept("m1", json!([place("p1", "Quay")])).await;
        let mut group = anna.group("m2", &json!([rename("p1", "Quay", "Dock")]));
        group["old_only"] = json!(true);
        group["action"] = json!({"name": "leave", "version": 1});
        assert_eq!(ended(&anna.push_group(group).await.0), "rejected action.check");
    });
}

#[test]
fn o2_a_verdict_is_given_once() {
    caught(Mutant::VerdictForgotten, || async {
        let world = World::new();
        let mut anna = world.device("anna", "a1").await;
        anna.accept("m1", json!([place("p1", "Quay")])).await;
        let mut group = anna.group("m2", &json!([rename("p1", "Quay", "Dock")]));
        group["old_only"] = json!(true);
        for _ in 0..2 {
            assert_eq!(ended(&anna.push_group(group.clone()).await.0), "accepted -");
        }
    });
}

#[test]
fn o3_an_answer_carries_the_rows_as_they_stand() {
    caught(Mutant::ImagesFromBefore, || async {
        let world = World::new();
        let mut anna = world.device("anna", "a1").await;
        anna.accept("m1", json!([place("p1", "Quay")])).await;
        let rows = anna.accept("m2", json!([rename("p1", "Quay", "Dock")])).await;
        assert_eq!(column(&rows[0], "name"), "Dock");
    });
}

#[test]
fn o4_what_stands_on_something_waits_for_it() {
    caught(Mutant::AfterIgnored, || async {
        let world = World::new();
        let mut anna = world.device("anna", "a1").await;
        let mut group = anna.group("m2", &json!([place("p1", "Quay")]));
        group["after"] = json!(["m1"]);
        assert_eq!(anna.push_group(group).await.0.verdict, Ending::Blocked);
    });
}

#[test]
fn o11_time_decides_where_the_later_edit_wins() {
    caught(Mutant::TimeUnasked, || async {
        let world = World::with(TABLES, |config: Config| {
            let places = TableConfig::owned("places", "owner_id");
            config.with_table(places.with_policy(Policy::LastWriteWins))
        });
        let mut anna = world.device("anna", "a1").await;
        anna.accept("m1", json!([place("p1", "Quay")])).await;
        world.clock.advance(3_600_000_000);
        anna.accept("m2", json!([rename("p1", "Quay", "Dock")])).await;
        let mut group = anna.group("m3", &json!([rename("p1", "Quay", "Pier")]));
        group["age_ms"] = json!(1_800_000);
        assert_eq!(ended(&anna.push_group(group).await.0), "conflict row.superseded");
    });
}

/// The database is restored from this backup; the epoch that devices are told afterwards.
async fn restored(world: &mut World, backup: Config, cursor: &str) -> String {
    world.config = backup;
    world.restart();
    let mut anna = world.device("anna", "another").await;
    anna.client_id = String::from("a1");
    cursor.clone_into(&mut anna.cursor);
    let answer = anna.register().await;
    answer["rejoin"]["epoch"].as_str().unwrap().to_owned()
}

#[test]
fn o14_a_cursor_of_another_life_is_found_out() {
    caught(Mutant::OtherLifeUnnoticed, || async {
        let mut world = World::new();
        let mut anna = world.device("anna", "a1").await;
        anna.accept("m1", json!([place("p1", "Quay")])).await;
        let backup = world.backup();
        let mut anna = world.device("anna", "a1").await;
        anna.accept("m2", json!([rename("p1", "Quay", "lost")])).await;
        anna.snapshot(10).await;
        let (cursor, epoch) = (anna.cursor.clone(), anna.epoch.clone());
        assert_ne!(restored(&mut world, backup, &cursor).await, epoch);
    });
}

#[test]
fn o14_what_a_page_has_shown_of_a_lost_time_is_found_out() {
    caught(Mutant::ReadEndForgotten, || async {
        let mut world = World::new();
        let mut anna = world.device("anna", "a1").await;
        anna.snapshot(10).await;
        let cursor = anna.cursor.clone();
        anna.accept("m1", json!([place("p1", "Quay")])).await;
        anna.accept("m2", json!([place("p2", "Pier")])).await;
        // Somebody looks: the backup knows the positions of what is in it.
        world.device("anna", "a2").await.snapshot(10).await;
        let backup = world.backup();
        let mut anna = world.device("anna", "a1").await;
        anna.accept("m3", json!([rename("p1", "Quay", "lost")])).await;
        // The page ends at the first entry, and has its row as it stood later.
        anna.cursor = cursor;
        let page = anna.pull_page(1).await;
        assert!(page.has_more && format!("{page:?}").contains("lost"));
        let (cursor, epoch) = (anna.cursor.clone(), anna.epoch.clone());
        assert_ne!(restored(&mut world, backup, &cursor).await, epoch);
    });
}

#[test]
fn o15_a_parent_that_moves_takes_its_children_along() {
    caught(Mutant::ChildrenLeft, || async {
        let world = World::new();
        world.write(
            "INSERT INTO places(id, owner_id, name) VALUES('p1', 'anna', 'Quay');
             INSERT INTO visits(id, place_id) VALUES('v1', 'p1');
             INSERT INTO tags(id, visit_id) VALUES(1, 'v1')",
        );
        let mut anna = world.device("anna", "a1").await;
        let mut ben = world.device("ben", "b1").await;
        anna.snapshot(10).await;
        ben.snapshot(10).await;
        world.write("UPDATE places SET owner_id = 'ben' WHERE id = 'p1'");
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        assert_eq!(sorted(ben.pull().await), ["places/p1", "tags/1", "visits/v1"]);
        assert_eq!(sorted(anna.pull().await), ["-places/p1", "-tags/1", "-visits/v1"]);
    });
}

/// The tables have changed; the server looks at them, and a device registers.
async fn deployed(world: &mut World) -> Device<'_> {
    if is_secured() {
        // As an operator does.
        world.secure();
    }
    world.device("anna", "a1").await
}

#[test]
fn s1_a_column_made_anew_under_an_old_name_is_another() {
    caught(Mutant::NamesAsTheyAre, || async {
        let mut world = World::new();
        world.write(
            "INSERT INTO places(id, owner_id, name) VALUES('p1', 'anna', 'Quay');
             INSERT INTO visits(id, place_id, note) VALUES('v1', 'p1', 'old')",
        );
        let mut anna = world.device("anna", "a1").await;
        let (version, hash) = (anna.version, anna.hash.clone());
        world.write("ALTER TABLE visits DROP COLUMN note");
        anna = deployed(&mut world).await;
        assert_ne!(anna.version, version);
        world.write("ALTER TABLE visits ADD COLUMN note TEXT");
        anna = deployed(&mut world).await;
        assert_ne!(anna.version, version);
        let change = json!({"operation": "update", "table_name": "visits", "id": "v1",
                            "data": {"note": "new"}, "old": {"note": null}});
        let group = anna.group("m1", &json!([change]));
        let rejoin = json!({"epoch": anna.epoch, "groups": [group], "acked_below": 0});
        let body = json!({"changes": [], "rejoin": rejoin, "schema_version": version, "schema_hash": hash});
        let (status, answer) = anna.post("/sync/push", body).await;
        assert_eq!(status, 200, "{answer}");
        assert_ne!(answer["rejoin"]["verdicts"][0]["verdict"], "accepted");
    });
}

#[test]
fn c2_positions_only_rise_also_once_the_log_is_empty() {
    caught(Mutant::NumbersAgain, || async {
        let world = World::new();
        let mut anna = world.device("anna", "a1").await;
        for number in 0..5 {
            anna.accept(&format!("m{number}"), json!([place(&format!("p{number}"), "x")])).await;
        }
        anna.snapshot(10).await;
        anna.pull().await;
        world.clock.advance(120_000_000);
        anna.pull().await;
        world.server.compact().unwrap();
        world.write("UPDATE places SET name = 'later' WHERE id = 'p3'");
        assert_eq!(anna.pull().await, ["places/p3"]);
    });
}

#[test]
fn c3_what_is_behind_the_log_is_told_to_rebuild() {
    caught(Mutant::WatermarkIgnored, || async {
        let world = World::new();
        let mut anna = world.device("anna", "a1").await;
        anna.accept("m1", json!([place("p1", "x")])).await;
        anna.snapshot(10).await;
        world.write("DELETE FROM places WHERE id = 'p1'");
        world.write("INSERT INTO places(id, owner_id, name) VALUES('p2', 'anna', 'y')");
        // Somebody looks: only what has a position can be forgotten.
        world.device("ben", "b1").await.snapshot(10).await;
        world.clock.advance(40 * 86_400_000_000);
        world.server.compact().unwrap();
        let page = anna.pull_page(10).await;
        assert!(page.snapshot_required, "{page:?}");
    });
}

#[test]
fn c4_a_bucket_that_comes_brings_its_rows() {
    caught(Mutant::BucketsUnwalked, || async {
        let world = World::new();
        world.write("INSERT INTO places(id, owner_id, name) VALUES('b1', 'ben', 'Bens')");
        let mut anna = world.device("anna", "a1").await;
        anna.snapshot(10).await;
        world.server.subscribe("anna", "user:ben").unwrap();
        assert_eq!(anna.pull().await, ["places/b1"]);
        world.server.unsubscribe("anna", "user:ben").unwrap();
        assert_eq!(anna.pull().await, ["-places/b1"]);
    });
}

#[test]
fn c5_the_tail_begins_at_the_first_page() {
    caught(Mutant::FirstPageForgotten, || async {
        let world = World::new();
        let mut anna = world.device("anna", "a1").await;
        anna.accept("m1", json!([place("p1", "x"), place("p2", "x"), place("p3", "x")])).await;
        let first = anna.snapshot_page(None, 2).await;
        world.write("UPDATE places SET name = 'y' WHERE id = 'p1'");
        let cursor = serde_json::to_value(first.cursor.unwrap()).unwrap();
        let last = anna.snapshot_page(Some(cursor), 2).await;
        anna.cursor = last.rejoin.unwrap().pull_cursor;
        assert_eq!(anna.pull().await, ["places/p1"]);
    });
}
