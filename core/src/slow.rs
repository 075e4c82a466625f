//! What of the app's code keeps others waiting: which kind, and for how long.
//!
//! Code of the app runs where nothing of ours has to wait for it: callbacks, the token provider and a transport of the app's
//! on threads of their own, transactions on the writer's. This only names what takes longer than its budget.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// Code of the app that takes longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SlowPart {
    /// A callback of a watch, or of a listener for changes, verdicts or the status: longer than a second.
    Callback,
    /// The token provider: longer than ten seconds.
    Tokens,
    /// A transport of the app's, or the network: a request has had no answer for ten seconds.
    Transport,
    /// A transaction, an action or another piece of work of the writer's thread: longer than a second. Other writes wait.
    Transaction,
}

/// The time that the token provider and a transport may take before they are named.
pub(crate) const CALL: Duration = Duration::from_secs(10);

/// The time that a piece of work of the writer's may take before it is named.
pub(crate) const WORK: Duration = Duration::from_secs(1);

/// Since when calls have been under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Begun>>);

#[derive(Debug, Default)]
struct Begun {
    numbered: u64,
    calls: BTreeMap<u64, Instant>,
}

/// A call is under way for as long as this lives.
#[derive(Debug)]
pub(crate) struct Call(Calls, u64);

impl Calls {
    /// A call begins.
    pub(crate) fn begin(&self) -> Call {
        let mut begun = self.begun();
        begun.numbered += 1;
        let number = begun.numbered;
        begun.calls.insert(number, Instant::now());
        Call(self.clone(), number)
    }

    /// Whether one has been under way for longer than this.
    pub(crate) fn are_slow(&self, budget: Duration) -> bool {
        self.begun().calls.values().any(|since| since.elapsed() > budget)
    }

    fn begun(&self) -> MutexGuard<'_, Begun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.begun().calls.remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Calls;

    #[tokio::test(start_paused = true)]
    async fn call_is_slow_from_its_budget_until_it_ends() {
        let (calls, budget) = (Calls::default(), Duration::from_secs(10));
        let first = calls.begin();
        tokio::time::advance(budget).await;
        assert!(!calls.are_slow(budget));
        let second = calls.begin();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(calls.are_slow(budget));
        drop(first);
        assert!(!calls.are_slow(budget), "the second has just begun");
        drop(second);
    }
}
