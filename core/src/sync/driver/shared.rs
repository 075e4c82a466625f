//! What the handle and the loop share: settings, wishes, and what the loop reports.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use super::schedule::Wishes;
use crate::config::{Config, Metered};
use crate::error::Result;
use crate::host::Host;
use crate::slow::Calls;
use crate::sync::session::PassReport;
use crate::sync::status::Board;

/// How the driver paces itself; the client's [`crate::Config`] has the defaults and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverConfig {
    /// From the end of a pass to the beginning of the next.
    pub sync_interval: Duration,
    /// How long local writes are gathered, from the first, before a push.
    pub push_debounce: Duration,
    /// The longest silence before a request counts as lost.
    pub ack_deadline: Duration,
    /// After so many failures in a row the status says `failed`, and the pace falls to the interval.
    pub max_retries: u32,
    /// What may use a metered network.
    pub metered: Metered,
    /// The app's version, `MAJOR.MINOR.PATCH`, which the server may refuse.
    pub app_version: String,
}

/// What the device knows of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Whether there is one. A hint: a sync asked for by name is tried all the same.
    pub online: bool,
    /// Whether its use costs money.
    pub metered: bool,
}

/// What [`Driver::sync_and_wait`](super::Driver::sync_and_wait) brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Mutations that the server accepted.
    pub accepted: u64,
    /// Mutations that were parked.
    pub parked: u64,
    /// Rows that came in.
    pub pulled: u64,
    /// Mutations that still have no verdict: the server asked to be tried again, or they were written meanwhile.
    pub still_pending: u64,
}

impl From<PassReport> for Report {
    fn from(pass: PassReport) -> Self {
        let PassReport { accepted, parked, pulled, still_pending, first_sync_done: _ } = pass;
        Self { accepted, parked, pulled, still_pending }
    }
}

/// What handle and loop share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) inbox: Mutex<Inbox>,
    pub(super) bell: Notify,
    pub(super) board: Board,
    /// Counts the answers that were applied.
    pub(super) answers: watch::Sender<u64>,
    pub(super) started: Instant,
    /// The transport's, under way.
    pub(super) calls: Calls,
}

/// What callers ask of the loop.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) wishes: Wishes,
    pub(super) network: Network,
    pub(super) suspended: bool,
    pub(super) stopped: bool,
    pub(super) waiting: Vec<Waiter>,
}

pub(super) type Waiter = oneshot::Sender<Result<Report>>;

impl Shared {
    pub(super) fn new(host: Arc<dyn Host>) -> Self {
        let network = Network { online: true, metered: false };
        let inbox = Inbox {
            wishes: Wishes::default(),
            network,
            suspended: false,
            stopped: false,
            waiting: Vec::new(),
        };
        Self {
            inbox: Mutex::new(inbox),
            bell: Notify::new(),
            board: Board::new(host),
            answers: watch::Sender::new(0),
            started: Instant::now(),
            calls: Calls::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the inbox, and wakes the loop.
    pub(super) fn wish<R>(&self, change: impl FnOnce(&mut Inbox) -> R) -> R {
        let result = change(&mut self.lock());
        self.bell.notify_one();
        result
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

/// 64 random bits of the host's.
pub(super) fn random(host: &dyn Host) -> u64 {
    let mut bytes = [0; 8];
    host.random(&mut bytes);
    u64::from_le_bytes(bytes)
}
