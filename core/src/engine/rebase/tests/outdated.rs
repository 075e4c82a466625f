//! Conflicts that do not hold any more when their answer arrives: old values that were handed over meanwhile, rows that have
//! changed back.

use rejoin_protocol::wire::push::Ending;
use rejoin_protocol::Policy;

use super::super::Batch;
use super::policies::{OLD, SAME, UPDATE, conflict, one, outcome, pull, stands, with, words};
use super::support::*;
use crate::engine::Engine;
use crate::engine::queue::mutation::{Mutation, State};
use crate::engine::queue::offer::Offer;

/// Two edits of a note, of which the second was made on the first. Both have left, the answer is lost, and the first is
/// rejected: the second, as it was sent.
fn sent_upon_rejected(policy: Policy) -> (tempfile::TempDir, Engine, Mutation) {
    let (folder, mut engine) = with(policy);
    pull(&mut engine, OLD);
    engine.execute("UPDATE notes SET body = 'bad'", &[]).unwrap();
    engine.execute(UPDATE, &[]).unwrap();
    let sent = send(&mut engine, 1);
    engine.mark_uncertain(1).unwrap();
    let verdicts = vec![verdict(&sent[0].mutation, Ending::Rejected)];
    let answer = Batch { verdicts, ..stands(&mut engine, OLD) };
    engine.apply(answer).unwrap();
    let again = one(&mut engine, 2);
    assert_eq!(words(&engine, &again.rows[0]), "update body:bad>mine", "as it was sent");
    (folder, engine, again.mutation)
}

#[test]
fn conflict_on_replaced_old_values_is_offered_again() {
    for policy in Policy::ALL {
        let (_folder, mut engine, sent) = sent_upon_rejected(policy);
        conflict(&mut engine, &sent, OLD);
        assert_eq!(outcome(&mut engine), "a mine 1 | update body:old>mine", "{policy:?}");
    }
}

#[test]
fn conflict_on_replaced_old_values_may_still_be_one() {
    let (_folder, mut engine, sent) = sent_upon_rejected(Policy::AcceptServer);
    conflict(&mut engine, &sent, SAME);
    assert_eq!(outcome(&mut engine), "a theirs 1 | parked");
}

/// Sends what waits; the answer is lost, and it is sent again.
fn twice(engine: &mut Engine, request: i64) -> Option<Offer> {
    send(engine, request);
    engine.mark_uncertain(request).unwrap();
    send(engine, request).pop()
}

#[test]
fn repeated_conflict_of_earlier_rows_is_offered_again() {
    let insisting = [Policy::Rebase, Policy::KeepLocal];
    for policy in Policy::ALL {
        let (_folder, mut engine) = with(policy);
        pull(&mut engine, OLD);
        engine.execute(UPDATE, &[]).unwrap();
        let sent = twice(&mut engine, 1).unwrap();
        conflict(&mut engine, &sent.mutation, OLD);
        let again = insisting.contains(&policy);
        let expected = if again { "a mine 1 | update body:old>mine" } else { "a old 1 | parked" };
        assert_eq!(outcome(&mut engine), expected, "{policy:?}");
    }
}

#[test]
fn repeated_conflict_is_offered_again_a_few_times_only() {
    let (_folder, mut engine) = with(Policy::Rebase);
    pull(&mut engine, OLD);
    engine.execute(UPDATE, &[]).unwrap();
    let mut offers = Vec::new();
    for request in 1..6 {
        let Some(sent) = twice(&mut engine, request) else { break };
        offers.push(words(&engine, &sent.rows[0]));
        conflict(&mut engine, &sent.mutation, OLD);
    }
    let edit = "update body:old>mine";
    assert_eq!(offers, [edit, edit, edit, "update body:old>mine force"]);
    assert_eq!(only(&engine).state, State::Parked);
}

#[test]
fn conflict_on_a_row_that_is_not_shown_is_parked() {
    let (_folder, mut engine) = with(Policy::KeepLocal);
    engine.execute("INSERT INTO notes VALUES ('a', 'mine', 1)", &[]).unwrap();
    let sent = twice(&mut engine, 1).unwrap();
    conflict(&mut engine, &sent.mutation, None);
    assert_eq!(outcome(&mut engine), " | parked");
}
