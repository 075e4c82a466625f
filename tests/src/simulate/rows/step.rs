//! The steps of a run: plain data, each with its own random seed.

use fastrand::Rng;

use super::scenarios::Scenario;
use super::setting::has_teams;
use crate::Fault;
use crate::simulate::exchange::{Step, fault};

/// Number of steps of a run.
const STEPS: u32 = 40;

/// One in this many steps is a fixed sequence.
const SCENARIO_RATE: u8 = 16;

/// Kinds of steps. `at` is a device, modulo their count.
#[derive(Debug, Clone, Copy)]
pub enum StepKind {
    /// The user of a device writes by SQL.
    Write(usize),
    /// The user of a device performs an action.
    PerformAction(usize),
    /// An outside writer writes on the server.
    OutsideWrite,
    /// This many exchanges of a device, or fewer if its pass ends; the one of this number meets a
    /// fault.
    Exchange(usize, usize, Option<(usize, Fault)>),
    /// The user of a device writes while its edits are in flight or a pull is running.
    WriteMidPass(usize),
    /// Passes of a device until one succeeds.
    Sync(usize),
    /// Requests of a device that timed out arrive.
    DeliverLate(usize),
    /// A device commits what it is about to send, and crashes before it is sent.
    CrashBeforeSend(usize),
    /// A device crashes.
    Crash(usize),
    /// A device crashes at the given point on its way through the next exchanges.
    CrashAtPoint(usize, usize),
    /// Another user signs in on a device; then the file's user comes back, or the file is reset.
    SwitchUser(usize),
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
    ReadVerdicts(usize),
    /// The app removes the server rows, and keeps the pending mutations.
    Reset(usize),
    /// The app empties the history.
    PruneHistory(usize),
    /// A device's clock jumps.
    JumpClock(usize),
    /// The server's log is compacted after this many days.
    Compact(u16),
    /// A table of the server gains a column.
    AddColumn,
    /// A column of the server is removed, added, or changes its type; perhaps a device has just
    /// edited it.
    ChangeSchema(usize),
    /// A backup of the server is taken.
    Backup,
    /// The last backup of the server is restored.
    Restore,
    /// A device's file is copied, and both copies continue.
    Copy(usize),
    /// A user gains or loses access to the rows of another.
    ChangeAccess,
    /// A row gets another owner, or none.
    ChangeOwner,
    /// A sequence of steps that rarely occurs by chance.
    Scenario(usize, Scenario),
    /// A change of a team's members or rows, or of the subscriptions of a device.
    Team(usize),
}

/// The faults of exchanges.
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

/// The steps of a run.
pub(super) fn of(seed: u64) -> Vec<Step<StepKind>> {
    let mut rng = Rng::with_seed(seed);
    // The setting uses the random numbers of the seed itself.
    rng.u64(..);
    let mut steps: Vec<_> = (0..STEPS).map(|number| step(&mut rng, number)).collect();
    if has_teams(seed) {
        for step in &mut steps {
            if rng.u8(..5) < 2 {
                step.kind = StepKind::Team(rng.usize(..60));
            }
        }
    }
    steps
}

fn step(rng: &mut Rng, number: u32) -> Step<StepKind> {
    let at = rng.usize(..60);
    let kind = match rng.u8(..103) {
        _ if rng.u8(..SCENARIO_RATE) == 0 => StepKind::Scenario(at, Scenario::random(rng)),
        0..21 => StepKind::Write(at),
        21..32 => StepKind::PerformAction(at),
        32..40 => StepKind::OutsideWrite,
        40..53 => StepKind::Exchange(at, rng.usize(1..7), fault(rng, &FAULTS, 4)),
        53..60 => StepKind::WriteMidPass(at),
        60..68 => StepKind::Sync(at),
        68 => StepKind::DeliverLate(at),
        69 => StepKind::CrashBeforeSend(at),
        70 if rng.bool() => StepKind::Crash(at),
        70 => StepKind::CrashAtPoint(at, rng.usize(..12)),
        71..74 => StepKind::Discard(at, rng.bool()),
        74..78 => StepKind::Retry(at, rng.bool()),
        78..81 => StepKind::Edit(at),
        81..84 => StepKind::Undo(at),
        84 => StepKind::Redo(at),
        85..87 => StepKind::ReadVerdicts(at),
        87 => StepKind::JumpClock(at),
        88 => StepKind::Compact([0, 40, 40, 100][rng.usize(..4)]),
        89 if rng.bool() => StepKind::AddColumn,
        89 => StepKind::SwitchUser(at),
        90..92 => StepKind::Backup,
        92 => StepKind::Restore,
        93..95 => StepKind::Copy(at),
        95..97 => StepKind::ChangeAccess,
        97..99 => StepKind::ChangeOwner,
        99..101 => StepKind::ChangeSchema(at),
        101 => StepKind::Reset(at),
        _ => StepKind::PruneHistory(at),
    };
    Step { number, seed: rng.u64(..), kind }
}
