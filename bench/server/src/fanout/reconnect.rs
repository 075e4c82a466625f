//! How streams are opened again over a restart of the server: by the rules of a Rejoin device.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a device waits for the head of the response: `Config::ack_deadline` in
/// `core/src/config.rs`.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// A stream that lasted so long resets the backoff: `IDLE` in `core/src/transport/events.rs`.
const LASTED: Duration = Duration::from_mins(1);

/// Why a stream is not open.
#[derive(Debug)]
pub(super) enum Ended {
    /// It was open, and has ended.
    Closed,
    /// No connection, or no response on it.
    Lost(String),
    /// Another status than 200.
    Refused { status: u16, retry_after: Option<Duration> },
}

impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(out, "the stream ended"),
            Self::Lost(why) => write!(out, "no response: {why}"),
            Self::Refused { status, retry_after } => {
                write!(out, "status {status}, Retry-After {retry_after:?}")
            }
        }
    }
}

/// Whether streams are opened again, and what has happened to them.
#[derive(Debug, Default)]
pub(super) struct Reconnects {
    is_on: AtomicBool,
    /// The server does not listen.
    is_down: AtomicBool,
    attempts: AtomicUsize,
    refusals: AtomicUsize,
    errors: Mutex<Vec<String>>,
}

/// Counts over a restart.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) attempts: usize,
    /// Responses 429 and 503 with `Retry-After`.
    pub(super) refusals: usize,
    /// Other responses, and none from a server that listens.
    pub(super) errors: Vec<String>,
}

impl Reconnects {
    /// From now on, streams are opened again; the server is about to stop.
    pub(super) fn begin(&self) {
        self.is_down.store(true, Ordering::Release);
        self.is_on.store(true, Ordering::Release);
    }

    /// The server listens again.
    pub(super) fn server_listens(&self) {
        self.is_down.store(false, Ordering::Release);
    }

    /// From now on, the end of a stream is a failure again.
    pub(super) fn end(&self) -> Counts {
        self.is_on.store(false, Ordering::Release);
        Counts {
            attempts: self.attempts.load(Ordering::Acquire),
            refusals: self.refusals.load(Ordering::Acquire),
            errors: self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Acquire)
    }

    pub(super) fn count_attempt(&self) {
        self.attempts.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts the end of an attempt, at whose beginning the server was down or not; returns
    /// `Retry-After`.
    pub(super) fn record(&self, ended: &Ended, was_down: bool) -> Option<Duration> {
        let retry_after = match ended {
            Ended::Refused { retry_after, .. } => *retry_after,
            _ => None,
        };
        match ended {
            Ended::Closed => {}
            Ended::Lost(_) if was_down => {}
            Ended::Refused { status: 429 | 503, retry_after: Some(_) } => {
                self.refusals.fetch_add(1, Ordering::AcqRel);
            }
            _ => {
                let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
                errors.push(ended.to_string());
            }
        }
        retry_after
    }
}

/// The consecutive failures of one stream.
#[derive(Debug, Default)]
pub(super) struct Failures(u32);

impl Failures {
    /// The wait after a stream that was opened, or attempted, so long ago.
    pub(super) fn wait(&mut self, age: Duration, retry_after: Option<Duration>) -> Duration {
        self.0 = if age >= LASTED { 1 } else { self.0 + 1 };
        delay(self.0, RandomState::new().hash_one(self.0), retry_after)
    }
}

/// `Backoff::delay` in `core/src/sync/backoff.rs`, for a stream that is always retried: the wait is
/// drawn from zero to 1, 2, 4, 8, then 16 s, and from `Retry-After` to half more.
fn delay(failures: u32, random: u64, asked: Option<Duration>) -> Duration {
    let drawn = |ceiling: Duration| {
        let drawn = (ceiling.as_nanos() * u128::from(random >> 32)) >> 32;
        Duration::from_nanos(u64::try_from(drawn).unwrap_or(u64::MAX))
    };
    let asked = asked.unwrap_or_default();
    let ceiling = Duration::from_secs(1 << failures.saturating_sub(1).min(4));
    drawn(ceiling).max(asked + drawn(asked / 2))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Ended, Reconnects, delay};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn wait_is_that_of_a_device() {
        // Failures, random bits, `Retry-After`, expected wait; from `core/src/sync/backoff.rs`.
        let table = [
            (1, u64::MAX, None, SECOND),
            (4, u64::MAX, None, 8 * SECOND),
            (9, u64::MAX, None, 16 * SECOND),
            (5, 1 << 63, None, 8 * SECOND),
            (3, 0, None, Duration::ZERO),
            (1, u64::MAX, Some(40 * SECOND), 60 * SECOND),
            (1, 1 << 63, Some(2 * SECOND), 2 * SECOND + SECOND / 2),
        ];
        for (failures, random, asked, expected) in table {
            let off = expected.abs_diff(delay(failures, random, asked));
            assert!(
                off < Duration::from_micros(1),
                "{failures} {random} {asked:?}: off by {off:?}"
            );
        }
    }

    #[test]
    fn only_unexpected_responses_are_errors() {
        let lost = || Ended::Lost("refused".to_owned());
        let refused = |status, retry_after| Ended::Refused { status, retry_after };
        // The end, whether the server was down, expected refusals and errors.
        let table = [
            (Ended::Closed, true, [0, 0]),
            (Ended::Closed, false, [0, 0]),
            (lost(), true, [0, 0]),
            (lost(), false, [0, 1]),
            (refused(503, Some(SECOND)), false, [1, 0]),
            (refused(429, Some(SECOND)), true, [1, 0]),
            (refused(503, None), false, [0, 1]),
            (refused(401, Some(SECOND)), false, [0, 1]),
            (refused(500, None), true, [0, 1]),
        ];
        for (ended, was_down, expected) in table {
            let reconnects = Reconnects::default();
            reconnects.record(&ended, was_down);
            let counts = reconnects.end();
            assert_eq!([counts.refusals, counts.errors.len()], expected, "{ended} {was_down}");
        }
    }
}
