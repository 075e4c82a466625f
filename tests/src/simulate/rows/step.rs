//! What can happen in a world of rows: plain data, each with its own chance.

use fastrand::Rng;

use super::tales::Tale;
use crate::Fault;

/// Things that happen in a world.
const LONG: u32 = 40;

/// One of so many is a tale.
const TALES: u8 = 16;

/// One thing that happens.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its number in the whole story; values that are written carry it.
    pub number: u32,
    /// What it decides by chance follows from this.
    pub chance: u64,
    /// What it is.
    pub what: What,
}

/// Kinds of steps. `at` is a device, counted round.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// The user of a device writes by SQL.
    Write(usize),
    /// The user of a device performs an action.
    Perform(usize),
    /// Somebody else writes on the server.
    Outside,
    /// So many exchanges of a device, or fewer if its pass ends; the one of this number meets a fault.
    Exchange(usize, usize, Option<(usize, Fault)>),
    /// The user of a device writes while its edits are on their way or a pull is under way.
    Midway(usize),
    /// Passes of a device until one ends well.
    Sync(usize),
    /// Requests of a device that were given up arrive.
    Late(usize),
    /// A device commits what it is about to send, and dies before it leaves.
    DieLeaving(usize),
    /// A device dies.
    Die(usize),
    /// A device dies at the so-many-th place on its way through the next exchanges.
    DieWithin(usize, usize),
    /// Another user signs in on a device; and the file's user comes back, or it is given up.
    Switch(usize),
    /// The app gives up what waits; with what stands on it, or alone.
    Discard(usize, bool),
    /// The app offers again what was parked; with its chain, or alone.
    Retry(usize, bool),
    /// The app replaces what waits or was parked.
    Edit(usize),
    /// The app takes back what was accepted.
    Undo(usize),
    /// The app takes an undo back.
    Redo(usize),
    /// The app reads how its writes ended, and perhaps says so.
    Read(usize),
    /// The app removes the rows of the server, and keeps what waits.
    Reset(usize),
    /// The app empties the history.
    Prune(usize),
    /// A device's clock jumps.
    Clock(usize),
    /// The server's log is compacted, after so many days.
    Compact(u16),
    /// A table of the server gains a column.
    Alter,
    /// A column of the server goes, comes, or gets another type; perhaps a device has just edited it.
    Rework(usize),
    /// A backup of the server is taken, or the last one put back.
    Backup,
    /// See above.
    Restore,
    /// A device's file is copied, and both go on.
    Copy(usize),
    /// A user is granted the rows of another, or not any more.
    Grant,
    /// A row gets another owner, or none.
    Give,
    /// Some steps in a row that seldom come together.
    Tell(usize, Tale),
}

/// The steps of a world.
pub(super) fn of(seed: u64) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    // The setting takes its chance from the seed itself.
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
