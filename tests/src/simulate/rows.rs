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
mod history;
mod keeping;
mod laws;
mod meaning;
mod offers;
mod pass;
mod rules;
mod schema;
mod seat;
mod setting;
mod sight;
mod site;
mod step;
mod tales;
mod time;
mod world;

use super::{Model, Rule, Told};
use step::Step;
use world::World;

/// Devices and a server of ours.
#[derive(Debug, Clone, Copy)]
pub struct Rows;

impl Model for Rows {
    type Step = Step;

    fn name(&self) -> &'static str {
        "rows"
    }

    fn steps(&self, seed: u64) -> Vec<Step> {
        step::of(seed)
    }

    fn live(&self, seed: u64, steps: &[Step], told: &mut Told) -> Result<(), String> {
        let mut world = World::new(seed, told)?;
        for step in steps {
            world.happen(step)?;
        }
        world.settle()?;
        world.judge()
    }

    fn expected(&self) -> &'static [&'static str] {
        &[
            "500 after the work",
            "a clock that jumps",
            "a column that comes back",
            "a column that goes",
            "a column that is another of the same name",
            "a withdrawal on which nothing was decided",
            "a write before the first page of a snapshot",
            "access that is away while a push is answered",
            "an app that knows no action any more",
            "an edit that is beset by others",
            "an undo of what somebody else had written in part",
            "offered again, and nobody else wrote",
            "went over whatever stood there",
            "a copied file",
            "a death between committing what is sent and sending it",
            "a gained column",
            "a later edit goes over another",
            "a request doubled",
            "a request lost",
            "a request that comes late",
            "a restart",
            "a row with another owner",
            "a schema that moved (409)",
            "access granted",
            "access revoked",
            "actions accepted",
            "an action that reads what is the device's alone",
            "an action that writes other rows when it runs again",
            "an answer cut",
            "an answer of another schema",
            "an answer lost",
            "an undo of what has changed since",
            "discards before sending",
            "discards of uncertain edits",
            "discards of what is parked",
            "edits of what is parked",
            "edits of what is uncertain",
            "edits of what waits",
            "mutations accepted",
            "offered again to another life of the server",
            "parked as conflicted",
            "parked as rejected",
            "parked for what it stands on",
            "parked: a later edit has won",
            "parked: an action that cannot run again",
            "passes after which device and server agree",
            "rebuilds",
            "retries",
            "snapshots",
            "the log is compacted",
            "the server is restored",
            "two actions of which the first is in conflict",
            "undone",
            "verdicts acknowledged",
            "verdicts: blocked",
            "verdicts: cancelled",
            "verdicts: conflict",
            "what was given up is taken back",
            "writes of others",
        ]
    }

    fn limited(&self) -> &'static [(&'static str, u64)] {
        &[(ending::RESIDUE, 30)]
    }

    fn mutants(&self) -> &'static [(&'static str, Rule)] {
        rules::BROKEN
    }
}
