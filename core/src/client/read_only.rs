//! A file that another process writes, opened for reading: in a widget, an app extension, a tool.
//!
//! It takes part in no lock between processes and writes nothing. Commits of the other process are
//! noticed within [`INTERVAL`].

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::lifecycle::{connections, in_background};
use super::read::{Snapshot, many, watch};
use crate::engine::follow::Follower;
use crate::engine::{ReadStop, Reader};
use crate::error::{Error, InputFault, Result};
use crate::host::SystemHost;
use crate::params::IntoParams;
use crate::readers::Readers;
use crate::row_buffer::RowBuffer;
use crate::runtime;
use crate::value::Value;
use crate::watch::{Dispatcher, Hub, Watch};
use crate::writer::Task;

/// Time between two looks for a commit of the other process.
const INTERVAL: Duration = Duration::from_millis(250);

/// Read connections, besides the one of the watched queries.
const READERS: u32 = 2;

/// A file opened by [`Client::open_read_only`](crate::Client::open_read_only). Clones share it. When the last one is dropped, watches
/// end, and the file closes after the calls that run.
#[derive(Debug, Clone)]
pub struct ReadOnlyClient {
    opened: Arc<Opened>,
}

struct Opened {
    path: PathBuf,
    readers: Readers,
    followed: Arc<Followed>,
    /// Its end ends the thread that looks for commits.
    _looks: Sender<()>,
}

/// The other process's commits, and the watched queries that run again after them.
struct Followed {
    /// `None` after the shutdown.
    follower: Mutex<Option<Follower>>,
    hub: Arc<Hub>,
}

impl ReadOnlyClient {
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let host = Arc::new(SystemHost::default());
        let (file, mut engine) = Follower::open(&path, host)?;
        let (first, rest) = connections(&mut engine, READERS)?;
        let readers = Readers::new(rest, Arc::<ReadStop>::default())?;
        let hub = Hub::start(first, Dispatcher::start()?)?;
        let followed = Arc::new(Followed { follower: Mutex::new(Some(file)), hub });
        let (looks, ends) = channel();
        let follows = Arc::downgrade(&followed);
        let opened = Arc::new(Opened { path, readers, followed, _looks: looks });
        runtime::thread("follow", move || follow(&follows, &ends))?;
        Ok(Self { opened })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.opened.path
    }

    /// The rows of a query, from the last commit of any process.
    ///
    /// # Errors
    /// As [`Client::query`](crate::Client::query).
    pub fn query(&self, sql: &str, params: impl IntoParams) -> Task<RowBuffer> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.call(move |reader| reader.rows(&sql, &params))
    }

    /// Runs several queries with their parameters on one state.
    ///
    /// # Errors
    /// As [`Client::query_many`](crate::Client::query_many).
    pub fn query_many(&self, queries: Vec<(String, Vec<Value>)>) -> Task<Vec<RowBuffer>> {
        self.call(move |reader| many(reader, queries))
    }

    /// Runs several queries on one state, each after the result of the one before.
    ///
    /// # Errors
    /// As [`Client::read`](crate::Client::read).
    pub fn read<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Snapshot<'_>) -> Result<T> + Send + 'static,
    ) -> Task<T> {
        self.call(|reader| reader.snapshot(|reader| body(&mut Snapshot { reader })))
    }

    /// Watches a query as [`Client::watch`](crate::Client::watch) does. Each watched query runs again after a commit to
    /// any table, and delivers only if its rows changed.
    ///
    /// # Errors
    /// As [`Client::watch`](crate::Client::watch).
    pub fn watch(
        &self,
        sql: &str,
        params: impl IntoParams,
        key: &[&str],
    ) -> impl Future<Output = Result<Watch>> + Send + 'static {
        watch(&self.opened.followed.hub, sql, params, key)
    }

    /// Ends reads and watches, and closes the file; completes when no connection is open.
    ///
    /// # Errors
    /// [`InputFault::Reentrant`] inside the closure of [`ReadOnlyClient::read`]. Closing twice is no
    /// error.
    pub fn shutdown(&self) -> Task<()> {
        if self.opened.readers.is_current() {
            return Task::ready(Err(InputFault::Reentrant.into()));
        }
        let opened = Arc::clone(&self.opened);
        in_background("shutdown", move || {
            let (readers, watches) = opened.end();
            readers.wait()?;
            match watches.wait() {
                Err(Error::Closed) => Ok(()),
                done => done,
            }
        })
    }

    fn call<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Reader) -> Result<T> + Send + 'static,
    ) -> Task<T> {
        let opened = Arc::clone(&self.opened); // Open until the call ends.
        self.opened.readers.call(move |reader| {
            opened.followed.look()?; // So that the states of rows are not older than the rows.
            body(reader)
        })
    }
}

impl Opened {
    fn end(&self) -> (Task<()>, Task<()>) {
        let hub = &self.followed.hub;
        let ended = (self.readers.shutdown(), hub.shutdown());
        hub.dispatcher.shutdown();
        drop(self.followed.follower().take()); // It has a connection of its own.
        ended
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        drop(self.end());
    }
}

impl Followed {
    fn follower(&self) -> MutexGuard<'_, Option<Follower>> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the watched queries again if there is a new commit.
    fn look(&self) -> Result<()> {
        if self.follower().as_mut().ok_or(Error::Closed)?.refresh()? {
            self.hub.committed_elsewhere();
        }
        Ok(())
    }
}

/// Looks for commits until the client is shut down.
fn follow(followed: &Weak<Followed>, ends: &Receiver<()>) {
    while let Err(RecvTimeoutError::Timeout) = ends.recv_timeout(INTERVAL) {
        let Some(followed) = followed.upgrade() else { return };
        match followed.look() {
            Err(Error::Closed) => return,
            Err(error) => tracing::warn!(%error, "looking for commits; tried again"),
            Ok(()) => {}
        }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Opened").field("path", &self.path).finish_non_exhaustive()
    }
}
