//! Detection of slow app code: which part exceeds its time budget.
//!
//! App code runs where it blocks no other work: callbacks, the token provider and custom transports
//! on their own threads, transactions on the writer thread. This module only reports what is too
//! slow.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// A part of the app's code that exceeds its time budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SlowPart {
    /// A callback of a watch or of a change, verdict or status listener: longer than a second.
    Callback,
    /// The token provider: longer than ten seconds.
    Tokens,
    /// A custom transport, or the network: no response for ten seconds.
    Transport,
    /// A transaction, an action or another task of the writer: over a second. Other writes wait.
    Transaction,
}

/// Time budget of the token provider and of a transport request.
pub(crate) const CALL: Duration = Duration::from_secs(10);

/// Time budget of a task on the writer thread.
pub(crate) const WORK: Duration = Duration::from_secs(1);

/// Start times of the running calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Begun>>);

#[derive(Debug, Default)]
struct Begun {
    numbered: u64,
    calls: BTreeMap<u64, Instant>,
}

/// A running call; ends when dropped.
#[derive(Debug)]
pub(crate) struct Call(Calls, u64);

impl Calls {
    /// Records the start of a call.
    pub(crate) fn begin(&self) -> Call {
        let mut begun = self.begun();
        begun.numbered += 1;
        let number = begun.numbered;
        begun.calls.insert(number, Instant::now());
        Call(self.clone(), number)
    }

    /// Whether a call has been running for longer than `budget`.
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
    async fn call_is_slow_from_its_budget_until_its_end() {
        let (calls, budget) = (Calls::default(), Duration::from_secs(10));
        let first = calls.begin();
        tokio::time::advance(budget).await;
        assert!(!calls.are_slow(budget));
        let second = calls.begin();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(calls.are_slow(budget));
        drop(first);
        assert!(!calls.are_slow(budget), "the second call is still within its budget");
        drop(second);
    }
}
