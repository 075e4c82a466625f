//! The referee, parked entries, undo, several buckets, a newer schema (L5, and what lies beside the rules).

use super::super::effect::Effect;
use super::super::fixture::{Louder, author, columns, image, intent, plain, row};
use super::super::ids::{Buckets, UserId};
use super::super::message::{Correct, Correction, Fetched, Item, Standing};
use super::super::replica::LogError;
use super::super::replica::write::Written;
use super::super::world::World;
use super::two;
use rejoin_protocol::Value;
use std::sync::Arc;

/// L5: rules hold while authors are away.
#[test]
pub(super) fn the_referee_judges_while_authors_are_away() {
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
#[test]
pub(super) fn the_referees_word_stands() {
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
#[test]
pub(super) fn the_author_does_not_overrule_the_referee() {
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
#[test]
pub(super) fn a_correction_of_what_has_changed_is_not_taken() {
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
#[test]
pub(super) fn the_referee_sees_what_the_author_sees() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "b")], &[("r0", "a"), ("r1", "b")]);
    world.act("phone", "crowd a 9");
    world.settle();
    assert_eq!(world.judges(), 0);
}

/// Parked entries: tried again in their old place, or done otherwise, now.
#[test]
pub(super) fn a_parked_entry_is_tried_again_edited_or_discarded() {
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
#[test]
pub(super) fn undo_sets_back_what_the_entry_changed() {
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

/// A column that came with a newer schema travels through devices that do not know it.
#[test]
pub(super) fn a_newer_schema_adds_columns() {
    let mut world = two();
    world.sql("phone", "r0", Effect::Update(columns("colour", "red")));
    world.settle();
    world.act("tablet", "append r0 x"); // Knows no colours.
    world.settle();
    let row = world.columns_of("phone", "r0").unwrap();
    assert_eq!((&row["colour"], &row["text"]), (&Value::from("red"), &Value::from("x")));
}

/// L8: nobody is sent what he may not see, nor others' intents.
#[test]
pub(super) fn nothing_hidden_is_sent() {
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
