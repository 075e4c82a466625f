//! The device's side of the log: what the app sees, what waits for the server, and the author's authority (L4).
//!
//! A state machine over a store. It is handed what the app does and what the server says, and gives out the requests to
//! send; when to send them, its driver decides. Each method is one transaction of its caller; after an error the
//! transaction is given up and the replica opened anew. A crash loses what was not committed, and nothing else.

pub mod check;
mod edit;
mod fetch;
mod identity;
mod ledger;
pub mod memory;
mod park;
mod publish;
mod run;
mod snapshot;
pub mod store;
pub mod write;

#[cfg(test)]
pub(crate) mod contract;

use std::sync::Arc;

use super::entry::Revision;
use super::handler::Handlers;
use super::ids::{AuthorId, EntryId, Name};
use super::key::Key;
use super::rebase::Steps;
use super::row::{Image, Placement, RowName};
use super::store::StoreError;
use store::{Facts, ReplicaStore};

/// What the app is told, once each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An action that had succeeded was run again on what is now before it, and refuses: it has no effect, and may have one
    /// again later (L4).
    Refused {
        /// The entry.
        id: EntryId,
        /// The handler's word.
        reason: String,
    },
    /// An action that had refused was run again, and has an effect.
    Succeeded {
        /// The entry.
        id: EntryId,
    },
    /// An action should be run again, and there is no handler of its version: what is recorded stands (D23).
    HandlerMissing {
        /// The entry.
        id: EntryId,
    },
    /// The server denies an entry. It is left out, and waits: retry, edit or discard it.
    Parked {
        /// The entry.
        id: EntryId,
    },
    /// An entry counts later than it was done: the device's clock was ahead, or it was away for longer than the server
    /// keeps its log open (L6).
    Rekeyed {
        /// The entry.
        id: EntryId,
    },
    /// A copy of this database published the entry: it counts once, and is that copy's (L12).
    TakenOver {
        /// The entry.
        id: EntryId,
    },
}

/// Why something cannot be done. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The action refuses.
    #[error("the action refuses: {0}")]
    Refused(String),
    /// There is no such action here.
    #[error("no handler for version {version} of action {action}: register one")]
    NoHandler {
        /// The action.
        action: Name,
        /// Its version.
        version: u32,
    },
    /// The user is no member of every bucket in which the row lies, or would lie.
    #[error("row {} of {} lies, or would lie, in a bucket of which the user is no member", .0.id, .0.table)]
    Outside(RowName),
    /// There is no such entry any more, or not in a state in which that can be done with it.
    #[error("entry {0} is not there, or not parked, or final: look at the list again")]
    NotThere(EntryId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An own entry that is not final, for the app to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The entry.
    pub id: EntryId,
    /// Its place in the order.
    pub key: Key,
    /// The number of its effects.
    pub revision: Revision,
    /// The highest revision that the server is known to hold.
    pub acknowledged: Option<Revision>,
    /// Whether its last run succeeded.
    pub succeeded: bool,
}

/// The log of one database of one device.
#[derive(Debug)]
pub struct Replica<S> {
    store: S,
    handlers: Arc<dyn Handlers>,
    placement: Arc<dyn Placement>,
    facts: Facts,
    steps: Steps,
    /// Whether the feed was seen to its end since the last request to publish (L7).
    at_head: bool,
    /// The number of the request whose answer is wanted. A restart forgets it, and the entries are sent again.
    awaited: Option<u64>,
    events: Vec<Event>,
    /// How often an action was run again since this was opened (L4).
    runs: u64,
}

impl<S: ReplicaStore> Replica<S> {
    /// Begins a log in an empty store. It can be written at once, and takes its first snapshot when there is a network.
    pub fn create(
        mut store: S,
        author: AuthorId,
        handlers: Arc<dyn Handlers>,
        placement: Arc<dyn Placement>,
    ) -> Result<Self, StoreError> {
        store.set_facts(&Facts::new(author))?;
        Self::open(store, handlers, placement)
    }

    /// Goes on with the log in this store. Nothing is run again.
    pub fn open(
        store: S,
        handlers: Arc<dyn Handlers>,
        placement: Arc<dyn Placement>,
    ) -> Result<Self, StoreError> {
        let facts = store.facts()?;
        let facts = facts.ok_or_else(|| StoreError(String::from("it holds no log: create one")))?;
        let mut steps = Steps::default();
        for id in store.ids(&Key::LAST)? {
            if let Some(record) = store.record(id)?.filter(|record| record.counted().is_some()) {
                steps.put(record.key, record.footprint());
            }
        }
        let (at_head, awaited, events, runs) = (false, None, Vec::new(), 0);
        Ok(Self { store, handlers, placement, facts, steps, at_head, awaited, events, runs })
    }

    /// A row, as the app sees it.
    pub fn row(&self, row: &RowName) -> Result<Option<Image>, StoreError> {
        self.store.row(row)
    }

    /// All rows, as the app sees them.
    pub fn rows(&self) -> Result<Vec<(RowName, Image)>, StoreError> {
        self.store.all_rows()
    }

    /// Author, clock, cursor and the like.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the app has not been told yet.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// How often an action was run again since this replica was opened: what late arrivals cost.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// The store: a copy of it is a backup, and what a crash leaves.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store, when the replica is no longer wanted.
    pub fn into_store(self) -> S {
        self.store
    }
}
