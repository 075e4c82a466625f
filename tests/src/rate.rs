//! How many requests a whole client may send in real time: a loop of requests fails the scenario that meets it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::time::Instant;

/// So many at once, and so many more in each second. A loop without progress sends hundreds a second.
const BURST: usize = 200;
const EACH_SECOND: usize = 20;

/// The requests that went through one place. Dropped after more than a client may send, it fails the test.
#[derive(Debug)]
pub(crate) struct Rate {
    begun: Instant,
    requests: AtomicUsize,
}

impl Rate {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), requests: AtomicUsize::new(0) }
    }

    pub(crate) fn count(&self) {
        self.requests.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Fails where there were too many.
    pub(crate) fn check(&self) {
        let (requests, life) = (self.requests(), self.begun.elapsed());
        let most = BURST + EACH_SECOND * usize::try_from(life.as_secs()).unwrap_or(usize::MAX / 99);
        let is_loop = requests > most && !thread::panicking();
        assert!(!is_loop, "request-loop: {requests} requests in {life:?}");
    }
}
