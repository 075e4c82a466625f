//! What the server's side of the log asks of a database.
//!
//! The caller wraps each call of the state machine in one exclusive transaction, under the log's lock, and gives it up if
//! the call fails. Whatever implements [`LogStore`] passes the suite in `contract.rs`.

use std::fmt::Debug;

use super::super::effect::Effect;
use super::super::entry::{Content, Intent};
use super::super::ids::{AuthorId, Buckets, EntryId, Epoch, UserId};
use super::super::key::Key;
use super::super::row::{Image, RowName};
use super::super::store::StoreError;
use super::super::view::Passage;

/// What there is one of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFacts {
    /// The life of the log.
    pub epoch: Epoch,
    /// The last position given.
    pub head: u64,
    /// Entries up to here are folded into the base, and final (L11).
    pub horizon: Key,
    /// The highest position that was ever folded away: a cursor below it has missed something (L11).
    pub floor: u64,
    /// The highest counter of any key that was ever taken (L6).
    pub counter: u64,
    /// Who corrects (L5).
    pub referee: Option<AuthorId>,
}

/// An accepted entry above the horizon.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// Its place in the order; names its author.
    pub key: Key,
    /// What its context sees as the time.
    pub time: u64,
    /// What was meant; `None` for plain SQL.
    pub intent: Option<Intent>,
    /// What it does.
    pub content: Content,
    /// Rises with each content, whoever's.
    pub version: u64,
    /// Whether it is the referee's (L5).
    pub refereed: bool,
    /// Its item's place in the feed.
    pub position: u64,
    /// When its item moved there, by the server's clock.
    pub moved_at: u64,
    /// The buckets that any view of it ever touched: whose members must hear when it shows nothing any more (L8).
    pub touched: Buckets,
}

/// What an entry did to a row: a link in the row's history, in the order of keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// The effect, void or not.
    pub effect: Effect,
    /// W of its content.
    pub write_set: Buckets,
    /// The row after it.
    pub after: Option<Image>,
    /// What viewers get; `None` if it is void.
    pub passage: Option<Passage>,
}

/// A registered author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Whose device it is.
    pub user: UserId,
    /// The highest request number processed (L7).
    pub last_number: u64,
}

/// A user's membership.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// Of which buckets.
    pub buckets: Buckets,
    /// Rises with each change (L10).
    pub version: u64,
}

/// Where a server keeps its log.
pub trait LogStore: Debug {
    /// The facts, once there are some.
    fn facts(&self) -> Result<Option<LogFacts>, StoreError>;
    /// Replaces the facts.
    fn set_facts(&mut self, facts: &LogFacts) -> Result<(), StoreError>;

    /// An entry above the horizon.
    fn entry(&self, id: EntryId) -> Result<Option<Entry>, StoreError>;
    /// Stores an entry, in place of what has its id. Its key never changes.
    fn put_entry(&mut self, entry: &Entry) -> Result<(), StoreError>;
    /// Removes an entry; its links and its id among the final ones are the caller's.
    fn remove_entry(&mut self, id: EntryId) -> Result<(), StoreError>;
    /// At most `limit` entries with keys above `after`, in the order of keys.
    fn by_key(&self, after: &Key, limit: usize) -> Result<Vec<EntryId>, StoreError>;
    /// At most `limit` entries with positions above `after`, in the order of positions. No two share one.
    fn by_position(&self, after: u64, limit: usize) -> Result<Vec<EntryId>, StoreError>;

    /// A row as it stands at the horizon.
    fn base(&self, row: &RowName) -> Result<Option<Image>, StoreError>;
    /// Sets a row at the horizon, or removes it.
    fn put_base(&mut self, row: &RowName, image: Option<&Image>) -> Result<(), StoreError>;
    /// All rows at the horizon, in order of their names.
    fn base_rows(&self) -> Result<Vec<(RowName, Image)>, StoreError>;

    /// The link of a row's history at this key.
    fn link(&self, row: &RowName, key: &Key) -> Result<Option<Link>, StoreError>;
    /// The last link below this key.
    fn link_before(&self, row: &RowName, key: &Key) -> Result<Option<Link>, StoreError>;
    /// The first link above this key, and where it is.
    fn link_after(&self, row: &RowName, key: &Key) -> Result<Option<(Key, Link)>, StoreError>;
    /// Sets a link, or removes it.
    fn put_link(&mut self, row: &RowName, key: &Key, link: Option<&Link>)
    -> Result<(), StoreError>;
    /// The names of all rows with a history above the horizon, in order.
    fn linked_rows(&self) -> Result<Vec<RowName>, StoreError>;

    /// Whose entry this was, if it was accepted and is folded away (L11).
    fn final_author(&self, id: EntryId) -> Result<Option<AuthorId>, StoreError>;
    /// Keeps the id of an entry that is folded away.
    fn put_final(&mut self, id: EntryId, author: AuthorId) -> Result<(), StoreError>;

    /// A registered author.
    fn author(&self, id: AuthorId) -> Result<Option<Author>, StoreError>;
    /// Stores an author.
    fn put_author(&mut self, id: AuthorId, author: &Author) -> Result<(), StoreError>;
    /// Forgets an author, and the ids of his entries that are folded away.
    fn remove_author(&mut self, id: AuthorId) -> Result<(), StoreError>;
    /// A user's membership; of nothing, at version 0, if none was ever stored.
    fn membership(&self, user: &UserId) -> Result<Membership, StoreError>;
    /// Stores a user's membership.
    fn put_membership(&mut self, user: &UserId, membership: &Membership) -> Result<(), StoreError>;
}
