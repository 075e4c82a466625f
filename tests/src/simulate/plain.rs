//! Worlds of one to four devices and one plain v0.1.2 server, with outside writers, poison, faults and deaths.
//!
//! The law: after some quiet passes nothing waits, every device has what the server shows its user, and every value that
//! was written ended once: the server has had it, or it is parked with its payload, or its user wrote over it or gave it
//! up. What no one can decide on such a server is excused only where somebody else wrote the row meanwhile, and counted.
//! Each device has a policy: only what that lets go over a foreign value does, and what it decides is not left to the app.

mod edits;
mod ending;
mod history;
mod site;
mod step;
mod world;
mod written;

use rejoin_protocol::mutant::Mutant::{BaseNotFolded, RecordThawed, RestNotKept, TwoRecordsOfARow};

use super::{Checked, Model, Switch, Told, switches};
use step::Step;
use world::World;

/// Devices and a plain server.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Model for Plain {
    type Step = Step;

    fn name(&self) -> &'static str {
        "plain"
    }

    fn steps(&self, seed: u64) -> Vec<Step> {
        step::of(seed)
    }

    fn live(&self, seed: u64, steps: &[Step], told: &mut Told) -> Checked {
        let mut world = World::new(seed, told);
        for step in steps {
            world.happen(step)?;
        }
        world.settle()?;
        world.judge()
    }

    fn expected(&self) -> &'static [&'static str] {
        &[
            "500 after the commit",
            "500 without a commit",
            "a broken rule of the server",
            "a client that the server forgot",
            "a create in conflict",
            "a create raised a tombstone",
            "a crash between sending and hearing",
            "a failed request was halved",
            "a late request changes rows",
            "a restart",
            "a schema that moved (409)",
            "an app that is too old (426)",
            "an edit of several rows",
            "an edit over a foreign value by policy",
            "an edit parked and never applied",
            "an own row that was changed since",
            "answers cut or lost",
            "conflicts",
            "conflicts with the own row",
            "deletes",
            "discards before sending",
            "discards of uncertain edits",
            "discards of uncertain edits that the server had",
            "edits of a device",
            "parked as conflicted",
            "parked as poison",
            "parked as refused",
            "parked by a later write",
            "parked for what it stands on",
            "parked remainders",
            "rebuilds",
            "snapshots",
            "the log was found to be cut at its beginning",
            "writes of others",
        ]
    }

    fn enough(&self) -> u64 {
        2_000
    }

    fn limited(&self) -> &'static [(&'static str, u64)] {
        &[(world::RESIDUE, 20), (world::ALIVE, 5)]
    }

    fn switches(&self) -> &'static [Switch] {
        switches! {
            "P1", TwoRecordsOfARow => "queue-drains";
            "P2", RecordThawed => "pass-ends", "queue-loses-nothing", "given-up-is-taken-back";
            "P4", BaseNotFolded => "acceptance-changes-no-view";
            "P8", RestNotKept => "queue-drains", "devices-agree";
        }
    }
}
