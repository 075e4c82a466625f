//! Entry content, corrections, and the server's verdicts.

use super::super::effect::Effect;
use super::super::entry::{Offer, Revision};
use super::super::fixture::{columns, image, intent, plain, row};
use super::super::key::Key;
use super::super::message::{EntryVerdict, Outcome, Publish, Verdict};
use super::super::replica::ReplicaEvent;
use super::super::replica::store::Facts;
use super::super::world::{LIMITS, World};
use super::two;
use rejoin_protocol::Value;

/// A late entry takes effect at its key, although it arrived last.
#[test]
pub(super) fn late_entry_takes_its_place() {
    let mut world = two();
    world.act("phone", "append r0 x"); // Offline.
    world.act("tablet", "append r0 y");
    world.sync("tablet");
    assert_eq!((world.text("phone", "r0"), world.text("tablet", "r0")), ("x".into(), "y".into()));

    world.sync("phone");
    assert_eq!(world.text("phone", "r0"), "y", "the tablet's values stay until it corrects them");

    world.settle();
    assert_eq!(world.text("phone", "r0"), "xy");
    let entries = world.server.entries().unwrap();
    let revisions: Vec<u32> = entries.iter().map(|entry| entry.content.revision.0).collect();
    assert_eq!(revisions, [0, 1], "one correction, by the author of the later entry");
}

/// An effect on a row that was moved where its author may not write is void.
#[test]
pub(super) fn effect_outside_its_authors_buckets_is_void() {
    let mut world = World::new(&[("phone", "a p"), ("tablet", "a")], &[("r0", "a")]);
    world.act("phone", "move r0 p"); // Offline, earlier key.
    world.sql("tablet", "r0", Effect::Update(columns("text", "mine")));
    world.sync("tablet");
    world.sync("phone");
    assert_eq!(world.text("phone", "r0"), "", "the tablet may not write rows in p");
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "gone");
}

/// A lost response, and new content since: an acknowledgement covers only the revision that it
/// names.
#[test]
pub(super) fn acknowledgement_covers_only_its_revision() {
    let mut world = two();
    world.act("tablet", "append r0 x"); // Offline, earlier key.
    world.act("phone", "append r0 y");
    world.fetch("phone");
    let first = world.request("phone").unwrap();
    let answer = world.deliver("phone", &first); // Accepted, but the response is delayed.
    world.sync("tablet");
    world.fetch("phone"); // Revision 1: "xy".
    world.answer("phone", &answer);
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "xy");
}

/// The base of the snapshot contains the entry, which was then applied to it again, and for good. Found by
/// the simulation, seed 30111004.
#[test]
pub(super) fn answer_after_a_snapshot_that_contains_the_entry_leaves_it_once() {
    let mut world = two();
    world.sql("phone", "r0", Effect::Update(columns("text", "mine")));
    world.fetch("phone");
    let request = world.request("phone").unwrap();
    let answer = world.deliver("phone", &request); // Accepted, but the response is delayed.
    world.fetch("tablet");
    world.sql("tablet", "r0", Effect::Update(columns("text", "later")));
    world.sync("tablet");
    world.now += LIMITS.retention * 2;
    world.compacts();
    world.fetch("phone"); // A snapshot.
    world.answer("phone", &answer);
    world.settle();
    assert_eq!(world.text("phone", "r0"), "later");
}

/// A higher revision replaces a sent one, even if it has the same effects as the server's content.
#[test]
pub(super) fn late_copy_of_old_revision_is_ignored() {
    let mut world = two();
    world.act("tablet", "append r0 x"); // Offline, earlier key.
    world.act("phone", "append r0 y");
    world.fetch("phone");
    let old = world.request("phone").unwrap();
    world.sync("tablet");
    world.sync("phone"); // Sends revision 1: "xy".
    world.deliver("phone", &old);
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "xy");
}

/// Plain SQL keeps the captured effects, whatever the row is when they are applied again.
#[test]
pub(super) fn plain_sql_keeps_what_it_set() {
    let mut world = two();
    world.sql("phone", "r0", Effect::Update(columns("text", "kept"))); // Offline.
    world.sql("tablet", "r0", Effect::Delete);
    world.sync("tablet");
    let late = world.sql("phone", "r0", Effect::Update(columns("owner", "me")));
    world.fetch("phone"); // The row is gone: the second write is void at this point.
    world.sync("phone");
    let entry = world.server.entries().unwrap().into_iter().find(|entry| entry.id == late).unwrap();
    let kept = entry.content.effects.get(&row("r0")).cloned();
    assert_eq!(kept, Some(Effect::Update(columns("owner", "me"))));
    world.settle();
}

/// Content that the server voids is not offered again.
#[test]
pub(super) fn run_with_the_servers_content_is_no_correction() {
    let devices = [("phone", "a"), ("tablet", "a b"), ("desk", "a")];
    let mut world = World::new(&devices, &[("r0", "a")]);
    world.act("tablet", "put k0 b theirs"); // Offline, earlier key; invisible to the phone.
    world.act("phone", "put k0 a mine");
    world.sync("phone");
    world.sync("tablet");
    world.settle();
    assert_eq!(world.text("tablet", "k0"), "theirs");
    assert_eq!(world.text("phone", "k0"), "gone");
}

/// A fetch without relevant changes runs no action.
#[test]
pub(super) fn fetch_without_changes_runs_no_action() {
    let mut world = two();
    world.act("phone", "take r0 2");
    world.act("tablet", "create a elsewhere");
    world.sync("phone");
    world.sync("tablet");
    // The handler of another version would reject now, but nothing before the entry has changed.
    let id = world.act("phone", "sell r0");
    world.sync("phone");
    world.device("phone").take_events();
    world.act("tablet", "create a again");
    world.sync("tablet");
    world.fetch("phone");
    assert_eq!(world.device("phone").take_events(), []);
    assert_eq!(world.device("phone").runs(), 0, "neither action reads the table of the new rows");
    assert!(world.device("phone").key_of(id).unwrap().is_some());
}

/// An action that failed may succeed later; the app is notified of both.
#[test]
pub(super) fn rejected_action_may_succeed_later() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "a"), ("desk", "a")], &[("r0", "a")]);
    let early = world.act("desk", "move r0 a"); // Reads r0, changes nothing.
    world.act("tablet", "sell r0"); // Offline, earlier key.
    let late = world.act("phone", "sell r0");
    world.sync("phone");
    world.sync("tablet");
    world.sync("phone");
    let reason = String::from("sold");
    let events = world.device("phone").take_events();
    let [ReplicaEvent::Refused { id, reason: given, before }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((*id, given, before.iter().count()), (late, &reason, 1));
    assert!(world.columns_of("phone", "r0").is_some_and(|row| row["owner"] != Value::Null));

    let gone = world.sql("desk", "r0", Effect::Delete);
    assert!(early < gone);
    world.settle();
}

/// A clock that is ahead affects only the order of this device's unpublished entries.
#[test]
pub(super) fn keys_of_a_fast_clock_are_reassigned_in_order() {
    let mut world = two();
    let (first, second) = (world.new_id(), world.new_id());
    let ahead = world.now + LIMITS.drift * 60;
    world.act("tablet", "append r0 x");
    world.sync("tablet");
    world.fetch("phone");
    world.device("phone").perform(first, intent("append r0 y"), ahead).unwrap();
    world.device("phone").perform(second, intent("append r0 z"), ahead + 10).unwrap();
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "xyz");
    let entries = world.server.entries().unwrap();
    let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    assert_eq!(ids[1..], [first, second]);
    assert!(entries.iter().all(|entry| entry.key.millis <= world.now + LIMITS.drift));
}

/// The new key is above what the device has seen, however far that is ahead of the server's clock.
#[test]
pub(super) fn new_key_is_above_all_keys_seen() {
    let mut world = two();
    let (early, late) = (world.new_id(), world.new_id());
    let near = world.now + LIMITS.drift - 100;
    world.device("tablet").perform(early, intent("append r0 x"), near).unwrap();
    world.sync("tablet");
    world.fetch("phone");
    let far = world.now + LIMITS.drift * 60;
    world.device("phone").perform(late, intent("append r0 y"), far).unwrap();
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "xy");
}

/// Publishes an entry of a modified client: a row's text, at this counter. Returns the verdict.
fn hostile(world: &mut World, name: &str, counter: u64) -> (Key, Verdict) {
    let (id, now) = (world.new_id(), world.now);
    let Facts { author, stamp, .. } = *world.device(name).facts();
    let key = Key { millis: now, counter, author, id };
    let effects = plain("r0", Effect::Update(columns("text", "h")));
    let (time, intent, revision) = (now, None, Revision(0));
    let offers = vec![Offer { key, time, intent, revision, effects }];
    let number = u64::try_from(id.0.as_u128()).unwrap();
    let stamp = stamp.unwrap();
    let answer = world.deliver(name, &Publish { stamp, number, offers });
    let Outcome::Verdicts { mut verdicts } = answer.outcome else { panic!("{answer:?}") };
    (key, verdicts.remove(0).verdict)
}

/// A client cannot exhaust the counters: each entry may exceed all earlier ones only by a limited
/// amount.
#[test]
pub(super) fn counter_above_the_limit_is_rejected() {
    const FAR: u64 = 1 << 32;
    let mut world = World::new(&[("phone", "a"), ("rogue", "a")], &[("r0", "a")]);
    let mut highest = 0;
    // counter, whether it is accepted
    for (counter, taken) in [
        (u64::MAX, false),
        (FAR + 1, false),
        (FAR, true),
        (7, true),
        (2 * FAR + 1, false),
        (u64::MAX, false),
        (2 * FAR, true),
    ] {
        let (key, verdict) = hostile(&mut world, "rogue", counter);
        let due = if taken {
            Verdict::Held { revision: Revision(0), key }
        } else {
            Verdict::CounterTooHigh { highest }
        };
        assert_eq!(verdict, due, "{counter} after {highest}");
        highest = if taken { counter.max(highest) } else { highest };
    }
    world.fetch("phone");
    world.act("phone", "append r0 x");
    world.sync("phone");
    assert_eq!(world.text("phone", "r0"), "hx", "devices that have seen them continue above them");
    assert_eq!(world.server.facts().counter, 2 * FAR + 1);
}

/// A restored server rejects counters that it had accepted before; they are assigned again, in
/// order.
#[test]
pub(super) fn counter_lost_by_the_server_is_reassigned() {
    let mut world = World::new(&[("phone", "a"), ("rogue", "a")], &[("r0", "a")]);
    let backup = world.server.store().clone();
    for far in 1..=3 {
        hostile(&mut world, "rogue", far << 32);
    }
    world.fetch("phone");
    let first = world.act("phone", "append r0 x");
    let second = world.act("phone", "append r0 y");
    world.restores(&backup, 2);
    world.settle();
    assert_eq!(world.text("phone", "r0"), "xy");
    let events = world.device("phone").take_events();
    assert_eq!(events, [first, second].map(|id| ReplicaEvent::Rekeyed { id }));
    assert_eq!(world.server.facts().counter, 2);
}

/// An old copy of a request is not processed, whatever happened to its entries since.
#[test]
pub(super) fn old_copy_of_a_request_is_not_processed() {
    let mut world = two();
    let first = world.new_id();
    let ahead = world.now + LIMITS.drift * 60;
    world.device("phone").perform(first, intent("append r0 y"), ahead).unwrap();
    world.fetch("phone");
    let old = world.request("phone").unwrap();
    let answer = world.deliver("phone", &old);
    world.answer("phone", &answer); // Too far ahead: the entry has a new key now.
    let second = world.act("phone", "append r0 z");
    world.now = ahead; // The old key would be accepted now.
    world.deliver("phone", &old);
    world.settle();
    let ids: Vec<_> = world.server.entries().unwrap().iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [first, second], "in the order in which they were performed");
    assert_eq!(world.text("tablet", "r0"), "yz");
}

/// Nothing after a rejected entry is accepted before its author has received the verdict.
#[test]
pub(super) fn batch_ends_at_the_first_rejected_entry() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a")], &[("r0", "a")]);
    let denied = world.sql("phone", "k0", Effect::Insert(image("b", "one")));
    let after = world.act("phone", "append r0 y");
    world.joins("phone", "a");
    world.device("phone");
    // The phone does not know yet that it left b: the request has the old membership and is not
    // processed.
    let request = world.request("phone").unwrap();
    assert_eq!(world.deliver("phone", &request).outcome, Outcome::Resync);
    world.fetch("phone");
    let request = world.request("phone").unwrap();
    let answer = world.deliver("phone", &request);
    assert_eq!(
        answer.outcome,
        Outcome::Verdicts { verdicts: vec![EntryVerdict { id: denied, verdict: Verdict::Denied }] }
    );
    world.answer("phone", &answer);
    assert_eq!(world.device("phone").take_events(), [ReplicaEvent::Parked { id: denied }]);
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "y");
    assert_eq!(world.device("phone").parked().unwrap().len(), 1);
    assert!(world.server.entries().unwrap().iter().any(|entry| entry.id == after));
}

/// An accepted entry is never accepted again, even below the horizon.
#[test]
pub(super) fn accepted_entry_is_never_accepted_again() {
    let mut world = two();
    world.act("phone", "append r0 x");
    world.fetch("phone");
    let request = world.request("phone").unwrap();
    world.deliver("phone", &request); // The response is lost.
    world.now += LIMITS.retention * 2;
    world.compacts();
    world.restarts("phone");
    world.settle();
    assert_eq!(world.text("phone", "r0"), "x");
    assert_eq!(world.server.entries().unwrap(), []);
    assert_eq!(world.device("phone").pending().unwrap(), []);
}

/// The id is checked first: a final entry is neither denied nor too old.
#[test]
pub(super) fn final_entry_is_not_denied() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[]);
    world.sql("phone", "k0", Effect::Insert(image("b", "one")));
    world.fetch("phone");
    let request = world.request("phone").unwrap();
    world.deliver("phone", &request); // The response is lost.
    world.joins("phone", "a");
    world.now += LIMITS.retention * 2;
    world.compacts();
    world.settle();
    assert_eq!(world.device("phone").parked().unwrap(), []);
    assert_eq!(world.device("phone").pending().unwrap(), []);
}
