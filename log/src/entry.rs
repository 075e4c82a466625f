//! Entries: what was meant, and what it did (L2).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::effect::Effects;
use super::ids::{Buckets, EntryId, Name};
use super::key::Key;
use rejoin_protocol::Value;

/// What was meant: an action with its arguments. Known to the author and the referee only (L8).
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// The action.
    pub action: Name,
    /// The version of the handler with which it was taken (D23).
    pub version: u32,
    /// The arguments, by parameter.
    pub arguments: Arc<BTreeMap<Name, Value>>,
}

/// The number of an entry's content: 0 at the write, one more at each local change of its effects, sent or not (L2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u32);

impl Revision {
    /// The one that follows. After the last there is none, and nothing more is published of the entry.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What an entry does, as of one revision.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Content {
    /// Which revision.
    pub revision: Revision,
    /// The effects.
    pub effects: Effects,
    /// W: the author's buckets at the moment the server took this content. An effect counts only within them (L1).
    pub write_set: Buckets,
}

/// An entry as its author offers it to the server: publishing and correcting are one message, an upsert by id and
/// revision (L2).
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Which entry.
    pub id: EntryId,
    /// Its place in the order.
    pub key: Key,
    /// What the action's context sees as the time, milliseconds since 1970; survives a new key.
    pub time: u64,
    /// What was meant; `None` for plain SQL.
    pub intent: Option<Intent>,
    /// Which revision of its effects.
    pub revision: Revision,
    /// The effects.
    pub effects: Effects,
}
