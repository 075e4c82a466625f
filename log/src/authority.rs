//! The authority: a client with all buckets and the handlers. It evaluates entries while their
//! authors are offline.
//!
//! It runs an entry as its author, on the rows in the author's buckets, and corrects the entry if
//! the run gives other effects. The server accepts the correction if the content is still the one
//! that was read. The authority creates no entries. It is built on a replica, so it runs an entry
//! again only when something before it has changed, and its corrections end like those of authors.

use std::sync::Arc;

use super::handler::Handlers;
use super::ids::AuthorId;
use super::key::Key;
use super::message::{Correct, Correction, Fetch, Fetched, LogSnapshot};
use super::replica::Replica;
use super::replica::store::{AuthorityEntry, ReplicaStore};
use super::row::{LogRow, Placement, RowName};
use super::store::StoreError;
use crate::replica::{fetch, snapshot};

/// A authority with its own store.
#[derive(Debug)]
pub struct AuthorityRunner<S>(Replica<S>);

impl<S: ReplicaStore> AuthorityRunner<S> {
    /// Starts in an empty store, as the author appointed by the server.
    pub fn create(
        store: S,
        author: AuthorId,
        handlers: Arc<dyn Handlers>,
        placement: Arc<dyn Placement>,
    ) -> Result<Self, StoreError> {
        Replica::create(store, author, handlers, placement).map(Self)
    }

    /// Opens an existing store.
    pub fn open(
        store: S,
        handlers: Arc<dyn Handlers>,
        placement: Arc<dyn Placement>,
    ) -> Result<Self, StoreError> {
        Replica::open(store, handlers, placement).map(Self)
    }

    /// Whether it must take a snapshot first.
    pub fn needs_snapshot(&self) -> bool {
        snapshot::needs_snapshot(&self.0)
    }

    /// Takes a snapshot of all rows.
    pub fn take_snapshot(&mut self, snapshot: &LogSnapshot) -> Result<(), StoreError> {
        snapshot::take_snapshot(&mut self.0, snapshot)
    }

    /// The next fetch request; `None` while a snapshot is needed.
    pub fn fetch_request(&self, limit: usize) -> Option<Fetch> {
        fetch::fetch_request(&self.0, limit)
    }

    /// Takes a response and evaluates new entries. Returns whether there is more to fetch.
    pub fn take_fetched(&mut self, answer: &Fetched) -> Result<bool, StoreError> {
        fetch::take_fetched(&mut self.0, answer)
    }

    /// The corrections, in key order. They repeat until the feed shows their result.
    pub fn judge(&self) -> Result<Option<Correct>, StoreError> {
        let Some(stamp) = self.0.facts().stamp.filter(|_| !self.needs_snapshot()) else {
            return Ok(None);
        };
        let mut corrections = Vec::new();
        for id in self.0.store().ids(&Key::LAST)? {
            let authority = self.0.store().record(id)?.and_then(|record| record.authority);
            if let Some(authority) = authority.filter(AuthorityEntry::corrects) {
                let (version, effects) = (authority.whole.version, authority.effects);
                corrections.push(Correction { id, version, effects });
            }
        }
        Ok((!corrections.is_empty()).then_some(Correct { stamp, corrections }))
    }

    /// All rows, as if all authors were online.
    pub fn rows(&self) -> Result<Vec<(RowName, LogRow)>, StoreError> {
        self.0.rows()
    }

    /// The underlying replica, for checks.
    pub fn replica(&self) -> &Replica<S> {
        &self.0
    }

    /// The store, for simulated crashes.
    pub fn store(&self) -> &S {
        self.0.store()
    }
}
