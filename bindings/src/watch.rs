//! A watched query, pulled: whoever watches asks for the next result, so nothing is called back and nothing piles up.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{self, FutureExt as _};
use futures_util::lock::Mutex;
use futures_util::stream::{self, AbortHandle, Abortable, BoxStream, StreamExt as _};
use rejoin_core::{Difference, Update, Watch};

use crate::elsewhere;
use crate::error::{RejoinError, Result};
use crate::value::bytes;
use crate::value::small;

/// How a result differs from the one that was given before it. Rows are named by their places, from 0.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct RowDifference {
    /// Rows of this result whose key was not there before; all of them the first time.
    pub added: Vec<u32>,
    /// Rows of this result whose key was there with other values.
    pub changed: Vec<u32>,
    /// Rows of the result before whose key is not there any more.
    pub removed: Vec<u32>,
}

/// A new result of a watched query.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct WatchUpdate {
    /// The whole result, as a row buffer.
    pub rows: Vec<u8>,
    /// Against the result that `next` gave before; nothing where no key was named.
    pub difference: Option<RowDifference>,
}

/// A watched query. Ends by being cancelled, or with its client.
#[derive(uniffi::Object)]
pub struct QueryWatch {
    /// Gone when it was cancelled, so that the query is not run for nobody.
    updates: Mutex<Option<Abortable<Updates>>>,
    ending: AbortHandle,
    /// Nobody is given a result any more, although the query may not be gone yet.
    is_cancelled: AtomicBool,
}

type Updates = BoxStream<'static, rejoin_core::Result<Update>>;

impl QueryWatch {
    pub(crate) fn new(
        begun: impl Future<Output = rejoin_core::Result<Watch>> + Send + 'static,
    ) -> Self {
        let updates = begun.map(|begun| match begun {
            Ok(watch) => watch.left_stream(),
            Err(error) => stream::once(future::ready(Err(error))).right_stream(),
        });
        let (updates, ending) = stream::abortable(updates.flatten_stream().boxed());
        Self { updates: Mutex::new(Some(updates)), ending, is_cancelled: AtomicBool::new(false) }
    }

    async fn pull(&self) -> Option<rejoin_core::Result<Update>> {
        if self.is_cancelled.load(Ordering::Acquire) {
            return None;
        }
        let update = self.updates.lock().await.as_mut()?.next().await;
        update.filter(|_| !self.is_cancelled.load(Ordering::Acquire))
    }

    /// Lets go of a cancelled query, unless somebody is pulling: then they do when they are done.
    fn sweep(&self) {
        if self.ending.is_aborted()
            && let Some(mut updates) = self.updates.try_lock()
        {
            *updates = None;
        }
    }
}

#[uniffi::export]
impl QueryWatch {
    /// The next result: at once for the first, then when it has changed. Nothing when the watch was cancelled, or the client
    /// shut down.
    ///
    /// Whoever is slow gets the latest result, and none that it has already. An error means that the query failed this time, for
    /// instance because its table was dropped; the watch goes on. One waits at a time: a second call waits for the first.
    /// Do not wait for a part of the time and then give up: a result that arrives just then is lost. Use `cancel`.
    pub async fn next(&self) -> Result<Option<WatchUpdate>> {
        let update = self.pull().await;
        self.sweep();
        update.transpose()?.map(WatchUpdate::try_from).transpose()
    }

    /// Ends it, and whoever waits in `next`. Cancelling twice is no error.
    pub fn cancel(self: Arc<Self>) {
        if !self.is_cancelled.swap(true, Ordering::AcqRel) {
            // Whoever waits in `next` is woken by this.
            elsewhere::soon(move || {
                self.ending.abort();
                self.sweep();
            });
        }
    }
}

impl From<Difference> for RowDifference {
    fn from(difference: Difference) -> Self {
        let places =
            |rows: Vec<usize>| rows.into_iter().map(|row| small(row as u64)).collect::<Vec<_>>();
        Self {
            added: places(difference.added),
            changed: places(difference.changed),
            removed: places(difference.removed),
        }
    }
}

impl TryFrom<Update> for WatchUpdate {
    type Error = RejoinError;

    fn try_from(update: Update) -> Result<Self> {
        let difference = update.difference.map(RowDifference::from);
        Ok(Self { rows: bytes(&update.rows)?, difference })
    }
}

impl fmt::Debug for QueryWatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("QueryWatch").finish_non_exhaustive()
    }
}
