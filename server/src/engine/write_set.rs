//! Applies the writes of a group as a set: a database that checks each row as it is written may
//! refuse one that is right once the others are written.
//!
//! A group is applied this way only after its writes, row by row, were refused because of other
//! rows. All its changes are evaluated first, on the rows as they are; then the writes are tried in
//! a few orders. Rows that still wait for each other (two that swap a unique value, two that refer
//! to each other) give up their values for free ones first, and constraints that can be deferred are.
//! References are checked before the writes, those to rows that the group names at the end.
//!
//! Cost: a store that batches writes rows together until one is refused, then fewer. An order in which
//! several rows in a row are refused is given up. [`Budget`] bounds the time.

use std::cell::{Cell, RefCell};

use super::budget::Budget;
use super::change::Cells;
use super::rejection::ChangeError;
use super::user_transaction::UserTransaction;
use crate::error::Fault;
use crate::model::{Schema, Table};
use crate::store::StoreWrite;

mod waiting;
mod writer;

use waiting::Waiting;
use writer::Writer;

/// The collected writes of a group.
#[derive(Default)]
pub(super) struct WriteSet {
    phase: Cell<Phase>,
    state: RefCell<State>,
}

/// How far a set is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its changes are evaluated, on the rows as they are.
    #[default]
    Collects,
    /// Its writes begin.
    Begins,
    /// Its writes are applied: the rows are as the group leaves them.
    Written,
    /// A row was refused.
    Refused,
}

#[derive(Default)]
struct State {
    /// The change that is evaluated.
    change: usize,
    writes: Vec<SetWrite>,
    /// The cells of new children, by their change and table.
    children: Vec<(usize, i64, Cells)>,
}

struct SetWrite {
    change: usize,
    table: i64,
    write: StoreWrite,
}

/// Why a change of the set was not applied, with its place.
type Refused = (usize, ChangeError);

impl WriteSet {
    /// Starts the next change.
    pub(super) fn next_change(&self, place: usize) {
        self.state.borrow_mut().change = place;
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Adds a write; returns it if it must be applied now.
    pub(super) fn add(&self, table: &Table, write: StoreWrite) -> Option<StoreWrite> {
        if self.phase() != Phase::Collects {
            return Some(write);
        }
        let mut state = self.state.borrow_mut();
        let (change, table) = (state.change, table.number);
        state.writes.push(SetWrite { change, table, write });
        None
    }

    /// Whether the parent of a new child is checked with the writes.
    pub(super) fn checks_parent_later(&self, table: &Table, data: &Cells) -> bool {
        let is_later = self.phase() == Phase::Collects;
        if is_later {
            let mut state = self.state.borrow_mut();
            let change = state.change;
            state.children.push((change, table.number, data.clone()));
        }
        is_later
    }

    /// Applies the writes. The caller rolls them back if it fails.
    pub(super) fn apply(
        &self,
        transaction: &UserTransaction<'_>,
        budget: &Budget<'_>,
    ) -> Result<(), Refused> {
        let state = std::mem::take(&mut *self.state.borrow_mut());
        self.phase.set(Phase::Begins);
        let tables = Tables(transaction.schema());
        state.check(transaction, |_| true)?;
        let mut waiting = Vec::with_capacity(state.writes.len());
        for SetWrite { change, table, write } in &state.writes {
            let table = tables.get(*table).map_err(|fault| (*change, fault.into()))?;
            waiting.push(Waiting { change: *change, table, write: write.clone(), why: None });
        }
        let written = Writer { transaction, budget }.write_all(waiting);
        match &written {
            Ok(()) => {
                self.phase.set(Phase::Written);
                state.check(transaction, |_| true)?;
            }
            // A missing row is reported in the same words as one that the user cannot see.
            Err((refused, why)) if why.is_among_rows() => {
                self.phase.set(Phase::Refused);
                state.check(transaction, |change| change == *refused)?;
            }
            Err(_) => {}
        }
        written
    }
}

impl State {
    /// Checks the parents and the references of these changes, as far as the phase of the set does.
    fn check(
        &self,
        transaction: &UserTransaction<'_>,
        is_to_check: impl Fn(usize) -> bool,
    ) -> Result<(), Refused> {
        let tables = Tables(transaction.schema());
        for (change, table, data) in self.children.iter().filter(|child| is_to_check(child.0)) {
            let table = tables.get(*table).map_err(|fault| (*change, fault.into()))?;
            transaction.check_parent(table, data).map_err(|why| (*change, why))?;
        }
        for SetWrite { change, table, write } in &self.writes {
            let (StoreWrite::Insert { cells } | StoreWrite::Update { cells, .. }) = write else {
                continue;
            };
            if is_to_check(*change) {
                let table = tables.get(*table).map_err(|fault| (*change, fault.into()))?;
                let checked = transaction.check_references(table, write.key(table), cells);
                checked.map_err(|why| (*change, why.into()))?;
            }
        }
        Ok(())
    }
}

/// Tables by number.
struct Tables<'t>(&'t Schema);

impl<'t> Tables<'t> {
    fn get(&self, number: i64) -> Result<&'t Table, Fault> {
        let found = self.0.tables.iter().find(|table| table.number == number);
        found.ok_or_else(|| Fault::Internal(format!("a set names table {number}")))
    }
}
