//! Counts the work on single rows in tests: decoded patches and before-images, and compared rows.

use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Counts one decoded or compared row.
pub(crate) fn count() {
    COUNT.set(COUNT.get() + 1);
}

/// What this thread has counted so far.
pub(crate) fn counted() -> u64 {
    COUNT.get()
}
