//! Watched queries: run again only after a commit to their tables, delivered only if changed.
//!
//! After each commit, one thread runs all affected watches in **one** read transaction, so that
//! their results agree, and compares each result with the last, byte by byte. A changed result is
//! stored for its reader and replaces one that was not fetched, so a slow reader gets only the
//! latest. Callbacks run one at a time on their own threads without locks: they may call anything,
//! including shutdown. A slow callback delays other callbacks by at most a second.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;

use crate::error::Result;

mod change;
mod delivery;
mod difference;
mod hub;
mod slot;

pub use difference::{Difference, Update};

pub(crate) use change::{Concern, Listener};
pub(crate) use delivery::{Callback, Cancel, Deliver, Dispatcher};
pub(crate) use hub::{Hub, Query};
use slot::Slot;

/// A watched query with its results. It ends when dropped, or with its client.
///
/// Created by [`Client::watch`](crate::Client::watch), which has an example.
pub struct Watch {
    slot: Arc<Slot>,
    /// Whether a subscription has taken over.
    handed_on: bool,
}

impl Watch {
    pub(crate) fn new(slot: Arc<Slot>) -> Self {
        Self { slot, handed_on: false }
    }

    /// The next result, immediately for the first. `None` after shutdown.
    ///
    /// An error means that the query failed this time, for example because its table was dropped;
    /// the watch continues. Dropping the future loses nothing: the next call returns the result.
    pub async fn next(&mut self) -> Option<Result<Update>> {
        poll_fn(|context| self.slot.poll(context)).await
    }

    /// Calls `callback` with each result, from the first on, until the subscription is dropped.
    pub fn each(mut self, callback: impl FnMut(Result<Update>) + Send + 'static) -> Subscription {
        self.handed_on = true;
        self.slot.deliver_to(Box::new(callback));
        Subscription::new(Arc::clone(&self.slot) as Arc<dyn Cancel>)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.handed_on {
            self.slot.cancel();
        }
    }
}

impl Stream for Watch {
    type Item = Result<Update>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.slot.poll(context)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// Keeps a callback registered. Dropping it ends that: no new call starts, a running one is not
/// awaited.
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    what: Arc<dyn Cancel>,
}

impl Subscription {
    pub(crate) fn new(what: Arc<dyn Cancel>) -> Self {
        Self { what }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.what.cancel();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Subscription").finish_non_exhaustive()
    }
}
