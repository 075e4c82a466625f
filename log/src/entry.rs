//! Entries: the intent of the user and its effects.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::effect::Effects;
use super::ids::Name;
use super::key::Key;
use super::write_set::WriteSet;
use rejoin_protocol::Value;

/// An action with its arguments. Only the author and the authority see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The action.
    pub action: Name,
    /// The version of the handler that first ran it.
    pub version: u32,
    /// The arguments, by parameter.
    pub arguments: Arc<BTreeMap<Name, Value>>,
}

/// Revision of an entry's content: 0 at the write, incremented by each local change of its effects,
/// sent or not.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u32);

impl Revision {
    /// The next revision. After the maximum there is none, and further changes of the entry are not
    /// published.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The content of an entry at one revision.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Content {
    /// The revision.
    pub revision: Revision,
    /// The effects.
    pub effects: Effects,
    /// The author's write set when the server accepted this content. An effect that it does not
    /// permit is void.
    pub write_set: WriteSet,
}

/// An entry as its author offers it to the server. Publishing and correcting use the same message,
/// an upsert by id and revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Its key, which contains its id and its author.
    pub key: Key,
    /// The time that the action's context sees, in milliseconds since 1970; a new key does not
    /// change it.
    pub time: u64,
    /// The action; `None` for plain SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// The revision of its effects.
    pub revision: Revision,
    /// The effects.
    pub effects: Effects,
}
