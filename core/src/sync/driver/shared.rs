//! State shared by the handle and the loop: settings, requests and reports.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use super::schedule::{CALMEST, Ended, PassRequests, RETRY};
use crate::config::{Config, Metered};
use crate::error::Result;
use crate::host::Host;
use crate::slow::Calls;
use crate::sync::session::PassReport;
use crate::sync::status::StatusBoard;
use crate::writer::Task;

/// Timing of the driver; [`crate::Config`] has the defaults and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverConfig {
    /// Time between two passes, or the first of these times while an event stream is open.
    pub sync_interval: Duration,
    /// The shortest time between two pushes of local writes.
    pub push_debounce: Duration,
    /// Idle timeout of a request.
    pub ack_deadline: Duration,
    /// After this number of consecutive failures the status is `failed`, and retries use the
    /// interval.
    pub max_retries: u32,
    /// What may use a metered network.
    pub metered: Metered,
    /// The app's version, `MAJOR.MINOR.PATCH`, which the server may reject.
    pub app_version: String,
}

/// The device's network state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Whether there is a network. A hint: an explicit sync is tried in any case.
    pub online: bool,
    /// Whether the network is metered.
    pub metered: bool,
}

/// The result of [`Driver::sync_and_wait`](super::Driver::sync_and_wait).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncReport {
    /// Mutations that the server accepted.
    pub accepted: u64,
    /// Mutations that were parked.
    pub parked: u64,
    /// Received rows.
    pub pulled: u64,
    /// Mutations without a verdict: the server asked to retry, or they were written meanwhile.
    pub still_pending: u64,
}

impl From<PassReport> for SyncReport {
    fn from(pass: PassReport) -> Self {
        let PassReport { accepted, parked, pulled, still_pending, first_sync_done: _ } = pass;
        Self { accepted, parked, pulled, still_pending }
    }
}

/// How long this network keeps a silent event stream open.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListenLimit {
    /// The highest level of calm at which a silent stream stays open.
    pub(super) most: usize,
    /// When the next higher level is tried again; `None` if there is no higher one.
    pub(super) retry: Option<Instant>,
}

impl ListenLimit {
    const UNKNOWN: Self = Self { most: CALMEST as usize, retry: None };
}

/// State shared by handle and loop.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) inbox: Mutex<Inbox>,
    pub(super) wake: Notify,
    pub(super) board: StatusBoard,
    /// Number of open event streams: one, or two for a moment while one takes the place of another.
    pub(super) streams: AtomicUsize,
    /// The level of calm for which the last stream was opened.
    pub(super) level: AtomicUsize,
    listen_limit: Mutex<ListenLimit>,
    /// How long nothing has happened, as a level up to [`super::schedule::CALMEST`].
    pub(super) calm: watch::Sender<u32>,
    /// The number of applied responses.
    pub(super) answers: watch::Sender<u64>,
    pub(super) started: Instant,
    /// Running calls of the transport.
    pub(super) calls: Calls,
}

/// Requests to the loop.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) requests: PassRequests,
    pub(super) network: Network,
    pub(super) suspended: bool,
    pub(super) stopped: bool,
    pub(super) waiting: Vec<Waiter>,
    /// The waiters that a suspension or stop ends, until the loop has reached it.
    pub(super) ended: Option<Vec<Waiter>>,
    /// Whether the network has changed: a connection of the former one may be dead without a sign.
    pub(super) is_network_new: bool,
    /// How the event stream has ended.
    pub(super) stream_ended: Option<Ended>,
}

pub(super) type Waiter = oneshot::Sender<Result<SyncReport>>;

impl Inbox {
    /// Ends the running pass and the present waits, also if syncing continues before the loop runs.
    pub(super) fn end(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.ended.get_or_insert_default().extend(waiting);
    }
}

impl Shared {
    pub(super) fn new(host: Arc<dyn Host>) -> Self {
        let network = Network { online: true, metered: false };
        let inbox = Inbox {
            requests: PassRequests::default(),
            network,
            suspended: false,
            stopped: false,
            waiting: Vec::new(),
            ended: None,
            is_network_new: false,
            stream_ended: None,
        };
        Self {
            inbox: Mutex::new(inbox),
            wake: Notify::new(),
            board: StatusBoard::new(host),
            streams: AtomicUsize::new(0),
            level: AtomicUsize::new(0),
            listen_limit: Mutex::new(ListenLimit::UNKNOWN),
            calm: watch::Sender::new(0),
            answers: watch::Sender::new(0),
            started: Instant::now(),
            calls: Calls::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the inbox and wakes the loop.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Inbox) -> R) -> R {
        let result = change(&mut self.lock());
        self.wake.notify_one();
        result
    }

    /// The result of the next pass, whenever it is due.
    pub(super) fn next_pass(&self) -> Task<SyncReport> {
        let (reply, receiver) = oneshot::channel();
        self.lock().waiting.push(reply);
        Task::coming(receiver)
    }

    /// The limit of the current network.
    pub(super) fn listen_limit(&self, now: Instant) -> ListenLimit {
        let mut limit = self.listen_limit.lock().unwrap_or_else(PoisonError::into_inner);
        if limit.retry.is_some_and(|retry| retry <= now) {
            // One level after the other: a level that does not work delays changes until it is noticed.
            let most = limit.most + 1;
            *limit = ListenLimit { most, retry: (most < CALMEST as usize).then_some(now + RETRY) };
        }
        *limit
    }

    pub(super) fn set_listen_limit(&self, limit: ListenLimit) {
        *self.listen_limit.lock().unwrap_or_else(PoisonError::into_inner) = limit;
    }

    /// Another network can have another limit.
    pub(super) fn forget_listen_limit(&self) {
        self.set_listen_limit(ListenLimit::UNKNOWN);
    }

    pub(super) fn set_calm(&self, calm: u32) {
        self.calm.send_if_modified(|known| std::mem::replace(known, calm) != calm);
    }

    pub(super) fn listens(&self) -> bool {
        self.streams.load(Ordering::Acquire) > 0
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

impl From<&Config> for DriverConfig {
    fn from(config: &Config) -> Self {
        Self {
            sync_interval: config.sync_interval,
            push_debounce: config.push_debounce,
            ack_deadline: config.ack_deadline,
            max_retries: config.max_retries,
            metered: config.metered,
            app_version: config.app_version.clone(),
        }
    }
}

/// 64 random bits of the host.
pub(super) fn random(host: &dyn Host) -> u64 {
    let mut bytes = [0; 8];
    host.random(&mut bytes);
    u64::from_le_bytes(bytes)
}
