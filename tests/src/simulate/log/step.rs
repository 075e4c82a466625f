//! The steps of a run. Each carries its own random numbers, and works without the others.

use fastrand::Rng;

/// Number of steps of a run.
pub(super) const STEPS: usize = 40;

/// A step of a device, or of the server.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub(super) kind: StepKind,
    /// Which device, or which message: modulo their count.
    pub(super) target: usize,
    /// Seed of all other random choices.
    pub(super) seed: u64,
    /// Time since the previous step, in milliseconds.
    pub(super) delay: u64,
}

/// Kinds of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepKind {
    /// A device takes an action, writes plain SQL or undoes something.
    Write,
    /// A device fetches a page or a snapshot.
    Fetch,
    /// A device publishes its entries.
    Publish,
    /// A device does both until there is nothing to do.
    Sync,
    /// A delayed message arrives.
    DeliverDelayed,
    /// The app is started again.
    Restart,
    /// The user decides about a parked entry.
    Decide,
    /// The authority fetches and corrects.
    RunAuthority,
    /// The horizon rises.
    Compact,
    /// A user joins a bucket, or leaves one.
    ChangeMembership,
    /// A device disappears.
    RemoveDevice,
    /// A user gets one more device.
    AddDevice,
    /// The server is backed up, or restored.
    Backup,
    /// A device's database is copied, backed up, or restored.
    Copy,
    /// Another version of the app is installed.
    Upgrade,
    /// A modified client publishes entries with keys and rows of its choice.
    PublishForged,
}

/// Weight of each kind.
const WEIGHTS: [(StepKind, u32); 16] = [
    (StepKind::Write, 38),
    (StepKind::Fetch, 16),
    (StepKind::Publish, 18),
    (StepKind::Sync, 6),
    (StepKind::DeliverDelayed, 10),
    (StepKind::Restart, 2),
    (StepKind::Decide, 8),
    (StepKind::RunAuthority, 12),
    (StepKind::Compact, 7),
    (StepKind::ChangeMembership, 6),
    (StepKind::RemoveDevice, 1),
    (StepKind::AddDevice, 1),
    (StepKind::Backup, 3),
    (StepKind::Copy, 4),
    (StepKind::Upgrade, 3),
    (StepKind::PublishForged, 24),
];

/// The steps of this seed's run; `factor` returns a factor for the weight of a kind, 0 for never.
pub(super) fn steps(seed: u64, factor: impl Fn(StepKind) -> u32) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    let weighed = WEIGHTS.map(|(kind, weight)| (kind, weight * factor(kind)));
    let sum: u32 = weighed.iter().map(|(_, weight)| weight).sum();
    let mut step = || {
        let mut at = rng.u32(..sum);
        let kind = weighed.iter().find(|(_, weight)| {
            let here = at < *weight;
            at = at.wrapping_sub(*weight);
            here
        });
        let kind = kind.map_or(StepKind::Sync, |(kind, _)| *kind);
        let delay = [0, 1, 1, 20, 1_000, 30_000][rng.usize(..6)];
        Step { kind, target: rng.usize(..64), seed: rng.u64(..), delay }
    };
    (0..STEPS).map(|_| step()).collect()
}
