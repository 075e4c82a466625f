//! The signal that wakes the feeder after a commit and ends it at shutdown.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The signal of the feeder thread: work is available, or the thread must end.
#[derive(Debug, Default)]
pub(crate) struct FeederSignal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rung: bool,
    ends: bool,
}

impl FeederSignal {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signals that work is available.
    pub(crate) fn ring(&self) {
        self.state().rung = true;
        self.changed.notify_all();
    }

    pub(crate) fn end(&self) {
        self.state().ends = true;
        self.changed.notify_all();
    }

    /// Whether the thread must end.
    pub(crate) fn ends(&self) -> bool {
        self.state().ends
    }

    /// Waits for the signal, at most this long.
    pub(crate) fn listen(&self, most: Duration) {
        let (mut state, _) = self
            .changed
            .wait_timeout_while(self.state(), most, |state| !state.rung && !state.ends)
            .unwrap_or_else(PoisonError::into_inner);
        state.rung = false;
    }

    /// Waits this long, or until the thread must end.
    pub(crate) fn rest(&self, pause: Duration) {
        let rested = self.changed.wait_timeout_while(self.state(), pause, |state| !state.ends);
        drop(rested.unwrap_or_else(PoisonError::into_inner));
    }
}
