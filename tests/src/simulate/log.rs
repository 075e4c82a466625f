//! Worlds of the log model: devices, users, buckets, a server, perhaps a referee, and a network that loses, doubles and delays.
//!
//! The law is what rules-log promises. At every step the server's rows are the fold of its entries, each device's rows the fold
//! of what it has (L13), nothing was sent that its viewer may not see, and running everything again would change nothing
//! (L14). After healing everybody agrees, nothing is lost or doubled, corrections have stopped, and, where it is promised,
//! everything stands as if it had been done in one place in the order in which it was done. What is compared with is
//! worked out by `oracle` alone.

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

use rejoin_protocol::mutant::Mutant::{
    KeyBelowSeen, NoFloor, NotToldGone, NothingVoid, OwnNotSent, RevisionKept, RunUnasked,
};

use super::{Checked, Model, Switch, Told, switches};
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
            What::Copy => 3 * u32::from(setting.copies),
            What::Upgrade => setting.upgrades.into(),
            What::Arrive if setting.is_slow() => 3,
            _ => 1,
        })
    }

    fn live(&self, seed: u64, steps: &[Step], told: &mut Told) -> Checked {
        let mut world = World::new(Setting::of(seed), seed, told)?;
        for step in steps {
            world.step(step)?;
        }
        world.heal()?;
        world.judge_all()
    }

    fn expected(&self) -> &'static [&'static str] {
        &EXPECTED
    }

    fn enough(&self) -> u64 {
        8_000
    }

    fn switches(&self) -> &'static [Switch] {
        switches! {
            "L1", NothingVoid => "server-rows-are-the-fold", "view-is-the-viewers-part";
            "L2", RevisionKept => "order-as-taken", "rerun-changes-nothing";
            "L4", RunUnasked => "corrections-are-bounded";
            "L6", KeyBelowSeen => "author-order-kept";
            "L8", OwnNotSent => "feed-shows-what-concerns";
            "L8", NotToldGone => "devices-agree";
            "L11", NoFloor => "devices-agree";
        }
    }
}

const EXPECTED: [&str; 47] = [
    "a bare id is sent",
    "a copy has published an entry",
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
    "an id is a copy's",
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
