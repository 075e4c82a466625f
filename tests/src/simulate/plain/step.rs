//! The steps of a run with a plain server: plain data, each with its own random seed.

use fastrand::Rng;

use crate::Fault;
use crate::simulate::exchange::{Step, fault};

/// Kinds of steps. `at` is a device, modulo their count.
#[derive(Debug, Clone, Copy)]
pub enum StepKind {
    /// The user of a device writes.
    Edit(usize),
    /// The user of a device deletes a note, creates it again, and edits it just before the first
    /// page of the pull.
    Recreate(usize),
    /// An outside writer writes on the server.
    OutsideWrite(usize),
    /// This many exchanges of a device, or fewer if its pass ends; the one of this number meets a
    /// fault.
    Exchange(usize, usize, Option<(usize, Fault)>),
    /// A device commits what it is about to send, and crashes before it is sent.
    CrashBeforeSend(usize),
    /// A device crashes.
    Crash(usize),
    /// Requests that timed out on a device arrive.
    DeliverLate(usize),
    /// The app discards a pending mutation.
    Discard(usize),
    /// The server's database refuses every record of a row, for some time.
    Poison(usize),
    /// It refuses no more rows; the server works again.
    Recover,
    /// The server fails within the next request, after the work.
    FailInside,
    /// The server cannot answer until it heals.
    Outage,
    /// All versions of the app are too old until it heals.
    TooOld,
    /// The server forgets a device.
    ForgetDevice(usize),
    /// The server gains a column.
    AddColumn,
    /// The server compacts its log.
    Compact,
    /// Eight days pass.
    AdvanceDays,
    /// The next pull is answered with `snapshot_required`.
    RequireSnapshot,
    /// The server's log lags behind its rows, or catches up.
    Lag,
    /// A device's clock jumps.
    JumpClock(usize),
}

/// The faults of exchanges.
const FAULTS: [Fault; 12] = [
    Fault::AnswerLost,
    Fault::AnswerLost,
    Fault::Late,
    Fault::RequestLost,
    Fault::FailedAfterwards,
    Fault::FailedAfterwards,
    Fault::Doubled,
    Fault::Failed,
    Fault::Unavailable,
    Fault::CutBody,
    Fault::Html,
    Fault::TooLarge,
];

/// The steps of a run.
pub(super) fn of(seed: u64) -> Vec<Step<StepKind>> {
    let mut rng = Rng::with_seed(seed);
    // The setting uses the random numbers of the seed itself.
    rng.u64(..);
    let count = rng.u32(12..36);
    (0..count).map(|number| step(&mut rng, number)).collect()
}

fn step(rng: &mut Rng, number: u32) -> Step<StepKind> {
    let at = rng.usize(..12);
    let kind = match rng.u8(..100) {
        0..29 => StepKind::Edit(at),
        29..32 => StepKind::Recreate(at),
        32..39 => StepKind::OutsideWrite(at),
        39..78 => StepKind::Exchange(at, rng.usize(1..8), fault(rng, &FAULTS, 5)),
        78..80 => StepKind::CrashBeforeSend(at),
        80 => StepKind::Crash(at),
        81..84 => StepKind::Discard(at),
        84 => StepKind::DeliverLate(at),
        85 => StepKind::Poison(at),
        86..88 => StepKind::Recover,
        88..90 => StepKind::FailInside,
        90 => StepKind::Outage,
        91 => StepKind::TooOld,
        92 => StepKind::ForgetDevice(at),
        93 => StepKind::AddColumn,
        94..96 => StepKind::AdvanceDays,
        96 => StepKind::RequireSnapshot,
        97 => StepKind::Lag,
        98 => StepKind::JumpClock(at),
        _ => StepKind::Compact,
    };
    Step { number, seed: rng.u64(..), kind }
}
