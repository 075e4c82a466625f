//! How mutations ended, told until the app has said that it knows.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Client;
use crate::engine::change::{Change, Origin};
use crate::engine::queue::verdict::Verdicts;
use crate::watch::{Listener, Subscription};
use crate::writer::Answer;

/// Verdicts that one call tells at most.
const TOGETHER: usize = 100;

impl Client {
    /// How mutations ended that the app has not acknowledged, oldest first, at most `most`. Each end of each attempt is one
    /// entry, in the file since the moment when it came: no crash and no restart loses one.
    ///
    /// The newest 10,000 are kept for an app that never asks; [`Verdicts::missed`] says how many went.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn verdicts(&self, most: usize) -> Answer<Verdicts> {
        self.core().writer.call(move |engine| engine.verdicts(0, most))
    }

    /// The app has dealt with the verdicts up to this [`number`](crate::VerdictEntry::number): they are not told again, by nobody.
    ///
    /// # Errors
    /// Those of writing the file.
    pub fn acknowledge_verdicts(&self, through: i64) -> Answer<()> {
        self.core().writer.call(move |engine| engine.acknowledge_verdicts(through))
    }

    /// Calls `callback` with the verdicts that are not acknowledged, and then with new ones as they come, each once, until the
    /// subscription is dropped or the client shuts down, which drops `callback`. What was not acknowledged by then is told again
    /// to the next subscription, and after the next start: at least once.
    pub fn watch_verdicts(
        &self,
        mut callback: impl FnMut(Verdicts) + Send + 'static,
    ) -> Subscription {
        let core = Arc::downgrade(self.core());
        let mut told = 0;
        let tell = move |change: Change| {
            if !change.queue {
                return;
            }
            loop {
                let Some(writer) = core.upgrade().map(|core| core.writer.clone()) else { return };
                let news = writer.call(move |engine| engine.verdicts(told, TOGETHER)).wait();
                // While the client is suspended nothing comes; the next commit asks again.
                let Some(news) = news.ok().filter(|news| !news.entries.is_empty()) else { return };
                let last = news.entries.last().map_or(told, |entry| entry.number);
                callback(news);
                told = last;
            }
        };
        let dispatcher = Arc::clone(&self.core().hub.dispatcher);
        let listener = Listener::new(BTreeSet::new(), Box::new(tell), dispatcher);
        let subscription = self.listening(&listener);
        let first = Change { origin: Origin::Local, tables: [].into(), queue: true };
        listener.hear(&Arc::new(first));
        subscription
    }
}
