//! A limit on how often the log repeats one line that a client can cause as often as it wants.
//!
//! The first event is logged at once, later ones at most once in ten seconds with their number.
//! What a line says, and its level, are the caller's.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The shortest time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts the events of one kind.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    state: Mutex<(Option<Instant>, u64)>,
}

impl LogLimit {
    pub(crate) const fn new() -> Self {
        Self { state: Mutex::new((None, 0)) }
    }

    /// Counts an event: the number of events since the last line if a line is due, or `None`.
    pub(crate) fn count(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, count) = &mut *state;
        *count += 1;
        if last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(count))
    }
}

#[cfg(test)]
mod tests {
    use super::{INTERVAL, LogLimit};

    #[tokio::test(start_paused = true)]
    async fn events_within_the_interval_are_one_line() {
        let limit = LogLimit::default();
        assert_eq!([limit.count(), limit.count(), limit.count()], [Some(1), None, None]);
        tokio::time::advance(INTERVAL).await;
        assert_eq!([limit.count(), limit.count()], [Some(3), None]);
    }
}
