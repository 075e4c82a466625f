//! The rules as stories, each with the switch that makes it go wrong.

use std::sync::Arc;

use super::effect::Effect;
use super::fixture::{Louder, author, columns, image, intent, plain, row};
use super::ids::{Buckets, UserId};
use super::key::Key;
use super::message::{Correct, Correction, Fetched, Item, Outcome, Standing, Verdict};
use super::replica::write::Written;
use super::replica::{Event, LogError};
use super::world::{LIMITS, World};
use crate::mutant::{self, Mutant};
use crate::value::Value;

fn two() -> World {
    World::new(&[("phone", "a"), ("tablet", "a")], &[("r0", "a")])
}

/// A late arrival (L4): what was done first counts first, though it came last.
fn a_late_arrival_takes_its_place() {
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
fn an_effect_outside_its_authors_buckets_is_void() {
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
fn an_ack_covers_the_revision_that_it_names() {
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
fn a_late_copy_of_an_old_revision_is_not_taken() {
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
fn plain_sql_keeps_what_it_set() {
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
fn a_run_that_says_what_the_server_holds_is_no_correction() {
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
fn nothing_is_run_again_by_a_mere_fetch() {
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
fn a_refusal_may_end() {
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
fn keys_of_a_fast_clock_are_given_again_in_order() {
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
fn a_new_key_lies_above_what_was_seen() {
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

/// L7: an old copy of a request is not read, whatever has become of its entries since.
fn an_old_copy_of_a_request_is_not_read() {
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
fn a_batch_ends_at_the_first_that_is_not_taken() {
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
fn an_accepted_entry_is_never_accepted_again() {
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
fn what_is_final_is_not_denied() {
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

/// L8: the author gets his own back, also where it shows nothing.
fn an_author_learns_what_became_of_his_own() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "b")], &[("r0", "a")]);
    world.sql("tablet", "k0", Effect::Insert(image("b", "theirs"))); // Offline, and first.
    world.sql("phone", "k0", Effect::Insert(image("a", "mine")));
    world.sync("phone");
    assert_eq!(world.text("phone", "k0"), "mine");
    world.sync("tablet");
    world.settle();
    assert_eq!(world.text("phone", "k0"), "gone", "the id was taken where the phone cannot see");
}

/// L8: whoever saw the old effects hears that there are none any more.
fn whoever_saw_it_hears_that_it_is_gone() {
    let mut world = two();
    let first = world.act("tablet", "sell r0"); // Offline, and first.
    world.act("phone", "sell r0");
    world.sync("phone");
    world.fetch("tablet"); // Sees that the phone sold it, later.
    world.sync("tablet");
    world.settle();
    let owner = world.columns_of("tablet", "r0").unwrap()["owner"].clone();
    assert_eq!(owner, Value::from(first.to_string()));
}

/// L9: a late entry changes what later ones show to others.
fn a_move_between_buckets_reaches_everybody() {
    let devices = [("phone", "a b"), ("tablet", "a"), ("desk", "b"), ("late", "a b")];
    let mut world = World::new(&devices, &[("r0", "a")]);
    world.act("late", "append r0 x"); // Offline, and first.
    world.act("phone", "move r0 b");
    world.sync("phone");
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "gone");
    assert_eq!(world.text("desk", "r0"), "x", "with what was written late before the move");
}

/// L10: who leaves a bucket takes nothing back that was accepted there.
fn who_leaves_takes_nothing_back() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "b")]);
    world.act("phone", "append r0 x");
    world.sync("phone");
    world.joins("phone", "a");
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "x");
    assert_eq!(world.text("phone", "r0"), "gone");
}

/// L10: also before the author knows that it was accepted, the server refuses what he says of it from outside.
fn who_left_is_refused_by_the_write_set() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "b")]);
    world.act("phone", "move r0 a");
    world.fetch("phone");
    let request = world.request("phone").unwrap();
    world.deliver("phone", &request); // The answer is lost.
    world.joins("phone", "b");
    world.settle();
    let lies = world.columns_of("tablet", "r0").unwrap()["buckets"].clone();
    assert_eq!(lies, Value::from("a"));
    assert_eq!(world.text("phone", "r0"), "gone");
}

/// L10: on leaving, the device gives up its authority by itself.
fn who_leaves_folds_like_anybody() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "b")]);
    world.act("phone", "move r0 a");
    world.sync("phone");
    world.joins("phone", "b");
    world.fetch("phone");
    world.agrees("phone");
}

/// L4: the same effects under other buckets are other content.
fn the_same_effects_under_other_buckets_are_news() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "a b")], &[("r0", "a")]);
    world.sql("tablet", "r0", Effect::Update(columns("buckets", "b"))); // Offline, and first.
    world.act("phone", "append r0 x");
    world.sync("phone");
    world.joins("phone", "a b");
    world.sync("phone");
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "x");
}

/// L10: a join runs again what read the tables concerned.
fn a_join_runs_again_what_read_the_tables() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "a b")], &[("r0", "a"), ("r1", "b")]);
    world.act("phone", "crowd a 9");
    world.sync("phone");
    world.joins("phone", "a b");
    world.settle();
    let texts: Vec<_> = world.server.rows().unwrap();
    let text = texts.iter().find(|(row, _)| row.table.as_str() == "d").unwrap().1.get("text");
    assert_eq!(text, Some(&Value::from("one of 2")));
}

/// L10: in several buckets a row is seen before it can be written; a join may let an effect count, and change no row.
fn a_join_runs_again_what_did_not_count() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "a b")]);
    world.act("phone", "append r0 x"); // Offline; it loses b before it comes back.
    world.joins("phone", "a");
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "", "it may write one of the row's buckets only");
    world.joins("phone", "a b");
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "x");
}

/// L4: what is void here and now is compared as it was meant: it may count another day.
fn what_is_void_is_compared_as_it_was_meant() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "a b")]);
    let first = world.act("tablet", "sell r0"); // Offline, and first.
    world.act("phone", "sell r0"); // Offline.
    world.joins("phone", "a");
    world.fetch("phone"); // Sees the row, and may not write it: its sale counts for nothing.
    world.sync("tablet");
    world.fetch("phone"); // Run again, it refuses, which comes to the same rows.
    world.joins("phone", "a b");
    world.settle();
    let owner = world.columns_of("tablet", "r0").unwrap()["owner"].clone();
    assert_eq!(owner, Value::from(first.to_string()));
}

/// L12: what was not the author's to run for a while is run again when it is.
fn what_comes_back_to_its_author_is_run_again() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "a")]);
    world.act("phone", "crowd a 9");
    world.settle();
    let backup = world.server.store().clone();
    world.joins("phone", "b");
    world.fetch("phone"); // Frozen.
    world.restores(&backup, 2);
    world.joins("phone", "a");
    world.settle();
    assert_eq!(world.server.entries().unwrap().len(), 1);
}

/// L11: a cursor that was passed by takes a snapshot, and the horizon waits for those who are on their way.
fn a_cursor_that_was_passed_by_takes_a_snapshot() {
    let mut world = two();
    world.act("phone", "append r0 x");
    world.sync("phone");
    let soon = world.compacts();
    assert_eq!(soon, Key::FIRST, "the item has just moved");
    world.now += LIMITS.retention;
    assert!(world.compacts() > Key::FIRST);
    assert_eq!(world.server.entries().unwrap(), []);
    world.fetch("tablet");
    world.agrees("tablet");
    assert_eq!(world.text("tablet", "r0"), "x");
}

/// L11, L6: what comes below the horizon takes a new key, behind what is final.
fn what_comes_too_late_counts_later() {
    let mut world = two();
    world.act("tablet", "append r0 x"); // Offline for very long.
    world.act("phone", "append r0 y");
    world.sync("phone");
    world.now += LIMITS.retention * 2;
    world.compacts();
    world.act("tablet", "append r0 z"); // Its own key would do.
    world.settle();
    assert_eq!(world.text("phone", "r0"), "yxz", "the order of one device is kept");
    let told = world.device("tablet").take_events();
    assert!(matches!(told[..], [Event::Rekeyed { .. }, Event::Rekeyed { .. }]), "{told:?}");
}

/// L12: a joiner has the history, so that what comes late can be placed.
fn a_late_entry_finds_its_place_at_a_joiner() {
    let mut world = two();
    world.sql("tablet", "r0", Effect::Update(columns("text", "x"))); // Offline, and first.
    world.sql("phone", "r0", Effect::Update(columns("text", "y")));
    world.sync("phone");
    world.joins("late", "a");
    world.add("late", "late"); // Takes a snapshot.
    world.sync("tablet");
    world.settle();
    assert_eq!(world.text("late", "r0"), "y");
}

/// L12: a server that went back to a backup gets again what it lost.
fn a_restored_server_gets_again_what_it_lost() {
    let mut world = two();
    world.act("phone", "append r0 x");
    world.sync("phone");
    let backup = world.server.store().clone();
    world.act("phone", "append r0 y");
    world.settle();
    world.restores(&backup, 2);
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "xy");
    assert_eq!(world.server.entries().unwrap().len(), 2);
}

/// L12: two copies of one database become two authors, and what both had counts once.
fn two_copies_become_two_authors() {
    let mut world = two();
    world.act("phone", "append r0 x"); // Unpublished when the copy is made.
    world.copies("phone", "copy");
    world.act("phone", "append r0 y");
    world.act("copy", "append r0 z");
    world.sync("phone");
    world.fetch("copy");
    assert!(world.device("copy").needs_new_author(), "it was shown an entry it never made");
    assert!(world.request("copy").is_none());
    world.renames("copy", "phone", 7);
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "xyz");
    assert_eq!(world.server.entries().unwrap().len(), 3);
    assert!(!world.device("phone").needs_new_author());
}

/// L13: an own entry that was corrected by the server's views is what the server shows.
fn an_own_entry_counts_as_the_server_shows_it() {
    an_author_learns_what_became_of_his_own();
}

/// L5: rules hold while authors are away.
fn the_referee_judges_while_authors_are_away() {
    let mut world = two();
    let first = world.act("tablet", "sell r0"); // Offline, and first.
    world.act("phone", "sell r0");
    world.sync("phone");
    world.leaves_for_good("phone");
    world.sync("tablet");
    assert_eq!(world.judges(), 1);
    world.settle();
    let owner = world.columns_of("tablet", "r0").unwrap()["owner"].clone();
    assert_eq!(owner, Value::from(first.to_string()));
}

/// L5: what the referee has judged is the referee's.
fn the_referees_word_stands() {
    let mut world = two();
    let first = world.act("tablet", "sell r0"); // Offline, and first.
    let second = world.act("phone", "sell r0");
    world.sync("phone");
    world.sync("tablet");
    world.judges();
    world.act("tablet", "append r0 x");
    world.settle();
    let judged = |world: &World| {
        let entries = world.server.entries().unwrap();
        entries.iter().find(|entry| entry.id == second).unwrap().clone()
    };
    let entry = judged(&world);
    assert!(entry.refereed && entry.content.effects.is_empty() && entry.version == 2);
    let owner = world.columns_of("phone", "r0").unwrap()["owner"].clone();
    assert_eq!(owner, Value::from(first.to_string()));

    assert!(world.server.release(second, world.now).unwrap());
    world.settle();
    assert!(!judged(&world).refereed);
}

/// L5: a referee of other code and an author do not overrule each other for ever.
fn the_author_does_not_overrule_the_referee() {
    let mut world = two();
    world.act("tablet", "append r0 x"); // Offline, and first.
    world.act("phone", "append r0 y");
    world.sync("phone");
    world.sync("tablet");
    world.fetch("phone");
    let request = world.request("phone").unwrap(); // Revision 1: "xy".
    assert_eq!(world.judges_by(Arc::new(Louder)), 2);
    let answer = world.deliver("phone", &request);
    world.answer("phone", &answer);
    world.settle();
    assert_eq!((world.text("phone", "r0"), world.text("tablet", "r0")), ("XY".into(), "XY".into()));
}

/// L5: the referee's word is taken only if the content is still the one that it read.
fn a_correction_of_what_has_changed_is_not_taken() {
    let mut world = two();
    world.act("tablet", "append r0 x"); // Offline, and first.
    let late = world.act("phone", "append r0 y");
    world.sync("phone");
    world.judges();
    world.sync("tablet");
    let standing = world.device("phone").facts().standing.unwrap();
    let effects = plain("r0", Effect::Update(columns("text", "Y")));
    let corrections = vec![Correction { id: late, version: 1, effects }];
    world.sync("phone"); // Revision 1: version 2.
    world.server.set_buckets(&UserId("referee".into()), Buckets::default()).unwrap();
    let standing = Standing { membership: 0, ..standing };
    let request = Correct { standing, referee: author(99), corrections };
    assert_eq!(world.server.correct(&request, world.now), Ok(0));
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "xy");
}

/// L5: the referee runs an entry on what its author may see.
fn the_referee_sees_what_the_author_sees() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "b")], &[("r0", "a"), ("r1", "b")]);
    world.act("phone", "crowd a 9");
    world.settle();
    assert_eq!(world.judges(), 0);
}

/// Parked entries: tried again in their old place, or done otherwise, now.
fn a_parked_entry_is_tried_again_edited_or_discarded() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a")], &[("r0", "a")]);
    let insert = |text| Effect::Insert(image("b", text));
    let ids = ["k0", "k1", "k2"].map(|id| world.sql("phone", id, insert(id)));
    world.act("phone", "append r0 y");
    world.joins("phone", "a");
    world.settle();
    assert_eq!(world.device("phone").parked().unwrap().len(), 3);
    assert_eq!(world.text("tablet", "r0"), "y", "they block nothing");

    let (new, now) = (world.new_id(), world.now);
    let other = Written::Action(intent("create a two"));
    world.device("phone").edit_parked(ids[1], new, other, now).unwrap();
    world.device("phone").discard(ids[2]).unwrap();
    world.joins("phone", "a b");
    world.settle();
    world.device("phone").retry(ids[0]).unwrap();
    world.settle();
    let keys: Vec<_> = world.server.entries().unwrap().iter().map(|entry| entry.id).collect();
    assert_eq!((keys[0], *keys.last().unwrap()), (ids[0], new), "retried in its place, edited now");
    assert_eq!(world.device("phone").parked().unwrap(), []);
    assert_eq!(world.device("phone").discard(ids[0]), Err(LogError::NotThere(ids[0])));
}

/// Undo is an entry like any: what it sets back stays set back, what others did since stays.
fn undo_sets_back_what_the_entry_changed() {
    let mut world = two();
    let done = world.act("phone", "append r0 x");
    world.settle();
    world.act("tablet", "take r0 9");
    world.settle();
    let (id, now) = (world.new_id(), world.now);
    world.device("phone").undo(done, id, now).unwrap();
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "");
    assert_eq!(world.columns_of("tablet", "r0").unwrap()["number"], Value::from(1));
    let (again, now) = (world.new_id(), world.now);
    world.device("phone").undo(id, again, now).unwrap();
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "x", "the undo of an undo is a redo");
}

/// A row in several buckets is seen by the members of each, and written by the members of all.
fn a_row_in_several_buckets() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "b"), ("desk", "a b")], &[("r0", "a")]);
    world.sql("desk", "r0", Effect::Update(columns("buckets", "a b")));
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "");
    let refused = world.try_act("tablet", "append r0 x");
    assert_eq!(refused, Err(LogError::Outside(row("r0"))));
    world.act("desk", "append r0 x");
    world.sql("desk", "r0", Effect::Update(columns("buckets", "b")));
    world.settle();
    assert_eq!(
        (world.text("phone", "r0"), world.text("tablet", "r0")),
        ("gone".into(), "x".into())
    );
}

/// A column that came with a newer schema travels through devices that do not know it.
fn a_newer_schema_adds_columns() {
    let mut world = two();
    world.sql("phone", "r0", Effect::Update(columns("colour", "red")));
    world.settle();
    world.act("tablet", "append r0 x"); // Knows no colours.
    world.settle();
    let row = world.columns_of("phone", "r0").unwrap();
    assert_eq!((&row["colour"], &row["text"]), (&Value::from("red"), &Value::from("x")));
}

/// L8: nobody is sent what he may not see, nor others' intents.
fn nothing_hidden_is_sent() {
    let mut world = World::new(&[("phone", "a p"), ("tablet", "a")], &[("r0", "a"), ("r1", "p")]);
    world.act("phone", "append r1 secret");
    world.act("phone", "move r0 p");
    world.act("phone", "append r0 secret");
    world.sync("phone");
    let tablet = author(2);
    let snapshot = world.server.snapshot(tablet).unwrap();
    let request = world.device("tablet").fetch_request(100).unwrap();
    let Fetched::Page(page) = world.server.fetch(tablet, &request).unwrap() else { panic!() };
    let told = format!("{snapshot:?} {page:?}");
    assert!(!told.contains("secret") && !told.contains("append"), "{told}");
    assert_eq!(page.items.len(), 1, "only the row that goes");
    assert!(page.items.iter().all(|item| matches!(item, Item::Entry(_))));
    world.settle();
}

macro_rules! stories {
    ($($story:ident: [$($mutant:ident),*];)+) => {
        mod told {
            $(#[test]
            fn $story() {
                super::$story();
            })+
        }

        /// Every switch of these rules, and the story that notices it.
        const NOTICED: &[(Mutant, fn())] = &[$($((Mutant::$mutant, $story),)*)+];
    };
}

stories! {
    a_late_arrival_takes_its_place: [RevisionKept, OwnNotSent];
    an_effect_outside_its_authors_buckets_is_void: [NothingVoid];
    an_ack_covers_the_revision_that_it_names: [AckCoversAll];
    a_late_copy_of_an_old_revision_is_not_taken: [];
    plain_sql_keeps_what_it_set: [PlainRecaptured];
    a_run_that_says_what_the_server_holds_is_no_correction: [RowsAloneDecide];
    nothing_is_run_again_by_a_mere_fetch: [RunUnasked];
    a_refusal_may_end: [];
    keys_of_a_fast_clock_are_given_again_in_order: [];
    a_new_key_lies_above_what_was_seen: [KeyBelowSeen];
    an_old_copy_of_a_request_is_not_read: [OldRequestRead];
    a_batch_ends_at_the_first_that_is_not_taken: [BatchGoesOn];
    an_accepted_entry_is_never_accepted_again: [IdsForgotten];
    what_is_final_is_not_denied: [IdentityLast];
    an_author_learns_what_became_of_his_own: [];
    whoever_saw_it_hears_that_it_is_gone: [NotToldGone];
    a_move_between_buckets_reaches_everybody: [ViewNotRenewed];
    who_leaves_takes_nothing_back: [];
    who_left_is_refused_by_the_write_set: [NotFrozen];
    who_leaves_folds_like_anybody: [AuthorityKept];
    the_same_effects_under_other_buckets_are_news: [WriteSetOverlooked];
    a_join_runs_again_what_read_the_tables: [];
    a_join_runs_again_what_did_not_count: [];
    what_is_void_is_compared_as_it_was_meant: [];
    what_comes_back_to_its_author_is_run_again: [];
    a_cursor_that_was_passed_by_takes_a_snapshot: [NoFloor, RetentionIgnored];
    what_comes_too_late_counts_later: [OneKeyAlone];
    a_late_entry_finds_its_place_at_a_joiner: [RowsAsTheyStand];
    a_restored_server_gets_again_what_it_lost: [EpochOverlooked];
    two_copies_become_two_authors: [CopyUnnoticed];
    an_own_entry_counts_as_the_server_shows_it: [OwnEffectsAlways];
    the_referee_judges_while_authors_are_away: [];
    the_referees_word_stands: [];
    the_author_does_not_overrule_the_referee: [RefereeUnheard, RefereeOverruled];
    a_correction_of_what_has_changed_is_not_taken: [CorrectionUnread];
    the_referee_sees_what_the_author_sees: [RefereeSeesAll];
    a_parked_entry_is_tried_again_edited_or_discarded: [];
    undo_sets_back_what_the_entry_changed: [];
    a_row_in_several_buckets: [];
    a_newer_schema_adds_columns: [];
    nothing_hidden_is_sent: [];
}

#[test]
fn every_switch_is_noticed_by_its_story() {
    for (broken, story) in NOTICED {
        let told = std::panic::catch_unwind(|| mutant::with(*broken, story));
        assert!(told.is_err(), "nothing notices {broken:?}");
    }
}
