//! The sync driver: the loop that decides when to sync, and its handle for the client.
//!
//! One pass runs at a time; requests during a pass cause exactly one more. After any failure there
//! is a next attempt. Local work never waits for the loop. The session can be dropped at any await,
//! so that suspending takes effect immediately.
//!
//! The handle needs no executor: its futures work on any, and its plain methods may be called under
//! any lock. The loop runs on the client's runtime.

mod cycle;
mod exchange;
mod listen;
mod pass;
mod schedule;
mod shared;
#[cfg(test)]
mod tests;
mod verdict;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::error::{Error, Result, SyncFault};
use crate::host::Host;
use crate::runtime::{SpawnedTask, Spawner};
use crate::slow::{self, SlowPart};
use crate::sync::session::SessionConfig;
use crate::sync::status::{FirstSync, SyncState, SyncStatus, Transition};
use crate::sync::token::{Credentials, Keyring};
use crate::transport::Transport;
use crate::writer::{Task, Writer};
use cycle::Cycle;
use exchange::{Exchange, WriterExchange};
use pass::PassContext;
pub(crate) use shared::Shared;
pub use shared::{DriverConfig, Network, SyncReport};
pub use verdict::Verdict;

/// The handle of a loop. Dropping it ends the loop.
#[derive(Debug)]
pub struct Driver {
    shared: Arc<Shared>,
    spawner: Spawner,
    keyring: Arc<Keyring>,
    /// The loop, before [`Driver::begin`].
    ready: Option<Cycle>,
    cycle: Option<SpawnedTask>,
}

impl Driver {
    /// Creates the driver; its loop starts with [`Driver::begin`]. Calls before that, such as a
    /// sync request or the network state, affect the first pass.
    pub fn new(
        spawner: &Spawner,
        writer: Writer,
        transport: Arc<dyn Transport>,
        credentials: Credentials,
        session: SessionConfig,
        config: DriverConfig,
        host: Arc<dyn Host>,
    ) -> Self {
        let exchange = Arc::new(WriterExchange::new(writer, session));
        Self::with(spawner, exchange, transport, credentials, config, host)
    }

    fn with(
        spawner: &Spawner,
        exchange: Arc<dyn Exchange>,
        transport: Arc<dyn Transport>,
        credentials: Credentials,
        config: DriverConfig,
        host: Arc<dyn Host>,
    ) -> Self {
        let shared = Arc::new(Shared::new(Arc::clone(&host)));
        let keyring = Arc::new(Keyring::new(credentials, spawner.clone()));
        let pass = PassContext {
            shared: Arc::clone(&shared),
            exchange,
            transport,
            keyring: Arc::clone(&keyring),
            config,
            host,
            spawner: spawner.clone(),
        };
        let ready = Some(Cycle::new(pass, spawner.clone()));
        Self { shared, spawner: spawner.clone(), keyring, ready, cycle: None }
    }

    /// Starts the loop, once; its first pass starts immediately.
    pub fn begin(&mut self) {
        if let Some(cycle) = self.ready.take() {
            self.cycle = Some(self.spawner.spawn(cycle.run()));
        }
    }

    /// The current status and its changes.
    pub fn status(&self) -> watch::Receiver<SyncStatus> {
        self.shared.board.watch()
    }

    /// The last 64 status changes, oldest first.
    pub fn transitions(&self) -> Vec<Transition> {
        self.shared.board.history()
    }

    /// The number of applied responses; a wait for a verdict checks again after each.
    pub fn answers(&self) -> watch::Receiver<u64> {
        self.shared.answers.subscribe()
    }

    /// App code that exceeds its time budget.
    pub(crate) fn slow(&self) -> Vec<SlowPart> {
        let calls =
            [(SlowPart::Tokens, &self.keyring.calls), (SlowPart::Transport, &self.shared.calls)];
        let slow = calls.into_iter().filter(|(_, calls)| calls.are_slow(slow::CALL));
        slow.map(|(part, _)| part).collect()
    }

    /// A local write was committed: a push follows, at once if the last one began a debounce ago.
    pub fn local_write(&self) {
        let now = self.shared.now();
        self.shared.change(|inbox| *inbox.requests.wrote.get_or_insert(now));
    }

    /// Requests a pass now, ignoring backoff, network state and metered policy.
    pub fn sync_now(&self) {
        self.shared.change(|inbox| inbox.requests.explicit = true);
    }

    /// The app has subscribed to a stream or ended a subscription: a pass now, unless `Retry-After` forbids
    /// it. Changes in quick succession are sent together, as local writes are.
    pub fn subscriptions_changed(&self) {
        let now = self.shared.now();
        self.shared.change(|inbox| {
            inbox.requests.eager = true;
            inbox.requests.wrote.get_or_insert(now);
        });
    }

    /// The app came to the foreground: a pass now, unless `Retry-After` forbids it.
    pub fn foreground(&self) {
        self.shared.change(|inbox| inbox.requests.eager = true);
    }

    /// The network state changed. Going online, or leaving a metered network, requests a pass; any change
    /// opens the event stream again.
    pub fn set_network(&self, network: Network) {
        self.shared.change(|inbox| {
            let before = std::mem::replace(&mut inbox.network, network);
            let is_better =
                (network.online && !before.online) || (before.metered && !network.metered);
            inbox.requests.eager |= is_better;
            inbox.is_network_new |= before != network;
        });
    }

    /// New credentials are available: a pass that needs them runs now.
    pub fn credentials_changed(&self) {
        self.keyring.forget();
        self.shared.change(|inbox| inbox.requests.eager = true);
    }

    /// The file was reset: no first sync is done, waits for verdicts end, credentials may change.
    pub fn file_was_reset(&self) {
        self.keyring.forget();
        let left_out = self.shared.board.now().left_out;
        self.shared.board.set_stored(FirstSync::Absent, &left_out);
        self.shared.answers.send_modify(|count| *count += 1);
        self.shared.change(|inbox| inbox.requests.eager = true);
    }

    /// Pushes and pulls everything, and waits: mutations that were pending at the call have a
    /// verdict or are to be retried, and a pull that began after the last push is complete.
    ///
    /// # Errors
    /// [`SyncFault::Offline`] after one attempt without an available server, and after `timeout`; the
    /// loop continues. [`SyncFault::Unauthorized`], [`SyncFault::UpgradeRequired`], [`Error::Suspended`],
    /// [`Error::Closed`] and other errors of the attempt. A parked mutation is no error.
    pub fn sync_and_wait(&self, timeout: Option<Duration>) -> Task<SyncReport> {
        let (reply, receiver) = oneshot::channel();
        let refused = self.shared.change(|inbox| {
            let refused = match (inbox.stopped, inbox.suspended) {
                (true, _) => Some(Error::Closed),
                (_, true) => Some(Error::Suspended),
                _ => None,
            };
            if refused.is_none() {
                inbox.requests.explicit = true;
                inbox.waiting.push(reply);
            }
            refused
        });
        if let Some(error) = refused {
            return Task::ready(Err(error));
        }
        match timeout {
            None => Task::coming(receiver),
            Some(timeout) => {
                self.within(timeout, async move { receiver.await.unwrap_or(Err(Error::Closed)) })
            }
        }
    }

    /// Waits until the first sync is complete; returns immediately if it is.
    ///
    /// # Errors
    /// [`SyncFault::Offline`] after `timeout`; without one it waits for the network. What ends a pass, the
    /// first one or a later one, and waiting does not resolve: [`SyncFault::Unauthorized`],
    /// [`SyncFault::UpgradeRequired`], errors of the file, a refused schema. [`Error::Closed`].
    pub fn wait_for_first_sync(&self, timeout: Option<Duration>) -> Task<()> {
        let status = self.status();
        if status.borrow().first_sync == FirstSync::Done {
            return Task::ready(Ok(()));
        }
        self.wait_until(status, timeout, |SyncStatus { state, first_sync, .. }| match state {
            _ if *first_sync == FirstSync::Done => Some(Ok(())),
            SyncState::Stopped => Some(Err(Error::Closed)),
            _ => None,
        })
    }

    /// Waits until `is_done` returns a result for a watched value. Runs passes meanwhile.
    ///
    /// # Errors
    /// Those of `is_done`, and as [`Driver::wait_for_first_sync`].
    pub(crate) fn wait_until<T: Send + Sync + 'static>(
        &self,
        mut watched: watch::Receiver<T>,
        timeout: Option<Duration>,
        mut is_done: impl FnMut(&T) -> Option<Result<()>> + Send + 'static,
    ) -> Task<()> {
        let shared = Arc::clone(&self.shared);
        let mut pass = self.sync_and_wait(None);
        let wait = async move {
            loop {
                if let Some(done) = is_done(&watched.borrow_and_update()) {
                    return done;
                }
                tokio::select! {
                    done = &mut pass => match done {
                        Err(error) if !is_resolved_by_waiting(&error) => return Err(error),
                        _ => pass = shared.next_pass(),
                    },
                    changed = watched.changed() => changed.map_err(|_| Error::Closed)?,
                }
            }
        };
        self.within(timeout.unwrap_or(Duration::MAX), wait)
    }

    /// Runs `wait` on the runtime, which has timers, with a `timeout`.
    fn within<R: Send + 'static>(
        &self,
        timeout: Duration,
        wait: impl Future<Output = Result<R>> + Send + 'static,
    ) -> Task<R> {
        let (reply, receiver) = oneshot::channel();
        self.spawner
            .spawn(async move {
                let late = || {
                    let why = format!("not done within {timeout:?}; it goes on in the background");
                    Err(Error::Sync(SyncFault::Offline(why)))
                };
                let outcome = tokio::time::timeout(timeout, wait).await.unwrap_or_else(|_| late());
                // The caller may be gone.
                let _ = reply.send(outcome);
            })
            .detach();
        Task::coming(receiver)
    }

    /// Aborts the running request, closes all connections, and completes when no task is left,
    /// within milliseconds. The caller then closes the engine. The request counts as lost, as in a
    /// crash.
    pub fn suspend(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shared.change(|inbox| {
            inbox.suspended = true;
            inbox.end();
        });
        self.reached(|state| matches!(state, SyncState::Suspended | SyncState::Stopped))
    }

    /// Continues after the engine is open again, and requests a pass as [`Driver::foreground`] does.
    /// The status becomes [`SyncState::UpToDate`] only by that pass or a later one.
    pub fn resume(&self) {
        self.shared.change(|inbox| {
            inbox.suspended = false;
            inbox.requests.eager = true;
        });
    }

    /// Ends the loop permanently, and completes when it has ended.
    pub fn stop(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shared.change(|inbox| {
            inbox.stopped = true;
            inbox.end();
        });
        self.reached(|state| matches!(state, SyncState::Stopped))
    }

    fn reached<F: Fn(&SyncState) -> bool + Send + Sync + 'static>(
        &self,
        is_there: F,
    ) -> impl Future<Output = ()> + Send + use<F> {
        let mut status = self.status();
        async move {
            // The status board outlives errors of this future: it is dropped with the loop.
            let _ = status.wait_for(|status| is_there(&status.state)).await;
        }
    }
}

/// Whether a later pass of a first sync may succeed without the app or the user.
fn is_resolved_by_waiting(error: &Error) -> bool {
    !matches!(
        error,
        Error::Storage(_)
            | Error::InvalidInput(_)
            | Error::WrongUser { .. }
            | Error::Closed
            | Error::Sync(SyncFault::Unauthorized | SyncFault::UpgradeRequired(_))
    )
}
