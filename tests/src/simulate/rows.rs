//! Worlds of two to six devices and one server of ours, with writers on its side, faults, deaths, wrong clocks, grants,
//! columns that come and go, copies of files and restored backups.
//!
//! The law, at each step: what an app sees is the base with what waits laid upon it, actions run anew; a mutation leaves the
//! queue accepted or by the app's own word, and is what it was; nothing is parked that nobody touched; no push writes over
//! what its device never had; what is sent is what was written and what a server had, and where it is accepted all of it
//! went where it was meant to go; an answer of another schema changes nothing; a whole pass without other writers ends in
//! step. After some quiet passes nothing waits and all agree.

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

use super::{Checked, Model, Switch, Told};
use step::Step;
use world::World;

use crate::Store;

/// Devices and a server of ours.
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

    fn live(&self, seed: u64, steps: &[Step], told: &mut Told) -> Checked {
        let mut world = World::new(seed, self.store, told)?;
        for step in steps {
            world.happen(step)?;
        }
        world.settle()?;
        world.judge()
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
