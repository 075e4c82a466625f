//! Faults at each call of a device's disk: power cut, I/O error or full disk during capture, push,
//! pull, snapshots and checkpoints.

use fastrand::Rng;
use rejoin_core::engine::CheckpointMode::{Full, Passive, Restart, Truncate};
use rejoin_vfs::{Fault, Style};

use crate::points::{images, points, seed};
use crate::world::Step::{Act, Alter, Checkpoint, Outside, Pass, Write};
use crate::world::{Step, World, is_typed};

/// A device, initially with or without the server's rows, and the steps of a scenario.
struct Story {
    name: &'static str,
    is_synced: bool,
    steps: &'static [Step],
}

const MORE: &str = "INSERT INTO places (id, name, user_id) VALUES ('more', 'Place', 'ana');
    UPDATE places SET score = 3 WHERE id = 'server 1'; UPDATE places SET note = 'n' WHERE id GLOB 'server 3*'";

const STORIES: [Story; 6] = [
    Story {
        name: "capture",
        is_synced: true,
        steps: &[Write, Act, Write, Checkpoint(Passive), Write, Act, Write],
    },
    Story {
        name: "push",
        is_synced: true,
        steps: &[Write, Write, Pass, Write, Checkpoint(Passive), Act, Pass, Write],
    },
    Story {
        name: "pull",
        is_synced: true,
        steps: &[
            Write,
            Act,
            Outside(MORE),
            Pass,
            Checkpoint(Passive),
            Outside("DELETE FROM places WHERE id = 'more'"),
            Write,
            Pass,
        ],
    },
    Story { name: "first snapshot", is_synced: false, steps: &[Write, Pass, Write, Pass] },
    Story {
        name: "staged snapshot",
        is_synced: true,
        steps: &[
            Write,
            Alter(
                "ALTER TABLE places ADD COLUMN extra TEXT; UPDATE places SET note = 'n' WHERE id GLOB 'server 4*'",
            ),
            Pass,
            Write,
            Pass,
        ],
    },
    Story {
        name: "checkpoint",
        is_synced: true,
        steps: &[
            Write,
            Checkpoint(Passive),
            Write,
            Checkpoint(Full),
            Write,
            Write,
            Checkpoint(Restart),
            Write,
            Checkpoint(Truncate),
            Write,
            Checkpoint(Truncate),
            Write,
        ],
    },
];

/// Maximum attempts of a failing step.
const MAX_ATTEMPTS: u32 = 40;

impl Story {
    /// Number of calls in a run without faults.
    fn calls(&self) -> u64 {
        let mut world = World::new(self.is_synced);
        for step in self.steps {
            world.step(*step).unwrap();
        }
        let (calls, _) = world.disk.calls();
        world.settle();
        calls
    }

    fn cut(&self, at: u64, style: Style, rng: &mut Rng) {
        let mut world = World::new(self.is_synced);
        world.disk.fail(Fault::PowerCut, at, 1);
        let ended = self.steps.iter().find_map(|step| world.step(*step).err());
        if let Some(error) = &ended {
            is_typed(error);
        }
        world.restore(style, rng);
        // Numbers of lost mutations are assigned again, to other content.
        world.step(Write).unwrap();
        world.step(Act).unwrap();
        world.settle();
    }

    /// Runs with a fault. Returns the number of failed calls and whether the file had to be
    /// reopened.
    fn fail(&self, fault: Fault, at: u64, times: u64) -> (u64, bool) {
        let mut world = World::new(self.is_synced);
        world.disk.fail(fault, at, times);
        let mut was_reopened = false;
        for step in self.steps {
            let mut tries = 0;
            while let Err(error) = world.step(*step) {
                is_typed(&error);
                tries += 1;
                if tries > MAX_ATTEMPTS {
                    assert!(!was_reopened, "{step:?} does not recover: {error:#}");
                    world.reopen();
                    (was_reopened, tries) = (true, 0);
                }
            }
        }
        let struck = world.disk.recover();
        assert_eq!(world.written(), world.acknowledged, "exactly the acknowledged writes");
        world.settle();
        (struck, was_reopened)
    }
}

#[test]
fn power_cut_at_each_call_loses_only_the_last_writes() {
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    for story in &STORIES {
        let calls = story.calls();
        let points = points(calls, 16, u64::MAX, &mut rng);
        for at in &points {
            for _ in 0..images() {
                let style = Style::choose(&mut rng);
                println!("{}: power cut at call {at}, {style:?}", story.name);
                story.cut(*at, style, &mut rng);
            }
        }
        println!(
            "{}: {} of {calls} calls, {} images",
            story.name,
            points.len(),
            points.len() as u64 * images()
        );
    }
}

fn each_failure(fault: Fault) {
    let mut rng = Rng::with_seed(seed());
    for story in &STORIES {
        let calls = story.calls();
        let (mut runs, mut failed, mut reopened) = (0, 0, 0);
        for times in [1, 12] {
            for at in points(calls, 6, u64::MAX, &mut rng) {
                println!("{}: {fault:?} at call {at}, {times} times", story.name);
                let (struck, was_reopened) = story.fail(fault, at, times);
                runs += 1;
                failed += struck;
                reopened += u32::from(was_reopened);
            }
        }
        println!(
            "{}: {runs} runs, {failed} calls of {calls} failed, {reopened} reopened",
            story.name
        );
        assert_eq!(reopened, 0, "the open handle must recover");
    }
}

#[test]
fn failing_disk_gives_typed_errors_and_loses_nothing() {
    each_failure(Fault::Io);
}

#[test]
fn full_disk_gives_typed_errors_and_loses_nothing() {
    each_failure(Fault::Full);
}
