//! Cancels discarded mutations that the server may have: they leave the visible rows at once, are
//! cancelled by id, and are reversed if the server has accepted them.
//!
//! The reverse is a mutation at the queue position of the discarded one, so later writes stay on
//! top. It is built from the server's before-images, is compared like any edit, and never
//! overwrites a column that has a new value since. For plain SQL the other columns are reversed;
//! for an action none is, and the reverse is parked. Edits of a row that the discarded mutation
//! created are reversed with it, newest first.

use std::collections::HashMap;

use rejoin_protocol::wire::push::Ending;

use super::batch::Withdrawn;
use super::context::RebaseContext;
use super::detail;
use super::detect;
use super::park;
use super::reverse::{self, reversal};
use crate::engine::queue::Staged;
use crate::engine::queue::cancel::{self, Cancelled};
use crate::engine::queue::displaced;
use crate::engine::queue::mutation::ParkReason;
use crate::engine::queue::pending_op::{OpOutcome, Parking};
use crate::engine::queue::verdict;
use crate::engine::rows::ServerRow;
use crate::engine::rows::apply::soft_deletes;
use crate::engine::rows::patch::{PatchKind, RowKey, RowPatch};
use crate::error::Result;
use crate::ids::{ColumnId, MutationId, Seq};
use rejoin_protocol::mutant::{self, Mutant};

/// Accepted by the server; reversed once the images are in the base.
pub(super) type AcceptedCancels<'b> = Vec<(Cancelled, &'b Withdrawn)>;

/// Cancels a mutation that the server may have, and the sent mutations that edit rows it created.
/// Mutations that were never sent and depend on those rows are parked.
pub(super) fn withdraw(work: &mut RebaseContext<'_>, seq: Seq) -> Result<()> {
    work.undo([seq])?;
    let root = work.step(seq)?.id;
    let mut open = vec![seq];
    while let Some(seq) = open.pop() {
        if !work.step(seq)?.stays() {
            continue;
        }
        let dependents = park::sent_dependents(work, seq)?;
        for other in &dependents {
            work.undo([*other])?;
        }
        open.extend(dependents);
        park::leave(work, seq, OpOutcome::Withdrawn(root))?;
    }
    Ok(())
}

/// Processes the server's answers; accepted mutations are reversed once the images are in.
pub(super) fn settle<'b>(
    work: &mut RebaseContext<'_>,
    answers: &'b [Withdrawn],
) -> Result<AcceptedCancels<'b>> {
    let mut accepted = Vec::new();
    for answer in answers.iter().filter(|answer| answer.ending != Ending::Retry) {
        let known = work.queue.cancels().values().find(|known| known.id == answer.id);
        let Some(known) = known.cloned() else { continue };
        cancel::remove(work.conn, known.seq)?;
        work.staged.push(Staged::Settled(known.seq));
        work.withdrawn.insert(known.seq);
        for patch in &known.effect.rows {
            work.meet(patch.row.table, &patch.row.key)?;
        }
        if answer.ending == Ending::Accepted {
            accepted.push((known, answer));
        } else {
            store_answer(work, &known, None)?;
        }
    }
    Ok(accepted)
}

/// Inserts the reverses of accepted mutations into the queue; `ids` has at least one id for each.
pub(super) fn finish(
    work: &mut RebaseContext<'_>,
    accepted: AcceptedCancels<'_>,
    mut ids: impl Iterator<Item = MutationId>,
) -> Result<()> {
    for together in connected(accepted) {
        let place = together.iter().map(|(cancelled, _)| cancelled.seq).min().unwrap_or(Seq(0));
        let of_action = together.iter().any(|(cancelled, _)| cancelled.of_action);
        let rows = given_up(work, &together, of_action)?;
        let id = ids.next();
        if mutant::on(Mutant::CancelForgets) {
            continue;
        }
        let by = reverse(work, place, id, &rows, of_action)?;
        for (cancelled, _) in &together {
            store_answer(work, cancelled, by)?;
        }
        for GivenUp { row, .. } in &rows {
            while let Some(conflict) = detect::look(work, row)? {
                detect::park(work, row, conflict, None)?;
            }
        }
    }
    Ok(())
}

/// The discarded edits of one row, oldest first.
struct GivenUp {
    row: RowKey,
    patches: Vec<RowPatch>,
    /// Columns of an action whose next write the server may already have.
    over: Vec<ColumnId>,
}

/// The changes that these mutations made to the server's rows, by row.
fn given_up(
    work: &mut RebaseContext<'_>,
    together: &AcceptedCancels<'_>,
    of_action: bool,
) -> Result<Vec<GivenUp>> {
    let mut rows: Vec<GivenUp> = Vec::new();
    let mut places: HashMap<RowKey, usize> = HashMap::new();
    for (cancelled, word) in together {
        let was = displaced::by_row(&word.displaced);
        let left = displaced::by_row(&word.left);
        for patch in &cancelled.effect.rows {
            let done = done(work, patch, (&was, &left))?;
            let Some(mut patch) = done else { continue };
            let mut over = written_next(work, cancelled.seq, &patch)?;
            if !of_action {
                patch.columns.retain(|column| !over.contains(&column.column));
                over.clear();
            }
            let row = patch.row.clone();
            let at = *places.entry(row.clone()).or_insert(rows.len());
            if at == rows.len() {
                rows.push(GivenUp { row, patches: Vec::new(), over: Vec::new() });
            }
            rows[at].patches.push(patch);
            rows[at].over.extend(over);
        }
    }
    Ok(rows)
}

/// Reverses rows. Returns the mutation that reverses them, or the edit that continues them.
fn reverse(
    work: &mut RebaseContext<'_>,
    place: Seq,
    id: Option<MutationId>,
    rows: &[GivenUp],
    of_action: bool,
) -> Result<Option<MutationId>> {
    let (mut patches, mut changed) = (Vec::new(), Vec::new());
    for GivenUp { row, patches: given_up, over } in rows.iter().filter(|_| of_action) {
        let base = work.rows.read(row)?;
        let table = work.rows.table(row.table)?;
        let given_up: Vec<&RowPatch> = given_up.iter().collect();
        let found = reverse::changed_since(table, base.as_deref(), &given_up);
        let (left, mut columns) = found.clone().unwrap_or((base, Vec::new()));
        let names = over.iter().filter_map(|id| table.position(*id));
        columns.extend(names.map(|at| table.columns[at].name.clone()));
        patches.extend(reversal(table, row, left.as_deref(), &given_up));
        if found.is_some() || !over.is_empty() {
            changed.push((row.clone(), columns));
        }
    }
    let mut by = None;
    if changed.is_empty() {
        patches.clear();
        for GivenUp { row, patches: given_up, .. } in rows {
            let given_up: Vec<&RowPatch> = given_up.iter().collect();
            let carried = reverse::carry_on(work, row, place, &given_up)?;
            if carried.is_some() {
                by = carried;
                continue;
            }
            let base = work.rows.read(row)?;
            patches.extend(reversal(work.rows.table(row.table)?, row, base.as_deref(), &given_up));
        }
    }
    let Some(id) = id.filter(|_| !patches.is_empty()) else { return Ok(by) };
    reverse::put_reverse(work, place, id, patches, of_action)?;
    if !changed.is_empty() {
        let detail = Some(detail::of_conflict(work, place, &changed, None)?);
        let reason = ParkReason::Conflicted;
        park::park(work, place, Parking { reason, because_of: None, detail })?;
    }
    Ok(Some(id))
}

/// The patch as the server applied it; `None` if it applied nothing. `was` are its before-images,
/// `left` the values that the server stored instead of those sent.
pub(super) fn done(
    work: &RebaseContext<'_>,
    patch: &RowPatch,
    (was, left): (&HashMap<RowKey, &ServerRow>, &HashMap<RowKey, &ServerRow>),
) -> Result<Option<RowPatch>> {
    let table = work.rows.table(patch.row.table)?;
    let deletes = patch.kind == PatchKind::Delete || soft_deletes(table, patch);
    let of = |images: &HashMap<RowKey, _>| images.get(&patch.row).copied();
    Ok(displaced::done(patch, deletes, (of(was), of(left))))
}

/// Records for the app that the server has answered a cancelled mutation.
fn store_answer(
    work: &RebaseContext<'_>,
    cancelled: &Cancelled,
    reverse: Option<MutationId>,
) -> Result<()> {
    verdict::write_withdrawn(work.conn, (cancelled.id, cancelled.attempt), reverse, work.now_ms)
}

/// Groups mutations that share a row or were cancelled by one answer; each group is reversed as
/// one, in queue order.
fn connected(accepted: AcceptedCancels<'_>) -> Vec<AcceptedCancels<'_>> {
    let mut groups: Vec<AcceptedCancels<'_>> = Vec::new();
    for one in accepted {
        let meets = |other: &(Cancelled, &Withdrawn)| {
            let shares = |patch: &RowPatch| one.0.effect.find(&patch.row).is_some();
            other.0.root == one.0.root || other.0.effect.rows.iter().any(shares)
        };
        let (mut met, rest): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(meets));
        let mut whole: AcceptedCancels<'_> = met.drain(..).flatten().collect();
        whole.push(one);
        whole.sort_by_key(|(cancelled, _)| cancelled.seq);
        groups = rest;
        groups.push(whole);
    }
    groups
}

/// The columns whose next write the server may already have: that write compares the value below
/// it.
fn written_next(work: &mut RebaseContext<'_>, seq: Seq, patch: &RowPatch) -> Result<Vec<ColumnId>> {
    let mut next: Vec<(ColumnId, bool)> = Vec::new();
    if patch.kind == PatchKind::Update {
        for later in work.states.steps_after(&patch.row, seq) {
            let step = work.step(later)?;
            let over = step.patch(&patch.row).filter(|_| step.stays());
            let Some((_, over)) = over else { continue };
            for column in over.columns.iter().filter(|column| column.is_change()) {
                if next.iter().all(|(known, _)| *known != column.column) {
                    next.push((column.column, step.is_uncertain()));
                }
            }
        }
    }
    let wrote = |id: &ColumnId| {
        patch.columns.iter().any(|column| column.column == *id && column.is_change())
    };
    let open = next.into_iter().filter(|(id, is_open)| *is_open && wrote(id));
    Ok(open.map(|(id, _)| id).collect())
}
