//! Executes one run and catches panics, or many runs on all cores.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use rejoin_protocol::mutant::{self, Mutant};

use super::{Checked, Failure, Model, RunReport, Switch};

/// A run that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRun {
    /// Its position among the runs, from 1.
    pub number: u64,
    /// Its seed.
    pub seed: u64,
    /// Why it failed.
    pub why: Failure,
}

/// The counts of many runs.
#[derive(Debug, Default)]
pub struct RunTotals {
    /// Runs that were executed.
    pub runs: u64,
    /// The count of each event.
    pub counts: BTreeMap<&'static str, u64>,
    /// The number of runs in which each event happened.
    pub run_counts: BTreeMap<&'static str, u64>,
    /// Runs with a mutant that failed for another reason than the expected invariants, by the name
    /// of the reason.
    pub other_failures: BTreeMap<&'static str, u64>,
    /// The first failed run; no further run starts after it.
    pub failed: Option<FailedRun>,
}

impl RunTotals {
    /// Adds further runs.
    pub(super) fn add(&mut self, more: Self) {
        self.runs += more.runs;
        for (all, counts) in
            [(&mut self.counts, more.counts), (&mut self.run_counts, more.run_counts)]
        {
            for (what, times) in counts {
                *all.entry(what).or_default() += times;
            }
        }
        self.failed = more.failed;
    }

    /// Counts the runs that ended, in their order and up to the first failed one: those after it
    /// are executed again.
    fn take_ended(&mut self, ended: &mut BTreeMap<u64, RunReport>) {
        let last = self.failed.as_ref().map_or(u64::MAX, |failed| failed.number);
        while self.runs < last
            && let Some(report) = ended.remove(&(self.runs + 1))
        {
            self.runs += 1;
            for (what, times) in report.counts() {
                *self.counts.entry(what).or_default() += times;
                *self.run_counts.entry(what).or_default() += 1;
            }
        }
    }
}

/// Executes the run of these steps; a panic fails it like an error. With a mutant, one rule is
/// broken in it.
///
/// # Errors
/// Why it failed.
pub fn execute_run<M: Model>(
    model: &M,
    seed: u64,
    steps: &[M::Step],
    mutant: Option<Mutant>,
    report: &mut RunReport,
) -> Checked {
    let mut execute = || catch_panics(|| model.execute(seed, steps, report));
    match mutant {
        Some(mutant) => mutant::with(mutant, execute),
        None => execute(),
    }
}

/// Executes the runs of `count` seeds from `from` on `threads` threads, up to the first that fails.
/// With a switch, only the failure of an invariant that is expected to notice it counts.
pub fn execute_runs<M: Model>(
    model: &M,
    from: u64,
    count: u64,
    threads: usize,
    switch: Option<&Switch>,
) -> RunTotals {
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let mutant = switch.map(|switch| switch.mutant);
    let totals = Mutex::new((RunTotals::default(), BTreeMap::new()));
    let work = || {
        while !stop.load(Ordering::SeqCst) {
            let at = next.fetch_add(1, Ordering::SeqCst);
            if at >= from.saturating_add(count) {
                break;
            }
            let (number, seed) = (at - from + 1, at);
            let mut report = RunReport::default();
            let outcome = execute_run(model, seed, &model.steps(seed), mutant, &mut report);
            let mut guard = totals.lock().unwrap_or_else(PoisonError::into_inner);
            let (totals, ended) = &mut *guard;
            ended.insert(number, report);
            match outcome {
                Ok(()) => {}
                Err(why) if switch.is_some_and(|one| !one.noticed_by.contains(&why.name())) => {
                    *totals.other_failures.entry(why.name()).or_default() += 1;
                }
                Err(why) => {
                    stop.store(true, Ordering::SeqCst);
                    if totals.failed.as_ref().is_none_or(|failed| number < failed.number) {
                        totals.failed = Some(FailedRun { number, seed, why });
                    }
                }
            }
            totals.take_ended(ended);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    totals.into_inner().unwrap_or_else(PoisonError::into_inner).0
}

thread_local! {
    /// Whether a panic of this thread is a result; then its message is stored instead of being
    /// printed.
    static CATCHES_PANICS: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Runs `body`; a panic becomes an error with its message and location, and is not printed.
fn catch_panics(body: impl FnOnce() -> Checked) -> Checked {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default_hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if CATCHES_PANICS.get() {
                MESSAGE.set(Some(panic.to_string()));
            } else {
                default_hook(panic);
            }
        }));
    });
    CATCHES_PANICS.set(true);
    let ended = catch_unwind(AssertUnwindSafe(body));
    CATCHES_PANICS.set(false);
    ended.unwrap_or_else(|_| {
        Err(Failure::Other(MESSAGE.take().unwrap_or_else(|| "a panic".to_owned())))
    })
}
