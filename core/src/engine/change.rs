//! What a commit changed: told once per commit, after it, to whoever watches.

use std::collections::BTreeMap;

use crate::value::Value;

/// Who wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The app, on this device.
    Local,
    /// The exchange with a server: its answers, and what becomes of the queue as it is sent.
    Remote,
}

/// The tables that one commit touched.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Who wrote.
    pub origin: Origin,
    /// By table: the keys that were touched, or `None` where only the table is known (local-only tables, bulk loads). `sqlite_schema` is among
    /// them when the app changed the schema.
    pub tables: BTreeMap<String, Option<Vec<Value>>>,
    /// Whether the queue or any row's sync state changed.
    pub queue: bool,
}

/// What the present transaction has touched so far.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    tables: BTreeMap<String, Option<Vec<Value>>>,
    queue: bool,
}

impl Touched {
    /// A row of a synced table. A key may be named more than once.
    pub(crate) fn row(&mut self, table: &str, key: Value) {
        match self.tables.get_mut(table) {
            Some(Some(keys)) => {
                if keys.last() != Some(&key) {
                    keys.push(key);
                }
            }
            Some(None) => {}
            None => {
                self.tables.insert(table.to_owned(), Some(vec![key]));
            }
        }
    }

    /// A table of which no rows are known.
    pub(crate) fn table(&mut self, table: &str) {
        self.tables.insert(table.to_owned(), None);
    }

    /// The queue, or some row's sync state.
    pub(crate) fn queue(&mut self) {
        self.queue = true;
    }

    /// What there is to tell, if anything; begins anew.
    pub(crate) fn take(&mut self, origin: Origin) -> Option<Change> {
        let Self { tables, queue } = std::mem::take(self);
        (queue || !tables.is_empty()).then_some(Change { origin, tables, queue })
    }
}
