//! Opening, suspending, resuming and closing a client.
//!
//! A file that is already open in this process is shared: closing a second SQLite connection would
//! drop the process-wide POSIX locks of the first. Long operations run on their own thread, start
//! at the call and complete even if the future is dropped. Suspend, resume and shutdown of one
//! client run one after another; its status can be read at any time without waiting.

use crate::engine::checkpoint;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::files::{OpenFile, OpenedFile, enter};
use super::syncing::Syncing;
use super::upkeep::Upkeep;
use super::{Client, Core, Handle, SyncHandle};
use crate::block_on::block_until;
use crate::config::Config;
use crate::ending::{CancelHandle, EndReason, LeaseOwner};
use crate::engine::action::Actions;
use crate::engine::action::perform;
use crate::engine::change::Origin;
use crate::engine::counters::Counters;
use crate::engine::{Engine, Interrupt, OpenOptions, ReadStop, Reader};
use crate::error::{Error, Result};
use crate::host::{Host, SystemHost};
use crate::readers::Readers;
use crate::runtime;
use crate::sync::status::FirstSync;
use crate::sync::token::TokenProvider;
use crate::transport::Transport;
use crate::watch::{Dispatcher, Hub};
use crate::writer::{Task, Writer};

/// Services that a client uses; the default is the real machine.
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// Clock and randomness. Default: the machine's.
    pub host: Option<Arc<dyn Host>>,
    /// Provides the token that identifies the user. Without one, requests carry the configured
    /// `user_id`, which a server accepts on loopback only, or nothing.
    pub tokens: Option<Arc<dyn TokenProvider>>,
    /// Sends bytes to the server. Default: HTTP to the configured `server_url`.
    pub transport: Option<Arc<dyn Transport>>,
    /// The actions for [`Client::perform`]. Default: none.
    pub actions: Option<Arc<Actions>>,
}

/// Which services the app provided when it opened the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GivenServices {
    tokens: bool,
    transport: bool,
    actions: bool,
}

impl GivenServices {
    fn of(services: &Services) -> Self {
        let Services { tokens, transport, actions, .. } = services;
        Self {
            tokens: tokens.is_some(),
            transport: transport.is_some(),
            actions: actions.is_some(),
        }
    }
}

/// The lifecycle state of a client.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    suspended: bool,
    ended: bool,
}

/// Interrupts an engine from any thread. Each opened engine has its own, so it is never reset.
#[derive(Default)]
pub(crate) struct InterruptHandle(Mutex<Braked>);

#[derive(Default)]
struct Braked {
    interrupt: Option<Interrupt>,
    /// The open interactive transaction.
    held: Option<Arc<dyn CancelHandle>>,
    /// Set with the reason once interrupted: no interactive transaction may begin.
    pulled: Option<EndReason>,
}

impl InterruptHandle {
    fn of(&self, engine: &Engine) {
        let mut now = self.now();
        now.interrupt = Some(engine.interrupt_handle());
        now.pulled = None;
    }

    /// Interrupts what runs; it is rolled back.
    fn pull(&self) {
        if let Some(interrupt) = &self.now().interrupt {
            interrupt.suspend();
        }
        self.let_go(&EndReason::Suspended);
    }

    /// Ends the interactive transaction and lets no other begin; closures continue.
    fn let_go(&self, ending: &EndReason) {
        let mut now = self.now();
        let held = now.held.take();
        now.pulled = Some(ending.clone());
        drop(now);
        drop(held.inspect(|held| held.leave(ending)));
    }

    fn now(&self) -> MutexGuard<'_, Braked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeaseOwner for InterruptHandle {
    fn hold(&self, held: Arc<dyn CancelHandle>) -> Result<()> {
        let mut now = self.now();
        if let Some(pulled) = &now.pulled {
            return Err(pulled.error());
        }
        now.held = Some(held);
        Ok(())
    }

    fn release(&self) {
        let held = self.now().held.take();
        drop(held);
    }
}

impl Lifecycle {
    /// Whether work can begin.
    pub(super) fn check(&self) -> Result<()> {
        match (self.ended, self.suspended) {
            (true, _) => Err(Error::Shutdown),
            (_, true) => Err(Error::Suspended),
            _ => Ok(()),
        }
    }
}

impl Client {
    /// Opens the file, or creates it; works offline. If it is open in this process, that client is
    /// shared. The configuration must then be equal; its token provider, transport and actions
    /// stay.
    ///
    /// # Errors
    /// [`Error::Config`] with all problems; [`Error::Locked`] if another process has the file open;
    /// [`Error::TooNew`], [`Error::Corrupt`], [`Error::ReadOnly`], [`Error::Io`]: nothing changed.
    /// [`Error::SchemaRefused`] if this device cannot store the bundled schema.
    pub fn open(config: Config) -> Task<Self> {
        Self::open_with(config, Services::default())
    }

    /// [`Client::open`] with services that replace those of the real machine.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub fn open_with(config: Config, services: Services) -> Task<Self> {
        in_background("open", move || {
            config.check()?;
            services.actions.iter().try_for_each(|actions| actions.check())?;
            open(config, services)
        })
    }

    /// Shuts the client down: earlier calls complete, watches and callbacks end, syncing stops, the
    /// file is closed. An interactive transaction without a requested commit is rolled back. The
    /// queue stays in the file. Later calls return [`Error::Shutdown`]. May be called from a
    /// callback.
    ///
    /// # Errors
    /// [`Error::Reentrant`] inside the closure of a transaction or of [`Client::read`], which would
    /// wait for itself; the client stays open.
    pub fn shutdown(&self) -> Task<()> {
        let core = Arc::clone(self.core());
        if core.writer.is_current() || core.readers.is_current() {
            return Task::ready(Err(Error::Reentrant));
        }
        in_background("shutdown", move || {
            core.end();
            Ok(())
        })
    }
}

impl SyncHandle<'_> {
    /// Releases the file: rolls back what runs, closes every connection and drops every lock, as
    /// iOS requires of an app in the background. Later calls return [`Error::Suspended`] until
    /// [`SyncHandle::resume`].
    ///
    /// An interactive transaction or snapshot ends immediately. The closure of
    /// [`Client::transaction`] or [`Client::read`], or the code of an action, ends at its next
    /// statement.
    ///
    /// # Errors
    /// [`Error::Reentrant`] as for [`Client::shutdown`]; [`Error::Shutdown`]. [`Error::Refused`] if
    /// a closure runs for three seconds without a statement: the client is suspended, but the file
    /// stays open until the closure returns, and the closure's writes are rolled back.
    pub fn suspend(&self) -> Task<()> {
        let core = Arc::clone(self.0.core());
        if core.writer.is_current() || core.readers.is_current() {
            return Task::ready(Err(Error::Reentrant));
        }
        in_background("suspend", move || core.suspend())
    }

    /// Opens the file again after [`SyncHandle::suspend`]; watched queries run once to catch up.
    ///
    /// # Errors
    /// Those of opening, including [`Error::Locked`]; the client then stays suspended.
    /// [`Error::Reentrant`], [`Error::Shutdown`].
    pub fn resume(&self) -> Task<()> {
        let core = Arc::clone(self.0.core());
        if core.writer.is_current() || core.readers.is_current() {
            return Task::ready(Err(Error::Reentrant));
        }
        in_background("resume", move || core.resume())
    }
}

/// Maximum duration of a suspend: iOS gives an app about five seconds.
const SUSPEND: Duration = Duration::from_secs(3);

/// The error if the file could not be closed in time.
fn still_open(what: &str) -> Error {
    Error::Refused {
        what: "suspending".to_owned(),
        why: format!(
            "{what} has not returned within {SUSPEND:?}; the file closes when it does. Keep closures short, or split the work"
        ),
    }
}

/// Runs `body` on its own thread, even if the future is dropped.
pub(super) fn in_background<R: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> Result<R> + Send + 'static,
) -> Task<R> {
    let (reply, receiver) = oneshot::channel();
    match runtime::thread(name, move || drop(reply.send(body()))) {
        Ok(_) => Task::coming(receiver),
        Err(error) => Task::ready(Err(error)),
    }
}

fn open(config: Config, services: Services) -> Result<Client> {
    let Some(folder) = config.temporary_folder().map(Path::to_owned) else {
        return open_file(config, services);
    };
    std::fs::create_dir_all(&folder).map_err(|error| io_error(&error, &folder))?;
    open_file(config, services).inspect_err(|_| remove(&folder))
}

/// Removes the folder of a temporary file.
fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!(%error, folder = %folder.display(), "removing a temporary database");
    }
}

fn io_error(error: &std::io::Error, path: &Path) -> Error {
    Error::Io(format!("{}: {error}", path.display()))
}

fn open_file(config: Config, services: Services) -> Result<Client> {
    let path = canonical(&config.path)?;
    let place = match enter(&path) {
        OpenedFile::Shared(handle) => return share(handle, &config, &services),
        OpenedFile::Free(place) => place,
    };
    let core = Arc::new(Core::open(config, path, services, place)?);
    let handle = Arc::new(Handle { core });
    handle.core.place.opened(&handle);
    Ok(Client { handle })
}

/// The first open decides the services. A later one must not expect a service that was not given.
fn share(handle: Arc<Handle>, config: &Config, services: &Services) -> Result<Client> {
    let core = &handle.core;
    let differences = core.config.differences(config).into_iter();
    let mut problems: Vec<String> = differences
        .map(|field| format!("{field}: the file is open already, with another value"))
        .collect();
    for (name, is_new) in [
        ("tokens", services.tokens.is_some() && !core.brought.tokens),
        ("transport", services.transport.is_some() && !core.brought.transport),
        ("actions", services.actions.is_some() && !core.brought.actions),
    ] {
        if is_new {
            problems.push(format!(
                "{name}: the file is already open without one; shut that client down first"
            ));
        }
    }
    if problems.is_empty() { Ok(Client { handle }) } else { Err(Error::Config(problems)) }
}

/// The canonical path of the file. The file may be missing; its folder must exist.
fn canonical(path: &Path) -> Result<PathBuf> {
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(|error| io_error(&error, folder))?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

/// Notifies watches of each commit, and the driver of new pending mutations.
fn observe_commits(engine: &mut Engine, hub: Arc<Mutex<Weak<Hub>>>, syncing: Weak<Syncing>) {
    engine.on_commit(Box::new(move |change| {
        let hub = hub.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(hub) = hub {
            hub.committed(change);
        }
        if let (Origin::Local, true, Some(syncing)) =
            (change.origin, change.queue, syncing.upgrade())
        {
            syncing.local_write();
        }
    }));
}

impl Core {
    fn open(config: Config, path: PathBuf, services: Services, place: OpenFile) -> Result<Self> {
        let brought = GivenServices::of(&services);
        let Services { host, tokens, transport, actions } = services;
        let host = host.unwrap_or_else(|| Arc::new(SystemHost::default()) as Arc<dyn Host>);
        let syncing = Syncing::new(&config, transport, tokens, Arc::clone(&host))?;
        let options = OpenOptions { path: path.clone(), manifest: config.schema.clone() };
        let hub: Arc<Mutex<Weak<Hub>>> = Arc::default();
        let (to_hub, to_syncing) = (Arc::clone(&hub), Arc::downgrade(&syncing));
        let brake = Arc::new(InterruptHandle::default());
        let stop = Arc::<ReadStop>::default();
        let (engine_brake, mut upkeep) =
            (Arc::clone(&brake), Upkeep::new(config.wal_limit, Arc::clone(&stop)));
        let (engine_host, policies) = (Arc::clone(&host), config.policies.clone());
        let (idle, budget) = (config.transaction_idle, config.action_budget);
        let durability = config.durability;
        let (fault_attempts, fault_age) = (config.server_fault_attempts, config.server_fault_age);
        let counters = Arc::<Counters>::default();
        let open = move || {
            let mut engine = engine(&options, &engine_host, actions.as_ref())?;
            engine.set_policies(policies.clone())?;
            checkpoint::set_durability(&mut engine, durability)?;
            engine_brake.of(&engine);
            perform::wait_for_actions(&mut engine, Arc::clone(&engine_brake) as _, idle);
            perform::set_action_budget(&mut engine, budget);
            engine.set_fault_limit(fault_attempts, fault_age);
            engine.count_into(Arc::clone(&counters));
            observe_commits(&mut engine, Arc::clone(&to_hub), Weak::clone(&to_syncing));
            Ok(engine)
        };
        let between = move |engine: &mut Engine, idle| upkeep.look(engine, idle);
        let writer = Writer::start_with(open, between).wait()?;
        let beside = || {
            let stored = writer.call_blocking(|engine| engine.meta("first_sync"))?;
            syncing.set_first_sync(FirstSync::read(stored.as_deref()));
            let count = config.readers;
            let (first, rest) = writer.call_blocking(move |engine| connections(engine, count))?;
            let readers = Readers::new(rest, stop)?;
            Ok((readers, Hub::start(first, Dispatcher::start()?)?))
        };
        let (readers, started) = match beside() {
            Ok(beside) => beside,
            Err(error) => {
                // The next attempt must not find the lock of this one.
                let _ = writer.shutdown().wait();
                return Err(error);
            }
        };
        *hub.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&started);
        Ok(Self {
            config,
            path,
            brought,
            host,
            writer,
            brake,
            readers,
            hub: started,
            syncing,
            lifecycle: Mutex::default(),
            turn: Mutex::default(),
            place,
        })
    }

    /// The lifecycle state; its lock is never held during a wait.
    pub(crate) fn lifecycle(&self) -> MutexGuard<'_, Lifecycle> {
        self.lifecycle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serializes suspend, resume and shutdown.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn suspend(&self) -> Result<()> {
        let _turn = self.turn();
        {
            let mut lifecycle = self.lifecycle();
            if lifecycle.ended {
                return Err(Error::Shutdown);
            }
            // Refuses syncs that start from now on; the running one is suspended below.
            lifecycle.suspended = true;
        }
        let until = Instant::now() + SUSPEND;
        self.brake.pull();
        // Signals all parts before waiting for any.
        let syncing = self.syncing.suspend();
        let (writer, readers, hub) =
            (self.writer.suspend(), self.readers.suspend(), self.hub.suspend());
        for (what, answer) in [
            ("a read's closure", readers),
            ("a watched query", hub),
            ("a transaction's closure", writer),
        ] {
            answer.wait_until(until).unwrap_or_else(|| Err(still_open(what)))?;
        }
        // The driver holds no file; a custom transport that blocks its thread may be late.
        block_until(syncing, Some(until));
        Ok(())
    }

    fn resume(&self) -> Result<()> {
        let _turn = self.turn();
        match self.lifecycle().check() {
            Err(Error::Suspended) => {}
            settled => return settled,
        }
        // In one turn of the writer: the next queued task may be a long interactive transaction.
        let count = self.config.readers;
        let (first, rest) =
            self.writer.resume_with(move |engine| connections(engine, count)).wait()?;
        let opened = self.readers.resume(rest).and_then(|()| self.hub.resume(first));
        if let Err(error) = opened {
            // Suspended as before, without a lock.
            self.brake.pull();
            let left = (self.readers.suspend(), self.hub.suspend(), self.writer.suspend());
            let _ = (left.0.wait(), left.1.wait(), left.2.wait());
            return Err(error);
        }
        let mut lifecycle = self.lifecycle();
        self.syncing.resume();
        lifecycle.suspended = false;
        Ok(())
    }

    /// Closes everything, once; a second call waits for the first.
    fn end(&self) {
        // Before the turn, so that opening the file after a call of `shutdown` does not return this
        // client.
        self.place.closing();
        let turn = self.turn();
        if std::mem::replace(&mut self.lifecycle().ended, true) {
            return;
        }
        // Its holder may be idle for long; commands that are already queued still run.
        self.brake.let_go(&EndReason::Shutdown);
        // Earlier writes complete; then readers close before the writer, whose last connection
        // empties the log.
        let done = [
            self.syncing.stop().wait(),
            self.writer.call(|_| Ok(())).wait(),
            self.readers.shutdown().wait(),
            self.hub.shutdown().wait(),
            self.writer.shutdown().wait(),
        ];
        for error in done.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "closing the client");
        }
        self.hub.dispatcher.shutdown();
        drop(turn);
        self.hub.hang_up();
        self.syncing.hang_up();
        self.place.leave();
        if let Some(folder) = self.config.temporary_folder() {
            remove(folder);
        }
    }
}

/// Opens an engine with the app's actions. They must match the tables of a bundled schema. A server
/// may have changed the tables since, so a mismatch does not prevent opening.
fn engine(
    options: &OpenOptions,
    host: &Arc<dyn Host>,
    actions: Option<&Arc<Actions>>,
) -> Result<Engine> {
    let mut engine = Engine::open(options, Arc::clone(host))?;
    let Some(actions) = actions else { return Ok(engine) };
    let bundled = options.manifest.as_ref().map(|manifest| manifest.schema_version);
    let present = engine.schema().manifest.as_ref().map(|manifest| manifest.schema_version);
    perform::set_actions(
        &mut engine,
        Arc::clone(actions),
        bundled.is_some() && bundled == present,
    )?;
    Ok(engine)
}

/// New read connections: one for watched queries, and those of the pool.
fn connections(engine: &mut Engine, count: u32) -> Result<(Reader, Vec<Reader>)> {
    let rest = (0..count).map(|_| engine.open_reader()).collect::<Result<_>>()?;
    Ok((engine.open_reader()?, rest))
}

impl Drop for Handle {
    fn drop(&mut self) {
        let core = Arc::clone(&self.core);
        // On another thread: this one may run a callback, or be the writer's own.
        if let Err(error) = runtime::thread("shutdown", move || core.end()) {
            tracing::error!(%error, "the client was not closed");
        }
    }
}
