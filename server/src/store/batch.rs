//! Loads and applies several groups of a push as a batch: one round trip per step instead of
//! several per group. For stores across a network.
//!
//! The engine evaluates the groups between the two steps (`engine/plan.rs`). A local store does not
//! batch: it reads and writes immediately.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::writing::{StoreWrite, WriteKind};
use crate::error::Fault;
use crate::model::{ReadScope, StoredRow, StoredVerdict, Table};

/// Row ids by table position in the schema.
pub type RowIds = BTreeMap<usize, BTreeSet<String>>;

/// What to load.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// The user of the push.
    pub user: &'a str,
    /// Mutations whose verdicts to read.
    pub mutations: &'a [&'a str],
    /// Rows to write, and rows that they refer to. They are locked.
    pub rows: &'a RowIds,
    /// The rows that the user may read.
    pub scope: &'a ReadScope,
    /// The rows that the user may write.
    pub own: &'a ReadScope,
}

/// The loaded verdicts and rows. Anything else is read individually when it is needed.
#[derive(Debug, Default)]
pub struct Loaded {
    /// By mutation; `None` if there is no verdict.
    pub verdicts: HashMap<String, Option<StoredVerdict>>,
    /// By table position and id; `None` if there is no row.
    pub rows: Vec<(usize, String, Option<StoredRow>)>,
}

/// A write of a group.
#[derive(Debug)]
pub struct PlannedWrite {
    /// The index of the group.
    pub group: usize,
    /// The position of the table in the schema.
    pub table: usize,
    /// The write.
    pub write: StoreWrite,
}

/// Writes to apply as a batch.
#[derive(Debug)]
pub struct Planned<'a> {
    /// The user of the push.
    pub user: &'a str,
    /// The writes, in their order.
    pub writes: &'a [PlannedWrite],
    /// Verdicts by mutation; the last one of a mutation is stored.
    pub verdicts: &'a [(String, StoredVerdict)],
    /// The group being evaluated.
    pub group: usize,
    /// Whether these are the last writes of their savepoint, which is then released.
    pub is_last: bool,
    /// Whether they are all of one group, whose rows may refer to each other in any order.
    pub is_set: bool,
}

/// Why planned writes were not applied.
#[derive(Debug)]
pub enum ApplyError {
    /// A write of this group failed. The savepoint must be rolled back.
    Group(usize),
    /// The whole transaction failed.
    Fault(Fault),
}

/// Loads and applies in batches.
pub trait Batch {
    /// Reads and locks rows, and reads verdicts.
    fn load(&self, load: &Load<'_>) -> Result<Loaded, Fault>;

    /// Whether such a write may change other rows than the one it names: through a trigger or a
    /// cascade of the application.
    fn changes_others(&self, table: &Table, kind: WriteKind) -> bool;

    /// Applies writes and verdicts within the innermost savepoint.
    fn apply(&self, planned: &Planned<'_>) -> Result<(), ApplyError>;
}
