//! Coverage of the scenarios, counted and asserted.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of what the scenarios covered; asserted, so that a weakened generator is noticed.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    overlap: AtomicU64,
    deeper: AtomicU64,
    swaps: AtomicU64,
    orphans: AtomicU64,
    failing: AtomicU64,
    reopened: AtomicU64,
    parked: AtomicU64,
    accepted: AtomicU64,
    actions: AtomicU64,
    refused: AtomicU64,
    started_over: AtomicU64,
}

impl Coverage {
    pub(super) fn fields(&self) -> [(&'static str, &AtomicU64); 11] {
        [
            ("overlap", &self.overlap),
            ("closure deeper than one", &self.deeper),
            ("unique swaps", &self.swaps),
            ("child before parent", &self.orphans),
            ("failing statements", &self.failing),
            ("reopened", &self.reopened),
            ("parked", &self.parked),
            ("accepted", &self.accepted),
            ("actions", &self.actions),
            ("actions that fail when they run again", &self.refused),
            ("rebases that started over", &self.started_over),
        ]
    }

    pub(super) fn add(&self, other: &Self) {
        for ((_, mine), (_, other)) in self.fields().into_iter().zip(other.fields()) {
            mine.fetch_add(other.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    }

    /// Asserts at least this share of the scenarios, in percent.
    pub(super) fn assert(&self, cases: u64) {
        let mut summary = String::new();
        for (name, count) in self.fields() {
            let _ = write!(summary, "{name} {}; ", count.load(Ordering::SeqCst));
        }
        #[allow(clippy::print_stderr)]
        {
            eprintln!("{cases} scenarios: {summary}");
        }
        for ((name, count), least) in
            self.fields().into_iter().zip([20, 10, 5, 5, 30, 1, 5, 5, 34, 2, 5])
        {
            let count = count.load(Ordering::SeqCst);
            assert!(count * 100 >= cases * least, "{name}: {count} of {cases}; {summary}");
        }
    }
}
