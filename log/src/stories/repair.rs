//! Damaged rows, and their repair from the server's base and items.

use std::collections::BTreeSet;

use fastrand::Rng;
use rejoin_protocol::limits::{LOG_ROWS_BYTES, LOG_ROWS_ENTRIES};

use super::super::effect::{Effect, Effects};
use super::super::fixture::{author, columns, image, plain, row};
use super::super::message::rows::{NamedRows, RowsAnswer, RowsRequest};
use super::super::replica::memory::MemoryReplica;
use super::super::replica::store::{ReplicaStore as _, Shown};
use super::super::row::RowName;
use super::super::store::{LogRows as _, Table as _};
use super::super::world::World;
use super::two;
use crate::key::Key;
use crate::replica::publish::publish_request;
use crate::replica::repair::{rows_request, take_rows};
use crate::server::rows::named_rows;

const IDS: [&str; 5] = ["r0", "r1", "r2", "s0", "s1"];

fn text(text: &str) -> Effect {
    Effect::Update(columns("text", text))
}

/// Writes of two authors, most of them published and fetched, unless the device is `damaged`.
fn happens(world: &mut World, rng: &mut Rng, damaged: &str) {
    let name = ["phone", "tablet"][rng.usize(..2)];
    let id = IDS[rng.usize(..IDS.len())];
    let written = match rng.u8(..6) {
        0 => world.try_act(name, &format!("move {id} {}", ["a", "b"][rng.usize(..2)])).is_ok(),
        1 => world.try_act(name, &format!("sell {id}")).is_ok(),
        2 => world.try_sql(name, plain(id, Effect::Delete)).is_ok(),
        3 => world.try_sql(name, plain(id, Effect::Insert(image("a b", "again")))).is_ok(),
        _ => world.try_act(name, &format!("append {id} x")).is_ok(),
    };
    if written && name != damaged && rng.u8(..4) > 0 {
        world.sync(name);
    }
}

/// Changes rows, and effects of items on them, as a failing disk would; returns the rows.
fn damage(store: &mut MemoryReplica, rng: &mut Rng) -> Vec<RowName> {
    let mut damaged = Vec::new();
    for id in IDS.map(row) {
        match rng.u8(..6) {
            0 => store.put_row(&id, None).unwrap(),
            1 => store.put_row(&id, Some(&image("a", "broken"))).unwrap(),
            2 => lose_effects(store, &id, rng),
            _ => continue,
        }
        damaged.push(id);
    }
    damaged
}

/// Removes or adds the effect of an item on a row, without a change of the row.
fn lose_effects(store: &mut MemoryReplica, id: &RowName, rng: &mut Rng) {
    let steps = store.steps().keys().unwrap();
    let Some(key) = rng.choice(&steps) else { return };
    let Some(mut record) = store.record(key.id).unwrap() else { return };
    let Some(item) = record.item.take().filter(|_| record.own.is_none()) else { return };
    let others = item.effects.iter().filter(|(name, _)| *name != id);
    let mut effects: Vec<_> = others.map(|(name, effect)| (name.clone(), effect.clone())).collect();
    if effects.len() == item.effects.iter().count() && store.row(id).unwrap().is_some() {
        effects.push((id.clone(), Effect::Update(columns("text", "broken"))));
    }
    let effects: Effects = effects.into_iter().collect();
    record.item = Some(Shown { effects, ..item });
    store.steps_mut().put(key, &record.footprint()).unwrap();
    store.put_record(key.id, &record).unwrap();
}

fn ask(
    world: &mut World,
    name: &str,
    number: u128,
    rows: Vec<RowName>,
) -> (RowsRequest, RowsAnswer) {
    let request = rows_request(world.device(name), rows).unwrap();
    let answer = named_rows(&world.server, author(number), &request).unwrap();
    (request, answer)
}

fn rows_of(answer: RowsAnswer) -> NamedRows {
    match answer {
        RowsAnswer::Rows(rows) => rows,
        RowsAnswer::Resync => panic!("a snapshot is required"),
    }
}

#[test]
fn damaged_rows_are_repaired_by_name_whatever_happens_meanwhile() {
    let mut repaired = 0;
    for seed in 0..2_000 {
        let mut rng = Rng::with_seed(seed);
        let rows = IDS.map(|id| (id, "a b"));
        let mut world = World::new(&[("phone", "a b"), ("tablet", "a b"), ("desk", "a")], &rows);
        for _ in 0..rng.u8(1..12) {
            happens(&mut world, &mut rng, "");
            if rng.u8(..6) == 0 {
                world.now += 100_000;
                world.compacts();
            }
        }
        let (name, number) = [("phone", 1), ("desk", 3)][rng.usize(..2)];
        world.fetch(name);
        let damaged = world.damages(name, |store| damage(store, &mut rng));
        repaired += damaged.len();
        let between = rng.u8(..3);
        for _ in 0..between {
            happens(&mut world, &mut rng, name);
        }
        let (request, answer) = ask(&mut world, name, number, damaged);
        let answer = rows_of(answer);
        take_rows(world.device(name), &request, &answer).unwrap();
        let rows = world.device(name).rows().unwrap();
        take_rows(world.device(name), &request, &answer).unwrap();
        assert_eq!(world.device(name).rows().unwrap(), rows, "a second delivery changes nothing");
        world.holds(name);
        world.settle();
    }
    assert!(repaired > 4_000, "{repaired}");
}

#[test]
fn repair_touches_no_other_row_and_keeps_the_own_entries() {
    let mut world = World::new(&[("phone", "a"), ("tablet", "a")], &[("r0", "a"), ("r1", "a")]);
    world.act("tablet", "append r0 t");
    world.sync("tablet");
    world.fetch("phone");
    let mine = world.act("phone", "append r0 p");
    world.damages("phone", |store| {
        store.put_row(&row("r0"), Some(&image("a", "broken"))).unwrap();
        store.put_row(&row("r1"), Some(&image("a", "broken"))).unwrap();
    });
    let (request, answer) = ask(&mut world, "phone", 1, vec![row("r0")]);
    let answer = rows_of(answer);
    assert_eq!((answer.base.len(), answer.items.len()), (1, 1));
    take_rows(world.device("phone"), &request, &answer).unwrap();
    assert_eq!(
        (world.text("phone", "r0"), world.text("phone", "r1")),
        ("tp".into(), "broken".into())
    );
    assert!(world.device("phone").store().record(mine).unwrap().unwrap().is_unpublished());
}

#[test]
fn items_of_a_deleted_row_stay() {
    let mut world = two();
    let created = world.sql("tablet", "r1", Effect::Insert(image("a", "new")));
    let deleted = world.sql("tablet", "r1", Effect::Delete);
    world.sync("tablet");
    world.fetch("phone");
    world.damages("phone", |store| store.put_row(&row("r1"), Some(&image("a", "broken"))).unwrap());
    let (request, answer) = ask(&mut world, "phone", 1, vec![row("r1")]);
    take_rows(world.device("phone"), &request, &rows_of(answer)).unwrap();
    assert_eq!(world.text("phone", "r1"), "gone");
    world.holds("phone");
    for id in [created, deleted] {
        let record = world.device("phone").store().record(id).unwrap();
        assert!(record.unwrap().item.unwrap().effects.get(&row("r1")).is_some());
    }
}

#[test]
fn hidden_row_is_answered_like_a_missing_one() {
    let mut world = World::new(&[("phone", "a b"), ("desk", "a")], &[("r0", "b"), ("r1", "a")]);
    let both = [(row("r0"), text("secret")), (row("r1"), text("public"))].into_iter().collect();
    world.try_sql("phone", both).unwrap();
    world.sync("phone");
    let rows = vec![row("r0"), row("none")];
    let (_, answer) = ask(&mut world, "desk", 2, rows);
    assert_eq!(rows_of(answer), NamedRows::default(), "not even the entry that wrote both");
    for _ in 0..=LOG_ROWS_ENTRIES {
        world.sql("phone", "r0", text("again"));
    }
    let all = publish_request(world.device("phone"), usize::MAX, &BTreeSet::new());
    let now = world.now;
    world.server.publish(author(1), &all.unwrap().unwrap(), now).unwrap();
    let (_, answer) = ask(&mut world, "desk", 2, vec![row("r0")]);
    assert_eq!(rows_of(answer), NamedRows::default(), "not even a long history");
    let (_, answer) = ask(&mut world, "phone", 1, vec![row("r0")]);
    assert_eq!(answer, RowsAnswer::Resync);
    let (_, answer) = ask(&mut world, "desk", 2, vec![row("r1")]);
    let effects: Vec<_> = rows_of(answer).items.into_iter().map(|item| item.effects).collect();
    assert_eq!(effects, [plain("r1", text("public"))]);
}

#[test]
fn another_base_or_membership_and_a_long_history_require_a_snapshot() {
    let mut world = two();
    world.act("tablet", "append r0 t");
    world.sync("tablet");
    world.fetch("phone");
    let request = rows_request(world.device("phone"), vec![row("r0")]).unwrap();
    let ask = |world: &World, request: &RowsRequest| {
        named_rows(&world.server, author(1), request).unwrap()
    };
    assert!(matches!(ask(&world, &request), RowsAnswer::Rows(_)));
    let above = RowsRequest { horizon: Key::LAST, ..request.clone() };
    assert_eq!(ask(&world, &above), RowsAnswer::Resync);

    let long = "x".repeat(LOG_ROWS_BYTES / 2);
    for _ in 0..3 {
        world.sql("tablet", "r0", Effect::Update(columns("text", long.as_str())));
    }
    world.sync("tablet");
    assert_eq!(ask(&world, &request), RowsAnswer::Resync);

    world.now += 100_000;
    world.compacts();
    assert_eq!(ask(&world, &request), RowsAnswer::Resync);
    world.fetch("phone");
    let late = NamedRows::default();
    take_rows(world.device("phone"), &request, &late).unwrap();
    assert!(world.device("phone").row(&row("r0")).unwrap().is_some(), "a late answer is ignored");

    let request = rows_request(world.device("phone"), vec![row("r0")]).unwrap();
    assert!(matches!(ask(&world, &request), RowsAnswer::Rows(_)));
    world.joins("phone", "a b");
    assert_eq!(ask(&world, &request), RowsAnswer::Resync);
    world.fetch("phone");
}
