//! Messages between devices and server. Any message may be lost, duplicated, delayed or reordered.
//!
//! These types are the wire format (`docs/protocol.md`): a message is serialized as JSON, a reader
//! ignores unknown members, and [`read`] names a member that is missing or wrong. The user of a
//! request comes from its credentials, its author from [`Request`]; both are passed separately.
//! Whether a request is small enough to be processed is decided in [`bounds`].

pub mod bounds;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod properties;
pub mod rows;
pub mod snapshot;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::effect::Effects;
use super::entry::{Content, Intent, Offer, Revision};
use super::ids::{AuthorId, EntryId, Epoch};
use super::key::Key;
use super::row::{LogRow, RowName};
use super::write_set::WriteSet;

/// The members that each request has in common, and the message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request<M> {
    /// The client id of the device, which is the author of its entries.
    pub client_id: AuthorId,
    /// The message.
    pub log: M,
}

/// Bytes that are not the expected message.
#[derive(Debug, thiserror::Error)]
#[error("{member} is not as this message requires: {source}; send it as docs/protocol.md says")]
pub struct BadMessage {
    /// The path of the member, or of the object that lacks one; `.` is the whole message.
    pub member: String,
    /// The reason.
    pub source: serde_json::Error,
}

/// Reads a message.
pub fn read<M: DeserializeOwned>(json: &[u8]) -> Result<M, BadMessage> {
    // Recording the path of each member doubles the cost: only a bad message is read with it.
    serde_json::from_slice(json).or_else(|_| read_with_path(json))
}

/// Reads a message; an error names the member.
fn read_with_path<M: DeserializeOwned>(json: &[u8]) -> Result<M, BadMessage> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let message = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let member = error.path().to_string();
        BadMessage { member, source: error.into_inner() }
    })?;
    let whole = |source| BadMessage { member: String::from("."), source };
    reader.end().map_err(whole)?;
    Ok(message)
}

/// A position in the feed: everything up to it has been received.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Cursor(pub u64);

/// The epoch and the membership version of a message. A request with another epoch or membership
/// version gets the response `resync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EpochStamp {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The version of the user's membership.
    pub membership: u64,
}

/// Requests the items after a cursor. A cursor above the head is not one of this log, and is
/// answered `resync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Epoch and membership version.
    pub stamp: EpochStamp,
    /// The cursor.
    pub cursor: Cursor,
    /// Maximum number of items in the response; at least 1 is returned if there is one. The server
    /// also has limits of its own.
    pub limit: usize,
}

/// The response to a [`Fetch`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", content = "page", rename_all = "snake_case")]
pub enum Fetched {
    /// Take a snapshot: the epoch or the membership changed, or the horizon has passed this cursor.
    Resync,
    /// The next items.
    Page(Page),
}

/// Items of the feed, oldest position first. Only applied by a replica whose cursor is at its
/// start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Epoch and membership version.
    pub stamp: EpochStamp,
    /// The cursor before the items.
    pub from: Cursor,
    /// The items.
    pub items: Vec<Item>,
    /// The cursor after the items.
    pub next: Cursor,
    /// Whether more items follow.
    pub more: bool,
    /// The horizon, only on the last page: a replica that has all items may fold up to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Key>,
}

/// An entry for one viewer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "item", content = "entry", rename_all = "snake_case")]
pub enum Item {
    /// It has visible effects, or is the viewer's own.
    Entry(Box<ViewedEntry>),
    /// It has no visible effects any more, though an earlier view touched a bucket of the viewer.
    Gone(EntryId),
}

impl Item {
    /// The entry.
    pub fn id(&self) -> EntryId {
        match self {
            Self::Entry(seen) => seen.key.id,
            Self::Gone(id) => *id,
        }
    }
}

/// An entry as a viewer sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewedEntry {
    /// Its key, which contains its id and its author.
    pub key: Key,
    /// Its effects on rows that the viewer may read.
    pub effects: Effects,
    /// Only to the author: the server's state of the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Held>,
    /// Only to the authority: the whole entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<FullEntry>,
}

/// The server's state of an entry, for its author.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The revision.
    pub revision: Revision,
    /// The write set of that content.
    pub write_set: WriteSet,
    /// Whether the authority has taken it over.
    pub by_authority: bool,
    /// Whether it wrote a row that the author does not read, in a bucket that the user only writes.
    /// The author keeps its content from then on: a run would miss the row.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_hidden: bool,
}

/// An entry for the authority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FullEntry {
    /// The time that its context sees.
    pub time: u64,
    /// The action; `None` for plain SQL, and for an entry that its author could not run again: it
    /// wrote a row that its author does not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// Its content.
    pub content: Content,
    /// Incremented by each content, of the author or the authority. A correction compares and sets
    /// it.
    pub version: u64,
}

/// Everything a user may read: the base at the horizon, and the user's view of every later item.
///
/// It travels in pages ([`snapshot`]).
#[derive(Debug, Clone, PartialEq)]
pub struct LogSnapshot {
    /// Epoch and membership version.
    pub stamp: EpochStamp,
    /// The buckets that the user writes.
    pub buckets: WriteSet,
    /// The horizon.
    pub horizon: Key,
    /// The rows at the horizon.
    pub base: Vec<(RowName, LogRow)>,
    /// The later items, in key order.
    pub items: Vec<ViewedEntry>,
    /// The cursor after the items.
    pub cursor: Cursor,
}

/// Offers entries in key order; only one request at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Publish {
    /// Epoch and membership version.
    pub stamp: EpochStamp,
    /// Incremented by each request of this author, and durable: the server ignores an old copy.
    pub number: u64,
    /// The entries.
    pub offers: Vec<Offer>,
}

/// The response to a [`Publish`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// The number of the request.
    pub number: u64,
    /// The result.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The result of a publish request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// Not processed: the epoch or the membership is another.
    Resync,
    /// Not processed: a request of this author with the number `last`, not below this one, came
    /// earlier.
    Stale {
        /// The highest number processed.
        last: u64,
    },
    /// Verdicts on the first entries, in request order, up to the first that was not accepted.
    Verdicts {
        /// One for each of these entries.
        verdicts: Vec<EntryVerdict>,
    },
}

/// The verdict on one entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryVerdict {
    /// The entry.
    pub id: EntryId,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The verdict on one offer. All but the first four end the batch: nothing later is accepted before
/// the author has received the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The server holds this revision at this key, from this or an earlier request.
    Held {
        /// The acknowledged revision.
        revision: Revision,
        /// The key on the server.
        key: Key,
    },
    /// The authority has taken the entry over: the author folds it like other devices.
    ByAuthority {
        /// The author's last accepted revision.
        revision: Revision,
        /// The key on the server.
        key: Key,
    },
    /// The author has left a bucket of the accepted content, or a row of it lies outside of the
    /// author's buckets now. The content is kept unchanged.
    Frozen {
        /// The revision on the server.
        revision: Revision,
        /// The key on the server.
        key: Key,
    },
    /// It was accepted, and is below the horizon.
    Final,
    /// It places a row in a bucket without the author's membership, takes the key of a row there or
    /// changes one that now lies there, its key names another author, or it is larger than
    /// [`bounds`] allows: parked.
    Denied,
    /// Its key is further ahead of the server's clock than the drift bound.
    TooFarAhead {
        /// The server's time.
        now: u64,
    },
    /// The counter of its key is more than 2^32 above any accepted one.
    CounterTooHigh {
        /// The highest accepted counter.
        highest: u64,
    },
    /// Its key is not above the horizon.
    TooOld {
        /// The horizon.
        horizon: Key,
    },
    /// The id belongs to an entry of another author: this database was copied, and the copy
    /// published first.
    Foreign,
}

impl Verdict {
    /// Whether the server reads the rest of the batch.
    pub fn goes_on(&self) -> bool {
        matches!(
            self,
            Self::Held { .. } | Self::ByAuthority { .. } | Self::Frozen { .. } | Self::Final
        )
    }
}

/// The authority's correction of an entry: accepted if the content is still the one that the authority
/// read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// The entry.
    pub id: EntryId,
    /// The version that the authority read.
    pub version: u64,
    /// The corrected effects.
    pub effects: Effects,
}

/// A request of the authority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correct {
    /// Epoch and membership version.
    pub stamp: EpochStamp,
    /// In key order.
    pub corrections: Vec<Correction>,
}

/// The response to a [`Correct`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Corrected {
    /// How many corrections were applied. Those that are not refused either met newer content, which
    /// the feed has.
    pub taken: usize,
    /// The entries that keep their content: the correction would change a row where the author may
    /// not write, or the server's tables cannot hold it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<EntryId>,
}
