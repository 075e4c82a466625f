//! What a replica keeps, and what it asks of a database.
//!
//! The caller wraps each call of the replica in one transaction, and gives it up if the call fails: then rows, records and
//! facts agree at every commit (I1, I6). Whatever implements [`ReplicaStore`] passes the suite in `contract.rs`.

use std::collections::BTreeSet;
use std::fmt::Debug;

use super::super::clock::Clock;
use super::super::effect::Effects;
use super::super::entry::{Intent, Revision};
use super::super::ids::{AuthorId, Buckets, EntryId, Name};
use super::super::key::Key;
use super::super::message::{Cursor, Held, Standing, Whole};
use super::super::rebase::{Footprint, Undo};
use super::super::row::RowName;
use super::super::store::{StoreError, Table};

/// What there is one of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// As whom this database writes.
    pub author: AuthorId,
    /// Its clock.
    pub clock: Clock,
    /// In which log, as a member of what; `None` before the first snapshot.
    pub standing: Option<Standing>,
    /// The user's buckets, as of the last snapshot; `None` before the first.
    pub buckets: Option<Buckets>,
    /// How far the feed has been seen.
    pub cursor: Cursor,
    /// Items up to here are folded into the base (L11).
    pub horizon: Key,
    /// The number of the last request to publish.
    pub number: u64,
    /// Whether the server asked for a snapshot to be taken.
    pub needs_snapshot: bool,
    /// Whether another database writes under this author's name: this one was copied, or put back from a backup (L12).
    pub copied: bool,
}

impl Facts {
    /// Of a database that has never heard of a server.
    pub fn new(author: AuthorId) -> Self {
        Self {
            author,
            clock: Clock::default(),
            standing: None,
            buckets: None,
            cursor: Cursor(0),
            horizon: Key::FIRST,
            number: 0,
            needs_snapshot: true,
            copied: false,
        }
    }
}

/// What a replica knows of one entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its place in the order: the server's, once that is known.
    pub key: Key,
    /// What the server shows of it.
    pub item: Option<Shown>,
    /// What only the author has.
    pub own: Option<Own>,
    /// What only the referee has.
    pub judged: Option<Judged>,
    /// What it displaced when it was last laid down.
    pub undo: Undo,
}

/// What the server shows of an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// What it does to the rows that this user sees.
    pub effects: Effects,
    /// What the server holds, if the entry is this author's.
    pub held: Option<Held>,
}

/// An own entry, as its author keeps it until it is final.
#[derive(Debug, Clone, PartialEq)]
pub struct Own {
    /// What its context sees as the time.
    pub time: u64,
    /// What was meant; `None` for plain SQL.
    pub intent: Option<Intent>,
    /// What it does, by the last run here; of plain SQL for ever what was captured (L3).
    pub effects: Effects,
    /// The number of those effects.
    pub revision: Revision,
    /// The highest revision that the server is known to hold.
    pub acknowledged: Option<Revision>,
    /// Who has authority over it.
    pub authority: Authority,
    /// Whether the last run succeeded.
    pub succeeded: bool,
    /// The tables that the last run, even a failed one, read or wrote.
    pub tables: BTreeSet<Name>,
}

/// Who may still change what an own entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Authority {
    /// Its author: this database.
    Mine,
    /// The referee, since it corrected it (L5).
    Referee,
    /// Nobody: the author has left a bucket, or it is final (L10, L11).
    Frozen,
    /// The server has denied it. It is left out, and waits for the app to retry, edit or discard it.
    Parked,
}

/// An entry, as the referee keeps it until it is final (L5).
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The entry, as the server holds it.
    pub whole: Whole,
    /// What it does, by the referee's last run.
    pub effects: Effects,
    /// The tables that the last run, even a failed one, read or wrote.
    pub tables: BTreeSet<Name>,
}

impl Record {
    /// What is known of an entry of which nothing is known but its key.
    pub fn new(key: Key) -> Self {
        Self { key, item: None, own: None, judged: None, undo: Undo::new() }
    }

    /// What counts in the table (L13): an own entry by its own effects while its newest revision is unacknowledged or its
    /// echo is not here yet, else by its item. `None` if it is left out.
    pub fn counted(&self) -> Option<Counted<'_>> {
        if let Some(judged) = &self.judged {
            return Some(Counted::Whole(&judged.effects, &judged.whole.content.write_set));
        }
        let item = self.item.as_ref();
        let Some(own) = &self.own else {
            return item.map(|item| Counted::Item(&item.effects));
        };
        let mine = match own.authority {
            Authority::Parked => return None,
            Authority::Mine => true,
            Authority::Referee | Authority::Frozen => false,
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

    /// Whether this device runs it again when something before it changes (L4).
    pub fn is_replay(&self) -> bool {
        if let Some(judged) = &self.judged {
            return judged.whole.intent.is_some();
        }
        self.own
            .as_ref()
            .is_some_and(|own| own.intent.is_some() && own.authority == Authority::Mine)
    }

    /// Whether the server has a newer revision to get.
    pub fn is_pending(&self) -> bool {
        self.own.as_ref().is_some_and(|own| {
            own.authority == Authority::Mine && own.acknowledged < Some(own.revision)
        })
    }

    /// Whether the server is not known to have it, and nothing stands in the way of its getting it.
    pub fn is_unpublished(&self) -> bool {
        self.own
            .as_ref()
            .is_some_and(|own| own.authority == Authority::Mine && own.acknowledged.is_none())
    }

    /// Where it is met (L14): the rows that it names, and the tables of its last run if it is run here.
    pub fn footprint(&self) -> Footprint {
        let judged = self.judged.as_ref().map(|judged| &judged.tables);
        let tables = judged.or(self.own.as_ref().map(|own| &own.tables));
        let tables = tables.filter(|_| self.is_replay()).cloned().unwrap_or_default();
        Footprint { rows: self.named(), tables }
    }

    /// The rows that it names here, void ones too.
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

/// What counts of an entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Counted<'a> {
    /// The effects of its own last run, within the author's buckets.
    Own(&'a Effects),
    /// What the server shows, which is within them already.
    Item(&'a Effects),
    /// The effects of the referee's last run, within the author's buckets.
    Whole(&'a Effects, &'a Buckets),
}

impl<'a> Counted<'a> {
    /// The effects.
    pub fn effects(self) -> &'a Effects {
        match self {
            Self::Own(effects) | Self::Item(effects) | Self::Whole(effects, _) => effects,
        }
    }
}

/// Where a replica keeps its tables and its log.
pub trait ReplicaStore: Table {
    /// The facts, once there are some.
    fn facts(&self) -> Result<Option<Facts>, StoreError>;
    /// Replaces the facts.
    fn set_facts(&mut self, facts: &Facts) -> Result<(), StoreError>;

    /// What is known of an entry.
    fn record(&self, id: EntryId) -> Result<Option<Record>, StoreError>;
    /// Stores what is known of an entry, in place of what was.
    fn put_record(&mut self, id: EntryId, record: &Record) -> Result<(), StoreError>;
    /// Forgets an entry.
    fn remove_record(&mut self, id: EntryId) -> Result<(), StoreError>;
    /// All entries with keys not above `up_to`, in the order of keys.
    fn ids(&self, up_to: &Key) -> Result<Vec<EntryId>, StoreError>;
    /// All own entries, in the order of keys.
    fn own_ids(&self) -> Result<Vec<EntryId>, StoreError>;
}
