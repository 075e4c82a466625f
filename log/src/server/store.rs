//! The data of the server, and its store interface.
//!
//! The caller wraps each call of the state machine in one exclusive transaction under the log's
//! lock, and rolls it back if the call fails. Every [`LogStore`] must pass the contract tests in
//! `contract.rs`.

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::super::effect::Effect;
use super::super::entry::{Content, Intent};
use super::super::ids::{AuthorId, Buckets, EntryId, Epoch, Name, UserId};
use super::super::key::Key;
use super::super::row::{LogRow, RowName};
use super::super::store::StoreError;
use super::super::view::RowEffect;
use super::super::write_set::WriteSet;

/// The singleton data of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFacts {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The last assigned position.
    pub head: u64,
    /// Entries up to here are folded into the base, and final.
    pub horizon: Key,
    /// The key of the last entry that was folded away: the base has not changed since a horizon
    /// from this key on. `None` if not known.
    #[serde(default)]
    pub folded: Option<Key>,
    /// The highest position that was ever folded away: a cursor below it has missed something.
    pub floor: u64,
    /// The highest counter of any accepted key.
    pub counter: u64,
    /// The authority.
    pub authority: Option<AuthorId>,
    /// The tables whose rows from before the log are in the base.
    #[serde(default)]
    pub tables: BTreeSet<Name>,
}

/// An accepted entry above the horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AcceptedEntry {
    /// Its id.
    pub id: EntryId,
    /// Its key, which contains its author.
    pub key: Key,
    /// The time that its context sees.
    pub time: u64,
    /// The action; `None` for plain SQL.
    pub intent: Option<Intent>,
    /// Its content.
    pub content: Content,
    /// Incremented by each content, of the author or the authority.
    pub version: u64,
    /// Whether the authority has taken it over.
    pub by_authority: bool,
    /// The position of its item in the feed.
    pub position: u64,
    /// When its item got that position, by the server's clock.
    pub moved_at: u64,
    /// The buckets that any view of it ever touched: their members must be notified when it shows
    /// nothing any more.
    pub touched: Buckets,
}

/// The effect of an entry on one row: a link in the row's history, in key order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The effect, void or not.
    pub effect: Effect,
    /// The write set of its content.
    pub write_set: WriteSet,
    /// The row after it.
    pub after: Option<LogRow>,
    /// The change for viewers; `None` if it is void.
    pub passage: Option<RowEffect>,
}

/// An entry with the changes that viewers see.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkedEntry {
    /// The entry.
    pub entry: AcceptedEntry,
    /// The passage of each of its effects ([`Link::passage`]).
    pub passages: Vec<Option<RowEffect>>,
}

/// A registered author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The user of the device.
    pub user: UserId,
    /// The highest processed request number.
    pub last_number: u64,
}

/// A user's membership.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Membership {
    /// The buckets that the user reads and writes.
    pub buckets: Buckets,
    /// The buckets that the user writes and does not read.
    #[serde(default, skip_serializing_if = "Buckets::is_empty")]
    pub write_only: Buckets,
    /// Incremented by each change.
    pub version: u64,
}

impl Membership {
    /// Where the user writes.
    pub fn write_set(&self) -> WriteSet {
        WriteSet::new(&self.buckets, &self.write_only)
    }
}

/// Storage of the server's log.
pub trait LogStore: Debug {
    /// The facts, once set.
    fn facts(&self) -> Result<Option<LogFacts>, StoreError>;
    /// Replaces the facts.
    fn set_facts(&mut self, facts: &LogFacts) -> Result<(), StoreError>;

    /// An entry above the horizon.
    fn entry(&self, id: EntryId) -> Result<Option<AcceptedEntry>, StoreError>;
    /// Those of these entries that are stored, in this order, each with its passages in the order of its
    /// effects. No id may be named twice.
    fn with_passages(&self, ids: &[EntryId]) -> Result<Vec<LinkedEntry>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(entry) = self.entry(*id)? else { continue };
            let passage = |row| Ok(self.link(row, &entry.key)?.and_then(|link| link.passage));
            let passages = entry.content.effects.iter().map(|(row, _)| passage(row));
            let passages = passages.collect::<Result<_, StoreError>>()?;
            found.push(LinkedEntry { entry, passages });
        }
        Ok(found)
    }
    /// Stores an entry, replacing the one with its id. Its key never changes, and no entry gets a
    /// position that any entry has had.
    fn put_entry(&mut self, entry: &AcceptedEntry) -> Result<(), StoreError>;
    /// Removes an entry. The caller removes its links and stores its final id.
    fn remove_entry(&mut self, id: EntryId) -> Result<(), StoreError>;
    /// At most `limit` entries with keys above `after`, in key order.
    fn by_key(&self, after: &Key, limit: usize) -> Result<Vec<EntryId>, StoreError>;
    /// At most `limit` entries with positions above `after`, in position order. Positions are
    /// unique.
    fn by_position(&self, after: u64, limit: usize) -> Result<Vec<EntryId>, StoreError>;

    /// The rows whose histories are read next, each around this key: a store may read them together.
    /// It may also do nothing.
    fn expect(&self, rows: &[(&RowName, &Key)]) -> Result<(), StoreError> {
        let _ = rows;
        Ok(())
    }

    /// The row at the horizon.
    fn base(&self, row: &RowName) -> Result<Option<LogRow>, StoreError>;
    /// Those of these rows that exist at the horizon, in any order. No row may be named twice.
    fn bases(&self, rows: &[&RowName]) -> Result<Vec<(RowName, LogRow)>, StoreError> {
        let mut found = Vec::new();
        for row in rows {
            found.extend(self.base(row)?.map(|image| ((*row).clone(), image)));
        }
        Ok(found)
    }
    /// Sets or removes a row at the horizon.
    fn put_base(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<(), StoreError>;
    /// At most `limit` rows at the horizon with names above `after`, in name order: by the bytes of
    /// the table's name, then of the key.
    fn base_after(
        &self,
        after: Option<&RowName>,
        limit: usize,
    ) -> Result<Vec<(RowName, LogRow)>, StoreError>;
    /// The row as it was last stored by [`LogStore::put_current`]. For checks: the state machine
    /// reads the base and the links.
    fn current(&self, row: &RowName) -> Result<Option<LogRow>, StoreError>;
    /// Sets or removes the row as it now stands, for programs that read the rows by SQL. Called only
    /// with an image that differs from the last one. Columns that the image lacks have their
    /// defaults.
    fn put_current(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<(), StoreError>;

    /// The link of a row's history at this key.
    fn link(&self, row: &RowName, key: &Key) -> Result<Option<Link>, StoreError>;
    /// The last link below this key.
    fn link_before(&self, row: &RowName, key: &Key) -> Result<Option<Link>, StoreError>;
    /// The first link above this key, with its key.
    fn link_after(&self, row: &RowName, key: &Key) -> Result<Option<(Key, Link)>, StoreError>;
    /// Sets or removes a link.
    fn put_link(&mut self, row: &RowName, key: &Key, link: Option<&Link>)
    -> Result<(), StoreError>;
    /// The keys of all links of these rows, each once, in order; `None` if there are more than `most`.
    fn links_of(&self, rows: &[&RowName], most: usize) -> Result<Option<Vec<Key>>, StoreError> {
        let mut keys = BTreeSet::new();
        for row in rows {
            let mut last = Key::FIRST;
            while let Some((key, _)) = self.link_after(row, &last)? {
                keys.insert(key);
                last = key;
                if keys.len() > most {
                    return Ok(None);
                }
            }
        }
        Ok(Some(keys.into_iter().collect()))
    }
    /// The names of all rows with a history above the horizon, in order.
    fn linked_rows(&self) -> Result<Vec<RowName>, StoreError>;

    /// Those of these entries that were accepted, above or below the horizon.
    fn stored_among(&self, ids: &[EntryId]) -> Result<BTreeSet<EntryId>, StoreError>;
    /// The author of an accepted entry that is folded away.
    fn final_author(&self, id: EntryId) -> Result<Option<AuthorId>, StoreError>;
    /// Stores the id of an entry that is folded away.
    fn put_final(&mut self, id: EntryId, author: AuthorId) -> Result<(), StoreError>;

    /// A registered author.
    fn author(&self, id: AuthorId) -> Result<Option<Author>, StoreError>;
    /// Stores an author.
    fn put_author(&mut self, id: AuthorId, author: &Author) -> Result<(), StoreError>;
    /// Removes an author, and the ids of its entries that are folded away.
    fn remove_author(&mut self, id: AuthorId) -> Result<(), StoreError>;
    /// A user's membership; no buckets and version 0 if none was stored.
    fn membership(&self, user: &UserId) -> Result<Membership, StoreError>;
    /// Stores a user's membership.
    fn put_membership(&mut self, user: &UserId, membership: &Membership) -> Result<(), StoreError>;
}
