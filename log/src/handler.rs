//! Actions: pure functions from rows and arguments to effects, and the tracked view of the rows.
//!
//! To decide whether an action must run again, the log needs everything that it read. So a handler
//! reads rows only through its [`Draft`], which records every table that was read or written, even
//! if no row was found or changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use super::effect::{Effect, Effects};
use super::entry::Intent;
use super::ids::{Buckets, EntryId, Name};
use super::row::{Columns, LogRow, Placement, RowName};
use super::store::{LogRows, StoreError};

/// A pseudo-table that a run reads when it asks for its author's buckets. Joining or leaving a
/// bucket changes it.
pub const MEMBERSHIP: &str = "rejoin_membership";

/// Why a run has no effect.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The action rejects with a rule of the app. It may succeed when run again.
    #[error("refused: {0}")]
    Refused(String),
    /// There is no handler for this name and version, and no upcaster: the recorded effects are
    /// kept.
    #[error("no handler of that name and version")]
    NoHandler,
    /// The store failed; the caller must roll back the transaction.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The app's actions.
pub trait Handlers: Debug {
    /// Applies the intent to `draft`. Deterministic: it depends only on its arguments.
    fn run(&self, intent: &Intent, draft: &mut Draft<'_>) -> Result<(), Stop>;
}

impl<H: Handlers + ?Sized> Handlers for std::sync::Arc<H> {
    fn run(&self, intent: &Intent, draft: &mut Draft<'_>) -> Result<(), Stop> {
        (**self).run(intent, draft)
    }
}

/// The result of a run that had a handler.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ran {
    /// Its net effects; none if it was refused.
    pub effects: Effects,
    /// The tables that it read or wrote, even if it was refused: it may succeed when they change.
    pub tables: BTreeSet<Name>,
    /// Why the action rejects, if it does.
    pub refusal: Option<String>,
}

/// The context of a run.
#[derive(Debug, Clone)]
pub struct Context {
    /// The entry, which is the namespace of ids created by the run.
    pub entry: EntryId,
    /// When the action was performed, in milliseconds since 1970; the same at each run.
    pub time: u64,
    /// The buckets that the author writes. `None` on a device without a snapshot.
    pub buckets: Option<Buckets>,
    /// If the authority runs the action in place of its author, the buckets that the author reads:
    /// the store then has other rows as well, which the run must not see.
    pub readable: Option<Buckets>,
}

/// The rows for a handler: those of `rows` that the author may read, with the handler's own changes
/// on top.
#[derive(Debug)]
pub struct Draft<'a> {
    context: &'a Context,
    rows: &'a dyn LogRows,
    placement: &'a dyn Placement,
    changed: BTreeMap<RowName, Option<LogRow>>,
    tables: BTreeSet<Name>,
}

impl<'a> Draft<'a> {
    /// Creates a view of these rows for one run.
    pub fn new(context: &'a Context, rows: &'a dyn LogRows, placement: &'a dyn Placement) -> Self {
        Self { context, rows, placement, changed: BTreeMap::new(), tables: BTreeSet::new() }
    }

    /// The entry.
    pub fn entry(&self) -> EntryId {
        self.context.entry
    }

    /// When the action was performed.
    pub fn time(&self) -> u64 {
        self.context.time
    }

    /// The author's buckets, if known.
    pub fn buckets(&mut self) -> Option<&'a Buckets> {
        self.note(&Name::from(MEMBERSHIP));
        self.context.buckets.as_ref()
    }

    /// A row, if the author may read it.
    pub fn row(&mut self, row: &RowName) -> Result<Option<LogRow>, Stop> {
        self.note(&row.table);
        self.look(row)
    }

    /// All rows of a table that the author may read, in key order.
    pub fn table(&mut self, table: &Name) -> Result<Vec<(RowName, LogRow)>, Stop> {
        self.note(table);
        let mut rows: BTreeMap<RowName, LogRow> = BTreeMap::new();
        for (name, image) in self.rows.table(table)? {
            if self.sees(&name, &image) {
                rows.insert(name, image);
            }
        }
        for (name, change) in self.changed.iter().filter(|(name, _)| name.table == *table) {
            match change {
                Some(image) => rows.insert(name.clone(), image.clone()),
                None => rows.remove(name),
            };
        }
        Ok(rows.into_iter().collect())
    }

    /// Writes a whole row, replacing any existing one.
    pub fn put(&mut self, row: &RowName, image: LogRow) {
        self.note_write(&row.table);
        self.changed.insert(row.clone(), Some(image));
    }

    /// Sets columns of a row; returns whether the row exists.
    pub fn set(&mut self, row: &RowName, columns: &Columns) -> Result<bool, Stop> {
        self.note(&row.table);
        let Some(before) = self.look(row)? else {
            return Ok(false);
        };
        self.changed.insert(row.clone(), Some(before.with(columns)));
        Ok(true)
    }

    /// Removes a row; returns whether it existed.
    pub fn remove(&mut self, row: &RowName) -> Result<bool, Stop> {
        self.note(&row.table);
        let present = self.look(row)?.is_some();
        self.changed.insert(row.clone(), None);
        Ok(present)
    }

    /// The tables read or written so far.
    pub fn tables(&self) -> &BTreeSet<Name> {
        &self.tables
    }

    /// The net effects so far.
    pub fn effects(&self) -> Result<Effects, StoreError> {
        let mut effects = Vec::new();
        for (name, after) in &self.changed {
            let before = self.rows.row(name)?.filter(|before| self.sees(name, before));
            if let Some(effect) = Effect::between(before.as_ref(), after.as_ref()) {
                effects.push((name.clone(), effect));
            }
        }
        Ok(effects.into_iter().collect())
    }

    fn look(&self, row: &RowName) -> Result<Option<LogRow>, Stop> {
        if let Some(changed) = self.changed.get(row) {
            return Ok(changed.clone());
        }
        Ok(self.rows.row(row)?.filter(|image| self.sees(row, image)))
    }

    fn sees(&self, row: &RowName, image: &LogRow) -> bool {
        let Context { readable, buckets, .. } = self.context;
        let shown = readable.as_ref().or(buckets.as_ref());
        shown.is_none_or(|shown| self.placement.buckets(row, image).meet(shown))
    }

    fn note_write(&mut self, table: &Name) {
        self.note(table);
    }

    fn note(&mut self, table: &Name) {
        if !self.tables.contains(table) {
            self.tables.insert(table.clone());
        }
    }
}
