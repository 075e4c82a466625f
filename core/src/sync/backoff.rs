//! Backoff: how long to wait before the next attempt. Pure functions.
//!
//! The waits are 1, 2, 4, 8, then at most 16 s, each drawn evenly from zero to that ("full
//! jitter"), so that devices that lost the same server do not return together. With `Retry-After` the
//! wait is never shorter than it, and up to half longer, because the server asked all of them at the same
//! time; a short one does not end the growth. There is always a next attempt.

use std::time::Duration;

/// The longest wait between two attempts, unless the server requires more or the retries are used
/// up.
pub const LONGEST: Duration = Duration::from_secs(16);

/// Upper limit of `Retry-After`, before the random part; with more, the device would seem dead.
pub const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// The growth of the waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After this number of consecutive failures the wait is `slow`.
    pub max_retries: u32,
    /// The wait during a long outage: the sync interval.
    pub slow: Duration,
}

impl Backoff {
    /// The wait after the `failures`th consecutive failure (from 1), given 64 random bits and the
    /// server's `Retry-After`.
    pub fn delay(self, failures: u32, random: u64, asked: Option<Duration>) -> Duration {
        // The upper 32 bits as a fraction: ceiling * n / 2^32, in nanoseconds.
        let drawn = |ceiling: Duration| {
            let drawn = (ceiling.as_nanos() * u128::from(random >> 32)) >> 32;
            Duration::from_nanos(u64::try_from(drawn).unwrap_or(u64::MAX))
        };
        let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
        let ceiling = if failures > self.max_retries {
            self.slow.max(LONGEST)
        } else {
            Duration::from_secs(1 << failures.saturating_sub(1).min(4)).min(LONGEST)
        };
        drawn(ceiling).max(asked + drawn(asked / 2))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, LONGEST_ASKED};

    const BACKOFF: Backoff = Backoff { max_retries: 5, slow: Duration::from_secs(30) };
    const HALF: u64 = 1 << 63;

    #[test]
    fn waits_double_to_sixteen_seconds_and_retry_after_is_the_least() {
        let second = Duration::from_secs(1);
        // Failures, random bits, `Retry-After`, expected wait.
        let table = [
            (1, u64::MAX, None, second),
            (2, u64::MAX, None, 2 * second),
            (3, u64::MAX, None, 4 * second),
            (4, u64::MAX, None, 8 * second),
            (5, u64::MAX, None, 16 * second),
            (6, u64::MAX, None, 30 * second),
            (u32::MAX, u64::MAX, None, 30 * second),
            (0, u64::MAX, None, second),
            (5, HALF, None, 8 * second),
            (3, 0, None, Duration::ZERO),
            (1, 0, Some(40 * second), 40 * second),
            (1, u64::MAX, Some(40 * second), 60 * second),
            (5, u64::MAX, Some(Duration::ZERO), 16 * second),
            (9, HALF, Some(second), 15 * second),
            (1, HALF, Some(2 * second), 2 * second + second / 2),
            (1, HALF, Some(100_000 * second), LONGEST_ASKED + LONGEST_ASKED / 4),
        ];
        for (failures, random, asked, expected) in table {
            let delay = BACKOFF.delay(failures, random, asked);
            let off = expected.abs_diff(delay);
            assert!(off < Duration::from_micros(1), "{failures} {random} {asked:?}: {delay:?}");
        }
    }

    #[test]
    fn jitter_is_uniform_over_the_wait() {
        let mut quarters = [0_u32; 4];
        for n in 0..4000_u64 {
            let random = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let delay = BACKOFF.delay(5, random, None);
            assert!(delay < Duration::from_secs(16));
            quarters[usize::try_from(delay.as_secs() / 4).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|count| (900..1100).contains(count)), "{quarters:?}");
    }
}
