//! Time limit of one run on a connection: SQLite checks it every few microseconds, so a looping
//! statement is interrupted. Code that loops without SQL cannot be interrupted; its run counts as
//! timed out when it returns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::host::Host;

/// Time limit of the action that runs on a connection.
#[derive(Debug, Default)]
pub(crate) struct ActionDeadline {
    clock: OnceLock<Arc<dyn Host>>,
    /// End of the time limit, in microseconds of the host; 0 while nothing runs.
    until: AtomicU64,
    /// Whether a check found the limit exceeded.
    over: AtomicBool,
}

/// While this guard exists, a run is timed.
#[derive(Debug)]
#[must_use]
pub(crate) struct Timed<'a>(&'a ActionDeadline);

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        self.0.until.store(0, Ordering::Release);
        self.0.over.store(false, Ordering::Release);
    }
}

impl ActionDeadline {
    /// Sets the clock.
    pub(crate) fn set_clock(&self, host: Arc<dyn Host>) {
        // An engine has one host for its lifetime.
        let _ = self.clock.set(host);
    }

    /// The host's uptime; zero without a clock.
    pub(crate) fn now(&self) -> Duration {
        self.clock.get().map_or(Duration::ZERO, |host| host.elapsed())
    }

    /// Starts a run with this time limit.
    pub(crate) fn time(&self, run: Duration) -> Timed<'_> {
        self.again(run);
        Timed(self)
    }

    /// Pauses the limit until the next statement: the code runs in a callback executor, with its
    /// own timeout.
    pub(crate) fn rest(&self) {
        self.until.store(0, Ordering::Release);
    }

    /// Starts a statement of such code, with this time limit.
    pub(crate) fn again(&self, run: Duration) {
        let until = micros(self.now() + run).max(1);
        self.until.store(until, Ordering::Release);
    }

    /// Whether the run has exceeded its limit. False while nothing runs.
    pub(crate) fn is_over(&self) -> bool {
        let until = self.until.load(Ordering::Acquire);
        if until == 0 || micros(self.now()) < until {
            return false;
        }
        self.over.store(true, Ordering::Release);
        true
    }
}

impl Timed<'_> {
    /// Whether the run took too long, or was interrupted for that.
    pub(crate) fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Acquire) || self.0.is_over()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
