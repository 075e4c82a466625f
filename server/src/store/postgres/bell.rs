//! The signal by which a commit wakes the feeder, and a shutdown ends it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The signal of the feeder thread: there is work, or it is to end.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rung: bool,
    ends: bool,
}

impl Bell {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to do.
    pub(crate) fn ring(&self) {
        self.state().rung = true;
        self.changed.notify_all();
    }

    pub(crate) fn end(&self) {
        self.state().ends = true;
        self.changed.notify_all();
    }

    /// Whether the thread is to end.
    pub(crate) fn ends(&self) -> bool {
        self.state().ends
    }

    /// Waits until it rings, or for so long.
    pub(crate) fn listen(&self, most: Duration) {
        let (mut state, _) = self
            .changed
            .wait_timeout_while(self.state(), most, |state| !state.rung && !state.ends)
            .unwrap_or_else(PoisonError::into_inner);
        state.rung = false;
    }

    /// Waits for so long, or until the thread is to end.
    pub(crate) fn rest(&self, pause: Duration) {
        let rested = self.changed.wait_timeout_while(self.state(), pause, |state| !state.ends);
        drop(rested.unwrap_or_else(PoisonError::into_inner));
    }
}
