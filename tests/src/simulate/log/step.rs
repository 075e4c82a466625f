//! What can happen in a world. Each thing carries its own chance, and means something without the others.

use fastrand::Rng;

/// Steps of a world.
pub(super) const STEPS: usize = 40;

/// Something that happens to a device, or to the server.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub(super) what: What,
    /// Which device, or which message: counted round.
    pub(super) who: usize,
    /// Everything else that chance decides.
    pub(super) chance: u64,
    /// How long after the step before, in milliseconds.
    pub(super) after: u64,
}

/// The things that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A device takes an action, writes plain SQL or undoes something.
    Write,
    /// It asks for a page or a snapshot.
    Fetch,
    /// It offers what it has.
    Publish,
    /// It does both until there is nothing to do.
    Sync,
    /// A message that was delayed arrives.
    Arrive,
    /// The app is started again.
    Restart,
    /// The user decides about what is parked.
    Decide,
    /// The referee looks.
    Judge,
    /// The horizon rises.
    Compact,
    /// A user joins a bucket, or leaves one.
    Member,
    /// A device goes for good.
    Leave,
    /// A user has one device more.
    Newcomer,
    /// The server is backed up, or set back.
    Backup,
    /// A device's database is copied, kept for later, or set back.
    Copy,
    /// Another version of the app is installed.
    Upgrade,
}

/// How often each happens, of a hundred or so.
const OFTEN: [(What, u32); 15] = [
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
];

/// The steps of this seed's world; `times` says how much oftener than elsewhere something happens there, 0 for never.
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
