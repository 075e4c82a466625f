//! The server's clock and the ids it makes: both are given by the test, so that a story runs the same every time.
//!
//! A reading stands for `now()`, `clock_timestamp()` or the process's own time. Microseconds, as the database keeps them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The server's clock; clones share it.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    now: i64,
    step: i64,
    script: VecDeque<i64>,
}

impl Clock {
    /// A clock at `micros` since 1970 UTC; every reading is a microsecond later than the one before, so that no two
    /// transactions have one time.
    pub fn at(micros: i64) -> Self {
        Self(Arc::new(Mutex::new(State { now: micros, step: 1, script: VecDeque::new() })))
    }

    /// How far a reading moves the clock, in microseconds; 0 lets it stand still.
    pub fn step_by(&self, micros: i64) {
        self.state().step = micros;
    }

    /// Sets it, forwards or back.
    pub fn set(&self, micros: i64) {
        self.state().now = micros;
    }

    /// Moves it on.
    pub fn advance(&self, micros: i64) {
        self.state().now += micros;
    }

    /// What the next readings are, in order; after them it goes on from the last.
    pub fn script(&self, readings: impl IntoIterator<Item = i64>) {
        self.state().script.extend(readings);
    }

    /// Drops what is left of a script; how many readings that were.
    pub fn end_script(&self) -> usize {
        self.state().script.drain(..).count()
    }

    /// What it shows, without a reading.
    pub fn now(&self) -> i64 {
        self.state().now
    }

    /// A reading.
    pub(crate) fn read(&self) -> i64 {
        let mut state = self.state();
        state.now = match state.script.pop_front() {
            Some(reading) => reading,
            None => state.now + state.step,
        };
        state.now
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where `gen_random_uuid()` takes its values from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids {
    made: u64,
    pub(crate) script: VecDeque<String>,
}

impl Ids {
    /// The next id: of the script, or counted up.
    pub(crate) fn next(&mut self) -> String {
        self.script.pop_front().unwrap_or_else(|| {
            self.made += 1;
            format!("00000000-0000-4000-8000-{:012x}", self.made)
        })
    }
}
