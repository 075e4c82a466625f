//! What the requests of one user, and of all users together, may hold in memory at once.
//!
//! A request waits for its turn before its body is read, in the order of arrival. If it waits too
//! long, it is refused (429 for the user's share, 503 for the server's), and the device tries again
//! later. The metric of requests by status counts refusals.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rejoin_protocol::wire::{ErrorBody, code};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;
use crate::error::{Fault, Refusal};

/// Seconds after which a client should retry.
const RETRY_AFTER: u64 = 5;

/// The shares of all users.
#[derive(Debug)]
pub(crate) struct Quotas {
    users: Mutex<HashMap<String, Arc<Turns>>>,
    /// Bytes of bodies, which all requests share.
    bytes: Arc<Semaphore>,
    of_user: usize,
    patience: Duration,
    /// Whether pushes exclude each other at the store.
    is_exclusive: bool,
}

/// The turns of one user.
#[derive(Debug)]
struct Turns {
    requests: Arc<Semaphore>,
    pushes: Arc<Semaphore>,
}

/// A request's share, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Share {
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Quotas {
    pub(crate) fn new(limits: &Limits, is_exclusive: bool) -> Self {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            users: Mutex::default(),
            bytes: Arc::new(Semaphore::new(limits.bodies.min(Semaphore::MAX_PERMITS))),
            of_user: size(limits.requests_per_user).min(Semaphore::MAX_PERMITS),
            patience: Duration::from_millis(limits.wait_ms.into()),
            is_exclusive,
        }
    }

    /// Waits until the user may send a body of at most so many bytes.
    pub(crate) async fn enter(&self, user: &str, bytes: usize) -> Result<Share, Fault> {
        let turns = self.turns(user);
        let request = self.wait(&turns.requests, 1).await.ok_or_else(of_user)?;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = self.wait(&self.bytes, bytes).await.ok_or_else(of_server)?;
        Ok(Share { _permits: vec![request, room] })
    }

    /// Waits until no other push of the user runs, at a store where pushes exclude each other.
    pub(crate) async fn push_turn(&self, user: &str) -> Result<Share, Fault> {
        let mut permits = Vec::new();
        if self.is_exclusive {
            permits.push(self.wait(&self.turns(user).pushes, 1).await.ok_or_else(of_user)?);
        }
        Ok(Share { _permits: permits })
    }

    async fn wait(&self, turn: &Arc<Semaphore>, permits: u32) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(turn).acquire_many_owned(permits);
        tokio::time::timeout(self.patience, permit).await.ok()?.ok()
    }

    fn turns(&self, user: &str) -> Arc<Turns> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = users.get(user) {
            return Arc::clone(turns);
        }
        // Users without a request: every permit holds a semaphore.
        users.retain(|_, turns| {
            Arc::strong_count(turns) > 1
                || Arc::strong_count(&turns.requests) > 1
                || Arc::strong_count(&turns.pushes) > 1
        });
        let turns = Arc::new(Turns {
            requests: Arc::new(Semaphore::new(self.of_user)),
            pushes: Arc::new(Semaphore::new(1)),
        });
        users.insert(user.to_owned(), Arc::clone(&turns));
        turns
    }
}

fn of_user() -> Fault {
    let message = "too many requests of this user are in progress: send fewer at once";
    refusal(429, code::TOO_MANY_REQUESTS, message)
}

fn of_server() -> Fault {
    refusal(503, code::UNAVAILABLE, "too many requests are in progress: send it later")
}

fn refusal(status: u16, code: &'static str, message: &str) -> Fault {
    let body = ErrorBody { retry_after: Some(RETRY_AFTER), ..ErrorBody::default() };
    Refusal { retryable: true, body, ..Refusal::new(status, code, message) }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas() -> Quotas {
        let limits = Limits { requests_per_user: 2, bodies: 100, ..Limits::default() };
        Quotas::new(&limits, true)
    }

    fn status(result: Result<Share, Fault>) -> u16 {
        match result {
            Err(Fault::Refused(refusal)) => refusal.status,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn user_waits_for_own_requests_only() {
        let quotas = quotas();
        let first = quotas.enter("eve", 10).await.unwrap();
        let _second = quotas.enter("eve", 10).await.unwrap();
        assert_eq!(status(quotas.enter("eve", 10).await), 429);
        let _ben = quotas.enter("ben", 10).await.unwrap();
        drop(first);
        quotas.enter("eve", 10).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_push_of_a_user_runs_at_a_time() {
        let quotas = quotas();
        let push = quotas.push_turn("eve").await.unwrap();
        assert_eq!(status(quotas.push_turn("eve").await), 429);
        let _pull = quotas.enter("eve", 10).await.unwrap();
        let _ben = quotas.push_turn("ben").await.unwrap();
        drop(push);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_of_all_users_share_their_bytes() {
        let quotas = quotas();
        let eve = quotas.enter("eve", 95).await.unwrap();
        let _ben = quotas.enter("ben", 5).await.unwrap();
        assert_eq!(status(quotas.enter("cleo", 1).await), 503);
        drop(eve);
        quotas.enter("cleo", 90).await.unwrap();
    }

    #[tokio::test]
    async fn users_without_a_request_are_forgotten() {
        let quotas = quotas();
        let eve = quotas.enter("eve", 1).await.unwrap();
        for number in 0..100 {
            quotas.enter(&format!("user {number}"), 1).await.unwrap();
        }
        assert_eq!(quotas.users.lock().unwrap().len(), 2);
        drop(eve);
    }
}
