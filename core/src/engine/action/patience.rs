//! How long an action is waited for whose code runs elsewhere, and who may end the waiting.
//!
//! One that is performed may be silent for as long as a held transaction. Those that run again while remote rows come in
//! share one budget for all of it (D18), because the writer, and everybody behind it, waits for them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::ending::Keeper;
use crate::host::Host;
use crate::mutant::{self, Mutant};

/// What waiting for such an action goes by.
#[derive(Clone)]
pub(crate) struct Patience {
    pub(crate) host: Arc<dyn Host>,
    /// Ends the waiting when the file is to be let go. Nobody does, where an engine is used without a client.
    pub(crate) keeper: Option<Arc<dyn Keeper>>,
    /// How long it may be silent.
    pub(crate) idle: Duration,
    /// How long those of one rebase may take together.
    pub(crate) budget: Duration,
    /// What is left of it; `None` for one that is performed.
    pub(super) left: Option<Arc<Mutex<Duration>>>,
}

impl Patience {
    /// That of an engine that nobody has told of another.
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        let (idle, budget) = (Duration::from_secs(5), Duration::from_secs(2));
        Self { host, keeper: None, idle, budget, left: None }
    }

    /// The same for one rebase, with its whole budget.
    pub(crate) fn of_rebase(&self) -> Self {
        Self { left: Some(Arc::new(Mutex::new(self.budget))), ..self.clone() }
    }

    /// What is left for the next one; `None` if only its silence counts.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.left.as_ref().map(|left| *left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// So long was one waited for.
    pub(crate) fn spend(&self, time: Duration) {
        if let Some(left) = self.left.as_ref().filter(|_| !mutant::on(Mutant::BudgetForEach)) {
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            *left = left.saturating_sub(time);
        }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Patience")
            .field("idle", &self.idle)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
