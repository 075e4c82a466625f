//! Removes a mutation that the app discards or replaces. If a server may have it, it is cancelled
//! there, too.

use std::collections::HashSet;

use super::context::RebaseContext;
use super::footprint;
use super::{cancel, park, part, record};
use crate::engine::queue::QueueEntry;
use crate::engine::queue::mutation::MutationState;
use crate::engine::queue::pending_op::{OpOutcome, PendingOp};
use crate::error::Result;
use crate::ids::{MutationId, Seq};

/// Removes a mutation permanently on this device.
pub(super) fn give_up(work: &mut RebaseContext<'_>, entry: &QueueEntry) -> Result<()> {
    match entry.state {
        MutationState::Sent | MutationState::Uncertain if work.queue.records().knows(entry.seq) => {
            record::hide(work, entry.seq)
        }
        MutationState::Sent | MutationState::Uncertain => cancel::withdraw(work, entry.seq),
        MutationState::Pending => park::discard(work, entry.seq),
        MutationState::Parked => part::discard_parked(work, entry.seq),
    }
}

/// The mutations that this rebase cancels together with a mutation, in queue order.
pub(super) fn withdrawn_with(work: &RebaseContext<'_>, id: MutationId) -> Vec<Seq> {
    let with = |step: &PendingOp| step.outcome == OpOutcome::Withdrawn(id) && step.id != id;
    work.steps.iter().filter(|(_, step)| with(step)).map(|(seq, _)| *seq).collect()
}

/// Removes and returns the mutations that this rebase would park because of a mutation, and later
/// writes on top of them, in queue order. Requeued in this order, later writes stay on top. Sent
/// mutations keep their positions.
pub(super) fn lift_followers(work: &mut RebaseContext<'_>, id: MutationId) -> Vec<Seq> {
    let followers = parked_for(work, id);
    let queue = work.queue;
    let rows = |seq| queue.entry(seq).map_or(&[][..], |entry| &entry.rows);
    let tables = work.tables.as_ref();
    let seeds = followers.iter().copied();
    let mut lifted: Vec<Seq> =
        footprint::closure(seeds, work.states, tables, (rows, |_, _| false), |_| false)
            .into_iter()
            .collect();
    lifted.retain(|seq| {
        let Some(step) = work.steps.get_mut(seq) else { return false };
        let waits = step.stays() && step.state == MutationState::Pending && step.parts.is_empty();
        let lifts =
            followers.binary_search(seq).is_ok() || waits && !queue.awaiting().contains_key(seq);
        if lifts {
            step.outcome = OpOutcome::Lifted;
        }
        lifts
    });
    lifted
}

/// The mutations that this rebase parks because of a mutation, directly or indirectly, in queue
/// order.
pub(super) fn parked_for(work: &RebaseContext<'_>, id: MutationId) -> Vec<Seq> {
    let mut causes = HashSet::from([id]);
    let mut found = Vec::new();
    // A dependent mutation always comes after the one that it depends on.
    for (seq, step) in &work.steps {
        if let OpOutcome::Parked(parking) = &step.outcome
            && parking.because_of.is_some_and(|cause| causes.contains(&cause))
        {
            causes.insert(step.id);
            found.push(*seq);
        }
    }
    found
}
