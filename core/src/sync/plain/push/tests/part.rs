//! One mutation of several rows, of which the server takes some (D9, P8).

use serde_json::json;

use super::{Net, World};
use crate::engine::queue::mutation::{ParkReason, State};

/// One transaction of three rows, the middle one refused; requests of so many records.
fn the_middle_of_three_is_refused(limit: usize) -> World {
    let mut world = World::new();
    world.limit = limit;
    world.server.refused.insert("b".to_owned(), ("rejected_terminal", "invalid_data"));
    world.run(
        "INSERT INTO notes (id, body) VALUES ('a', 'x'); \
         INSERT INTO notes (id, body) VALUES ('b', 'y'); \
         INSERT INTO notes (id, body) VALUES ('c', 'z');",
    );
    assert_eq!(world.queue().len(), 1);
    world.push(&[Net::Ok]);
    world
}

#[test]
fn accepted_rows_leave_and_the_refused_remainder_is_parked_under_the_same_id() {
    for limit in [100, 2, 1] {
        let mut world = the_middle_of_three_is_refused(limit);
        assert_eq!((world.server.keys().as_str(), world.shown().as_str()), ("a c", "a x .; c z ."));
        let parked = world.parked().remove(0);
        assert_eq!((parked.seq.0, parked.reason), (1, Some(ParkReason::Remainder)));
        let rows: Vec<_> = parked.effect.rows.iter().map(|patch| patch.row.key.clone()).collect();
        assert_eq!(rows, ["b".into()], "what is left is what was refused, with its payload");
        assert!(parked.effect.rows[0].columns.iter().any(|column| column.new == "y".into()));
        let detail: serde_json::Value = serde_json::from_str(&parked.detail.unwrap()).unwrap();
        assert_eq!(detail["code"], "accepted in part");
        assert_eq!(detail["refused"][0]["code"], "invalid_data");
        assert!(!world.engine.was_accepted(parked.id).unwrap(), "it has not ended yet");
        world.engine.discard(parked.id).unwrap();
        assert!(world.queue().is_empty());
        assert_eq!(kept(&world), ["a", "c"], "what the server has of it stays in the history");
        assert!(world.engine.was_accepted(parked.id).unwrap());
        assert_eq!(world.shown(), "a x .; c z .", "the rows are the server's");
    }
}

/// The rows of what the history keeps.
fn kept(world: &World) -> Vec<String> {
    let conn = world.engine.db.conn();
    let kept = crate::engine::queue::history::read_newest(conn, 100).unwrap();
    let rows = kept.iter().rev().flat_map(|one| &one.done.rows);
    rows.map(|patch| patch.row.key.to_id().unwrap()).collect()
}

#[test]
fn what_is_given_up_before_its_last_row_was_sent_keeps_in_the_history_what_the_server_has() {
    let mut world = World::new();
    world.limit = 1;
    world.run("INSERT INTO notes (id) VALUES ('a'); INSERT INTO notes (id) VALUES ('b');");
    let id = world.queue()[0].id;
    world.push(&[Net::Ok, Net::Unseen]);
    assert_eq!(world.queue()[0].state, State::Pending, "a is there, and b has never left");
    world.engine.discard(id).unwrap();
    world.crash();
    world.settle();
    assert_eq!((world.server.keys().as_str(), world.shown().as_str()), ("a", "a . ."));
    assert!(world.engine.was_accepted(id).unwrap());
    assert_eq!(kept(&world), ["a"]);
}

#[test]
fn a_mutation_whose_rows_are_accepted_one_by_one_is_accepted_and_its_history_is_whole() {
    let mut world = World::new();
    world.limit = 1;
    world.run("INSERT INTO notes (id) VALUES ('a'); INSERT INTO notes (id) VALUES ('b');");
    let id = world.queue()[0].id;
    world.push(&[Net::Ok, Net::AnswerLost]);
    let queue = world.queue();
    assert_eq!((queue[0].state, queue[0].effect.rows.len()), (State::Uncertain, 1));
    assert!(!world.engine.was_accepted(id).unwrap());
    world.crash();
    world.push(&[Net::Ok]);
    assert!(world.queue().is_empty());
    assert!(world.engine.was_accepted(id).unwrap());
    let sql = "SELECT length(effect) FROM rejoin_history";
    let kept: i64 = world.engine.db.conn().query_row(sql, [], |row| row.get(0)).unwrap();
    let sql = "INSERT INTO notes (id) VALUES ('a2'); INSERT INTO notes (id) VALUES ('b2');";
    world.run(sql);
    let sql = "SELECT length(effect) - 2 FROM rejoin_mutation";
    let whole: i64 = world.engine.db.conn().query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(kept, whole);
}

#[test]
fn a_conflict_on_one_row_leaves_the_uncertain_rows_of_its_mutation_alone() {
    let mut world = World::with_note("a");
    world.server.write("b", &json!({"body": "v0", "n": 0, "at": null}));
    world.pull(usize::MAX);
    world.limit = 1;
    world.run("UPDATE notes SET body = 'mine'");
    world.push(&[Net::AnswerLost]);
    world.server.write("b", &json!({"body": "theirs"}));
    world.pull(usize::MAX);
    assert_eq!(world.shown(), "a mine 0; b theirs 0", "the row that was never sent is judged");
    assert_eq!(world.queue().len(), 1);
    world.push(&[Net::Ok]);
    assert_eq!(world.server.cell("a", "body"), Some(json!("mine")));
    assert_eq!(world.server.cell("b", "body"), Some(json!("theirs")), "nothing is clobbered");
    let parked = world.parked().remove(0);
    assert_eq!(parked.reason, Some(ParkReason::Remainder));
    let detail: serde_json::Value = serde_json::from_str(&parked.detail.unwrap()).unwrap();
    assert_eq!(detail["rows"][0]["mine"]["body"], "mine");
    assert_eq!(detail["rows"][0]["theirs"]["body"], "theirs");
}

#[test]
fn the_users_own_correction_of_a_refused_value_is_no_conflict() {
    let mut world = World::with_note("a");
    world.server.refused.insert("a".to_owned(), ("rejected_terminal", "invalid_data"));
    world.run("UPDATE notes SET body = 'refused'");
    world.push(&[Net::AnswerLost]);
    world.run("UPDATE notes SET body = 'corrected'");
    world.push(&[Net::Ok, Net::RequestLost]);
    assert_eq!(world.parked().len(), 1);
    world.server.refused.clear();
    world.settle();
    assert_eq!(world.server.cell("a", "body"), Some(json!("corrected")));
    assert_eq!((world.parked().len(), world.shown().as_str()), (1, "a corrected 0"));
}

#[test]
fn a_multi_row_mutation_leaves_no_trace_in_the_index_of_rows() {
    let mut world = the_middle_of_three_is_refused(1);
    let states = world.engine.queue.states();
    let id = world.parked()[0].id;
    world.engine.discard(id).unwrap();
    assert!(states.read().sorted().is_empty());
}

#[test]
fn discard_reverses_the_uncertain_row_and_keeps_accepted_ones() {
    for arrived in [true, false] {
        let mut world = World::new();
        world.limit = 1;
        world.run("INSERT INTO notes (id) VALUES ('a'); INSERT INTO notes (id) VALUES ('b');");
        let id = world.queue()[0].id;
        let net = if arrived { Net::AnswerLost } else { Net::RequestLost };
        world.push(&[Net::Ok, net]);
        assert_eq!(world.queue()[0].state, State::Uncertain);
        world.engine.discard(id).unwrap();
        assert_eq!(world.shown(), "a . .", "arrived: {arrived}");
        world.crash();
        world.settle();
        assert_eq!(world.server.keys(), "a", "arrived: {arrived}");
        assert_eq!((world.shown().as_str(), world.queue().len()), ("a . .", 0));
        assert!(world.engine.was_accepted(id).unwrap());
    }
}

#[test]
fn unsent_mutation_in_conflict_is_parked_whole() {
    let mut world = World::with_note("a");
    world.run("UPDATE notes SET body = 'mine'; INSERT INTO notes (id, body) VALUES ('z', 'new');");
    world.server.write("a", &json!({"body": "theirs"}));
    world.pull(usize::MAX);
    assert_eq!((world.parked().len(), world.shown().as_str()), (1, "a theirs 0"));
    assert_eq!(world.parked()[0].effect.rows.len(), 2);
    world.push(&[Net::Ok]);
    assert!(world.server.heard.is_empty());
}

/// The server's database may know of a reference that the device does not know of.
#[test]
fn row_behind_one_that_waits_is_not_sent_before_it() {
    for frozen in [false, true] {
        let mut world = World::new();
        world.run(
            "INSERT INTO notes (id, body) VALUES ('a', 'x'); INSERT INTO notes (id) VALUES ('b');",
        );
        if frozen {
            world.push(&[Net::RequestLost]);
        }
        world.run("INSERT INTO notes (id) VALUES ('c')");
        world.limit = 1;
        world.server.refused.insert("a".to_owned(), ("rejected_retryable", "update_failed"));
        world.push(&[Net::Ok]);
        assert_eq!(world.server.keys(), "c", "frozen: {frozen}");
        world.server.refused.clear();
        world.push(&[Net::Ok]);
        assert_eq!((world.server.keys().as_str(), world.queue().len()), ("a b c", 0));
    }
}

/// Found by simulation (plain, seed 21004736): the row that waits was made by an earlier mutation.
#[test]
fn row_behind_an_edit_of_a_row_that_waits_is_not_sent_before_it() {
    for frozen in [false, true] {
        let mut world = World::new();
        world.run("INSERT INTO notes (id) VALUES ('a'); INSERT INTO notes (id) VALUES ('b');");
        if frozen {
            world.push(&[Net::RequestLost]);
        }
        world
            .run("UPDATE notes SET body = 'x' WHERE id = 'b'; INSERT INTO notes (id) VALUES ('c')");
        world.limit = 1;
        world.server.refused.insert("a".to_owned(), ("rejected_retryable", "update_failed"));
        world.push(&[Net::Ok]);
        assert_eq!(world.server.keys(), "", "frozen: {frozen}");
        world.server.refused.clear();
        world.push(&[Net::Ok]);
        assert_eq!((world.server.keys().as_str(), world.queue().len()), ("a b c", 0));
    }
}
