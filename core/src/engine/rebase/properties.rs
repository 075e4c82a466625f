//! Property tests of the rebase on real SQLite, over generated scenarios: local transactions,
//! responses and reopenings in any order. After every event:
//!
//! - selective == full: undoing only the overlapping mutations gives the same rows as undoing all;
//! - full rollback == base, byte for byte;
//! - the visible rows are the base with the pending effects applied, by a fold that shares no code
//!   with the engine;
//! - composed patches == table diff, for each local transaction and for all pending mutations;
//! - reopening changes nothing.
//!
//! In many scenarios some local writes are actions, which run again. A failure prints its seed and
//! the shortest scenario that still fails. Each mutant of these rules must fail a property.

mod act;
mod check;
mod coverage;
mod look;
mod story;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use coverage::Coverage;
use story::Story;
use world::World;

use rejoin_protocol::mutant::Mutant;

/// Number of scenarios; the environment variable `REJOIN_CASES` multiplies it.
const CASES: u64 = 1_250;
/// Parallel threads: CI has two cores.
const THREADS: u64 = 2;

/// Runs scenarios until one fails; returns its shortest failing form, and how many were run.
fn search(
    world: &mut World,
    seeds: impl Iterator<Item = u64>,
) -> (u64, Option<(u64, Story, String)>) {
    let mut run = 0;
    for seed in seeds {
        run += 1;
        let story = Story::generate(seed);
        if let Err(why) = world.play(&story) {
            let (story, why) = shrink(world, story, why);
            return (run, Some((seed, story, why)));
        }
    }
    (run, None)
}

/// Removes events from the front, the back and the middle, as long as the scenario still fails.
fn shrink(world: &mut World, mut story: Story, mut why: String) -> (Story, String) {
    let mut again = true;
    while again {
        again = false;
        for at in 0..story.events.len() {
            let mut shorter = story.clone();
            shorter.events.remove(at);
            if let Err(error) = world.play(&shorter) {
                (story, why, again) = (shorter, error, true);
                break;
            }
        }
    }
    (story, why)
}

#[test]
#[allow(clippy::disallowed_methods)] // The test's own threads: CI has two cores.
fn selective_equals_full_and_rollback_equals_base() {
    let (total, cases) = (Coverage::default(), crate::cases::cases(CASES));
    let played = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (total, played) = (&total, &played);
            scope.spawn(move || {
                let mut world = World::new(None);
                let seeds = (0..cases).filter(|seed| seed % THREADS == thread);
                let (run, failure) = search(&mut world, seeds);
                if let Some((seed, story, why)) = failure {
                    panic!("seed {seed}: {why}\n{story}");
                }
                played.fetch_add(run, Ordering::SeqCst);
                total.add(&world.coverage);
            });
        }
    });
    assert_eq!(played.load(Ordering::SeqCst), cases);
    total.assert(cases);
}

#[test]
fn each_broken_rule_fails_a_property() {
    for mutant in [
        Mutant::NoClosureByRows,
        Mutant::BlindWritesFree,
        Mutant::NotStartedOver,
        Mutant::UncertainRunAgain,
        Mutant::GuardLeftOpen,
    ] {
        let (run, failure) = search(&mut World::new(Some(mutant)), 0..30_000);
        assert!(failure.is_some(), "{mutant:?} survived {run} scenarios");
    }
}
