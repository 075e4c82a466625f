//! The steps of a run: plain data, each with its own random seed.

use fastrand::Rng;

use super::tales::Tale;
use crate::Fault;

/// Number of steps of a run.
const LONG: u32 = 40;

/// One in this many steps is a fixed sequence.
const TALES: u8 = 16;

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its number in the run; written values contain it.
    pub number: u32,
    /// Seed of its random choices.
    pub chance: u64,
    /// Its kind.
    pub what: What,
}

/// Kinds of steps. `at` is a device, modulo their count.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// The user of a device writes by SQL.
    Write(usize),
    /// The user of a device performs an action.
    Perform(usize),
    /// An outside writer writes on the server.
    Outside,
    /// This many exchanges of a device, or fewer if its pass ends; the one of this number meets a
    /// fault.
    Exchange(usize, usize, Option<(usize, Fault)>),
    /// The user of a device writes while its edits are in flight or a pull is running.
    Midway(usize),
    /// Passes of a device until one succeeds.
    Sync(usize),
    /// Requests of a device that timed out arrive.
    Late(usize),
    /// A device commits what it is about to send, and crashes before it is sent.
    DieLeaving(usize),
    /// A device crashes.
    Die(usize),
    /// A device crashes at the given point on its way through the next exchanges.
    DieWithin(usize, usize),
    /// Another user signs in on a device; then the file's user comes back, or the file is reset.
    Switch(usize),
    /// The app discards a pending mutation, with its dependents or alone.
    Discard(usize, bool),
    /// The app retries a parked mutation, with its chain or alone.
    Retry(usize, bool),
    /// The app replaces a pending or parked mutation.
    Edit(usize),
    /// The app undoes an accepted mutation.
    Undo(usize),
    /// The app reverts an undo.
    Redo(usize),
    /// The app reads its verdicts, and perhaps acknowledges them.
    Read(usize),
    /// The app removes the server rows, and keeps the pending mutations.
    Reset(usize),
    /// The app empties the history.
    Prune(usize),
    /// A device's clock jumps.
    Clock(usize),
    /// The server's log is compacted after this many days.
    Compact(u16),
    /// A table of the server gains a column.
    Alter,
    /// A column of the server is removed, added, or changes its type; perhaps a device has just
    /// edited it.
    Rework(usize),
    /// A backup of the server is taken.
    Backup,
    /// The last backup of the server is restored.
    Restore,
    /// A device's file is copied, and both copies continue.
    Copy(usize),
    /// A user gains or loses access to the rows of another.
    Grant,
    /// A row gets another owner, or none.
    Give,
    /// A sequence of steps that rarely occurs by chance.
    Tell(usize, Tale),
}

/// The steps of a run.
pub(super) fn of(seed: u64) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    // The setting uses the random numbers of the seed itself.
    rng.u64(..);
    (0..LONG).map(|number| step(&mut rng, number)).collect()
}

fn step(rng: &mut Rng, number: u32) -> Step {
    let at = rng.usize(..60);
    let what = match rng.u8(..103) {
        _ if rng.u8(..TALES) == 0 => What::Tell(at, Tale::any(rng)),
        0..21 => What::Write(at),
        21..32 => What::Perform(at),
        32..40 => What::Outside,
        40..53 => What::Exchange(at, rng.usize(1..7), fault(rng)),
        53..60 => What::Midway(at),
        60..68 => What::Sync(at),
        68 => What::Late(at),
        69 => What::DieLeaving(at),
        70 if rng.bool() => What::Die(at),
        70 => What::DieWithin(at, rng.usize(..12)),
        71..74 => What::Discard(at, rng.bool()),
        74..78 => What::Retry(at, rng.bool()),
        78..81 => What::Edit(at),
        81..84 => What::Undo(at),
        84 => What::Redo(at),
        85..87 => What::Read(at),
        87 => What::Clock(at),
        88 => What::Compact([0, 40, 40, 100][rng.usize(..4)]),
        89 if rng.bool() => What::Alter,
        89 => What::Switch(at),
        90..92 => What::Backup,
        92 => What::Restore,
        93..95 => What::Copy(at),
        95..97 => What::Grant,
        97..99 => What::Give,
        99..101 => What::Rework(at),
        101 => What::Reset(at),
        _ => What::Prune(at),
    };
    Step { number, chance: rng.u64(..), what }
}

fn fault(rng: &mut Rng) -> Option<(usize, Fault)> {
    const FAULTS: [Fault; 10] = [
        Fault::AnswerLost,
        Fault::AnswerLost,
        Fault::RequestLost,
        Fault::Late,
        Fault::FailedAfterwards,
        Fault::Doubled,
        Fault::Failed,
        Fault::Unavailable,
        Fault::CutBody,
        Fault::Html,
    ];
    let fault = rng.choice(FAULTS)?;
    rng.bool().then(|| (rng.usize(..4), fault))
}
