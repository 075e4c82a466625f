//! Snapshots in pages: what changes between two pages.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::fixture::{author, buckets, image, row};
use crate::ids::{Name, UserId};
use crate::message::{SnapshotAfter, SnapshotAnswer, SnapshotRequest};
use crate::server::snapshot;
use crate::world::World;

const ROWS: [(&str, &str); 5] = [("r0", "a"), ("r1", "b"), ("r2", "a b"), ("k0", "a"), ("k1", "b")];

fn world() -> World {
    let mut world = World::new(&[("ann", "a b"), ("ben", "a")], &ROWS);
    world.joins("cat", "a");
    world.server.register(author(50), UserId(Name::from("cat"))).unwrap();
    world
}

/// Something that changes the log: an entry, a late entry, a correction, a move, compaction.
fn happens(world: &mut World, rng: &mut Rng) {
    let id = ROWS[rng.usize(..ROWS.len())].0;
    match rng.u8(..10) {
        0..4 => drop(world.try_act("ben", &format!("append {id} b"))),
        4..6 => drop(world.try_act("ann", &format!("append {id} a"))),
        6 => drop(world.try_act("ann", &format!("move {id} b"))),
        7 => drop(world.try_act("ann", &format!("move {id} a"))),
        8 => {
            world.now += 20_000;
            world.compacts();
        }
        _ => {}
    }
    world.sync(if rng.bool() { "ann" } else { "ben" });
}

#[test]
fn pages_give_the_present_snapshot_whatever_changes_between_them() {
    for seed in 0..300 {
        let mut rng = Rng::with_seed(seed);
        let mut world = world();
        (0..rng.u8(..12)).for_each(|_| happens(&mut world, &mut rng));
        let mut changes = rng.u8(..8);
        let snapshot = world.snapshot(author(50), rng.usize(1..4), |world| {
            changes = changes.saturating_sub(1);
            if changes > 0 {
                happens(world, &mut rng);
            }
        });
        let whole = snapshot::snapshot(&world.server, author(50)).unwrap();
        assert_eq!(snapshot, whole, "seed {seed}");
    }
}

#[test]
fn pages_begin_again_when_their_horizon_or_membership_is_no_longer_the_present_one() {
    let mut world = world();
    world.act("ben", "append r0 x");
    world.sync("ben");
    let request = SnapshotRequest { from: None, limit: 1 };
    let first = snapshot::page(&world.server, author(50), &request).unwrap();
    let SnapshotAnswer::Page(page) = first else { panic!("the first page is a page") };
    assert_eq!(page.base.len(), 1, "the limit counts rows");
    assert_eq!(page.cursor, None, "there is more");
    let next = |world: &World| {
        let request = SnapshotRequest { from: page.next.clone(), limit: 1 };
        snapshot::page(&world.server, author(50), &request).unwrap()
    };
    assert!(matches!(next(&world), SnapshotAnswer::Page(_)));
    let mut raised = self::world();
    raised.act("ben", "append r0 x");
    raised.sync("ben");
    raised.now += 20_000;
    raised.compacts();
    assert_eq!(next(&raised), SnapshotAnswer::Restart, "the horizon has risen");
    world.joins("cat", "a b");
    assert_eq!(next(&world), SnapshotAnswer::Restart, "the membership has changed");
}

#[test]
fn place_of_another_user_shows_only_the_callers_rows() {
    let mut world = world();
    world.act("ann", "append r1 secret");
    world.sync("ann");
    let stamp = {
        let request = SnapshotRequest { from: None, limit: 1 };
        match snapshot::page(&world.server, author(50), &request).unwrap() {
            SnapshotAnswer::Page(page) => page,
            SnapshotAnswer::Restart => panic!("the first page is a page"),
        }
    };
    let mut place = stamp.next.clone().unwrap();
    // Just before the rows of bucket b, which cat may not read.
    place.after = SnapshotAfter::Row(row("r0"));
    let request = SnapshotRequest { from: Some(place), limit: 9 };
    let SnapshotAnswer::Page(page) = snapshot::page(&world.server, author(50), &request).unwrap()
    else {
        panic!("a page follows")
    };
    let shown: BTreeMap<_, _> = page.base.into_iter().map(|row| (row.row, row.columns)).collect();
    assert_eq!(shown, BTreeMap::from([(row("r2"), image("a b", ""))]));
    assert_eq!(page.items, [], "r1 is in no bucket of cat's");
    assert_eq!(page.buckets, buckets("a"));
}
