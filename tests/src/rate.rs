//! Limits the requests that a whole client may send in real time: a loop of requests fails the
//! scenario.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::time::Instant;

/// The burst limit, and the limit of each further second. A loop without progress sends hundreds a
/// second.
const BURST: usize = 200;
const EACH_SECOND: usize = 20;

/// A counter of the requests through one proxy or socket. It fails the test when it is dropped
/// above the limit.
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

    /// Fails if there were too many requests.
    pub(crate) fn check(&self) {
        let (requests, life) = (self.requests(), self.begun.elapsed());
        let most = BURST + EACH_SECOND * usize::try_from(life.as_secs()).unwrap_or(usize::MAX / 99);
        let is_loop = requests > most && !thread::panicking();
        assert!(!is_loop, "request-loop: {requests} requests in {life:?}");
    }
}
