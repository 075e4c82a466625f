//! Tests of sent records without a response: they do not change until their verdict.

use rejoin_protocol::Policy;
use serde_json::json;

use super::server::Server;
use super::{Net, World};
use crate::engine::queue::mutation::{MutationState, ParkReason};
use crate::engine::queue::{Awaiting, store};
use crate::engine::rebase::decide;
use crate::engine::rebase::import;
use crate::sync::rows::fact;
use crate::value::Value;

#[test]
fn conflict_with_our_own_row_is_the_lost_acceptance() {
    let mut world = World::with_note("a");
    world.run("UPDATE notes SET body = 'v1'");
    world.push(&[Net::AnswerLost]);
    assert_eq!(world.queue()[0].state, MutationState::Uncertain);
    world.push(&[Net::Ok]);
    assert!(world.queue().is_empty(), "the edit was not accepted");
    assert_eq!(world.shown(), "a v1 0");
    assert_eq!(
        world.server.received[0][0].base_updated_at,
        world.server.received[1][0].base_updated_at
    );
}

/// A create has no base to compare: only the row itself shows that it was accepted.
#[test]
fn create_with_a_lost_response_is_recognised_by_its_row() {
    let mut world = World::new();
    world.run("INSERT INTO notes (id, body, n, at) VALUES ('a', 'x', 1, '2026-01-01 08:00:00')");
    world.push(&[Net::AnswerLost]);
    world.run("UPDATE notes SET body = 'y'");
    world.push(&[Net::Ok]);
    let end = (world.queue().len(), world.server.cell("a", "body"), world.server.received.len());
    assert_eq!(end, (0, Some(json!("y")), 3), "times were not compared as instants");
}

/// Keys of UUID version 7, as the engine creates them, and of version 4.
const RANDOM: [&str; 2] =
    ["019b7700-0000-7a3c-9e21-5d0c6f1b2a34", "5bd5cb3e-6b0d-4f6a-9c4e-0d9b2a7f1c55"];

/// A row with a random key is ours, even if another client changed it later.
#[test]
fn create_with_a_random_key_is_accepted_as_it_was_changed() {
    for (policy, key) in Policy::ALL.iter().flat_map(|policy| RANDOM.map(|key| (*policy, key))) {
        for pulled_first in [false, true] {
            let mut world = World::new();
            world.govern(policy);
            world.run(&format!("INSERT INTO notes (id, body, n) VALUES ('{key}', 'mine', 1)"));
            world.push(&[Net::AnswerLost]);
            world.server.write(key, &json!({"body": "theirs"}));
            if pulled_first {
                world.pull(usize::MAX);
            }
            world.settle();
            assert_eq!((world.queue().len(), world.server.count()), (0, 1), "{policy:?}");
            assert_eq!(world.shown(), format!("{key} theirs 1"), "{policy:?}");
            assert_eq!(world.server.cell(key, "body"), Some(json!("theirs")), "{policy:?}");
        }
    }
}

#[test]
fn discarded_create_with_a_random_key_is_removed() {
    let mut world = World::new();
    world.run(&format!("INSERT INTO notes (id, body) VALUES ('{}', 'mine')", RANDOM[0]));
    world.push(&[Net::AnswerLost]);
    world.server.write(RANDOM[0], &json!({"n": 2}));
    let id = world.queue()[0].id;
    decide::discard(&mut world.engine, id).unwrap();
    world.settle();
    assert_eq!((world.server.keys().as_str(), world.queue().len()), ("", 0));
}

/// A key that apps choose may collide with a foreign row. Found by simulation (world 10603915 of
/// plain): the edit named the owner, which the server fills in, so its own row was not recognised.
#[test]
fn create_that_overwrote_a_row_is_recognised_by_its_row() {
    for (net, gives_up) in
        [(Net::AnswerLost, false), (Net::AnswerLost, true), (Net::RequestLost, true)]
    {
        let mut world = World::new();
        world.govern(Policy::Rebase);
        world.run("INSERT INTO notes (id, body) VALUES ('a', 'mine')");
        world.server.write("a", &json!({"body": "theirs"}));
        world.push(&[Net::Ok, net]);
        let id = world.queue()[0].id;
        if gives_up {
            decide::discard(&mut world.engine, id).unwrap();
        }
        world.settle();
        let body = if gives_up { "theirs" } else { "mine" };
        assert_eq!(world.server.cell("a", "body"), Some(json!(body)));
        assert!(world.queue().is_empty(), "{:?}", world.queue());
    }
}

#[test]
fn create_that_may_meet_a_foreign_row_is_compared() {
    for (key, net) in [("b", Net::RequestLost), (RANDOM[0], Net::Unseen)] {
        let mut world = World::new();
        world.run(&format!("INSERT INTO notes (id, body) VALUES ('{key}', 'mine')"));
        world.push(&[net]);
        world.server.write(key, &json!({"body": "theirs"}));
        world.settle();
        assert_eq!(world.parked()[0].reason, Some(ParkReason::Conflicted), "{key}");
        assert_eq!(world.shown(), format!("{key} theirs ."));
    }
}

/// A deleted and recreated row may be a foreign one.
#[test]
fn create_under_a_key_that_was_used_before_is_compared() {
    let mut world = World::with_note(RANDOM[0]);
    world.run("DELETE FROM notes");
    world.push(&[Net::Ok]);
    world.run(&format!("INSERT INTO notes (id, body) VALUES ('{}', 'mine')", RANDOM[0]));
    world.push(&[Net::RequestLost]);
    world.server.write(RANDOM[0], &json!({"body": "theirs"}));
    world.settle();
    assert_eq!(world.parked()[0].reason, Some(ParkReason::Conflicted));
}

/// Another device has created the deleted row again, and this one has not pulled that.
#[test]
fn create_of_a_row_that_was_pulled_before_is_compared() {
    for policy in [Policy::AcceptServer, Policy::Manual] {
        for key in RANDOM {
            let mut world = World::with_note(key);
            world.govern(policy);
            fact::write(&mut world.engine, &[fact::fact(fact::PEER, fact::PLAIN)]).unwrap();
            world.server.delete(key);
            world.pull(usize::MAX);
            assert_eq!(world.shown(), "");
            world.server.write(key, &json!({"body": "theirs", "n": 2}));
            world.run(&format!("INSERT INTO notes (id, body, n) VALUES ('{key}', 'mine', 1)"));
            world.push(&[Net::RequestLost]);
            world.crash();
            world.govern(policy);
            world.settle();
            assert_eq!(world.parked()[0].reason, Some(ParkReason::Conflicted), "{policy:?}");
            assert_eq!(world.shown(), format!("{key} theirs 2"));
        }
    }
}

#[test]
fn pull_does_not_resolve_an_uncertain_edit() {
    let mut world = World::with_note("a");
    world.run("UPDATE notes SET body = 'v1'");
    world.push(&[Net::AnswerLost]);
    world.server.write("a", &json!({"body": "theirs"}));
    world.pull(usize::MAX);
    assert_eq!((world.shown(), world.parked().len()), ("a v1 0".to_owned(), 0));
    world.push(&[Net::Ok]);
    let parked = world.parked().remove(0);
    assert_eq!(parked.reason, Some(ParkReason::Conflicted), "the undecidable edit was not parked");
    assert!(parked.detail.unwrap().contains("server_won_conflict"), "the server's code is missing");
    assert_eq!(world.shown(), "a theirs 0");
}

#[test]
fn disjoint_columns_are_sent_again_on_the_new_base() {
    let mut world = World::with_note("a");
    world.run("UPDATE notes SET body = 'mine'");
    world.server.write("a", &json!({"n": 9}));
    world.push(&[Net::Ok]);
    assert_eq!(world.received(0), ["update a"]);
    assert_eq!(world.received(1), ["update a"]);
    assert_eq!(world.server.received[1][0].data.as_ref().unwrap().get(), r#"{"body":"mine"}"#);
    assert!(world.queue().is_empty());
    assert_eq!(world.shown(), "a mine 9");
}

#[test]
fn frozen_records_are_sent_unchanged_after_a_crash() {
    let mut world = World::with_note("a");
    world.run("UPDATE notes SET body = 'v1'; INSERT INTO notes (id, body) VALUES ('b', 'x')");
    world.push(&[Net::AnswerLost]);
    world.run("UPDATE notes SET body = 'later'");
    world.crash();
    assert_eq!(world.engine.queue.counts().uncertain, 1);
    world.push(&[Net::AnswerLost]);
    let text = |push: usize| serde_json::to_string(&world.server.received[push]).unwrap();
    assert_eq!(text(0), text(1));
    world.settle();
    assert_eq!(world.shown(), "a later 0; b later .");
    assert_eq!(world.server.cell("b", "body"), Some(json!("later")));
}

#[test]
fn logged_delete_does_not_accept_an_uncertain_delete() {
    let mut world = World::with_note("a");
    world.server.delete("a");
    world.server.write("a", &json!({"body": "back"}));
    world.run("DELETE FROM notes");
    world.push(&[Net::RequestLost]);
    world.pull(1);
    assert_eq!(world.queue().len(), 1, "a foreign delete accepted our own");
    world.settle();
    assert_eq!(world.server.keys(), "", "the delete was not applied");
    assert!(world.queue().is_empty());
}

#[test]
fn unsent_create_and_delete_need_no_request() {
    let mut world = World::new();
    world.run("INSERT INTO notes (id, body) VALUES ('a', 'x')");
    world.run("DELETE FROM notes");
    let ids: Vec<_> = world.queue().iter().map(|mutation| mutation.id).collect();
    world.push(&[Net::Ok]);
    assert_eq!((world.server.received.len(), world.queue().len()), (0, 0));
    for id in ids {
        assert!(world.engine.was_accepted(id).unwrap());
    }
}

#[test]
fn row_with_an_unchanged_version_takes_every_image() {
    let mut world = World::with_note_on(Server::new(true), "a");
    world.run("UPDATE notes SET body = 'v1'");
    world.push(&[Net::AnswerLost]);
    world.push(&[Net::Ok]);
    assert!(world.queue().is_empty(), "the update is still queued");
    world.server.write("a", &json!({"n": 5}));
    world.pull(usize::MAX);
    assert_eq!(world.shown(), "a v1 5");
}

/// Another client restores the deleted row of a create's id, and the row keeps its version.
#[test]
fn create_of_a_restored_row_is_resolved_by_the_policy() {
    for (policy, body, parked) in [(Policy::Rebase, "mine", 0), (Policy::AcceptServer, "theirs", 1)]
    {
        let mut world = World::with_note_on(Server::new(true), "a");
        world.govern(policy);
        world.run("DELETE FROM notes WHERE id = 'a'");
        world.push(&[Net::Ok]);
        world.run("INSERT INTO notes (id, body) VALUES ('a', 'mine')");
        world.push(&[Net::Ok, Net::RequestLost]);
        world.server.write("a", &json!({"body": "theirs"}));
        world.settle();
        assert_eq!(world.server.cell("a", "body"), Some(json!(body)), "{policy:?}");
        assert_eq!(world.parked().len(), parked);
    }
}

#[test]
fn integers_beyond_a_double_are_exact() {
    let mut world = World::with_note("a");
    world.run("UPDATE notes SET n = 9007199254740993");
    world.push(&[Net::AnswerLost]);
    assert_eq!(world.server.cell("a", "n"), Some(json!(9_007_199_254_740_993_i64)));
    world.push(&[Net::Ok]);
    assert!(world.queue().is_empty());
    assert_eq!(world.note("a", "n"), Some(Value::Integer(9_007_199_254_740_993)));
}

#[test]
fn rejection_of_the_current_version_is_not_retried() {
    let mut world = World::with_note("a");
    world.server.refused.insert("a".to_owned(), ("conflict", "server_won_conflict"));
    world.run("UPDATE notes SET body = 'mine'");
    world.push(&[Net::Ok]);
    assert_eq!(world.server.received.len(), 1);
    assert_eq!(world.parked()[0].reason, Some(ParkReason::Conflicted));
    assert_eq!(world.shown(), "a v0 0");
}

#[test]
fn update_of_a_missing_row_is_parked_and_delete_accepted() {
    let mut world = World::with_note("a");
    world.server.write("b", &json!({"body": "v0", "n": 0, "at": null}));
    world.pull(usize::MAX);
    world.run("UPDATE notes SET body = 'mine' WHERE id = 'a'");
    world.run("DELETE FROM notes WHERE id = 'b'");
    world.server.plain.truncate("notes");
    world.push(&[Net::Ok]);
    assert_eq!(world.shown(), "");
    assert_eq!(world.queue().len(), 1);
    assert_eq!(world.parked()[0].reason, Some(ParkReason::Conflicted));
    assert!(world.parked()[0].detail.as_ref().unwrap().contains("record_not_found"));
}

#[test]
fn imported_edits_wait_for_the_first_sync() {
    let mut world = World::with_note("a");
    world.run("UPDATE notes SET body = 'mine'");
    let edited = world.queue()[0].clone();
    let version = world.engine.queue_view().base_version(&edited.effect.rows[0].row).unwrap();
    let awaiting = Awaiting::from([(edited.seq, version)]);
    store::write_awaiting(world.engine.db.conn(), &awaiting).unwrap();
    world.crash();
    world.run("INSERT INTO notes (id, body) VALUES ('b', 'new')");
    world.push(&[Net::Ok]);
    assert!(world.server.received.is_empty(), "sent before the first sync");
    world.engine.set_meta("first_sync", Some("done")).unwrap();
    import::settle_all(&mut world.engine).unwrap();
    world.push(&[Net::Ok]);
    assert_eq!(world.received(0), ["update a", "create b"]);
    assert!(world.queue().is_empty());
}
