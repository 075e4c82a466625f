//! The public client: the local database and its sync driver.
//!
//! A [`Client`] is one open file. It owns a writer thread with the engine, a pool of readers, a
//! thread that updates watched queries, a callback thread, and the sync driver. Clones share one
//! client. Every method that may touch the disk starts its work at the call and returns a future
//! that needs no runtime. Dropping the future does not cancel the work. Reads see the last
//! committed state and never wait for writes.
//!
//! Writes are implemented in [`crate::engine`], syncing in [`crate::sync`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::config::Config;
use crate::error::Result;
use crate::host::Host;
use crate::readers::Readers;
use crate::sync::status::{SyncStatus, Transition};
use crate::watch::{Hub, Subscription};
use crate::writer::{Task, Writer};

mod decide;
mod files;
mod handles;
mod held;
mod history;
#[cfg(feature = "synchro-import")]
mod import;
mod lifecycle;
mod listener;
mod open;
mod queue;
mod read;
mod read_only;
mod repair;
mod reset;
mod services;
mod streams;
mod syncing;
mod table;
mod typed;
mod upkeep;
mod verdicts;
mod write;

pub use handles::{QueueHandle, SchemaHandle, StorageHandle, SyncHandle};
pub use held::{AsyncAction, HeldContext, HeldSnapshot, HeldTransaction};
pub use queue::{PendingColumn, PendingMutation, PendingRow};
pub(crate) use queue::{pending_of, to_pending, to_pending_rows};
pub use read::Snapshot;
pub use read_only::ReadOnlyClient;
pub use reset::Reset;
pub use services::Services;
pub use streams::{StreamSubscription, Subscribe};
pub use write::Transaction;

use lifecycle::{InterruptHandle, Lifecycle};
use streams::StreamBoard;
use syncing::Syncing;

/// An open database that syncs with a server.
///
/// ```
/// use rejoin_core::{Client, Config, block_on};
///
/// # fn main() -> rejoin_core::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let client = Client::open(Config::new(folder.path().join("notes.db"))).wait()?;
/// block_on(async {
///     client.execute("CREATE TABLE note (id TEXT PRIMARY KEY, body TEXT)", ()).await?;
///     client.execute("INSERT INTO note VALUES (?, ?)", ("a", "hello")).await?;
///     let rows = client.query("SELECT body FROM note", ()).await?;
///     assert_eq!(rows.row(0).unwrap().get::<&str>("body")?, "hello");
///     client.shutdown().await
/// })
/// # }
/// ```
///
/// Dropping the last clone shuts the client down in the background; [`Client::shutdown`] waits for it.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// Shuts the client down when the last clone is dropped.
pub(crate) struct Handle {
    core: Arc<Core>,
}

/// State shared by all clones and by the threads that close the client.
pub(crate) struct Core {
    config: Config,
    /// Canonical.
    path: PathBuf,
    given: services::GivenServices,
    host: Arc<dyn Host>,
    writer: Writer,
    /// Interrupts the engine.
    interrupt: Arc<InterruptHandle>,
    readers: Readers,
    hub: Arc<Hub>,
    syncing: Arc<Syncing>,
    streams: Arc<StreamBoard>,
    lifecycle: Mutex<Lifecycle>,
    turn: Mutex<()>,
    /// Must be the last field: the file can be opened again once the other fields are dropped.
    place: files::OpenFile,
}

impl Client {
    /// The canonical path of the file.
    pub fn path(&self) -> &Path {
        &self.core().path
    }

    /// The configuration that this client was opened with.
    pub fn config(&self) -> &Config {
        &self.core().config
    }

    /// The queue of this client.
    pub fn queue(&self) -> QueueHandle<'_> {
        QueueHandle(self)
    }

    /// Synchronization with the server.
    pub fn sync(&self) -> SyncHandle<'_> {
        SyncHandle(self)
    }

    /// The app's own tables and indexes.
    pub fn schema(&self) -> SchemaHandle<'_> {
        SchemaHandle(self)
    }

    /// The database file.
    pub fn storage(&self) -> StorageHandle<'_> {
        StorageHandle(self)
    }

    /// Starts syncing in the background: immediately, after local writes, on server events, and at
    /// each interval. Offline is a status, not an error; local work does not need a network.
    ///
    /// # Errors
    /// [`InputFault::Refused`](crate::InputFault::Refused) without a `server`; [`Error::Suspended`](crate::Error::Suspended), [`Error::Closed`](crate::Error::Closed).
    /// Starting twice is no error.
    pub fn start(&self) -> Result<()> {
        self.core().driven(|_| ())
    }

    /// Stops syncing; local work continues and writes wait. A running request is aborted, as in a
    /// crash.
    ///
    /// # Errors
    /// None; stopping twice is no error.
    pub fn stop(&self) -> Task<()> {
        self.core().syncing.stop()
    }

    /// The sync status.
    pub fn status(&self) -> SyncStatus {
        self.core().syncing.status()
    }

    /// Calls `callback` with the current status and after each change. It ends, and drops
    /// `callback`, when the subscription is dropped or the client shuts down. Changes during a call
    /// are combined: the next call gets the latest status.
    pub fn on_status(&self, callback: impl FnMut(SyncStatus) + Send + 'static) -> Subscription {
        self.core().on_status(Box::new(callback))
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.core().writer
    }

    pub(crate) fn transitions(&self) -> Vec<Transition> {
        self.core().syncing.transitions()
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("path", &self.core().path).finish_non_exhaustive()
    }
}
