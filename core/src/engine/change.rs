//! What a commit changed: told once per commit, after it, to whoever watches.

use std::collections::BTreeMap;

use crate::value::Value;

/// Who wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The app, on this device.
    Local,
    /// A server's answer.
    Remote,
}

/// The tables that one commit touched.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Who wrote.
    pub origin: Origin,
    /// By table: the keys that were touched, or `None` where only the table is known (local-only tables, bulk loads).
    pub tables: BTreeMap<String, Option<Vec<Value>>>,
    /// Whether the queue or any row's sync state changed.
    pub queue: bool,
}
