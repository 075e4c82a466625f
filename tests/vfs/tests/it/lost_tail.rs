//! A power cut loses transactions that were already pushed. The device does not remember what it
//! sent, so it assigns their numbers again to other content, and sends mutations again. Nothing may
//! be applied twice, and no new mutation may be taken for a repetition.

use fastrand::Rng;
use rejoin_core::engine::CheckpointMode::Truncate;
use rejoin_core::engine::rebase::decide;
use rejoin_vfs::Style;
use serde_json::Value as Json;

use crate::world::Step::{Checkpoint, Pass, Write};
use crate::world::{Step, World};

/// Loses everything that was not synced.
fn lose(world: &mut World) {
    world.restore(Style::Nothing, &mut Rng::with_seed(1));
}

fn steps(world: &mut World, steps: &[Step]) {
    for step in steps {
        world.step(*step).unwrap();
    }
}

/// Number and id of every group that the device has sent.
fn sent(world: &World) -> Vec<(i64, String)> {
    let pushes = world.device.sent.iter().filter(|request| request.path == "/sync/push");
    let groups = pushes.flat_map(|push| {
        let body: Json = serde_json::from_slice(push.body.as_deref().unwrap()).unwrap();
        body["rejoin"]["groups"].as_array().cloned().unwrap_or_default()
    });
    groups
        .map(|group| (group["seq"].as_i64().unwrap(), group["id"].as_str().unwrap().to_owned()))
        .collect()
}

/// Devices registered at the server.
fn clients(world: &World) -> String {
    world.server.see("SELECT count(*) FROM rejoin_client")
}

#[test]
fn lost_verdict_is_repeated_and_not_applied_twice() {
    let mut world = World::new(true);
    steps(&mut world, &[Write, Write, Checkpoint(Truncate), Pass]);
    lose(&mut world);
    assert_eq!(
        world.written().len(),
        2,
        "the writes are in the checkpoint, their verdicts are not"
    );
    assert_eq!(world.device.queue().len(), 2, "both are pending again");
    world.settle();
    assert_eq!(world.book().len(), 2);
}

#[test]
fn numbers_of_lost_writes_are_assigned_to_new_writes() {
    let mut world = World::new(true);
    steps(&mut world, &[Write, Pass, Checkpoint(Truncate), Write, Write, Pass]);
    let before = sent(&world);
    lose(&mut world);
    assert_eq!(world.written().len(), 1, "two accepted writes are lost");
    let clients_before = clients(&world);
    steps(&mut world, &[Write, Write, Write]);
    world.settle();
    assert_eq!(world.book().len(), 6, "both lost writes and three new ones");
    let after = &sent(&world)[before.len()..];
    let again = after.iter().filter(|(seq, id)| before.iter().any(|(s, i)| s == seq && i != id));
    assert_eq!(again.count(), 2, "numbers must be assigned again: {before:?}, {after:?}");
    assert_eq!(clients(&world), clients_before, "the device keeps its registration");
}

/// The last opening of the file is lost too. The server has seen a later one, and takes the file
/// for a copy.
#[test]
fn lost_opening_makes_the_device_a_new_one_that_keeps_its_queue() {
    let mut world = World::new(true);
    steps(&mut world, &[Write, Write, Checkpoint(Truncate), Pass]);
    lose(&mut world);
    steps(&mut world, &[Pass, Write, Pass]);
    lose(&mut world);
    steps(&mut world, &[Write]);
    world.settle();
    println!("devices: {}, {:?}", clients(&world), world.book());
    assert_eq!(world.book().len(), 4);
}

/// After 91 days without sync, the server has deleted the verdicts that the device had confirmed,
/// and rejects numbers below them. New writes with the numbers of lost ones are parked with their
/// content, and nothing is applied. No more writes are parked than were lost.
#[test]
fn number_below_deleted_verdicts_parks_the_write() {
    let mut world = World::new(true);
    steps(&mut world, &[Write, Pass, Checkpoint(Truncate), Write, Pass, Write, Pass]);
    lose(&mut world);
    world.server.clock.advance(91 * 86_400_000_000);
    world.server.compact();
    steps(&mut world, &[Write, Write]);
    world.device.sync(&world.server);
    let parked = world.device.queue();
    let codes: Vec<_> = parked.iter().filter_map(|one| one.detail.as_deref()).collect();
    assert!(parked.len() == 1 && codes[0].contains("expired"), "{codes:?}");
    let edited = decide::edit(world.device.engine(), parked[0].id, |tx| {
        tx.execute("UPDATE places SET note = 'again' WHERE id = 't4'", &[]).map(drop)
    });
    edited.unwrap();
    world.settle();
    assert_eq!(world.book().len(), 5, "two lost here, one kept, and two new ones");
}
