//! Counts of mutation outcomes since the client was opened, for diagnosis; in memory only.
//!
//! An outcome is counted after its transaction has committed. The client keeps one set over all
//! openings of the file, so suspending does not reset it. What the file stores is not counted here.

use std::sync::atomic::{AtomicU64, Ordering};

/// Increasing counters; shared by the engine, which counts, and the client, which passes them to
/// each engine that it opens.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    acknowledged: AtomicU64,
    retries: AtomicU64,
}

impl Counters {
    /// Counts mutations that were accepted and are in the base, and accepted entries of the log.
    pub(crate) fn accepted(&self, count: usize) {
        self.acknowledged.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Counts mutations that were sent again.
    pub(crate) fn sent_again(&self, count: usize) {
        self.retries.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}
