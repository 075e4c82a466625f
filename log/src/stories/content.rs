//! What an entry says, when it is said again, and what the server answers (L1 to L7).

use super::super::effect::Effect;
use super::super::entry::{Offer, Revision};
use super::super::fixture::{columns, image, intent, plain, row};
use super::super::key::Key;
use super::super::message::{Outcome, Publish, Verdict};
use super::super::replica::Event;
use super::super::replica::store::Facts;
use super::super::world::{LIMITS, World};
use super::two;
use rejoin_protocol::Value;

/// A late arrival (L4): what was done first counts first, though it came last.
#[test]
pub(super) fn a_late_arrival_takes_its_place() {
    let mut world = two();
    world.act("phone", "append r0 x"); // Offline.
    world.act("tablet", "append r0 y");
    world.sync("tablet");
    assert_eq!((world.text("phone", "r0"), world.text("tablet", "r0")), ("x".into(), "y".into()));

    world.sync("phone");
    assert_eq!(world.text("phone", "r0"), "y", "the tablet's values stand until it corrects them");

    world.settle();
    assert_eq!(world.text("phone", "r0"), "xy");
    let entries = world.server.entries().unwrap();
    let revisions: Vec<u32> = entries.iter().map(|entry| entry.content.revision.0).collect();
    assert_eq!(revisions, [0, 1], "one correction, by the author of the later one");
}

/// L1: an effect counts for nothing on a row that has gone where its author may not write.
#[test]
pub(super) fn an_effect_outside_its_authors_buckets_is_void() {
    let mut world = World::new(&[("phone", "a p"), ("tablet", "a")], &[("r0", "a")]);
    world.act("phone", "move r0 p"); // Offline, and first.
    world.sql("tablet", "r0", Effect::Update(columns("text", "mine")));
    world.sync("tablet");
    world.sync("phone");
    assert_eq!(world.text("phone", "r0"), "", "the tablet may not write what lies in p");
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "gone");
}

/// L2, L7: the answer was lost, the content has changed since; an ack covers the revision that it names.
#[test]
pub(super) fn an_ack_covers_the_revision_that_it_names() {
    let mut world = two();
    world.act("tablet", "append r0 x"); // Offline, and first.
    world.act("phone", "append r0 y");
    world.fetch("phone");
    let first = world.request("phone").unwrap();
    let answer = world.deliver("phone", &first); // Accepted, but the answer is slow.
    world.sync("tablet");
    world.fetch("phone"); // Revision 1: "xy".
    world.answer("phone", &answer);
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "xy");
}

/// L2: what was sent is overtaken by a higher revision, even if it comes to what the server had.
#[test]
pub(super) fn a_late_copy_of_an_old_revision_is_not_taken() {
    let mut world = two();
    world.act("tablet", "append r0 x"); // Offline, and first.
    world.act("phone", "append r0 y");
    world.fetch("phone");
    let old = world.request("phone").unwrap();
    world.sync("tablet");
    world.sync("phone"); // Sends revision 1: "xy".
    world.deliver("phone", &old);
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "xy");
}

/// L3: plain SQL is what was written, whatever stood there when it was laid down again.
#[test]
pub(super) fn plain_sql_keeps_what_it_set() {
    let mut world = two();
    world.sql("phone", "r0", Effect::Update(columns("text", "kept"))); // Offline.
    world.sql("tablet", "r0", Effect::Delete);
    world.sync("tablet");
    let late = world.sql("phone", "r0", Effect::Update(columns("owner", "me")));
    world.fetch("phone"); // The row is gone: the second write does nothing here and now.
    world.sync("phone");
    let entry = world.server.entries().unwrap().into_iter().find(|entry| entry.id == late).unwrap();
    let kept = entry.content.effects.get(&row("r0")).cloned();
    assert_eq!(kept, Some(Effect::Update(columns("owner", "me"))));
    world.settle();
}

/// L4: content that the server voids is not offered again and again.
#[test]
pub(super) fn a_run_that_says_what_the_server_holds_is_no_correction() {
    let devices = [("phone", "a"), ("tablet", "b"), ("desk", "a")];
    let mut world = World::new(&devices, &[("r0", "a")]);
    world.act("tablet", "put k0 b theirs"); // Offline, and first: the phone cannot see it.
    world.act("phone", "put k0 a mine");
    world.sync("phone");
    world.sync("tablet");
    world.settle();
    assert_eq!(world.text("tablet", "k0"), "theirs");
    assert_eq!(world.text("phone", "k0"), "gone");
}

/// L4: nothing is run again by a mere fetch.
#[test]
pub(super) fn nothing_is_run_again_by_a_mere_fetch() {
    let mut world = two();
    world.act("phone", "take r0 2");
    world.act("tablet", "create a elsewhere");
    world.sync("phone");
    world.sync("tablet");
    // The handler of another version would refuse now; but nothing before the entry has changed.
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

/// L4: an action that failed may succeed again, and the app is told both times.
#[test]
pub(super) fn a_refusal_may_end() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "a"), ("desk", "a")], &[("r0", "a")]);
    let early = world.act("desk", "move r0 a"); // Reads r0, changes nothing.
    world.act("tablet", "sell r0"); // Offline, and first.
    let late = world.act("phone", "sell r0");
    world.sync("phone");
    world.sync("tablet");
    world.sync("phone");
    let reason = String::from("sold");
    assert_eq!(world.device("phone").take_events(), [Event::Refused { id: late, reason }]);
    assert!(world.columns_of("phone", "r0").is_some_and(|row| row["owner"] != Value::Null));

    let gone = world.sql("desk", "r0", Effect::Delete);
    assert!(early < gone);
    world.settle();
}

/// L6: a clock that is ahead costs the order of this device's unpublished entries, and nothing else.
#[test]
pub(super) fn keys_of_a_fast_clock_are_given_again_in_order() {
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

/// L6: the new key lies above what the device has seen, however far that is ahead of the server's clock.
#[test]
pub(super) fn a_new_key_lies_above_what_was_seen() {
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

/// What somebody says who has written his own device: a row's text, at this counter. Answers the verdict.
fn hostile(world: &mut World, name: &str, counter: u64) -> (Key, Verdict) {
    let (id, now) = (world.new_id(), world.now);
    let Facts { author, standing, .. } = *world.device(name).facts();
    let key = Key { millis: now, counter, author, id };
    let effects = plain("r0", Effect::Update(columns("text", "h")));
    let (time, intent, revision) = (now, None, Revision(0));
    let offers = vec![Offer { id, key, time, intent, revision, effects }];
    let number = u64::try_from(id.0.as_u128()).unwrap();
    let standing = standing.unwrap();
    let answer = world.deliver(name, &Publish { standing, number, offers });
    let Outcome::Judged(mut verdicts) = answer.outcome else { panic!("{answer:?}") };
    (key, verdicts.remove(0).1)
}

/// L6: nobody uses the counters up. Each entry may go so far above all before it, and no further.
#[test]
pub(super) fn a_counter_beyond_reason_is_not_taken() {
    const FAR: u64 = 1 << 32;
    let mut world = World::new(&[("phone", "a"), ("rogue", "a")], &[("r0", "a")]);
    let mut highest = 0;
    // counter, whether it is taken
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
    assert_eq!(world.text("phone", "r0"), "hx", "whoever has seen them goes on above them");
    assert_eq!(world.server.facts().counter, 2 * FAR + 1);
}

/// L6: a server that was set back minds counters that it has taken before; they are given again, in order.
#[test]
pub(super) fn a_counter_that_the_server_has_lost_is_given_again() {
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
    let told = world.device("phone").take_events();
    assert_eq!(told, [first, second].map(|id| Event::Rekeyed { id }));
    assert_eq!(world.server.facts().counter, 2);
}

/// L7: an old copy of a request is not read, whatever has become of its entries since.
#[test]
pub(super) fn an_old_copy_of_a_request_is_not_read() {
    let mut world = two();
    let first = world.new_id();
    let ahead = world.now + LIMITS.drift * 60;
    world.device("phone").perform(first, intent("append r0 y"), ahead).unwrap();
    world.fetch("phone");
    let old = world.request("phone").unwrap();
    let answer = world.deliver("phone", &old);
    world.answer("phone", &answer); // Too far ahead: the entry has a new key now.
    let second = world.act("phone", "append r0 z");
    world.now = ahead; // The old key would do by now.
    world.deliver("phone", &old);
    world.settle();
    let ids: Vec<_> = world.server.entries().unwrap().iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [first, second], "in the order in which they were done");
    assert_eq!(world.text("tablet", "r0"), "yz");
}

/// L7: nothing that was done after an entry is accepted before the author knows that it is not.
#[test]
pub(super) fn a_batch_ends_at_the_first_that_is_not_taken() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a")], &[("r0", "a")]);
    let denied = world.sql("phone", "k0", Effect::Insert(image("b", "one")));
    let after = world.act("phone", "append r0 y");
    world.joins("phone", "a");
    world.device("phone");
    // It has not heard yet that it left b: the request is of the old membership, and nothing is read.
    let request = world.request("phone").unwrap();
    assert_eq!(world.deliver("phone", &request).outcome, Outcome::Resync);
    world.fetch("phone");
    let request = world.request("phone").unwrap();
    let answer = world.deliver("phone", &request);
    assert_eq!(answer.outcome, Outcome::Judged(vec![(denied, Verdict::Denied)]));
    world.answer("phone", &answer);
    assert_eq!(world.device("phone").take_events(), [Event::Parked { id: denied }]);
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "y");
    assert_eq!(world.device("phone").parked().unwrap().len(), 1);
    assert!(world.server.entries().unwrap().iter().any(|entry| entry.id == after));
}

/// L7, L11: what was accepted once is never accepted again, even below the horizon.
#[test]
pub(super) fn an_accepted_entry_is_never_accepted_again() {
    let mut world = two();
    world.act("phone", "append r0 x");
    world.fetch("phone");
    let request = world.request("phone").unwrap();
    world.deliver("phone", &request); // The answer is lost.
    world.now += LIMITS.retention * 2;
    world.compacts();
    world.restarts("phone");
    world.settle();
    assert_eq!(world.text("phone", "r0"), "x");
    assert_eq!(world.server.entries().unwrap(), []);
    assert_eq!(world.device("phone").pending().unwrap(), []);
}

/// L7: identity comes first: what is final is neither denied nor too old.
#[test]
pub(super) fn what_is_final_is_not_denied() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[]);
    world.sql("phone", "k0", Effect::Insert(image("b", "one")));
    world.fetch("phone");
    let request = world.request("phone").unwrap();
    world.deliver("phone", &request); // The answer is lost.
    world.joins("phone", "a");
    world.now += LIMITS.retention * 2;
    world.compacts();
    world.settle();
    assert_eq!(world.device("phone").parked().unwrap(), []);
    assert_eq!(world.device("phone").pending().unwrap(), []);
}
