//! Executes one run with panics caught, and many runs on all cores.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use rejoin_protocol::mutant::{self, Mutant};

use super::{Checked, Failure, Model, Switch, Told};

/// A run that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its place among the runs, from 1.
    pub number: u64,
    /// Its seed.
    pub seed: u64,
    /// Why it failed.
    pub why: Failure,
}

/// The counts of many runs.
#[derive(Debug, Default)]
pub struct Sum {
    /// Runs that were executed.
    pub worlds: u64,
    /// How often each thing happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// In how many runs each thing happened at all.
    pub spread: BTreeMap<&'static str, u64>,
    /// Runs with a mutant that failed otherwise than by an invariant that is to notice it, by that name.
    pub passed_over: BTreeMap<&'static str, u64>,
    /// The first failed run; after it no further ones were begun.
    pub broken: Option<Broken>,
}

impl Sum {
    fn take(&mut self, told: &Told) {
        self.worlds += 1;
        for (what, times) in told.counts() {
            *self.counts.entry(what).or_default() += times;
            *self.spread.entry(what).or_default() += 1;
        }
    }
}

/// Executes the run of these steps; a panic fails it as an error does. With a mutant, one rule is broken in it.
///
/// # Errors
/// Why it failed.
pub fn tell<M: Model>(
    model: &M,
    seed: u64,
    steps: &[M::Step],
    mutant: Option<Mutant>,
    told: &mut Told,
) -> Checked {
    let mut live = || quietly(|| model.live(seed, steps, told));
    match mutant {
        Some(mutant) => mutant::with(mutant, live),
        None => live(),
    }
}

/// Executes the runs of `count` seeds from `from` on, on so many threads, up to the first that fails: with a switch, by one
/// of the invariants that are to notice it.
pub fn worlds<M: Model>(
    model: &M,
    from: u64,
    count: u64,
    threads: usize,
    switch: Option<&Switch>,
) -> Sum {
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let mutant = switch.map(|switch| switch.mutant);
    let sum = Mutex::new(Sum::default());
    let work = || {
        while !stop.load(Ordering::SeqCst) {
            let at = next.fetch_add(1, Ordering::SeqCst);
            if at >= from.saturating_add(count) {
                break;
            }
            let (number, seed) = (at - from + 1, at);
            let mut told = Told::default();
            let lived = tell(model, seed, &model.steps(seed), mutant, &mut told);
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            sum.take(&told);
            let Err(why) = lived else { continue };
            if switch.is_some_and(|switch| !switch.noticed_by.contains(&why.name())) {
                *sum.passed_over.entry(why.name()).or_default() += 1;
                continue;
            }
            stop.store(true, Ordering::SeqCst);
            if sum.broken.as_ref().is_none_or(|broken| number < broken.number) {
                sum.broken = Some(Broken { number, seed, why });
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// Whether a panic of this thread is a result; then its message is kept here instead of being printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static WORDS: Cell<Option<String>> = const { Cell::new(None) };
}

/// Runs `body`; a panic becomes an error with its message and place, and is not printed.
fn quietly(body: impl FnOnce() -> Checked) -> Checked {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if QUIET.get() {
                WORDS.set(Some(panic.to_string()));
            } else {
                loud(panic);
            }
        }));
    });
    QUIET.set(true);
    let ended = catch_unwind(AssertUnwindSafe(body));
    QUIET.set(false);
    ended.unwrap_or_else(|_| {
        Err(Failure::Other(WORDS.take().unwrap_or_else(|| "a panic".to_owned())))
    })
}
