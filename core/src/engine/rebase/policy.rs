//! What a table's policy makes of a conflict, and how it is done to a step (O10, O11).
//!
//! The first part decides and is pure. The second changes the attempt and what is remembered of it, never the effect (R1):
//! a rebased edit compares the row as it now stands, and one that brings a row back is laid and sent as a whole row.

use rejoin_protocol::Policy;

use super::conflict::Conflict;
use super::work::Work;
use crate::engine::queue::mutation::{BasisValue, State};
use crate::engine::queue::step::{Fate, Step};
use crate::engine::rows::patch::{PatchKind, RowKey, same};
use crate::engine::schema::model::Table;
use crate::error::Result;
use crate::ids::Seq;
use crate::value::Value;

/// What becomes of an edit in conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// The app decides.
    Park,
    /// It goes over the row as that stands now.
    Rebase,
    /// It brings the row back.
    BringBack,
}

/// What becomes of an edit that cannot stand on the row as it is. `is_there`: whether there is a row; `is_known`: whether
/// it is remembered what the row was before it vanished.
pub(super) fn treatment(policy: Policy, is_there: bool, is_known: bool) -> Treatment {
    match policy {
        Policy::Rebase | Policy::KeepLocal if is_there => Treatment::Rebase,
        Policy::KeepLocal if is_known => Treatment::BringBack,
        _ => Treatment::Park,
    }
}

/// Whether an edit is the server's to decide, by time: nothing that comes in is held against it here (O11).
pub(super) fn is_by_time(table: &Table, step: &Step) -> bool {
    policy_of(table, step) == Policy::LastWriteWins
}

/// The policy that holds for a step: the table's is for plain SQL (O7), and what another life of the server had accepted
/// is only compared (O11).
pub(super) fn policy_of(table: &Table, step: &Step) -> Policy {
    let excepted = step.intent.is_some() || step.stance.compare_only;
    if excepted { Policy::AcceptServer } else { table.policy }
}

/// A plain server has answered an edit that it decides by time with the row as it is. A create upon a live row is not
/// compared by time: it is offered again as an update of that row. Any other edit is older than the row: it is compared
/// with it by columns, and what can stand counts as made on the row as it is now.
pub(super) fn settle_by_time(
    work: &mut Work<'_>,
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
        step.stance.saw(row, None);
    } else {
        step.stance.sees_anew(row);
        step.outdated.push(row.clone());
    }
    step.changed = true;
    Ok(())
}

/// Treats a conflict that was found on a row; whether the edit can stand now.
pub(super) fn treat(work: &mut Work<'_>, row: &RowKey, conflict: &Conflict) -> Result<bool> {
    let chosen = chosen(work, row, conflict)?;
    let step = work.step_mut(conflict.seq)?;
    match (chosen, &conflict.present) {
        (Treatment::Rebase, Some(present)) => {
            let table = work.rows.table(row.table)?;
            rebase(table, work.step_mut(conflict.seq)?, row, present);
        }
        (Treatment::BringBack, None) => step.stance.bring_back(row),
        _ => return Ok(false),
    }
    work.step_mut(conflict.seq)?.changed = true;
    Ok(true)
}

/// Lets an edit bring its row back, where the policy says so: while the edit was sent without a verdict, the removal of its
/// row was not compared with it.
pub(super) fn bring_back_if_kept(work: &mut Work<'_>, step: &mut Step, row: &RowKey) -> Result<()> {
    let table = work.rows.table(row.table)?;
    let policy = policy_of(table, step);
    if treatment(policy, false, step.stance.has_kept(row)) == Treatment::BringBack {
        step.stance.bring_back(row);
    }
    Ok(())
}

fn chosen(work: &Work<'_>, row: &RowKey, conflict: &Conflict) -> Result<Treatment> {
    let table = work.rows.table(row.table)?;
    let step = work.step(conflict.seq)?;
    let is_known = step.stance.has_kept(row);
    Ok(treatment(policy_of(table, step), conflict.present.is_some(), is_known))
}

/// From here on the attempt compares the row as it now stands. A create upon a live row becomes an edit of it: then every
/// column has an old value, though its effect has none.
fn rebase(table: &Table, step: &mut Step, row: &RowKey, present: &[Value]) {
    let Some((index, patch)) = step.patch(row) else { return };
    let creates = patch.kind == PatchKind::Insert;
    let mut olds = Vec::new();
    for (at, column) in patch.columns.iter().enumerate() {
        if let Some(position) = table.position(column.column)
            && (creates || !same(&column.old, &present[position]))
        {
            olds.push(BasisValue { row: index, column: at, old: present[position].clone() });
        }
    }
    step.basis.retain(|value| value.row != index);
    step.basis.extend(olds);
    step.stance.sees_anew(row);
}

/// Rebuilds what the server found in conflict as the next attempt, if policy asks for that in every row; whether it did.
///
/// The same content is never offered again for the same rows: where nothing differs as seen from here, or where it went over
/// everything already and is in conflict all the same, the app decides. A repeated verdict may be of earlier rows: if
/// the rows of the answer show no conflict, they have changed since, and the edit is offered again.
pub(super) fn rebuild(
    work: &mut Work<'_>,
    seq: Seq,
    conflicts: &[(RowKey, Conflict)],
    is_repeated: bool,
) -> Result<bool> {
    let step = work.step(seq)?;
    let (whole, insists) = (whole_rows(work, step)?, step.stance.insists());
    let is_outdated = is_repeated && can_insist(work, seq)?;
    let same = conflicts.is_empty() && whole.is_empty() && !is_outdated;
    if same || insists {
        return Ok(false);
    }
    for (row, conflict) in conflicts {
        if chosen(work, row, conflict)? == Treatment::Park {
            return Ok(false);
        }
    }
    let step = work.step_mut(seq)?;
    step.state = State::Pending;
    step.attempt += 1;
    step.stance.conflicts += 1;
    step.changed = true;
    for row in &whole {
        step.stance.sees_anew(row);
    }
    for (row, conflict) in conflicts {
        treat(work, row, conflict)?;
    }
    Ok(true)
}

/// Whether policy insists in every row of a mutation, and each is there. One that is absent may be a row that the server does
/// not show to this user.
fn can_insist(work: &mut Work<'_>, seq: Seq) -> Result<bool> {
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

/// Rows in which a conflict need not be seen in any column, because the server merges none: an edit goes over them as they
/// stand now, if policy is to insist.
fn whole_rows(work: &Work<'_>, step: &Step) -> Result<Vec<RowKey>> {
    let mut rows = Vec::new();
    for patch in &step.effect.rows {
        let table = work.rows.table(patch.row.table)?;
        if table.whole_rows && policy_of(table, step).may_force() {
            rows.push(patch.row.clone());
        }
    }
    Ok(rows)
}

/// A row of the base is about to change: where the server decides by what an edit was made on, that is remembered. Where it
/// merges no columns, what stands on an edit that is accepted with this answer was made on what this answer brings.
pub(super) fn changes(work: &mut Work<'_>, row: &RowKey) -> Result<()> {
    let table = work.rows.table(row.table)?;
    let Some(at) = table.updated_at.filter(|_| table.is_versioned()) else { return Ok(()) };
    let steps: Vec<Seq> = work.states.steps_at(row.table, &row.key).collect();
    let image = work.rows.read_columns(row, &[at])?;
    let version = image.and_then(|cells| cells[0].as_text().map(str::to_owned));
    let mut is_mine = false;
    for seq in steps {
        let step = work.step_mut(seq)?;
        is_mine |= table.whole_rows && step.fate == Fate::Accepted;
        if !step.stays() || step.patch(row).is_none() {
            continue;
        }
        if is_mine {
            step.stance.sees_anew(row);
        } else {
            step.stance.saw(row, version.clone());
        }
        step.changed = true;
    }
    Ok(())
}

/// A row of the base is about to vanish: an edit that would bring it back must know what it was.
pub(super) fn vanishes(work: &mut Work<'_>, row: &RowKey) -> Result<()> {
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
        // What is on its way is offered again exactly as it was.
        let is_settled = step.is_uncertain() && step.stance.has_kept(row);
        if edits && step.stays() && !is_settled {
            let cells = table.columns.iter().zip(&image).enumerate();
            let others = cells.filter(|(at, _)| *at != table.key);
            let columns = others.map(|(_, (column, value))| (column.id, value.clone())).collect();
            step.stance.keep(row, columns);
            step.changed = true;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_conflict() {
        use Treatment::{BringBack, Park, Rebase};
        // On a row that is there; on one that vanished; on one of which nothing is known.
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
