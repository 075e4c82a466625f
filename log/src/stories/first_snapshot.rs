//! A first snapshot: its pages are stored one by one, through restarts, changes of the server and
//! writes of the app.

use super::super::world::World;
use crate::effect::Effect;
use crate::fixture::{buckets, image};
use crate::key::Key;
use crate::replica::snapshot;
use crate::server::horizon;

const ROWS: [(&str, &str); 6] =
    [("k0", "a"), ("r0", "a"), ("r1", "b"), ("r2", "a"), ("r3", "a b"), ("r4", "a")];

/// Rows at the horizon, entries above it, and a new device of a user of one bucket.
fn world() -> World {
    let mut world = World::new(&[("phone", "a b"), ("desk", "a")], &ROWS);
    for id in ["r0", "r2", "r4"] {
        world.act("phone", &format!("append {id} x"));
    }
    world.sync("phone");
    world.adds_new("new", "desk");
    world
}

fn needs_snapshot(world: &mut World) -> bool {
    snapshot::needs_snapshot(world.device("new"))
}

/// Takes pages until the snapshot is complete; returns their number.
fn load(world: &mut World, mut between: impl FnMut(&mut World, u32)) -> u32 {
    for pages in 1..100 {
        world.takes_snapshot("new");
        if !needs_snapshot(world) {
            return pages;
        }
        between(world, pages);
    }
    panic!("pages without end")
}

#[test]
fn restart_after_any_page_continues_with_the_next() {
    let plain = load(&mut world(), |_, _| {});
    assert!(plain > 3, "{plain} pages");
    let mut world = world();
    let restarted = load(&mut world, |world, _| world.restarts("new"));
    assert_eq!(restarted, plain);
    world.settle();
}

#[test]
fn writes_between_the_pages_stay_and_are_published_at_the_end() {
    let mut world = world();
    world.sql("new", "r9", Effect::Insert(image("a", "before")));
    load(&mut world, |world, page| {
        world.act("new", &format!("append r9 {page}"));
        assert_eq!(world.request("new"), None, "nothing is published before the last page");
    });
    world.settle();
    assert!(world.text("phone", "r9").starts_with("before12"));
}

#[test]
fn snapshot_that_begins_again_keeps_no_row_of_its_first_pages() {
    for change in 0..3 {
        let mut world = world();
        world.act("new", "create a mine");
        let mut rows = Vec::new();
        load(&mut world, |world, page| {
            if page == 2 {
                match change {
                    0 => {
                        world.sql("phone", "k0", Effect::Delete);
                        world.sync("phone");
                        world.now += 20_000;
                        world.compacts();
                    }
                    1 => world.restores(&world.server.store().clone(), 2),
                    _ => world.joins("desk", "b"),
                }
            }
            rows.push(world.device("new").rows().unwrap().len());
        });
        assert!(
            rows.windows(2).any(|pair| pair[1] < pair[0]),
            "{change}: it began again, {rows:?}"
        );
        let sees = world.device("new").facts().buckets.clone();
        assert_eq!(sees, Some(buckets(if change == 2 { "b" } else { "a" }).into()));
        world.settle();
    }
}

/// What the pages so far have shown as own entries are those of another author then.
#[test]
fn copy_that_takes_a_new_author_amid_the_pages_has_the_rows_of_its_user() {
    let mut world = world();
    world.act("desk", "append r0 z");
    world.sync("desk");
    for pages in 1..5 {
        let name = ["a", "b", "c", "d"][pages - 1];
        world.adds_new(name, "desk");
        for _ in 0..pages {
            world.takes_snapshot(name);
        }
        world.renames(name, "desk", 50 + pages as u128);
        world.settle();
    }
}

/// Compaction raises the horizon whenever it runs, also when no entry is old enough.
#[test]
fn horizon_that_folds_nothing_restarts_no_snapshot() {
    let plain = load(&mut world(), |_, _| {});
    let mut world = world();
    let pages = load(&mut world, |world, page| {
        // Below every entry.
        let to = Key::end_of(page.into());
        horizon::raise_horizon(&mut world.server, to, world.now, 100).unwrap();
        assert_eq!(world.server.facts().horizon, to);
    });
    assert_eq!(pages, plain);
    world.settle();
}
