//! Detects conflicts between remote images and pending edits, column by column, and applies the
//! table's policy to them.
//!
//! The comparison is pure. A column conflicts if the image differs from the old value *and* from
//! the new one; disjoint columns merge. Values are compared by meaning, and JSON null equals SQL
//! NULL. A row with an edit that was sent and has no verdict is checked only after the verdict. One
//! conflicting row parks the whole mutation; the row is then compared again without it.

use rejoin_protocol::Value;
use rejoin_protocol::equal::alike;

use super::conflict::{Conflict, apply_patch};
use super::context::RebaseContext;
use super::detail;
use super::policy;
use super::{park, part, replay};
use crate::engine::queue::cancel;
use crate::engine::queue::mutation::{ParkReason, is_onto};
use crate::engine::queue::pending_op::{Parking, PendingOp};
use crate::engine::rows::apply::{soft_deletes, takes_back};
use crate::engine::rows::patch::{PatchKind, RowKey, RowPatch};
use crate::engine::schema::model::Table;
use crate::error::Result;
use crate::ids::Seq;
use rejoin_protocol::mutant::{self, Mutant};

/// An edit of a row, with what the policy needs.
pub(super) struct RowEdit<'a> {
    pub(super) seq: Seq,
    pub(super) patch: &'a RowPatch,
    /// The old values that the attempt compares, by index of the patch's columns.
    pub(super) olds: Vec<&'a Value>,
    /// Whether a create was rebased onto a live row: then it has old values like an edit.
    pub(super) onto: bool,
    /// Whether the server decides it by time.
    pub(super) by_time: bool,
    /// The whole row, if the edit restores it.
    pub(super) whole: Option<RowPatch>,
    /// Whether it is an action that will run again on the row, and so is not compared.
    pub(super) replays: bool,
}

impl<'a> RowEdit<'a> {
    pub(super) fn of(table: &Table, step: &'a PendingOp, row: &RowKey) -> Option<Self> {
        let (index, patch) = step.patch(row)?;
        let olds = (0..patch.columns.len()).map(|column| step.old(index, column)).collect();
        let is_outdated = step.outdated.contains(row);
        let onto = is_onto(&step.effect, &step.basis, index) && !is_outdated;
        let whole = step.policy_state.brought_back(patch);
        let by_time = policy::is_by_time(table, step) && !is_outdated;
        Some(Self { seq: step.seq, patch, olds, onto, by_time, whole, replays: false })
    }
}

/// The first edit, in queue order, that conflicts with the server's row.
pub(super) fn first_conflict(
    table: &Table,
    image: Option<&[Value]>,
    edits: &[RowEdit<'_>],
) -> Option<Conflict> {
    let mut met = RowBelow::new(image.map(<[Value]>::to_vec));
    for edit in edits {
        let found = met.conflict(table, edit);
        if let Some(columns) = found.filter(|_| !edit.by_time && !edit.replays) {
            return Some(Conflict { seq: edit.seq, columns, present: met.present });
        }
        met.apply_patch(table, edit);
    }
    None
}

/// The row below an edit: the server's row with the earlier edits of the queue applied.
///
/// What a re-run action will write is not known yet. A later edit is free of conflicts if it fits
/// the row either with the action's last writes or without them.
pub(super) struct RowBelow {
    pub(super) present: Option<Vec<Value>>,
    /// Whether an action that runs again is among the edits.
    has_action: bool,
    /// The row without such actions, if there is one.
    without: Option<Vec<Value>>,
}

impl RowBelow {
    pub(super) fn new(image: Option<Vec<Value>>) -> Self {
        Self { present: image, has_action: false, without: None }
    }

    /// The columns of an edit that conflict with the row ([`conflict`]).
    pub(super) fn conflict(&self, table: &Table, edit: &RowEdit<'_>) -> Option<Vec<String>> {
        let columns = conflict(table, self.present.as_deref(), edit)?;
        let fits = self.has_action && conflict(table, self.without.as_deref(), edit).is_none();
        (!fits).then_some(columns)
    }

    /// Applies an edit to the row.
    pub(super) fn apply_patch(&mut self, table: &Table, edit: &RowEdit<'_>) {
        if edit.replays && !self.has_action {
            self.without.clone_from(&self.present);
            self.has_action = true;
        } else if self.has_action && !edit.replays {
            edit.apply_patch(table, &mut self.without);
        }
        edit.apply_patch(table, &mut self.present);
    }
}

impl RowEdit<'_> {
    /// Applies the edit to an image, with the same rules as for stored rows.
    fn apply_patch(&self, table: &Table, present: &mut Option<Vec<Value>>) {
        let whole = self.whole.as_ref().filter(|_| present.is_none());
        apply_patch(table, present, whole.unwrap_or(self.patch));
    }
}

/// The columns of an edit that conflict with the row; empty if it needs a row and there is none.
pub(super) fn conflict(
    table: &Table,
    present: Option<&[Value]>,
    edit: &RowEdit<'_>,
) -> Option<Vec<String>> {
    let patch = edit.patch;
    let deletes = patch.kind == PatchKind::Delete || soft_deletes(table, patch);
    let Some(present) = present else {
        let brings = edit.whole.is_some() || takes_back(table, patch);
        return (patch.kind == PatchKind::Update && !deletes && !brings).then(Vec::new);
    };
    let mut columns = Vec::new();
    for (column, old) in patch.columns.iter().zip(&edit.olds) {
        let Some(at) = table.position(column.column) else { continue };
        let what = &table.columns[at];
        let is_old = || alike(&present[at], old, what.kind);
        let is_new = || alike(&present[at], &column.new, what.kind);
        let is_open = |value: &Value| table.owner == Some(at) && value.is_null();
        let agrees = match patch.kind {
            _ if what.protected => true,
            PatchKind::Insert if is_open(&column.new) => true,
            _ if deletes && is_open(old) => true,
            _ if deletes => is_old(),
            PatchKind::Insert => is_new() || edit.onto && is_old(),
            _ => !column.is_change() || is_old() || is_new(),
        };
        if !agrees {
            columns.push(what.name.clone());
        }
    }
    (!columns.is_empty()).then_some(columns)
}

/// Detects and resolves conflicts of pending edits on rows of the batch.
pub(super) fn detect_conflicts(work: &mut RebaseContext<'_>, rows: &[RowKey]) -> Result<()> {
    for row in rows {
        while let Some(conflict) = look(work, row)? {
            park(work, row, conflict, None)?;
        }
    }
    Ok(())
}

/// The first conflict on a row that the app must decide; the policy resolves the others.
pub(super) fn look(work: &mut RebaseContext<'_>, row: &RowKey) -> Result<Option<Conflict>> {
    let mut treated = None;
    while let Some(conflict) = find(work, row)? {
        // A resolved edit must not conflict again; if it does, the app decides.
        let again = treated.replace(conflict.seq) == Some(conflict.seq);
        if again || !policy::treat(work, row, &conflict)? {
            return Ok(Some(conflict));
        }
    }
    Ok(None)
}

/// The first conflict on a row, unless the server may have one of its edits.
fn find(work: &mut RebaseContext<'_>, row: &RowKey) -> Result<Option<Conflict>> {
    let image = work.rows.read(row)?;
    let table = work.rows.table(row.table)?;
    let mut edits = Vec::new();
    let reversed = work.reversed.get(row).copied();
    // The server may have cancelled edits, and later writes on top of them.
    if cancel::is_open_at(work.queue.cancels(), &work.withdrawn, row) {
        return Ok(None);
    }
    for seq in work.states.steps_at(row.table, &row.key).chain(reversed) {
        let step = work.step(seq)?;
        if !step.stays() {
            continue;
        }
        if part::is_uncertain_at(work, step, row) && !mutant::on(Mutant::UncertainJudged) {
            return Ok(None);
        }
        if !work.settled && work.queue.awaiting().contains_key(&seq) {
            return Ok(None);
        }
        let replays = replay::has_handler(work, step);
        edits.extend(RowEdit::of(table, step, row).map(|edit| RowEdit { replays, ..edit }));
    }
    if reversed.is_some() {
        edits.sort_by_key(|edit| edit.seq);
    }
    Ok(first_conflict(table, image.as_deref(), &edits))
}

/// Parks a conflict with both rows; `reported` is the server's error, if the server reported it.
pub(super) fn park(
    work: &mut RebaseContext<'_>,
    row: &RowKey,
    conflict: Conflict,
    reported: Option<&str>,
) -> Result<()> {
    let seq = conflict.seq;
    // An edit whose create was parked earlier depends on that; it was sent at the time, so it could
    // not be parked with it.
    let creator =
        if conflict.columns.is_empty() { park::parked_creator(work, row, seq) } else { None };
    let parking = match creator {
        Some(id) => Parking { reason: ParkReason::Depends, because_of: Some(id), detail: None },
        None => Parking {
            reason: ParkReason::Conflicted,
            because_of: None,
            detail: Some(detail::of_conflict(
                work,
                seq,
                &[(row.clone(), conflict.columns)],
                reported,
            )?),
        },
    };
    part::park_at(work, seq, row, parking)
}

#[cfg(test)]
#[path = "detect/tests.rs"]
pub(super) mod tests;
