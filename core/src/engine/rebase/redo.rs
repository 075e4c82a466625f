//! The end of a rebase: applies the undone mutations that stay again, in queue order, renews their
//! undo images, and writes the outcome of every mutation.

use std::collections::BTreeSet;

use super::batch::Applied;
use super::context::RebaseContext;
use super::replay::{Replayed, replay};
use crate::engine::queue::cancel::{self, Cancelled};
use crate::engine::queue::mutation::MutationState;
use crate::engine::queue::pending_op::{OpOutcome, Parking, PendingOp};
use crate::engine::queue::verdict::{self, VerdictKind};
use crate::engine::queue::{QueueEntry, Staged, store};
use crate::engine::rows::undo::{Undo, UndoRow};
use crate::error::Result;
use crate::ids::Seq;

/// Applies the remaining mutations again, in queue order, and writes the outcome of each. If an
/// action affects mutations that should have been undone before it ran, returns the mutations to
/// undo first when the rebase starts again.
pub(crate) fn redo(
    work: &mut RebaseContext<'_>,
    applied: &mut Applied,
) -> Result<Option<BTreeSet<Seq>>> {
    while let Some((_, mut step)) = work.steps.pop_first() {
        step.conclude();
        touch(work, &step);
        if step.stays() {
            match replay(work, &mut step)? {
                Replayed::AsRecorded => apply_recorded(work, &mut step)?,
                Replayed::Ran(met) if met.is_empty() => touch(work, &step),
                Replayed::Ran(met) => {
                    work.undone.extend(met);
                    return Ok(Some(std::mem::take(&mut work.undone)));
                }
            }
        }
        applied.affected += 1;
        match step.outcome {
            OpOutcome::Accepted => applied.accepted.push(step.id),
            OpOutcome::Parked(_) => applied.parked.push(step.id),
            OpOutcome::Stays
            | OpOutcome::Discarded
            | OpOutcome::Withdrawn(_)
            | OpOutcome::Lifted => {}
        }
        settle(work, &step)?;
    }
    Ok(None)
}

fn touch(work: &mut RebaseContext<'_>, step: &PendingOp) {
    for patch in &step.effect.rows {
        if let Some(table) = work.schema.table(patch.row.table) {
            work.touched.row(&table.name, patch.row.key.clone());
        }
    }
}

/// Applies the recorded effect of plain SQL, uncertain mutations, and actions that are not
/// registered.
fn apply_recorded(work: &mut RebaseContext<'_>, step: &mut PendingOp) -> Result<()> {
    let mut undo = Undo { rows: Vec::with_capacity(step.effect.rows.len()) };
    for patch in &step.effect.rows {
        let whole = step.policy_state.brought_back(patch);
        let is_gone = whole.is_some() && work.rows.read_columns(&patch.row, &[])?.is_none();
        let patch_to_apply = whole.as_ref().filter(|_| is_gone).unwrap_or(patch);
        if let Some(before) = work.rows.apply_patch(patch_to_apply)? {
            undo.rows.push(UndoRow { row: patch.row.clone(), before });
        }
    }
    let bytes = (!undo.is_of(&step.effect)).then(|| undo.encode());
    if bytes != step.undo {
        step.undo = bytes;
        store::write_undo(work.conn, step)?;
    }
    Ok(())
}

fn settle(work: &mut RebaseContext<'_>, step: &PendingOp) -> Result<()> {
    if step.reduced {
        store::write_parts(work.conn, step)?;
    }
    match &step.outcome {
        OpOutcome::Stays if !step.changed && !step.rewritten => return Ok(()),
        OpOutcome::Lifted => return Ok(()),
        OpOutcome::Stays => {
            if step.changed {
                store::write_attempt(work.conn, step)?;
            }
            moved(work, step, step.state);
        }
        OpOutcome::Parked(parking) => {
            store::park(work.conn, step, parking)?;
            record_verdict(work, step, VerdictKind::Parked(parking.reason), Some(parking))?;
            moved(work, step, MutationState::Parked);
        }
        OpOutcome::Withdrawn(root) => {
            let (seq, id, attempt) = (step.seq, step.id, step.attempt);
            let effect = step.effect_as_seen().into();
            let of_action = step.is_of_action();
            let one = Cancelled { seq, id, attempt, root: *root, effect, of_action };
            cancel::write(work.conn, &one)?;
            store::remove(work.conn, seq)?;
            work.staged.extend(cancel::given_up(one));
        }
        OpOutcome::Accepted | OpOutcome::Discarded => {
            if step.outcome == OpOutcome::Accepted {
                record_verdict(work, step, VerdictKind::Accepted, None)?;
                let displaced = step.displaced.as_deref();
                store::keep_in_history(work.conn, step.seq, work.accepted_ms, displaced)?;
            }
            store::remove(work.conn, step.seq)?;
            work.staged.push(Staged::Left(step.seq));
        }
    }
    work.touched.queue();
    Ok(())
}

/// Records the verdict for the app. An acceptance that was reported before the server's restore is
/// not reported again.
fn record_verdict(
    work: &RebaseContext<'_>,
    step: &PendingOp,
    kind: VerdictKind,
    parking: Option<&Parking>,
) -> Result<()> {
    let new = verdict::NewVerdict {
        attempt: step.attempt,
        kind,
        because_of: parking.and_then(|parking| parking.because_of),
        detail: parking.and_then(|parking| parking.detail.as_deref()),
    };
    verdict::write(work.conn, step.seq, &new, work.now_ms)
}

/// Updates the index: only the state of the mutation, unless rows have left it.
fn moved(work: &mut RebaseContext<'_>, step: &PendingOp, state: MutationState) {
    if !step.reduced && !step.rewritten {
        return work.staged.push(Staged::Moved(step.seq, state, step.attempt));
    }
    let rows = step.effect.rows.iter().map(|patch| (patch.row.clone(), patch.kind));
    let (seq, id, attempt) = (step.seq, step.id, step.attempt);
    let reads = step.reads().into();
    let entry = QueueEntry { seq, id, state, attempt, rows: rows.collect(), reads };
    work.staged.extend([Staged::Left(seq), Staged::Added(entry)]);
}
