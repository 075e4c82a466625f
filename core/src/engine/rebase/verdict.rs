//! Applies verdicts of a push response, before its images: accepted mutations leave the queue,
//! refused ones are parked, and unevaluated ones wait for their next attempt. Server failures are
//! counted, so that no mutation blocks the queue forever.
//!
//! A verdict counts only for a sent mutation and only for the attempt in the queue; *accepted*
//! counts for every attempt. A repeated or late response therefore changes nothing.

use std::collections::BTreeMap;

use rejoin_protocol::wire::error::code;
use rejoin_protocol::wire::push::Ending;

use super::batch::ServerVerdict;
use super::conflict::Conflict;
use super::context::RebaseContext;
use super::detail;
use super::detect::{RowBelow, RowEdit};
use super::policy;
use super::{cancel, park, replay, take_over};
use crate::engine::queue::attempt::{Faults, Frozen};
use crate::engine::queue::displaced;
use crate::engine::queue::mutation::{Basis, MutationState, ParkReason, is_onto};
use crate::engine::queue::pending_op::{OpOutcome, Parking, PendingOp, old_of};
use crate::engine::rows::ServerRow;
use crate::engine::rows::encode;
use crate::engine::rows::patch::{Effect, PatchKind, RowKey};
use crate::error::Result;
use crate::ids::{MutationId, Seq};

/// Decided once the images are in the base.
#[derive(Debug, Default)]
pub(super) struct OpenVerdict<'b> {
    /// Rebuilt or parked with both rows.
    conflicts: Vec<ConflictVerdict<'b>>,
    /// Accepted by a server with columns that they do not name.
    narrow: Vec<Seq>,
    /// Sent again, unless a mutation they depend on was parked meanwhile.
    blocked: Vec<Seq>,
}

/// An attempt that the server found in conflict.
#[derive(Debug)]
struct ConflictVerdict<'b> {
    seq: Seq,
    verdict: &'b ServerVerdict,
    /// The old values that it compared.
    compared: Basis,
    /// Whether the verdict may refer to earlier rows than those of the response.
    is_repeated: bool,
    /// Rows that it sent as inserts.
    created: Vec<RowKey>,
}

/// Processes the verdicts; some of them wait for the images.
pub(super) fn settle<'b>(
    work: &mut RebaseContext<'_>,
    verdicts: &'b [ServerVerdict],
) -> Result<OpenVerdict<'b>> {
    let mut parked = Vec::new();
    let mut open = OpenVerdict::default();
    let now_ms = work.now_ms;
    let version = work.schema.manifest.as_ref().map_or(0, |manifest| manifest.schema_version);
    for verdict in verdicts {
        let Some(seq) = counts(work, verdict) else {
            tracing::debug!(id = %verdict.id, attempt = verdict.attempt, "verdict passed over");
            continue;
        };
        work.undo([seq])?;
        let step = work.step_mut(seq)?;
        match verdict.ending {
            Ending::Accepted => {
                step.outcome = OpOutcome::Accepted;
                if step.effect.schema_version < version {
                    open.narrow.push(seq);
                }
            }
            Ending::Rejected => parked.push((seq, ParkReason::Rejected, verdict)),
            Ending::Refused if verdict.code.as_deref() == Some(code::SERVER_FAULT) => {
                parked.push((seq, ParkReason::ServerFault, verdict));
            }
            Ending::Refused | Ending::Cancelled => {
                parked.push((seq, ParkReason::Refused, verdict));
            }
            Ending::Conflict => {
                // Set now, so that it no longer counts as sent; parked when its image is in the
                // base.
                step.state = MutationState::Pending;
                let compared = step.basis.clone();
                let frozen = end_attempt(step)?;
                let is_repeated = frozen.as_ref().is_some_and(|frozen| frozen.is_repeated);
                let rows = frozen.into_iter().flat_map(|frozen| frozen.rows);
                let rows = rows.zip(&step.effect.rows).filter(|(frozen, patch)| {
                    frozen.whole || patch.kind == PatchKind::Insert && !frozen.onto
                });
                let created = rows.map(|(_, patch)| patch.row.clone()).collect();
                let one = ConflictVerdict { seq, verdict, compared, is_repeated, created };
                open.conflicts.push(one);
            }
            Ending::Blocked => {
                offer_again(step)?;
                open.blocked.push(seq);
            }
            Ending::Retry => {
                step.state = MutationState::Uncertain;
                step.changed = true;
                // A lost response, or a host that decides later, is no failure of the mutation.
                if verdict.code.as_deref() == Some(code::TRANSIENT) {
                    count_fault(step, now_ms)?;
                }
            }
        }
    }
    // Dependencies are evaluated only after all verdicts are processed.
    for (seq, reason, verdict) in parked {
        let parking = Parking { reason, because_of: None, detail: verdict.detail.clone() };
        park::park(work, seq, parking)?;
    }
    Ok(open)
}

/// Counts a failure of the server on this attempt. After too many, the next request reports that.
fn count_fault(step: &mut PendingOp, now_ms: i64) -> Result<()> {
    let Some(bytes) = &step.frozen else { return Ok(()) };
    let mut frozen = Frozen::decode(bytes)?;
    frozen.faults = Some(Faults::counted(frozen.faults, now_ms));
    step.frozen = Some(frozen.encode());
    Ok(())
}

/// The images of accepted mutations.
type Images = [(MutationId, Vec<ServerRow>)];

fn images_of(all: &Images, id: MutationId) -> &[ServerRow] {
    all.iter().find(|(other, _)| *other == id).map_or(&[], |(_, rows)| rows)
}

/// Stores before-images of accepted mutations where they differ from the recorded old values, and
/// values that the server stored instead of those sent: later edits of the row expect these.
pub(super) fn keep_displaced(
    work: &mut RebaseContext<'_>,
    displaced: &Images,
    (left, computed): (&Images, &Images),
) -> Result<()> {
    let ids = displaced.iter().chain(left).map(|(id, _)| *id);
    let known: BTreeMap<Seq, MutationId> =
        ids.filter_map(|id| Some((work.queue.find(id)?.seq, id))).collect();
    // The latest first: of a column that several have computed, its value counts.
    for (seq, id) in known.into_iter().rev() {
        let (was, left) = (images_of(displaced, id), images_of(left, id));
        let computed = displaced::by_row(images_of(computed, id));
        let Some(step) = work.steps.get(&seq).filter(|step| step.outcome == OpOutcome::Accepted)
        else {
            continue;
        };
        let seen = step.effect_as_seen();
        let was = displaced::by_row(was);
        let left = displaced::by_row(left);
        let mut rows = Vec::with_capacity(seen.rows.len());
        for patch in &seen.rows {
            rows.extend(cancel::done(work, patch, (&was, &left))?);
        }
        take_over::pass_on_left(work, seq, (&left, &computed))?;
        let step = work.step_mut(seq)?;
        if rows != step.effect.rows {
            let done = Effect { schema_version: seen.schema_version, rows };
            step.displaced = Some(encode::encode(&done));
        }
    }
    Ok(())
}

fn counts(work: &RebaseContext<'_>, verdict: &ServerVerdict) -> Option<Seq> {
    let entry = work.queue.find(verdict.id)?;
    let on_its_way = matches!(entry.state, MutationState::Sent | MutationState::Uncertain);
    let final_one = verdict.ending == Ending::Accepted && entry.state != MutationState::Parked;
    let same_attempt = entry.attempt == verdict.attempt;
    (final_one || on_its_way && same_attempt).then_some(entry.seq)
}

/// Prepares the next attempt of a mutation.
fn offer_again(step: &mut PendingOp) -> Result<()> {
    end_attempt(step)?;
    step.attempt += 1;
    step.state = MutationState::Pending;
    step.changed = true;
    Ok(())
}

/// Ends the sent attempt: the next one compares the old values that were taken over meanwhile.
/// Returns the attempt's frozen content.
pub(super) fn end_attempt(step: &mut PendingOp) -> Result<Option<Frozen>> {
    let Some(bytes) = step.frozen.take() else { return Ok(None) };
    let mut frozen = Frozen::decode(&bytes)?;
    if let Some(basis) = frozen.next_basis.take() {
        step.basis = basis;
    }
    Ok(Some(frozen))
}

/// Handles conflicts, now that the images are in the base: each mutation is rebuilt, or parked with
/// both rows, according to policy. Mutations that are blocked by a parked create are parked with
/// it.
///
/// If the old values of a mutation were replaced after it was sent, or it was sent as an insert of
/// a row that exists again, its verdict is of another attempt. It is sent again if the rows agree
/// with its current old values.
pub(super) fn finish(work: &mut RebaseContext<'_>, open: OpenVerdict<'_>) -> Result<()> {
    for seq in open.narrow {
        take_over::hand_on_unnamed(work, seq)?;
    }
    for seq in open.blocked {
        if let Some(id) = park::parked_creator_under(work, seq)? {
            let reason = ParkReason::Depends;
            park::park(work, seq, Parking { reason, because_of: Some(id), detail: None })?;
        }
    }
    for ConflictVerdict { seq, verdict, compared, is_repeated, created } in open.conflicts {
        if !work.step(seq)?.stays() {
            continue;
        }
        let conflicts = conflicts_of(work, seq)?;
        let step = work.step(seq)?;
        let is_renewed = !replay::has_handler(work, step) && compares_others(work, step, &compared);
        let is_update = becomes_an_update(work, seq, &created)?;
        if conflicts.is_empty() && (is_renewed || is_update) {
            offer_again(work.step_mut(seq)?)?;
            continue;
        }
        if policy::rebuild(work, seq, &conflicts, is_repeated)? {
            continue;
        }
        let mut rows: Vec<(RowKey, Vec<String>)> =
            conflicts.into_iter().map(|(row, conflict)| (row, conflict.columns)).collect();
        if rows.is_empty() {
            // The differing columns are not visible here.
            let all = work.step(seq)?.effect.rows.iter();
            rows = all.map(|patch| (patch.row.clone(), Vec::new())).collect();
        }
        let detail = detail::of_conflict(work, seq, &rows, verdict.detail.as_deref())?;
        if replay::has_handler(work, work.step(seq)?) {
            // The action runs again on the returned rows, which makes another attempt.
            let step = work.step_mut(seq)?;
            step.attempt += 1;
            step.frozen = None;
            step.conflicted = Some(detail);
            step.changed = true;
            continue;
        }
        let parking =
            Parking { reason: ParkReason::Conflicted, because_of: None, detail: Some(detail) };
        park::park(work, seq, parking)?;
    }
    Ok(())
}

/// Whether the next attempt of a mutation sends other old values than these. An old value of a
/// column that the server has removed is not sent.
fn compares_others(work: &RebaseContext<'_>, step: &PendingOp, compared: &Basis) -> bool {
    let mut named = compared.keys().chain(step.basis.keys());
    named.any(|&(index, at)| {
        let patch = &step.effect.rows[index];
        let table = work.schema.table(patch.row.table);
        table.is_none_or(|table| table.sends(patch.kind, &patch.columns[at]))
            && step.old(index, at) != old_of(&step.effect, compared, index, at)
    })
}

/// Whether the attempt inserted a row that exists now, and the next one updates it: the row was
/// restored, or the policy had put the insert onto an earlier row of this key.
fn becomes_an_update(work: &mut RebaseContext<'_>, seq: Seq, created: &[RowKey]) -> Result<bool> {
    let mut found = false;
    for row in created {
        if work.rows.read_columns(row, &[])?.is_some() {
            let step = work.step_mut(seq)?;
            let index = step.patch(row).map(|(index, _)| index);
            found |= step.policy_state.leaves(row);
            found |= index.is_some_and(|index| is_onto(&step.effect, &step.basis, index));
        }
    }
    Ok(found)
}

/// The rows in which this mutation and the server differ.
fn conflicts_of(work: &mut RebaseContext<'_>, seq: Seq) -> Result<Vec<(RowKey, Conflict)>> {
    let rows: Vec<RowKey> =
        work.step(seq)?.effect.rows.iter().map(|patch| patch.row.clone()).collect();
    let mut differing = Vec::new();
    for row in rows {
        let mut met = RowBelow::new(work.rows.read(&row)?);
        let table = work.rows.table(row.table)?;
        for earlier in work.states.steps_at(row.table, &row.key) {
            let step = work.step(earlier)?;
            if earlier < seq
                && step.stays()
                && let Some(edit) = RowEdit::of(table, step, &row)
            {
                met.apply_patch(
                    table,
                    &RowEdit { replays: replay::has_handler(work, step), ..edit },
                );
            }
        }
        let edit = RowEdit::of(table, work.step(seq)?, &row);
        let columns = edit.and_then(|edit| met.conflict(table, &edit));
        let conflict = |columns| Conflict { seq, columns, present: met.present };
        differing.extend(columns.map(|columns| (row, conflict(columns))));
    }
    Ok(differing)
}
