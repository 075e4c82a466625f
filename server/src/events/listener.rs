//! The stream of one listener: `hello`, `changed` when a change concerns its user, `bye`.
//!
//! A task reads the buckets of the user when the stream is open, and again after each change of the
//! user's subscriptions. Until that has succeeded, every change wakes the listener.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::stream::{self, Stream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::Hub;
use crate::engine::{self, Caller};
use crate::store::{FurtherBuckets, read};

/// How much later a listener is notified while its buckets are read: changes meanwhile are one
/// notification, and thousands of listeners are still notified one after the other.
const SETTLE_WAIT: Duration = Duration::from_secs(2);

/// Pause before buckets are read again after a failure; doubled each time, up to the second value.
const SETTLE_RETRY: [Duration; 2] = [Duration::from_secs(5), Duration::from_mins(2)];

/// The state of one listener's stream.
pub(super) struct Listener {
    hub: Arc<Hub>,
    caller: Caller,
    number: u64,
    notify: Arc<Notify>,
    closing: watch::Receiver<bool>,
    epoch: Option<String>,
    ends: Option<Instant>,
    /// The task that reads the user's buckets.
    settling: JoinSet<()>,
    done: bool,
}

impl Listener {
    pub(super) fn new(
        hub: Arc<Hub>,
        (caller, number): (Caller, u64),
        notify: Arc<Notify>,
        epoch: String,
        ends: Option<Instant>,
    ) -> Self {
        let (closing, epoch) = (hub.closing.subscribe(), Some(epoch));
        let settling = JoinSet::new();
        Self { hub, caller, number, notify, closing, epoch, ends, settling, done: false }
    }

    /// The events, to the end of the stream.
    pub(super) fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut listener| async move {
            let event = listener.next().await?;
            Some((Ok(event), listener))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        if self.done {
            return None;
        }
        if let Some(epoch) = self.epoch.take() {
            let data = serde_json::json!({ "epoch": epoch }).to_string();
            return Some(Event::default().event("hello").data(data));
        }
        let ends = self.ends;
        let expiry = async move {
            match ends {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let mut closing = self.closing.clone();
        let reason = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => "shutdown",
            () = expiry => {
                if let Some(count) = self.hub.logs.count("expired") {
                    tracing::info!(count, "ended event streams whose token has expired");
                }
                "token_expired"
            }
            () = self.woken() => return Some(Event::default().event("changed").data("{}")),
        };
        self.done = true;
        let data = serde_json::json!({ "reason": reason }).to_string();
        Some(Event::default().event("bye").data(data))
    }

    /// Waits until a relevant change and this listener's turn.
    async fn woken(&mut self) {
        let places = &self.hub.places;
        loop {
            if self.settling.is_empty()
                && self.has_buckets()
                && places.unsettled(self.number).is_some()
            {
                let (hub, caller) = (Arc::clone(&self.hub), self.caller.clone());
                self.settling.spawn(settle(hub, caller, self.number));
            }
            let wait = if self.settling.is_empty() { Duration::ZERO } else { SETTLE_WAIT };
            let due = places.due(self.number).map(|at| at + wait);
            if due.is_some_and(|at| at <= Instant::now()) {
                return places.tell(self.number);
            }
            let turn = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = turn => {}
                () = self.notify.notified() => {}
                Some(_) = self.settling.join_next() => {}
            }
        }
    }

    /// PostgreSQL stores some users' ids in escaped form, which subscription changes then contain:
    /// every change wakes these users.
    fn has_buckets(&self) -> bool {
        !self.caller.user.contains(['\0', char::MAX])
    }
}

/// Reads the buckets of a listener's user, as often as needed.
async fn settle(hub: Arc<Hub>, caller: Caller, number: u64) {
    let [mut pause, longest] = SETTLE_RETRY;
    while hub.places.unsettled(number).is_some() {
        // The semaphore is never closed.
        let permit = Arc::clone(&hub.settling).acquire_owned().await.ok();
        let Some(turn) = hub.places.unsettled(number) else { return };
        let (store, caller) = (Arc::clone(&hub.store), caller.clone());
        let reading = move || {
            let _permit = permit;
            read(&*store, |reading| {
                reading.act_for(&caller.user, &FurtherBuckets::default())?;
                engine::held(reading, &caller)
            })
        };
        let why = match tokio::task::spawn_blocking(reading).await {
            Ok(Ok(held)) => {
                hub.places.settle(number, turn, &held);
                continue;
            }
            Ok(Err(fault)) => fault.to_string(),
            Err(cancelled) if cancelled.is_cancelled() => return,
            Err(panicked) => panicked.to_string(),
        };
        if let Some(count) = hub.logs.count("unread") {
            tracing::warn!(
                count,
                why,
                "the buckets of listeners cannot be read: each change wakes them"
            );
        }
        // Listeners that failed together do not read together again.
        sleep(pause + pause * u32::try_from(number % 64).unwrap_or(0) / 64).await;
        pause = (pause * 2).min(longest);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.hub.places.leave(self.number);
        tracing::trace!(listeners = self.hub.listening(), "a listener went");
    }
}
