//! Wake-ups: listeners are notified that something changed, not what. Notifications are coalesced,
//! and sent only to users of the changed buckets (`places`).
//!
//! Pushes on any node of the same database notify immediately, and so do entries of the log model.
//! Changes of other programs are detected by polling the log's head while there are listeners.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::stream::{self, Stream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::engine;
use crate::error::Fault;
use crate::log_limit::LogLimit;
use crate::model::{Touched, own_bucket};
use crate::store::{NodeNotice, Store, read};

mod places;

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

/// How much later a listener is notified while its buckets are read: changes meanwhile are one
/// notification, and thousands of listeners are still notified one after the other.
const SETTLE_WAIT: Duration = Duration::from_secs(2);

/// Pause before buckets are read again after a failure; doubled each time, up to the second value.
const SETTLE_RETRY: [Duration; 2] = [Duration::from_secs(5), Duration::from_mins(2)];

static UNREAD: LogLimit = LogLimit::new();

static EXPIRED: LogLimit = LogLimit::new();

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
}

/// The last read of the epoch: when it began, and the epoch or why it failed.
type EpochRead = (Instant, Result<String, String>);

/// The state of one listener's stream.
struct Listener {
    hub: Arc<Hub>,
    user: String,
    number: u64,
    notify: Arc<Notify>,
    closing: watch::Receiver<bool>,
    epoch: Option<String>,
    ends: Option<Instant>,
    /// The task that reads the user's buckets.
    settling: JoinSet<()>,
    done: bool,
}

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

    /// The epoch at this time or later. Listeners that arrive during a read share the next one.
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
        user: String,
        epoch: String,
        lives: Option<Duration>,
        most: usize,
    ) -> Result<impl Stream<Item = Result<Event, std::convert::Infallible>> + use<>, TooMany> {
        let in_all = self.most.load(Ordering::Acquire);
        let (number, notify) = self.places.enter(&own_bucket(&user), most, in_all)?;
        self.start_looking();
        let listener = Listener {
            hub: Arc::clone(self),
            user,
            number,
            notify,
            closing: self.closing.subscribe(),
            epoch: Some(epoch),
            // No end if the time is beyond the clock's range.
            ends: lives.and_then(|lives| Instant::now().checked_add(lives)),
            settling: JoinSet::new(),
            done: false,
        };
        Ok(stream::unfold(listener, |mut listener| async move {
            let event = listener.next().await?;
            Some((Ok(event), listener))
        }))
    }

    #[allow(clippy::disallowed_methods)] // The only background task of the server.
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
        let mut closing = self.closing.clone();
        let reason = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => "shutdown",
            () = expiry => {
                if let Some(count) = EXPIRED.count(()) {
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
            if self.settling.is_empty() && self.has_buckets() && places.is_unsettled(self.number) {
                let (hub, user) = (Arc::clone(&self.hub), self.user.clone());
                self.settling.spawn(settle(hub, user, self.number));
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
        !self.user.contains(['\0', char::MAX])
    }
}

/// Reads the buckets of a listener's user. Until that has succeeded, every change wakes the
/// listener.
async fn settle(hub: Arc<Hub>, user: String, number: u64) {
    let [mut pause, longest] = SETTLE_RETRY;
    while hub.places.is_unsettled(number) {
        // The semaphore is never closed.
        let permit = Arc::clone(&hub.settling).acquire_owned().await.ok();
        let Some(turn) = hub.places.unsettled(number) else { return };
        let (store, user) = (Arc::clone(&hub.store), user.clone());
        let reading = move || {
            let _permit = permit;
            read(&*store, |reading| {
                reading.act_for(&user, &[])?;
                engine::held(reading, &user)
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
        if let Some(count) = UNREAD.count(()) {
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
