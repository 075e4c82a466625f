//! Visibility: feed, views, buckets, horizon, snapshots.

use super::super::effect::{Effect, Effects};
use super::super::entry::{Offer, Revision};
use super::super::fixture::{columns, image};
use super::super::key::Key;
use super::super::message::{EntryVerdict, Outcome, Publish, Verdict};
use super::super::replica::ReplicaEvent;
use super::super::world::{LIMITS, World};
use super::two;
use crate::replica::{fetch, snapshot};
use crate::server::{self, horizon};
use rejoin_protocol::Value;

/// The author receives its own entry, even if it has no visible effect.
#[test]
pub(super) fn author_receives_own_entry_without_effect() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "a b")], &[("r0", "a")]);
    world.sql("tablet", "k0", Effect::Insert(image("b", "theirs"))); // Offline, earlier key.
    world.sql("phone", "k0", Effect::Insert(image("a", "mine")));
    world.sync("phone");
    assert_eq!(world.text("phone", "k0"), "mine");
    world.sync("tablet");
    world.settle();
    assert_eq!(world.text("phone", "k0"), "gone", "the id was taken where the phone cannot see");
}

/// A viewer of the old effects is notified when there are none any more.
#[test]
pub(super) fn viewer_is_notified_when_effects_disappear() {
    let mut world = two();
    let first = world.act("tablet", "sell r0"); // Offline, earlier key.
    world.act("phone", "sell r0");
    world.sync("phone");
    world.fetch("tablet"); // Sees the later sale by the phone.
    world.sync("tablet");
    world.settle();
    let owner = world.columns_of("tablet", "r0").unwrap()["owner"].clone();
    assert_eq!(owner, Value::from(first.to_string()));
}

/// A late entry changes the views of later ones for other viewers.
#[test]
pub(super) fn move_between_buckets_reaches_all_viewers() {
    let devices = [("phone", "a b"), ("tablet", "a"), ("desk", "b"), ("late", "a b")];
    let mut world = World::new(&devices, &[("r0", "a")]);
    world.act("late", "append r0 x"); // Offline, earlier key.
    world.act("phone", "move r0 b");
    world.sync("phone");
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "gone");
    assert_eq!(world.text("desk", "r0"), "x", "including the late write before the move");
}

/// A user who leaves a bucket does not revert entries accepted there.
#[test]
pub(super) fn leaving_a_bucket_reverts_nothing() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "b")]);
    world.act("phone", "append r0 x");
    world.sync("phone");
    world.joins("phone", "a");
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "x");
    assert_eq!(world.text("phone", "r0"), "gone");
}

/// The server rejects revisions of entries in a bucket that the author has left, even from a
/// modified client.
#[test]
pub(super) fn revision_outside_the_write_set_is_rejected() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "b")]);
    world.act("phone", "move r0 a");
    world.sync("phone");
    world.joins("phone", "b");
    world.fetch("phone");
    let stamp = world.device("phone").facts().stamp.unwrap();
    let entry = world.server.entries().unwrap().remove(0);
    let (id, key, time, intent) = (entry.id, entry.key, entry.time, entry.intent);
    let (revision, effects) = (Revision(1), Effects::default());
    let offers = vec![Offer { key, time, intent, revision, effects }];
    let answer = world.deliver("phone", &Publish { stamp, number: 99, offers });
    let frozen = Verdict::Frozen { revision: Revision(0), key };
    assert_eq!(
        answer.outcome,
        Outcome::Verdicts { verdicts: vec![EntryVerdict { id, verdict: frozen }] }
    );
    let lies = world.columns_of("tablet", "r0").unwrap()["buckets"].clone();
    assert_eq!(lies, Value::from("b"), "it has not received the entry yet");
    world.settle();
    let lies = world.columns_of("tablet", "r0").unwrap()["buckets"].clone();
    assert_eq!(lies, Value::from("a"));
}

/// The response to an accepted entry was lost, and the author left its bucket. The author's
/// authority ends: otherwise the action ran again without membership, the app was notified of a
/// rejection, and the entry was still on the server.
#[test]
pub(super) fn authority_ends_for_entry_with_lost_response() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "b")]);
    world.act("phone", "move r0 a");
    world.fetch("phone");
    let request = world.request("phone").unwrap();
    world.deliver("phone", &request); // The response is lost.
    world.joins("phone", "b");
    world.settle();
    assert_eq!(world.device("phone").take_events(), []);
    assert_eq!(world.device("phone").runs(), 0);
    assert_eq!(world.text("phone", "r0"), "gone");
    let lies = world.columns_of("tablet", "r0").unwrap()["buckets"].clone();
    assert_eq!(lies, Value::from("a"));
}

/// On leaving a bucket, the device gives up its authority without a request.
#[test]
pub(super) fn former_member_folds_like_other_devices() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "b")]);
    world.act("phone", "move r0 a");
    world.sync("phone");
    world.joins("phone", "b");
    world.fetch("phone");
    world.agrees("phone");
}

/// The same effects with another write set are new content.
#[test]
pub(super) fn same_effects_with_another_write_set_are_new_content() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "a b")], &[("r0", "a")]);
    world.sql("tablet", "r0", Effect::Update(columns("buckets", "b"))); // Offline, earlier key.
    world.act("phone", "append r0 x");
    world.sync("phone");
    world.joins("phone", "a b");
    world.sync("phone");
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "x");
}

/// A join runs actions again that read the tables concerned.
#[test]
pub(super) fn join_reruns_actions_that_read_its_tables() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "a b")], &[("r0", "a"), ("r1", "b")]);
    world.act("phone", "crowd a 9");
    world.sync("phone");
    world.joins("phone", "a b");
    world.settle();
    let texts: Vec<_> = world.server.rows().unwrap();
    let text = texts.iter().find(|(row, _)| row.table.as_str() == "d").unwrap().1.get("text");
    assert_eq!(text, Some(&Value::from("one of 2")));
}

/// In several buckets a row is readable before it is writable; a join may make an effect valid
/// without changing a row.
#[test]
pub(super) fn join_reruns_actions_with_void_effects() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "a b")]);
    world.act("phone", "append r0 x"); // Offline; it loses b before it reconnects.
    world.joins("phone", "a");
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "", "it may write only one of the row's buckets");
    world.joins("phone", "a b");
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "x");
}

/// A void effect is compared by its content: it may be valid later.
#[test]
pub(super) fn void_effect_is_compared_by_its_content() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a b")], &[("r0", "a b")]);
    let first = world.act("tablet", "sell r0"); // Offline, earlier key.
    world.act("phone", "sell r0"); // Offline.
    world.joins("phone", "a");
    world.fetch("phone"); // Sees the row but may not write it: its sale is void.
    world.sync("tablet");
    world.fetch("phone"); // Run again, it rejects, which gives the same rows.
    world.joins("phone", "a b");
    world.settle();
    let owner = world.columns_of("tablet", "r0").unwrap()["owner"].clone();
    assert_eq!(owner, Value::from(first.to_string()));
}

/// An entry whose authority returns to its author is run again.
#[test]
pub(super) fn entry_returned_to_its_author_is_run_again() {
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

/// A cursor behind the horizon takes a snapshot, and the horizon waits for items that moved
/// recently.
#[test]
pub(super) fn cursor_behind_the_horizon_takes_a_snapshot() {
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

/// An entry below the horizon gets a new key, after the final entries.
#[test]
pub(super) fn entry_below_the_horizon_gets_a_later_key() {
    let mut world = two();
    world.act("tablet", "append r0 x"); // Offline for very long.
    world.act("phone", "append r0 y");
    world.sync("phone");
    world.now += LIMITS.retention * 2;
    world.compacts();
    world.act("tablet", "append r0 z"); // Its own key would be accepted.
    world.settle();
    assert_eq!(world.text("phone", "r0"), "yxz", "the order of a device must be kept");
    let events = world.device("tablet").take_events();
    assert!(
        matches!(events[..], [ReplicaEvent::Rekeyed { .. }, ReplicaEvent::Rekeyed { .. }]),
        "{events:?}"
    );
}

/// A new member has the history, so that late entries take effect at their key.
#[test]
pub(super) fn late_entry_takes_its_place_on_a_new_member() {
    let mut world = two();
    world.sql("tablet", "r0", Effect::Update(columns("text", "x"))); // Offline, earlier key.
    world.sql("phone", "r0", Effect::Update(columns("text", "y")));
    world.sync("phone");
    world.joins("late", "a");
    world.add("late", "late"); // Takes a snapshot.
    world.sync("tablet");
    world.settle();
    assert_eq!(world.text("late", "r0"), "y");
}

/// A server restored from a backup receives lost entries again.
#[test]
pub(super) fn restored_server_receives_lost_entries_again() {
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

/// A delayed snapshot arrived after the response that acknowledged an entry, when another snapshot
/// was required. The device took the entry that the snapshot lacked as final and removed it. Then
/// the server was restored from an older backup.
#[test]
pub(super) fn entry_acknowledged_after_the_snapshot_is_not_final() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "a")], &[("r0", "a")]);
    let backup = world.server.store().clone();
    let author = world.device("phone").facts().author;
    let slow = server::snapshot::snapshot(&world.server, author).unwrap();
    world.sql("phone", "r0", Effect::Update(columns("text", "milk")));
    let request = world.request("phone").unwrap();
    let answer = world.deliver("phone", &request);
    world.answer("phone", &answer);

    world.restores(&backup, 2);
    let request = fetch::fetch_request(world.device("phone"), 3).unwrap();
    let resync = world.server.fetch(author, &request).unwrap();
    fetch::take_fetched(world.device("phone"), &resync).unwrap();
    snapshot::take_snapshot(world.device("phone"), &slow).unwrap();

    world.settle();
    assert_eq!(world.text("tablet", "r0"), "milk");
}

/// Two copies of one database become two authors, and their shared entries take effect once.
#[test]
pub(super) fn two_copies_become_two_authors() {
    let mut world = two();
    world.act("phone", "append r0 x"); // Unpublished when the copy is made.
    world.copies("phone", "copy");
    world.act("phone", "append r0 y");
    world.act("copy", "append r0 z");
    world.sync("phone");
    world.fetch("copy");
    assert!(
        world.device("copy").needs_new_author(),
        "it must have received an entry that it never created"
    );
    assert!(world.request("copy").is_none());
    world.renames("copy", "phone", 7);
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "xyz");
    assert_eq!(world.server.entries().unwrap().len(), 3);
    assert!(!world.device("phone").needs_new_author());
}

/// An own entry changed by the server's view has the server's effects.
#[test]
pub(super) fn own_entry_has_the_effects_of_the_servers_view() {
    author_receives_own_entry_without_effect();
}

/// An entry with exactly the key of the horizon is final or too late; the next key is not.
#[test]
pub(super) fn entry_exactly_at_the_horizon_is_too_late() {
    for (is_at, is_late) in [(true, true), (false, false)] {
        let mut world = two();
        world.act("tablet", "append r0 x"); // Offline meanwhile.
        world.fetch("tablet");
        let request = world.request("tablet").unwrap();
        let key = request.offers[0].key;
        let to = if is_at { key } else { Key { millis: key.millis - 1, ..key } };
        assert!(!horizon::raise_horizon(&mut world.server, to, world.now, 9).unwrap());
        assert_eq!(world.server.facts().horizon, to);
        world.deliver("tablet", &request);
        let placed = world.server.entries().unwrap();
        assert_eq!(placed.is_empty(), is_late, "{placed:?}");
        world.settle();
        assert_eq!(world.text("phone", "r0"), "x");
    }
}

/// The entry at which the horizon stops is folded into the base.
#[test]
pub(super) fn entry_exactly_at_the_new_horizon_is_final() {
    let mut world = two();
    world.act("phone", "append r0 x");
    world.act("phone", "append r0 y");
    world.sync("phone");
    world.now += LIMITS.retention;
    let keys: Vec<Key> = world.server.entries().unwrap().iter().map(|entry| entry.key).collect();
    assert!(!horizon::raise_horizon(&mut world.server, keys[0], world.now, 9).unwrap());
    assert_eq!(world.server.facts().horizon, keys[0]);
    let left: Vec<Key> = world.server.entries().unwrap().iter().map(|entry| entry.key).collect();
    assert_eq!(left, keys[1..]);
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "xy");
}
