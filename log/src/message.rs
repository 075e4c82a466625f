//! What devices and server say to each other. Any message may be lost, doubled, late or out of order (I5).
//!
//! The author and the user of a request are known from its authentication, and are given beside it. Positions and cursors
//! are numbers here; the wire makes cursors opaque (L8).

use super::effect::Effects;
use super::entry::{Content, Intent, Offer, Revision};
use super::ids::{AuthorId, Buckets, EntryId, Epoch};
use super::key::Key;
use super::row::{Image, RowName};

/// A place in the feed: everything up to it has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cursor(pub u64);

/// In which log, and as a member of what, somebody speaks. Under another epoch or another version of the membership every
/// request is answered `resync` (L7, L10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The life of the log.
    pub epoch: Epoch,
    /// The version of the user's membership.
    pub membership: u64,
}

/// Asks for what comes after a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// In which log.
    pub standing: Standing,
    /// After what.
    pub cursor: Cursor,
    /// Most items in the answer; at least 1 is given if there is one.
    pub limit: usize,
}

/// The answer to a [`Fetch`].
#[derive(Debug, Clone, PartialEq)]
pub enum Fetched {
    /// Take a snapshot: the epoch, the membership or the horizon has passed this cursor by.
    Resync,
    /// What comes next.
    Page(Page),
}

/// Some items of the feed, oldest position first. Taken only by whoever stands where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// In which log.
    pub standing: Standing,
    /// After what.
    pub from: Cursor,
    /// The items.
    pub items: Vec<Item>,
    /// Up to where.
    pub next: Cursor,
    /// Whether there is more behind it.
    pub more: bool,
    /// The horizon, on the last page only: whoever has it all may fold that far (L11).
    pub horizon: Option<Key>,
}

/// An entry as one viewer gets it (L8, L9).
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// It shows him something, or is his own.
    Entry(Box<Seen>),
    /// It shows him nothing any more, though an earlier view touched a bucket of his.
    Gone(EntryId),
}

impl Item {
    /// Which entry.
    pub fn id(&self) -> EntryId {
        match self {
            Self::Entry(seen) => seen.id,
            Self::Gone(id) => *id,
        }
    }
}

/// What a viewer gets of an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Which entry.
    pub id: EntryId,
    /// Its place in the order; names the author.
    pub key: Key,
    /// What it does to the rows that he may see.
    pub effects: Effects,
    /// To the author: what the server holds of it.
    pub own: Option<Held>,
    /// To the referee: all of it.
    pub whole: Option<Whole>,
}

/// What the server holds of an entry, for its author.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The revision.
    pub revision: Revision,
    /// W of that content.
    pub write_set: Buckets,
    /// Whether it is the referee's by now (L5).
    pub refereed: bool,
}

/// An entry as the referee needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    /// What its context sees as the time.
    pub time: u64,
    /// What was meant; `None` for plain SQL.
    pub intent: Option<Intent>,
    /// What it does.
    pub content: Content,
    /// Rises with each content, the author's and the referee's: what a correction compares and sets (L5).
    pub version: u64,
}

/// Everything a user may see: the base at the horizon, and his view of every item since (L12).
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// In which log.
    pub standing: Standing,
    /// The user's buckets.
    pub buckets: Buckets,
    /// The horizon.
    pub horizon: Key,
    /// The rows at the horizon.
    pub base: Vec<(RowName, Image)>,
    /// The items since, in the order of their keys.
    pub items: Vec<Seen>,
    /// Up to where.
    pub cursor: Cursor,
}

/// Offers entries, in the order of their keys; one request at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// In which log.
    pub standing: Standing,
    /// Rises with each request of this author, and is durable: an old copy is ignored (L7).
    pub number: u64,
    /// The entries.
    pub offers: Vec<Offer>,
}

/// The answer to a [`Publish`].
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The number of the request.
    pub number: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request to publish.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Nothing was read: the epoch or the membership is another.
    Resync,
    /// Nothing was read: a request of this author with the number `last`, not below this one, came before.
    Stale {
        /// The highest number processed.
        last: u64,
    },
    /// The first entries, in the order of the request, up to the first that was not taken.
    Judged(Vec<(EntryId, Verdict)>),
}

/// What the server says of one offer. All but the first four end the batch: nothing later is accepted before the author
/// knows (L7).
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The server holds this revision at this key: the offered one, or an older request's.
    Held {
        /// Exactly what is acknowledged.
        revision: Revision,
        /// The key that counts.
        key: Key,
    },
    /// It is the referee's: the author folds it like anybody (L5).
    Refereed {
        /// The author's last revision that was taken.
        revision: Revision,
        /// The key that counts.
        key: Key,
    },
    /// The author has left a bucket under which it was accepted: it stands as it is (L10).
    Frozen {
        /// The revision that stands.
        revision: Revision,
        /// The key that counts.
        key: Key,
    },
    /// It was accepted, and lies below the horizon (L11).
    Final,
    /// It puts a row into a bucket of which the author is no member: parked.
    Denied,
    /// Its key lies further ahead of the server's clock than the drift bound.
    TooFarAhead {
        /// The server's time.
        now: u64,
    },
    /// The counter of its key lies more than 2^32 above any that was taken before (L6).
    CounterTooHigh {
        /// The highest that was taken.
        highest: u64,
    },
    /// Its key is not above the horizon.
    TooOld {
        /// The horizon.
        horizon: Key,
    },
    /// The id is an entry of another author: this database was copied, and the copy was faster (L12).
    Foreign,
}

impl Verdict {
    /// Whether the rest of the batch is read: the entry is known.
    pub fn goes_on(&self) -> bool {
        matches!(
            self,
            Self::Held { .. } | Self::Refereed { .. } | Self::Frozen { .. } | Self::Final
        )
    }
}

/// The referee's word on an entry: taken if the content is still the one that it read (L5).
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    /// Which entry.
    pub id: EntryId,
    /// The version that was read.
    pub version: u64,
    /// What it does.
    pub effects: Effects,
}

/// The referee's request.
#[derive(Debug, Clone, PartialEq)]
pub struct Correct {
    /// In which log.
    pub standing: Standing,
    /// Who corrects.
    pub referee: AuthorId,
    /// In the order of keys.
    pub corrections: Vec<Correction>,
}
