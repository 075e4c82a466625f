//! Applies verdicts of a plain server on records, before its images: each counts for the edits of
//! one row.
//!
//! A record with a verdict is no longer frozen. Its edits are accepted, parked, or checked for
//! conflicts and sent again in another record. An edit that the app has discarded meanwhile is
//! reversed at its queue position if the server has it, newest first.

use std::collections::HashSet;

use rejoin_protocol::manifest::Rule;
use rejoin_protocol::wire::push::Operation;

use super::batch::{Applied, RecordEnding, Settled};
use super::context::RebaseContext;
use super::detail;
use super::detect;
use super::policy;
use super::reverse::reversal;
use super::{park, part, reverse};
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::queue::attempt::Faults;
use crate::engine::queue::mutation::{MutationState, ParkReason};
use crate::engine::queue::pending_op::{Parking, PendingOp};
use crate::engine::queue::record::{self, Member, Record};
use crate::engine::queue::{Staged, history};
use crate::engine::rows::patch::{PatchKind, RowKey, RowPatch};
use crate::engine::schema::model::Schema;
use crate::error::Result;
use crate::ids::{MutationId, Seq};

/// Decided once the images are in the base.
#[derive(Debug, Default)]
pub(super) struct OpenRecord<'b> {
    conflicts: Vec<(Record, &'b Settled)>,
    /// Rows whose pending edits are compared again.
    released: Vec<RowKey>,
    reversals: Vec<(Record, MutationId)>,
}

/// Processes the verdicts; some of them wait for the images. `ids` are for reverses.
pub(super) fn settle<'b>(
    work: &mut RebaseContext<'_>,
    verdicts: &'b [Settled],
    ids: Vec<MutationId>,
) -> Result<OpenRecord<'b>> {
    let mut open = OpenRecord::default();
    let mut refused = Vec::new();
    let mut members = Vec::new();
    for (settled, id) in verdicts.iter().zip(ids) {
        let Some(mut record) = work.queue.records().get(settled.place).cloned() else { continue };
        if settled.ending == RecordEnding::Again {
            record.faults = Some(Faults::counted(record.faults, work.now_ms));
            record::write(work.conn, &record)?;
            work.staged.push(Staged::Recorded(record));
            continue;
        }
        take_record(work, &record)?;
        members.extend(record.live());
        match settled.ending {
            RecordEnding::Accepted => {
                for seq in record.live() {
                    part::accept_at(work, seq, &record.row)?;
                }
                if record.members.iter().any(|member| member.hidden.is_some()) {
                    open.reversals.push((record, id));
                }
            }
            RecordEnding::Conflict | RecordEnding::Stands => {
                for seq in record.live() {
                    let step = work.step_mut(seq)?;
                    step.attempt += 1;
                    step.changed = true;
                }
                open.conflicts.push((record, settled));
            }
            RecordEnding::Apart => open.released.push(record.row),
            RecordEnding::Refused(reason) => {
                let detail = settled.detail.clone();
                refused.push((record, Parking { reason, because_of: None, detail }));
            }
            RecordEnding::Again => {}
        }
    }
    // Dependencies are evaluated only after all verdicts are processed.
    refused.reverse();
    while let Some((record, parking)) = refused.pop() {
        for (child, parking) in children_of_record(work, &record)? {
            members.extend(child.live());
            refused.push((child, parking));
        }
        for seq in record.live() {
            part::park_at(work, seq, &record.row, parking.clone())?;
        }
        open.released.push(record.row);
    }
    reconsider(work, &members)?;
    Ok(open)
}

/// Resolves conflicts now that the image is in the base, and reverses discarded edits. The rows of
/// conflicts are checked even if the server has no row: that is its current state, not history.
pub(super) fn finish(work: &mut RebaseContext<'_>, open: OpenRecord<'_>) -> Result<()> {
    for (record, id) in open.reversals {
        reverse(work, &record, id)?;
    }
    // Rows that arrived while they were uncertain were not checked, and later edits now depend on
    // them.
    for row in open.released {
        while let Some(conflict) = detect::look(work, &row)? {
            detect::park(work, &row, conflict, None)?;
        }
    }
    for (record, settled) in open.conflicts {
        let row = &record.row;
        let mine: Vec<Seq> = record.live().collect();
        for seq in &mine {
            policy::settle_by_time(work, *seq, row, record.operation == Operation::Create)?;
        }
        while let Some(conflict) = detect::look(work, row)? {
            let words = settled.detail.as_deref().filter(|_| mine.contains(&conflict.seq));
            detect::park(work, row, conflict, words)?;
        }
        if settled.ending == RecordEnding::Stands {
            for seq in mine {
                if !work.step(seq)?.stays() || work.step(seq)?.patch(row).is_none() {
                    continue;
                }
                let rows = [(row.clone(), Vec::new())];
                let detail = detail::of_conflict(work, seq, &rows, settled.detail.as_deref())?;
                let reason = ParkReason::Conflicted;
                let parking = Parking { reason, because_of: None, detail: Some(detail) };
                part::park_at(work, seq, row, parking)?;
            }
        }
    }
    Ok(())
}

/// Accepts edits that later edits undo, on rows that no server has seen.
pub(crate) fn accept_nothing(engine: &mut Engine, edits: &[(Seq, RowKey)]) -> Result<Applied> {
    engine.rebase(Origin::Remote, Triggers::Fire, |work, _| {
        edits.iter().try_for_each(|(seq, row)| part::accept_at(work, *seq, row))
    })
}

/// Removes a record that has its verdict: its edits are no longer frozen.
fn take_record(work: &mut RebaseContext<'_>, record: &Record) -> Result<()> {
    work.decided.insert(record.place);
    record::remove(work.conn, record.place)?;
    work.staged.push(Staged::Unrecorded(record.place));
    work.meet(record.row.table, &record.row.key)?;
    Ok(())
}

/// Frozen records that refer to the row of a refused create. Although the outcome of their requests
/// is unknown, the server cannot have applied them: without the parent there is no child.
fn children_of_record(
    work: &mut RebaseContext<'_>,
    parent: &Record,
) -> Result<Vec<(Record, Parking)>> {
    let first = parent.live().next().and_then(|seq| work.queue.entry(seq));
    let Some(because_of) = first.map(|entry| entry.id) else { return Ok(Vec::new()) };
    if parent.operation != Operation::Create {
        return Ok(Vec::new());
    }
    let open = work.queue.records().iter().filter(|one| !work.decided.contains(&one.place));
    let children: Vec<Record> =
        open.filter(|one| names(work.schema, one, &parent.row)).cloned().collect();
    let mut parked = Vec::with_capacity(children.len());
    for child in children {
        take_record(work, &child)?;
        let reason = ParkReason::Depends;
        let parking = Parking { reason, because_of: Some(because_of), detail: None };
        parked.push((child, parking));
    }
    Ok(parked)
}

/// Sets members of records with a verdict to pending, unless another record of theirs was sent.
fn reconsider(work: &mut RebaseContext<'_>, members: &[Seq]) -> Result<()> {
    let open = work.queue.records().iter().filter(|one| !work.decided.contains(&one.place));
    let open: HashSet<Seq> = open.flat_map(Record::live).collect();
    for seq in members {
        let uncertain = open.contains(seq);
        let state = if uncertain { MutationState::Uncertain } else { MutationState::Pending };
        let step = work.step_mut(*seq)?;
        if step.state != state {
            step.state = state;
            step.changed = true;
        }
    }
    Ok(())
}

/// The app discards a mutation whose records have no verdict: those edits, and what depends on rows
/// they create, are hidden until the verdict. The rest is removed at once.
pub(super) fn hide(work: &mut RebaseContext<'_>, seq: Seq) -> Result<()> {
    work.undo([seq])?;
    let rows: Vec<RowKey> = work.step(seq)?.effect.rows.iter().map(|p| p.row.clone()).collect();
    let mut chained = HashSet::new();
    for row in rows {
        let Some(record) = work.queue.records().at(&row) else { continue };
        if !record.live().any(|member| member == seq) {
            continue;
        }
        let mut record = record.clone();
        for member in record.members.iter_mut().filter(|member| member.hidden.is_none()) {
            let depends = member.seq > seq && record_creates(work.step(seq)?, &row);
            if member.seq == seq {
                member.hidden = work.step(seq)?.patch_as_seen(&row);
            } else if depends {
                chained.insert((member.seq, record.place));
                work.undo([member.seq])?;
                let step = work.step_mut(member.seq)?;
                member.hidden = step.patch_as_seen(&row);
                drop(step.take_row(&row));
            }
        }
        record::write(work.conn, &record)?;
        work.staged.push(Staged::Recorded(record));
    }
    let all = work.queue.records().iter();
    let sent = all.flat_map(|one| one.live().map(|member| (member, one.place)));
    let sent: HashSet<Seq> =
        sent.filter(|one| !chained.contains(one)).map(|(seq, _)| seq).collect();
    for (member, _) in &chained {
        if !sent.contains(member) {
            work.step_mut(*member)?.state = MutationState::Pending; // No other row of it was sent.
        }
    }
    park::discard(work, seq)
}

/// The number of the newest edit that is reversed; without one, a number before everything, because
/// earlier edits of the row have their verdicts.
fn place_of(work: &RebaseContext<'_>, record: &Record) -> Result<Seq> {
    let hidden = record.members.iter().rev().filter(|member| member.hidden.is_some());
    for Member { seq, .. } in hidden {
        let taken = work.queue.entry(*seq).is_some() || work.steps.contains_key(seq);
        if !taken && !history::is_number_in_history(work.conn, *seq)? {
            return Ok(*seq);
        }
    }
    let waiting = work.queue.entries().next().map(|entry| entry.seq);
    let step = work.steps.keys().next().copied();
    let oldest = history::oldest_in_history(work.conn)?;
    let first = [waiting, step, oldest].into_iter().flatten().fold(Seq(0), Seq::min);
    Ok(Seq(first.0 - 1))
}

/// Inserts a mutation that reverses edits which the app has discarded and the server has accepted.
fn reverse(work: &mut RebaseContext<'_>, record: &Record, id: MutationId) -> Result<()> {
    let base = work.rows.read(&record.row)?;
    let table = work.rows.table(record.row.table)?;
    let hidden: Vec<&RowPatch> =
        record.members.iter().filter_map(|member| member.hidden.as_ref()).collect();
    let last = record.members.last().map_or(Seq(0), |member| member.seq);
    if record.live().next().is_none()
        && reverse::carry_on(work, &record.row, last, &hidden)?.is_some()
    {
        return Ok(());
    }
    match reversal(table, &record.row, base.as_deref(), &hidden) {
        Some(patch) => reverse::put_reverse(work, place_of(work, record)?, id, vec![patch], false),
        None => Ok(()),
    }
}

/// Whether a record refers to a row by a declared reference.
fn names(schema: &Schema, record: &Record, parent: &RowKey) -> bool {
    let Some(table) = schema.table(record.row.table) else { return false };
    table.rules.iter().any(|rule| {
        let Rule::References { column, table: other, .. } = rule else { return false };
        let id = table.columns.iter().find(|known| known.name == *column).map(|known| known.id);
        schema.by_name.get(other) == Some(&parent.table)
            && record.data.iter().any(|(column, value)| Some(*column) == id && *value == parent.key)
    })
}

fn record_creates(step: &PendingOp, row: &RowKey) -> bool {
    step.patch(row).is_some_and(|(_, patch)| patch.kind == PatchKind::Insert)
}
