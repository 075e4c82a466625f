//! What has become of mutations since the client was opened: for diagnosis, and so kept in memory only.
//!
//! Promise: counted when the transaction is committed that they happened in, never before; one set for all openings of the
//! file by one client, so that suspending does not begin anew. What stands in the file is not counted here: the queue knows.

use std::sync::atomic::{AtomicU64, Ordering};

/// Rising numbers; shared by the engine, which counts, and the client, which lends them to each engine that it opens.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    acknowledged: AtomicU64,
    retries: AtomicU64,
}

impl Counters {
    /// So many mutations were accepted, and the base shows them.
    pub(crate) fn accepted(&self, count: usize) {
        self.acknowledged.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// So many mutations left that had left before.
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
