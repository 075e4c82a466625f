//! Tries the writes of a set in several orders, and lets rows make room for each other.

use std::collections::VecDeque;

use rejoin_protocol::Value;

use super::Refused;
use super::waiting::{ORDERS, Waiting, assume_reasons, first_refused};
use crate::engine::budget::Budget;
use crate::engine::change::Cells;
use crate::engine::conflict::not_found;
use crate::engine::free_value::{free_value, is_nullable};
use crate::engine::rejection::ChangeError;
use crate::engine::user_transaction::UserTransaction;
use crate::error::Fault;
use crate::model::{Table, Violation};
use crate::store::{StoreWrite, WriteError};

/// Refused rows, one after the other, after which the first tries of an order end: another order
/// suits the set better, or the rows have to make room for each other.
const PATIENCE: usize = 8;

/// How often rows make room for each other: the first time, some were not tried before.
const ROUNDS: usize = 2;

/// Applies writes of the set.
pub(super) struct Writer<'a> {
    pub(super) transaction: &'a UserTransaction<'a>,
    pub(super) budget: &'a Budget<'a>,
}

/// What the tries of an order have left.
struct Left<'t> {
    waiting: Vec<Waiting<'t>>,
    /// Whether each of them was tried.
    is_tried: bool,
}

impl Writer<'_> {
    /// A bounded number of tries for each write: an order that only many passes would find is left
    /// to [`make_room`](Self::make_room).
    pub(super) fn write_all(&self, waiting: Vec<Waiting<'_>>) -> Result<(), Refused> {
        let waiting = self.write_lacking(waiting)?;
        let mut waiting = self.in_orders(waiting, PATIENCE)?;
        for _ in 0..ROUNDS {
            if waiting.is_empty() {
                return Ok(());
            }
            let made = self.make_room(waiting)?;
            let before = made.len();
            waiting = self.in_orders(made, usize::MAX)?;
            if waiting.len() == before {
                break;
            }
        }
        if waiting.is_empty() { Ok(()) } else { self.write_deferred(waiting) }
    }

    /// Writes the rest with the constraints deferred that can be.
    fn write_deferred(&self, waiting: Vec<Waiting<'_>>) -> Result<(), Refused> {
        let Some((change, why)) = first_refused(&waiting) else {
            let fault = Fault::Internal(String::from("the writes of a set wait without a reason"));
            return Err((0, fault.into()));
        };
        let why = WriteError::Rule(why.clone()).into();
        let fault = |fault: Fault| (change, fault.into());
        let store = self.transaction.writing;
        let deferred: Vec<(&Table, StoreWrite)> =
            waiting.iter().map(|one| (one.table, one.write.clone())).collect();
        let write = |waiting| self.pass(waiting, 1, |one| self.attempt(one));
        if !store.defer_constraints().map_err(fault)? || !write(waiting)?.waiting.is_empty() {
            return Err((change, why));
        }
        let deferred: Vec<_> = deferred.iter().map(|(table, write)| (*table, write)).collect();
        match store.check_constraints(&deferred) {
            Ok(()) => Ok(()),
            Err(WriteError::Rule(_)) => Err((change, why)),
            Err(WriteError::Fault(why)) => Err(fault(why)),
        }
    }

    /// Tries rows first that refer to a missing row which no device can create: the database names
    /// the rule, and the others need not be tried.
    fn write_lacking<'t>(&self, waiting: Vec<Waiting<'t>>) -> Result<Vec<Waiting<'t>>, Refused> {
        let mut rest = Vec::with_capacity(waiting.len());
        for one in waiting {
            let lacks = match &one.write {
                StoreWrite::Insert { cells } | StoreWrite::Update { cells, .. } => {
                    let lacks = self.transaction.lacks_global_row(one.table, cells);
                    lacks.map_err(|fault| (one.change, fault.into()))?
                }
                StoreWrite::Delete { .. } => false,
            };
            if !lacks {
                rest.push(one);
            } else if let Some(why) = self.attempt(&one)? {
                return Err((one.change, WriteError::Rule(why).into()));
            }
        }
        Ok(rest)
    }

    /// Tries the writes in each order, until one is left in which nothing can be written. `patience`:
    /// the number of refused rows, one after the other, that ends the tries of an order.
    fn in_orders<'t>(
        &self,
        mut waiting: Vec<Waiting<'t>>,
        patience: usize,
    ) -> Result<Vec<Waiting<'t>>, Refused> {
        for order in ORDERS {
            order.sort(&mut waiting);
            let before = waiting.len();
            let left = self.pass(waiting, patience, |one| self.attempt(one))?;
            waiting = left.waiting;
            // The rows are as before: another order is refused as well.
            if left.is_tried && waiting.len() == before {
                break;
            }
        }
        waiting.sort_by_key(|one| one.change);
        Ok(waiting)
    }

    /// Tries each write once, as many together as the store takes; returns those that other rows
    /// prevent.
    fn pass<'t>(
        &self,
        waiting: Vec<Waiting<'t>>,
        patience: usize,
        attempt: impl Fn(&Waiting<'t>) -> Result<Option<Violation>, Refused>,
    ) -> Result<Left<'t>, Refused> {
        let most =
            if self.transaction.writing.batch().is_some() { waiting.len().max(1) } else { 1 };
        let (mut few, mut in_a_row) = (most, 0);
        let (mut rest, mut refused) = (VecDeque::from(waiting), Vec::new());
        while in_a_row < patience && !rest.is_empty() {
            self.check_time(&rest, &refused)?;
            let many = few.min(rest.len());
            if many > 1 {
                let written = self.write_together(&rest, many)?;
                rest.drain(..written);
                in_a_row = if written > 0 { 0 } else { in_a_row };
                few =
                    if written == many { few.saturating_mul(2).min(most) } else { written.max(1) };
                if written == many {
                    continue;
                }
            }
            let Some(one) = rest.pop_front() else { break };
            if let Some(why) = attempt(&one)? {
                refused.push(Waiting { why: Some(why), ..one });
                in_a_row += 1;
            } else {
                (few, in_a_row) = (few.saturating_mul(2).min(most), 0);
            }
        }
        let is_tried = rest.is_empty();
        let mut waiting: Vec<Waiting<'t>> = rest.into_iter().chain(refused).collect();
        if !is_tried {
            assume_reasons(&mut waiting);
        }
        Ok(Left { waiting, is_tried })
    }

    /// Writes the first of these rows in one round trip; returns how many, fewer if the next one is
    /// refused.
    fn write_together(&self, rest: &VecDeque<Waiting<'_>>, many: usize) -> Result<usize, Refused> {
        let change = rest.front().map_or(0, |one| one.change);
        let write = |many: usize| {
            let writes = rest.iter().take(many).map(|one| (one.table, one.write.clone()));
            let written = self.transaction.write_together(writes.collect());
            written.map_err(|fault| (change, fault.into()))
        };
        match write(many)? {
            Ok(()) => Ok(many),
            Err(before) if before > 0 && write(before)?.is_ok() => Ok(before),
            Err(_) => Ok(0),
        }
    }

    /// Ends the tries when their time is over.
    fn check_time(
        &self,
        rest: &VecDeque<Waiting<'_>>,
        refused: &[Waiting<'_>],
    ) -> Result<(), Refused> {
        if !self.budget.is_set_over() {
            return Ok(());
        }
        let found = first_refused(rest).or_else(|| first_refused(refused));
        let change = found.map(|(change, _)| change).or(rest.front().map(|one| one.change));
        let ended = self.budget.end_set(found.map(|(_, why)| why));
        ended.map_err(|why| (change.unwrap_or_default(), why))
    }

    /// Tries a write; returns the rule of other rows that prevents it.
    fn attempt(&self, one: &Waiting<'_>) -> Result<Option<Violation>, Refused> {
        match self.transaction.write(one.table, one.write.clone()) {
            Ok(()) => Ok(None),
            Err(WriteError::Rule(why)) if is_of_key(one, &why) => Err((one.change, no_such_row())),
            Err(WriteError::Rule(why)) if why.is_among_rows => Ok(Some(why)),
            Err(why) => Err((one.change, why.into())),
        }
    }

    /// Lets rows that wait for each other give up what the others wait for: an update its values, for
    /// free ones; a new or a deleted row its references.
    fn make_room<'t>(&self, waiting: Vec<Waiting<'t>>) -> Result<Vec<Waiting<'t>>, Refused> {
        let (mut rooms, mut rests) = (Vec::new(), Vec::with_capacity(waiting.len()));
        for (place, one) in waiting.iter().enumerate() {
            let (first, rest) = self.apart(one, place);
            rests.push(rest);
            rooms.extend(first.map(|write| Waiting { change: place, write, ..one.clone() }));
        }
        let attempt = |one: &Waiting<'_>| match self.transaction.write(one.table, one.write.clone())
        {
            Ok(()) => Ok(None),
            Err(WriteError::Rule(why)) => Ok(Some(why)),
            Err(WriteError::Fault(fault)) => Err((one.change, fault.into())),
        };
        let left = self
            .pass(rooms, usize::MAX, attempt)
            .map_err(|(place, why)| (waiting.get(place).map_or(place, |one| one.change), why))?;
        for refused in left.waiting {
            if let Some(rest) = rests.get_mut(refused.change) {
                *rest = None;
            }
        }
        let completed = waiting.into_iter().zip(rests);
        let completed = completed.map(|(one, rest)| match rest {
            Some(write) => Waiting { write, ..one },
            None => one,
        });
        Ok(completed.collect())
    }

    /// A write in two: one that makes room, and one that completes it (`None`: the write itself).
    fn apart(&self, one: &Waiting<'_>, place: usize) -> (Option<StoreWrite>, Option<StoreWrite>) {
        let table = one.table;
        let schema = self.transaction.schema();
        let is_reference = |at: usize| {
            let is_of = table.references.iter().any(|of| of.column == at);
            is_of && is_nullable(schema, table, at)
        };
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
                let refused = refused.filter(|refused| cells.iter().any(|(at, _)| at == refused));
                let cells = cells.iter().map(|(at, _)| *at);
                let cells = cells.filter(|at| refused.is_none_or(|refused| refused == *at));
                let free = cells.filter_map(|at| Some((at, free_value(schema, table, at, place)?)));
                let cells: Cells = free.collect();
                ((!cells.is_empty()).then_some(StoreWrite::Update { key, cells }), None)
            }
            StoreWrite::Delete { .. } => {
                let columns = (0..table.columns.len()).filter(|at| is_reference(*at));
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
