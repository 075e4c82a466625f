//! Delivery of verdicts, repeated until the app acknowledges them.

use std::sync::Arc;
use std::time::Duration;

use super::QueueHandle;
use crate::engine::change::Change;
use crate::engine::queue::verdict::Verdicts;
use crate::ids::MutationId;
use crate::sync::driver::Verdict;
use crate::watch::{Concern, Listener, Subscription};
use crate::writer::Task;

/// Maximum number of verdicts per callback.
const BATCH: usize = 100;

impl QueueHandle<'_> {
    /// Waits for the server's verdict on a mutation of [`QueueHandle::pending`]. *Accepted* means that
    /// the server has it and the rows show it. Starts syncing if it is not started.
    ///
    /// # Errors
    /// [`SyncFault::Offline`](crate::SyncFault::Offline) after `timeout`; without one it waits for a network. The mutation stays
    /// in the queue. Those of [`Client::start`](crate::Client::start).
    pub fn verdict(&self, id: MutationId, timeout: Option<Duration>) -> Task<Verdict> {
        let writer = self.0.core().writer.clone();
        self.0.core().driven_task(|driver| driver.verdict(&writer, id, timeout))
    }

    /// The verdicts that the app has not acknowledged, oldest first, at most `limit`. Each end of
    /// each attempt is one entry; it is stored with the verdict and survives a crash.
    ///
    /// The newest 10,000 are kept; [`Verdicts::missed`] is the number of dropped ones.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn verdicts(&self, limit: usize) -> Task<Verdicts> {
        self.0.core().writer.call(move |engine| engine.verdicts(0, limit))
    }

    /// Acknowledges the verdicts up to this [`number`](crate::VerdictEntry::number); they are not
    /// delivered again.
    ///
    /// # Errors
    /// Those of writing the file.
    pub fn acknowledge_verdicts(&self, through: i64) -> Task<()> {
        self.0.core().writer.call(move |engine| engine.acknowledge_verdicts(through))
    }

    /// Calls `callback` with the unacknowledged verdicts, and then with each new one once. It ends,
    /// and drops `callback`, when the subscription is dropped or the client shuts down.
    /// Unacknowledged verdicts are delivered again to the next subscription, also after a restart:
    /// at least once.
    pub fn watch_verdicts(
        &self,
        mut callback: impl FnMut(Verdicts) + Send + 'static,
    ) -> Subscription {
        let core = Arc::downgrade(self.0.core());
        let mut delivered = 0;
        let deliver_new = move |_: Change| {
            loop {
                let Some(writer) = core.upgrade().map(|core| core.writer.clone()) else { return };
                let news = writer.call(move |engine| engine.verdicts(delivered, BATCH)).wait();
                // Nothing is read while the client is suspended; its end and the next commit read again.
                let Some(news) = news.ok().filter(|news| !news.entries.is_empty()) else { return };
                let last = news.entries.last().map_or(delivered, |entry| entry.number);
                callback(news);
                delivered = last;
            }
        };
        let dispatcher = Arc::clone(&self.0.core().hub.dispatcher);
        let listener = Listener::new(Concern::Queue, Box::new(deliver_new), dispatcher);
        let subscription = self.0.listening(&listener);
        listener.catch_up();
        subscription
    }
}
