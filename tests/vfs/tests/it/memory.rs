//! Failing SQLite allocations at chosen points of a device's scenario, one or several at a time.

use fastrand::Rng;
use rejoin_core::engine::CheckpointMode::Passive;
use rejoin_core::{Error, StorageFault};
use rejoin_vfs::{allocations, fail_allocations};

use crate::points::{points, seed};
use crate::world::Step::{Act, Checkpoint, Outside, Pass, Write};
use crate::world::{Step, World, is_typed};

const STEPS: [Step; 9] = [
    Write,
    Act,
    Pass,
    Outside("UPDATE places SET score = 3 WHERE id = 'server 1'"),
    Act,
    Write,
    Checkpoint(Passive),
    Outside(
        "UPDATE places SET score = 4 WHERE id = 'server 1'; DELETE FROM places WHERE id = 'server 9'",
    ),
    Pass,
];

/// Steps that run on the device. The server runs on another thread, whose allocations do not fail.
fn is_of_the_device(step: Step) -> bool {
    !matches!(step, Outside(_))
}

#[track_caller]
fn is_out_of_memory(error: &anyhow::Error) {
    match error.downcast_ref::<Error>() {
        Some(Error::Storage(StorageFault::OutOfMemory)) => (),
        _ => is_typed(error),
    }
}

/// Makes `times` allocations of one step fail, starting with the n-th.
fn fail(failing: usize, at: u64, times: u64) -> bool {
    let mut world = World::new(true);
    let mut has_failed = false;
    for (number, step) in STEPS.into_iter().enumerate() {
        if number == failing {
            fail_allocations(at, times);
            let done = world.step(step);
            fail_allocations(0, 0);
            let Err(error) = done else { continue };
            is_out_of_memory(&error);
            has_failed = true;
        }
        world.step(step).unwrap();
    }
    assert_eq!(world.written(), world.acknowledged, "exactly the acknowledged writes");
    world.settle();
    has_failed
}

#[test]
fn failing_allocations_give_typed_errors_and_lose_nothing() {
    let mut rng = Rng::with_seed(seed());
    let mut world = World::new(true);
    for (number, step) in STEPS.into_iter().enumerate() {
        fail_allocations(0, 0);
        world.step(step).unwrap();
        let calls = allocations();
        if !is_of_the_device(step) {
            continue;
        }
        let (mut runs, mut failed) = (0, 0);
        for at in points(calls, 6, 400, &mut rng) {
            for times in [1, 1000] {
                println!("{step:?}: {times} allocations from {at}");
                failed += u32::from(fail(number, at, times));
                runs += 1;
            }
        }
        println!("{step:?}: {runs} runs of {calls} allocations, {failed} steps failed");
    }
}
