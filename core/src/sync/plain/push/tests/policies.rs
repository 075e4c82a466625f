//! Tests of policies with a plain server: decided on the device, except `LastWriteWins`.

use std::time::Duration;

use rejoin_protocol::{Policy, time};
use serde_json::json;

use super::{Net, World};
use crate::engine::queue::mutation::ParkReason;

/// 2100, later than every edit of the device.
const LATER: i64 = 4_102_444_800_000_000;

fn governed(policy: Policy) -> World {
    let mut world = World::with_note("a");
    world.govern(policy);
    world
}

/// The parked mutations: reason and server code.
fn parked(world: &World) -> Vec<(ParkReason, String)> {
    let of = |one: crate::engine::queue::mutation::Mutation| {
        let detail: serde_json::Value = serde_json::from_str(&one.detail.unwrap()).unwrap();
        (one.reason.unwrap(), detail["code"].as_str().unwrap_or_default().to_owned())
    };
    world.parked().into_iter().map(of).collect()
}

#[test]
fn same_column_conflict_is_resolved_by_the_policy() {
    for (policy, expected, parked) in [
        (Policy::AcceptServer, "theirs", 1),
        (Policy::Rebase, "mine", 0),
        (Policy::KeepLocal, "mine", 0),
        (Policy::Manual, "theirs", 1),
    ] {
        let mut world = governed(policy);
        world.run("UPDATE notes SET body = 'mine'");
        world.server.write("a", &json!({"body": "theirs"}));
        world.settle();
        assert_eq!(world.server.cell("a", "body"), Some(json!(expected)), "{policy:?}");
        assert_eq!(world.parked().len(), parked, "{policy:?}");
        assert_eq!(world.queue().len(), parked, "{policy:?}");
    }
}

#[test]
fn deleted_row_is_restored_only_by_keep_local() {
    for (policy, keys, parked) in [(Policy::Rebase, "", 1), (Policy::KeepLocal, "a", 0)] {
        let mut world = governed(policy);
        world.run("UPDATE notes SET body = 'mine'");
        world.server.delete("a");
        world.settle();
        assert_eq!((world.server.keys().as_str(), world.parked().len()), (keys, parked));
        if parked == 0 {
            assert_eq!(world.server.cell("a", "body"), Some(json!("mine")));
            assert_eq!(world.queue().len(), 0);
        }
    }
}

#[test]
fn client_clock_is_sent_only_for_last_write_wins() {
    for policy in Policy::ALL {
        let mut world = governed(policy);
        world.run("UPDATE notes SET body = 'mine'");
        let written = world.queue()[0].time_ms * 1000;
        world.push(&[Net::Ok]);
        let sent = world.server.received[0][0].client_updated_at.clone();
        let by_time = policy == Policy::LastWriteWins;
        let expected = if by_time { written } else { 0 };
        assert_eq!(time::parse(&sent), Some(expected), "{policy:?}");
    }
}

/// The server compares clocks once: the loser is parked with both rows, and is not sent again.
#[test]
fn last_write_wins_loser_is_parked_and_sent_once() {
    type Change = fn(&mut World);
    let cases: [(Change, &str, &str); 2] = [
        (
            |world| world.server.write("a", &json!({"body": "theirs"})),
            "server_won_conflict",
            "a theirs 0",
        ),
        (|world| world.server.delete("a"), "record_deleted", ""),
    ];
    for pulled_first in [false, true] {
        for (change, code, shown) in cases {
            let mut world = governed(Policy::LastWriteWins);
            world.run("UPDATE notes SET body = 'mine'");
            world.server.plain.clock().set(LATER);
            change(&mut world);
            if pulled_first {
                world.pull(usize::MAX);
                assert_eq!(world.parked().len(), 0, "the device decided");
            }
            world.settle();
            assert_eq!(parked(&world), [(ParkReason::Conflicted, code.to_owned())]);
            assert_eq!((world.shown().as_str(), world.server.received.len()), (shown, 1), "{code}");
            world.crash();
            world.govern(Policy::LastWriteWins);
            world.settle();
            assert_eq!((world.shown().as_str(), world.server.received.len()), (shown, 1), "{code}");
        }
    }
}

#[test]
fn last_write_wins_later_edit_wins() {
    let mut world = governed(Policy::LastWriteWins);
    world.run("UPDATE notes SET body = 'mine'");
    world.server.write("a", &json!({"body": "theirs", "n": 9}));
    world.pull(usize::MAX);
    world.settle();
    assert_eq!((world.shown().as_str(), world.queue().len()), ("a mine 9", 0));
    assert_eq!(world.server.cell("a", "body"), Some(json!("mine")));
}

#[test]
fn last_write_wins_keeps_edits_of_different_columns() {
    let mut world = governed(Policy::LastWriteWins);
    world.run("UPDATE notes SET body = 'mine'");
    world.server.plain.clock().set(LATER);
    world.server.write("a", &json!({"n": 9}));
    world.settle();
    assert_eq!((world.shown().as_str(), world.queue().len()), ("a mine 9", 0));
    assert_eq!(
        (world.server.cell("a", "body"), world.server.received.len()),
        (Some(json!("mine")), 2)
    );
}

/// For a create of an existing row the server compares no clocks: it is retried as an update.
#[test]
fn last_write_wins_compares_creates_of_one_key() {
    for later in [false, true] {
        let mut world = governed(Policy::LastWriteWins);
        world.run("INSERT INTO notes (id, body, n) VALUES ('b', 'mine', 1)");
        if later {
            world.server.plain.clock().set(LATER);
        }
        world.server.write("b", &json!({"body": "theirs", "n": 2}));
        world.settle();
        let (expected, count) = if later { ("b theirs 2", 1) } else { ("b mine 1", 0) };
        assert_eq!(world.shown(), format!("a v0 0; {expected}"));
        assert_eq!((world.queue().len(), world.parked().len()), (count, count));
        assert_eq!(world.server.received.len(), 2, "{:?}", parked(&world));
    }
}

/// Each edit is decided by its own time: one made on the row to which the first lost still wins.
#[test]
fn last_write_wins_decides_each_edit_by_its_own_time() {
    let mut world = governed(Policy::LastWriteWins);
    world.run("UPDATE notes SET body = 'early'");
    let early = world.queue()[0].time_ms * 1000;
    world.server.plain.clock().set(early + 1);
    world.server.write("a", &json!({"body": "theirs"}));
    world.pull(usize::MAX);
    world.host.advance(Duration::from_mins(1));
    world.run("UPDATE notes SET body = 'late', n = 7");
    world.settle();
    assert_eq!(world.parked().len(), 1);
    assert_eq!((world.shown().as_str(), world.queue().len()), ("a late 7", 1));
    assert_eq!(world.server.cell("a", "body"), Some(json!("late")));
}

/// A later edit of another column must not carry an earlier one over a write between them.
#[test]
fn last_write_wins_tells_edits_of_one_record_apart() {
    let mut world = governed(Policy::LastWriteWins);
    world.run("UPDATE notes SET body = 'early'");
    let early = world.queue()[0].time_ms * 1000;
    world.host.advance(Duration::from_mins(1));
    world.run("UPDATE notes SET n = 7");
    world.host.advance(Duration::from_mins(1));
    world.run("UPDATE notes SET n = 8");
    world.server.plain.clock().set(early + 1);
    world.server.write("a", &json!({"body": "theirs", "n": 1}));
    world.settle();
    assert_eq!(parked(&world), [(ParkReason::Conflicted, "server_won_conflict".to_owned())]);
    assert_eq!((world.shown().as_str(), world.queue().len()), ("a theirs 8", 1));
    assert_eq!(world.server.cell("a", "n"), Some(json!(8)));
    assert_eq!(world.server.received.len(), 4);
}

/// An edit made while an earlier one of its row was uncertain does not conflict with it.
#[test]
fn last_write_wins_edit_upon_an_own_edit_is_accepted() {
    for create in [false, true] {
        let mut world = governed(Policy::LastWriteWins);
        let first = if create {
            "INSERT INTO notes (id, body, n) VALUES ('b', 'first', 0)"
        } else {
            "UPDATE notes SET body = 'first'"
        };
        world.server.plain.clock().set(LATER);
        world.run(first);
        world.push(&[Net::AnswerLost]);
        world.run("UPDATE notes SET body = 'second' WHERE body = 'first'");
        world.settle();
        assert_eq!((world.queue().len(), world.parked().len()), (0, 0), "create: {create}");
        let id = if create { "b" } else { "a" };
        assert_eq!(world.server.cell(id, "body"), Some(json!("second")));
        assert!(world.server.received.len() <= 4, "{} pushes", world.server.received.len());
    }
}
