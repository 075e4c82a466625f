//! Rate limit for log lines that a client or an outage can cause arbitrarily often.
//!
//! The first event of each kind is logged at once, later ones at most every ten seconds with their
//! count. The caller decides text and level. A limit is a part of what has the events: two servers
//! of a process log independently.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Minimum interval between two lines of a kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts events by kind; a limit for a single line has the kind `()`.
#[derive(Debug, Default)]
pub(crate) struct LogLimit<K = ()> {
    kinds: Mutex<BTreeMap<K, State>>,
}

/// When the last line was written, and the events since.
type State = (Instant, u64);

impl<K: Ord> LogLimit<K> {
    /// Counts an event. Returns the number of events since the last line, this one included, if a
    /// line is due.
    pub(crate) fn count(&self, kind: K) -> Option<u64> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let Some((last, count)) = kinds.get_mut(&kind) else {
            kinds.insert(kind, (now, 0));
            return Some(1);
        };
        *count += 1;
        if now.duration_since(*last) < INTERVAL {
            return None;
        }
        *last = now;
        Some(std::mem::take(count))
    }
}

#[cfg(test)]
mod tests {
    use super::{INTERVAL, LogLimit};

    #[tokio::test(start_paused = true)]
    async fn events_within_the_interval_log_one_line_per_kind() {
        let limit = LogLimit::default();
        assert_eq!([limit.count(1), limit.count(1), limit.count(1)], [Some(1), None, None]);
        assert_eq!([limit.count(2), limit.count(2)], [Some(1), None]);
        tokio::time::advance(INTERVAL).await;
        assert_eq!([limit.count(1), limit.count(1)], [Some(3), None]);
        assert_eq!(limit.count(2), Some(2));
    }
}
