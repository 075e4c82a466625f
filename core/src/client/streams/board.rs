//! The subscriptions of a client in memory: those that the app holds, and the last state of the file.
//!
//! They outlive a suspension, which opens the file again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use crate::client::listener::Listener;
use crate::engine::subscription::{
    StoredStream, StreamKey, StreamStatus, SubscribedStream, SubscriptionObserver,
};
use crate::host::Host;
use crate::watch::{Cancel, Dispatcher, Subscription};

type SubscriptionListener = Listener<Vec<SubscribedStream>>;

/// What the app holds, and what the file has.
pub(crate) struct StreamBoard {
    host: Arc<dyn Host>,
    /// The number of handles of each subscription.
    held: Mutex<HashMap<StreamKey, usize>>,
    stored: watch::Sender<Vec<StoredStream>>,
    /// `None` after the shutdown.
    listeners: Mutex<Option<Vec<Arc<SubscriptionListener>>>>,
}

impl StreamBoard {
    pub(crate) fn new(host: &Arc<dyn Host>) -> Arc<Self> {
        let host = Arc::clone(host);
        let (stored, listeners) = (watch::Sender::new(Vec::new()), Mutex::new(Some(Vec::new())));
        Arc::new(Self { host, held: Mutex::default(), stored, listeners })
    }

    /// Adds a handle.
    pub(super) fn hold(&self, key: &StreamKey) {
        *self.held().entry(key.clone()).or_default() += 1;
    }

    /// Removes a handle; returns whether it was the last one.
    pub(super) fn release(&self, key: &StreamKey) -> bool {
        let mut held = self.held();
        let Some(count) = held.get_mut(key) else { return false };
        *count -= 1;
        let is_last = *count == 0;
        if is_last {
            held.remove(key);
        }
        is_last
    }

    pub(super) fn is_held(&self, key: &StreamKey) -> bool {
        self.held().contains_key(key)
    }

    /// The status of a subscription; `None` if the file does not have it.
    pub(super) fn status(&self, key: &StreamKey) -> Option<StreamStatus> {
        self.stored.borrow().iter().find(|one| one.key == *key).map(StoredStream::status)
    }

    /// Follows the subscriptions of the file.
    pub(super) fn watch(&self) -> watch::Receiver<Vec<StoredStream>> {
        self.stored.subscribe()
    }

    /// The subscriptions that have not ended.
    pub(super) fn list(&self) -> Vec<SubscribedStream> {
        let stored = self.stored.borrow().clone();
        let (held, now_ms) = (self.held(), self.host.now_micros() / 1_000);
        let stored = stored.into_iter().filter_map(|one| {
            let is_held = held.contains_key(&one.key);
            (is_held || one.expires_ms > now_ms).then(|| SubscribedStream {
                status: one.status(),
                stream: one.key.stream,
                parameters: one.key.parameters,
                priority: one.priority,
                ttl: Duration::from_millis(u64::try_from(one.ttl_ms).unwrap_or(0)),
                ends_ms: (!is_held).then_some(one.expires_ms),
            })
        });
        stored.collect()
    }

    pub(super) fn listen(
        self: &Arc<Self>,
        callback: Box<dyn FnMut(Vec<SubscribedStream>) + Send>,
        dispatcher: Arc<Dispatcher>,
    ) -> Subscription {
        let listener = Listener::new(callback, dispatcher);
        let mut listeners = self.listeners();
        let is_over = listeners.is_none();
        if let Some(listeners) = &mut *listeners {
            listeners.push(Arc::clone(&listener));
            // While locked: this list must not replace a later one.
            listener.notify(self.list());
        }
        drop(listeners);
        if is_over {
            listener.cancel();
        }
        Subscription::new(Arc::new(Listening { listener, board: Arc::downgrade(self) }))
    }

    /// Drops the app's callbacks, which signals that no more calls follow.
    pub(crate) fn hang_up(&self) {
        let listeners = self.listeners().take();
        listeners.into_iter().flatten().for_each(|listener| listener.cancel());
    }

    fn held(&self) -> MutexGuard<'_, HashMap<StreamKey, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listeners(&self) -> MutexGuard<'_, Option<Vec<Arc<SubscriptionListener>>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SubscriptionObserver for StreamBoard {
    fn holds(&self, key: &StreamKey) -> bool {
        self.is_held(key)
    }

    fn publish(&self, all: Vec<StoredStream>) {
        self.stored.send_replace(all);
        for listener in self.listeners().iter().flatten() {
            listener.notify(self.list());
        }
    }
}

/// A listener that can remove itself from its list.
struct Listening {
    listener: Arc<SubscriptionListener>,
    board: Weak<StreamBoard>,
}

impl Cancel for Listening {
    fn cancel(&self) {
        self.listener.cancel();
        let Some(board) = self.board.upgrade() else { return };
        let mut listeners = board.listeners();
        let is_this = |other: &mut Arc<SubscriptionListener>| Arc::ptr_eq(other, &self.listener);
        let gone: Vec<_> = match &mut *listeners {
            Some(listeners) => listeners.extract_if(.., is_this).collect(),
            None => Vec::new(),
        };
        drop(listeners);
        drop(gone);
    }
}
