//! Decides how a table's policy resolves a conflict, and applies that to the mutation.
//!
//! The first part is pure. The second changes the attempt and its stored state, never the effect: a
//! rebased edit expects the current row, and an edit that restores a row is applied and sent as a
//! whole row.

use rejoin_protocol::Policy;

use super::conflict::Conflict;
use super::context::RebaseContext;
use crate::engine::queue::mutation::MutationState;
use crate::engine::queue::pending_op::{OpOutcome, PendingOp};
use crate::engine::rows::patch::{PatchKind, RowKey, same};
use crate::engine::schema::model::Table;
use crate::error::Result;
use crate::ids::Seq;
use crate::value::Value;

/// How an edit in conflict is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConflictTreatment {
    /// The app decides.
    Park,
    /// It overwrites the current row.
    Rebase,
    /// It restores the deleted row.
    BringBack,
}

/// Resolution for an edit that conflicts with the current row. `is_there`: whether there is a row;
/// `is_known`: whether the last image of a deleted row is known.
pub(super) fn treatment(policy: Policy, is_there: bool, is_known: bool) -> ConflictTreatment {
    match policy {
        Policy::Rebase | Policy::KeepLocal if is_there => ConflictTreatment::Rebase,
        Policy::KeepLocal if is_known => ConflictTreatment::BringBack,
        _ => ConflictTreatment::Park,
    }
}

/// Whether the server decides an edit by time: then it is not compared with remote rows here.
pub(super) fn is_by_time(table: &Table, step: &PendingOp) -> bool {
    policy_of(table, step) == Policy::LastWriteWins
}

/// The policy for a mutation. The table's policy applies to plain SQL only; mutations that an
/// earlier epoch of the server had accepted are compare-only.
pub(super) fn policy_of(table: &Table, step: &PendingOp) -> Policy {
    let excepted = step.intent.is_some() || step.policy_state.compare_only;
    if excepted { Policy::AcceptServer } else { table.policy }
}

/// Handles a plain server's response that returns the current row for an edit decided by time. A
/// create upon a live row is not compared by time: it is sent again as an update of that row. Any
/// other edit is older than the row: it is compared by columns, and what fits counts as made on the
/// current row.
pub(super) fn settle_by_time(
    work: &mut RebaseContext<'_>,
    seq: Seq,
    row: &RowKey,
    creates: bool,
) -> Result<()> {
    let table = work.rows.table(row.table)?;
    let step = work.step(seq)?;
    if !step.stays() || !is_by_time(table, step) {
        return Ok(());
    }
    let creates = creates && step.patch(row).is_some_and(|(_, one)| one.kind == PatchKind::Insert);
    let present = work.rows.read(row)?.filter(|_| creates);
    let step = work.step_mut(seq)?;
    if let Some(present) = present {
        rebase(table, step, row, &present);
        step.policy_state.saw(row, None);
    } else {
        step.policy_state.forget_expected(row);
        step.outdated.insert(row.clone());
    }
    step.changed = true;
    Ok(())
}

/// Resolves a conflict on a row; returns whether the edit can be applied now.
pub(super) fn treat(
    work: &mut RebaseContext<'_>,
    row: &RowKey,
    conflict: &Conflict,
) -> Result<bool> {
    let chosen = chosen(work, row, conflict)?;
    let step = work.step_mut(conflict.seq)?;
    match (chosen, &conflict.present) {
        (ConflictTreatment::Rebase, Some(present)) => {
            let table = work.rows.table(row.table)?;
            rebase(table, work.step_mut(conflict.seq)?, row, present);
        }
        (ConflictTreatment::BringBack, None) => step.policy_state.bring_back(row),
        _ => return Ok(false),
    }
    work.step_mut(conflict.seq)?.changed = true;
    Ok(true)
}

/// Lets an edit restore its row if the policy restores rows: the removal of the row was not
/// compared with the edit while that was sent without a verdict.
pub(super) fn bring_back_if_kept(
    work: &mut RebaseContext<'_>,
    step: &mut PendingOp,
    row: &RowKey,
) -> Result<()> {
    let table = work.rows.table(row.table)?;
    let policy = policy_of(table, step);
    if treatment(policy, false, step.policy_state.has_kept(row)) == ConflictTreatment::BringBack {
        step.policy_state.bring_back(row);
    }
    Ok(())
}

fn chosen(
    work: &RebaseContext<'_>,
    row: &RowKey,
    conflict: &Conflict,
) -> Result<ConflictTreatment> {
    let table = work.rows.table(row.table)?;
    let step = work.step(conflict.seq)?;
    let is_known = step.policy_state.has_kept(row);
    Ok(treatment(policy_of(table, step), conflict.present.is_some(), is_known))
}

/// Makes the attempt expect the current row. A create upon a live row becomes an edit of it: then
/// every column has an old value, though its effect has none.
fn rebase(table: &Table, step: &mut PendingOp, row: &RowKey, present: &[Value]) {
    let Some((index, patch)) = step.patch(row) else { return };
    let creates = patch.kind == PatchKind::Insert;
    let columns = patch.columns.len();
    let mut olds = Vec::new();
    for (at, column) in patch.columns.iter().enumerate() {
        if let Some(position) = table.position(column.column)
            && (creates || !same(&column.old, &present[position]))
        {
            olds.push(((index, at), present[position].clone()));
        }
    }
    for at in 0..columns {
        step.basis.remove(&(index, at));
    }
    step.basis.extend(olds);
    step.policy_state.forget_expected(row);
}

/// Rebuilds a mutation that the server found in conflict as the next attempt, if the policy asks
/// for that in every row; returns whether it did.
///
/// The same content is never sent again for the same rows: if no local difference is visible, or
/// the edit already overwrote everything and still conflicts, the app decides. A repeated verdict
/// may refer to earlier rows: if the rows of the response show no conflict, they have changed
/// since, and the edit is sent again.
pub(super) fn rebuild(
    work: &mut RebaseContext<'_>,
    seq: Seq,
    conflicts: &[(RowKey, Conflict)],
    is_repeated: bool,
) -> Result<bool> {
    let whole = whole_rows(work, seq)?;
    let insists = work.step(seq)?.policy_state.insists();
    let is_outdated = is_repeated && can_insist(work, seq)?;
    let same = conflicts.is_empty() && whole.is_empty() && !is_outdated;
    if same || insists {
        return Ok(false);
    }
    for (row, conflict) in conflicts {
        if chosen(work, row, conflict)? == ConflictTreatment::Park {
            return Ok(false);
        }
    }
    let step = work.step_mut(seq)?;
    step.state = MutationState::Pending;
    step.attempt += 1;
    step.policy_state.conflicts += 1;
    step.changed = true;
    for row in &whole {
        step.policy_state.forget_expected(row);
    }
    for (row, conflict) in conflicts {
        treat(work, row, conflict)?;
    }
    Ok(true)
}

/// Whether the policy forces every row of a mutation, and each row exists. An absent row may be one
/// that the server does not show to this user.
fn can_insist(work: &mut RebaseContext<'_>, seq: Seq) -> Result<bool> {
    let step = work.step(seq)?;
    let rows: Vec<RowKey> = step.effect.rows.iter().map(|patch| patch.row.clone()).collect();
    for row in &rows {
        let table = work.rows.table(row.table)?;
        let may_force = policy_of(table, work.step(seq)?).may_force();
        if !may_force || work.rows.read_columns(row, &[])?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Rows whose conflict may show in no column, because the server merges none: they have another
/// version than the edit was made on. If the policy forces the edit, it overwrites the current row.
fn whole_rows(work: &mut RebaseContext<'_>, seq: Seq) -> Result<Vec<RowKey>> {
    let mut seen = Vec::new();
    let step = work.step(seq)?;
    for patch in &step.effect.rows {
        let table = work.rows.table(patch.row.table)?;
        if table.whole_rows
            && policy_of(table, step).may_force()
            && let Some(version) = step.policy_state.seen(&patch.row)
        {
            seen.push((table, patch.row.clone(), version.clone()));
        }
    }
    let mut rows = Vec::new();
    for (table, row, version) in seen {
        if version_of(work, table, &row)? != version {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The version of a base row; `None` if there is no row, or its table has none.
fn version_of(work: &mut RebaseContext<'_>, table: &Table, row: &RowKey) -> Result<Option<String>> {
    let Some(at) = table.updated_at else { return Ok(None) };
    let image = work.rows.read_columns(row, &[at])?;
    Ok(image.and_then(|cells| cells[0].as_text().map(str::to_owned)))
}

/// Called before a base row changes: where the server decides by the version that an edit was made
/// on, that version is stored. Where it merges no columns, edits on top of an edit that this
/// response accepts were made on the row of this response.
pub(super) fn changes(work: &mut RebaseContext<'_>, row: &RowKey) -> Result<()> {
    let table = work.rows.table(row.table)?;
    if !table.is_versioned() {
        return Ok(());
    }
    let steps: Vec<Seq> = work.states.steps_at(row.table, &row.key).collect();
    let version = version_of(work, table, row)?;
    let mut is_mine = false;
    for seq in steps {
        let step = work.step_mut(seq)?;
        is_mine |= table.whole_rows && step.outcome == OpOutcome::Accepted;
        if !step.stays() || step.patch(row).is_none() {
            continue;
        }
        if is_mine {
            step.policy_state.forget_expected(row);
        } else {
            step.policy_state.saw(row, version.clone());
        }
        step.changed = true;
    }
    Ok(())
}

/// Called before a base row is removed: stores its image for an edit that would restore the row.
pub(super) fn vanishes(work: &mut RebaseContext<'_>, row: &RowKey) -> Result<()> {
    let table = work.rows.table(row.table)?;
    if table.policy != Policy::KeepLocal {
        return Ok(());
    }
    let steps: Vec<Seq> = work.states.steps_at(row.table, &row.key).collect();
    if steps.is_empty() {
        return Ok(());
    }
    let Some(image) = work.rows.read(row)? else { return Ok(()) };
    for seq in steps {
        let step = work.step_mut(seq)?;
        let edits = step.patch(row).is_some_and(|(_, patch)| patch.kind == PatchKind::Update);
        // A sent attempt is sent again unchanged.
        let is_settled = step.is_uncertain() && step.policy_state.has_kept(row);
        if edits && step.stays() && !is_settled {
            let cells = table.columns.iter().zip(&image).enumerate();
            let others = cells.filter(|(at, _)| *at != table.key);
            let columns = others.map(|(_, (column, value))| (column.id, value.clone())).collect();
            step.policy_state.keep(row, columns);
            step.changed = true;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_determines_conflict_treatment() {
        use ConflictTreatment::{BringBack, Park, Rebase};
        // For a row that exists; for a deleted row; for an unknown row.
        let table = [
            (Policy::AcceptServer, [Park, Park, Park]),
            (Policy::Rebase, [Rebase, Park, Park]),
            (Policy::KeepLocal, [Rebase, BringBack, Park]),
            (Policy::Manual, [Park, Park, Park]),
            (Policy::LastWriteWins, [Park, Park, Park]),
        ];
        assert_eq!(table.map(|(policy, _)| policy), Policy::ALL);
        for (policy, expected) in table {
            let on = |is_there, is_known| treatment(policy, is_there, is_known);
            assert_eq!(
                [on(true, false), on(false, true), on(false, false)],
                expected,
                "{policy:?}"
            );
        }
    }
}
