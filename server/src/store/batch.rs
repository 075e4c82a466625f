//! Loads and applies several groups of a push at once, for a store across a network: one round trip for each step instead of
//! several for each group.
//!
//! The engine evaluates between the two (`engine/plan.rs`). A local store has none of this: it reads and writes at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::writing::{StoreWrite, WriteKind};
use crate::error::Fault;
use crate::model::{ReadScope, StoredRow, StoredVerdict, Table};

/// Row ids by the places of their tables in the schema.
pub type RowIds = BTreeMap<usize, BTreeSet<String>>;

/// What is loaded.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// The user of the push.
    pub user: &'a str,
    /// Mutations whose verdicts are read.
    pub mutations: &'a [&'a str],
    /// Rows that are written, and rows that they refer to. They are locked.
    pub rows: &'a RowIds,
    /// The rows that the user may read.
    pub scope: &'a ReadScope,
    /// The rows that the user may write.
    pub own: &'a ReadScope,
}

/// What was loaded. Anything that is missing here is read by itself when it is needed.
#[derive(Debug, Default)]
pub struct Loaded {
    /// By mutation; `None` if there is no verdict.
    pub verdicts: HashMap<String, Option<StoredVerdict>>,
    /// By the place of the table and the id; `None` if there is no row.
    pub rows: Vec<(usize, String, Option<StoredRow>)>,
}

/// A write of a group.
#[derive(Debug)]
pub struct PlannedWrite {
    /// The number of the group, counted from 0.
    pub group: usize,
    /// The place of the table in the schema.
    pub table: usize,
    /// The write.
    pub write: StoreWrite,
}

/// Writes that are applied together.
#[derive(Debug)]
pub struct Planned<'a> {
    /// The user of the push.
    pub user: &'a str,
    /// The writes, in their order.
    pub writes: &'a [PlannedWrite],
    /// Verdicts by mutation; the last one of a mutation is stored.
    pub verdicts: &'a [(String, StoredVerdict)],
    /// The group that is evaluated now.
    pub group: usize,
    /// Whether these are the last ones of their savepoint, which is kept.
    pub is_last: bool,
}

/// Why planned writes were not applied.
#[derive(Debug)]
pub enum ApplyError {
    /// A write of this group failed. The savepoint must be undone.
    Group(usize),
    /// The whole transaction failed.
    Fault(Fault),
}

/// Loads and applies at once.
pub trait Batch {
    /// Reads and locks rows, and reads verdicts.
    fn load(&self, load: &Load<'_>) -> Result<Loaded, Fault>;

    /// Whether such a write may change other rows than the one that it names: by a trigger or a cascade of the application's.
    fn changes_others(&self, table: &Table, kind: WriteKind) -> bool;

    /// Applies writes and verdicts inside the savepoint that was begun last.
    fn apply(&self, planned: &Planned<'_>) -> Result<(), ApplyError>;
}
