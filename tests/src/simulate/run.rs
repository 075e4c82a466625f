//! One world behind a guard, and many of them on all cores.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use rejoin_core::mutant;
use rejoin_server::mutant as server_mutant;

use super::{Model, Rule, Told};

/// A world that broke its law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The how-many-th world it was.
    pub number: u64,
    /// Its seed.
    pub seed: u64,
    /// What was broken.
    pub what: String,
}

/// What many worlds told together.
#[derive(Debug, Default)]
pub struct Sum {
    /// Worlds that were lived.
    pub worlds: u64,
    /// How often each thing happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// In how many worlds each thing happened at all.
    pub spread: BTreeMap<&'static str, u64>,
    /// The first broken world; after it no further ones were begun.
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

/// Lives the world of these steps; a panic breaks the law as an error does. With a mutant, one rule is broken in it.
///
/// # Errors
/// What was broken.
pub fn tell<M: Model>(
    model: &M,
    seed: u64,
    steps: &[M::Step],
    mutant: Option<Rule>,
    told: &mut Told,
) -> Result<(), String> {
    let mut live = || quietly(|| model.live(seed, steps, told));
    match mutant {
        Some(Rule::Engine(mutant)) => mutant::with(mutant, live),
        Some(Rule::Server(mutant)) => server_mutant::with(mutant, live),
        None => live(),
    }
}

/// Lives the worlds of `count` seeds from `from` on, on so many threads.
pub fn worlds<M: Model>(
    model: &M,
    from: u64,
    count: u64,
    threads: usize,
    mutant: Option<Rule>,
) -> Sum {
    let next = AtomicU64::new(from);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    let work = || {
        let mut own = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let at = next.fetch_add(1, Ordering::SeqCst);
            if at >= from.saturating_add(count) {
                break;
            }
            let (number, seed) = (at - from + 1, model.seed(at, mutant));
            let mut told = Told::counting();
            let lived = tell(model, seed, &model.steps(seed), mutant, &mut told);
            if let Err(what) = lived {
                stop.store(true, Ordering::SeqCst);
                own.push((told, Some(Broken { number, seed, what })));
            } else {
                own.push((told, None));
            }
        }
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        for (told, broken) in own {
            sum.take(&told);
            let first = sum.broken.as_ref().map_or(u64::MAX, |broken| broken.number);
            sum.broken = broken.filter(|broken| broken.number < first).or(sum.broken.take());
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
    /// Whether a panic of this thread is an answer; then its words are kept here instead of being shown.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static WORDS: Cell<Option<String>> = const { Cell::new(None) };
}

/// Runs `body`; a panic is an error with its words and place, and nothing is written to standard error.
fn quietly(body: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
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
    ended.unwrap_or_else(|_| Err(WORDS.take().unwrap_or_else(|| "a panic".to_owned())))
}
