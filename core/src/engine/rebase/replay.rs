//! Replays: runs actions again on the current rows.
//!
//! An action that no server may have yet runs again, and what it writes replaces its effect. If its
//! handler is not registered, the recorded effect is applied. If it runs and fails, it is parked
//! and its effect is not applied, because that would do what the action refused. A sent action
//! without a verdict never runs again. A run that differs from the last one may affect later
//! mutations that were not undone: those are undone as well, and the rebase starts over.

use std::collections::{BTreeSet, HashSet};

use serde_json::json;

use super::context::{RebaseContext, Runner};
use super::{park, take_over};
use crate::engine::action::run::{ActionRun, RunResult, run};
use crate::engine::database::Triggers;
use crate::engine::queue::mutation::{Basis, ParkReason};
use crate::engine::queue::pending_op::{Parking, PendingOp};
use crate::engine::queue::seen::SeenRow;
use crate::engine::queue::store;
use crate::engine::rows::encode;
use crate::engine::rows::patch::same;
use crate::engine::rows::patch::{ColumnPatch, Effect, PatchKind, RowKey, RowPatch};
use crate::engine::run::ours;
use crate::engine::transaction::StatementContext;
use crate::error::{ActionFault, Error, Result};
use crate::ids::{MutationId, Seq, TableNumber};
use rejoin_protocol::mutant::{self, Mutant};

/// Result of a run.
enum Rerun {
    /// No handler is registered: the recorded effect is applied.
    NoHandler,
    Done(Effect, Vec<SeenRow>),
    /// It repeated what the server had found in conflict; the run was rolled back.
    Same,
    Failed(Error),
    /// The time budget is exhausted, and the run was rolled back.
    OutOfTime,
}

/// Whether a run replaced the recorded effect.
pub(super) enum Replayed {
    /// The recorded effect must be applied.
    AsRecorded,
    /// It ran, or is parked; the later mutations that must be undone before the rebase starts over.
    Ran(BTreeSet<Seq>),
}

/// Runs a mutation's action again, if required; the mutation must have been removed from the undone
/// ones.
pub(super) fn replay(work: &mut RebaseContext<'_>, step: &mut PendingOp) -> Result<Replayed> {
    if !step.replays() {
        return Ok(Replayed::AsRecorded);
    }
    let before = step.reads().to_vec();
    match run_again(work, step)? {
        Rerun::NoHandler => {
            tracing::debug!(id = %step.id, "no handler for this action: its recorded effect is applied");
            Ok(Replayed::AsRecorded)
        }
        Rerun::OutOfTime if step.conflicted.is_none() => {
            tracing::warn!(id = %step.id, "no time left to run this action: its recorded effect is applied");
            Ok(Replayed::AsRecorded)
        }
        Rerun::Failed(error) => {
            let met = met_later(work, step, &[], &before);
            let because_of = creator_under(work, step)?;
            let reason = match because_of {
                Some(_) => ParkReason::Depends,
                None => ParkReason::Unreplayable,
            };
            let detail = json!({"code": "unreplayable", "message": error.to_string()});
            let detail = Some(detail.to_string());
            park_run(work, step, Parking { reason, because_of, detail })?;
            Ok(Replayed::Ran(met))
        }
        // Content that the server has found in conflict is not sent again unchanged.
        Rerun::Same | Rerun::OutOfTime => {
            let met = met_later(work, step, &[], &before);
            let detail = step.conflicted.take();
            let reason = ParkReason::Conflicted;
            park_run(work, step, Parking { reason, because_of: None, detail })?;
            Ok(Replayed::Ran(met))
        }
        Rerun::Done(effect, seen) => {
            let rows: Vec<RowKey> = effect.rows.iter().map(|patch| patch.row.clone()).collect();
            let met = met_later(work, step, &rows, &before);
            take(work, step, (effect, seen), &before)?;
            Ok(Replayed::Ran(met))
        }
    }
}

/// Whether a handler for the mutation is registered.
pub(super) fn has_handler(work: &RebaseContext<'_>, step: &PendingOp) -> bool {
    let intent = step.intent.as_ref().filter(|_| step.replays());
    let runner = work.runner.as_ref().zip(intent);
    runner.is_some_and(|(runner, intent)| runner.actions.takes(intent))
}

/// Runs the action in its own savepoint and stores its reads, even if it fails.
fn run_again(work: &mut RebaseContext<'_>, step: &mut PendingOp) -> Result<Rerun> {
    // The action must see the rows that are still in memory.
    work.rows.settle()?;
    let (Some(runner), Some(intent)) = (&mut work.runner, &mut step.intent) else {
        return Ok(Rerun::NoHandler);
    };
    let Runner { db, capture, actions, bounds, .. } = *runner;
    if runner.exhausted.contains(&step.id) {
        let fault = ActionFault::TooSlow { limit: bounds.budget.run };
        return Ok(Rerun::Failed(Error::Action { action: intent.action.clone(), fault }));
    }
    if bounds.is_spent() {
        return Ok(Rerun::OutOfTime);
    }
    let Some(prepared) = actions.prepared(intent) else { return Ok(Rerun::NoHandler) };
    db.set_triggers(Triggers::Fire)?;
    capture.clear();
    ours(db, "SAVEPOINT rejoin_replay")?;
    let (mutation, time_ms) = (step.id, step.time_ms);
    let ran = match prepared {
        Err(error) => RunResult::not_started(intent.reads.clone(), error),
        Ok((registered, arguments)) => {
            let (schema, touched) = (work.schema, &mut *work.touched);
            let parts =
                StatementContext { db, capture, schema, footprints: runner.footprints, touched };
            let (registered, arguments) = (&registered, &arguments);
            let order = ActionRun { actions, registered, arguments, mutation, time_ms, bounds };
            run(parts, order)
        }
    };
    let out_of_time = ran.is_out_of_time();
    if !out_of_time {
        intent.reads = ran.reads;
    }
    let version = work.schema.manifest.as_ref().map_or(0, |manifest| manifest.schema_version);
    let recorded = capture.compose(version);
    capture.clear();
    runner.footprints.prepare_base(db)?;
    let outcome = match ran.result {
        Err(error) if error.is_of_the_machine() => return Err(error),
        Err(error) if db.conn().is_autocommit() => {
            let slow = |fault: &ActionFault| matches!(fault, ActionFault::TooSlow { .. });
            if matches!(&error, Error::Action { fault, .. } if slow(fault)) {
                runner.exhausted.insert(step.id);
            }
            return Err(error);
        }
        Err(_) if out_of_time => Rerun::OutOfTime,
        Err(error) => Rerun::Failed(error),
        Ok(_) => {
            let effect = encode::decode(&recorded?.effect)?;
            let seen = ran.keyed.seen(db.conn(), work.schema, &effect)?;
            let same =
                step.conflicted.is_some() && step.seen() == seen && same_content(step, &effect);
            if same { Rerun::Same } else { Rerun::Done(effect, seen) }
        }
    };
    if !matches!(outcome, Rerun::Done(..)) {
        ours(db, "ROLLBACK TO rejoin_replay")?;
    }
    ours(db, "RELEASE rejoin_replay")?;
    Ok(outcome)
}

/// Later mutations that are still applied and that a run affects which wrote these rows. If the run
/// wrote and read no more than the last one, there are none.
fn met_later(
    work: &RebaseContext<'_>,
    step: &PendingOp,
    rows: &[RowKey],
    before: &[TableNumber],
) -> BTreeSet<Seq> {
    let mut met = BTreeSet::new();
    let Some(tables) = work.tables.as_ref().filter(|_| !mutant::on(Mutant::NotStartedOver)) else {
        return met;
    };
    let is_known = |row: &RowKey| step.patch(row).is_some();
    let narrower = step.reads().iter().all(|table| before.contains(table));
    if narrower && tables.replays(step.seq) && rows.iter().all(is_known) {
        return met;
    }
    let is_undone = |later: Seq| work.steps.contains_key(&later);
    for row in rows {
        let later = work.states.steps_after(row, step.seq);
        met.extend(later.filter(|later| !is_undone(*later)));
    }
    let written = rows.iter().map(|row| row.table).collect();
    met.extend(tables.meet(step.seq, &written, step.reads(), is_undone));
    met
}

/// The parked mutation that creates rows which this mutation needs.
fn creator_under(work: &mut RebaseContext<'_>, step: &PendingOp) -> Result<Option<MutationId>> {
    work.steps.insert(step.seq, step.clone());
    let creator = park::parked_creator_under(work, step.seq);
    work.steps.remove(&step.seq);
    creator
}

/// Parks a mutation that ran, with those that depend on it.
fn park_run(work: &mut RebaseContext<'_>, step: &mut PendingOp, parking: Parking) -> Result<()> {
    work.steps.insert(step.seq, step.clone());
    park::park(work, step.seq, parking)?;
    if let Some(parked) = work.steps.remove(&step.seq) {
        *step = parked;
    }
    Ok(())
}

/// Makes the run's writes the mutation's effect. Plain edits of rows that it no longer creates are
/// parked; later actions run again and decide for themselves.
fn take(
    work: &mut RebaseContext<'_>,
    step: &mut PendingOp,
    (effect, seen): (Effect, Vec<SeenRow>),
    before: &[TableNumber],
) -> Result<()> {
    step.conflicted = None;
    let mut gone = Vec::new();
    for row in no_longer_created(step, &effect) {
        if work.rows.read_columns(&row, &[])?.is_none() {
            gone.push(row);
        }
    }
    let mut dependents = Vec::new();
    if !gone.is_empty() {
        work.steps.insert(step.seq, step.clone());
        dependents = park::unsent_dependents(work, step.seq, Some(&gone))?;
        work.steps.remove(&step.seq);
    }
    dependents.retain(|(later, _)| work.steps.get(later).is_none_or(|later| !later.replays()));
    let changed = step.undo.is_some()
        || !step.basis.is_empty()
        || step.reads() != before
        || step.seen() != seen
        || *step.effect != effect;
    if let Some(intent) = &mut step.intent {
        intent.seen = seen;
    }
    if changed {
        take_over::pass_on_run(work, step, &effect)?;
        (step.effect, step.undo, step.basis) = (effect.into(), None, Basis::new());
        step.rewritten = true;
        store::write_run(work.conn, step)?;
    }
    park::park_dependents(work, dependents, step.id)
}

/// The rows that a mutation created and that this effect does not create.
fn no_longer_created(step: &PendingOp, effect: &Effect) -> Vec<RowKey> {
    let makes = |patch: &&RowPatch| patch.kind == PatchKind::Insert;
    let still: HashSet<&RowKey> = effect.rows.iter().filter(makes).map(|one| &one.row).collect();
    let made = step.effect.rows.iter().filter(makes).map(|patch| &patch.row);
    made.filter(|row| !still.contains(row)).cloned().collect()
}

/// Whether the effect equals what the server has already seen: the same rows, columns, old and new
/// values.
fn same_content(step: &PendingOp, effect: &Effect) -> bool {
    let offered = |patch: &RowPatch| {
        let Some((index, mine)) = step.patch(&patch.row) else { return false };
        let mut columns = patch.columns.iter().zip(&mine.columns).enumerate();
        let is_same = |(at, (new, old)): (usize, (&ColumnPatch, &ColumnPatch))| {
            let same_values = same(&new.new, &old.new) && same(&new.old, step.old(index, at));
            new.column == old.column && same_values
        };
        mine.kind == patch.kind && mine.columns.len() == patch.columns.len() && columns.all(is_same)
    };
    step.effect.rows.len() == effect.rows.len() && effect.rows.iter().all(offered)
}
