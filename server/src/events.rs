//! Wake-ups: who listens is told that something changed, not what. Coalesced: however much happened, one word.
//!
//! Pushes are told at once, those of other nodes over one database too; what other programs write is seen by a short look at the
//! log's end, while anybody listens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::stream::{self, Stream};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::store::Store;

/// How often the log's end is looked at for what other programs wrote.
const LOOK: Duration = Duration::from_millis(250);

/// How often a silent stream says that it lives.
pub(crate) const PING: Duration = Duration::from_secs(20);

/// Tells listeners of commits.
#[derive(Debug)]
pub(crate) struct Hub {
    store: Arc<dyn Store>,
    changed: watch::Sender<i64>,
    closing: watch::Sender<bool>,
    looking: AtomicBool,
    listening: AtomicBool,
}

/// One listener's place in its stream.
struct Listener {
    hub: Arc<Hub>,
    changed: watch::Receiver<i64>,
    closing: watch::Receiver<bool>,
    epoch: Option<String>,
    ends: Option<Instant>,
    done: bool,
}

impl Hub {
    pub(crate) fn new(store: Arc<dyn Store>) -> Arc<Self> {
        let head = store.pulse().unwrap_or(0);
        Arc::new(Self {
            store,
            changed: watch::Sender::new(head),
            closing: watch::Sender::new(false),
            looking: AtomicBool::new(false),
            listening: AtomicBool::new(false),
        })
    }

    /// Looks at the log's end, and wakes the listeners if it moved. Blocks for a statement.
    pub(crate) fn look(&self) {
        if let Ok(head) = self.store.pulse() {
            self.changed.send_if_modified(|known| std::mem::replace(known, head) != head);
        }
    }

    /// How many listen.
    pub(crate) fn listening(&self) -> usize {
        self.changed.receiver_count()
    }

    /// Whether [`close`](Self::close) was called.
    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Another process has moved the log's end. Only forward: what is heard may be older than what was seen.
    fn heard(&self, head: i64) {
        self.changed.send_if_modified(|known| {
            let is_news = head > *known;
            *known = head.max(*known);
            is_news
        });
    }

    /// Ends every stream.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Ends when [`close`](Self::close) is called.
    pub(crate) async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        // The sender lives as long as self.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    /// A stream for one listener: `hello`, then `changed` as often as needed, then `bye`.
    pub(crate) fn listen(
        self: &Arc<Self>,
        epoch: String,
        lives: Option<Duration>,
    ) -> impl Stream<Item = Result<Event, std::convert::Infallible>> + use<> {
        let mut changed = self.changed.subscribe();
        changed.mark_unchanged();
        self.start_looking();
        let listener = Listener {
            hub: Arc::clone(self),
            changed,
            closing: self.closing.subscribe(),
            epoch: Some(epoch),
            ends: lives.map(|lives| Instant::now() + lives),
            done: false,
        };
        stream::unfold(listener, |mut listener| async move {
            let event = listener.next().await?;
            Some((Ok(event), listener))
        })
    }

    #[allow(clippy::disallowed_methods)] // The one task of the server beside its requests.
    fn start_looking(self: &Arc<Self>) {
        if !self.listening.swap(true, Ordering::AcqRel) {
            let hub = Arc::downgrade(self);
            self.store
                .listen(Arc::new(move |head| hub.upgrade().map(|hub| hub.heard(head)).is_some()));
        }
        if self.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        tokio::spawn(keep_looking(Arc::downgrade(self)));
    }
}

async fn keep_looking(hub: Weak<Hub>) {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(hub) = hub.upgrade() else { return };
        if hub.changed.is_closed() {
            hub.looking.store(false, Ordering::Release);
            // Somebody may have come between the two lines and found the flag still up.
            if hub.changed.is_closed() || hub.looking.swap(true, Ordering::AcqRel) {
                return;
            }
        }
        let looked = tokio::task::spawn_blocking(move || hub.look()).await;
        if looked.is_err() {
            return;
        }
    }
}

impl Listener {
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
        let reason = tokio::select! {
            biased;
            _ = self.closing.wait_for(|closing| *closing) => "shutdown",
            () = expiry => "token_expired",
            changed = self.changed.changed() => match changed {
                Ok(()) => return Some(Event::default().event("changed").data("{}")),
                Err(_) => "shutdown",
            },
        };
        self.done = true;
        let data = serde_json::json!({ "reason": reason }).to_string();
        Some(Event::default().event("bye").data(data))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        tracing::trace!(listeners = self.hub.changed.receiver_count(), "a listener went");
    }
}
