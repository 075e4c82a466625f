//! Control of syncing by the client: the driver runs from [`Client::start`](crate::Client::start) to [`Client::stop`].
//!
//! The network threads exist only while it runs. The status is published here, so that it outlives
//! the driver.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::listener::Listener;
use super::{Core, SyncHandle};
use crate::block_on::block_on;
use crate::config::Config;
use crate::engine::schema::left_out::LeftOutPart;
use crate::error::{Error, InputFault, Result};
use crate::host::Host;
use crate::runtime::{Foreign, Runtime, SpawnedTask};
use crate::slow::SlowPart;
use crate::sync::driver::{Driver, DriverConfig, Network, SyncReport};
use crate::sync::session::SessionConfig;
use crate::sync::status::{FirstSync, SyncState, SyncStatus, Transition};
use crate::sync::token::{Credentials, TokenProvider};
use crate::transport::http::ANSWER_LIMIT;
use crate::transport::{HttpTransport, Transport};
use crate::watch::{Cancel, Subscription};
use crate::writer::{Task, Writer};

/// The driver, if syncing is started, and the published status.
pub(crate) struct Syncing {
    host: Arc<dyn Host>,
    transport: Option<Arc<dyn Transport>>,
    credentials: Credentials,
    session: SessionConfig,
    driver: DriverConfig,
    /// App code that needs its own threads.
    foreign: Vec<Foreign>,
    running: Mutex<Option<Running>>,
    /// The last network state that the device reported, also before there was a driver.
    network: Mutex<Option<Network>>,
    published: Mutex<Published>,
}

/// Drop order: tasks before the threads that they run on.
struct Running {
    number: u64,
    driver: Driver,
    _forwarder: SpawnedTask,
    _runtime: Runtime,
}

struct Published {
    status: SyncStatus,
    /// The number of the last driver; the status of an earlier one, which may still end, is ignored.
    driver: u64,
    listeners: Vec<Arc<Listener<SyncStatus>>>,
    /// Status changes of stopped drivers.
    transitions: Vec<Transition>,
    /// The client has shut down; no listener is called any more.
    over: bool,
}

/// Publishes the driver's status until the driver or the client ends.
async fn forward_status(
    number: u64,
    mut statuses: watch::Receiver<SyncStatus>,
    syncing: Weak<Syncing>,
) {
    loop {
        let status = statuses.borrow_and_update().clone();
        let Some(syncing) = syncing.upgrade() else { return };
        syncing.publish(number, &status);
        drop(syncing);
        if statuses.changed().await.is_err() {
            return;
        }
    }
}

impl SyncHandle<'_> {
    /// Syncs now, ignoring backoff and the metered policy. Starts syncing if it is not started.
    ///
    /// # Errors
    /// As [`Client::start`](crate::Client::start); the result is in the status.
    pub fn request(&self) -> Result<()> {
        self.0.core().driven(Driver::sync_now)
    }

    /// Brings the device up to date, for example when the user pulls to refresh. When it completes, all
    /// that the server had at the call is here, and mutations that were pending then have a verdict or
    /// are to be retried. A read replica of the server does not take part: it may be behind. Starts
    /// syncing if not started.
    ///
    /// The report covers the pass that began after the call. It does not count what an earlier pass has
    /// sent: `accepted` is 0 if a pass in the background was first. [`QueueHandle::counts`](crate::QueueHandle::counts)
    /// returns how many mutations wait.
    ///
    /// # Errors
    /// [`SyncFault::Offline`](crate::SyncFault::Offline) after one attempt without a server, and after `timeout`; the work
    /// continues in the background. [`SyncFault::Unauthorized`](crate::SyncFault::Unauthorized), [`SyncFault::UpgradeRequired`](crate::SyncFault::UpgradeRequired) and other
    /// errors of the attempt; those of [`Client::start`](crate::Client::start). A parked mutation is no error: the report
    /// counts it.
    pub fn run(&self, timeout: Option<Duration>) -> Task<SyncReport> {
        self.0.core().driven_task(|driver| driver.sync_and_wait(timeout))
    }

    /// Waits until the first sync is complete. Starts syncing if it is not started.
    ///
    /// # Errors
    /// [`SyncFault::Offline`](crate::SyncFault::Offline) after `timeout`; without one it waits for a network. [`SyncFault::Unauthorized`](crate::SyncFault::Unauthorized)
    /// and [`SyncFault::UpgradeRequired`](crate::SyncFault::UpgradeRequired), which waiting does not resolve; so are errors of the file
    /// ([`Error::Storage`]) and a refused schema; those of [`Client::start`](crate::Client::start).
    pub fn first_sync(&self, timeout: Option<Duration>) -> Task<()> {
        if self.0.core().lifecycle().check().is_ok()
            && self.0.status().first_sync == FirstSync::Done
        {
            return Task::ready(Ok(()));
        }
        self.0.core().driven_task(|driver| driver.wait_for_first_sync(timeout))
    }

    /// Reports the network state. Going online, or leaving a metered network, starts a sync.
    pub fn set_network(&self, network: Network) {
        self.0.core().syncing.set_network(network);
    }

    /// Reports that the app came to the foreground: syncs now, unless `Retry-After` forbids it.
    pub fn foreground(&self) {
        self.0.core().syncing.with(Driver::foreground);
    }

    /// Reports that the token provider has new credentials: a sync that waits for them tries again.
    /// The provider may call this while it is asked for a token.
    pub fn credentials_changed(&self) -> Task<()> {
        self.0.core().syncing.with(Driver::credentials_changed);
        Task::ready(Ok(()))
    }

    /// The kinds of app code that currently exceed their time budget, each once.
    pub fn slow(&self) -> Vec<SlowPart> {
        let core = self.0.core();
        let mut slow = core.syncing.with(Driver::slow).unwrap_or_default();
        slow.extend((core.hub.dispatcher.late() > 0).then_some(SlowPart::Callback));
        slow.extend(core.writer.is_slow().then_some(SlowPart::Transaction));
        slow
    }
}

impl Core {
    /// Calls the driver, which is started if necessary; `ask` runs before its first pass. Does not
    /// block.
    pub(super) fn driven<R>(&self, ask: impl FnOnce(&Driver) -> R) -> Result<R> {
        let lifecycle = self.lifecycle();
        lifecycle.check()?;
        self.syncing.driven(&self.writer, ask)
    }

    pub(super) fn driven_task<R>(&self, ask: impl FnOnce(&Driver) -> Task<R>) -> Task<R> {
        self.driven(ask).unwrap_or_else(|error| Task::ready(Err(error)))
    }

    pub(super) fn on_status(&self, callback: Box<dyn FnMut(SyncStatus) + Send>) -> Subscription {
        let listener = Listener::new(callback, Arc::clone(&self.hub.dispatcher));
        self.syncing.listen(&listener);
        Subscription::new(Arc::new(Listening { listener, syncing: Arc::downgrade(&self.syncing) }))
    }
}

impl Syncing {
    pub(crate) fn new(
        config: &Config,
        transport: Option<Arc<dyn Transport>>,
        tokens: Option<Arc<dyn TokenProvider>>,
        host: Arc<dyn Host>,
    ) -> Result<Arc<Self>> {
        let is_ours = transport.is_none();
        let transport = match (&config.server, transport) {
            (_, Some(transport)) => Some(transport),
            (Some(url), None) => {
                Some(Arc::new(HttpTransport::new(url, ANSWER_LIMIT)?) as Arc<dyn Transport>)
            }
            (None, None) => None,
        };
        let credentials = match (tokens, &config.user_id) {
            (Some(tokens), _) => Credentials::Tokens(tokens),
            // A server accepts it on loopback only, for development.
            (None, Some(user)) => Credentials::User(user.clone()),
            (None, None) => Credentials::Absent,
        };
        let session = SessionConfig {
            user_id: config.user_id.clone(),
            device_name: Some(config.device_name.clone()),
            platform: config.platform.clone(),
            app_version: config.app_version.clone(),
            page_size: config.page_size,
            batch_size: config.batch_size,
        };
        let mut foreign = Vec::new();
        foreign.extend((!is_ours).then_some(Foreign::Transport));
        foreign.extend(matches!(credentials, Credentials::Tokens(_)).then_some(Foreign::Tokens));
        let status = SyncStatus::new();
        let (listeners, transitions) = (Vec::new(), Vec::new());
        let published = Published { status, driver: 0, listeners, transitions, over: false };
        Ok(Arc::new(Self {
            host,
            transport,
            credentials,
            session,
            driver: DriverConfig::from(config),
            foreign,
            running: Mutex::default(),
            network: Mutex::default(),
            published: Mutex::new(published),
        }))
    }

    /// What the file says beside the state, used until there is a driver.
    pub(crate) fn set_stored(&self, first_sync: FirstSync, left_out: Vec<LeftOutPart>) {
        let status = &mut self.published().status;
        (status.first_sync, status.left_out) = (first_sync, left_out);
    }

    fn driven<R>(self: &Arc<Self>, writer: &Writer, ask: impl FnOnce(&Driver) -> R) -> Result<R> {
        let mut running = self.running();
        if let Some(running) = &*running {
            return Ok(ask(&running.driver));
        }
        let transport = self.transport.clone().ok_or_else(|| {
            Error::InvalidInput(InputFault::Refused {
                what: "syncing".to_owned(),
                reason: "the configuration has no server".to_owned(),
            })
        })?;
        let runtime = Runtime::beside(&self.foreign)?;
        let spawner = runtime.spawner();
        let mut driver = Driver::new(
            &spawner,
            writer.clone(),
            transport,
            self.credentials.clone(),
            self.session.clone(),
            self.driver.clone(),
            Arc::clone(&self.host),
        );
        if let Some(network) = *self.network.lock().unwrap_or_else(PoisonError::into_inner) {
            driver.set_network(network);
        }
        // A caller that waits for a pass is registered before the first one.
        let answer = ask(&driver);
        driver.begin();
        let number = {
            let mut published = self.published();
            published.driver += 1;
            published.driver
        };
        let forward = forward_status(number, driver.status(), Arc::downgrade(self));
        let forwarder = spawner.spawn(forward);
        *running = Some(Running { number, driver, _forwarder: forwarder, _runtime: runtime });
        Ok(answer)
    }

    fn set_network(&self, network: Network) {
        *self.network.lock().unwrap_or_else(PoisonError::into_inner) = Some(network);
        self.with(|driver| driver.set_network(network));
    }

    /// Stops the driver in any state; completes when none of its tasks is left.
    pub(crate) fn stop(self: &Arc<Self>) -> Task<()> {
        let Some(running) = self.running().take() else { return Task::ready(Ok(())) };
        let syncing = Arc::clone(self);
        super::lifecycle::in_background("stop", move || {
            block_on(running.driver.stop());
            let stopped = syncing.published().status.clone();
            syncing.published().transitions = running.driver.transitions();
            let number = running.number;
            drop(running);
            syncing.publish(number, &SyncStatus { state: SyncState::Stopped, ..stopped });
            Ok(())
        })
    }

    /// Suspends the driver. The future completes when no request is running.
    pub(crate) fn suspend(&self) -> impl Future<Output = ()> + use<> {
        let suspended = self.with(Driver::suspend);
        async move {
            if let Some(suspended) = suspended {
                suspended.await;
            }
        }
    }

    pub(crate) fn resume(&self) {
        self.with(Driver::resume);
    }

    /// A local write was queued; runs on the writer's thread and only signals the driver.
    pub(crate) fn local_write(&self) {
        self.with(Driver::local_write);
    }

    /// The file was reset; runs on the writer's thread and only signals the driver.
    pub(crate) fn file_was_reset(&self) {
        self.published().status.first_sync = FirstSync::Absent;
        self.with(Driver::file_was_reset);
    }

    /// The last changes of the status, oldest first.
    pub(crate) fn transitions(&self) -> Vec<Transition> {
        self.with(Driver::transitions).unwrap_or_else(|| self.published().transitions.clone())
    }

    pub(super) fn with<R>(&self, ask: impl FnOnce(&Driver) -> R) -> Option<R> {
        self.running().as_ref().map(|running| ask(&running.driver))
    }

    /// The driver's current status, which may be newer than the published one.
    pub(super) fn status(&self) -> SyncStatus {
        let now = self.with(|driver| driver.status().borrow().clone());
        let published = self.published().status.clone();
        match now {
            Some(now) => with_stored(now, published),
            None => published,
        }
    }

    fn publish(&self, driver: u64, status: &SyncStatus) {
        let listeners = {
            let mut published = self.published();
            let status = &with_stored(status.clone(), published.status.clone());
            if published.driver != driver || published.status == *status {
                return;
            }
            published.status.clone_from(status);
            published.listeners.clone()
        };
        for listener in listeners {
            listener.notify(self.published().status.clone());
        }
    }

    fn listen(&self, listener: &Arc<Listener<SyncStatus>>) {
        let mut published = self.published();
        if published.over {
            drop(published);
            return listener.cancel();
        }
        published.listeners.push(Arc::clone(listener));
        let status = published.status.clone();
        drop(published);
        listener.notify(status);
    }

    /// Drops the app's callbacks, which signals that no more calls follow.
    pub(crate) fn hang_up(&self) {
        let listeners = {
            let mut published = self.published();
            published.over = true;
            std::mem::take(&mut published.listeners)
        };
        for listener in listeners {
            listener.cancel();
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A driver that has not read the file yet does not have what it says beside the state.
fn with_stored(status: SyncStatus, stored: SyncStatus) -> SyncStatus {
    let state = status.state;
    if state == SyncState::Idle {
        SyncStatus { state, ..stored }
    } else {
        SyncStatus { state, ..status }
    }
}

/// A listener that can remove itself from its list.
struct Listening {
    listener: Arc<Listener<SyncStatus>>,
    syncing: Weak<Syncing>,
}

impl Cancel for Listening {
    fn cancel(&self) {
        self.listener.cancel();
        if let Some(syncing) = self.syncing.upgrade() {
            let mut published = syncing.published();
            let gone: Vec<_> = published
                .listeners
                .extract_if(.., |other| Arc::ptr_eq(other, &self.listener))
                .collect();
            drop(published);
            drop(gone);
        }
    }
}
