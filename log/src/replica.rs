//! The device side of the log: the rows that the app sees, the pending entries, and re-runs by the
//! author.
//!
//! It is a state machine over a store. It receives writes of the app and responses of the server,
//! and returns the requests to send; its driver decides when to send them. Each method runs in one
//! transaction of its caller. After an error the caller rolls back the transaction and reopens the
//! replica. A crash loses only what was not committed.

pub mod check;
mod edit;
pub mod fetch;
mod ledger;
pub mod memory;
mod park;
pub mod publish;
pub mod repair;
mod run;
pub mod snapshot;
pub mod store;
pub mod write;

#[cfg(any(test, feature = "contract"))]
#[allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, missing_docs)]
pub mod contract;

use std::sync::Arc;

use super::effect::Effects;
use super::entry::Revision;
use super::handler::Handlers;
use super::ids::{AuthorId, EntryId, Name};
use super::key::Key;
use super::row::{LogRow, Placement, RowName};
use super::store::StoreError;
use store::{Authority, Facts, ReplicaStore};

/// A notification for the app, delivered once.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplicaEvent {
    /// An action that had succeeded was run again after a change before it, and now rejects. It has
    /// no effect, but may have one later.
    Refused {
        /// The entry.
        id: EntryId,
        /// The reason from the handler.
        reason: String,
        /// What it did before.
        before: Effects,
    },
    /// An action that had rejected was run again, and has an effect.
    Succeeded {
        /// The entry.
        id: EntryId,
    },
    /// An action must be run again, but there is no handler of its version: its recorded effects
    /// are kept.
    HandlerMissing {
        /// The entry.
        id: EntryId,
    },
    /// The authority has given an own entry other effects.
    Corrected {
        /// The entry.
        id: EntryId,
        /// What it did before, as this device showed it.
        before: Effects,
        /// What it does now, on rows that this user may read.
        after: Effects,
    },
    /// The server denied an entry. It is left out until the app retries, edits or discards it.
    Parked {
        /// The entry.
        id: EntryId,
    },
    /// An entry got a later key: the device's clock was ahead, or the device was offline for longer
    /// than the server's retention.
    Rekeyed {
        /// The entry.
        id: EntryId,
    },
    /// A copy of this database published the entry. It takes effect once and belongs to the copy.
    TakenOver {
        /// The entry.
        id: EntryId,
    },
}

/// Why an operation failed. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The action rejects.
    #[error("the action rejects: {0}")]
    Refused(String),
    /// No handler is registered for this action.
    #[error("no handler for version {version} of action {action}: register one")]
    NoHandler {
        /// The action.
        action: Name,
        /// Its version.
        version: u32,
    },
    /// The user is not a member of every bucket of the row, before or after the write.
    #[error("row {} of {} is, or would be, in a bucket of which the user is not a member", .0.id, .0.table)]
    Outside(RowName),
    /// There is no such entry, or its state does not allow the operation.
    #[error("entry {0} does not exist, is not parked, or is final: list the entries again")]
    NotThere(EntryId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An own entry that is not final, as shown to the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEntry {
    /// The entry.
    pub id: EntryId,
    /// Its key.
    pub key: Key,
    /// The revision of its effects.
    pub revision: Revision,
    /// The highest revision known to be on the server.
    pub acknowledged: Option<Revision>,
    /// Whether its last run succeeded.
    pub succeeded: bool,
}

/// A replica without its store, between two transactions: bounded, whatever the log holds.
///
/// After a rollback continue with a copy made before, or [`load`](Self::load) it again.
#[derive(Debug, Clone)]
pub struct ReplicaState {
    facts: Facts,
    at_head: bool,
    awaited: Option<u64>,
    events: Vec<ReplicaEvent>,
    runs: u64,
}

impl ReplicaState {
    /// Reads the state from the store; no entry is read.
    pub fn load<S: ReplicaStore>(store: &S) -> Result<Self, StoreError> {
        let facts = store.facts()?;
        let facts =
            facts.ok_or_else(|| StoreError(String::from("the store has no log: create one")))?;
        Ok(Self { facts, at_head: false, awaited: None, events: Vec::new(), runs: 0 })
    }
}

/// The log of one database of one device.
#[derive(Debug)]
pub struct Replica<S> {
    store: S,
    handlers: Arc<dyn Handlers>,
    placement: Arc<dyn Placement>,
    facts: Facts,
    /// Whether the feed was fetched to its end since the last publish request.
    at_head: bool,
    /// The number of the request whose response is awaited. It is lost in a restart, and the
    /// entries are sent again.
    awaited: Option<u64>,
    events: Vec<ReplicaEvent>,
    /// Number of re-runs since this was opened.
    runs: u64,
}

impl<S: ReplicaStore> Replica<S> {
    /// Creates a log in an empty store. It accepts writes at once, and takes its first snapshot
    /// when online.
    pub fn create(
        mut store: S,
        author: AuthorId,
        handlers: Arc<dyn Handlers>,
        placement: Arc<dyn Placement>,
    ) -> Result<Self, StoreError> {
        store.set_facts(&Facts::new(author))?;
        Self::open(store, handlers, placement)
    }

    /// Opens the log in this store. Runs no action, and reads no entry.
    pub fn open(
        store: S,
        handlers: Arc<dyn Handlers>,
        placement: Arc<dyn Placement>,
    ) -> Result<Self, StoreError> {
        let state = ReplicaState::load(&store)?;
        Ok(Self::from_parts(store, state, handlers, placement))
    }

    /// Continues with the state of the last transaction, over the same log.
    pub fn from_parts(
        store: S,
        state: ReplicaState,
        handlers: Arc<dyn Handlers>,
        placement: Arc<dyn Placement>,
    ) -> Self {
        let ReplicaState { facts, at_head, awaited, events, runs } = state;
        Self { store, handlers, placement, facts, at_head, awaited, events, runs }
    }

    /// The store, and what the next transaction needs.
    pub fn into_parts(self) -> (S, ReplicaState) {
        let Self { store, facts, at_head, awaited, events, runs, .. } = self;
        (store, ReplicaState { facts, at_head, awaited, events, runs })
    }

    /// Whether the feed has shown that another database uses this author id. Nothing is published
    /// until this database has a new author id.
    pub fn needs_new_author(&self) -> bool {
        self.facts.copied
    }

    /// Continues as a newly registered author, after the feed has been fetched to its end.
    ///
    /// Entries of the old author on the server are kept, and folded like those of other authors.
    /// Entries that the server lacks continue under the new author with the same ids, in the old
    /// order, above all keys seen. If a copy does the same, the first to publish an entry owns it,
    /// and it takes effect once.
    pub fn become_author(&mut self, author: AuthorId, wall: u64) -> Result<(), StoreError> {
        // The pages so far show other entries as own ones.
        snapshot::start_over(self)?;
        let mut edit = self.edit();
        edit.facts.author = author;
        edit.facts.copied = false;
        for id in self.store.own_ids()? {
            let Some(mut record) = self.store.record(id)? else { continue };
            let Some(own) = &mut record.own else { continue };
            if record.item.is_some() {
                record.own = None;
            } else if own.acknowledged.is_some() {
                own.authority = Authority::Frozen;
            } else {
                record.key = edit.facts.clock.stamp(wall, author, id);
                edit.change.run.extend(record.is_replay().then_some(record.key));
                edit.events.push(ReplicaEvent::Rekeyed { id });
            }
            self.set(&mut edit, id, Some(record))?;
        }
        self.at_head = false;
        self.awaited = None;
        self.commit(edit)
    }

    /// A row, as the app sees it.
    pub fn row(&self, row: &RowName) -> Result<Option<LogRow>, StoreError> {
        self.store.row(row)
    }

    /// All rows, as the app sees them.
    pub fn rows(&self) -> Result<Vec<(RowName, LogRow)>, StoreError> {
        self.store.all_rows()
    }

    /// Author, clock, cursor and the like.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The notifications that the app has not taken yet.
    pub fn take_events(&mut self) -> Vec<ReplicaEvent> {
        std::mem::take(&mut self.events)
    }

    /// Number of re-runs since this replica was opened: the cost of late entries.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// The store: a copy of it is a backup, or the state after a crash.
    pub fn store(&self) -> &S {
        &self.store
    }
}
