//! What a commit changed: reported to observers once per commit, after it.

use std::collections::BTreeMap;

use rejoin_log::ids::EntryId;
use rejoin_log::replica::store::Record;

use crate::engine::row_state::entries::{EntryChanges, WaitingEntry};
use crate::value::Value;

/// The source of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The app, on this device.
    Local,
    /// Sync: server responses, and changes of the queue while it is sent.
    Remote,
}

/// The tables that one commit changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The source of the write.
    pub origin: Origin,
    /// By table: the changed keys, or `None` where only the table is known (local-only tables, bulk
    /// loads, tables that triggers fill). Contains `sqlite_schema` if the schema changed.
    pub tables: BTreeMap<String, Option<Vec<Value>>>,
    /// Whether the queue or any row's sync state changed.
    pub queue: bool,
}

/// What the current transaction has changed so far.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    tables: BTreeMap<String, Option<Vec<Value>>>,
    queue: bool,
    /// Whether statements of the engine wrote rows: the tables that triggers wrote are missing.
    by_engine: bool,
    entries: EntryChanges,
}

impl Touched {
    /// Adds a row of a synced table. A key may be added more than once.
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

    /// Adds a table without keys.
    pub(crate) fn table(&mut self, table: &str) {
        self.tables.insert(table.to_owned(), None);
    }

    /// Marks rows as written by statements of the engine.
    pub(crate) fn by_engine(&mut self) {
        self.by_engine = true;
    }

    /// The tables that statements of the engine may have written.
    pub(crate) fn of_engine(&self) -> impl Iterator<Item = &String> {
        self.tables.keys().filter(|_| self.by_engine)
    }

    /// Marks the queue, or the sync state of a row, as changed.
    pub(crate) fn queue(&mut self) {
        self.queue = true;
    }

    /// Adds an entry of the log that was written, or removed.
    pub(crate) fn entry(&mut self, id: EntryId, record: Option<&Record>) {
        self.entries.insert(id, record.and_then(WaitingEntry::of));
    }

    /// Takes the entries, for the index of row states.
    pub(crate) fn take_entries(&mut self) -> EntryChanges {
        std::mem::take(&mut self.entries)
    }

    /// Takes the change to report, if any, and clears it.
    pub(crate) fn take(&mut self, origin: Origin) -> Option<Change> {
        let Self { tables, queue, .. } = std::mem::take(self);
        (queue || !tables.is_empty()).then_some(Change { origin, tables, queue })
    }
}
