//! The server's side of the log: a state machine over a store, told the time, doing no I/O of its own.
//!
//! It takes offers, folds them, gives out views, and never runs an action. Each method is one transaction of its caller, under
//! the log's lock: positions are given in the order of commits (L8). After an error the transaction is given up and the
//! machine opened anew.

mod correct;
mod feed;
mod horizon;
pub mod memory;
mod publish;
mod refold;
mod snapshot;
pub mod store;

#[cfg(test)]
pub(crate) mod contract;

use std::sync::Arc;

use super::ids::{AuthorId, Buckets, Epoch, UserId};
use super::key::Key;
use super::message::Standing;
use super::row::{Image, Placement, RowName};
use super::store::StoreError;
use store::{Author, LogFacts, LogStore, Membership};

/// What the operator chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How far ahead of the server's clock a key may lie, in milliseconds (L6).
    pub drift: u64,
    /// How long an item stays in the feed after it moved, in milliseconds, before the horizon may pass it (L11). Longer than
    /// any device is expected to be away, and longer than backups are old when they are restored.
    pub retention: u64,
}

/// Why a request cannot be answered at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// Nobody of this id is registered: register first.
    #[error("no author {0} is registered: register it first")]
    UnknownAuthor(AuthorId),
    /// Whoever asks is not the referee who was appointed.
    #[error("{0} is not the referee: let the operator appoint it")]
    NotTheReferee(AuthorId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The log of one server.
#[derive(Debug)]
pub struct Server<S> {
    store: S,
    placement: Arc<dyn Placement>,
    limits: Limits,
    facts: LogFacts,
}

impl<S: LogStore> Server<S> {
    /// Begins a log in an empty store.
    pub fn create(
        mut store: S,
        epoch: Epoch,
        placement: Arc<dyn Placement>,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let (horizon, referee) = (Key::FIRST, None);
        let facts = LogFacts { epoch, head: 0, horizon, floor: 0, counter: 0, referee };
        store.set_facts(&facts)?;
        Ok(Self { store, placement, limits, facts })
    }

    /// Goes on with the log in this store.
    pub fn open(
        store: S,
        placement: Arc<dyn Placement>,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let facts = store.facts()?;
        let facts = facts.ok_or_else(|| StoreError(String::from("it holds no log: create one")))?;
        Ok(Self { store, placement, limits, facts })
    }

    /// Begins another life of the log: after a backup was restored, or under another placement. Everybody takes a snapshot
    /// (L12). All views are made anew.
    pub fn begin_epoch(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        self.facts.epoch = epoch;
        self.relay_everything()?;
        self.store.set_facts(&self.facts)
    }

    /// Puts rows under the log, before its first entry: what an import brings.
    pub fn load(
        &mut self,
        rows: impl IntoIterator<Item = (RowName, Image)>,
    ) -> Result<(), StoreError> {
        rows.into_iter().try_for_each(|(row, image)| self.store.put_base(&row, Some(&image)))
    }

    /// Lets an author in. One who is known already keeps his last request number.
    pub fn register(&mut self, author: AuthorId, user: UserId) -> Result<(), StoreError> {
        let last_number = self.store.author(author)?.map_or(0, |known| known.last_number);
        self.store.put_author(author, &Author { user, last_number })
    }

    /// Forgets a device that will not come back, with the ids of its entries below the horizon (L11). Its entries stay.
    pub fn forget(&mut self, author: AuthorId) -> Result<(), StoreError> {
        self.store.remove_author(author)
    }

    /// Makes a user a member of exactly these buckets. His devices take a snapshot (L10).
    pub fn set_buckets(&mut self, user: &UserId, buckets: Buckets) -> Result<(), StoreError> {
        let old = self.store.membership(user)?;
        if old.buckets == buckets {
            return Ok(());
        }
        self.store.put_membership(user, &Membership { buckets, version: old.version + 1 })
    }

    /// A row as it now stands.
    pub fn row(&self, row: &RowName) -> Result<Option<Image>, StoreError> {
        self.row_before(row, &Key::LAST)
    }

    /// All rows as they now stand, in order of their names.
    pub fn rows(&self) -> Result<Vec<(RowName, Image)>, StoreError> {
        let mut names = self.store.linked_rows()?;
        names.extend(self.store.base_rows()?.into_iter().map(|(row, _)| row));
        names.sort_unstable();
        names.dedup();
        let mut rows = Vec::with_capacity(names.len());
        for name in names {
            if let Some(image) = self.row(&name)? {
                rows.push((name, image));
            }
        }
        Ok(rows)
    }

    /// Epoch, head, horizon, floor and referee.
    pub fn facts(&self) -> &LogFacts {
        &self.facts
    }

    /// The store: a copy of it is a backup.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store, when the machine is no longer wanted.
    pub fn into_store(self) -> S {
        self.store
    }

    fn person(&self, author: AuthorId) -> Result<(Author, Membership), ServerError> {
        let known = self.store.author(author)?.ok_or(ServerError::UnknownAuthor(author))?;
        let membership = self.store.membership(&known.user)?;
        Ok((known, membership))
    }

    fn standing(&self, membership: &Membership) -> Standing {
        Standing { epoch: self.facts.epoch, membership: membership.version }
    }
}
