//! The steps of a run with a plain server: plain data, each with its own random seed.

use fastrand::Rng;

use crate::Fault;

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
    /// The user of a device writes.
    Edit(usize),
    /// The user of a device deletes a note, creates it again, and edits it just before the first
    /// page of the pull.
    Renew(usize),
    /// An outside writer writes on the server.
    Outside(usize),
    /// This many exchanges of a device, or fewer if its pass ends; the one of this number meets a
    /// fault.
    Exchange(usize, usize, Option<(usize, Fault)>),
    /// A device commits what it is about to send, and crashes before it is sent.
    DieLeaving(usize),
    /// A device crashes.
    Die(usize),
    /// Requests that timed out on a device arrive.
    Late(usize),
    /// The app discards a pending mutation.
    Discard(usize),
    /// The server's database refuses every record of a row, for some time.
    Poison(usize),
    /// It refuses no more rows; the server works again.
    Heal,
    /// The server fails within the next request, after the work.
    FailInside,
    /// The server cannot answer until it heals.
    Outage,
    /// All versions of the app are too old until it heals.
    TooOld,
    /// The server forgets a device.
    Forget(usize),
    /// The server gains a column.
    Alter,
    /// The server compacts its log.
    Compact,
    /// Eight days pass.
    Days,
    /// The next pull is answered with `snapshot_required`.
    Rebuild,
    /// The server's log lags behind its rows, or catches up.
    Lag,
    /// A device's clock jumps.
    Clock(usize),
}

/// The steps of a run.
pub(super) fn of(seed: u64) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    // The setting uses the random numbers of the seed itself.
    rng.u64(..);
    let count = rng.u32(12..36);
    (0..count).map(|number| step(&mut rng, number)).collect()
}

fn step(rng: &mut Rng, number: u32) -> Step {
    let at = rng.usize(..12);
    let what = match rng.u8(..100) {
        0..29 => What::Edit(at),
        29..32 => What::Renew(at),
        32..39 => What::Outside(at),
        39..78 => What::Exchange(at, rng.usize(1..8), fault(rng)),
        78..80 => What::DieLeaving(at),
        80 => What::Die(at),
        81..84 => What::Discard(at),
        84 => What::Late(at),
        85 => What::Poison(at),
        86..88 => What::Heal,
        88..90 => What::FailInside,
        90 => What::Outage,
        91 => What::TooOld,
        92 => What::Forget(at),
        93 => What::Alter,
        94..96 => What::Days,
        96 => What::Rebuild,
        97 => What::Lag,
        98 => What::Clock(at),
        _ => What::Compact,
    };
    Step { number, chance: rng.u64(..), what }
}

fn fault(rng: &mut Rng) -> Option<(usize, Fault)> {
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
    let fault = rng.choice(FAULTS)?;
    rng.bool().then(|| (rng.usize(..5), fault))
}
