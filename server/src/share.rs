//! What one user may add to the database in an hour, where each addition is stored and costs the user
//! nothing: verdicts that reject mutations, and entries of the log.
//!
//! A share refills steadily, and is counted by this server. What exceeds it is sent again later, and
//! nothing is refused for good: a device that was away for long may have much of both.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rejoin_protocol::wire::{ErrorBody, code};

use crate::error::{Fault, Refusal};
use crate::log_limit::LogLimit;
use crate::observe;

/// In microseconds.
const HOUR: i64 = 3_600_000_000;

/// The parts of an hour after which a device should try again.
const PARTS: i64 = 60;

/// The shares of all users.
#[derive(Debug)]
pub(crate) struct HourlyShares {
    /// The key of `[limits]`.
    limit: &'static str,
    most: i64,
    /// When each user's share will be full again. Users with a full share are forgotten.
    users: Mutex<HashMap<String, i64>>,
    refused: LogLimit,
}

impl HourlyShares {
    /// `limit`: the key of `[limits]`, whose value is `most`.
    pub(crate) fn new(limit: &'static str, most: u32) -> Self {
        let most = i64::from(most.max(1));
        observe::limited(limit, 0);
        Self { limit, most, users: Mutex::default(), refused: LogLimit::default() }
    }

    /// How many the user may add now; `now` in microseconds.
    pub(crate) fn room(&self, user: &str, now: i64) -> usize {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = users.get(user).map_or(0, |full| (full - now).clamp(0, HOUR));
        drop(users);
        usize::try_from((HOUR - spent) / self.cost()).unwrap_or_default()
    }

    /// Whether so little is left that the user should wait: else a device would send a few at a time.
    pub(crate) fn is_spent(&self, user: &str, now: i64) -> bool {
        let least = usize::try_from(self.most / PARTS).unwrap_or_default().max(1);
        self.room(user, now) < least
    }

    /// Records what the user has added.
    pub(crate) fn take(&self, user: &str, count: usize, now: i64) {
        if count == 0 {
            return;
        }
        let taken = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(self.cost());
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full) = users.get_mut(user) {
            *full = (*full).max(now).saturating_add(taken);
            return;
        }
        users.retain(|_, full| *full > now);
        users.insert(user.to_owned(), now.saturating_add(taken));
    }

    /// Counts refusals, and logs them at a limited rate.
    pub(crate) fn count_refusals(&self, refusals: usize) {
        if refusals == 0 {
            return;
        }
        observe::limited(self.limit, refusals);
        if let Some(count) = self.refused.count(()) {
            let limit = self.limit;
            tracing::warn!(
                count,
                limit,
                "answered users who reached a limit per hour: send it later"
            );
        }
    }

    /// Refuses a request (429) until the share has refilled a little.
    pub(crate) fn refusal(&self, message: &str) -> Fault {
        self.count_refusals(1);
        let wait = u64::try_from(HOUR / PARTS / 1_000_000).ok();
        let body = ErrorBody { retry_after: wait, ..ErrorBody::default() };
        let refusal = Refusal::new(429, code::TOO_MANY_REQUESTS, message);
        Refusal { retryable: true, body, ..refusal }.into()
    }

    /// The time in which one is refilled.
    fn cost(&self) -> i64 {
        (HOUR / self.most).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_refills_within_an_hour() {
        let shares = HourlyShares::new("limit", 60);
        assert_eq!(shares.room("eve", 0), 60);
        shares.take("eve", 45, 0);
        assert_eq!((shares.room("eve", 0), shares.room("ben", 0)), (15, 60));
        shares.take("eve", 15, 0);
        assert!(shares.is_spent("eve", 0) && !shares.is_spent("ben", 0));
        assert!(shares.is_spent("eve", HOUR / 60 - 1));
        assert_eq!(shares.room("eve", HOUR / 60), 1);
        assert_eq!(shares.room("eve", HOUR / 2), 30);
        // What was added beyond the share is paid off.
        shares.take("eve", 60, HOUR / 2);
        assert_eq!(shares.room("eve", HOUR), 0);
        assert_eq!(shares.room("eve", 2 * HOUR), 60);
    }

    #[test]
    fn users_with_a_full_share_are_forgotten() {
        let shares = HourlyShares::new("limit", 10);
        for number in 0..100 {
            shares.take(&format!("user {number}"), 1, number * HOUR);
        }
        assert_eq!(shares.users.lock().unwrap().len(), 1);
    }
}
