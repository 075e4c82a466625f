//! What whoever sees of it: the feed, views, buckets, horizon, snapshots (L8 to L13).

use super::super::effect::{Effect, Effects};
use super::super::entry::{Offer, Revision};
use super::super::fixture::{columns, image};
use super::super::key::Key;
use super::super::message::{Outcome, Publish, Verdict};
use super::super::replica::Event;
use super::super::world::{LIMITS, World};
use super::two;
use rejoin_protocol::Value;

/// L8: the author gets his own back, also where it shows nothing.
#[test]
pub(super) fn an_author_learns_what_became_of_his_own() {
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
#[test]
pub(super) fn whoever_saw_it_hears_that_it_is_gone() {
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
#[test]
pub(super) fn a_move_between_buckets_reaches_everybody() {
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
#[test]
pub(super) fn who_leaves_takes_nothing_back() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "b")]);
    world.act("phone", "append r0 x");
    world.sync("phone");
    world.joins("phone", "a");
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "x");
    assert_eq!(world.text("phone", "r0"), "gone");
}

/// L10: what was accepted in a bucket that its author has left, the server takes back from no device that says it anyway.
#[test]
pub(super) fn who_left_is_refused_by_the_write_set() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "b")]);
    world.act("phone", "move r0 a");
    world.sync("phone");
    world.joins("phone", "b");
    world.fetch("phone");
    let standing = world.device("phone").facts().standing.unwrap();
    let stands = world.server.entries().unwrap().remove(0);
    let (id, key, time, intent) = (stands.id, stands.key, stands.time, stands.intent);
    let (revision, effects) = (Revision(1), Effects::default());
    let offers = vec![Offer { id, key, time, intent, revision, effects }];
    let answer = world.deliver("phone", &Publish { standing, number: 99, offers });
    let frozen = Verdict::Frozen { revision: Revision(0), key };
    assert_eq!(answer.outcome, Outcome::Judged(vec![(id, frozen)]));
    let lies = world.columns_of("tablet", "r0").unwrap()["buckets"].clone();
    assert_eq!(lies, Value::from("b"), "it has not heard yet");
    world.settle();
    let lies = world.columns_of("tablet", "r0").unwrap()["buckets"].clone();
    assert_eq!(lies, Value::from("a"));
}

/// L10: what was accepted unheard, in a bucket that the author left before he heard, is not his: it was run again where he is no
/// member, the app was told that it is refused, and it stood.
#[test]
pub(super) fn what_was_accepted_unheard_is_given_up_too() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "b")]);
    world.act("phone", "move r0 a");
    world.fetch("phone");
    let request = world.request("phone").unwrap();
    world.deliver("phone", &request); // The answer is lost.
    world.joins("phone", "b");
    world.settle();
    assert_eq!(world.device("phone").take_events(), []);
    assert_eq!(world.device("phone").runs(), 0);
    assert_eq!(world.text("phone", "r0"), "gone");
    let lies = world.columns_of("tablet", "r0").unwrap()["buckets"].clone();
    assert_eq!(lies, Value::from("a"));
}

/// L10: on leaving, the device gives up its authority by itself.
#[test]
pub(super) fn who_leaves_folds_like_anybody() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "b")]);
    world.act("phone", "move r0 a");
    world.sync("phone");
    world.joins("phone", "b");
    world.fetch("phone");
    world.agrees("phone");
}

/// L4: the same effects under other buckets are other content.
#[test]
pub(super) fn the_same_effects_under_other_buckets_are_news() {
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
#[test]
pub(super) fn a_join_runs_again_what_read_the_tables() {
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
#[test]
pub(super) fn a_join_runs_again_what_did_not_count() {
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
#[test]
pub(super) fn what_is_void_is_compared_as_it_was_meant() {
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
#[test]
pub(super) fn what_comes_back_to_its_author_is_run_again() {
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
#[test]
pub(super) fn a_cursor_that_was_passed_by_takes_a_snapshot() {
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
#[test]
pub(super) fn what_comes_too_late_counts_later() {
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
#[test]
pub(super) fn a_late_entry_finds_its_place_at_a_joiner() {
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
#[test]
pub(super) fn a_restored_server_gets_again_what_it_lost() {
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

/// L12: a snapshot was slow, and came after the answer that acknowledged an entry, just when another snapshot was wanted. The device took
/// what the snapshot lacked for folded away and final, and forgot it; then the server was set back to a backup from before.
#[test]
pub(super) fn what_was_acknowledged_after_a_snapshot_was_made_is_not_final_by_it() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "a")], &[("r0", "a")]);
    let backup = world.server.store().clone();
    let author = world.device("phone").facts().author;
    let slow = world.server.snapshot(author).unwrap();
    world.sql("phone", "r0", Effect::Update(columns("text", "milk")));
    let request = world.request("phone").unwrap();
    let answer = world.deliver("phone", &request);
    world.answer("phone", &answer);

    world.restores(&backup, 2);
    let request = world.device("phone").fetch_request(3).unwrap();
    let resync = world.server.fetch(author, &request).unwrap();
    world.device("phone").take_fetched(&resync).unwrap();
    world.device("phone").take_snapshot(&slow).unwrap();

    world.settle();
    assert_eq!(world.text("tablet", "r0"), "milk");
}

/// L12: two copies of one database become two authors, and what both had counts once.
#[test]
pub(super) fn two_copies_become_two_authors() {
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
#[test]
pub(super) fn an_own_entry_counts_as_the_server_shows_it() {
    an_author_learns_what_became_of_his_own();
}

/// L11: what has the very key of the horizon is final with it, and comes too late; the next key does not.
#[test]
pub(super) fn entry_exactly_at_the_horizon_is_too_late() {
    for (is_at, is_late) in [(true, true), (false, false)] {
        let mut world = two();
        world.act("tablet", "append r0 x"); // Offline meanwhile.
        world.fetch("tablet");
        let request = world.request("tablet").unwrap();
        let key = request.offers[0].key;
        let to = if is_at { key } else { Key { millis: key.millis - 1, ..key } };
        assert_eq!(world.server.raise_horizon(to, world.now).unwrap(), to);
        world.deliver("tablet", &request);
        let placed = world.server.entries().unwrap();
        assert_eq!(placed.is_empty(), is_late, "{placed:?}");
        world.settle();
        assert_eq!(world.text("phone", "r0"), "x");
    }
}

/// L11: the entry at which the horizon stops is folded into the base.
#[test]
pub(super) fn entry_exactly_at_the_new_horizon_is_final() {
    let mut world = two();
    world.act("phone", "append r0 x");
    world.act("phone", "append r0 y");
    world.sync("phone");
    world.now += LIMITS.retention;
    let keys: Vec<Key> = world.server.entries().unwrap().iter().map(|entry| entry.key).collect();
    assert_eq!(world.server.raise_horizon(keys[0], world.now).unwrap(), keys[0]);
    let left: Vec<Key> = world.server.entries().unwrap().iter().map(|entry| entry.key).collect();
    assert_eq!(left, keys[1..]);
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "xy");
}
