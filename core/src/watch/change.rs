//! Listeners for commits: origin, tables and keys.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::delivery::{Callback, Cancel, Deliver, Dispatcher};
use crate::engine::change::{Change, Origin};

/// Maximum number of separate commits for a busy listener; beyond it, keys are dropped.
const KEPT: usize = 256;

/// A listener for commits.
pub(crate) struct Listener {
    itself: Weak<Listener>,
    concern: Concern,
    state: Mutex<State>,
    callback: Callback<Change>,
    dispatcher: Arc<Dispatcher>,
}

/// The commits that a listener receives.
pub(crate) enum Concern {
    /// To any table.
    All,
    /// To one of these tables, in lower case.
    Tables(BTreeSet<String>),
    /// To the queue. One that reads it has read nothing while the client was suspended, and is called after that.
    Queue,
}

#[derive(Default)]
struct State {
    waiting: Vec<Arc<Change>>,
    queued: bool,
}

impl Listener {
    pub(crate) fn new(
        concern: Concern,
        function: Box<dyn FnMut(Change) + Send>,
        dispatcher: Arc<Dispatcher>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            itself: Weak::clone(itself),
            concern,
            state: Mutex::default(),
            callback: Callback::new(function),
            dispatcher,
        })
    }

    /// Whether this change concerns the listener.
    pub(crate) fn wants(&self, change: &Change) -> bool {
        match &self.concern {
            Concern::All => true,
            Concern::Queue => change.queue,
            Concern::Tables(tables) => {
                change.tables.keys().any(|table| tables.contains(&table.to_ascii_lowercase()))
            }
        }
    }

    /// Receives that the queue may have changed, if that concerns the listener.
    pub(crate) fn catch_up(&self) {
        if matches!(self.concern, Concern::Queue) {
            let change = Change { origin: Origin::Local, tables: [].into(), queue: true };
            self.receive(&Arc::new(change));
        }
    }

    /// Queues the change for delivery on the dispatcher's threads.
    pub(crate) fn receive(&self, change: &Arc<Change>) {
        let mut state = self.state();
        state.waiting.push(Arc::clone(change));
        if state.waiting.len() >= KEPT {
            let changes = std::mem::take(&mut state.waiting);
            state.waiting = merge(&changes, false).into_iter().map(Arc::new).collect();
        }
        if !std::mem::replace(&mut state.queued, true) {
            drop(state);
            if let Some(itself) = self.itself.upgrade() {
                self.dispatcher.push(itself);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deliver for Listener {
    fn deliver(&self) {
        let changes = {
            let mut state = self.state();
            state.queued = false;
            std::mem::take(&mut state.waiting)
        };
        for change in merge(&changes, true) {
            self.callback.call(change);
        }
    }
}

impl Cancel for Listener {
    fn cancel(&self) {
        self.callback.cancel();
    }
}

/// Combines the changes that a busy listener missed, into one per origin.
fn merge(changes: &[Arc<Change>], keys: bool) -> Vec<Change> {
    let mut merged: Vec<Change> = Vec::new();
    for change in changes {
        let Some(into) = merged.iter_mut().find(|into| into.origin == change.origin) else {
            let mut first = Change::clone(change);
            if !keys {
                first.tables.values_mut().for_each(|keys| *keys = None);
            }
            merged.push(first);
            continue;
        };
        into.queue |= change.queue;
        for (table, more) in &change.tables {
            let merged_keys =
                into.tables.entry(table.clone()).or_insert_with(|| keys.then(Vec::new));
            match (merged_keys.as_mut(), more) {
                (Some(merged_keys), Some(more)) => merged_keys.extend(more.iter().cloned()),
                _ => *merged_keys = None,
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::change::Origin;
    use crate::value::Value;

    fn change(origin: Origin, table: &str, keys: Option<&[i64]>) -> Arc<Change> {
        let keys = keys.map(|keys| keys.iter().map(|key| Value::from(*key)).collect());
        Arc::new(Change { origin, tables: [(table.to_owned(), keys)].into(), queue: false })
    }

    #[test]
    fn queued_changes_are_merged_per_origin() {
        let changes = [
            change(Origin::Local, "a", Some(&[1])),
            change(Origin::Remote, "a", Some(&[2])),
            change(Origin::Local, "a", Some(&[3])),
            change(Origin::Local, "b", None),
            change(Origin::Remote, "a", None),
        ];
        let merged = merge(&changes, true);
        assert_eq!(merged.len(), 2);
        assert_eq!(merged[0].tables["a"], Some(vec![Value::from(1), Value::from(3)]));
        assert_eq!(merged[0].tables["b"], None);
        assert_eq!(merged[1].tables["a"], None, "unknown keys stay unknown");
        assert!(merge(&changes, false).iter().all(|change| change.tables["a"].is_none()));
    }
}
