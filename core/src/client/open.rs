//! Opening a client, and sharing one that is open.
//!
//! A file that is already open in this process is shared: closing a second SQLite connection would
//! drop the process-wide POSIX locks of the first.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::files::{OpenFile, OpenedFile, all_open, enter};
use super::lifecycle::{InterruptHandle, connections, in_background, remove};
use super::read_only::ReadOnlyClient;
use super::services::{GivenServices, Latest, Services};
use super::streams::StreamBoard;
use super::syncing::Syncing;
use super::upkeep::Upkeep;
use super::{Client, Core, Handle};
use crate::config::Config;
use crate::engine::action::Actions;
use crate::engine::action::perform;
use crate::engine::change::Origin;
use crate::engine::checkpoint;
use crate::engine::counters::Counters;
use crate::engine::subscription;
use crate::engine::{Engine, OpenOptions, ReadStop};
use crate::error::{Error, InputFault, Result, StorageFault};
use crate::host::{Host, SystemHost};
use crate::readers::Readers;
use crate::runtime;
use crate::sync::rows::fact;
use crate::watch::{Dispatcher, Hub};
use crate::writer::{Task, Writer};

impl Client {
    /// Opens the file, or creates it; works offline. If it is open in this process, that client is
    /// shared. The configuration must then be equal; its token provider, transport and actions
    /// are replaced by those that are given now.
    ///
    /// # Errors
    /// [`Error::Configuration`] with all problems; [`StorageFault::Locked`] if another process has the file open;
    /// [`StorageFault::TooNew`], [`StorageFault::Corrupt`], [`StorageFault::ReadOnly`], [`StorageFault::Io`]: nothing changed.
    /// [`InputFault::SchemaRefused`] if this device can build no table of the bundled schema.
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
    /// queue stays in the file. Later calls return [`Error::Closed`]. May be called from a
    /// callback.
    ///
    /// # Errors
    /// [`InputFault::Reentrant`] inside the closure of a transaction or of [`Client::read`], which would
    /// wait for itself; the client stays open.
    pub fn shutdown(&self) -> Task<()> {
        let core = Arc::clone(self.core());
        if core.writer.is_current() || core.readers.is_current() {
            return Task::ready(Err(Error::InvalidInput(InputFault::Reentrant)));
        }
        core.end_in_background()
    }

    /// Shuts down every client of this process, as [`Client::shutdown`] does, and waits for at most
    /// `within`. A client that needs longer closes in the background, and opening its file waits.
    ///
    /// For an app whose process goes on after the runtime that uses the clients has ended, as after
    /// a reload of JavaScript. Waits for no code of the app. Errors are logged.
    pub fn shutdown_all(within: Duration) {
        let until = Instant::now() + within;
        let end = |handle: Arc<Handle>| Arc::clone(&handle.core).end_in_background();
        let closing: Vec<_> = all_open(until).into_iter().map(end).collect();
        for task in closing {
            if let Some(Err(error)) = task.wait_until(until) {
                tracing::error!(%error, "a client was not closed");
            }
        }
    }

    /// Opens a file for reading, while another process may have it open: in a widget, an app
    /// extension, a tool. Works offline; syncing is left to the process that writes.
    ///
    /// The file must exist, in the format of this release: open it once with [`Client::open`].
    /// On iOS, close it before the extension is suspended: SQLite keeps a lock on an open file.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, block_on};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("a.db");
    /// # let app = Client::open(Config::new(&path)).wait()?;
    /// # app.schema().create_table("note", "id TEXT PRIMARY KEY").wait()?;
    /// # block_on(async {
    /// let widget = Client::open_read_only(&path).await?;
    /// let mut notes = widget.watch("SELECT id FROM note", (), &[]).await?;
    /// assert!(notes.next().await.unwrap()?.rows.is_empty());
    /// app.execute("INSERT INTO note VALUES ('a')", ()).await?; // In another process, usually.
    /// assert_eq!(notes.next().await.unwrap()?.rows.len(), 1);
    /// widget.shutdown().await?;
    /// # app.shutdown().await
    /// # })?;
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As those of [`Inspection::of`](crate::Inspection::of).
    pub fn open_read_only(path: impl AsRef<Path>) -> Task<ReadOnlyClient> {
        let path = path.as_ref().to_owned();
        in_background("open", move || ReadOnlyClient::open(path))
    }
}

fn open(config: Config, services: Services) -> Result<Client> {
    let Some(folder) = config.temporary_folder.clone() else {
        return open_file(config, services);
    };
    match std::fs::create_dir(&folder) {
        Ok(()) => open_file(config, services).inspect_err(|_| remove(&folder)),
        // The file is open: its client removes the folder.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => open_file(config, services),
        Err(error) => Err(io_error(&error, &folder)),
    }
}

fn io_error(error: &std::io::Error, path: &Path) -> Error {
    Error::Storage(StorageFault::Io(format!("{}: {error}", path.display())))
}

fn open_file(config: Config, services: Services) -> Result<Client> {
    let path = canonical(&config.path)?;
    let place = match enter(&path) {
        OpenedFile::Shared(handle) => return share(handle, &config, services),
        OpenedFile::Free(place) => place,
    };
    let core = Arc::new(Core::open(config, path, services, place)?);
    let handle = Arc::new(Handle { core });
    handle.core.place.opened(&handle);
    Ok(Client { handle })
}

/// The services of the last open are used: those of an earlier one may belong to a part of the app
/// that has ended, as after a reload of JavaScript.
fn share(handle: Arc<Handle>, config: &Config, services: Services) -> Result<Client> {
    let core = &handle.core;
    let differences = core.config.differences(config).into_iter();
    let mut problems: Vec<String> = differences
        .map(|field| format!("{field}: the file is open already, with another value"))
        .collect();
    problems.extend(core.given.missing(&services).into_iter().map(|name| {
        format!("{name}: the file is already open without one; shut that client down first")
    }));
    if !problems.is_empty() {
        return Err(Error::Configuration(problems));
    }
    if let Some(actions) = core.given.replace(services) {
        // Not waited for: the writer may be in a closure that waits for this open. Later calls
        // come after it.
        drop(core.writer.call(move |engine| perform::set_actions(engine, actions, false)));
    }
    Ok(Client { handle })
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
        let given = GivenServices::of(&services);
        let host =
            services.host.unwrap_or_else(|| Arc::new(SystemHost::default()) as Arc<dyn Host>);
        let syncing = Syncing::new(&config, given.transport(), given.tokens(), Arc::clone(&host))?;
        let options = OpenOptions { path: path.clone(), manifest: config.schema.clone() };
        let hub: Arc<Mutex<Weak<Hub>>> = Arc::default();
        let (to_hub, to_syncing) = (Arc::clone(&hub), Arc::downgrade(&syncing));
        let interrupt = Arc::new(InterruptHandle::default());
        let stop = Arc::<ReadStop>::default();
        let (engine_brake, mut upkeep) =
            (Arc::clone(&interrupt), Upkeep::new(config.wal_limit, Arc::clone(&stop)));
        let (engine_host, settings) = (Arc::clone(&host), config.clone());
        let counters = Arc::<Counters>::default();
        let actions = given.actions.clone();
        let streams = StreamBoard::new(&host);
        let to_streams = Arc::clone(&streams);
        let open = move || {
            let mut engine = engine(&options, &engine_host, actions.as_deref())?;
            engine_brake.of(&engine);
            set_up(&mut engine, &settings, &engine_brake)?;
            engine.count_into(Arc::clone(&counters));
            subscription::observe(&mut engine, Arc::clone(&to_streams) as _)?;
            observe_commits(&mut engine, Arc::clone(&to_hub), Weak::clone(&to_syncing));
            Ok(engine)
        };
        let between = move |engine: &mut Engine, idle| upkeep.look(engine, idle);
        let writer = Writer::start_with(open, between).wait()?;
        let beside = || {
            let stored = |engine: &mut Engine| Ok((fact::first_sync(engine)?, engine.left_out()?));
            let (first_sync, left_out) = writer.call_blocking(stored)?;
            syncing.set_stored(first_sync, left_out);
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
            given,
            host,
            writer,
            interrupt,
            readers,
            hub: started,
            syncing,
            streams,
            lifecycle: Mutex::default(),
            turn: Mutex::default(),
            place,
        })
    }
}

/// Sets what the configuration says of the engine.
fn set_up(engine: &mut Engine, config: &Config, interrupt: &Arc<InterruptHandle>) -> Result<()> {
    perform::wait_for_actions(engine, Arc::clone(interrupt) as _, config.transaction_idle);
    engine.set_policies(config.policies.clone())?;
    checkpoint::set_durability(engine, config.durability)?;
    perform::set_action_budget(engine, config.action_budget);
    engine.set_fault_limit(config.server_fault_attempts, config.server_fault_age);
    Ok(())
}

/// Opens an engine with the app's actions. They must match the tables of a bundled schema. A server
/// may have changed the tables since, so a mismatch does not prevent opening.
fn engine(
    options: &OpenOptions,
    host: &Arc<dyn Host>,
    actions: Option<&Latest<Actions>>,
) -> Result<Engine> {
    let mut engine = Engine::open(options, Arc::clone(host))?;
    let Some(actions) = actions else { return Ok(engine) };
    let bundled = options.manifest.as_ref().map(|manifest| manifest.schema_version);
    let present = engine.schema().manifest.as_ref().map(|manifest| manifest.schema_version);
    let is_whole = engine.schema().left_out.parts.is_empty();
    let is_bundled = bundled.is_some() && bundled == present && is_whole;
    perform::set_actions(&mut engine, actions.get(), is_bundled)?;
    Ok(engine)
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
