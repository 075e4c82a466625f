//! Conflict resolvers: how a table decides about a change whose expected values differ from the stored row (D8).
//!
//! A resolver runs only where columns cannot be merged. It gets the time of an edit in this server's clock; the device reports
//! only the edit's age, so a wrong device clock has no effect (O11).

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use rejoin_protocol::Value;
use rejoin_protocol::wire::push::Operation;

/// How a table resolves.
#[derive(Debug, Clone, Default)]
pub enum Resolve {
    /// Columns merge; the same column changed on both sides is a conflict, which the device treats by its policy.
    #[default]
    ColumnMerge,
    /// Nothing merges: an edit of a row that has changed at all since is a conflict.
    ServerWins,
    /// As `ColumnMerge`, and what is in conflict is decided by code of the host's.
    Custom(Arc<dyn Resolver>),
}

/// Decides what is in conflict. Called inside the transaction of the push: it should be quick, and it must not write.
pub trait Resolver: Send + Sync + Debug {
    /// What becomes of this change.
    fn resolve(&self, contention: &Contention<'_>) -> Resolution;
}

/// A change that meets another row than it was made on. Columns by name, the server's own among those of the row.
#[derive(Debug)]
pub struct Contention<'a> {
    /// The table.
    pub table: &'a str,
    /// The row's key as text.
    pub id: &'a str,
    /// Who sends it.
    pub user: &'a str,
    /// What it would do.
    pub operation: Operation,
    /// The row as it stands; a deleted one as it was.
    pub present: BTreeMap<&'a str, &'a Value>,
    /// Whether that row is deleted.
    pub is_deleted: bool,
    /// What the device saw of the columns that it changed, or of the row that it deletes. Empty for a create, and from a plain
    /// peer.
    pub seen: BTreeMap<&'a str, &'a Value>,
    /// What it writes; nothing, if it deletes.
    pub sent: BTreeMap<&'a str, &'a Value>,
    /// When it was written, in microseconds since 1970 by this server's clock; `None` if the device does not say.
    pub written_at: Option<i64>,
    /// When the row was written last, likewise.
    pub present_at: i64,
}

/// What a resolver says.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    /// It is a conflict: the device rebuilds it or parks it, as its policy says.
    Conflict,
    /// The change wins, and is written over the row; over a deleted one too.
    Apply,
    /// These columns are written instead, and the change counts as accepted; the device takes the row over.
    Write(Vec<(String, Value)>),
    /// The content is refused for good, in these words.
    Refuse(String),
}
