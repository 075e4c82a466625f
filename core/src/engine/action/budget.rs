//! What actions may take, be their code data, Rust or elsewhere (D18, I7): time, so that none holds the writer and whoever waits
//! for it, and bytes, so that none fills the memory. Time is the host's.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::ending::Keeper;
use crate::host::Host;

/// What actions may take; see [`Config::action_budget`](crate::Config::action_budget).
///
/// One that takes more is refused with [`ActionFault::TooSlow`](crate::ActionFault::TooSlow) or
/// [`ActionFault::TooLarge`](crate::ActionFault::TooLarge), and nothing of it is kept; one that does so when it runs again is
/// parked as `Unreplayable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How long one run may take. Of code that is waited for ([`AsyncAction`](crate::AsyncAction)) it is one statement: between
    /// two of them it may be silent for [`transaction_idle`](crate::Config::transaction_idle). Default 2 s; from 100 ms to a
    /// minute.
    pub run: Duration,
    /// How long all those together may run that one batch of remote rows makes run again. Code that is waited for is given up
    /// at its end; any other may finish its run within its own time. What has not ended by then, and what was not begun, is laid
    /// down as it was recorded, if that fits, and runs again with the next batch. Default 2 s; from 100 ms to a minute.
    pub rebase: Duration,
    /// Most bytes that one run may write to synced tables, as they are captured: old and new values of each changed row. Default
    /// 8 MiB, which is what a server takes in one request by default; from 1 KiB to 1 GiB.
    pub bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        let two = Duration::from_secs(2);
        Self { run: two, rebase: two, bytes: 8 << 20 }
    }
}

/// What the runs of an engine go by: the budget, what is left of it in a rebase, and who may end the waiting for code that runs
/// elsewhere.
#[derive(Clone)]
pub(crate) struct Bounds {
    pub(crate) host: Arc<dyn Host>,
    /// Ends the waiting when the file is to be let go. Nobody does, where an engine is used without a client.
    pub(crate) keeper: Option<Arc<dyn Keeper>>,
    /// How long code that is waited for may be silent.
    pub(crate) idle: Duration,
    pub(crate) budget: Budget,
    /// What is left of [`Budget::rebase`]; `None` for an action that is performed.
    left: Option<Arc<Mutex<Duration>>>,
}

impl Bounds {
    /// Those of an engine that nobody has told of others.
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        let idle = Duration::from_secs(5);
        Self { host, keeper: None, idle, budget: Budget::default(), left: None }
    }

    /// The same for one rebase, with its whole time.
    pub(crate) fn of_rebase(&self) -> Self {
        Self { left: Some(Arc::new(Mutex::new(self.budget.rebase))), ..self.clone() }
    }

    /// What is left for the next run; `None` if there is no such bound.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.left.as_ref().map(|left| *left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether nothing is left for another run.
    pub(crate) fn is_spent(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// So long a run took.
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
