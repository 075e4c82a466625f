//! Simulation runs of the log model: devices, users, buckets, a server, perhaps an authority, and a
//! network that loses, doubles and delays messages.
//!
//! Invariants at every step: the server's rows are the fold of its entries; each device's rows are
//! the fold of its items and own entries; nothing is sent that its viewer may not see; no entry
//! changes a row, at any key, where its author may not write, also if a modified client publishes
//! it; running every action again changes nothing. After the network recovers, all devices agree, nothing is
//! lost or doubled, and corrections stop. Where it is promised, the state equals that of running
//! all actions in one place in the order in which they were taken. The expected state is computed
//! by `oracle` alone.

mod actions;
mod authority;
mod database_log;
mod device;
mod device_invariants;
mod events;
mod expected_server;
mod ids;
mod modified_client;
mod network;
mod oracle;
mod recovery;
mod run;
mod server;
mod setting;
mod step;
mod store;
mod write_access;

use rejoin_protocol::mutant::Mutant::{
    KeyBelowSeen, NoFloor, NotToldGone, NothingVoid, OwnNotSent, PastUnguarded, RevisionKept,
    RunUnasked,
};

use super::{Checked, Model, RunReport, Switch, switches};
use crate::Store;
use run::LogRun;
use setting::Setting;
use step::{Step, StepKind};

/// The log model.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log {
    /// PostgreSQL: the log of every run is in such a database. Otherwise that of some runs is in an
    /// SQLite file, and that of others in memory.
    pub store: Store,
}

impl Model for Log {
    type Step = Step;

    fn name(&self) -> &'static str {
        "log"
    }

    fn arguments(&self) -> &'static str {
        match self.store {
            Store::Sqlite => "",
            Store::Postgres => " --store postgres",
        }
    }

    fn steps(&self, seed: u64) -> Vec<Step> {
        let setting = Setting::of(seed);
        let leaves = u32::from(setting.leaves);
        step::steps(seed, |kind| match kind {
            StepKind::RunAuthority => setting.authority.into(),
            // Where entries are denied, users have decisions to make.
            StepKind::Decide => 1 + 5 * leaves,
            StepKind::Compact => setting.compaction.into(),
            StepKind::ChangeMembership => u32::from(setting.joins) + leaves,
            StepKind::RemoveDevice => setting.leavers.into(),
            StepKind::Backup => setting.backups.into(),
            StepKind::Copy => 3 * u32::from(setting.copies),
            StepKind::Upgrade => setting.upgrades.into(),
            StepKind::PublishForged => setting.forgers.into(),
            StepKind::DeliverDelayed if setting.is_slow() => 3,
            _ => 1,
        })
    }

    fn execute(&self, seed: u64, steps: &[Step], report: &mut RunReport) -> Checked {
        let mut setting = Setting::of(seed);
        if self.store == Store::Postgres {
            setting.database = Some(Store::Postgres);
        }
        let mut run = LogRun::new(setting, seed, report)?;
        for step in steps {
            run.step(step)?;
        }
        run.recover()?;
        run.check_final_state()
    }

    fn expected_events(&self) -> &'static [&'static str] {
        &EXPECTED
    }

    fn coverage_runs(&self) -> u64 {
        8_000
    }

    fn switches(&self) -> &'static [Switch] {
        switches! {
            "L1", NothingVoid, 4 => "server-rows-are-the-fold", "view-is-the-viewers-part";
            "L1", PastUnguarded, 43 => "rows-change-within-rights";
            "L2", RevisionKept, 1 => "order-as-taken", "rerun-changes-nothing";
            "L4", RunUnasked, 17 => "corrections-are-bounded";
            "L6", KeyBelowSeen, 73 => "author-order-kept";
            "L8", OwnNotSent, 0 => "feed-shows-what-concerns";
            "L8", NotToldGone, 3 => "devices-agree";
            "L11", NoFloor, 7 => "devices-agree";
        }
    }
}

const EXPECTED: [&str; 58] = [
    "a bare id is sent",
    "a copy has published an entry",
    "a copy is detected",
    "a correction is accepted",
    "a correction is refused",
    "a forged entry is accepted",
    "a forged entry is denied",
    "a forged revision is frozen",
    "a database is copied",
    "a device disappears",
    "a device is restored from a backup",
    "a device starts again",
    "a handler is missing",
    "a key is too far ahead",
    "a key is too old",
    "a page comes twice",
    "a page is late",
    "a page is lost",
    "a refused entry succeeds again",
    "a request comes twice",
    "a request is answered resync",
    "a request is late",
    "a request is lost",
    "a request is stale",
    "a second revision is accepted",
    "a snapshot begins again",
    "a snapshot is taken",
    "a page of a later snapshot arrives",
    "a snapshot page is sent",
    "a user gets one more device",
    "a user joins a bucket",
    "a user leaves a bucket",
    "a user may only write a bucket",
    "devices are in files",
    "an answer is late",
    "an answer is lost",
    "an entry arrives late",
    "an entry is denied",
    "an entry is final",
    "an entry is frozen",
    "an entry is released by the operator",
    "an entry is parked",
    "an entry is re-keyed",
    "an entry is refused when it runs again",
    "an entry is undone",
    "an id belongs to a copy",
    "an item is sent again for its changed view",
    "another version of the app is installed",
    "plain SQL is written",
    "the horizon passes entries",
    "the log is in a database",
    "the order as taken equals the oracle's",
    "the authority corrects",
    "the server crashes before a commit",
    "the server is restored from a backup",
    "a parked entry is edited",
    "a parked entry is discarded",
    "a parked entry is retried",
];
