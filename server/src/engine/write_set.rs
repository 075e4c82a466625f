//! Applies the writes of a group as a set: a database that checks each row as it is written may
//! refuse one that is right once the others are written.
//!
//! A group is applied this way only after its writes, row by row, were refused because of other
//! rows. All its changes are evaluated first, on the rows as they are; then the writes are tried in
//! a few orders. Rows that still wait for each other (two that swap a unique value, two that refer
//! to each other) give up their values for free ones first, and constraints that can be deferred are.
//! References are checked at the end.

use std::cell::RefCell;
use std::cmp::Ordering;

use rejoin_protocol::Value;

use super::change::Cells;
use super::conflict::not_found;
use super::free_value::free_value;
use super::rejection::ChangeError;
use super::user_transaction::UserTransaction;
use crate::error::Fault;
use crate::model::{Schema, Table, Violation};
use crate::store::{StoreWrite, WriteError};

/// The collected writes of a group.
#[derive(Default)]
pub(super) struct WriteSet(RefCell<State>);

#[derive(Default)]
struct State {
    /// The change that is evaluated.
    change: usize,
    /// Whether the writes are applied: then the rows are as the group leaves them.
    is_applied: bool,
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
        self.0.borrow_mut().change = place;
    }

    /// Whether writes are collected.
    pub(super) fn is_open(&self) -> bool {
        !self.0.borrow().is_applied
    }

    /// Adds a write; returns it if it must be applied now.
    pub(super) fn add(&self, table: &Table, write: StoreWrite) -> Option<StoreWrite> {
        let mut state = self.0.borrow_mut();
        if state.is_applied {
            return Some(write);
        }
        let (change, table) = (state.change, table.number);
        state.writes.push(SetWrite { change, table, write });
        None
    }

    /// Whether the parent of a new child is checked at the end.
    pub(super) fn checks_parent_later(&self, table: &Table, data: &Cells) -> bool {
        let mut state = self.0.borrow_mut();
        let (change, is_open) = (state.change, !state.is_applied);
        if is_open {
            state.children.push((change, table.number, data.clone()));
        }
        is_open
    }

    /// Applies the writes. The caller rolls them back if it fails.
    pub(super) fn apply(&self, transaction: &UserTransaction<'_>) -> Result<(), Refused> {
        let State { writes, children, .. } = std::mem::take(&mut *self.0.borrow_mut());
        self.0.borrow_mut().is_applied = true;
        let tables = Tables(transaction.schema());
        let mut waiting = Vec::with_capacity(writes.len());
        for SetWrite { change, table, write } in &writes {
            let table = tables.get(*table).map_err(|fault| (*change, fault.into()))?;
            waiting.push(Waiting { change: *change, table, write: write.clone(), why: None });
        }
        let written = Writer { transaction }.write_all(waiting);
        // A missing row is reported in the same words as one that the user cannot see.
        let refused = written.as_ref().err().map(|(change, _)| *change);
        let is_to_check = |change: usize| refused.is_none_or(|refused| refused == change);
        for (change, table, data) in children.iter().filter(|(change, ..)| is_to_check(*change)) {
            let table = tables.get(*table).map_err(|fault| (*change, fault.into()))?;
            transaction.check_parent(table, data).map_err(|why| (*change, why))?;
        }
        for SetWrite { change, table, write } in writes.iter().filter(|w| is_to_check(w.change)) {
            let table = tables.get(*table).map_err(|fault| (*change, fault.into()))?;
            if let StoreWrite::Insert { cells } | StoreWrite::Update { cells, .. } = write {
                let checked = transaction.check_references(table, write.key(table), cells);
                checked.map_err(|why| (*change, why.into()))?;
            }
        }
        written
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

/// A write that is not applied yet, and why not.
struct Waiting<'t> {
    change: usize,
    table: &'t Table,
    write: StoreWrite,
    why: Option<Violation>,
}

/// The order in which waiting writes are tried.
#[derive(Clone, Copy)]
enum Order {
    AsIs,
    /// By the value that was refused: a shift of positions succeeds in one direction.
    Falling,
    Rising,
}

const ORDERS: [Order; 3] = [Order::AsIs, Order::Falling, Order::Rising];

/// Applies writes of the set.
struct Writer<'a> {
    transaction: &'a UserTransaction<'a>,
}

impl Writer<'_> {
    /// A bounded number of tries for each write: an order that only many passes would find is left
    /// to [`make_room`](Self::make_room).
    fn write_all(&self, waiting: Vec<Waiting<'_>>) -> Result<(), Refused> {
        let waiting = self.in_orders(waiting)?;
        if waiting.is_empty() {
            return Ok(());
        }
        let waiting = self.make_room(waiting)?;
        let waiting = self.in_orders(waiting)?;
        let Some(first) = waiting.first() else { return Ok(()) };
        let (change, why) = (first.change, refusal(first));
        let fault = |fault: Fault| (change, fault.into());
        let store = self.transaction.writing;
        let deferred: Vec<(&Table, StoreWrite)> =
            waiting.iter().map(|one| (one.table, one.write.clone())).collect();
        if !store.defer_constraints().map_err(fault)? || !self.pass(waiting)?.is_empty() {
            return Err((change, why));
        }
        let deferred: Vec<_> = deferred.iter().map(|(table, write)| (*table, write)).collect();
        match store.check_constraints(&deferred) {
            Ok(()) => Ok(()),
            Err(WriteError::Rule(_)) => Err((change, why)),
            Err(WriteError::Fault(why)) => Err(fault(why)),
        }
    }

    fn in_orders<'t>(&self, mut waiting: Vec<Waiting<'t>>) -> Result<Vec<Waiting<'t>>, Refused> {
        for order in ORDERS {
            match order {
                Order::AsIs => {}
                Order::Falling => waiting.sort_by(|left, right| by_value(right, left)),
                Order::Rising => waiting.sort_by(by_value),
            }
            let before = waiting.len();
            waiting = self.pass(waiting)?;
            // The rows are as before: another order is refused as well.
            if waiting.len() == before {
                break;
            }
        }
        waiting.sort_by_key(|one| one.change);
        Ok(waiting)
    }

    /// Tries each write once; returns those that other rows prevent.
    fn pass<'t>(&self, waiting: Vec<Waiting<'t>>) -> Result<Vec<Waiting<'t>>, Refused> {
        let mut left = Vec::new();
        for one in waiting {
            if let Some(why) = self.attempt(&one, one.write.clone())? {
                left.push(Waiting { why: Some(why), ..one });
            }
        }
        Ok(left)
    }

    /// Tries a write; returns the rule of other rows that prevents it.
    fn attempt(&self, one: &Waiting<'_>, write: StoreWrite) -> Result<Option<Violation>, Refused> {
        match self.transaction.write(one.table, write) {
            Ok(()) => Ok(None),
            Err(WriteError::Rule(why)) if is_of_key(one, &why) => Err((one.change, no_such_row())),
            Err(WriteError::Rule(why)) if why.is_among_rows => Ok(Some(why)),
            Err(why) => Err((one.change, why.into())),
        }
    }

    /// Lets rows that wait for each other give up what the others wait for: an update its values, for
    /// free ones; a new or a deleted row its references.
    fn make_room<'t>(&self, waiting: Vec<Waiting<'t>>) -> Result<Vec<Waiting<'t>>, Refused> {
        let mut left = Vec::with_capacity(waiting.len());
        for (place, one) in waiting.into_iter().enumerate() {
            let (first, rest) = self.apart(&one, place);
            let is_made = match first {
                Some(first) => match self.transaction.write(one.table, first) {
                    Ok(()) => true,
                    Err(WriteError::Rule(_)) => false,
                    Err(WriteError::Fault(fault)) => return Err((one.change, fault.into())),
                },
                None => false,
            };
            let write = rest.filter(|_| is_made).unwrap_or_else(|| one.write.clone());
            left.push(Waiting { write, ..one });
        }
        Ok(left)
    }

    /// A write in two: one that makes room, and one that completes it (`None`: the write itself).
    fn apart(&self, one: &Waiting<'_>, place: usize) -> (Option<StoreWrite>, Option<StoreWrite>) {
        let table = one.table;
        let is_reference = |at: usize| table.references.iter().any(|of| of.column == at);
        let key = one.write.key(table).clone();
        match &one.write {
            StoreWrite::Insert { cells } => {
                let named = |(at, value): &&(usize, Value)| is_reference(*at) && !value.is_null();
                let later: Cells = cells.iter().filter(named).cloned().collect();
                if later.is_empty() {
                    return (None, None);
                }
                let is_later = |at: usize| later.iter().any(|(other, _)| *other == at);
                let cells = cells.iter().map(|(at, value)| {
                    (*at, if is_later(*at) { Value::Null } else { value.clone() })
                });
                let first = StoreWrite::Insert { cells: cells.collect() };
                (Some(first), Some(StoreWrite::Update { key, cells: later }))
            }
            StoreWrite::Update { cells, .. } => {
                let refused = one.why.as_ref().and_then(|why| table.column(why.column.as_ref()?));
                let cells = cells.iter().map(|(at, _)| *at);
                let cells = cells.filter(|at| refused.is_none_or(|refused| refused == *at));
                let schema = self.transaction.schema();
                let free = cells.filter_map(|at| Some((at, free_value(schema, table, at, place)?)));
                let cells: Cells = free.collect();
                ((!cells.is_empty()).then_some(StoreWrite::Update { key, cells }), None)
            }
            StoreWrite::Delete { .. } => {
                let columns = table.references.iter().map(|reference| reference.column);
                let cells: Cells = columns.map(|at| (at, Value::Null)).collect();
                ((!cells.is_empty()).then_some(StoreWrite::Update { key, cells }), None)
            }
        }
    }
}

/// Whether a new row has the key of another row, which this transaction cannot see.
fn is_of_key(one: &Waiting<'_>, why: &Violation) -> bool {
    matches!(one.write, StoreWrite::Insert { .. }) && why.is_key_taken(one.table)
}

fn no_such_row() -> ChangeError {
    match not_found() {
        Err(why) => why,
        Ok(()) => Fault::Internal(String::from("a missing row was found")).into(),
    }
}

/// The rule that prevents a write.
fn refusal(one: &Waiting<'_>) -> ChangeError {
    match &one.why {
        Some(why) => WriteError::Rule(why.clone()).into(),
        None => Fault::Internal(String::from("a write waits without a reason")).into(),
    }
}

/// Orders writes by the value that was refused: numbers, then other text, then those without one.
fn by_value(left: &Waiting<'_>, right: &Waiting<'_>) -> Ordering {
    let key = |one| {
        let value = refused_value(one);
        let text = value.and_then(Value::as_text);
        #[allow(clippy::cast_precision_loss)] // Only the order in which writes are tried.
        let number = match value {
            Some(Value::Integer(number)) => Some(*number as f64),
            Some(Value::Real(number)) => Some(*number),
            _ => text.and_then(|text| text.parse().ok()),
        };
        (number, text)
    };
    match (key(left), key(right)) {
        ((Some(left), _), (Some(right), _)) => left.total_cmp(&right),
        ((None, Some(left)), (None, Some(right))) => left.cmp(right),
        ((left, text), (right, other)) => {
            (left.is_none(), text.is_none()).cmp(&(right.is_none(), other.is_none()))
        }
    }
}

fn refused_value<'w>(one: &'w Waiting<'_>) -> Option<&'w Value> {
    let (StoreWrite::Insert { cells } | StoreWrite::Update { cells, .. }) = &one.write else {
        return None;
    };
    let at = one.table.column(one.why.as_ref()?.column.as_ref()?)?;
    cells.iter().find(|(other, _)| *other == at).map(|(_, value)| value)
}
