//! Tests of a record on which the server fails: it is isolated and parked alone.

use std::time::Duration;

use rejoin_protocol::wire::push::PushRecord;
use serde_json::json;

use super::{Net, World};
use crate::engine::queue::faults::AGE;
use crate::engine::queue::mutation::ParkReason;
use crate::engine::rebase::decide;
use crate::engine::rows::patch::ColumnPatch;
use crate::sync::backoff::Backoff;

/// How often the server has failed on each record.
fn failures(world: &World) -> Vec<u32> {
    let records = world.engine.queue.records().iter();
    records.map(|record| record.faults.map_or(0, |faults| faults.count)).collect()
}

#[test]
fn poison_record_of_a_hundred_costs_twenty_requests() {
    for bad in [0, 49, 63, 99] {
        let mut world = World::new();
        for n in 0..100 {
            let body = if n == bad { "BAD" } else { "good" };
            world.run(&format!("INSERT INTO notes (id, body) VALUES ('n{n:03}', '{body}')"));
        }
        world.requests = 0;
        world.push(&[Net::Ok]);
        assert!(world.requests <= 20, "{} requests for the one at {bad}", world.requests);
        assert_eq!((world.queue().len(), world.server.count()), (1, 99), "it blocks no other");
        world.requests = 0;
        world.exhaust(&[Net::Ok]);
        assert!(world.requests <= 4, "{} requests in the next two passes", world.requests);
        let [parked] = world.queue().try_into().unwrap();
        assert_eq!((parked.reason, world.server.count()), (Some(ParkReason::Rejected), 99));
        assert_eq!(parked.effect.rows[0].row.key, format!("n{bad:03}").into());
    }
}

#[test]
fn server_that_is_down_parks_nothing() {
    let mut world = World::new();
    world.run("INSERT INTO notes (id, body) VALUES ('b', 'x')");
    for _ in 0..10 {
        world.push(&[Net::Down]);
    }
    assert_eq!((world.parked().len(), failures(&world)), (0, vec![0]));
    world.push(&[Net::Ok]);
    assert_eq!((world.queue().len(), world.server.keys().as_str()), (0, "b"));
}

#[test]
fn two_poison_records_do_not_hide_each_other() {
    let mut world = World::new();
    for (id, body) in [("a", "BAD"), ("b", "good"), ("c", "BAD 2"), ("d", "good")] {
        world.run(&format!("INSERT INTO notes (id, body) VALUES ('{id}', '{body}')"));
    }
    world.push(&[Net::Ok]);
    assert_eq!((world.server.keys().as_str(), world.parked().len()), ("b d", 0));
    world.exhaust(&[Net::Ok]);
    assert_eq!((world.server.keys().as_str(), world.parked().len()), ("b d", 2));
}

#[test]
fn bisection_from_the_front_parks_only_the_failing_record() {
    let mut world = World::new();
    world.run("INSERT INTO notes (id, body) VALUES ('bad', 'BAD')");
    for n in 0..4 {
        world.run(&format!("INSERT INTO notes (id, body) VALUES ('p{n}', 'parent')"));
        world.run(&format!("INSERT INTO items (id, note, body) VALUES ('i{n}', 'p{n}', 'x')"));
    }
    world.push(&[Net::Ok]);
    assert_eq!((world.server.count(), world.parked().len()), (8, 0));
    world.exhaust(&[Net::Ok]);
    assert_eq!((world.server.count(), world.parked().len()), (8, 1));
}

#[test]
fn child_whose_parent_waited_for_a_parked_record_is_sent_again() {
    let mut world = World::unbundled();
    world.run(
        "INSERT INTO notes (id, body) VALUES ('bad', 'BAD'); \
               INSERT INTO notes (id, body) VALUES ('p', 'x')",
    );
    world.run("INSERT INTO items (id, note, body) VALUES ('i', 'p', 'x')");
    world.exhaust(&[Net::Ok]);
    world.push(&[Net::Ok]);
    assert_eq!((world.server.count(), world.parked().len()), (2, 1));
}

/// Found by the simulation: the child reached the fault limit while its parent still waited for a
/// record on which the server failed.
#[test]
fn child_is_not_parked_while_its_parent_waits_for_a_failing_record() {
    let mut world = World::unbundled();
    world.run(
        "INSERT INTO notes (id, body) VALUES ('bad', 'BAD'); \
               INSERT INTO items (id, note, body) VALUES ('ib', 'bad', 'x'); \
               INSERT INTO notes (id, body) VALUES ('p', 'x')",
    );
    world.run("INSERT INTO items (id, note, body) VALUES ('i', 'p', 'x')");
    world.exhaust(&[Net::Ok]);
    world.exhaust(&[Net::Ok]);
    assert_eq!((world.server.count(), world.parked().len()), (2, 1));
}

#[test]
fn answer_500_after_a_commit_is_resolved_by_our_own_row() {
    let mut world = World::new();
    world.run("INSERT INTO notes (id, body) VALUES ('b', 'x')");
    world.push(&[Net::FailedAfterCommit]);
    assert_eq!(
        (world.queue().len(), world.shown().as_str()),
        (0, "b x ."),
        "the last pull did not accept the row"
    );
}

#[test]
fn failure_counts_once_a_pass_after_a_pull_and_survives_a_crash() {
    let mut world = World::new();
    world.run("INSERT INTO notes (id, body) VALUES ('b', 'x')");
    world.push(&[Net::Sick]);
    assert_eq!(failures(&world), [1]);
    world.crash();
    world.engine.set_fault_limit(3, AGE);
    world.push(&[Net::Down]);
    world.push(&[Net::Sick]);
    assert_eq!(failures(&world), [2], "without a pull it does not count");
    world.push(&[Net::Sick]);
    assert_eq!(world.parked().len(), 1);
}

#[test]
fn three_500_within_a_second_park_nothing() {
    let mut world = World::new();
    for n in 0..20 {
        world.run(&format!("INSERT INTO notes (id, body) VALUES ('n{n:02}', 'x')"));
    }
    for _ in 0..3 {
        world.push(&[Net::Sick]);
    }
    assert_eq!((world.queue().len(), world.parked().len()), (20, 0));
    world.push(&[Net::Ok]);
    assert_eq!((world.queue().len(), world.server.count()), (0, 20));
}

/// The passes are as far apart as the driver's backoff, with half of each wait.
#[test]
fn outage_of_a_minute_costs_few_requests_and_parks_nothing() {
    const HALF: u64 = 1 << 63;
    let backoff = Backoff { max_retries: 5, slow: Duration::from_secs(30) };
    let mut world = World::new();
    for n in 0..20 {
        world.run(&format!("INSERT INTO notes (id, body) VALUES ('n{n:02}', 'x')"));
    }
    world.requests = 0;
    let (mut failures, mut passed) = (0, Duration::ZERO);
    while passed < Duration::from_mins(1) {
        world.push(&[Net::Sick]);
        failures += 1;
        let wait = backoff.delay(failures, HALF, None);
        world.host.advance(wait);
        passed += wait;
    }
    world.push(&[Net::Ok]);
    assert_eq!((world.queue().len(), world.server.count()), (0, 20), "{:?}", world.parked());
    assert!(world.requests <= 50, "{} requests in {failures} passes", world.requests);
}

#[test]
fn record_that_fails_for_a_day_is_parked() {
    let mut world = World::new();
    world.run("INSERT INTO notes (id, body) VALUES ('b', 'BAD')");
    for hours in [0, 23, 1] {
        assert_eq!(world.parked().len(), 0);
        world.host.advance(Duration::from_hours(hours));
        world.push(&[Net::Ok]);
    }
    let [parked] = world.parked().try_into().unwrap();
    assert!(parked.detail.unwrap().contains("poison"));
    world.server.plain.heal();
    decide::retry(&mut world.engine, parked.id).unwrap();
    world.push(&[Net::Ok]);
    assert_eq!((world.queue().len(), world.server.keys().as_str()), (0, "b"));
}

/// So many failures in a row end the push: the server may fail on every record.
#[test]
fn failing_records_in_front_do_not_block_later_ones() {
    let mut world = World::new();
    for n in 0..7 {
        world.run(&format!("INSERT INTO notes (id, body) VALUES ('bad{n}', 'BAD')"));
    }
    world.run("INSERT INTO notes (id, body) VALUES ('good', 'x')");
    for _ in 0..3 {
        world.push(&[Net::Ok]);
    }
    assert_eq!(world.server.keys(), "good");
    world.run("INSERT INTO notes (id, body) VALUES ('later', 'x')");
    world.requests = 0;
    world.push(&[Net::Ok]);
    assert_eq!((world.server.keys().as_str(), world.requests), ("good later", 5));
    for _ in 0..5 {
        world.exhaust(&[Net::Ok]);
    }
    assert_eq!((world.parked().len(), world.queue().len()), (7, 7));
}

#[test]
fn dependents_of_a_failing_create_are_parked_because_of_it() {
    let mut world = World::new();
    world.run("INSERT INTO notes (id, body) VALUES ('a', 'BAD')");
    world.limit = 1;
    world.push(&[Net::AnswerLost]);
    world.run("UPDATE notes SET n = 5 WHERE id = 'a'");
    world.run("INSERT INTO items (id, note, body) VALUES ('i', 'a', 'child')");
    world.run("INSERT INTO notes (id, body) VALUES ('z', 'stranger')");
    world.limit = 100;
    world.exhaust(&[Net::Ok]);
    let parked = world.parked();
    assert_eq!(parked.len(), 3);
    assert_eq!(parked[0].reason, Some(ParkReason::Rejected));
    for dependent in &parked[1..] {
        assert_eq!(dependent.reason, Some(ParkReason::Depends));
        assert_eq!(dependent.because_of, Some(parked[0].id));
    }
    assert_eq!(world.server.keys(), "z");
    assert_eq!(world.shown(), "z stranger .");
}

#[test]
fn children_sent_with_a_failing_parent_are_parked_with_it() {
    for together in [false, true] {
        let mut world = World::new();
        let mut sql = vec!["INSERT INTO notes (id, body) VALUES ('a', 'BAD');".to_owned()];
        for n in 0..20 {
            sql.push(format!("INSERT INTO items (id, note, body) VALUES ('i{n:02}', 'a', 'x');"));
        }
        sql.push("INSERT INTO notes (id, body) VALUES ('z', 'stranger');".to_owned());
        if together {
            world.run(&sql.concat());
        } else {
            for one in &sql {
                world.run(one);
            }
        }
        world.requests = 0;
        world.exhaust(&[Net::Ok]);
        assert!(world.requests <= 20, "{} requests", world.requests);
        assert_eq!(world.server.keys(), "z");
        let parked = world.parked();
        let rows: usize = parked.iter().map(|one| one.effect.rows.len()).sum();
        assert_eq!((parked.len(), rows), (if together { 1 } else { 21 }, 21));
    }
}

#[test]
fn edit_of_a_rejected_create_is_never_sent() {
    let mut world = World::new();
    world.server.refused.insert("a".to_owned(), ("rejected_terminal", "table_read_only"));
    world.run("INSERT INTO notes (id, body) VALUES ('a', 'x')");
    world.run("INSERT INTO notes (id, body) VALUES ('b', 'x')");
    world.push(&[Net::AnswerLost]);
    world.run("UPDATE notes SET n = 1");
    world.push(&[Net::Ok]);
    let parked = world.parked();
    assert_eq!(parked[0].reason, Some(ParkReason::Refused));
    assert!(parked[0].detail.as_ref().unwrap().contains("table_read_only"));
    assert!(world.server.received.iter().flatten().all(|c| c.id != "a" || c.operation == "create"));
    assert_eq!(world.server.keys(), "b");
}

#[test]
fn retryable_record_is_parked_at_the_fault_limit() {
    let mut world = World::new();
    world.engine.set_fault_limit(3, AGE);
    world.server.refused.insert("p".to_owned(), ("rejected_retryable", "update_failed"));
    world.run("INSERT INTO notes (id, body) VALUES ('p', 'parent')");
    world.run("INSERT INTO notes (id, body) VALUES ('z', 'stranger')");
    world.push(&[Net::Ok]);
    world.run("INSERT INTO items (id, note, body) VALUES ('i', 'p', 'child')");
    world.run("UPDATE notes SET n = 1 WHERE id = 'z'");
    world.push(&[Net::Ok]);
    assert_eq!(world.server.keys(), "z");
    assert_eq!(
        world.server.cell("z", "n"),
        Some(json!(1)),
        "the waiting record blocked another row"
    );
    assert!(world.server.received.iter().flatten().all(|c| c.id != "i"), "its child was sent");
    assert_eq!(world.parked().len(), 0);
    world.push(&[Net::Ok]);
    let parked = world.parked();
    assert_eq!(parked.len(), 2, "it was not parked with its child after the third try");
    assert!(parked[0].detail.as_ref().unwrap().contains("update_failed"));
}

#[test]
fn unreadable_record_is_parked_in_one_pass() {
    let mut world = World::new();
    world.run("INSERT INTO notes (id, body) VALUES ('a', 'x')");
    world.run("INSERT INTO notes (id, body) VALUES ('b', 'x')");
    world.unreadable = Some("a".to_owned());
    world.push(&[Net::Ok]);
    assert_eq!((world.server.keys().as_str(), world.parked().len()), ("b", 1));
}

#[test]
fn too_large_body_is_halved_and_a_too_large_record_parked() {
    let mut world = World::new();
    let long = "x".repeat(5_000);
    for n in 0..6 {
        let body = if n == 3 { long.as_str() } else { "short" };
        world.run(&format!("INSERT INTO notes (id, body) VALUES ('n{n}', '{body}')"));
    }
    world.largest = Some(3_000);
    world.push(&[Net::Ok]);
    assert_eq!(world.server.keys(), "n0 n1 n2 n4 n5");
    let parked = world.parked();
    assert_eq!(parked[0].reason, Some(ParkReason::Refused));
    assert!(parked[0].detail.as_ref().unwrap().contains("too_large"));
}

#[test]
fn unread_record_may_change_again() {
    let mut world = World::new();
    world.run("INSERT INTO notes (id, body) VALUES ('a', 'x')");
    world.push(&[Net::Unseen]);
    assert_eq!(
        (world.engine.queue.counts().pending, world.engine.queue.records().is_empty()),
        (1, true)
    );
    world.run("DELETE FROM notes");
    world.push(&[Net::Ok]);
    assert_eq!((world.server.received.len(), world.queue().len()), (0, 0));
    world.run("INSERT INTO notes (id, body) VALUES ('b', 'x')");
    world.push(&[Net::AnswerLost]);
    world.push(&[Net::Unseen]);
    assert_eq!(
        world.engine.queue.counts().uncertain,
        1,
        "a record of an earlier request may change"
    );
}

/// Edits of one row are sent as one record; only the edit that the server fails on is parked.
#[test]
fn poison_edit_is_parked_without_others_of_its_row() {
    let cases: [(&[&str], &str); 4] = [
        (&["UPDATE notes SET n = 5", "UPDATE notes SET body = 'BAD'"], "a v0 5"),
        (&["UPDATE notes SET body = 'BAD'", "UPDATE notes SET n = 5"], "a v0 5"),
        (
            &["UPDATE notes SET n = 5", "UPDATE notes SET body = 'BAD'", "UPDATE notes SET n = 6"],
            "a v0 6",
        ),
        (
            &[
                "INSERT INTO notes (id, body) VALUES ('b', 'x')",
                "UPDATE notes SET body = 'BAD' WHERE id = 'b'",
            ],
            "a v0 0; b x .",
        ),
    ];
    for (edits, shown) in cases {
        let mut world = World::with_note("a");
        for sql in edits {
            world.run(sql);
        }
        world.requests = 0;
        world.exhaust(&[Net::Ok]);
        let parked = world.parked();
        assert_eq!((parked.len(), world.queue().len()), (1, 1), "{edits:?}");
        assert_eq!(parked[0].reason, Some(ParkReason::Rejected));
        let bad = |column: &ColumnPatch| column.new == "BAD".into();
        assert!(parked[0].effect.rows.iter().any(|row| row.columns.iter().any(bad)), "{edits:?}");
        assert_eq!(world.shown(), shown);
        world.pull(usize::MAX);
        assert_eq!(world.shown(), shown, "the server lacks the other edits");
        assert!(world.requests <= 20, "{} requests", world.requests);
    }
}

/// Records after it may depend on its row: they stay after the separated create, also after a
/// crash.
#[test]
fn child_of_a_row_with_separated_edits_is_sent_after_it() {
    for is_cut in [false, true] {
        let mut world = World::new();
        world.run("INSERT INTO notes (id, body) VALUES ('a', 'x')");
        world.run("INSERT INTO items (id, note, body) VALUES ('i', 'a', 'child')");
        world.run("UPDATE notes SET body = 'BAD'");
        world.engine.set_fault_limit(3, AGE);
        if is_cut {
            world.push(&[Net::Ok]);
            world.push(&[Net::Ok]);
            // The record of both edits, then the first edit alone.
            world.push(&[Net::Ok, Net::RequestLost]);
            world.crash();
            world.engine.set_fault_limit(3, AGE);
        }
        world.settle();
        assert_eq!(world.received(0), ["create a", "create i"]);
        let is_good =
            |push: &Vec<PushRecord>| push[0].data.as_ref().unwrap().get().contains("\"x\"");
        let good = world.server.received.iter().position(is_good).unwrap();
        assert!(
            world.server.received[..=good].iter().all(|push| push[0].id == "a"),
            "cut: {is_cut}"
        );
        assert_eq!((world.parked().len(), world.server.count()), (1, 2), "cut: {is_cut}");
    }
}

#[test]
fn too_large_edit_is_parked_without_others_of_its_row() {
    let mut world = World::with_note("a");
    world.run("UPDATE notes SET n = 5");
    world.run(&format!("UPDATE notes SET body = '{}'", "x".repeat(5_000)));
    world.largest = Some(3_000);
    world.push(&[Net::Ok]);
    assert_eq!((world.parked().len(), world.queue().len()), (1, 1));
    assert_eq!(world.server.cell("a", "n"), Some(json!(5)));
    assert_eq!(world.server.cell("a", "body"), Some(json!("v0")));
}

/// A row that was pulled earlier was not compared with edits that had no verdict.
#[test]
fn separated_edits_are_compared_with_the_row_first() {
    let mut world = World::with_note("a");
    world.run("UPDATE notes SET n = 5");
    world.run("UPDATE notes SET t = 'mine'");
    world.run("UPDATE notes SET body = 'BAD'");
    world.server.write("a", &json!({"body": "theirs", "n": 9}));
    world.exhaust(&[Net::Ok]);
    assert_eq!((world.parked().len(), world.queue().len()), (2, 2));
    let cells = ["body", "n", "t"].map(|column| world.server.cell("a", column).unwrap());
    assert_eq!(cells, [json!("theirs"), json!(9), json!("mine")]);
}
