//! Snapshots in pages, cursors and positions that are not of this log, and page bounds.

use std::collections::BTreeMap;

use fastrand::Rng;
use rejoin_protocol::limits::{LOG_EFFECTS, LOG_PAGE_BYTES};
use uuid::Uuid;

use super::super::effect::{Effect, Effects};
use super::super::entry::{Offer, Revision};
use super::super::fixture::{author, buckets, columns, image, plain, row};
use super::super::ids::{EntryId, Epoch};
use super::super::key::Key;
use super::super::message::snapshot::{
    SnapshotAnswer, SnapshotNext, SnapshotPage, SnapshotPlace, SnapshotPosition, SnapshotRequest,
};
use super::super::message::{
    Cursor, EntryVerdict, Fetch, Fetched, Item, LogSnapshot, Outcome, Publish, Verdict, ViewedEntry,
};
use super::super::row::{LogRow, RowName};
use super::super::world::World;
use crate::replica::store::ReplicaStore as _;
use crate::replica::{fetch, snapshot};
use crate::server;

const ROWS: [(&str, &str); 5] = [("k0", "b"), ("r0", "a"), ("r1", "a b"), ("r2", "b"), ("r3", "a")];

/// Two authors of both buckets, and a reader of one of them.
fn world() -> World {
    World::new(&[("phone", "a b"), ("tablet", "a b"), ("desk", "a")], &ROWS)
}

/// Something that changes, moves or hides items.
fn happens(world: &mut World, rng: &mut Rng) {
    let name = ["phone", "tablet"][rng.usize(..2)];
    let id = ROWS[rng.usize(..ROWS.len())].0;
    let to = ["a", "b"][rng.usize(..2)];
    let written = match rng.u8(..6) {
        0 => world.try_act(name, &format!("move {id} {to}")).is_ok(),
        1 => world.try_act(name, &format!("create {to} new")).is_ok(),
        2 => world.try_act(name, &format!("sell {id}")).is_ok(),
        3 => world.try_sql(name, plain(id, Effect::Delete)).is_ok(),
        4 => world.try_sql(name, plain(id, Effect::Insert(image("a b", "again")))).is_ok(),
        _ => world.try_act(name, &format!("append {id} x")).is_ok(),
    };
    if written && rng.u8(..4) > 0 {
        world.sync(name);
    }
}

/// The pages of a snapshot so far.
#[derive(Default)]
struct Pages {
    after: Option<SnapshotPosition>,
    base: Vec<(RowName, LogRow)>,
    items: BTreeMap<EntryId, ViewedEntry>,
}

impl Pages {
    /// The next page for the reader, which has the author number 3.
    fn next(&self, world: &World, limit: usize) -> SnapshotAnswer {
        let request = SnapshotRequest { after: self.after.clone(), limit };
        server::snapshot::snapshot_page(&world.server, author(3), &request).unwrap()
    }

    /// Adds a page; returns the snapshot after the last one.
    fn add(&mut self, answer: SnapshotAnswer) -> Option<LogSnapshot> {
        let SnapshotAnswer::Page(page) = answer else { panic!("{answer:?}") };
        let SnapshotPage { stamp, buckets, horizon, base, items, next, .. } = *page;
        self.base.extend(base);
        for item in items {
            match item {
                Item::Entry(seen) => drop(self.items.insert(seen.key.id, *seen)),
                Item::Gone(id) => drop(self.items.remove(&id)),
            }
        }
        let cursor = match next {
            SnapshotNext::Cursor(cursor) => cursor,
            SnapshotNext::Next(position) => {
                self.after = Some(position);
                return None;
            }
        };
        let Self { base, items, .. } = std::mem::take(self);
        let mut items: Vec<ViewedEntry> = items.into_values().collect();
        items.sort_unstable_by_key(|seen| seen.key);
        Some(LogSnapshot { stamp, buckets, horizon, base, items, cursor })
    }
}

/// The device of the reader has the author number 3.
fn whole(world: &World) -> LogSnapshot {
    server::snapshot::snapshot(&world.server, author(3)).unwrap()
}

/// The device of the reader learns that it needs a snapshot. Returns whether it does.
fn resyncs(world: &mut World) -> bool {
    world.joins("desk", "a b");
    world.joins("desk", "a");
    let request = fetch::fetch_request(world.device("desk"), 1).unwrap();
    let answer = world.server.fetch(author(3), &request).unwrap();
    fetch::take_fetched(world.device("desk"), &answer).unwrap();
    snapshot::needs_snapshot(world.device("desk"))
}

/// The answer to the next page request of the reader's device, with few rows.
fn answer(world: &mut World) -> SnapshotAnswer {
    let request = snapshot::page_request(world.device("desk"), 2);
    server::snapshot::snapshot_page(&world.server, author(3), &request).unwrap()
}

/// Reads a snapshot in pages; returns it, and the number of pages.
fn paged(
    world: &mut World,
    limit: usize,
    mut between: impl FnMut(&mut World),
) -> (LogSnapshot, u32) {
    let mut collected = Pages::default();
    for pages in 1..1_000 {
        if let Some(snapshot) = collected.add(collected.next(world, limit)) {
            return (snapshot, pages);
        }
        between(world);
    }
    panic!("pages without end")
}

#[test]
pub(super) fn pages_with_changes_between_them_give_the_snapshot_of_the_last_page() {
    let (mut most, mut moved) = (0, 0);
    for seed in 0..300 {
        let (mut rng, mut world) = (Rng::with_seed(seed), world());
        for at in 0..rng.usize(..14) {
            happens(&mut world, &mut rng);
            if at == 5 && rng.bool() {
                world.now += 20_000;
                world.compacts();
            }
        }
        let (limit, mut changes) = (1 + rng.usize(..4), rng.usize(..8));
        let before = whole(&world).cursor;
        let (snapshot, pages) = paged(&mut world, limit, |world| {
            for _ in 0..rng.usize(..3).min(changes) {
                changes -= 1;
                happens(world, &mut rng);
            }
        });
        assert_eq!(snapshot, whole(&world), "seed {seed}");
        moved += u32::from(snapshot.cursor > before);
        most = most.max(pages);

        // The device has what it would have with the snapshot at once.
        assert!(resyncs(&mut world));
        while snapshot::needs_snapshot(world.device("desk")) {
            world.takes_snapshot("desk");
            if rng.u8(..4) == 0 {
                happens(&mut world, &mut rng);
            }
        }
        world.settle();
    }
    assert!(most > 10 && moved > 50, "{most} pages at most, {moved} runs with changes");
}

#[test]
pub(super) fn change_of_horizon_epoch_or_membership_restarts_a_snapshot() {
    for change in 0..3 {
        let mut world = world();
        world.act("phone", "append r0 x");
        world.sync("phone");
        assert!(resyncs(&mut world));
        let shown = world.device("desk").rows().unwrap();
        world.takes_snapshot("desk");
        match change {
            0 => {
                world.now += 20_000;
                world.compacts();
            }
            1 => world.restores(&world.server.store().clone(), 2),
            _ => world.joins("desk", "a b"),
        }
        assert!(world.device("desk").store().page_after(0).unwrap().is_some(), "{change}");
        assert_eq!(answer(&mut world), SnapshotAnswer::Restart, "{change}");
        world.takes_snapshot("desk");
        assert_eq!(world.device("desk").facts().loading, None, "it begins again");
        assert_eq!(world.device("desk").store().page_after(0).unwrap(), None, "{change}");
        assert_eq!(world.device("desk").rows().unwrap(), shown, "the app sees the old rows");
        world.settle();
        assert_eq!(world.device("desk").store().page_after(0).unwrap(), None, "{change}");
    }
}

#[test]
pub(super) fn late_or_doubled_page_is_ignored() {
    let mut world = world();
    for _ in 0..3 {
        world.act("phone", "append r0 x");
    }
    world.sync("phone");
    assert!(resyncs(&mut world));
    let mut seen = Vec::new();
    while snapshot::needs_snapshot(world.device("desk")) {
        seen.push(answer(&mut world));
        world.takes_snapshot("desk");
        let state = |world: &mut World| {
            let desk = world.device("desk");
            let pages = (0..9).map(|number| desk.store().page_after(number).unwrap());
            (desk.facts().clone(), pages.collect::<Vec<_>>(), desk.rows().unwrap())
        };
        let before = state(&mut world);
        for old in &seen {
            snapshot::take_page(world.device("desk"), old).unwrap();
            assert_eq!(state(&mut world), before);
        }
    }
    assert_eq!(seen.len(), 4, "two of rows, two of items");
    world.settle();
}

/// A device that was closed between any two pages continues with the next.
#[test]
pub(super) fn restart_amid_the_pages_of_a_later_snapshot_continues_with_the_next() {
    let mut world = world();
    for id in ["r0", "r3"] {
        world.act("phone", &format!("append {id} x"));
    }
    world.sync("phone");
    assert!(resyncs(&mut world));
    let mut pages = 0;
    while snapshot::needs_snapshot(world.device("desk")) {
        world.takes_snapshot("desk");
        world.restarts("desk");
        pages += 1;
    }
    assert_eq!(pages, 3, "two of rows, one of items");
    world.settle();
}

/// A position of another device, above the head or invented shows nothing that the requester may
/// not read.
#[test]
pub(super) fn forged_position_of_a_snapshot_shows_no_hidden_row() {
    let mut world = world();
    world.act("phone", "append r2 secret");
    world.act("phone", "append r0 open");
    world.sync("phone");
    let (stamp, horizon) = (whole(&world).stamp, world.server.facts().horizon);
    let head = world.server.facts().head;
    let ask = |at| {
        let after = Some(SnapshotPosition { stamp, horizon, at });
        let request = SnapshotRequest { after, limit: usize::MAX };
        server::snapshot::snapshot_page(&world.server, author(3), &request).unwrap()
    };
    for at in [head + 1, u64::MAX] {
        assert_eq!(ask(SnapshotPlace::Cursor(Cursor(at))), SnapshotAnswer::Restart);
    }
    for (table, id) in [("", ""), ("k", "k0"), ("r", "r2"), ("r", "zzz"), ("zzz", "")] {
        let SnapshotAnswer::Page(page) = ask(SnapshotPlace::Row(RowName::new(table, id))) else {
            panic!("{table} {id}")
        };
        assert!(page.base.iter().all(|(name, _)| *name != row("k0") && *name != row("r2")));
        assert!(!format!("{page:?}").contains("secret"), "{page:?}");
        if let SnapshotNext::Next(SnapshotPosition { at: SnapshotPlace::Row(last), .. }) = page.next
        {
            assert_ne!(last, row("r2"), "no position names a hidden row");
        }
    }
    let SnapshotAnswer::Page(page) = ask(SnapshotPlace::Cursor(Cursor(0))) else { panic!() };
    assert_eq!((page.base.len(), page.items.len()), (0, 1));
}

#[test]
pub(super) fn cursor_above_the_head_or_of_another_log_is_answered_resync() {
    let mut world = world();
    world.act("phone", "append r2 secret");
    world.act("phone", "append r0 open");
    world.sync("phone");
    let (stamp, head) = (whole(&world).stamp, world.server.facts().head);
    let ask = |stamp, cursor| {
        let request = Fetch { stamp, cursor: Cursor(cursor), limit: usize::MAX };
        world.server.fetch(author(3), &request).unwrap()
    };
    assert_eq!(ask(stamp, head + 1), Fetched::Resync);
    assert_eq!(ask(stamp, u64::MAX), Fetched::Resync);
    let mut foreign = stamp;
    foreign.epoch = Epoch(Uuid::from_u128(77));
    assert_eq!(ask(foreign, 0), Fetched::Resync, "a cursor of another log has another epoch");
    for cursor in 0..=head {
        let Fetched::Page(page) = ask(stamp, cursor) else { panic!("{cursor} is of this log") };
        assert_eq!(page.next, Cursor(head));
        assert!(!format!("{page:?}").contains("secret"), "{page:?}");
    }
}

/// A device publishes in the name of another author, or too much.
#[test]
pub(super) fn forged_author_or_oversized_entry_is_denied() {
    let mut world = world();
    let victim = world.device("tablet").facts().author;
    let stamp = world.device("phone").facts().stamp.unwrap();
    let effects = plain("r0", Effect::Update(columns("text", "forged")));
    let rows = |count: usize| -> Effects {
        (0..count).map(|at| (RowName::new("d", at.to_string()), Effect::Delete)).collect()
    };
    let mut number = 0;
    let mut offers = |world: &mut World, author, id, revision, effects: Effects| {
        number += 1;
        let key = Key { millis: world.now, counter: 1, author, id };
        let offer = Offer { key, time: 1, intent: None, revision: Revision(revision), effects };
        let answer = world.deliver("phone", &Publish { stamp, number, offers: vec![offer] });
        let Outcome::Verdicts { mut verdicts } = answer.outcome else { panic!("{answer:?}") };
        let EntryVerdict { id: answered, verdict } = verdicts.remove(0);
        assert_eq!(answered, id);
        verdict
    };
    let (mine, id, known) = (author(1), world.new_id(), world.new_id());
    assert_eq!(offers(&mut world, victim, id, 0, effects), Verdict::Denied);
    assert_eq!(offers(&mut world, mine, id, 0, rows(LOG_EFFECTS + 1)), Verdict::Denied);
    assert_eq!(world.server.entries().unwrap(), []);
    let held = |verdict| matches!(verdict, Verdict::Held { revision: Revision(0), .. });
    assert!(held(offers(&mut world, mine, known, 0, rows(1))));
    let larger = rows(LOG_EFFECTS + 1);
    assert_eq!(offers(&mut world, mine, known, 1, larger.clone()), Verdict::Denied);
    assert!(held(offers(&mut world, mine, known, 0, larger)), "identity is checked first");
    assert_eq!(world.server.entries().unwrap().remove(0).content.effects, rows(1));
}

/// However many items a device asks for, a page ends after its bytes; a larger item is alone.
#[test]
pub(super) fn page_ends_after_its_bytes() {
    let mut world = world();
    let large = "x".repeat(LOG_PAGE_BYTES / 2);
    for id in ["r0", "r1", "r3"] {
        world.sql("phone", id, Effect::Update(columns("text", large.as_str())));
    }
    world.sync("phone");
    let stamp = whole(&world).stamp;
    let request = Fetch { stamp, cursor: Cursor(0), limit: usize::MAX };
    let Fetched::Page(page) = world.server.fetch(author(3), &request).unwrap() else { panic!() };
    assert_eq!((page.items.len(), page.more), (2, true));
    assert!(page.items.iter().all(|item| matches!(item, Item::Entry(_))));
    world.now += 20_000;
    world.compacts();
    let (snapshot, pages) = paged(&mut world, usize::MAX, |_| {});
    assert_eq!(snapshot.base.len(), 3);
    assert_eq!(pages, 3, "two of rows, and one of items");
    assert_eq!(snapshot.buckets, buckets("a").into());
}

/// A late entry moves the row away below an item that was already sent.
#[test]
pub(super) fn item_that_is_hidden_between_pages_is_not_in_the_snapshot() {
    let mut world = world();
    world.act("tablet", "move r0 b"); // Offline, earlier key.
    world.act("phone", "append r0 x");
    world.act("phone", "append r3 y");
    world.sync("phone");
    let (mut collected, mut late) = (Pages::default(), true);
    let snapshot = loop {
        let answer = collected.next(&world, 1);
        let sent = matches!(&answer, SnapshotAnswer::Page(page) if !page.items.is_empty());
        if let Some(snapshot) = collected.add(answer) {
            break snapshot;
        }
        if sent && std::mem::take(&mut late) {
            world.sync("tablet");
        }
    };
    assert_eq!(snapshot, whole(&world));
    assert_eq!(snapshot.items.len(), 2, "the append to r3, and the row that has left");
}
