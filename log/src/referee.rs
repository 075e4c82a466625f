//! The referee (L5): a client with every bucket and the handlers, which judges entries while their authors are away.
//!
//! It runs an entry as its author, on the rows that lie in his buckets, and corrects what the run does not bear out; the
//! server takes the correction if the content is still the one that was read. It writes nothing of its own. Underneath
//! it is a replica: it runs again only what something before it has changed (L4), so it ends as the authors do.

use std::sync::Arc;

use super::handler::Handlers;
use super::ids::AuthorId;
use super::key::Key;
use super::message::{Correct, Correction, Fetch, Fetched, Snapshot};
use super::replica::Replica;
use super::replica::store::{Judged, ReplicaStore};
use super::row::{Image, Placement, RowName};
use super::store::StoreError;

/// A referee over a store of its own.
#[derive(Debug)]
pub struct Referee<S>(Replica<S>);

impl<S: ReplicaStore> Referee<S> {
    /// Begins in an empty store, as the author whom the server has appointed.
    pub fn create(
        store: S,
        author: AuthorId,
        handlers: Arc<dyn Handlers>,
        placement: Arc<dyn Placement>,
    ) -> Result<Self, StoreError> {
        Replica::create(store, author, handlers, placement).map(Self)
    }

    /// Goes on in this store.
    pub fn open(
        store: S,
        handlers: Arc<dyn Handlers>,
        placement: Arc<dyn Placement>,
    ) -> Result<Self, StoreError> {
        Replica::open(store, handlers, placement).map(Self)
    }

    /// Whether a snapshot is to be taken first.
    pub fn needs_snapshot(&self) -> bool {
        self.0.needs_snapshot()
    }

    /// Takes a snapshot of everything.
    pub fn take_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.0.take_snapshot(snapshot)
    }

    /// What to ask the feed for; nothing while a snapshot is needed.
    pub fn fetch_request(&self, limit: usize) -> Option<Fetch> {
        self.0.fetch_request(limit)
    }

    /// Takes the answer, and judges what is new. Says whether there is more to fetch.
    pub fn take_fetched(&mut self, answer: &Fetched) -> Result<bool, StoreError> {
        self.0.take_fetched(answer)
    }

    /// What to correct, in the order of keys; the same again until the feed has shown what became of it.
    pub fn judge(&self) -> Result<Option<Correct>, StoreError> {
        let Some(standing) = self.0.facts().standing.filter(|_| !self.needs_snapshot()) else {
            return Ok(None);
        };
        let mut corrections = Vec::new();
        for id in self.0.store().ids(&Key::LAST)? {
            let judged = self.0.store().record(id)?.and_then(|record| record.judged);
            if let Some(judged) = judged.filter(Judged::corrects) {
                let (version, effects) = (judged.whole.version, judged.effects);
                corrections.push(Correction { id, version, effects });
            }
        }
        let referee = self.0.facts().author;
        Ok((!corrections.is_empty()).then_some(Correct { standing, referee, corrections }))
    }

    /// All rows, as the log would leave them if everybody were present.
    pub fn rows(&self) -> Result<Vec<(RowName, Image)>, StoreError> {
        self.0.rows()
    }

    /// What it is underneath, for checks.
    pub fn replica(&self) -> &Replica<S> {
        &self.0
    }

    /// The store: what a crash leaves.
    pub fn store(&self) -> &S {
        self.0.store()
    }
}
