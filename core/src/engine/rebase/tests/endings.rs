//! Stories of how conflicts end: by insisting, by the app, and what no policy is for (O7, O10, O11).

use rejoin_protocol::Policy;
use rejoin_protocol::wire::push::Ending;

use super::super::Batch;
use super::policies::{OLD, SAME, UPDATE, conflict, one, outcome, pull, stands, with, words};
use super::support::*;
use crate::engine::queue::mutation::State;
use crate::mutant::{self, Mutant};

/// A writer between each answer and the next attempt; what each attempt offers.
fn beset(policy: Policy) -> (Vec<String>, State) {
    let (_folder, mut engine) = with(policy);
    pull(&mut engine, OLD);
    engine.execute(UPDATE, &[]).unwrap();
    let mut offers = Vec::new();
    for (request, theirs) in (1..).zip(["t1", "t2", "t3", "t4", "t5", "t6"]) {
        let Some(sent) = send(&mut engine, request).pop() else { break };
        offers.push(words(&engine, &sent.rows[0]));
        conflict(&mut engine, &sent.mutation, Some((theirs, 1)));
    }
    (offers, engine.pending().unwrap()[0].state)
}

#[test]
fn after_three_conflicts_an_edit_insists_and_after_the_fourth_the_app_decides() {
    for policy in [Policy::Rebase, Policy::KeepLocal] {
        let (offers, state) = beset(policy);
        let expected = [
            "update body:old>mine",
            "update body:t1>mine",
            "update body:t2>mine",
            "update body:t3>mine force",
        ];
        assert_eq!((offers.as_slice(), state), (&expected.map(String::from)[..], State::Parked));
    }
    let (offers, state) = mutant::with(Mutant::NeverInsists, || beset(Policy::Rebase));
    assert_eq!((offers.len(), state), (6, State::Pending), "what the rule prevents: no end");
}

#[test]
fn the_same_content_is_never_offered_again() {
    let story = || {
        let (_folder, mut engine) = with(Policy::Rebase);
        pull(&mut engine, OLD);
        engine.execute(UPDATE, &[]).unwrap();
        let sent = one(&mut engine, 1);
        // A conflict of which nothing is to be seen in the rows.
        conflict(&mut engine, &sent.mutation, OLD);
        outcome(&mut engine)
    };
    assert_eq!(story(), "a old 1 | parked");
    let again = mutant::with(Mutant::ConflictSentAgain, story);
    assert_eq!(again, "a mine 1 | update body:old>mine", "what the rule prevents");
}

#[test]
fn policies_are_for_plain_sql_and_not_for_actions() {
    let story = || {
        let (_folder, mut engine) = with(Policy::Rebase);
        pull(&mut engine, OLD);
        engine.execute(UPDATE, &[]).unwrap();
        let sql = "UPDATE rejoin_mutation SET action = 'rename'";
        engine.db.conn().execute(sql, []).unwrap();
        pull(&mut engine, SAME);
        outcome(&mut engine)
    };
    assert_eq!(story(), "a theirs 1 | parked");
    let merged = mutant::with(Mutant::PolicyForActions, story);
    assert_eq!(merged, "a mine 1 | update body:theirs>mine", "what the rule prevents");
}

#[test]
fn what_another_life_of_the_server_accepted_is_only_compared() {
    let story = || {
        let (_folder, mut engine) = with(Policy::Rebase);
        engine.set_meta("epoch", Some("one")).unwrap();
        pull(&mut engine, OLD);
        engine.execute(UPDATE, &[]).unwrap();
        let sent = one(&mut engine, 1);
        let accepted = Batch {
            verdicts: vec![verdict(&sent.mutation, Ending::Accepted)],
            ..stands(&mut engine, Some(("mine", 1)))
        };
        engine.apply(accepted).unwrap();
        engine.set_meta("epoch", Some("two")).unwrap();
        assert_eq!(engine.recall_history(("recall", "done")).unwrap(), 1);
        let again = one(&mut engine, 2);
        assert_eq!((again.mutation.id, &again.hash), (sent.mutation.id, &sent.hash));
        conflict(&mut engine, &again.mutation, SAME);
        outcome(&mut engine)
    };
    assert_eq!(story(), "a theirs 1 | parked");
    let forced = mutant::with(Mutant::ReofferByPolicy, story);
    assert_eq!(forced, "a mine 1 | update body:theirs>mine", "what the rule prevents");
}
