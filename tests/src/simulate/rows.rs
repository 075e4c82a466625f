//! Simulation runs of two to six devices and one companion server, with outside writers, faults,
//! crashes, wrong clocks, grants, optional columns, copies of files and restored backups.
//!
//! Invariants at each step: an app sees the base with its pending mutations applied, actions run
//! again. A mutation leaves the queue accepted or discarded by the app, and its content does not
//! change. A mutation is parked only if another write touched its rows. No push overwrites a value
//! that its device never had. A push sends what was written and what a server had; if it is
//! accepted, all of it is written to the columns meant. A response of another schema changes
//! nothing. After a whole pass without other writers, device and server agree. After some quiet
//! passes nothing is pending and all devices agree.

mod book;
mod death;
mod decide;
mod ending;
mod exceptions;
mod expected;
mod history;
mod keeping;
mod laws;
mod meaning;
mod offers;
mod parked;
mod pass;
mod rules;
mod schema;
mod seat;
mod served;
mod setting;
mod sight;
mod site;
mod step;
mod tales;
mod time;
mod world;

use super::{Checked, Model, RunReport, Switch};
use step::Step;
use world::World;

use crate::Store;

/// Devices and a companion server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows {
    /// The kind of database under the server.
    pub store: Store,
}

impl Model for Rows {
    type Step = Step;

    fn name(&self) -> &'static str {
        "rows"
    }

    fn arguments(&self) -> &'static str {
        match self.store {
            Store::Sqlite => "",
            Store::Postgres => " --store postgres",
        }
    }

    fn steps(&self, seed: u64) -> Vec<Step> {
        step::of(seed)
    }

    fn live(&self, seed: u64, steps: &[Step], report: &mut RunReport) -> Checked {
        let mut world = World::new(seed, self.store, report)?;
        for step in steps {
            world.happen(step)?;
        }
        world.settle()?;
        world.detect_conflicts()
    }

    fn expected(&self) -> &'static [&'static str] {
        expected::THINGS
    }

    fn enough(&self) -> u64 {
        450
    }

    fn limited(&self) -> &'static [(&'static str, u64)] {
        &[(ending::RESIDUE, 30)]
    }

    fn switches(&self) -> &'static [Switch] {
        rules::SWITCHES
    }
}
