//! How long actions may hold the writer, and how much one may write (D18, I7).
//!
//! Time is the host's. SQLite is asked every few microseconds whether the time of the run is over, so that a statement which loops
//! is interrupted; code that loops without SQL cannot be, and its run counts as over its time when it comes back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::host::Host;
use crate::mutant::{self, Mutant};

/// What actions may take; see [`Actions::within`](super::Actions::within).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How long one run may take; two seconds by default. Of code that is waited for (`AsyncAction`) it is one statement: how
    /// long the code itself may take is `Config::transaction_idle`'s and the rebase's.
    pub run: Duration,
    /// How long all runs of one rebase may take together; ten seconds by default. The run in which it ends may go on within its
    /// own time; the rest of that rebase is laid down as it was recorded, and runs again with the next.
    pub rebase: Duration,
    /// Most bytes that one run may write to synced tables, as they are captured: old and new values of each changed row. 8 MiB
    /// by default, which is what a server takes in one request by default.
    pub bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { run: Duration::from_secs(2), rebase: Duration::from_secs(10), bytes: 8 << 20 }
    }
}

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
        let until =
            if mutant::on(Mutant::RunUntimed) { 0 } else { micros(self.now() + run).max(1) };
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
