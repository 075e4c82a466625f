//! Crash tests: a device that is killed at each named point, and at random moments, loses nothing
//! and doubles nothing.
//!
//! The device is a separate process with a real file and real sockets (`rejoin-crash-device`).
//! SIGKILL ends it, and only its output into a pipe is used. Then the file is opened again and
//! synced, and server, file and pipe must agree. The counts are printed and checked.

#![allow(clippy::print_stdout)] // The counts are for the reader of the output.

mod harness;

use std::collections::BTreeMap;
use std::sync::Mutex;

use harness::{CrashHarness, Ended, KillMoment};
use rejoin_core::death::Failpoint;

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
                    kill_at(*place);
                }
            });
        }
    });
}

/// Kills a device at this point, at passes from the first to the last of a run.
fn kill_at(place: Failpoint) {
    let mut harness = CrashHarness::new();
    harness.run_process(None, Some(KillMoment::never()));
    let usual = harness.run_process(None, Some(KillMoment::never()));
    let passings = usual.passed(place).max(1);
    let (mut killed, mut missed) = (0, 0);
    while killed < EACH {
        assert!(missed < 3, "{place:?} is not passed: {killed} kills");
        // The engine's own tables are created once for a file.
        let is_new = place == Failpoint::MidMigration && killed + 1 < EACH && missed == 0;
        if is_new {
            harness.another_device();
        }
        let nth = match (missed, is_new) {
            (0, true) => killed + 1,
            (0, false) => 1 + killed * passings / EACH,
            _ => 1,
        };
        let run = harness.run_process(Some((place, nth)), None);
        match run.ended {
            Ended::Killed => killed += 1,
            Ended::ByItself => missed += 1,
        }
        harness.settle(&run);
    }
}

/// Kills by the point that was passed last, if any, and the number of runs.
#[derive(Debug, Default)]
struct KillCounts {
    at: BTreeMap<Option<Failpoint>, u32>,
    runs: u32,
}

impl KillCounts {
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
    let kills = Mutex::new(KillCounts::default());
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let kills = &kills;
            scope
                .spawn(move || kill_at_random(&mut fastrand::Rng::with_seed(seed ^ worker), kills));
        }
    });
    let kills = kills.into_inner().unwrap();
    println!("{kills:?}");
    assert!(kills.is_enough(), "{kills:?}");
}

/// Kills devices at random, until there are enough kills and each point has some.
fn kill_at_random(rng: &mut fastrand::Rng, kills: &Mutex<KillCounts>) {
    loop {
        let mut harness = CrashHarness::new();
        for _ in 0..OF_ONE_FILE {
            let rarest = kills.lock().unwrap().rarest();
            let run = harness.run_process(None, Some(KillMoment::random(rng, rarest)));
            harness.settle(&run);
            let mut kills = kills.lock().unwrap();
            kills.runs += 1;
            if run.ended == Ended::Killed {
                *kills.at.entry(run.last()).or_default() += 1;
            }
            if kills.is_enough() || kills.runs >= PATIENCE {
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
        let mut harness = CrashHarness::new();
        let run = harness.run_process(None, Some(KillMoment::never()));
        assert_eq!(harness.problems(&run), None);
        harness.outside(sql);
        assert!(harness.problems(&run).is_some(), "{sql}");
    }
}
