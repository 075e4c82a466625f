//! Log lines about a failing store at a bounded rate, so that an outage does not fill the log with
//! a line per request.
//!
//! Each kind of failure has one line per period. The next line states how many were suppressed, and
//! so does one line after the end of the outage. At level `debug` none is suppressed. What a
//! request is answered is decided elsewhere.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Microseconds from one line of a kind to the next.
pub(crate) const PERIOD: i64 = 10_000_000;

/// What the request was for, and its status.
type Kind = (&'static str, u16);

/// The failures that were logged in the last period.
#[derive(Debug, Default)]
pub(crate) struct OutageLog {
    kinds: Mutex<BTreeMap<Kind, Period>>,
    /// Whether `kinds` has entries: asked after each request that succeeds.
    is_open: AtomicBool,
}

#[derive(Debug)]
struct Period {
    begun: i64,
    suppressed: u64,
}

impl Period {
    fn is_over(&self, now: i64) -> bool {
        // A clock that goes back ends the period as well.
        !(self.begun..self.begun.saturating_add(PERIOD)).contains(&now)
    }
}

impl OutageLog {
    /// Whether a failure of this kind is logged now, in microseconds; with the number of lines
    /// suppressed since the last one.
    pub(crate) fn admit(&self, kind: Kind, now: i64) -> Option<u64> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_open.store(true, Ordering::Release);
        match kinds.get_mut(&kind) {
            Some(period) if !period.is_over(now) => {
                period.suppressed += 1;
                None
            }
            before => {
                let suppressed = before.map_or(0, |period| period.suppressed);
                kinds.insert(kind, Period { begun: now, suppressed: 0 });
                Some(suppressed)
            }
        }
    }

    /// The store has answered: logs how many lines were suppressed in periods that are over.
    pub(crate) fn note_success(&self, now: i64) {
        if !self.is_open.load(Ordering::Acquire) {
            return;
        }
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut suppressed = 0;
        kinds.retain(|_, period| {
            let is_over = period.is_over(now);
            suppressed += if is_over { period.suppressed } else { 0 };
            !is_over
        });
        self.is_open.store(!kinds.is_empty(), Ordering::Release);
        if suppressed > 0 {
            tracing::warn!(suppressed, "requests succeed again after an outage");
        }
    }
}
