//! What an app holds: the local database, and beside it the syncing.
//!
//! A [`Client`] is one open file: a writer's thread with the engine inside, a pool of readers, a thread that keeps watched
//! queries current, one that calls back, and the driver of the syncing. Clones are the same client. Every method that may
//! touch the disk gives a future that needs no runtime: work begins when the method is called, and dropping the future
//! only means not to hear of the end. Reads see the last committed state and never wait for writes.
//!
//! This module only divides the work; what writing means stands in [`crate::engine`], syncing in [`crate::sync`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::config::Config;
use crate::host::Host;
use crate::readers::Readers;
use crate::sync::status::Transition;
use crate::watch::Hub;
use crate::writer::Writer;

mod decide;
mod files;
mod held;
mod history;
#[cfg(feature = "synchro-import")]
mod import;
mod open;
mod queue;
mod read;
mod reset;
mod syncing;
mod table;
mod upkeep;
mod verdicts;
mod write;

pub use held::{AsyncAction, HeldContext, HeldSnapshot, HeldTransaction};
pub use open::Services;
pub use queue::{Pending, PendingColumn, PendingRow};
pub(crate) use queue::{pending_of, to_pending, to_pending_rows};
pub use read::Snapshot;
pub use reset::Reset;
pub use write::Transaction;

use open::{Brake, Lifecycle};
use syncing::Syncing;

/// An open database that keeps itself in step with a server.
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

/// The last of these ends the client.
pub(crate) struct Handle {
    core: Arc<Core>,
}

/// What all clones, and the threads that close it, share.
pub(crate) struct Core {
    config: Config,
    /// Canonical.
    path: PathBuf,
    brought: open::Brought,
    host: Arc<dyn Host>,
    writer: Writer,
    /// Ends what the engine is running.
    brake: Arc<Brake>,
    readers: Readers,
    hub: Arc<Hub>,
    syncing: Arc<Syncing>,
    lifecycle: Mutex<Lifecycle>,
    turn: Mutex<()>,
    /// Last: the file can be opened again when all else of it is gone.
    place: files::Place,
}

impl Client {
    /// The file, by its canonical name.
    pub fn path(&self) -> &Path {
        &self.core().path
    }

    /// The configuration that it was opened with.
    pub fn config(&self) -> &Config {
        &self.core().config
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
