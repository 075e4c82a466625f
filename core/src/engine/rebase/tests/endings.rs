//! Stories of how conflicts end: by insisting, by the app, and what no policy is for (O7, O10, O11).

use rejoin_protocol::Policy;
use rejoin_protocol::wire::push::Ending;

use super::super::Batch;
use super::super::recall;
use super::policies::{OLD, SAME, UPDATE, conflict, one, outcome, pull, stands, with};
use super::support::*;

#[test]
fn the_same_content_is_never_offered_again() {
    let (_folder, mut engine) = with(Policy::Rebase);
    pull(&mut engine, OLD);
    engine.execute(UPDATE, &[]).unwrap();
    let sent = one(&mut engine, 1);
    // A conflict of which nothing is to be seen in the rows.
    conflict(&mut engine, &sent.mutation, OLD);
    assert_eq!(outcome(&mut engine), "a old 1 | parked");
}

#[test]
fn what_another_life_of_the_server_accepted_is_only_compared() {
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
    assert_eq!(recall::recall(&mut engine, ("recall", "done")).unwrap(), 1);
    let again = one(&mut engine, 2);
    assert_eq!((again.mutation.id, &again.hash), (sent.mutation.id, &sent.hash));
    conflict(&mut engine, &again.mutation, SAME);
    assert_eq!(outcome(&mut engine), "a theirs 1 | parked");
}
