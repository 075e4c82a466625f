//! The server's clock and its generated ids. The test provides both, so that runs are
//! deterministic.
//!
//! A reading replaces `now()`, `clock_timestamp()` or the process's own time. Precision:
//! microseconds, as in the database.

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
    /// A clock at `micros` since 1970 UTC. Each reading advances it by one microsecond, so that no
    /// two transactions have the same time.
    pub fn at(micros: i64) -> Self {
        Self(Arc::new(Mutex::new(State { now: micros, step: 1, script: VecDeque::new() })))
    }

    /// Sets how far a reading advances the clock, in microseconds; 0 stops it.
    pub fn step_by(&self, micros: i64) {
        self.state().step = micros;
    }

    /// Sets the time, forward or backward.
    pub fn set(&self, micros: i64) {
        self.state().now = micros;
    }

    /// Advances the time.
    pub fn advance(&self, micros: i64) {
        self.state().now += micros;
    }

    /// Sets the next readings, in order; afterwards the clock continues from the last one.
    pub fn script(&self, readings: impl IntoIterator<Item = i64>) {
        self.state().script.extend(readings);
    }

    /// Discards the rest of a script; returns the number of discarded readings.
    pub fn end_script(&self) -> usize {
        self.state().script.drain(..).count()
    }

    /// The current time, without a reading.
    pub fn now(&self) -> i64 {
        self.state().now
    }

    /// Takes a reading.
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

/// Source of `gen_random_uuid()`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids {
    made: u64,
    pub(crate) script: VecDeque<String>,
}

impl Ids {
    /// The next scripted id, or a counter.
    pub(crate) fn next(&mut self) -> String {
        self.script.pop_front().unwrap_or_else(|| {
            self.made += 1;
            format!("00000000-0000-4000-8000-{:012x}", self.made)
        })
    }
}
