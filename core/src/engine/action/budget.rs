//! Limits of actions: time, so that none blocks the writer, and bytes, so that none fills the
//! memory. They apply to declared actions, Rust code and callbacks. Time is the host's.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::ending::LeaseOwner;
use crate::host::Host;

/// Limits of actions; see [`Config::action_budget`](crate::Config::action_budget).
///
/// An action that exceeds one fails with [`ActionFault::TooSlow`](crate::ActionFault::TooSlow) or
/// [`ActionFault::TooLarge`](crate::ActionFault::TooLarge), and its writes are rolled back; one
/// that does so when it runs again is parked as `Unreplayable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionBudget {
    /// Time limit of one run. For an asynchronous action ([`AsyncAction`](crate::AsyncAction)) it
    /// applies to each statement, and [`transaction_idle`](crate::Config::transaction_idle) limits
    /// the time between two of them. Default 2 s; from 100 ms to a minute.
    pub run: Duration,
    /// Total time for all actions that one batch of remote rows makes run again. At its end,
    /// waiting for asynchronous actions stops; other actions may finish within their own limit.
    /// Actions that have not run are applied as recorded, if that is possible, and run again with
    /// the next batch. Default 2 s; from 100 ms to a minute.
    pub rebase: Duration,
    /// Maximum bytes that one run may write to synced tables, as captured: old and new values of
    /// each changed row. Default 8 MiB, the default maximum of a request to a server; from 1 KiB to
    /// 1 GiB.
    pub bytes: usize,
}

impl Default for ActionBudget {
    fn default() -> Self {
        let two = Duration::from_secs(2);
        Self { run: two, rebase: two, bytes: 8 << 20 }
    }
}

/// The limits of an engine's runs: the budget, its rest in a rebase, and what may end the waiting
/// for callbacks.
#[derive(Clone)]
pub(crate) struct Bounds {
    pub(crate) host: Arc<dyn Host>,
    /// Ends the waiting when the file is released. `None` if an engine is used without a client.
    pub(crate) keeper: Option<Arc<dyn LeaseOwner>>,
    /// How long an asynchronous action may be idle.
    pub(crate) idle: Duration,
    pub(crate) budget: ActionBudget,
    /// The rest of [`ActionBudget::rebase`]; `None` for an action that is performed.
    left: Option<Arc<Mutex<Duration>>>,
}

impl Bounds {
    /// The default limits.
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        let idle = Duration::from_secs(5);
        Self { host, keeper: None, idle, budget: ActionBudget::default(), left: None }
    }

    /// The same for one rebase, with its full time.
    pub(crate) fn of_rebase(&self) -> Self {
        Self { left: Some(Arc::new(Mutex::new(self.budget.rebase))), ..self.clone() }
    }

    /// The remaining time for the next run; `None` if there is no limit.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.left.as_ref().map(|left| *left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether no time is left for another run.
    pub(crate) fn is_spent(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Subtracts the time of a run.
    pub(crate) fn spend(&self, time: Duration) {
        if let Some(left) = self.left.as_ref() {
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            *left = left.saturating_sub(time);
        }
    }
}

impl fmt::Debug for Bounds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Bounds")
            .field("idle", &self.idle)
            .field("budget", &self.budget)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
