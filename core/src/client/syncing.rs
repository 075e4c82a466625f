//! Syncing, as far as a client steers it: the driver runs from [`Client::start`] to [`Client::stop`].
//!
//! The network's threads exist only while it runs. Its status is told here, so that it outlives a stop and a start.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::{Client, Core};
use crate::block_on::block_on;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::ids::MutationId;
use crate::runtime::{Foreign, Runtime, Task};
use crate::slow::SlowPart;
use crate::sync::driver::{Driver, DriverConfig, Network, Report, Verdict};
use crate::sync::session::SessionConfig;
use crate::sync::status::{FirstSync, State, Status, Transition};
use crate::sync::token::{Credentials, TokenProvider};
use crate::transport::http::ANSWER_LIMIT;
use crate::transport::{HttpTransport, Transport};
use crate::watch::{Callback, Cancel, Deliver, Dispatcher, Subscription};
use crate::writer::{Answer, Writer};

/// The driver, while there is one, and what is told of it.
pub(crate) struct Syncing {
    host: Arc<dyn Host>,
    transport: Option<Arc<dyn Transport>>,
    credentials: Credentials,
    session: SessionConfig,
    driver: DriverConfig,
    /// Code of the app's that needs threads of its own.
    foreign: Vec<Foreign>,
    running: Mutex<Option<Running>>,
    /// What the device said of its network, before there was a driver too.
    network: Mutex<Option<Network>>,
    told: Mutex<Told>,
}

/// Dropped in this order: tasks before the threads that they run on.
struct Running {
    driver: Driver,
    _telling: Task,
    _runtime: Runtime,
}

struct Told {
    status: Status,
    listeners: Vec<Arc<Listener>>,
    /// The changes of drivers that were stopped.
    transitions: Vec<Transition>,
    /// The client has ended: nobody is told anything any more.
    over: bool,
}

/// Tells what the driver says, until there is nobody to tell it to.
async fn telling(mut statuses: watch::Receiver<Status>, syncing: Weak<Syncing>) {
    loop {
        let status = statuses.borrow_and_update().clone();
        let Some(syncing) = syncing.upgrade() else { return };
        syncing.tell(&status);
        drop(syncing);
        if statuses.changed().await.is_err() {
            return;
        }
    }
}

/// Somebody who wants to know the status: the latest, not each.
struct Listener {
    itself: Weak<Listener>,
    latest: Mutex<Option<Status>>,
    callback: Callback<Status>,
    dispatcher: Arc<Dispatcher>,
}

impl Client {
    /// Begins to sync in the background: at once, then when something was written, when the server has news, and at each
    /// interval. Offline is a status, not an error; without a network everything else works.
    ///
    /// # Errors
    /// [`Error::Refused`] without a `server_url`; [`Error::Suspended`], [`Error::Shutdown`]. Starting twice is no error.
    pub fn start(&self) -> Result<()> {
        self.core().driven(|_| ())
    }

    /// Ends syncing; local work goes on, and what is written waits. A request that is under way is lost, as in a crash.
    ///
    /// # Errors
    /// None; stopping twice is no error.
    pub fn stop(&self) -> Answer<()> {
        self.core().syncing.stop()
    }

    /// Syncs now, whatever the backoff and the metered policy say. Starts syncing if it was not started.
    ///
    /// # Errors
    /// As [`Client::start`]; how it went stands in the status.
    pub fn sync_now(&self) -> Result<()> {
        self.core().driven(Driver::sync_now)
    }

    /// Pushes and pulls everything, and waits for it: when this is done, what was pending at the call has its verdict (or the
    /// server asked to be tried again), and what the server had is here. Starts syncing if it was not started.
    ///
    /// The report is of the pass that began after the call, the first one where this starts syncing. What a pass that was under
    /// way already brought about is done, and not counted.
    ///
    /// # Errors
    /// [`Error::Offline`] after one attempt without a server, and after `timeout`: the work goes on in the background.
    /// [`Error::NeedsAuth`], [`Error::UpgradeRequired`] and others as the attempt found them; those of [`Client::start`]. A
    /// parked mutation is no error: the report counts it.
    pub fn sync_and_wait(&self, timeout: Option<Duration>) -> Answer<Report> {
        self.driven(|driver| driver.sync_and_wait(timeout))
    }

    /// Waits until everything has been here once; at once if it has. Starts syncing if it was not started.
    ///
    /// # Errors
    /// [`Error::Offline`] after `timeout`; without one it waits for a network. [`Error::NeedsAuth`],
    /// [`Error::UpgradeRequired`], which waiting does not mend; those of [`Client::start`].
    pub fn wait_for_first_sync(&self, timeout: Option<Duration>) -> Answer<()> {
        if self.core().lifecycle().check().is_ok() && self.status().first_sync == FirstSync::Done {
            return Answer::ready(Ok(()));
        }
        self.driven(|driver| driver.wait_for_first_sync(timeout))
    }

    /// Waits until the server's verdict on a mutation of [`Client::pending`] is here, and visible: *accepted* means that the
    /// server has it and the rows show it. Starts syncing if it was not started.
    ///
    /// # Errors
    /// [`Error::Offline`] after `timeout`; without one it waits for a network. The mutation stays where it is. Those of
    /// [`Client::start`].
    pub fn verdict(&self, id: MutationId, timeout: Option<Duration>) -> Answer<Verdict> {
        let writer = self.core().writer.clone();
        self.driven(|driver| driver.verdict(&writer, id, timeout))
    }

    /// What syncing is doing.
    pub fn status(&self) -> Status {
        self.core().syncing.status()
    }

    /// Code of the app's that takes longer than it may, each kind once; it delays nothing but what it must.
    pub fn slow(&self) -> Vec<SlowPart> {
        let core = self.core();
        let mut slow = core.syncing.with(Driver::slow).unwrap_or_default();
        slow.extend((core.hub.dispatcher.late() > 0).then_some(SlowPart::Callback));
        slow.extend(core.writer.is_slow().then_some(SlowPart::Transaction));
        slow
    }

    /// Calls `callback` with the status now and after each change, until the subscription is dropped or the client shuts down,
    /// which drops `callback`. While it runs, changes are not queued: it gets the latest.
    pub fn on_status(&self, callback: impl FnMut(Status) + Send + 'static) -> Subscription {
        let core = self.core();
        let listener = Listener::new(Box::new(callback), Arc::clone(&core.hub.dispatcher));
        core.syncing.listen(&listener);
        Subscription::new(Arc::new(Listening { listener, syncing: Arc::downgrade(&core.syncing) }))
    }

    /// Tells what the device knows of its network. Going online, or leaving a metered network, asks for a sync.
    pub fn set_network(&self, network: Network) {
        self.core().syncing.set_network(network);
    }

    /// Tells that the app came to the foreground: a sync now, unless the server asked to be left alone.
    pub fn foreground(&self) {
        self.core().syncing.with(Driver::foreground);
    }

    /// Tells that the token provider has other credentials than before: whoever needed them tries again. The provider may say
    /// so itself while it is asked.
    pub fn credentials_changed(&self) -> Answer<()> {
        self.core().syncing.with(Driver::credentials_changed);
        Answer::ready(Ok(()))
    }

    fn driven<R>(&self, ask: impl FnOnce(&Driver) -> Answer<R>) -> Answer<R> {
        self.core().driven(ask).unwrap_or_else(|error| Answer::ready(Err(error)))
    }
}

impl Core {
    /// Asks the driver something; one that is started for it hears that before its first pass. Waits for nothing.
    fn driven<R>(&self, ask: impl FnOnce(&Driver) -> R) -> Result<R> {
        let lifecycle = self.lifecycle();
        lifecycle.check()?;
        self.syncing.driven(&self.writer, ask)
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
        let transport = match (&config.server_url, transport) {
            (_, Some(transport)) => Some(transport),
            (Some(url), None) => {
                Some(Arc::new(HttpTransport::new(url, ANSWER_LIMIT)?) as Arc<dyn Transport>)
            }
            (None, None) => None,
        };
        let credentials = match (tokens, &config.user_id) {
            (Some(tokens), _) => Credentials::Tokens(tokens),
            // A server believes it only on loopback, in development.
            (None, Some(user)) => Credentials::User(user.clone()),
            (None, None) => Credentials::Nobody,
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
        let status = Status { state: State::Idle, first_sync: FirstSync::Absent };
        let told = Told { status, listeners: Vec::new(), transitions: Vec::new(), over: false };
        Ok(Arc::new(Self {
            host,
            transport,
            credentials,
            session,
            driver: DriverConfig::from(config),
            foreign,
            running: Mutex::default(),
            network: Mutex::default(),
            told: Mutex::new(told),
        }))
    }

    /// What the file says of the first sync, before there is a driver that says it.
    pub(crate) fn set_first_sync(&self, first_sync: FirstSync) {
        self.told().status.first_sync = first_sync;
    }

    fn driven<R>(self: &Arc<Self>, writer: &Writer, ask: impl FnOnce(&Driver) -> R) -> Result<R> {
        let mut running = self.running();
        if let Some(running) = &*running {
            return Ok(ask(&running.driver));
        }
        let transport = self.transport.clone().ok_or_else(|| Error::Refused {
            what: "syncing".to_owned(),
            why: "the configuration has no server_url".to_owned(),
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
        // Whoever waits for a pass is there before the first.
        let asked = ask(&driver);
        driver.begin();
        let telling = spawner.spawn(telling(driver.status(), Arc::downgrade(self)));
        *running = Some(Running { driver, _telling: telling, _runtime: runtime });
        Ok(asked)
    }

    fn set_network(&self, network: Network) {
        *self.network.lock().unwrap_or_else(PoisonError::into_inner) = Some(network);
        self.with(|driver| driver.set_network(network));
    }

    /// Ends the driver, wherever it stands; the answer comes when nothing of it is left.
    pub(crate) fn stop(self: &Arc<Self>) -> Answer<()> {
        let Some(running) = self.running().take() else { return Answer::ready(Ok(())) };
        let syncing = Arc::clone(self);
        super::open::in_background("stop", move || {
            block_on(running.driver.stop());
            let first_sync = syncing.told().status.first_sync;
            syncing.told().transitions = running.driver.transitions();
            drop(running);
            syncing.tell(&Status { state: State::Stopped, first_sync });
            Ok(())
        })
    }

    /// Lets go of the network, or takes it up again. The future resolves when nothing of it is under way.
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

    /// The app wrote something that waits for the server; on the writer's thread, so it only leaves word.
    pub(crate) fn local_write(&self) {
        self.with(Driver::local_write);
    }

    /// Everything begins anew; on the writer's thread, so it only leaves word.
    pub(crate) fn file_was_reset(&self) {
        self.set_first_sync(FirstSync::Absent);
        self.with(Driver::file_was_reset);
    }

    /// The last changes of the status, oldest first.
    pub(crate) fn transitions(&self) -> Vec<Transition> {
        self.with(Driver::transitions).unwrap_or_else(|| self.told().transitions.clone())
    }

    fn with<R>(&self, ask: impl FnOnce(&Driver) -> R) -> Option<R> {
        self.running().as_ref().map(|running| ask(&running.driver))
    }

    /// The driver's own word, which is a moment ahead of what was told.
    fn status(&self) -> Status {
        let now = self.with(|driver| driver.status().borrow().clone());
        let told = self.told().status.clone();
        now.map_or(told.clone(), |now| known(now, told.first_sync))
    }

    fn tell(&self, status: &Status) {
        let listeners = {
            let mut told = self.told();
            let status = &known(status.clone(), told.status.first_sync);
            if told.status == *status {
                return;
            }
            told.status.clone_from(status);
            told.listeners.clone()
        };
        for listener in listeners {
            listener.hear(self.told().status.clone());
        }
    }

    fn listen(&self, listener: &Arc<Listener>) {
        let mut told = self.told();
        if told.over {
            drop(told);
            return listener.callback.cancel();
        }
        told.listeners.push(Arc::clone(listener));
        let status = told.status.clone();
        drop(told);
        listener.hear(status);
    }

    /// Lets go of the app's callbacks, which is how they know that no more will come.
    pub(crate) fn hang_up(&self) {
        let listeners = {
            let mut told = self.told();
            told.over = true;
            std::mem::take(&mut told.listeners)
        };
        for listener in listeners {
            listener.callback.cancel();
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A driver that has not looked into the file yet does not know of the first sync.
fn known(status: Status, first_sync: FirstSync) -> Status {
    if status.state == State::Idle { Status { first_sync, ..status } } else { status }
}

impl Listener {
    fn new(function: Box<dyn FnMut(Status) + Send>, dispatcher: Arc<Dispatcher>) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            itself: Weak::clone(itself),
            latest: Mutex::default(),
            callback: Callback::new(function),
            dispatcher,
        })
    }

    fn latest(&self) -> MutexGuard<'_, Option<Status>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, status: Status) {
        // Where one lies there already, the dispatcher knows.
        if self.latest().replace(status).is_none()
            && let Some(itself) = self.itself.upgrade()
        {
            self.dispatcher.push(itself);
        }
    }
}

impl Deliver for Listener {
    fn deliver(&self) {
        let latest = self.latest().take();
        if let Some(status) = latest {
            self.callback.call(status);
        }
    }
}

/// A listener and where it stands in a list.
struct Listening {
    listener: Arc<Listener>,
    syncing: Weak<Syncing>,
}

impl Cancel for Listening {
    fn cancel(&self) {
        self.listener.callback.cancel();
        if let Some(syncing) = self.syncing.upgrade() {
            let mut told = syncing.told();
            let gone: Vec<_> =
                told.listeners.extract_if(.., |other| Arc::ptr_eq(other, &self.listener)).collect();
            drop(told);
            drop(gone);
        }
    }
}
