//! Puts parked mutations at the end of the queue as their next attempt (O12). The attempt expects the rows as they are now.
//!
//! Only the app may renew the expected values (D7): it has seen the rows and wants its edit on top of them. The effect stays as it
//! was written (R1). Mutations that were parked because of it can follow, in their order (R10, D9).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::conflict;
use super::park::ground_of;
use super::work::{Work, missing};
use crate::engine::queue::mutation::{BasisValue, State};
use crate::engine::queue::step::Step;
use crate::engine::queue::{self, Last, Staged, again, seen, store};
use crate::engine::rows::patch::{PatchKind, RowKey, same};
use crate::error::{Error, Result};
use crate::ids::Seq;
use crate::value::Value;

/// Rows as the app sees them, and as those see them who are laid upon it one after another.
type Views = HashMap<RowKey, Option<Vec<Value>>>;

/// Puts mutations that are parked or lifted at the end of the queue, in this order; `last` are the numbers that were given last.
pub(super) fn requeue(work: &mut Work<'_>, parked: &[Seq], mut last: Last) -> Result<()> {
    let mut views = Views::new();
    for seq in parked {
        last = last.next(work.now_ms);
        let to = Seq(last.seq);
        again::requeue(work.conn, *seq, to)?;
        let mut step = store::read_step(work.conn, to)?.ok_or_else(|| missing(to))?;
        see(work, &mut step, parked, &mut views)?;
        step.attempt += 1;
        step.frozen = None;
        step.changed = true;
        let rows = step.effect.rows.iter().map(|patch| (patch.row.clone(), patch.kind));
        let (id, attempt) = (step.id, step.attempt);
        let state = State::Pending;
        let (rows, reads) = (rows.collect(), step.reads().into());
        let entry = queue::Entry { seq: to, id, state, attempt, rows, reads };
        work.steps.insert(to, step);
        work.staged.extend([Staged::Left(*seq), Staged::Given(last), Staged::Added(entry)]);
    }
    Ok(())
}

/// Makes the old values of an attempt those of the rows as they are seen now.
fn see(work: &mut Work<'_>, step: &mut Step, parked: &[Seq], views: &mut Views) -> Result<()> {
    step.basis.clear();
    if let Some(missing) = work.schema.missing(&step.effect.rows) {
        let what = format!("the retry of mutation {}", step.id);
        return Err(Error::Refused { what, why: format!("{missing}; edit or discard it") });
    }
    for (index, patch) in step.effect.rows.iter().enumerate() {
        let row = &patch.row;
        let table = work.rows.table(row.table)?;
        for ground in ground_of(work, patch) {
            if view(work, &ground, views)?.is_none() {
                check_ground(work, &ground, parked)?;
            }
        }
        let view = view(work, row, views)?;
        // A create over a row that is there by now compares that, as an edit of it.
        if let Some(view) = view.as_deref() {
            for (column, known) in patch.columns.iter().enumerate() {
                let Some(at) = table.position(known.column) else { continue };
                if !same(&view[at], &known.old) {
                    let old = view[at].clone();
                    step.basis.push(BasisValue { row: index, column, old });
                }
            }
        }
        conflict::lay(table, view, patch);
    }
    // One that does not run again has read what its author sees now.
    let Some(intent) = step.intent.as_mut().filter(|intent| !intent.seen.is_empty()) else {
        return Ok(());
    };
    seen::renew(&mut intent.seen, &mut work.rows, work.schema)?;
    store::write_seen(work.conn, step)
}

/// A row as it is seen.
fn view<'v>(
    work: &mut Work<'_>,
    row: &RowKey,
    views: &'v mut Views,
) -> Result<&'v mut Option<Vec<Value>>> {
    match views.entry(row.clone()) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(unknown) => Ok(unknown.insert(work.rows.read(row)?)),
    }
}

/// Refuses to offer what needs a row whose create is parked and stays so.
fn check_ground(work: &Work<'_>, row: &RowKey, retried: &[Seq]) -> Result<()> {
    let parked = work
        .states
        .at(row.table, &row.key)
        .iter()
        .rev()
        .filter(|one| one.state == State::Parked && !retried.contains(&one.seq));
    let makes = |entry: &&queue::Entry| {
        entry.rows.iter().any(|(other, kind)| other == row && *kind == PatchKind::Insert)
    };
    let found = parked.filter_map(|one| work.queue.entry(one.seq)).find(makes);
    found.map_or(Ok(()), |entry| Err(Error::StandsOn(entry.id)))
}
