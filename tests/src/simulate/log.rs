//! Worlds of the log model: devices, users, buckets, a server, perhaps a referee, and a network that loses, doubles and delays.
//!
//! The law is what rules-log promises. At every step the server's rows are the fold of its entries, each device's rows the fold
//! of what it has (L13), nothing was sent that its viewer may not see, and running everything again would change nothing
//! (L14). After healing everybody agrees, nothing is lost or doubled, corrections have stopped, and, where it is promised,
//! everything stands as if it had been done in one place in the order in which it was done. What is compared with is
//! worked out by `oracle` alone.

mod cost;
mod deed;
mod device;
mod happening;
mod heal;
mod judge;
mod laws;
mod mirror;
mod network;
mod oracle;
mod setting;
mod step;
mod words;
mod world;

use rejoin_core::mutant::Mutant;

use super::{Model, Rule, Sum, Told};
pub use cost::LogCost;
use setting::Setting;
use step::{Step, What};
use world::World;

/// The log model.
#[derive(Debug, Clone, Copy)]
pub struct Log;

impl Model for Log {
    type Step = Step;

    fn name(&self) -> &'static str {
        "log"
    }

    fn steps(&self, seed: u64) -> Vec<Step> {
        let setting = Setting::of(seed);
        let leaves = u32::from(setting.leaves);
        step::steps(seed, |what| match what {
            What::Judge => setting.referee.into(),
            // Where entries are denied, users have something to decide.
            What::Decide => 1 + 5 * leaves,
            What::Compact => setting.compaction.into(),
            What::Member => u32::from(setting.joins) + leaves,
            What::Leave => setting.leavers.into(),
            What::Backup => setting.backups.into(),
            What::Copy => setting.copies.into(),
            What::Upgrade => setting.upgrades.into(),
            What::Arrive if setting.is_slow() => 3,
            _ => 1,
        })
    }

    fn live(&self, seed: u64, steps: &[Step], told: &mut Told) -> Result<(), String> {
        live(Setting::of(seed), seed, steps, told)
    }

    fn seed(&self, number: u64, broken: Option<Rule>) -> u64 {
        let kinds = broken.map_or(&[][..], setting::where_it_matters);
        match kinds.get(usize::try_from(number).unwrap_or_default() % kinds.len().max(1)) {
            Some(kind) => setting::seed_of(*kind, number),
            None => number,
        }
    }

    fn figures(&self, sum: &Sum) -> Vec<String> {
        vec![cost::corrections(sum)]
    }

    fn expected(&self) -> &'static [&'static str] {
        &EXPECTED
    }

    fn limited(&self) -> &'static [(&'static str, u64)] {
        &[]
    }

    fn mutants(&self) -> &'static [(&'static str, Rule)] {
        &MUTANTS
    }
}

/// Lives a world to its end and judges it.
fn live(setting: Setting, seed: u64, steps: &[Step], told: &mut Told) -> Result<(), String> {
    let mut world = World::new(setting, seed, told)?;
    for step in steps {
        world.step(step)?;
    }
    world.heal()?;
    world.judge_all()
}

const MUTANTS: [(&str, Rule); 33] = [
    ("L1", Rule::Engine(Mutant::NothingVoid)),
    ("L2", Rule::Engine(Mutant::RevisionKept)),
    ("L3", Rule::Engine(Mutant::PlainRecaptured)),
    ("L4", Rule::Engine(Mutant::RunUnasked)),
    ("L4", Rule::Engine(Mutant::RowsAloneDecide)),
    ("L4", Rule::Engine(Mutant::WriteSetOverlooked)),
    ("L4", Rule::Engine(Mutant::FailedReadsLost)),
    ("L4", Rule::Engine(Mutant::BlindWritesUnread)),
    ("L5", Rule::Engine(Mutant::RefereeOverruled)),
    ("L5", Rule::Engine(Mutant::RefereeUnheard)),
    ("L5", Rule::Engine(Mutant::RefereeSeesAll)),
    ("L5", Rule::Engine(Mutant::CorrectionUnread)),
    ("L6", Rule::Engine(Mutant::OneKeyAlone)),
    ("L6", Rule::Engine(Mutant::KeyBelowSeen)),
    ("L7", Rule::Engine(Mutant::AckCoversAll)),
    ("L7", Rule::Engine(Mutant::OldRequestRead)),
    ("L7", Rule::Engine(Mutant::BatchGoesOn)),
    ("L8", Rule::Engine(Mutant::OwnNotSent)),
    ("L8", Rule::Engine(Mutant::NotToldGone)),
    ("L9", Rule::Engine(Mutant::ViewNotRenewed)),
    ("L10", Rule::Engine(Mutant::NotFrozen)),
    ("L10", Rule::Engine(Mutant::AuthorityKept)),
    ("L11", Rule::Engine(Mutant::NoFloor)),
    ("L11", Rule::Engine(Mutant::IdsForgotten)),
    ("L11", Rule::Engine(Mutant::RetentionIgnored)),
    ("L12", Rule::Engine(Mutant::RowsAsTheyStand)),
    ("L12", Rule::Engine(Mutant::EpochOverlooked)),
    ("L12", Rule::Engine(Mutant::OldSnapshotFinal)),
    ("L12", Rule::Engine(Mutant::CopyUnnoticed)),
    ("L13", Rule::Engine(Mutant::OwnEffectsAlways)),
    ("L14", Rule::Engine(Mutant::VoidRowsUnnamed)),
    ("L14", Rule::Engine(Mutant::LaterWritersStay)),
    ("L14", Rule::Engine(Mutant::RunUnchecked)),
];

const EXPECTED: [&str; 45] = [
    "a bare id is sent",
    "a copy is found",
    "a correction is accepted",
    "a database is copied",
    "a device goes for good",
    "a device is set back to a backup",
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
    "a snapshot is taken",
    "a user has one device more",
    "a user joins a bucket",
    "a user leaves a bucket",
    "an answer is late",
    "an answer is lost",
    "an entry arrives late",
    "an entry is denied",
    "an entry is final",
    "an entry is frozen",
    "an entry is given back",
    "an entry is parked",
    "an entry is re-keyed",
    "an entry is refused when it runs again",
    "an entry is undone",
    "an item is sent again for its view",
    "another version of the app",
    "plain SQL is written",
    "the horizon passes entries",
    "the order as taken is held to the oracle",
    "the referee corrects",
    "the server is set back to a backup",
    "what was parked is edited",
    "what was parked is given up",
    "what was parked is tried again",
];
