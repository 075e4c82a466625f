//! A power cut takes transactions that were pushed already. What the device had promised to the server is unknown to it then:
//! numbers are given again, to other content, and mutations are sent again. Nothing is applied twice, and nothing new is
//! taken for a repetition.

use fastrand::Rng;
use rejoin_core::engine::CheckpointMode::Truncate;
use rejoin_vfs::Style;
use serde_json::Value as Json;

use crate::world::Step::{Checkpoint, Pass, Write};
use crate::world::{Step, World};

/// Everything that was not synced is lost.
fn lose(world: &mut World) {
    world.restore(Style::Nothing, &mut Rng::with_seed(1));
}

fn steps(world: &mut World, steps: &[Step]) {
    for step in steps {
        world.step(*step).unwrap();
    }
}

/// Place and id of every group that the device has sent.
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

/// Devices that the server knows.
fn clients(world: &World) -> String {
    world.server.see("SELECT count(*) FROM rejoin_client")
}

#[test]
fn lost_verdict_is_repeated_and_not_applied_twice() {
    let mut world = World::new(true);
    steps(&mut world, &[Write, Write, Checkpoint(Truncate), Pass]);
    lose(&mut world);
    assert_eq!(world.written().len(), 2, "the writes were moved, their verdicts were not");
    assert_eq!(world.device.queue().len(), 2, "they wait again");
    world.settle();
    assert_eq!(world.book().len(), 2);
}

#[test]
fn numbers_of_lost_writes_are_given_again_to_new_ones() {
    let mut world = World::new(true);
    steps(&mut world, &[Write, Pass, Checkpoint(Truncate), Write, Write, Pass]);
    let before = sent(&world);
    lose(&mut world);
    assert_eq!(world.written().len(), 1, "two that were accepted are unknown");
    let clients_before = clients(&world);
    steps(&mut world, &[Write, Write, Write]);
    world.settle();
    assert_eq!(world.book().len(), 6, "both lost ones and three new ones");
    let after = &sent(&world)[before.len()..];
    let again = after.iter().filter(|(seq, id)| before.iter().any(|(s, i)| s == seq && i != id));
    assert_eq!(again.count(), 2, "places were given again: {before:?}, {after:?}");
    assert_eq!(clients(&world), clients_before, "it is the same device");
}

/// The opening is lost too: the server has met a later one, and takes the file for a copy.
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

/// After 91 days of silence the server has forgotten the verdicts that the device had confirmed, and refuses what is numbered
/// below them. New writes that got the numbers of lost ones are parked, with their content and nothing applied; no more of them
/// than were lost.
#[test]
fn number_below_forgotten_verdicts_parks_the_write_by_name() {
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
    let edited = world.device.engine().edit(parked[0].id, |tx| {
        tx.execute("UPDATE places SET note = 'again' WHERE id = 't4'", &[]).map(drop)
    });
    edited.unwrap();
    world.settle();
    assert_eq!(
        world.book().len(),
        5,
        "two that were lost here, one that was not, and two new ones"
    );
}
