//! Regression tests found by the simulation, each from a shrunken run, and the cost of a chain of
//! entries.

use super::effect::Effect;
use super::fixture::columns;
use super::world::World;
use crate::replica::publish;
use rejoin_protocol::Value;
use std::collections::BTreeSet;

/// The server accepted an entry and was then restored from an older backup. Its response arrived
/// after the snapshot of the new epoch. The device took the entry as acknowledged, so the server
/// never received it again.
#[test]
fn response_of_another_epoch_acknowledges_nothing() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "a")], &[("r0", "a")]);
    world.sql("phone", "r0", Effect::Update(columns("text", "milk")));
    let backup = world.server.store().clone();
    world.fetch("phone");
    let request = world.request("phone").unwrap();
    let slow = world.deliver("phone", &request);

    world.restores(&backup, 2);
    world.fetch("phone");
    world.answer("phone", &slow);

    world.settle();
    assert_eq!(world.text("tablet", "r0"), "milk");
}

/// Two copies of a database had the same entry, and one published it with another key. On the other
/// copy the entry moved to that key but was not run again there, because no row that it had named
/// had changed.
#[test]
fn own_action_that_gets_another_key_is_run_again() {
    let mut world =
        World::new(&[("phone", "a"), ("tablet", "a"), ("desk", "a")], &[("r0", "a"), ("r1", "a")]);
    world.act("phone", "append r0 x"); // Offline, like its copy.
    world.copies("phone", "twin");
    world.act("tablet", "append r1 z");
    world.sync("tablet");
    world.now += 20_000;
    world.compacts();
    world.act("desk", "append r0 y"); // Offline, after the horizon.
    world.now += 100;
    world.sync("phone"); // Too old: it gets a new key.
    world.sync("phone");
    world.sync("desk");

    world.fetch("twin"); // Asserts that nothing else must be run again.
    assert_eq!(world.text("twin", "r0"), "yx");
}

/// The author joined a bucket. A late entry moved the author's row there too, which voided the
/// author's own entry under its old write set; the void view came on a later page. No row before
/// the own entry changed then, so it was not run again and stayed void.
#[test]
fn entry_that_comes_back_void_after_a_join_is_run_again() {
    let mut world = World::new(
        &[("phone", "c"), ("tablet", "a c"), ("desk", "c")],
        &[("r0", "c"), ("r1", "c")],
    );
    world.sql("tablet", "r0", Effect::Update(columns("buckets", "a c"))); // Offline, earlier key.
    world.act("phone", "append r0 x");
    world.sync("phone");
    world.joins("phone", "a c");
    world.fetch("phone");
    world.act("desk", "append r1 y");
    world.act("desk", "append r1 z");
    world.sync("desk");
    world.sync("tablet");
    world.fetch("phone"); // Pages of three: its own entry is on the second.
    world.settle();
    assert_eq!(world.text("phone", "r0"), "x");
}

/// A row was moved where its author could not see it, so the author's sale was void. The row came
/// back on one page, and the sale was valid again only on a later page. It was run when the row
/// came back, without effect at that time.
#[test]
fn entry_valid_again_on_a_later_page_is_run_again() {
    let mut world = World::new(&[("phone", "a"), ("desk", "a p")], &[("r0", "a")]);
    world.act("desk", "move r0 p"); // Offline, earlier key, like all of the desk's.
    let sold = world.act("desk", "sell r0");
    world.act("desk", "create a one");
    world.act("desk", "create a two");
    world.act("desk", "move r0 a");
    world.act("phone", "sell r0");
    world.sync("phone");
    world.fetch("desk");
    let first =
        publish::publish_request(world.device("desk"), 1, &BTreeSet::new()).unwrap().unwrap();
    let answer = world.deliver("desk", &first);
    world.answer("desk", &answer);
    world.fetch("phone");
    assert_eq!(world.text("phone", "r0"), "gone");

    world.sync("desk");
    world.fetch("phone"); // Pages of three: its own entry is on the second.
    world.settle();
    let owner = world.columns_of("desk", "r0").unwrap()["owner"].clone();
    assert_eq!(owner, Value::from(sold.to_string()));
}

/// A late entry before a chain costs one correction per entry of the chain, and one round per
/// change of author in it.
#[test]
fn late_entry_costs_one_round_per_change_of_author() {
    for authors in [&["one"][..], &["one", "two"], &["two", "one"], &["six", "two", "one"]] {
        let mut devices: Vec<(&'static str, &str)> =
            authors.iter().map(|name| (*name, "a")).collect();
        devices.push(("late", "a"));
        let mut world = World::new(&devices, &[("r0", "a")]);
        world.act("late", "append r0 L");
        for at in 0..12 {
            let author = authors[at % authors.len()];
            world.sync(author);
            world.act(author, &format!("append r0 {}", at % 10));
            world.sync(author);
        }
        world.sync("late");
        let mut in_turn =
            ["one", "six", "two"].into_iter().filter(|name| authors.contains(name)).cycle();
        let mut rounds = 0;
        loop {
            let round: Vec<bool> = (0..authors.len())
                .filter_map(|_| in_turn.next())
                .map(|name| world.sync(name))
                .collect();
            if !round.contains(&true) {
                break;
            }
            rounds += 1;
        }
        let entries = world.server.entries().unwrap();
        let corrections: u32 = entries.iter().map(|entry| entry.content.revision.0).sum();
        let changes_of_author = if authors.len() == 1 { 0 } else { 11 };
        assert_eq!(corrections, 12, "{authors:?}");
        assert!(rounds <= changes_of_author + 1, "{authors:?}: {rounds} rounds");
        assert_eq!(world.text(authors[0], "r0"), "L012345678901");
    }
}
