//! Puts parked mutations at the end of the queue as their next attempt, which expects the current
//! rows.
//!
//! Only the app may renew expected values: it has seen the rows and applies its edit on top of
//! them. The effect stays as it was written. Mutations that were parked because of a retried one
//! can follow, in their order.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::conflict;
use super::context::{RebaseContext, missing};
use super::park::required_rows;
use crate::engine::queue::mutation::MutationState;
use crate::engine::queue::pending_op::PendingOp;
use crate::engine::queue::{self, Last, Staged, again, seen, store};
use crate::engine::rows::patch::{PatchKind, RowKey, same};
use crate::error::{Error, InputFault, QueueFault, Result};
use crate::ids::Seq;
use crate::value::Value;

/// Rows as the app sees them, including the mutations that were requeued so far.
type Views = HashMap<RowKey, Option<Vec<Value>>>;

/// Puts parked or removed mutations at the end of the queue, in this order; `last` is the last
/// number assigned.
pub(super) fn requeue(work: &mut RebaseContext<'_>, parked: &[Seq], mut last: Last) -> Result<()> {
    let mut views = Views::new();
    let all: HashSet<Seq> = parked.iter().copied().collect();
    for seq in parked {
        last = last.next(work.now_ms);
        let to = Seq(last.seq);
        again::requeue(work.conn, *seq, to)?;
        let mut step = store::read_step(work.conn, to)?.ok_or_else(|| missing(to))?;
        see(work, &mut step, &all, &mut views)?;
        step.attempt += 1;
        step.frozen = None;
        step.changed = true;
        let rows = step.effect.rows.iter().map(|patch| (patch.row.clone(), patch.kind));
        let (id, attempt) = (step.id, step.attempt);
        let state = MutationState::Pending;
        let (rows, reads) = (rows.collect(), step.reads().into());
        let entry = queue::QueueEntry { seq: to, id, state, attempt, rows, reads };
        work.steps.insert(to, step);
        work.staged.extend([Staged::Left(*seq), Staged::Given(last), Staged::Added(entry)]);
    }
    Ok(())
}

/// Sets the old values of an attempt to the rows as the app sees them now.
fn see(
    work: &mut RebaseContext<'_>,
    step: &mut PendingOp,
    parked: &HashSet<Seq>,
    views: &mut Views,
) -> Result<()> {
    step.basis.clear();
    if let Some(missing) = work.schema.missing(&step.effect.rows) {
        let what = format!("the retry of mutation {}", step.id);
        return Err(
            InputFault::Refused { what, reason: format!("{missing}; edit or discard it") }.into()
        );
    }
    for (index, patch) in step.effect.rows.iter().enumerate() {
        let row = &patch.row;
        let table = work.rows.table(row.table)?;
        for required in required_rows(work, patch) {
            if view(work, &required, views)?.is_none() {
                check_required_row(work, &required, parked)?;
            }
        }
        let view = view(work, row, views)?;
        // A create over a row that exists now compares the row, like an edit.
        if let Some(view) = view.as_deref() {
            for (column, known) in patch.columns.iter().enumerate() {
                let Some(at) = table.position(known.column) else { continue };
                if !same(&view[at], &known.old) {
                    step.basis.insert((index, column), view[at].clone());
                }
            }
        }
        conflict::apply_patch(table, view, patch);
    }
    // An action that does not run again has read what the app sees now.
    let Some(intent) = step.intent.as_mut().filter(|intent| !intent.seen.is_empty()) else {
        return Ok(());
    };
    seen::renew(&mut intent.seen, &mut work.rows, work.schema)?;
    store::write_seen(work.conn, step)
}

/// A row as the app sees it.
fn view<'v>(
    work: &mut RebaseContext<'_>,
    row: &RowKey,
    views: &'v mut Views,
) -> Result<&'v mut Option<Vec<Value>>> {
    match views.entry(row.clone()) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(unknown) => Ok(unknown.insert(work.rows.read(row)?)),
    }
}

/// Rejects the retry of a mutation that needs a row whose create stays parked.
fn check_required_row(
    work: &RebaseContext<'_>,
    row: &RowKey,
    retried: &HashSet<Seq>,
) -> Result<()> {
    let parked = work
        .states
        .at(row.table, &row.key)
        .iter()
        .rev()
        .filter(|one| one.state == MutationState::Parked && !retried.contains(&one.seq));
    let mut makes = parked.filter(|one| one.kind == PatchKind::Insert);
    let found = makes.find_map(|one| work.queue.entry(one.seq));
    found.map_or(Ok(()), |entry| Err(Error::Queue(QueueFault::ParentParked(entry.id))))
}
