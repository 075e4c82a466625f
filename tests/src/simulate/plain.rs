//! Simulation runs of one to four devices and one plain v0.1.2 server, with outside writers, poison
//! records, faults and crashes.
//!
//! Invariants: after some quiet passes nothing is pending, and every device has the rows that the
//! server shows its user. Every written value has exactly one outcome: the server has had it, it is
//! parked with its payload, or its user overwrote or discarded it. Cases that such a server cannot
//! decide are excused only if another writer changed the row meanwhile, and counted. Each device
//! has a policy: only a policy that allows it overwrites a foreign value, and a conflict that the
//! policy resolves is not left to the app.

mod final_checks;
mod history;
mod run;
mod server;
mod step;
mod user_operations;
mod written;

use rejoin_protocol::mutant::Mutant::{BaseNotFolded, RecordThawed, RestNotKept, TwoRecordsOfARow};

use super::exchange::Step;
use super::{Checked, Model, RunReport, Switch, switches};
use run::PlainRun;
use step::StepKind;

/// Devices and a plain server.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Model for Plain {
    type Step = Step<StepKind>;

    fn name(&self) -> &'static str {
        "plain"
    }

    fn steps(&self, seed: u64) -> Vec<Step<StepKind>> {
        step::of(seed)
    }

    fn execute(&self, seed: u64, steps: &[Step<StepKind>], report: &mut RunReport) -> Checked {
        let mut run = PlainRun::new(seed, report);
        for step in steps {
            run.execute(step)?;
        }
        run.settle()?;
        run.check_outcomes()
    }

    fn expected_events(&self) -> &'static [&'static str] {
        &[
            "500 after the commit",
            "500 without a commit",
            "a broken rule of the server",
            "a client forgotten by the server",
            "a create in conflict",
            "a create over a tombstone",
            "a crash between request and response",
            "a failed request was halved",
            "a late request changes rows",
            "a restart",
            "a changed schema (409)",
            "an app that is too old (426)",
            "an edit of several rows",
            "an edit over a foreign value by policy",
            "an edit parked and never applied",
            "an own row changed since then",
            "answers cut or lost",
            "conflicts",
            "conflicts with the own row",
            "deletes",
            "discards before sending",
            "discards of uncertain edits",
            "discards of uncertain edits accepted by the server",
            "edits of a device",
            "parked as conflicted",
            "parked as poison",
            "parked as refused",
            "parked by a later write",
            "parked for a dependency",
            "parked remainders",
            "rebuilds",
            "snapshots",
            "the log was compacted past the cursor",
            "writes of outside writers",
        ]
    }

    fn coverage_runs(&self) -> u64 {
        2_000
    }

    fn limited_events(&self) -> &'static [(&'static str, u64)] {
        &[(run::RESIDUE, 20), (run::ALIVE, 5)]
    }

    fn switches(&self) -> &'static [Switch] {
        switches! {
            "P1", TwoRecordsOfARow, 1 => "queue-drains";
            "P2", RecordThawed, 92 => "pass-ends", "queue-loses-nothing", "given-up-is-taken-back";
            "P4", BaseNotFolded, 1 => "acceptance-changes-no-view";
            "P8", RestNotKept, 139 => "queue-drains", "devices-agree";
        }
    }
}
