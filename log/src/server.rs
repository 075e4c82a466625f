//! The server side of the log: a state machine over a store, without I/O; the caller passes the
//! time.
//!
//! It accepts offers within the rights of their authors, folds them, and serves views, but never runs
//! an action. Each method runs in one transaction of its caller under the log's lock, so positions
//! are in commit order. After an error the caller rolls back the transaction and reopens the state
//! machine.

pub mod correct;
mod feed;
pub mod horizon;
pub mod import;
pub mod memory;
mod publish;
mod reach;
mod refold;
pub mod rows;
pub mod snapshot;
pub mod store;

#[cfg(any(test, feature = "contract"))]
#[allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, missing_docs)]
pub mod contract;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ids::{AuthorId, Buckets, Epoch, Name, UserId};
use super::key::Key;
use super::message::EpochStamp;
use super::row::{LogRow, Placement, RowName};
use super::store::StoreError;
use store::{Author, LogFacts, LogStore, Membership};

/// Options of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How far a key may be ahead of the server's clock, in milliseconds.
    pub drift: u64,
    /// How long an item stays in the feed after it moved, in milliseconds, before the horizon may
    /// pass it. Must exceed the longest offline time of devices and the age of restored backups.
    pub retention: u64,
}

/// Why a request cannot be processed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// The author id is not registered.
    #[error("no author {0} is registered: register it first")]
    UnknownAuthor(AuthorId),
    /// The requester is not the appointed authority.
    #[error("{0} is not the authority: the operator must appoint it")]
    NotTheAuthority(AuthorId),
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
    /// The buckets of the items that moved.
    moved: Buckets,
}

impl<S: LogStore> Server<S> {
    /// Creates a log in an empty store.
    pub fn create(
        mut store: S,
        epoch: Epoch,
        placement: Arc<dyn Placement>,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let (horizon, authority) = (Key::FIRST, None);
        let facts = LogFacts {
            epoch,
            head: 0,
            horizon,
            folded: Some(horizon),
            floor: 0,
            counter: 0,
            authority,
            tables: BTreeSet::new(),
        };
        store.set_facts(&facts)?;
        Ok(Self { store, placement, limits, facts, moved: Buckets::default() })
    }

    /// Opens the log in this store.
    pub fn open(
        store: S,
        placement: Arc<dyn Placement>,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let facts = store.facts()?;
        let facts =
            facts.ok_or_else(|| StoreError(String::from("the store has no log: create one")))?;
        Ok(Self { store, placement, limits, facts, moved: Buckets::default() })
    }

    /// Starts a new epoch: after restoring a backup, or with another placement. All devices take a
    /// snapshot, and all views are recomputed.
    pub fn begin_epoch(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        self.facts.epoch = epoch;
        self.relay_everything()?;
        self.store.set_facts(&self.facts)
    }

    /// Whether the rows that this table had before the log are in the base.
    pub fn has_table(&self, table: &str) -> bool {
        self.facts.tables.contains(table)
    }

    /// The rows that this table had before the log are in the base now. If there are any, every device
    /// takes a snapshot, because the feed does not show them.
    pub fn table_loaded(&mut self, table: Name, has_rows: bool) -> Result<(), StoreError> {
        self.facts.tables.insert(table);
        if has_rows {
            self.facts.head += 1;
            self.facts.floor = self.facts.head;
        }
        self.store.set_facts(&self.facts)
    }

    /// Imports rows below the log, before its first entry.
    pub fn load(
        &mut self,
        rows: impl IntoIterator<Item = (RowName, LogRow)>,
    ) -> Result<(), StoreError> {
        for (row, image) in rows {
            if self.store.base(&row)?.as_ref() != Some(&image) {
                self.store.put_current(&row, Some(&image))?;
            }
            self.store.put_base(&row, Some(&image))?;
        }
        Ok(())
    }

    /// Registers an author. A registered author keeps its last request number.
    pub fn register(&mut self, author: AuthorId, user: UserId) -> Result<(), StoreError> {
        let last_number = self.store.author(author)?.map_or(0, |known| known.last_number);
        self.store.put_author(author, &Author { user, last_number })
    }

    /// Removes a lost device, with the ids of its entries below the horizon. Its entries stay.
    pub fn forget(&mut self, author: AuthorId) -> Result<(), StoreError> {
        self.store.remove_author(author)
    }

    /// Makes a user a member of exactly these buckets, and lets the user write those of `write_only`
    /// as well without reading them. The user's devices take a snapshot.
    pub fn set_buckets(
        &mut self,
        user: &UserId,
        buckets: Buckets,
        write_only: Buckets,
    ) -> Result<(), StoreError> {
        let old = self.store.membership(user)?;
        if (&old.buckets, &old.write_only) == (&buckets, &write_only) {
            return Ok(());
        }
        let version = old.version + 1;
        self.store.put_membership(user, &Membership { buckets, write_only, version })
    }

    /// The current row.
    pub fn row(&self, row: &RowName) -> Result<Option<LogRow>, StoreError> {
        self.row_before(row, &Key::LAST)
    }

    /// All current rows, in name order.
    pub fn rows(&self) -> Result<Vec<(RowName, LogRow)>, StoreError> {
        let mut names = self.store.linked_rows()?;
        names.extend(self.store.base_after(None, usize::MAX)?.into_iter().map(|(row, _)| row));
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

    /// Epoch, head, horizon, floor and authority.
    pub fn facts(&self) -> &LogFacts {
        &self.facts
    }

    /// The buckets of the items that moved since this was called: their members have something to
    /// fetch.
    pub fn take_moved(&mut self) -> Buckets {
        std::mem::take(&mut self.moved)
    }

    /// The store: a copy of it is a backup.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Consumes the state machine and returns its store.
    pub fn into_store(self) -> S {
        self.store
    }

    fn person(&self, author: AuthorId) -> Result<(Author, Membership), ServerError> {
        let known = self.store.author(author)?.ok_or(ServerError::UnknownAuthor(author))?;
        let membership = self.store.membership(&known.user)?;
        Ok((known, membership))
    }

    /// Whether the base is the one at this horizon: a higher horizon has changed nothing unless an entry
    /// was folded.
    fn has_base_of(&self, horizon: &Key) -> bool {
        self.facts.folded.unwrap_or(self.facts.horizon) <= *horizon
            && *horizon <= self.facts.horizon
    }

    fn stamp(&self, membership: &Membership) -> EpochStamp {
        EpochStamp { epoch: self.facts.epoch, membership: membership.version }
    }
}
