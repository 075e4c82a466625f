//! Wake-ups: listeners are notified that something changed, not what. Notifications are coalesced,
//! and sent only to users of the changed buckets (`places`).
//!
//! Pushes on any node of the same database notify immediately, and so do entries of the log model.
//! Changes of other programs are detected by polling the log's head while there are listeners.
//! Each stream is a `listener`.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::stream::Stream;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::engine::Caller;
use crate::error::Fault;
use crate::log_limit::LogLimit;
use crate::model::{Touched, own_bucket};
use crate::store::{NodeNotice, Store, read};

mod listener;
mod places;

use listener::Listener;
use places::EventListeners;
pub(crate) use places::TooMany;

/// Poll interval of the log's head for changes of other programs.
const LOOK: Duration = Duration::from_millis(250);

/// Interval of keep-alive messages on an idle stream, unless the request names another.
pub(crate) const PING: Duration = Duration::from_secs(20);

/// The longest interval that a request may name.
pub(crate) const LONGEST_PING: Duration = Duration::from_mins(10);

/// Above this number of new entries, all listeners are woken without reading the entries' buckets.
const MOST: i64 = 5_000;

/// Listeners whose buckets are read at the same time. When thousands connect at once, the other
/// connections to the database remain free for requests.
const SETTLING: usize = 2;

/// Notifies listeners of commits.
#[derive(Debug)]
pub(crate) struct Hub {
    store: Arc<dyn Store>,
    /// The last known head of the log; the lock serialises wake-ups.
    known: Mutex<i64>,
    places: EventListeners,
    /// Maximum number of listeners at this server.
    most: AtomicUsize,
    closing: watch::Sender<bool>,
    looking: AtomicBool,
    listening: AtomicBool,
    /// The latest head reported by another process, and whether a task is handling it.
    latest: AtomicI64,
    hearing: AtomicBool,
    epoch: Arc<tokio::sync::Mutex<Option<EpochRead>>>,
    settling: Arc<Semaphore>,
    /// Rate limit for log lines about streams, by kind.
    pub(crate) logs: LogLimit<&'static str>,
}

/// The last read of the epoch: when it began, and the epoch or why it failed.
type EpochRead = (Instant, Result<String, String>);

impl Hub {
    pub(crate) fn new(store: Arc<dyn Store>) -> Arc<Self> {
        let head = store.pulse().unwrap_or(0);
        Arc::new(Self {
            store,
            known: Mutex::new(head),
            places: EventListeners::default(),
            most: AtomicUsize::new(usize::MAX),
            closing: watch::Sender::new(false),
            looking: AtomicBool::new(false),
            listening: AtomicBool::new(false),
            latest: AtomicI64::new(0),
            hearing: AtomicBool::new(false),
            epoch: Arc::default(),
            settling: Arc::new(Semaphore::new(SETTLING)),
            logs: LogLimit::default(),
        })
    }

    /// Reads the log's head and wakes listeners if it moved. Blocks for one or two statements.
    pub(crate) fn look(&self) {
        if let Ok(head) = self.store.pulse() {
            self.moved(head, true);
        }
    }

    /// This process has just read this head; others may know a later one.
    pub(crate) fn saw(&self, head: i64) {
        self.moved(head, false);
    }

    /// Handles a new head. `saw`: read directly from the store, so that a smaller value can mean a
    /// restored backup.
    fn moved(&self, mut head: i64, saw: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if head < *known && saw {
            // Or another thread has read a later head in between.
            let Ok(again) = self.store.pulse() else { return };
            head = again;
            if head < *known {
                // A later notice of the lost log would seem to be ahead of it.
                self.latest.store(head, Ordering::Release);
            }
        }
        if head == *known || (head < *known && !saw) {
            return;
        }
        let before = std::mem::replace(&mut *known, head);
        if self.places.count() == 0 {
            return;
        }
        let few = head > before && head - before <= MOST;
        let touched = if few { self.store.touched(before, head) } else { Ok(None) };
        self.places.wake(touched.unwrap_or_default().as_deref());
    }

    /// Entries of the log were accepted or corrected here, and their items concern these buckets.
    pub(crate) fn log_moved(&self, touched: &[Touched]) {
        if !touched.is_empty() {
            self.store.notify_log(touched);
            self.wake_log(touched);
        }
    }

    fn wake_log(&self, touched: &[Touched]) {
        if self.places.count() > 0 {
            self.places.wake(Some(touched));
        }
    }

    /// Limits listeners to three quarters of the server's connections: each uses one.
    pub(crate) fn leave_room(&self, connections: usize) {
        self.most.store((connections - connections.div_ceil(4)).max(1), Ordering::Release);
    }

    /// The number of listeners.
    pub(crate) fn listening(&self) -> usize {
        self.places.count()
    }

    /// The number of wake-ups since the start.
    pub(crate) fn wakes(&self) -> u64 {
        self.places.wakes()
    }

    /// Whether [`close`](Self::close) was called.
    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Another process has committed a change. Many listeners take a while to wake, and the store's
    /// runtime must not wait for them.
    fn notified(self: &Arc<Self>, notice: NodeNotice, runtime: &Handle) {
        match notice {
            NodeNotice::Head(head) => self.head_notified(head, runtime),
            NodeNotice::Log(touched) => {
                let hub = Arc::clone(self);
                runtime.spawn_blocking(move || hub.wake_log(&touched));
            }
        }
    }

    /// Another process has moved the head. Only forward: a notification may be older than the known
    /// head.
    fn head_notified(self: &Arc<Self>, head: i64, runtime: &Handle) {
        self.latest.fetch_max(head, Ordering::AcqRel);
        if self.hearing.swap(true, Ordering::AcqRel) {
            return;
        }
        let hub = Arc::clone(self);
        runtime.spawn_blocking(move || {
            // Later notifications are handled by the next task.
            hub.hearing.store(false, Ordering::Release);
            hub.moved(hub.latest.load(Ordering::Acquire), false);
        });
    }

    /// The epoch at this time or later. Requests that arrive during a read share the next one.
    pub(crate) async fn epoch(&self) -> Result<String, Fault> {
        let arrived = Instant::now();
        let mut last = Arc::clone(&self.epoch).lock_owned().await;
        if let Some((began, epoch)) = &*last
            && *began > arrived
        {
            return epoch.clone().map_err(Fault::Transient);
        }
        let store = Arc::clone(&self.store);
        // Keeps the lock to its end, even if this request is cancelled.
        let reading = move || {
            let began = Instant::now();
            let epoch = read(&*store, |reading| reading.log_state()).map(|state| state.epoch);
            *last = Some((began, epoch.as_ref().map_err(ToString::to_string).cloned()));
            epoch
        };
        tokio::task::spawn_blocking(reading)
            .await
            .unwrap_or_else(|error| Err(Fault::Internal(error.to_string())))
    }

    /// Ends every stream.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Ends when [`close`](Self::close) is called.
    pub(crate) async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        // The sender is dropped with `self`.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    /// A stream for one listener, a device of this user: `hello`, then `changed` as often as
    /// needed, then `bye`. Refused if the user has `most` streams already, or the server is full.
    pub(crate) fn listen(
        self: &Arc<Self>,
        caller: Caller,
        epoch: String,
        lives: Option<Duration>,
        most: usize,
    ) -> Result<impl Stream<Item = Result<Event, std::convert::Infallible>> + use<>, TooMany> {
        let in_all = self.most.load(Ordering::Acquire);
        let (number, notify) = self.places.enter(&own_bucket(&caller.user), most, in_all)?;
        self.start_looking();
        // No end if the time is beyond the clock's range.
        let ends = lives.and_then(|lives| Instant::now().checked_add(lives));
        Ok(Listener::new(Arc::clone(self), (caller, number), notify, epoch, ends).events())
    }

    #[allow(clippy::disallowed_methods)] // Runs as long as there are listeners.
    fn start_looking(self: &Arc<Self>) {
        if !self.listening.swap(true, Ordering::AcqRel) {
            let (hub, runtime) = (Arc::downgrade(self), Handle::current());
            let notify =
                move |notice| hub.upgrade().map(|hub| hub.notified(notice, &runtime)).is_some();
            self.store.listen(Arc::new(notify));
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
        if hub.places.count() == 0 {
            hub.looking.store(false, Ordering::Release);
            // A listener may have been added in between, while the flag was still set.
            if hub.places.count() == 0 || hub.looking.swap(true, Ordering::AcqRel) {
                return;
            }
        }
        // After a panic the next look may succeed.
        let looked = tokio::task::spawn_blocking(move || hub.look()).await;
        if looked.is_err_and(|error| error.is_cancelled()) {
            return;
        }
    }
}
