//! Watched queries: run again only if a commit touched what they read, told only if the result changed (D34).
//!
//! After each commit the writer says which tables it touched. One thread then runs all watches that read them in **one**
//! read transaction, so that what they show agrees, and compares each result with the last, byte by byte. What changed
//! lies ready for its reader; a newer result replaces one that was not fetched yet, so a slow reader gets the latest and
//! never a queue. Callbacks run one after the other on threads of their own, with no lock held: they may call anything,
//! shut the client down too. A callback that takes long delays other callbacks by a second, and nothing else.

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

pub(crate) use change::Listener;
pub(crate) use delivery::{Callback, Cancel, Deliver, Dispatcher};
pub(crate) use hub::{Hub, Query};
use slot::Slot;

/// A watched query: its results as they come. Ends by being dropped, or with its client.
///
/// Made by [`Client::watch`](crate::Client::watch), where the example stands.
pub struct Watch {
    slot: Arc<Slot>,
    /// Whether a subscription goes on with it.
    handed_on: bool,
}

impl Watch {
    pub(crate) fn new(slot: Arc<Slot>) -> Self {
        Self { slot, handed_on: false }
    }

    /// The next result, at once for the first. `None` when the client was shut down.
    ///
    /// An error means that the query failed this time, for instance because its table was dropped; the watch goes on. Whoever
    /// drops the future loses nothing: what came meanwhile is given to the next.
    pub async fn next(&mut self) -> Option<Result<Update>> {
        poll_fn(|context| self.slot.poll(context)).await
    }

    /// Calls `callback` with each result instead, from the first on, until the subscription is dropped.
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

/// Keeps a callback called. Dropping it ends that: no call begins afterwards, one that runs is not waited for.
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
