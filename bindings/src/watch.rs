//! Watched queries. The app requests each result, so results neither call back nor accumulate.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{self, FutureExt as _};
use futures_util::lock::Mutex;
use futures_util::stream::{self, AbortHandle, Abortable, BoxStream, StreamExt as _};
use rejoin_core::{Difference, Update, Watch};
use rejoin_ffi_bytes::FfiBytes;

use crate::elsewhere;
use crate::error::{RejoinError, Result};
use crate::value::bytes;
use crate::value::small;

/// The difference to the previous result. Rows are identified by index, from 0.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct RowDifference {
    /// Rows of this result whose key is new; all rows the first time.
    pub added: Vec<u32>,
    /// Rows of this result whose key existed with other values.
    pub changed: Vec<u32>,
    /// Rows of the previous result whose key is gone.
    pub removed: Vec<u32>,
}

/// A new result of a watched query.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct WatchUpdate {
    /// The whole result, as a row buffer.
    pub rows: FfiBytes,
    /// The difference to the previous result of `next`; nothing without a key.
    pub difference: Option<RowDifference>,
}

/// A watched query. It ends when cancelled, or with its client.
#[derive(uniffi::Object)]
pub struct QueryWatch {
    /// Removed on cancel, so that the query does not run any more.
    updates: Mutex<Option<Abortable<Updates>>>,
    ending: AbortHandle,
    /// No more results are returned, although the query may not be removed yet.
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

    /// Removes a cancelled query, unless a call of `next` is running: then that call removes it.
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
    /// The next result: immediately for the first, then after a change. Nothing after a cancel or
    /// shutdown.
    ///
    /// A slow caller gets the latest result only. An error means that the query failed this time,
    /// for example because its table was dropped; the watch continues. A second concurrent call
    /// waits for the first. Do not abandon a call after a timeout: a result may be lost. Use
    /// `cancel`.
    pub async fn next(&self) -> Result<Option<WatchUpdate>> {
        let update = self.pull().await;
        self.sweep();
        update.transpose()?.map(WatchUpdate::try_from).transpose()
    }

    /// Ends the watch and a waiting `next`. Cancelling twice is no error.
    pub fn cancel(self: Arc<Self>) {
        if !self.is_cancelled.swap(true, Ordering::AcqRel) {
            // This wakes a waiting `next`.
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
