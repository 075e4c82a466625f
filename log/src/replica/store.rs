//! The data of a replica, and its store interface.
//!
//! The caller wraps each call of the replica in one transaction, and rolls it back if the call
//! fails, so that rows, records and facts agree at every commit. Every [`ReplicaStore`] must pass
//! the contract tests in `contract.rs`.

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::super::clock::Clock;
use super::super::effect::Effects;
use super::super::entry::{Intent, Revision};
use super::super::handler::{Context, Ran, Stop};
use super::super::ids::{AuthorId, EntryId, Name};
use super::super::key::Key;
use super::super::message::snapshot::{SnapshotPage, SnapshotPosition};
use super::super::message::{Cursor, EpochStamp, FullEntry, Held};
use super::super::rebase::{Footprint, StepIndex, Undo};
use super::super::row::RowName;
use super::super::store::{StoreError, Table};
use super::super::write_set::WriteSet;

/// The singleton data of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The author id of this database.
    pub author: AuthorId,
    /// Its clock.
    pub clock: Clock,
    /// Epoch and membership version; `None` before the first snapshot.
    pub stamp: Option<EpochStamp>,
    /// The buckets that the user writes, as of the last snapshot; `None` before the first.
    pub buckets: Option<WriteSet>,
    /// Tables in which this device may still show own rows that the user does not read: the server
    /// has not confirmed them yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hidden: BTreeSet<Name>,
    /// The cursor in the feed.
    pub cursor: Cursor,
    /// Items up to here are folded into the base.
    pub horizon: Key,
    /// The number of the last publish request.
    pub number: u64,
    /// Whether the server requires a snapshot.
    pub needs_snapshot: bool,
    /// The end of the last page of a snapshot that is not complete. Those of a first snapshot are
    /// applied, those of a later one are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loading: Option<SnapshotPosition>,
    /// Whether another database uses this author id: this one was copied or restored from a backup.
    pub copied: bool,
}

impl Facts {
    /// The facts of a new database.
    pub fn new(author: AuthorId) -> Self {
        Self {
            author,
            clock: Clock::default(),
            stamp: None,
            buckets: None,
            hidden: BTreeSet::new(),
            cursor: Cursor(0),
            horizon: Key::FIRST,
            number: 0,
            needs_snapshot: true,
            loading: None,
            copied: false,
        }
    }
}

/// The record of one entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its key: the server's, once known.
    pub key: Key,
    /// The server's view of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Shown>,
    /// Data of the author. Most entries lack it, and that of the authority: boxed, they cost little
    /// to move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Box<OwnEntry>>,
    /// Data of the authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<Box<AuthorityEntry>>,
    /// The before-images of its last application.
    pub undo: Undo,
}

/// The server's view of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// Its effects on rows that this user may read.
    pub effects: Effects,
    /// The server's state, if the entry is this author's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// An own entry that is not final.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnEntry {
    /// The time that its context sees.
    pub time: u64,
    /// The action; `None` for plain SQL.
    pub intent: Option<Intent>,
    /// The effects of the last run here. Plain SQL keeps the captured effects.
    pub effects: Effects,
    /// The revision of those effects.
    pub revision: Revision,
    /// The highest revision known to be on the server.
    pub acknowledged: Option<Revision>,
    /// The authority over it.
    pub authority: Authority,
    /// Why the last run rejected; `None` if it succeeded.
    pub refusal: Option<String>,
    /// The tables that the last run, even a failed one, read or wrote.
    pub tables: BTreeSet<Name>,
    /// The entry that it reverses, if the app undid one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<EntryId>,
    /// Whether it was an action that rejected, until the app ended it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
}

/// The authority to change the effects of an own entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// The author: this database.
    Mine,
    /// The authority, since its first correction.
    Appointed,
    /// None: the author has left a bucket, or the entry is final.
    Frozen,
    /// The server denied it. It is left out until the app retries, edits or discards it.
    Parked,
}

/// What an entry waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Waiting {
    /// An own entry: the server lacks its newest revision.
    Server,
    /// An own entry: the server denied it, and the user must decide about it.
    User,
    /// An entry of another author: the server lacks the authority's content.
    Correction,
}

/// The authority's data of an entry that is not final.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuthorityEntry {
    /// The entry on the server.
    pub whole: FullEntry,
    /// The effects of the authority's last run.
    pub effects: Effects,
    /// The tables that the last run, even a failed one, read or wrote.
    pub tables: BTreeSet<Name>,
}

impl Record {
    /// The record of an entry of which only the key is known.
    pub fn new(key: Key) -> Self {
        Self { key, item: None, own: None, authority: None, undo: Undo::new() }
    }

    /// The effects that apply. An own entry uses its own effects until its newest revision is
    /// acknowledged and its item has arrived, then its item. `None` if it is left out.
    pub fn counted(&self) -> Option<Counted<'_>> {
        if let Some(authority) = &self.authority {
            return Some(Counted::Whole(&authority.effects, &authority.whole.content.write_set));
        }
        let item = self.item.as_ref();
        let Some(own) = &self.own else {
            return item.map(|item| Counted::Item(&item.effects));
        };
        let mine = match own.authority {
            Authority::Parked => return None,
            Authority::Mine => true,
            Authority::Appointed | Authority::Frozen => false,
        };
        let Some(item) = item else { return Some(Counted::Own(&own.effects)) };
        let echoed = item.held.as_ref().is_some_and(|held| held.revision == own.revision);
        let agreed = echoed && own.acknowledged >= Some(own.revision);
        if mine && !agreed {
            Some(Counted::Own(&own.effects))
        } else {
            Some(Counted::Item(&item.effects))
        }
    }

    /// Whether it is an own action whose last run rejected, and which may run again.
    pub fn is_refused(&self) -> bool {
        self.is_replay() && self.own.as_ref().is_some_and(|own| own.refusal.is_some())
    }

    /// Whether it was an action that rejected, until the app ended it.
    pub fn is_given_up(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.given_up)
    }

    /// Whether this device runs it again when something before it changes.
    pub fn is_replay(&self) -> bool {
        if let Some(authority) = &self.authority {
            return authority.whole.intent.is_some();
        }
        self.own
            .as_ref()
            .is_some_and(|own| own.intent.is_some() && own.authority == Authority::Mine)
    }

    /// What it waits for.
    pub fn waits_for(&self) -> Option<Waiting> {
        let Some(own) = &self.own else {
            let authority = self.authority.as_ref()?;
            return authority.corrects().then_some(Waiting::Correction);
        };
        match own.authority {
            Authority::Mine if own.acknowledged < Some(own.revision) => Some(Waiting::Server),
            Authority::Parked => Some(Waiting::User),
            Authority::Mine | Authority::Appointed | Authority::Frozen => None,
        }
    }

    /// Whether it is not known to be on the server, and may be published.
    pub fn is_unpublished(&self) -> bool {
        self.own
            .as_ref()
            .is_some_and(|own| own.authority == Authority::Mine && own.acknowledged.is_none())
    }

    /// The rows that it names, and, if it is run here, the tables of its last run.
    pub fn footprint(&self) -> Footprint {
        let authority = self.authority.as_ref().map(|authority| &authority.tables);
        let tables = authority.or(self.own.as_ref().map(|own| &own.tables));
        let tables = tables.filter(|_| self.is_replay()).cloned().unwrap_or_default();
        Footprint { rows: self.named(), tables }
    }

    /// The rows that it names here, including void effects.
    pub fn named(&self) -> BTreeSet<RowName> {
        let mut rows = self.counted().map(|counted| counted.effects().rows()).unwrap_or_default();
        if self.is_replay()
            && let Some(own) = &self.own
        {
            rows.extend(own.effects.rows());
        }
        rows
    }
}

/// The effects of an entry that apply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Counted<'a> {
    /// The effects of its own last run, restricted to the author's write set.
    Own(&'a Effects),
    /// The server's view, which is already restricted.
    Item(&'a Effects),
    /// The effects of the authority's last run, restricted to the author's write set.
    Whole(&'a Effects, &'a WriteSet),
}

impl<'a> Counted<'a> {
    /// The effects.
    pub fn effects(self) -> &'a Effects {
        match self {
            Self::Own(effects) | Self::Item(effects) | Self::Whole(effects, _) => effects,
        }
    }
}

/// Storage of a replica: its tables and its log.
pub trait ReplicaStore: Table {
    /// The facts, once set.
    fn facts(&self) -> Result<Option<Facts>, StoreError>;
    /// Replaces the facts.
    fn set_facts(&mut self, facts: &Facts) -> Result<(), StoreError>;

    /// The record of an entry.
    fn record(&self, id: EntryId) -> Result<Option<Record>, StoreError>;
    /// Stores the record of an entry, replacing an earlier one.
    fn put_record(&mut self, id: EntryId, record: &Record) -> Result<(), StoreError>;
    /// Removes an entry.
    fn remove_record(&mut self, id: EntryId) -> Result<(), StoreError>;
    /// All entries with keys up to and including `up_to`, in key order.
    fn ids(&self, up_to: &Key) -> Result<Vec<EntryId>, StoreError>;
    /// All own entries, in key order.
    fn own_ids(&self) -> Result<Vec<EntryId>, StoreError>;
    /// The first `limit` own entries that wait for this (see [`Record::waits_for`]), in key order.
    fn waiting_ids(&self, what: Waiting, limit: usize) -> Result<Vec<EntryId>, StoreError>;

    /// Stores a page of a snapshot after those that are stored.
    fn put_page(&mut self, page: &SnapshotPage) -> Result<(), StoreError>;
    /// The stored page after the one with this number, and its number. They are numbered from 1,
    /// without gaps.
    fn page_after(&self, number: u64) -> Result<Option<(u64, SnapshotPage)>, StoreError>;
    /// Removes the stored pages.
    fn clear_pages(&mut self) -> Result<(), StoreError>;
    /// The rows with names after the first and through the second, in any order.
    fn names_between(
        &self,
        after: Option<&RowName>,
        through: Option<&RowName>,
    ) -> Result<Vec<RowName>, StoreError>;

    /// Runs an action on the current rows, for a store that can, and leaves the rows unchanged.
    /// `None`: the handlers of the replica run it.
    fn run_action(&mut self, _: &Intent, _: &Context) -> Option<Result<Ran, Stop>> {
        None
    }

    /// The index of the entries that count. It is separate from the records: the rebase updates it.
    fn steps(&self) -> &dyn StepIndex;
    /// The same, to write.
    fn steps_mut(&mut self) -> &mut dyn StepIndex;
}
