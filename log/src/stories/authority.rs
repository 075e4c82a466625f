//! The authority, parked entries, several buckets, a newer schema.

use super::super::effect::Effect;
use super::super::fixture::{Louder, author, columns, image, intent, plain, row};
use super::super::ids::{Buckets, UserId};
use super::super::message::{Correct, Corrected, Correction, EpochStamp, Fetched, Item};
use super::super::replica::LogError;
use super::super::replica::write::Written;
use super::super::world::World;
use super::two;
use crate::replica::fetch;
use crate::server::{correct, snapshot};
use rejoin_protocol::Value;
use std::sync::Arc;

/// The authority enforces rules while authors are offline.
#[test]
pub(super) fn authority_corrects_while_authors_are_offline() {
    let mut world = two();
    let first = world.act("tablet", "sell r0"); // Offline, earlier key.
    world.act("phone", "sell r0");
    world.sync("phone");
    world.leaves_for_good("phone");
    world.sync("tablet");
    assert_eq!(world.judges(), 1);
    world.settle();
    let owner = world.columns_of("tablet", "r0").unwrap()["owner"].clone();
    assert_eq!(owner, Value::from(first.to_string()));
}

/// An entry corrected by the authority stays under its authority.
#[test]
pub(super) fn corrected_entry_stays_with_the_authority() {
    let mut world = two();
    let first = world.act("tablet", "sell r0"); // Offline, earlier key.
    let second = world.act("phone", "sell r0");
    world.sync("phone");
    world.sync("tablet");
    world.judges();
    world.act("tablet", "append r0 x");
    world.settle();
    let corrected = |world: &World| {
        let entries = world.server.entries().unwrap();
        entries.iter().find(|entry| entry.id == second).unwrap().clone()
    };
    let entry = corrected(&world);
    assert!(entry.by_authority && entry.content.effects.is_empty() && entry.version == 2);
    let owner = world.columns_of("phone", "r0").unwrap()["owner"].clone();
    assert_eq!(owner, Value::from(first.to_string()));

    assert!(correct::release(&mut world.server, second, world.now).unwrap());
    world.settle();
    assert!(!corrected(&world).by_authority);
}

/// An authority with other code and an author do not overrule each other forever.
#[test]
pub(super) fn author_does_not_overrule_the_authority() {
    let mut world = two();
    world.act("tablet", "append r0 x"); // Offline, earlier key.
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

/// A correction is accepted only if the content is still the one that the authority read.
#[test]
pub(super) fn correction_of_changed_content_is_rejected() {
    let mut world = two();
    world.act("tablet", "append r0 x"); // Offline, earlier key.
    let late = world.act("phone", "append r0 y");
    world.sync("phone");
    world.judges();
    world.sync("tablet");
    let stamp = world.device("phone").facts().stamp.unwrap();
    let effects = plain("r0", Effect::Update(columns("text", "Y")));
    let corrections = vec![Correction { id: late, version: 1, effects }];
    world.sync("phone"); // Revision 1: version 2.
    world
        .server
        .set_buckets(&UserId("authority".into()), Buckets::default(), Buckets::default())
        .unwrap();
    let stamp = EpochStamp { membership: 0, ..stamp };
    let request = Correct { stamp, corrections };
    let done = correct::correct(&mut world.server, author(99), &request, world.now);
    assert_eq!(done, Ok(Corrected::default()));
    world.settle();
    assert_eq!(world.text("tablet", "r0"), "xy");
}

/// The authority runs an entry on the rows that its author may read.
#[test]
pub(super) fn authority_sees_what_the_author_sees() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "b")], &[("r0", "a"), ("r1", "b")]);
    world.act("phone", "crowd a 9");
    world.settle();
    assert_eq!(world.judges(), 0);
}

/// The authority sees its own entries also in a bucket that its user has left: it runs the entries of
/// others on their rows.
#[test]
pub(super) fn authority_sees_its_own_entries_in_a_bucket_that_its_user_left() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "a")], &[("r0", "a")]);
    correct::appoint(&mut world.server, Some(author(1))).unwrap();
    world.fetch("phone");
    world.act("phone", "append r0 x");
    world.sync("phone");
    world.joins("phone", "");
    world.fetch("phone");
    assert_eq!(world.text("phone", "r0"), "x");
}

/// Parked entries: retried at their old key, or edited with a new one.
#[test]
pub(super) fn parked_entry_is_retried_edited_or_discarded() {
    let mut world = World::new(&[("phone", "a b"), ("tablet", "a")], &[("r0", "a")]);
    let insert = |text| Effect::Insert(image("b", text));
    let ids = ["k0", "k1", "k2"].map(|id| world.sql("phone", id, insert(id)));
    world.act("phone", "append r0 y");
    world.joins("phone", "a");
    world.settle();
    assert_eq!(world.device("phone").parked().unwrap().len(), 3);
    assert_eq!(world.text("tablet", "r0"), "y", "parked entries must block nothing");

    let (new, now) = (world.new_id(), world.now);
    let other = Written::Action(intent("create a two"));
    world.device("phone").edit_parked(ids[1], new, other, now).unwrap();
    world.device("phone").discard(ids[2]).unwrap();
    world.joins("phone", "a b");
    world.settle();
    world.device("phone").retry(ids[0]).unwrap();
    world.settle();
    let keys: Vec<_> = world.server.entries().unwrap().iter().map(|entry| entry.id).collect();
    assert_eq!(
        (keys[0], *keys.last().unwrap()),
        (ids[0], new),
        "retried at its old key, edited with a new one"
    );
    assert_eq!(world.device("phone").parked().unwrap(), []);
    assert_eq!(world.device("phone").discard(ids[0]), Err(LogError::NotThere(ids[0])));
}

/// A row in several buckets is readable by the members of each, and writable by the members of all.
#[test]
pub(super) fn a_row_in_several_buckets() {
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

/// A column of a newer schema passes through devices that do not have it.
#[test]
pub(super) fn a_newer_schema_adds_columns() {
    let mut world = two();
    world.sql("phone", "r0", Effect::Update(columns("colour", "red")));
    world.settle();
    world.act("tablet", "append r0 x"); // Has no column for colours.
    world.settle();
    let row = world.columns_of("phone", "r0").unwrap();
    assert_eq!((&row["colour"], &row["text"]), (&Value::from("red"), &Value::from("x")));
}

/// A user receives no invisible rows, and no intents of others.
#[test]
pub(super) fn nothing_hidden_is_sent() {
    let mut world = World::new(&[("phone", "a p"), ("tablet", "a")], &[("r0", "a"), ("r1", "p")]);
    world.act("phone", "append r1 secret");
    world.act("phone", "move r0 p");
    world.act("phone", "append r0 secret");
    world.sync("phone");
    let tablet = author(2);
    let snapshot = snapshot::snapshot(&world.server, tablet).unwrap();
    let request = fetch::fetch_request(world.device("tablet"), 100).unwrap();
    let Fetched::Page(page) = world.server.fetch(tablet, &request).unwrap() else { panic!() };
    let sent = format!("{snapshot:?} {page:?}");
    assert!(!sent.contains("secret") && !sent.contains("append"), "{sent}");
    assert_eq!(page.items.len(), 1, "only the deleted row");
    assert!(page.items.iter().all(|item| matches!(item, Item::Entry(_))));
    world.settle();
}
