//! Conflict resolvers: how a table decides about a change whose expected values differ from the
//! stored row.
//!
//! A resolver runs only for columns that cannot be merged. It gets the time of an edit by the
//! server's clock. The device reports only the edit's age, so a wrong device clock has no effect.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use rejoin_protocol::Value;
use rejoin_protocol::wire::push::Operation;

/// The resolver of a table.
#[derive(Debug, Clone, Default)]
pub enum Resolve {
    /// Merges by column. If both sides changed the same column, that is a conflict, resolved by the
    /// device's policy.
    #[default]
    ColumnMerge,
    /// No merge: an edit of a row that has changed is a conflict.
    ServerWins,
    /// Like `ColumnMerge`, with conflicts decided by host code.
    Custom(Arc<dyn Resolver>),
}

/// Decides about conflicts. Called within the push transaction: it should be quick, and must not
/// write.
pub trait Resolver: Send + Sync + Debug {
    /// Decides about this change.
    fn resolve(&self, contention: &Contention<'_>) -> Resolution;
}

/// A conflicting change. Columns by name, including the row's server-owned columns.
#[derive(Debug)]
pub struct Contention<'a> {
    /// The table.
    pub table: &'a str,
    /// The row's key as text.
    pub id: &'a str,
    /// The user who pushed it.
    pub user: &'a str,
    /// The operation of the change.
    pub operation: Operation,
    /// The stored row; if it is deleted, its last values.
    pub present: BTreeMap<&'a str, &'a Value>,
    /// Whether that row is deleted.
    pub is_deleted: bool,
    /// The device's old values of the changed columns, or of the deleted row. Empty for a create,
    /// and from a plain peer.
    pub seen: BTreeMap<&'a str, &'a Value>,
    /// The new values; empty for a delete.
    pub sent: BTreeMap<&'a str, &'a Value>,
    /// When the edit was made, in microseconds since 1970 by the server's clock; `None` if the
    /// device does not report it.
    pub written_at: Option<i64>,
    /// When the row was last written, in the same unit.
    pub present_at: i64,
}

/// The decision of a resolver.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    /// It is a conflict: the device rebuilds or parks it, depending on its policy.
    Conflict,
    /// The change wins and overwrites the row, even a deleted one.
    Apply,
    /// Writes these columns instead and accepts the change; the device takes over the row.
    Write(Vec<(String, Value)>),
    /// Rejects the change permanently with this message.
    Refuse(String),
}
