//! Opening, suspending, resuming and ending.
//!
//! A file that is open already in this process is shared, not opened again (D12): SQLite's locks belong to the process, and
//! closing a second connection of another library would drop those of the first. What takes long runs on a thread of its
//! own, begins when it is asked for, and ends even if nobody waits. Suspending, resuming and ending of one client have turns;
//! where it stands can be asked at any time, and is answered at once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::files::{Entrance, Place, enter};
use super::syncing::Syncing;
use super::upkeep::Upkeep;
use super::{Client, Core, Handle};
use crate::block_on::block_until;
use crate::config::Config;
use crate::ending::{Ending, Keeper, Leave};
use crate::engine::action::Actions;
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
use crate::writer::{Answer, Writer};

/// What a client uses of its surroundings; the default is the real machine.
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// Clock and randomness. Default: the machine's.
    pub host: Option<Arc<dyn Host>>,
    /// Gives the token that names the user. Without one, requests carry the configured `user_id`, which a server believes on
    /// loopback only, or nothing.
    pub tokens: Option<Arc<dyn TokenProvider>>,
    /// How bytes reach the server. Default: HTTP to the configured `server_url`.
    pub transport: Option<Arc<dyn Transport>>,
    /// What [`Client::perform`] can perform. Default: nothing.
    pub actions: Option<Arc<Actions>>,
}

/// Which of the surroundings the app brought when it opened the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Brought {
    tokens: bool,
    transport: bool,
    actions: bool,
}

impl Brought {
    fn of(services: &Services) -> Self {
        let Services { tokens, transport, actions, .. } = services;
        Self {
            tokens: tokens.is_some(),
            transport: transport.is_some(),
            actions: actions.is_some(),
        }
    }
}

/// Where a client stands between open and closed.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    suspended: bool,
    ended: bool,
}

/// Ends what the engine is running, from any thread. Each opened engine has its own, so a pulled brake needs no release.
#[derive(Default)]
pub(crate) struct Brake(Mutex<Braked>);

#[derive(Default)]
struct Braked {
    interrupt: Option<Interrupt>,
    /// The transaction that waits for its holder.
    held: Option<Arc<dyn Leave>>,
    /// Pulled, and why: nothing may be held.
    pulled: Option<Ending>,
}

impl Brake {
    fn of(&self, engine: &Engine) {
        let mut now = self.now();
        now.interrupt = Some(engine.interrupt_handle());
        now.pulled = None;
    }

    /// Stops what runs; it is rolled back.
    fn pull(&self) {
        if let Some(interrupt) = &self.now().interrupt {
            interrupt.suspend();
        }
        self.let_go(&Ending::Suspended);
    }

    /// Ends a transaction that is held, and lets no other begin; closures are not disturbed.
    fn let_go(&self, ending: &Ending) {
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

impl Keeper for Brake {
    fn hold(&self, held: Arc<dyn Leave>) -> Result<()> {
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
    /// Opens the file, and makes it if there is none; works offline. If it is open in this process, that client is shared,
    /// and the configuration must be the same; its token provider, transport and actions stay those of the first to open it.
    ///
    /// # Errors
    /// [`Error::Config`] with every problem; [`Error::Locked`] if another process has it; [`Error::TooNew`],
    /// [`Error::Corrupt`], [`Error::ReadOnly`], [`Error::Io`] as they say: nothing was changed.
    /// [`Error::SchemaRefused`] if this device cannot store the bundled schema.
    pub fn open(config: Config) -> Answer<Self> {
        Self::open_with(config, Services::default())
    }

    /// [`Client::open`] with other surroundings than the real machine.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub fn open_with(config: Config, services: Services) -> Answer<Self> {
        in_background("open", move || {
            config.check()?;
            services.actions.iter().try_for_each(|actions| actions.check())?;
            open(config, services)
        })
    }

    /// Ends the client: what was handed in before is done, watches and callbacks end, syncing stops, the file is closed. A
    /// held transaction whose commit was not asked for is rolled back.
    /// Pending work stays in the file. Later calls are [`Error::Shutdown`]. May be called from a callback.
    ///
    /// # Errors
    /// [`Error::Reentrant`] inside the closure of a transaction or of [`Client::read`], which it would wait for; nothing
    /// happened then.
    pub fn shutdown(&self) -> Answer<()> {
        let core = Arc::clone(self.core());
        if core.writer.is_current() || core.readers.is_current() {
            return Answer::ready(Err(Error::Reentrant));
        }
        in_background("shutdown", move || {
            core.end();
            Ok(())
        })
    }

    /// Lets go of the file: rolls back what runs, closes every connection and drops every lock, as iOS demands of an app in
    /// the background (D18). Nothing committed is lost; calls are [`Error::Suspended`] until [`Client::resume`].
    ///
    /// A held transaction or snapshot is ended at once, wherever its holder is. The closure of [`Client::transaction`] or
    /// [`Client::read`] is ended at its next statement; the same is true of an action's code.
    ///
    /// # Errors
    /// [`Error::Reentrant`] as for [`Client::shutdown`]; [`Error::Shutdown`]. [`Error::Refused`] after three seconds in which a
    /// closure has computed without a statement: the client is suspended, but the file stays open until the closure returns;
    /// nothing that it wrote is kept.
    pub fn suspend(&self) -> Answer<()> {
        let core = Arc::clone(self.core());
        if core.writer.is_current() || core.readers.is_current() {
            return Answer::ready(Err(Error::Reentrant));
        }
        in_background("suspend", move || core.suspend())
    }

    /// Opens the file again after [`Client::suspend`]; watched queries run once, for what was missed.
    ///
    /// # Errors
    /// Those of opening, [`Error::Locked`] among them; the client stays suspended then. [`Error::Reentrant`],
    /// [`Error::Shutdown`].
    pub fn resume(&self) -> Answer<()> {
        let core = Arc::clone(self.core());
        if core.writer.is_current() || core.readers.is_current() {
            return Answer::ready(Err(Error::Reentrant));
        }
        in_background("resume", move || core.resume())
    }
}

/// How long suspending may take, whatever the app's code does meanwhile: iOS gives an app about five seconds.
const SUSPEND: Duration = Duration::from_secs(3);

/// The file could not be let go in time.
fn still_open(what: &str) -> Error {
    Error::Refused {
        what: "suspending".to_owned(),
        why: format!(
            "{what} has not returned within {SUSPEND:?}; the file is let go when it does. Keep closures short, or divide the work"
        ),
    }
}

/// Runs `body` on a thread of its own, whether or not somebody waits for it.
pub(super) fn in_background<R: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> Result<R> + Send + 'static,
) -> Answer<R> {
    let (tell, told) = oneshot::channel();
    match runtime::thread(name, move || drop(tell.send(body()))) {
        Ok(_) => Answer::coming(told),
        Err(error) => Answer::ready(Err(error)),
    }
}

fn open(config: Config, services: Services) -> Result<Client> {
    let path = canonical(&config.path)?;
    let place = match enter(&path) {
        Entrance::Shared(handle) => return share(handle, &config, &services),
        Entrance::Free(place) => place,
    };
    let core = Arc::new(Core::open(config, path, services, place)?);
    let handle = Arc::new(Handle { core });
    handle.core.place.opened(&handle);
    Ok(Client { handle })
}

/// The surroundings stay those of the first. Who brings one where the first had none would wait for it to be asked for ever.
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
                "{name}: the file is open already, without; shut that client down first"
            ));
        }
    }
    if problems.is_empty() { Ok(Client { handle }) } else { Err(Error::Config(problems)) }
}

/// The file's one name. It need not exist; its folder must.
fn canonical(path: &Path) -> Result<PathBuf> {
    let told =
        |error: std::io::Error, path: &Path| Error::Io(format!("{}: {error}", path.display()));
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(|error| told(error, folder))?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

/// Whoever watches hears of each commit, and the driver of what waits for the server.
fn tell_of_commits(engine: &mut Engine, hub: Arc<Mutex<Weak<Hub>>>, syncing: Weak<Syncing>) {
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
    fn open(config: Config, path: PathBuf, services: Services, place: Place) -> Result<Self> {
        let brought = Brought::of(&services);
        let Services { host, tokens, transport, actions } = services;
        let host = host.unwrap_or_else(|| Arc::new(SystemHost::default()) as Arc<dyn Host>);
        let syncing = Syncing::new(&config, transport, tokens, Arc::clone(&host))?;
        let options = OpenOptions { path: path.clone(), manifest: config.schema.clone() };
        let hub: Arc<Mutex<Weak<Hub>>> = Arc::default();
        let (to_hub, to_syncing) = (Arc::clone(&hub), Arc::downgrade(&syncing));
        let brake = Arc::new(Brake::default());
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
            engine.set_durability(durability)?;
            engine_brake.of(&engine);
            engine.wait_for_actions(Arc::clone(&engine_brake) as _, idle);
            engine.set_action_budget(budget);
            engine.set_fault_limit(fault_attempts, fault_age);
            engine.count_into(Arc::clone(&counters));
            tell_of_commits(&mut engine, Arc::clone(&to_hub), Weak::clone(&to_syncing));
            Ok(engine)
        };
        let between = move |engine: &mut Engine, idle| upkeep.look(engine, idle);
        let writer = Writer::start_with(open, between).wait()?;
        let beside = || {
            let word = writer.call_blocking(|engine| engine.meta("first_sync"))?;
            syncing.set_first_sync(FirstSync::read(word.as_deref()));
            let count = config.readers;
            let (first, rest) = writer.call_blocking(move |engine| connections(engine, count))?;
            let readers = Readers::new(rest, stop)?;
            Ok((readers, Hub::start(first, Dispatcher::start()?)?))
        };
        let (readers, started) = match beside() {
            Ok(beside) => beside,
            Err(error) => {
                // The next attempt must not meet this one's lock.
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

    /// Where it stands; never held while something is waited for.
    pub(crate) fn lifecycle(&self) -> MutexGuard<'_, Lifecycle> {
        self.lifecycle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever suspends, resumes or ends has this to the end of it.
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
            // What begins to sync from here on is refused; what began before is suspended below.
            lifecycle.suspended = true;
        }
        let until = Instant::now() + SUSPEND;
        self.brake.pull();
        // All are told before any is waited for.
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
        // It holds no file; a transport of the app's that blocks its thread may be late.
        block_until(syncing, Some(until));
        Ok(())
    }

    fn resume(&self) -> Result<()> {
        let _turn = self.turn();
        match self.lifecycle().check() {
            Err(Error::Suspended) => {}
            settled => return settled,
        }
        // In one turn of the writer: what waits behind it may be a transaction that is held for long.
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

    /// Closes everything, once; the second waits for the first.
    fn end(&self) {
        // Before its turn, so that whoever opens the file after a call of `shutdown` does not get this one.
        self.place.closing();
        let turn = self.turn();
        if std::mem::replace(&mut self.lifecycle().ended, true) {
            return;
        }
        // Its holder may be away for long; what they ordered before is done.
        self.brake.let_go(&Ending::Shutdown);
        // Writes that were handed in are done; then readers go before the writer, whose last connection empties the log.
        let done = [
            self.syncing.stop().wait(),
            self.writer.call(|_| Ok(())).wait(),
            self.readers.shutdown().wait(),
            self.hub.shutdown().wait(),
            self.writer.shutdown().wait(),
        ];
        for error in done.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "while closing");
        }
        self.hub.dispatcher.shutdown();
        drop(turn);
        self.hub.hang_up();
        self.syncing.hang_up();
        self.place.leave();
    }
}

/// An engine that knows the app's actions. They must fit the tables if these came with the app; a server may have changed
/// them since, and that is no reason not to open the file.
fn engine(
    options: &OpenOptions,
    host: &Arc<dyn Host>,
    actions: Option<&Arc<Actions>>,
) -> Result<Engine> {
    let mut engine = Engine::open(options, Arc::clone(host))?;
    let Some(actions) = actions else { return Ok(engine) };
    let bundled = options.manifest.as_ref().map(|manifest| manifest.schema_version);
    let present = engine.schema().manifest.as_ref().map(|manifest| manifest.schema_version);
    engine.set_actions(Arc::clone(actions), bundled.is_some() && bundled == present)?;
    Ok(engine)
}

/// New reading connections: one for watched queries, and those of the pool.
fn connections(engine: &mut Engine, count: u32) -> Result<(Reader, Vec<Reader>)> {
    let rest = (0..count).map(|_| engine.open_reader()).collect::<Result<_>>()?;
    Ok((engine.open_reader()?, rest))
}

impl Drop for Handle {
    fn drop(&mut self) {
        let core = Arc::clone(&self.core);
        // Not here: this may be a callback, or the writer's own thread.
        if let Err(error) = runtime::thread("shutdown", move || core.end()) {
            tracing::error!(%error, "the client was not closed");
        }
    }
}
