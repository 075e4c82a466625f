//! Crash tests: a device that is killed at each named point, and at random moments, loses nothing
//! and doubles nothing.
//!
//! The device is a separate process with a real file and real sockets (`rejoin-mortal`). SIGKILL
//! ends it, and only its output into a pipe is used. Then the file is opened again and synced, and
//! server, file and pipe must agree. The counts are printed and checked.

#![allow(clippy::print_stdout)] // The counts are for the reader of the output.

mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;

use rejoin_core::death::Failpoint;
use world::{Death, Ended, World};

/// Kills at each named point.
const EACH: u32 = 5;

/// Kills at random moments.
const RANDOM: u32 = 100;

/// Kills of one file before another device is used.
const OF_ONE_FILE: u32 = 10;

/// Maximum number of runs to reach each point: on a very slow machine most kills miss.
const PATIENCE: u32 = 300;

#[test]
fn kill_at_each_named_point_loses_and_doubles_nothing() {
    let waiting = Mutex::new(Failpoint::ALL.iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(place) = { waiting.lock().unwrap().next() } {
                    die_at(*place);
                }
            });
        }
    });
}

/// Kills a device at this point, at passes from the first to the last of a run.
fn die_at(place: Failpoint) {
    let mut world = World::new();
    world.live(None, Some(Death::never()));
    let usual = world.live(None, Some(Death::never()));
    let passings = usual.passed(place).max(1);
    let (mut died, mut missed) = (0, 0);
    while died < EACH {
        assert!(missed < 3, "{place:?} is not passed: {died} kills");
        // The engine's own tables are created once for a file.
        let is_new = place == Failpoint::MidMigration && died + 1 < EACH && missed == 0;
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
}

/// Kills by the point that was passed last, if any, and the number of runs.
#[derive(Debug, Default)]
struct Deaths {
    at: BTreeMap<Option<Failpoint>, u32>,
    lives: u32,
}

impl Deaths {
    fn count(&self, place: Failpoint) -> u32 {
        self.at.get(&Some(place)).copied().unwrap_or(0)
    }

    /// The point with the fewest kills.
    fn rarest(&self) -> Failpoint {
        Failpoint::ALL.into_iter().min_by_key(|place| self.count(*place)).unwrap()
    }

    fn is_enough(&self) -> bool {
        self.at.values().sum::<u32>() >= RANDOM && self.count(self.rarest()) > 0
    }
}

#[test]
fn kills_at_random_moments_lose_and_double_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let deaths = Mutex::new(Deaths::default());
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let deaths = &deaths;
            scope.spawn(move || die_anywhere(&mut fastrand::Rng::with_seed(seed ^ worker), deaths));
        }
    });
    let deaths = deaths.into_inner().unwrap();
    println!("{deaths:?}");
    assert!(deaths.is_enough(), "{deaths:?}");
}

/// Kills devices at random, until there are enough kills and each point has some.
fn die_anywhere(rng: &mut fastrand::Rng, deaths: &Mutex<Deaths>) {
    loop {
        let mut world = World::new();
        for _ in 0..OF_ONE_FILE {
            let rarest = deaths.lock().unwrap().rarest();
            let life = world.live(None, Some(Death::random(rng, rarest)));
            world.settle(&life);
            let mut deaths = deaths.lock().unwrap();
            deaths.lives += 1;
            if life.ended == Ended::Killed {
                *deaths.at.entry(life.last()).or_default() += 1;
            }
            if deaths.is_enough() || deaths.lives >= PATIENCE {
                return;
            }
        }
    }
}

/// Every run succeeds until an outside writer changes the data on the server.
#[test]
fn oracle_reports_lost_doubled_and_different_rows() {
    for sql in [
        "DELETE FROM book WHERE name GLOB 'life*' AND what = 'visit'",
        "INSERT INTO book SELECT name, what FROM book WHERE name GLOB 'life*' LIMIT 1",
        "INSERT INTO book VALUES ('life9-9', 'place')",
        "UPDATE seats SET number = number + 1 WHERE id = 'counter0'",
    ] {
        let mut world = World::new();
        let life = world.live(None, Some(Death::never()));
        assert_eq!(world.problems(&life), None);
        world.outside(sql);
        assert!(world.problems(&life).is_some(), "{sql}");
    }
}
