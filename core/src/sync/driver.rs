//! When to exchange: the loop around the session, and the handle by which a client steers it.
//!
//! Promise: one pass at a time, and a wish for one while one runs is exactly one more pass; whatever fails, the next attempt
//! has its time, so pending work is always tried again; local work never waits for any of this. The session is dropped at
//! any await without harm, which is how suspending takes effect at once (D18).
//!
//! Border: the handle needs no executor; its futures may be awaited anywhere, its plain methods called from anywhere, under
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

use crate::error::{Error, Result};
use crate::host::Host;
use crate::runtime::{Spawner, Task};
use crate::slow::{self, SlowPart};
use crate::sync::session::SessionConfig;
use crate::sync::status::{FirstSync, State, Status, Transition};
use crate::sync::token::{Credentials, Keyring};
use crate::transport::Transport;
use crate::writer::{Answer, Writer};
use cycle::Cycle;
use exchange::{Exchange, WriterExchange};
use pass::Pass;
pub(crate) use shared::Shared;
pub use shared::{DriverConfig, Network, Report};
pub use verdict::Verdict;

/// The handle of a loop. Dropping it ends the loop where it stands.
#[derive(Debug)]
pub struct Driver {
    shared: Arc<Shared>,
    spawner: Spawner,
    keyring: Arc<Keyring>,
    /// The loop, before it begins.
    ready: Option<Cycle>,
    cycle: Option<Task>,
}

impl Driver {
    /// Everything but the loop, which does nothing before [`Driver::begin`]: who asks before that, for a sync that is waited
    /// for or with what is known of the network, is heard by the first pass.
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
        let pass = Pass {
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

    /// Begins the loop, once; its first pass begins at once.
    pub fn begin(&mut self) {
        if let Some(cycle) = self.ready.take() {
            self.cycle = Some(self.spawner.spawn(cycle.run()));
        }
    }

    /// The status now, and each later one.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.board.watch()
    }

    /// The last 64 changes of state, oldest first.
    pub fn transitions(&self) -> Vec<Transition> {
        self.shared.board.history()
    }

    /// Counts the answers of the server that were applied: who waits for a verdict looks again at each.
    pub fn answers(&self) -> watch::Receiver<u64> {
        self.shared.answers.subscribe()
    }

    /// Code of the app's that takes longer than it may.
    pub(crate) fn slow(&self) -> Vec<SlowPart> {
        let calls =
            [(SlowPart::Tokens, &self.keyring.calls), (SlowPart::Transport, &self.shared.calls)];
        let slow = calls.into_iter().filter(|(_, calls)| calls.are_slow(slow::CALL));
        slow.map(|(part, _)| part).collect()
    }

    /// A local write was committed: a push follows after the debounce.
    pub fn local_write(&self) {
        let now = self.shared.now();
        self.shared.wish(|inbox| *inbox.wishes.wrote.get_or_insert(now));
    }

    /// Asks for a pass now, whatever the backoff, the network hint and the metered policy say.
    pub fn sync_now(&self) {
        self.shared.wish(|inbox| inbox.wishes.explicit = true);
    }

    /// The app came to the foreground: a pass now, unless the server itself asked to be left alone.
    pub fn foreground(&self) {
        self.shared.wish(|inbox| inbox.wishes.eager = true);
    }

    /// What the device knows of its network has changed. Going online, or leaving a metered network, asks for a pass.
    pub fn set_network(&self, network: Network) {
        self.shared.wish(|inbox| {
            let before = std::mem::replace(&mut inbox.network, network);
            let is_better =
                (network.online && !before.online) || (before.metered && !network.metered);
            inbox.wishes.eager |= is_better;
        });
    }

    /// There are other credentials than before: whoever needed them tries again now.
    pub fn credentials_changed(&self) {
        self.keyring.forget();
        self.shared.wish(|inbox| inbox.wishes.eager = true);
    }

    /// The file was reset: its rows have never been here, nobody waits for a verdict in it, and the credentials may be others.
    pub fn file_was_reset(&self) {
        self.keyring.forget();
        self.shared.board.set_first_sync(FirstSync::Absent);
        self.shared.answers.send_modify(|count| *count += 1);
        self.shared.wish(|inbox| inbox.wishes.eager = true);
    }

    /// Pushes and pulls everything, and waits for it: everything that was pending at the call has a verdict, or the server
    /// asked to be tried again later; and a pull that began after the last push has come to its end.
    ///
    /// # Errors
    /// [`Error::Offline`] after one attempt that found no server, or a server that cannot just now, and after `timeout`: the
    /// loop goes on behind it. [`Error::NeedsAuth`], [`Error::UpgradeRequired`], [`Error::Suspended`], [`Error::Shutdown`]
    /// as they say; others as the attempt found them. A parked mutation is no error.
    pub fn sync_and_wait(&self, timeout: Option<Duration>) -> Answer<Report> {
        let (tell, told) = oneshot::channel();
        let refused = self.shared.wish(|inbox| {
            let refused = match (inbox.stopped, inbox.suspended) {
                (true, _) => Some(Error::Shutdown),
                (_, true) => Some(Error::Suspended),
                _ => None,
            };
            if refused.is_none() {
                inbox.wishes.explicit = true;
                inbox.waiting.push(tell);
            }
            refused
        });
        if let Some(error) = refused {
            return Answer::ready(Err(error));
        }
        match timeout {
            None => Answer::coming(told),
            Some(timeout) => {
                self.within(timeout, async move { told.await.unwrap_or(Err(Error::Shutdown)) })
            }
        }
    }

    /// Waits until everything has been here once; at once if it has.
    ///
    /// # Errors
    /// [`Error::Offline`] after `timeout`; without one it waits for the network. [`Error::NeedsAuth`] and
    /// [`Error::UpgradeRequired`], because waiting does not mend them; [`Error::Shutdown`].
    pub fn wait_for_first_sync(&self, timeout: Option<Duration>) -> Answer<()> {
        let mut status = self.status();
        if status.borrow().first_sync == FirstSync::Done {
            return Answer::ready(Ok(()));
        }
        self.sync_now();
        let wait = async move {
            loop {
                let Status { state, first_sync } = status.borrow_and_update().clone();
                match state {
                    _ if first_sync == FirstSync::Done => return Ok(()),
                    State::NeedsAuth => return Err(Error::NeedsAuth),
                    State::UpgradeRequired { message } => {
                        return Err(Error::UpgradeRequired(message));
                    }
                    State::Stopped => return Err(Error::Shutdown),
                    _ => status.changed().await.map_err(|_| Error::Shutdown)?,
                }
            }
        };
        self.within(timeout.unwrap_or(Duration::MAX), wait)
    }

    /// Runs `wait` where there are timers, and gives up after `timeout`.
    fn within<R: Send + 'static>(
        &self,
        timeout: Duration,
        wait: impl Future<Output = Result<R>> + Send + 'static,
    ) -> Answer<R> {
        let (tell, told) = oneshot::channel();
        self.spawner
            .spawn(async move {
                let late = || {
                    let why = format!("not done within {timeout:?}; it goes on in the background");
                    Err(Error::Offline(why))
                };
                let outcome = tokio::time::timeout(timeout, wait).await.unwrap_or_else(|_| late());
                // Whoever asked may have gone.
                let _ = tell.send(outcome);
            })
            .detach();
        Answer::coming(told)
    }

    /// Ends whatever is under way, drops every connection, and resolves when nothing of it is left; at most a few
    /// milliseconds. The caller then closes the engine. A request that was under way is lost, as in a crash.
    pub fn suspend(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shared.wish(|inbox| inbox.suspended = true);
        self.reached(|state| matches!(state, State::Suspended | State::Stopped))
    }

    /// Goes on, when the engine is open again: a pass begins at once.
    pub fn resume(&self) {
        self.shared.wish(|inbox| {
            inbox.suspended = false;
            inbox.wishes.eager = true;
        });
    }

    /// Ends the loop for good, and resolves when it has ended.
    pub fn stop(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shared.wish(|inbox| inbox.stopped = true);
        self.reached(|state| matches!(state, State::Stopped))
    }

    fn reached<F: Fn(&State) -> bool + Send + Sync + 'static>(
        &self,
        is_there: F,
    ) -> impl Future<Output = ()> + Send + use<F> {
        let mut status = self.status();
        async move {
            // The board outlives this future's error: it goes with the loop.
            let _ = status.wait_for(|status| is_there(&status.state)).await;
        }
    }
}
