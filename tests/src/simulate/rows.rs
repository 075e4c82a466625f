//! Simulation runs of two to six devices and one companion server, with outside writers, faults,
//! crashes, wrong clocks, grants, teams, subscriptions, optional columns, copies of files and
//! restored backups.
//!
//! Invariants at each step: an app sees the base with its pending mutations applied, actions run
//! again. A mutation leaves the queue accepted or discarded by the app, and its content does not
//! change. A mutation is parked only if another write touched its rows. No push overwrites a value
//! that its device never had. A push sends what was written and what a server had; if it is
//! accepted, all of it is written to the columns meant. A response of another schema changes
//! nothing. No request reads or writes a team's row without the right at that moment. After a whole
//! pass without other writers, device and server agree. After some quiet passes nothing is pending
//! and all devices agree.

mod crash_point;
mod device_state;
mod edit_times;
mod exceptions;
mod expected_events;
mod final_checks;
mod history;
mod invariants;
mod later_writes;
mod mutant_switches;
mod mutations;
mod parked;
mod pass;
mod push_content;
mod push_invariants;
mod pushes;
mod run;
mod scenarios;
mod schema;
mod server;
mod server_schema;
mod setting;
mod slot;
mod step;
mod teams;
mod user_operations;

use super::exchange::Step;
use super::{Checked, Model, RunReport, Switch};
use run::RowsRun;
use step::StepKind;

use crate::Store;

/// Devices and a companion server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows {
    /// The kind of database under the server.
    pub store: Store,
}

impl Model for Rows {
    type Step = Step<StepKind>;

    fn name(&self) -> &'static str {
        "rows"
    }

    fn arguments(&self) -> &'static str {
        match self.store {
            Store::Sqlite => "",
            Store::Postgres => " --store postgres",
        }
    }

    fn steps(&self, seed: u64) -> Vec<Step<StepKind>> {
        step::of(seed)
    }

    fn execute(&self, seed: u64, steps: &[Step<StepKind>], report: &mut RunReport) -> Checked {
        let mut run = RowsRun::new(seed, self.store, report)?;
        for step in steps {
            run.execute(step)?;
        }
        run.settle()?;
        run.check_outcomes()
    }

    fn expected_events(&self) -> &'static [&'static str] {
        expected_events::EXPECTED_EVENTS
    }

    fn coverage_runs(&self) -> u64 {
        450
    }

    fn limited_events(&self) -> &'static [(&'static str, u64)] {
        &[(final_checks::RESIDUE, 30)]
    }

    fn switches(&self) -> &'static [Switch] {
        mutant_switches::SWITCHES
    }
}
