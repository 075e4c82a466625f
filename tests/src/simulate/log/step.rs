//! The steps of a run. Each carries its own random numbers, and works without the others.

use fastrand::Rng;

/// Number of steps of a run.
pub(super) const STEPS: usize = 40;

/// A step of a device, or of the server.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub(super) what: What,
    /// Which device, or which message: modulo their count.
    pub(super) who: usize,
    /// Seed of all other random choices.
    pub(super) chance: u64,
    /// Time since the previous step, in milliseconds.
    pub(super) after: u64,
}

/// Kinds of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A device takes an action, writes plain SQL or undoes something.
    Write,
    /// A device fetches a page or a snapshot.
    Fetch,
    /// A device publishes its entries.
    Publish,
    /// A device does both until there is nothing to do.
    Sync,
    /// A delayed message arrives.
    Arrive,
    /// The app is started again.
    Restart,
    /// The user decides about a parked entry.
    Decide,
    /// The authority fetches and corrects.
    Judge,
    /// The horizon rises.
    Compact,
    /// A user joins a bucket, or leaves one.
    Member,
    /// A device disappears.
    Leave,
    /// A user gets one more device.
    Newcomer,
    /// The server is backed up, or restored.
    Backup,
    /// A device's database is copied, backed up, or restored.
    Copy,
    /// Another version of the app is installed.
    Upgrade,
    /// A modified client publishes entries with keys and rows of its choice.
    Forge,
}

/// Weight of each kind.
const OFTEN: [(What, u32); 16] = [
    (What::Write, 38),
    (What::Fetch, 16),
    (What::Publish, 18),
    (What::Sync, 6),
    (What::Arrive, 10),
    (What::Restart, 2),
    (What::Decide, 8),
    (What::Judge, 12),
    (What::Compact, 7),
    (What::Member, 6),
    (What::Leave, 1),
    (What::Newcomer, 1),
    (What::Backup, 3),
    (What::Copy, 4),
    (What::Upgrade, 3),
    (What::Forge, 24),
];

/// The steps of this seed's run; `times` returns a factor for the weight of a kind, 0 for never.
pub(super) fn steps(seed: u64, times: impl Fn(What) -> u32) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    let weighed = OFTEN.map(|(what, often)| (what, often * times(what)));
    let sum: u32 = weighed.iter().map(|(_, often)| often).sum();
    let mut step = || {
        let mut at = rng.u32(..sum);
        let what = weighed.iter().find(|(_, often)| {
            let here = at < *often;
            at = at.wrapping_sub(*often);
            here
        });
        let what = what.map_or(What::Sync, |(what, _)| *what);
        let after = [0, 1, 1, 20, 1_000, 30_000][rng.usize(..6)];
        Step { what, who: rng.usize(..64), chance: rng.u64(..), after }
    };
    (0..STEPS).map(|_| step()).collect()
}
