//! Tests of how conflicts end: by forcing, by the app, and for mutations that no policy applies to.

use rejoin_protocol::Policy;
use rejoin_protocol::wire::push::Ending;

use super::super::Batch;
use super::super::recall;
use super::policies::{OLD, SAME, UPDATE, conflict, current, one, outcome, pull, with};
use super::support::*;

#[test]
fn conflicting_content_is_not_sent_again() {
    let (_folder, mut engine) = with(Policy::Rebase);
    pull(&mut engine, OLD);
    engine.execute(UPDATE, &[]).unwrap();
    let sent = one(&mut engine, 1);
    // A conflict that is not visible in the rows.
    conflict(&mut engine, &sent.mutation, OLD);
    assert_eq!(outcome(&mut engine), "a old 1 | parked");
}

#[test]
fn mutation_of_another_epoch_is_compare_only() {
    let (_folder, mut engine) = with(Policy::Rebase);
    engine.set_meta("epoch", Some("one")).unwrap();
    pull(&mut engine, OLD);
    engine.execute(UPDATE, &[]).unwrap();
    let sent = one(&mut engine, 1);
    let accepted = Batch {
        verdicts: vec![verdict(&sent.mutation, Ending::Accepted)],
        ..current(&mut engine, Some(("mine", 1)))
    };
    engine.apply(accepted).unwrap();
    engine.set_meta("epoch", Some("two")).unwrap();
    assert_eq!(recall::recall(&mut engine, ("recall", "done")).unwrap(), 1);
    let again = one(&mut engine, 2);
    assert_eq!((again.mutation.id, &again.hash), (sent.mutation.id, &sent.hash));
    conflict(&mut engine, &again.mutation, SAME);
    assert_eq!(outcome(&mut engine), "a theirs 1 | parked");
}
