//! What a push has loaded, and the writes that it has not applied yet.
//!
//! Groups are evaluated on loaded rows. Their writes are applied together, at the end or before something is read that must
//! find them. A loaded row is locked, so it changes only by writes of this transaction; a row that was written is loaded again
//! when it is needed, with all others of that kind. If a write may change other rows, everything is read anew.
//!
//! A row that is missing cannot be locked. If another transaction inserts it, this one's insert fails; the groups are then
//! evaluated again without what was known of missing rows.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use rejoin_protocol::Value;

use crate::error::Fault;
use crate::model::{Access, ReadScope, Schema, StoredRow, StoredVerdict, Table};
use crate::store::{ApplyError, Batch, Load, Planned, PlannedWrite, RowIds, StoreWrite};

/// Rows by the places of their tables and their ids; `None` if there is no row.
type Rows = HashMap<usize, HashMap<String, Option<Rc<StoredRow>>>>;

/// The plan of a push in its transaction.
pub(super) struct Plan<'a> {
    batch: &'a dyn Batch,
    schema: &'a Schema,
    user: &'a str,
    scope: ReadScope,
    own: ReadScope,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    known: Loaded,
    /// Verdicts given in this transaction.
    given: Vec<String>,
    /// Rows that were loaded again.
    again: Vec<(usize, String)>,
    /// The number of writes so far.
    writes: usize,
    /// One for each savepoint of a group.
    marks: Vec<Mark>,
    /// `Some` while several groups are evaluated together.
    pending: Option<Pending>,
}

/// What is known of a row or a verdict: `None` if there is none.
pub(super) struct Answer<T>(pub(super) Option<T>);

/// What is known without reading.
#[derive(Clone, Default)]
struct Loaded {
    verdicts: HashMap<String, Option<StoredVerdict>>,
    rows: Rows,
    /// Rows that were written since they were loaded.
    stale: RowIds,
    /// Whether rows are kept: not any more after a write that may have changed any of them.
    keeps_rows: bool,
}

/// What is not applied yet.
#[derive(Default)]
struct Pending {
    /// The group that is evaluated now, counted from 0.
    group: usize,
    writes: Vec<PlannedWrite>,
    verdicts: Vec<(String, StoredVerdict)>,
    /// The group in which something failed.
    failed: Option<usize>,
}

/// How far everything had come when a savepoint began.
#[derive(Clone, Copy, Default)]
struct Mark {
    given: usize,
    again: usize,
    writes: usize,
    /// The number of pending writes and verdicts; `None` once some of the group's writes were applied.
    pending: Option<(usize, usize)>,
}

/// What was known before several groups, to return to if one of them fails.
pub(super) struct Before(Loaded, Mark);

impl<'a> Plan<'a> {
    pub(super) fn new(
        batch: &'a dyn Batch,
        schema: &'a Schema,
        user: &'a str,
        held: &[String],
    ) -> Self {
        let (scope, own) = (ReadScope::of(held), ReadScope::owned_by(user));
        Self { batch, schema, user, scope, own, state: RefCell::default() }
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

    /// The verdict on a mutation, if it is known whether there is one.
    pub(super) fn verdict(&self, mutation: &str) -> Option<Answer<StoredVerdict>> {
        self.state.borrow().known.verdicts.get(mutation).cloned().map(Answer)
    }

    /// Notes a verdict. Returns whether it is pending, so that the caller need not store it.
    pub(super) fn put_verdict(&self, mutation: &str, verdict: &StoredVerdict) -> bool {
        let mut state = self.state.borrow_mut();
        state.given.push(mutation.to_owned());
        state.known.verdicts.insert(mutation.to_owned(), Some(verdict.clone()));
        let Some(pending) = &mut state.pending else { return false };
        pending.verdicts.push((mutation.to_owned(), verdict.clone()));
        true
    }

    /// The row of this key, if it is known. A row that was written is loaded again.
    pub(super) fn row(
        &self,
        table: &Table,
        key: &Value,
    ) -> Result<Option<Answer<StoredRow>>, Fault> {
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
        Ok(row.map(|row| Answer(row.as_deref().cloned())))
    }

    /// Notes a write; returns it if it must be applied now.
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

    /// Applies what is pending, because something is read next that must find it.
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
            // A group that has written nothing yet can still be undone by itself.
            mark.pending = mark.pending.filter(|mark| *mark == all).map(|_| (0, 0));
        }
        let Pending { group, writes, verdicts, .. } = std::mem::take(pending);
        pending.group = group;
        let planned =
            Planned { user: self.user, writes: &writes, verdicts: &verdicts, group, is_last };
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

    /// Keeps the savepoint of a group; returns whether the store must keep its own.
    pub(super) fn keep(&self) -> bool {
        let mut state = self.state.borrow_mut();
        state.marks.pop();
        state.pending.is_none()
    }

    /// Undoes the savepoint of a group; returns whether the store must undo its own. Fails among several groups if some of this
    /// one's writes were applied.
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

    /// Whether several groups are evaluated together.
    pub(super) fn is_together(&self) -> bool {
        self.state.borrow().pending.is_some()
    }

    /// Several groups follow, in a savepoint that the caller has begun.
    pub(super) fn start(&self) -> Before {
        let mut state = self.state.borrow_mut();
        state.pending = Some(Pending::default());
        Before(state.known.clone(), state.mark())
    }

    /// Among several groups: this one follows.
    pub(super) fn next_group(&self, number: usize) {
        if let Some(pending) = &mut self.state.borrow_mut().pending {
            pending.group = number;
        }
    }

    /// The group that is evaluated now cannot be decided among the others.
    pub(super) fn fail(&self) -> Fault {
        if let Some(pending) = &mut self.state.borrow_mut().pending {
            pending.failed = Some(pending.group);
        }
        Fault::Undone
    }

    /// Applies all that is pending, and keeps the savepoint of the groups.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        self.apply(true)?;
        self.state.borrow_mut().pending = None;
        Ok(())
    }

    /// Returns to what was known before the groups, whose savepoint the caller undoes; which group failed.
    pub(super) fn undo_all(&self, Before(known, mark): Before) -> usize {
        let mut state = self.state.borrow_mut();
        let failed = state.pending.take().and_then(|pending| pending.failed);
        state.given.truncate(mark.given);
        state.again.truncate(mark.again);
        state.marks.clear();
        state.known = known;
        state.known.doubt_missing_rows();
        failed.unwrap_or_default()
    }

    /// The host may have changed any row.
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

    /// A verdict given since is not stored. A row that was loaded again since may have shown a write that is undone.
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
    /// A row was written, or is about to be.
    fn wrote(&mut self, schema: &Schema, table: usize, key: &Value) {
        if !self.keeps_rows {
            return;
        }
        if let Some(id) = key.to_id()
            && self.rows.get_mut(&table).is_some_and(|rows| rows.remove(&id).is_some())
        {
            self.stale.entry(table).or_default().insert(id);
        }
        // Access to the rows below depends on this row. A missing row below is still missing.
        for at in 0..schema.tables.len() {
            if is_below(schema, at, table) {
                self.move_to_stale(at, Option::is_some);
            }
        }
    }

    /// Rows that were missing may have been inserted by another transaction.
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

    /// Any row may have changed.
    fn forget_rows(&mut self) {
        self.keeps_rows = false;
        self.rows.clear();
        self.stale.clear();
    }
}

/// Whether access to the rows of `table` depends on rows of `above`.
fn is_below(schema: &Schema, table: usize, above: usize) -> bool {
    let mut lower = schema.tables.get(table);
    // At most as many steps as there are tables: no table is above itself.
    for _ in &schema.tables {
        let Some(Table { access: Access::Chain { parent, .. }, .. }) = lower else { return false };
        if *parent == above {
            return true;
        }
        lower = schema.tables.get(*parent);
    }
    false
}
