//! Mutations that depend on an edited or re-performed mutation keep their order: later writes stay
//! on top.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use rejoin_protocol::wire::push::Ending;

use super::support::*;
use crate::engine::Engine;
use crate::engine::action::perform;
use crate::engine::action::{Actions, Parameter, ParameterType};
use crate::engine::queue::mutation::MutationState;
use crate::engine::rebase::Batch;
use crate::engine::rebase::decide;
use crate::error::{Error, QueueFault};
use crate::ids::MutationId;

const INSERT: &str = "INSERT INTO notes (id, body) VALUES ('a', 'new')";

#[test]
fn edit_keeps_writes_on_top_of_a_dependent_mutation() {
    later_edit_stays_on_top(
        |engine| engine.execute(INSERT, &[]).map(drop).unwrap(),
        |engine, id| {
            let edit = "UPDATE notes SET body = 'again' WHERE id = 'a'";
            decide::edit(engine, id, |tx| tx.execute(edit, &[]).map(drop)).unwrap()
        },
    );
}

#[test]
fn perform_again_keeps_writes_on_top_of_a_dependent() {
    later_edit_stays_on_top(
        |engine| perform::perform(engine, "make", &json!({"body": "new"})).map(drop).unwrap(),
        |engine, id| decide::perform_again(engine, id, &json!({"body": "again"})).unwrap().id,
    );
}

fn later_edit_stays_on_top(
    create: impl Fn(&mut Engine),
    again: impl Fn(&mut Engine, MutationId) -> Option<MutationId>,
) {
    let (_folder, mut engine) = notes();
    let body = Parameter::new("body", ParameterType::Text);
    let actions = Actions::new().handler("make", [body], |context, arguments| {
        let sql = "INSERT INTO notes (id, body) VALUES ('a', ?)";
        context.execute(sql, [arguments.value("body")])?;
        Ok(Json::Null)
    });
    perform::set_actions(&mut engine, Arc::new(actions), true).unwrap();
    let batch = images(&engine, &[("b", Some("old"), 1)]);
    engine.apply(batch).unwrap();
    create(&mut engine);
    // It depends on the create, and also writes another row, which a later edit overwrites.
    engine
        .transaction(|tx| {
            tx.execute("UPDATE notes SET n = 2 WHERE id = 'a'", &[])?;
            tx.execute("UPDATE notes SET body = 'follows', n = 2 WHERE id = 'b'", &[]).map(drop)
        })
        .unwrap();
    engine.execute("UPDATE notes SET body = 'later' WHERE id = 'b'", &[]).unwrap();
    let ids: Vec<_> = engine.pending().unwrap().iter().map(|one| one.id).collect();
    let replaced = again(&mut engine, ids[0]).unwrap();
    assert_eq!(shown(&engine), "a again 2; b later 2");
    let queue = engine.pending().unwrap();
    let order: Vec<_> = queue.iter().map(|one| (one.id, one.state)).collect();
    assert_eq!(order, [replaced, ids[1], ids[2]].map(|id| (id, MutationState::Pending)));
    assert!(engine.verdicts(0, 10).unwrap().entries.is_empty(), "nothing was parked");
    // The later edit compares what the dependent edit writes, as its author saw it.
    let offers = send(&mut engine, 1);
    let old = &offers[2].rows[0].old;
    assert_eq!(old, &[(id_of(&engine, "notes", "body"), "follows".into())]);
}

/// Found by simulation (seed 10501643): the empty columns of the create replaced the later values.
#[test]
fn edit_of_a_create_keeps_a_later_create_of_its_row() {
    let (_folder, mut engine) = notes();
    engine.execute(INSERT, &[]).unwrap();
    engine.execute("UPDATE notes SET n = 5 WHERE id = 'a'", &[]).unwrap();
    send(&mut engine, 1);
    let sent = engine.pending().unwrap();
    let verdicts = vec![verdict(&sent[0], Ending::Rejected), verdict(&sent[1], Ending::Blocked)];
    engine.apply(Batch { verdicts, ..Batch::default() }).unwrap();
    engine.execute("INSERT INTO notes (id, body) VALUES ('a', 'other')", &[]).unwrap();
    let create = engine.pending().unwrap().pop().unwrap().id;
    decide::retry_chain(&mut engine, sent[0].id).unwrap();
    assert_eq!(shown(&engine), "a new 5", "both are requeued after the other create");
    let edit = "UPDATE notes SET body = 'edited' WHERE id = 'a'";
    decide::edit(&mut engine, create, |tx| tx.execute(edit, &[]).map(drop)).unwrap();
    assert_eq!(shown(&engine), "a edited 5");
}

/// Found by the guide for Android, and by an app on the JVM: the recommended `retry_chain` after an
/// edit failed as `UnknownMutation` when no other mutation had been parked, or the edit was accepted.
#[test]
fn retry_chain_of_an_edit_without_followers_retries_nothing() {
    let (_folder, mut engine) = notes();
    engine.execute(INSERT, &[]).unwrap();
    send(&mut engine, 1);
    let sent = engine.pending().unwrap();
    let verdicts = vec![verdict(&sent[0], Ending::Rejected)];
    engine.apply(Batch { verdicts, ..Batch::default() }).unwrap();
    let edit = "UPDATE notes SET body = 'edited' WHERE id = 'a'";
    let edited =
        decide::edit(&mut engine, sent[0].id, |tx| tx.execute(edit, &[]).map(drop)).unwrap();
    let edited = edited.unwrap();
    assert_eq!(decide::retry_chain(&mut engine, edited).unwrap(), []);
    let gone = decide::retry_chain(&mut engine, sent[0].id).unwrap_err();
    assert!(matches!(gone, Error::Queue(QueueFault::Unknown(_))), "{gone}");
    send(&mut engine, 2);
    let verdicts = vec![verdict(&only(&engine), Ending::Accepted)];
    engine.apply(Batch { verdicts, ..Batch::default() }).unwrap();
    assert_eq!(decide::retry_chain(&mut engine, edited).unwrap(), [], "the server has it");
}
