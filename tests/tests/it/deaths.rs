//! Dying well: a device that is killed at each named place, and at random moments, loses nothing and doubles nothing.
//!
//! The device is a process of its own with a real file and real sockets (`rejoin-mortal`); SIGKILL ends it, and what it
//! said into a pipe before is all that is known of it. Then the file is opened again and synced, and server, file and pipe
//! must tell the same. The counts are printed and held to.

#![allow(clippy::print_stdout)] // The counts are for people.

mod tally;
mod world;

use std::sync::Mutex;

use rejoin_core::death::Place;
use tally::Tally;
use world::{Death, Ended, World};

/// Deaths at each named place.
const EACH: u32 = 5;

/// Deaths at random moments.
const RANDOM: u32 = 100;

/// Deaths of one file, before another device begins.
const OF_ONE_FILE: u32 = 10;

#[test]
fn a_kill_at_each_named_place_loses_nothing_and_doubles_nothing() {
    let tally = Mutex::new(Tally::default());
    let waiting = Mutex::new(Place::ALL.iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(place) = { waiting.lock().unwrap().next() } {
                    let died = die_at(*place);
                    tally.lock().unwrap().add(Some(*place), died);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    println!("kills at named places: {tally}");
    assert!(tally.least() >= EACH, "{tally}");
}

/// Kills a device at this place, at passings from the first to the last of a life.
fn die_at(place: Place) -> u32 {
    let mut world = World::new();
    world.live(None, Some(Death::never()));
    let usual = world.live(None, Some(Death::never()));
    let passings = usual.passed(place).max(1);
    let (mut died, mut missed) = (0, 0);
    while died < EACH {
        assert!(missed < 3, "{place:?} is not passed: {died} deaths");
        // The engine's own tables are made once in the life of a file.
        let is_new = place == Place::MidMigration && died + 1 < EACH && missed == 0;
        if is_new {
            world.another_device();
        }
        let nth = match (missed, is_new) {
            (0, true) => died + 1,
            (0, false) => 1 + died * passings / EACH,
            _ => 1,
        };
        let life = world.live(Some((place, nth)), None);
        match life.ended {
            Ended::Killed => died += 1,
            Ended::ByItself => missed += 1,
        }
        world.settle(&life);
    }
    died
}

#[test]
fn a_hundred_kills_at_random_moments_lose_nothing_and_double_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let tally = &tally;
            scope.spawn(move || die_anywhere(&mut fastrand::Rng::with_seed(seed ^ worker), tally));
        }
    });
    let tally = tally.into_inner().unwrap();
    println!("kills at random moments, by the place that was passed last: {tally}");
    assert!(tally.all() >= RANDOM && tally.least() > 0, "{tally}");
}

/// Kills devices at random, until there are enough deaths and none of the places has none.
fn die_anywhere(rng: &mut fastrand::Rng, tally: &Mutex<Tally>) {
    while !{ tally.lock().unwrap().is_enough(RANDOM) } {
        let mut world = World::new();
        for _ in 0..OF_ONE_FILE {
            let hunted = tally.lock().unwrap().hunted();
            let life = world.live(None, Some(Death::random(rng, hunted)));
            world.settle(&life);
            let mut tally = tally.lock().unwrap();
            match life.ended {
                Ended::Killed => tally.add(life.last(), 1),
                Ended::ByItself => tally.missed(),
            }
            if tally.is_enough(RANDOM) {
                return;
            }
        }
    }
}

#[test]
fn the_oracle_notices_a_queue_that_is_not_in_the_transaction_of_its_rows() {
    assert!(is_noticed("QueuedApart", Place::AfterCommit));
}

#[test]
fn the_oracle_notices_a_cursor_that_is_ahead_of_its_rows() {
    assert!(is_noticed("CursorBeforeRows", Place::HalfApplied));
}

/// Whether some death at this place shows, in a world where a rule is broken.
fn is_noticed(mutant: &str, place: Place) -> bool {
    let mut world = World::new();
    world.live(None, Some(Death::never()));
    world.mutant = Some(mutant.to_owned());
    world.deploys = false; // Without a new schema, changes come by pulls.
    (1..6).any(|nth| {
        let life = world.live(Some((place, nth)), None);
        world.problems(&life).is_some()
    })
}
