//! The time of one run, as the connection knows it: SQLite is asked every few microseconds whether it is over, so that a statement
//! which loops is interrupted. Code that loops without SQL cannot be, and its run counts as over its time when it comes back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::host::Host;

/// The time of the action that runs on a connection.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    clock: OnceLock<Arc<dyn Host>>,
    /// When it is over, in microseconds of the host; 0 while nothing runs.
    until: AtomicU64,
    /// Whether somebody has looked and found it over.
    over: AtomicBool,
}

/// While it lives, a run is timed.
#[derive(Debug)]
#[must_use]
pub(crate) struct Timed<'a>(&'a Watch);

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        self.0.until.store(0, Ordering::Release);
        self.0.over.store(false, Ordering::Release);
    }
}

impl Watch {
    /// From here on there is a clock.
    pub(crate) fn set_clock(&self, host: Arc<dyn Host>) {
        // An engine has one host for as long as it lives.
        let _ = self.clock.set(host);
    }

    /// How long the host has been there; nothing without one.
    pub(crate) fn now(&self) -> Duration {
        self.clock.get().map_or(Duration::ZERO, |host| host.elapsed())
    }

    /// A run begins, and may take so long.
    pub(crate) fn time(&self, run: Duration) -> Timed<'_> {
        self.again(run);
        Timed(self)
    }

    /// Nothing is timed until a statement is: the code runs elsewhere, and is waited for by rules of its own.
    pub(crate) fn rest(&self) {
        self.until.store(0, Ordering::Release);
    }

    /// A statement of such code begins, and may take so long.
    pub(crate) fn again(&self, run: Duration) {
        let until = micros(self.now() + run).max(1);
        self.until.store(until, Ordering::Release);
    }

    /// Whether the time of the run is over. Where nothing runs it never is.
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
    /// Whether it took longer than it may, or was interrupted for that.
    pub(crate) fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Acquire) || self.0.is_over()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
