//! The loaded rows of a push and its pending writes.
//!
//! Groups are evaluated on loaded rows. Their writes are applied as a batch, at the end or before a
//! read that must see them. A loaded row is locked, so only this transaction changes it. A written
//! row is loaded again when it is next needed, together with all other written rows of its table.
//! If a write may change other rows, all loaded rows are discarded.
//!
//! A missing row cannot be locked. If another transaction inserts it, the insert of this one fails;
//! the groups are then evaluated again without the cached knowledge of missing rows.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use rejoin_protocol::Value;

use super::bucket;
use crate::error::Fault;
use crate::model::{Access, ReadScope, Rights, Schema, StoredRow, StoredVerdict, Table};
use crate::store::{ApplyError, Batch, Load, Planned, PlannedWrite, RowIds, StoreWrite};

/// Rows by table position and id; `None` if the row is missing.
type Rows = HashMap<usize, HashMap<String, Option<Rc<StoredRow>>>>;

/// The plan of a push in its transaction.
pub(super) struct PushPlan<'a> {
    batch: &'a dyn Batch,
    schema: &'a Schema,
    user: &'a str,
    rights: &'a Rights,
    scope: ReadScope,
    own: ReadScope,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    known: Loaded,
    /// Verdicts given in this transaction.
    given: Vec<String>,
    /// Rows that were loaded again after a write.
    again: Vec<(usize, String)>,
    /// The number of writes so far.
    writes: usize,
    /// One mark per savepoint of a group.
    marks: Vec<Mark>,
    /// `Some` while several groups are evaluated as a batch.
    pending: Option<Pending>,
}

/// Cached knowledge of a row or a verdict: `None` if it is missing.
pub(super) struct Lookup<T>(pub(super) Option<T>);

/// Cached rows and verdicts.
#[derive(Clone, Default)]
struct Loaded {
    verdicts: HashMap<String, Option<StoredVerdict>>,
    rows: Rows,
    /// Rows written since they were loaded.
    stale: RowIds,
    /// Whether rows are cached; not after a write that may have changed any row.
    keeps_rows: bool,
}

/// Writes and verdicts not applied yet.
#[derive(Default)]
struct Pending {
    /// The index of the group being evaluated.
    group: usize,
    writes: Vec<PlannedWrite>,
    verdicts: Vec<(String, StoredVerdict)>,
    /// Written rows whose buckets are checked at the end.
    buckets: Vec<WrittenBucket>,
    /// The group that failed.
    failed: Option<usize>,
}

/// A row that was written in a table whose rows name a bucket.
struct WrittenBucket {
    group: usize,
    table: usize,
    id: String,
    /// The value that named the bucket of the live row before.
    former: Option<Value>,
}

/// The state at the start of a savepoint.
#[derive(Clone, Copy, Default)]
struct Mark {
    given: usize,
    again: usize,
    writes: usize,
    /// The number of pending writes and verdicts; `None` once some of the group's writes were applied.
    pending: Option<(usize, usize)>,
}

/// The state before a batch of groups, restored if one of them fails.
pub(super) struct PlanBackup(Loaded, Mark);

impl<'a> PushPlan<'a> {
    pub(super) fn new(
        batch: &'a dyn Batch,
        schema: &'a Schema,
        user: &'a str,
        rights: &'a Rights,
    ) -> Self {
        let scope = ReadScope::of(&rights.reads);
        let own = ReadScope::written_by(user, &rights.writes);
        Self { batch, schema, user, rights, scope, own, state: RefCell::default() }
    }

    /// Loads these verdicts and rows.
    pub(super) fn load(&self, mutations: &[&str], rows: &RowIds) -> Result<(), Fault> {
        let mut state = self.state.borrow_mut();
        state.known.keeps_rows = true;
        self.load_into(&mut state.known, mutations, rows)
    }

    fn load_into(
        &self,
        known: &mut Loaded,
        mutations: &[&str],
        rows: &RowIds,
    ) -> Result<(), Fault> {
        let Self { user, scope, own, .. } = self;
        let loaded = self.batch.load(&Load { user, mutations, rows, scope, own })?;
        known.verdicts.extend(loaded.verdicts);
        for (table, id, row) in loaded.rows {
            known.rows.entry(table).or_default().insert(id, row.map(Rc::new));
        }
        Ok(())
    }

    /// The cached verdict on a mutation; `None` if it is not cached whether there is one.
    pub(super) fn verdict(&self, mutation: &str) -> Option<Lookup<StoredVerdict>> {
        self.state.borrow().known.verdicts.get(mutation).cloned().map(Lookup)
    }

    /// Records a verdict. Returns whether it is pending, so that the caller need not store it.
    pub(super) fn put_verdict(&self, mutation: &str, verdict: &StoredVerdict) -> bool {
        let mut state = self.state.borrow_mut();
        state.given.push(mutation.to_owned());
        state.known.verdicts.insert(mutation.to_owned(), Some(verdict.clone()));
        let Some(pending) = &mut state.pending else { return false };
        pending.verdicts.push((mutation.to_owned(), verdict.clone()));
        true
    }

    /// Stores verdicts again, in one round trip.
    pub(super) fn put_verdicts(&self, verdicts: &[(String, StoredVerdict)]) -> Result<(), Fault> {
        let (user, group, is_last) = (self.user, 0, false);
        let planned = Planned { user, writes: &[], verdicts, group, is_last, is_set: false };
        self.batch.apply(&planned).map_err(|error| match error {
            ApplyError::Fault(fault) => fault,
            ApplyError::Group(_) => Fault::Transient(String::from("verdicts were not stored")),
        })
    }

    /// The cached row of this key. A written row is loaded again.
    pub(super) fn row(
        &self,
        table: &Table,
        key: &Value,
    ) -> Result<Option<Lookup<StoredRow>>, Fault> {
        let (Some(table), Some(id)) = (self.place(table), key.to_id()) else { return Ok(None) };
        let is_stale =
            |state: &State| state.known.stale.get(&table).is_some_and(|ids| ids.contains(&id));
        if is_stale(&self.state.borrow()) {
            self.settle()?;
            let mut state = self.state.borrow_mut();
            let rows = std::mem::take(&mut state.known.stale);
            let ids = rows.iter().flat_map(|(at, ids)| ids.iter().map(|id| (*at, id.clone())));
            state.again.extend(ids);
            self.load_into(&mut state.known, &[], &rows)?;
        }
        let state = self.state.borrow();
        let row = state.known.rows.get(&table).and_then(|rows| rows.get(&id));
        Ok(row.map(|row| Lookup(row.as_deref().cloned())))
    }

    /// Records a write; returns it if it must be applied now.
    pub(super) fn write(&self, table: &Table, write: StoreWrite) -> Option<StoreWrite> {
        let mut state = self.state.borrow_mut();
        state.writes += 1;
        let Some(place) = self.place(table) else { return Some(write) };
        if self.batch.changes_others(table, write.kind()) {
            state.known.forget_rows();
        } else {
            state.known.wrote(self.schema, place, write.key(table));
        }
        let Some(pending) = &mut state.pending else { return Some(write) };
        let group = pending.group;
        pending.writes.push(PlannedWrite { group, table: place, write });
        None
    }

    /// Applies the pending writes before a read that must see them.
    pub(super) fn settle(&self) -> Result<(), Fault> {
        self.apply(false)
    }

    fn apply(&self, is_last: bool) -> Result<(), Fault> {
        let mut state = self.state.borrow_mut();
        let State { marks, pending: Some(pending), .. } = &mut *state else { return Ok(()) };
        if pending.failed.is_some() {
            return Err(Fault::Undone);
        }
        if !is_last && pending.writes.is_empty() && pending.verdicts.is_empty() {
            return Ok(());
        }
        let all = (pending.writes.len(), pending.verdicts.len());
        for mark in marks.iter_mut() {
            // A group without writes can still be rolled back alone.
            mark.pending = mark.pending.filter(|mark| *mark == all).map(|_| (0, 0));
        }
        let group = pending.group;
        let (writes, verdicts) =
            (std::mem::take(&mut pending.writes), std::mem::take(&mut pending.verdicts));
        let (user, writes, verdicts) = (self.user, writes.as_slice(), verdicts.as_slice());
        let planned = Planned { user, writes, verdicts, group, is_last, is_set: false };
        match self.batch.apply(&planned) {
            Ok(()) => Ok(()),
            Err(ApplyError::Fault(fault)) => Err(fault),
            Err(ApplyError::Group(group)) => {
                pending.failed = Some(group);
                Err(Fault::Undone)
            }
        }
    }

    /// Begins the savepoint of a group; returns whether the store must begin one.
    pub(super) fn begin(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let mark = state.mark();
        state.marks.push(mark);
        state.pending.is_none()
    }

    /// Releases the savepoint of a group; returns whether the store must release its own.
    pub(super) fn keep(&self) -> bool {
        let mut state = self.state.borrow_mut();
        state.marks.pop();
        state.pending.is_none()
    }

    /// Rolls back the savepoint of a group; returns whether the store must roll back its own. In a
    /// batch it fails if some of this group's writes were applied.
    pub(super) fn undo(&self) -> Result<bool, Fault> {
        let mut state = self.state.borrow_mut();
        let mark = state.marks.pop().unwrap_or_default();
        state.undo_to(mark);
        let Some(pending) = &mut state.pending else { return Ok(true) };
        let Some((writes, verdicts)) = mark.pending else {
            pending.failed = Some(pending.group);
            return Err(Fault::Undone);
        };
        pending.writes.truncate(writes);
        pending.verdicts.truncate(verdicts);
        Ok(false)
    }

    /// Whether several groups are evaluated as a batch.
    pub(super) fn is_together(&self) -> bool {
        self.state.borrow().pending.is_some()
    }

    /// Starts a batch of groups, in a savepoint begun by the caller.
    pub(super) fn start(&self) -> PlanBackup {
        let mut state = self.state.borrow_mut();
        state.pending = Some(Pending::default());
        PlanBackup(state.known.clone(), state.mark())
    }

    /// In a batch: starts the next group.
    pub(super) fn next_group(&self, number: usize) {
        if let Some(pending) = &mut self.state.borrow_mut().pending {
            pending.group = number;
        }
    }

    /// In a batch: records a written row for [`check_buckets`](Self::check_buckets). Returns whether
    /// this is a batch.
    pub(super) fn check_bucket_later(
        &self,
        table: &Table,
        key: &Value,
        former: Option<&Value>,
    ) -> bool {
        let Some(pending) = &mut self.state.borrow_mut().pending else { return false };
        let (Some(table), Some(id)) = (self.place(table), key.to_id()) else { return false };
        let (group, former) = (pending.group, former.cloned());
        pending.buckets.push(WrittenBucket { group, table, id, former });
        true
    }

    /// In a batch: whether all written rows are in buckets that the user may put rows into, by one query. If not,
    /// the group of the first other one has failed; so has that of a large row, which is not loaded.
    pub(super) fn check_buckets(&self) -> Result<(), Fault> {
        let mut state = self.state.borrow_mut();
        let written = state.pending.as_mut().map(|pending| std::mem::take(&mut pending.buckets));
        drop(state);
        let written = written.unwrap_or_default();
        if written.is_empty() {
            return Ok(());
        }
        self.settle()?;
        let mut rows = RowIds::new();
        for WrittenBucket { table, id, .. } in &written {
            rows.entry(*table).or_default().insert(id.clone());
        }
        let mut found = Loaded::default();
        self.load_into(&mut found, &[], &rows)?;
        let is_own = |written: &WrittenBucket| {
            let table = self.schema.tables.get(written.table)?;
            let Some(stored) = found.rows.get(&written.table)?.get(&written.id)? else {
                return Some(true);
            };
            let named = bucket::column(table)?;
            let (former, value) = (written.former.as_ref(), stored.row.cell(named.column));
            let is_foreign = bucket::is_foreign(table, named, former, value, self.rights);
            Some(stored.row.is_deleted(table) || !is_foreign)
        };
        match written.iter().find(|written| is_own(written) != Some(true)) {
            None => Ok(()),
            Some(WrittenBucket { group, .. }) => {
                self.next_group(*group);
                Err(self.fail())
            }
        }
    }

    /// Marks the current group as impossible to evaluate within the batch.
    pub(super) fn fail(&self) -> Fault {
        if let Some(pending) = &mut self.state.borrow_mut().pending {
            pending.failed = Some(pending.group);
        }
        Fault::Undone
    }

    /// Applies all pending writes and keeps the batch's savepoint.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        self.apply(true)?;
        self.state.borrow_mut().pending = None;
        Ok(())
    }

    /// Restores the state before the batch, whose savepoint the caller rolls back; returns the
    /// failed group.
    pub(super) fn undo_all(&self, PlanBackup(known, mark): PlanBackup) -> usize {
        let mut state = self.state.borrow_mut();
        let failed = state.pending.take().and_then(|pending| pending.failed);
        state.given.truncate(mark.given);
        state.again.truncate(mark.again);
        state.marks.clear();
        state.known = known;
        state.known.doubt_missing_rows();
        failed.unwrap_or_default()
    }

    /// Discards cached rows: the host may have changed any row.
    pub(super) fn forget_rows(&self) {
        self.state.borrow_mut().known.forget_rows();
    }

    fn place(&self, table: &Table) -> Option<usize> {
        self.schema.tables.iter().position(|other| other.number == table.number)
    }
}

impl State {
    fn mark(&self) -> Mark {
        let pending = self.pending.as_ref();
        let pending = pending.map(|pending| (pending.writes.len(), pending.verdicts.len()));
        Mark { given: self.given.len(), again: self.again.len(), writes: self.writes, pending }
    }

    /// Discards verdicts and reloaded rows since the mark: they may reflect writes that are rolled
    /// back.
    fn undo_to(&mut self, mark: Mark) {
        for mutation in self.given.drain(mark.given.min(self.given.len())..) {
            self.known.verdicts.remove(&mutation);
        }
        if self.writes == mark.writes || !self.known.keeps_rows {
            return;
        }
        for (at, id) in self.again.drain(mark.again.min(self.again.len())..) {
            if let Some(rows) = self.known.rows.get_mut(&at) {
                rows.remove(&id);
                self.known.stale.entry(at).or_default().insert(id);
            }
        }
    }
}

impl Loaded {
    /// Records that a row was written or is about to be.
    fn wrote(&mut self, schema: &Schema, table: usize, key: &Value) {
        if !self.keeps_rows {
            return;
        }
        if let Some(id) = key.to_id()
            && self.rows.get_mut(&table).is_some_and(|rows| rows.remove(&id).is_some())
        {
            self.stale.entry(table).or_default().insert(id);
        }
        // Access to child rows depends on this row. A missing child is still missing.
        for at in 0..schema.tables.len() {
            if is_below(schema, at, table) {
                self.move_to_stale(at, Option::is_some);
            }
        }
    }

    /// Discards missing rows: another transaction may have inserted them.
    fn doubt_missing_rows(&mut self) {
        let tables: Vec<usize> = self.rows.keys().copied().collect();
        for at in tables {
            self.move_to_stale(at, Option::is_none);
        }
    }

    fn move_to_stale(&mut self, at: usize, is_moved: fn(&Option<Rc<StoredRow>>) -> bool) {
        let Some(rows) = self.rows.get_mut(&at) else { return };
        let moved = rows.extract_if(|_, row| is_moved(row)).map(|(id, _)| id);
        self.stale.entry(at).or_default().extend(moved);
    }

    /// Discards all rows: any of them may have changed.
    fn forget_rows(&mut self) {
        self.keeps_rows = false;
        self.rows.clear();
        self.stale.clear();
    }
}

/// Whether access to the rows of `table` depends on rows of `above`.
fn is_below(schema: &Schema, table: usize, above: usize) -> bool {
    let mut lower = schema.tables.get(table);
    // Bounded by the number of tables: no table is above itself.
    for _ in &schema.tables {
        let Some(Table { access: Access::Chain { parent, .. }, .. }) = lower else { return false };
        if *parent == above {
            return true;
        }
        lower = schema.tables.get(*parent);
    }
    false
}
