//! Tests of discarding mutations that a plain server may have.

use serde_json::json;

use super::{Net, World};
use crate::engine::queue::mutation::MutationState;
use crate::engine::rebase::decide;

/// An update whose response is lost and that is discarded before its verdict.
fn given_up(net: Net) -> World {
    let mut world = World::with_note("a");
    world.run("UPDATE notes SET body = 'v1'");
    world.push(&[net]);
    let id = world.queue()[0].id;
    decide::discard(&mut world.engine, id).unwrap();
    assert_eq!(
        (world.shown().as_str(), world.queue().len()),
        ("a v0 0", 0),
        "the discarded update is still visible"
    );
    world
}

#[test]
fn discarded_update_is_reverted_if_it_was_applied() {
    for net in [Net::AnswerLost, Net::RequestLost] {
        let mut world = given_up(net);
        world.crash();
        world.settle();
        assert_eq!(world.server.cell("a", "body"), Some(json!("v0")), "{net:?}");
        assert_eq!((world.shown().as_str(), world.queue().len()), ("a v0 0", 0), "{net:?}");
        assert!(world.engine.queue.records().is_empty());
    }
}

#[test]
fn discarded_update_stays_frozen_until_pull_or_verdict() {
    let mut world = given_up(Net::AnswerLost);
    world.pull(usize::MAX);
    assert_eq!(world.shown(), "a v0 0", "the pulled update became visible");
    assert_eq!(world.queue().len(), 1);
    world.settle();
    assert_eq!(world.received(1), ["update a"]);
    assert_eq!(world.server.received[1][0].data.as_ref().unwrap().get(), r#"{"body":"v0"}"#);
}

#[test]
fn discard_of_a_create_discards_its_dependents() {
    let mut world = World::new();
    world.run("INSERT INTO notes (id, body) VALUES ('a', 'x')");
    world.run("UPDATE notes SET n = 1");
    world.push(&[Net::AnswerLost]);
    assert_eq!(world.received(0), ["create a"]);
    world.run("UPDATE notes SET n = 2");
    let id = world.queue()[0].id;
    decide::discard(&mut world.engine, id).unwrap();
    assert_eq!(world.shown(), "");
    assert_eq!(
        (world.queue().len(), world.parked().len()),
        (1, 1),
        "the unsent update does not wait"
    );
    world.settle();
    assert_eq!((world.server.keys().as_str(), world.shown().as_str()), ("", ""));
}

#[test]
fn revert_goes_before_later_edits() {
    let mut world = World::with_note("a");
    world.run("UPDATE notes SET body = 'v1', n = 1");
    world.push(&[Net::AnswerLost]);
    world.run("UPDATE notes SET body = 'v2'");
    let id = world.queue()[0].id;
    decide::discard(&mut world.engine, id).unwrap();
    assert_eq!(world.shown(), "a v2 0");
    world.settle();
    assert_eq!((world.shown().as_str(), world.queue().len()), ("a v2 0", 0));
    assert_eq!(world.server.cell("a", "body"), Some(json!("v2")));
    assert_eq!(world.server.cell("a", "n"), Some(json!(0)));
}

#[test]
fn discarded_dependent_leaves_its_other_rows_discardable() {
    let mut world = World::new();
    world.run("INSERT INTO notes (id, body) VALUES ('a', 'x')");
    world.run("UPDATE notes SET n = 1; INSERT INTO notes (id, body) VALUES ('b', 'y')");
    world.limit = 1;
    world.push(&[Net::AnswerLost]);
    let queue = world.queue();
    decide::discard(&mut world.engine, queue[0].id).unwrap();
    assert_eq!((world.shown().as_str(), world.queue().len()), ("b y .", 1));
    assert_eq!(world.queue()[0].state, MutationState::Pending, "its other row was sent");
    decide::discard(&mut world.engine, queue[1].id).unwrap();
    world.settle();
    assert_eq!((world.shown().as_str(), world.server.keys().as_str()), ("", ""));
}

/// The content of one record, the number of discarded mutations, and the remaining row.
#[test]
fn discard_reverses_mutations_of_one_record_alone() {
    let cases: [(&[&str], usize, &str); 3] = [
        (&["UPDATE notes SET body = 'v1'", "UPDATE notes SET body = 'v2', n = 2"], 2, "a v0 0"),
        (&["UPDATE notes SET body = 'v1'", "UPDATE notes SET n = 2"], 1, "a v0 2"),
        (&["DELETE FROM notes"], 1, "a v0 0"),
    ];
    for (writes, discards, left) in cases {
        let mut world = World::with_note("a");
        for write in writes {
            world.run(write);
        }
        world.push(&[Net::AnswerLost]);
        for mutation in world.queue().into_iter().take(discards) {
            decide::discard(&mut world.engine, mutation.id).unwrap();
        }
        assert_eq!(world.shown(), left, "{writes:?}");
        world.settle();
        assert_eq!((world.shown().as_str(), world.queue().len()), (left, 0), "{writes:?}");
        assert_eq!(world.server.cell("a", "body"), Some(json!("v0")), "{writes:?}");
        let n = left.rsplit(' ').next().unwrap();
        assert_eq!(world.server.cell("a", "n").unwrap().to_string(), n, "{writes:?}");
    }
}

#[test]
fn discard_reverses_a_mutation_of_several_rows_row_by_row() {
    let mut world = World::with_note("a");
    world.server.write("b", &json!({"body": "v0", "n": 0, "at": null}));
    world.pull(usize::MAX);
    world.run("UPDATE notes SET body = 'v1'; INSERT INTO notes (id, body) VALUES ('c', 'x')");
    world.push(&[Net::AnswerLost]);
    let id = world.queue()[0].id;
    decide::discard(&mut world.engine, id).unwrap();
    assert_eq!(world.shown(), "a v0 0; b v0 0");
    world.limit = 1;
    world.settle();
    assert_eq!((world.shown().as_str(), world.queue().len()), ("a v0 0; b v0 0", 0));
    assert_eq!(world.server.keys(), "a b");
    assert_eq!(world.server.cell("b", "body"), Some(json!("v0")));
}
