//! Buckets that a user writes and does not read.

use super::super::effect::{Effect, Effects};
use super::super::entry::{Offer, Revision};
use super::super::fixture::{author, columns, image, intent, plain, row};
use super::super::key::Key;
use super::super::message::{EntryVerdict, Outcome, Publish, Verdict};
use super::super::replica::LogError;
use super::super::world::World;
use rejoin_protocol::Value;

/// A user that may only write a bucket gives a row to its readers, and sees it until the server
/// shows it the entry.
#[test]
pub(super) fn row_in_a_write_only_bucket_leaves_its_author() {
    let mut world = World::new(&[("phone", ""), ("desk", "in")], &[]);
    world.joins_to_write("phone", "", "in");
    world.fetch("phone");
    world.sql("phone", "k0", Effect::Insert(image("in", "a report")));
    world.act("phone", "append k0 !");
    assert_eq!(world.text("phone", "k0"), "a report!");
    world.sync("phone");
    world.settle();
    assert_eq!(world.text("desk", "k0"), "a report!");
    assert_eq!(world.text("phone", "k0"), "gone");
    assert_eq!(world.device("phone").take_events(), [], "no action was run without its row");
    world.act("desk", "append k0 ?");
    world.sync("desk");
    world.settle();
    assert_eq!(world.text("desk", "k0"), "a report!?");
    assert_eq!(world.text("phone", "k0"), "gone");
}

/// An action that saw a row in a write-only bucket before the server confirmed it keeps its effects
/// after the row has left: the author ran it again without the row, and its edit of a visible row was
/// undone.
#[test]
pub(super) fn action_that_saw_an_unconfirmed_hidden_row_keeps_its_effects() {
    let mut world = World::new(&[("phone", "a"), ("desk", "a in")], &[("r0", "a")]);
    world.joins_to_write("phone", "a", "in");
    world.fetch("phone");
    world.act("desk", "append r0 x"); // Offline, earlier key.
    world.sql("phone", "r9", Effect::Insert(image("in", "a report")));
    world.sync("phone");
    assert_eq!(world.text("phone", "r9"), "gone");
    world.sql("phone", "r8", Effect::Insert(image("in", "another")));
    world.act("phone", "append r0 y");
    world.act("phone", "append r8 z"); // Reaches the server after the row has left.
    let first = world.request("phone").unwrap();
    world.deliver("phone", &Publish { offers: first.offers[..1].to_vec(), ..first });
    world.fetch("phone");
    world.sync("phone");
    world.sync("desk");
    assert_eq!(world.judges(), 0, "the authority would miss the row, too");
    world.settle();
    assert_eq!(world.device("phone").take_events(), []);
    assert_eq!(world.text("desk", "r8"), "anotherz");
    assert_eq!((world.text("desk", "r0"), world.text("phone", "r0")), ("y".into(), "y".into()));
    world.act("desk", "append r0 !"); // Offline, earlier key.
    world.act("phone", "append r0 ?");
    world.sync("phone");
    world.sync("desk");
    world.settle();
    assert_eq!(world.text("phone", "r0"), "y!?", "with no such row left, actions run again");
}

/// A user that writes a bucket without reading it cannot read its rows by moving them: neither by an
/// effect of a modified client nor through the authority.
#[test]
pub(super) fn hidden_row_cannot_be_moved_or_copied_by_its_writer() {
    let mut world = World::new(&[("phone", "a"), ("desk", "a in")], &[("r0", "in")]);
    world.joins_to_write("phone", "a", "in");
    world.fetch("phone");
    world.act("desk", "append r0 secret");
    world.sync("desk");
    let stamp = world.device("phone").facts().stamp.unwrap();
    let to_a = Effects::from_iter([(row("r0"), Effect::Update(columns("buckets", "a")))]);
    let forged = [(None, to_a), (Some(intent("move r0 a")), Effects::default())];
    let offers = forged.map(|(intent, effects)| {
        let (id, time, revision) = (world.new_id(), world.now, Revision(0));
        let key = Key { millis: time, counter: 0, author: author(1), id };
        Offer { key, time, intent, revision, effects }
    });
    world.deliver("phone", &Publish { stamp, number: 99, offers: offers.to_vec() });
    world.judges();
    world.fetch("phone");
    assert_eq!(world.text("phone", "r0"), "gone");
    let lies = world.columns_of("desk", "r0").unwrap()["buckets"].clone();
    assert_eq!(lies, Value::from("in"));
}

/// A user moves a row as its reader and then loses read access: the entry is parked.
#[test]
pub(super) fn move_by_a_former_reader_is_parked() {
    let mut world = World::new(&[("phone", "a in"), ("desk", "in")], &[("r0", "in")]);
    world.sql("phone", "r0", Effect::Update(columns("buckets", "a")));
    world.joins_to_write("phone", "a", "in");
    world.settle();
    assert_eq!(world.device("phone").parked().unwrap().len(), 1);
    assert_eq!(world.text("phone", "r0"), "gone");
}

/// A row that has left its author is not moved by another content of its insert: edits of others
/// after it became visible.
#[test]
pub(super) fn insert_of_a_hidden_row_is_not_revised() {
    let mut world = World::new(&[("phone", "a"), ("desk", "a in")], &[]);
    world.joins_to_write("phone", "a", "in");
    world.fetch("phone");
    let id = world.sql("phone", "k0", Effect::Insert(image("in", "")));
    world.sync("phone");
    world.fetch("desk");
    world.sql("desk", "k0", Effect::Update(columns("text", "secret")));
    world.sync("desk");
    let stamp = world.device("phone").facts().stamp.unwrap();
    let entries = world.server.entries().unwrap();
    let own = entries.iter().find(|entry| entry.id == id).unwrap();
    let (key, time, revision) = (own.key, own.time, Revision(1));
    let effects = plain("k0", Effect::Insert(image("a", "")));
    let offers = vec![Offer { key, time, intent: None, revision, effects }];
    let answer = world.deliver("phone", &Publish { stamp, number: 99, offers });
    let frozen = EntryVerdict { id, verdict: Verdict::Frozen { revision: Revision(0), key } };
    assert_eq!(answer.outcome, Outcome::Verdicts { verdicts: vec![frozen] });
}

/// The key of a new row exists where its author does not read: the entry is parked, not void.
#[test]
pub(super) fn insert_at_the_key_of_a_hidden_row_is_parked() {
    let mut world = World::new(&[("phone", "a"), ("desk", "in")], &[("r0", "in")]);
    world.joins_to_write("phone", "a", "in");
    world.fetch("phone");
    world.sql("phone", "r0", Effect::Insert(image("a", "mine")));
    world.settle();
    assert_eq!(world.device("phone").parked().unwrap().len(), 1);
    assert_eq!(world.text("desk", "r0"), "");
}

/// A user that loses read access to a bucket has left it, although the user still writes it: an accepted
/// action that read its rows ran again without them, and undid its edit.
#[test]
pub(super) fn reader_that_becomes_a_writer_gives_up_its_entries() {
    let mut world =
        World::new(&[("phone", "a in"), ("desk", "a in")], &[("r0", "a"), ("r1", "in")]);
    world.act("phone", "crowd a 3");
    world.sync("phone");
    let made = |world: &World| {
        let rows = world.server.rows().unwrap();
        rows.iter().filter(|(row, _)| row.table.as_str() == "d").count()
    };
    assert_eq!(made(&world), 1);
    world.joins_to_write("phone", "a", "in");
    world.settle();
    world.act("desk", "append r0 x");
    world.settle();
    assert_eq!(made(&world), 1);
    assert_eq!(world.text("desk", "r0"), "x");
}

/// Tables are noted also when another call than a write shows the row.
#[test]
pub(super) fn retry_of_a_hidden_row_is_noted() {
    let mut world = World::new(&[("phone", "a"), ("desk", "a in")], &[("r0", "a")]);
    world.joins_to_write("phone", "a", "in");
    world.fetch("phone");
    let id = world.sql("phone", "k0", Effect::Insert(image("in", "")));
    world.joins("phone", "a");
    world.settle();
    assert_eq!(world.device("phone").parked().unwrap().len(), 1);
    assert!(world.device("phone").facts().hidden.is_empty());
    world.joins_to_write("phone", "a", "in");
    world.settle();
    world.device("phone").retry(id).unwrap();
    assert_eq!(world.text("phone", "k0"), "");
    assert_eq!(world.device("phone").facts().hidden.len(), 1);
    world.settle();
    assert!(world.device("phone").facts().hidden.is_empty());
}

/// The authority runs no entry on a row that its own correction has just taken from the author.
#[test]
pub(super) fn authority_keeps_entries_of_rows_that_it_hides() {
    let users = [("phone", "a"), ("desk", "a in"), ("tablet", "a")];
    let mut world = World::new(&users, &[("r0", "a")]);
    world.joins_to_write("phone", "a", "in");
    world.sql("tablet", "r0", Effect::Delete); // Offline, earlier key.
    world.act("desk", "put r0 in x"); // Sets the text of a row that is there.
    world.sync("desk");
    world.fetch("phone");
    world.act("phone", "append r0 y");
    world.sync("phone");
    world.leaves_for_good("phone");
    world.leaves_for_good("desk");
    world.sync("tablet");
    assert_eq!(world.judges(), 1, "now it puts the row where the phone does not read");
    let stands = world.server.row(&row("r0")).unwrap().unwrap();
    assert_eq!(stands.get("buckets"), Some(&Value::from("in")));
    assert_eq!(stands.get("text"), Some(&Value::from("xy")));
}

/// The device refuses what the server would void.
#[test]
pub(super) fn own_row_in_a_write_only_bucket_is_not_moved() {
    let mut world = World::new(&[("phone", "a")], &[]);
    world.joins_to_write("phone", "a", "in");
    world.fetch("phone");
    world.sql("phone", "k0", Effect::Insert(image("in", "")));
    let out = Effects::from_iter([(row("k0"), Effect::Update(columns("buckets", "a")))]);
    assert_eq!(world.try_sql("phone", out), Err(LogError::Outside(row("k0"))));
}

/// An action that moves a row where its author does not read keeps its content, even if an earlier
/// entry arrives.
#[test]
pub(super) fn row_moved_to_a_write_only_bucket_is_not_run_again() {
    let mut world = World::new(&[("phone", "a"), ("desk", "a in")], &[("r0", "a")]);
    world.joins_to_write("phone", "a", "in");
    world.fetch("phone");
    world.act("desk", "append r0 x"); // Offline, earlier key.
    world.act("phone", "move r0 in");
    world.sync("phone");
    assert_eq!(world.text("phone", "r0"), "gone");
    world.sync("desk");
    world.settle();
    assert_eq!(world.text("desk", "r0"), "x");
    assert_eq!(world.text("phone", "r0"), "gone");
    assert_eq!(world.device("phone").runs(), 0);
}

/// A bucket that is neither read nor written stays closed, and so does one of the others.
#[test]
pub(super) fn write_only_membership_opens_no_other_bucket() {
    let mut world = World::new(&[("phone", "a"), ("desk", "in")], &[("r0", "in")]);
    world.joins_to_write("phone", "a", "in");
    world.fetch("phone");
    assert_eq!(world.text("phone", "r0"), "gone", "it is not read");
    let outside = Effects::from_iter([(row("k1"), Effect::Insert(image("b", "")))]);
    assert!(world.try_sql("phone", outside).is_err());
    world.joins_to_write("phone", "a in", "");
    world.settle();
    assert_eq!(world.text("phone", "r0"), "");
}
