//! Imported edits meet the server's rows: what the old file could not say of them is read off the difference.
//!
//! An old queue keeps the version that was edited and the row as it was in the end. If the server's row still has that
//! version, whatever differs is what was edited, and the server's values are the old ones: the effect is complete, and from
//! here on it is a mutation like any other (R1). If the row has moved on, nobody can tell the user's columns from
//! somebody else's, and an edit that differs is parked with both rows, as a conflict.

use rejoin_protocol::equal::equal;
use rejoin_protocol::{ColumnKind, Value};

use super::step::Parking;
use super::work::Work;
use super::{detail, judge};
use crate::engine::Engine;
use crate::engine::capture::apply::soft_deletes;
use crate::engine::capture::patch::{ColumnPatch, PatchKind, RowKey, RowPatch};
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::import::is_same_version;
use crate::engine::queue::mutation::ParkReason;
use crate::engine::queue::{Awaiting, Staged, store};
use crate::engine::schema::model::Table;
use crate::error::Result;
use crate::ids::Seq;

/// What an imported edit turns out to be.
#[derive(Debug, PartialEq)]
enum Settled {
    /// The server's row is so already.
    Nothing,
    /// This, over the server's row.
    Edit(RowPatch),
    /// These columns differ, and the row has moved on.
    Conflict(RowPatch),
    /// As it was recorded; policy decides.
    AsRecorded,
}

impl Engine {
    /// Whether imported edits can be settled now: some wait, and the server's rows are here.
    pub(crate) fn import_is_due(&self) -> Result<bool> {
        Ok(!self.queue.awaiting().is_empty() && self.meta("first_sync")?.as_deref() == Some("done"))
    }

    /// Settles imported edits, if the server's rows are here; else they go on waiting. One transaction. How many were parked.
    pub(crate) fn settle_import(&mut self) -> Result<usize> {
        if !self.import_is_due()? {
            return Ok(0);
        }
        let awaiting = self.queue.awaiting().clone();
        let applied = self.rebase(Origin::Remote, Triggers::Fire, |work, _| {
            let mut rows = Vec::with_capacity(awaiting.len());
            for (seq, version) in &awaiting {
                rows.extend(settle(work, *seq, version.as_deref())?);
            }
            work.settled = true;
            judge::judge(work, &rows)?;
            store::write_awaiting(work.conn, &Awaiting::new())?;
            work.staged.push(Staged::Awaiting(Awaiting::new()));
            work.touched.queue();
            Ok(())
        })?;
        tracing::info!(edits = awaiting.len(), parked = applied.parked.len(), "import settled");
        Ok(applied.parked.len())
    }
}

/// Settles one; its row, if it is to be judged.
fn settle(work: &mut Work<'_>, seq: Seq, version: Option<&str>) -> Result<Option<RowKey>> {
    let row =
        work.queue.entry(seq).and_then(|entry| entry.rows.first()).map(|(row, _)| row.clone());
    let Some(row) = row else { return Ok(None) };
    work.meet(row.table, &row.key)?;
    let image = work.rows.read(&row)?;
    let table = work.rows.table(row.table)?;
    let step = work.step_mut(seq)?;
    let Some(patch) = step.effect.rows.first().filter(|_| step.stays()) else { return Ok(None) };
    match settled(table, patch, image.as_deref(), version) {
        Settled::AsRecorded => {}
        Settled::Nothing => {
            // It wrote nothing, so that nobody's old value came from it (R11).
            step.effect.rows[0].columns.clear();
            work.discard(seq)?;
        }
        Settled::Edit(patch) => {
            step.effect.rows[0] = patch;
            store::write_effect(work.conn, work.step(seq)?)?;
        }
        Settled::Conflict(patch) => park(work, seq, patch)?,
    }
    Ok(Some(row))
}

/// Parks with both rows.
fn park(work: &mut Work<'_>, seq: Seq, patch: RowPatch) -> Result<()> {
    let row = patch.row.clone();
    let table = work.rows.table(row.table)?;
    let names = patch.columns.iter().filter_map(|column| table.position(column.column));
    let columns = names.map(|at| table.columns[at].name.clone()).collect();
    work.step_mut(seq)?.effect.rows[0] = patch.clone();
    store::write_effect(work.conn, work.step(seq)?)?;
    let detail = detail::of_conflict(work, seq, &[(row, columns)], None)?;
    // What it found there is not known: a later edit takes nothing over from it (R11), and is judged by its own.
    work.step_mut(seq)?.effect.rows[0].columns.clear();
    work.park(
        seq,
        Parking { reason: ParkReason::Conflicted, because_of: None, detail: Some(detail) },
    )?;
    work.step_mut(seq)?.effect.rows[0] = patch;
    Ok(())
}

/// What an imported edit is, against the row as the server has it. `version` is what the old file says was edited.
fn settled(
    table: &Table,
    patch: &RowPatch,
    image: Option<&[Value]>,
    version: Option<&str>,
) -> Settled {
    let deletes = patch.kind == PatchKind::Delete || soft_deletes(table, patch);
    let Some(image) = image else {
        return if deletes { Settled::Nothing } else { Settled::AsRecorded };
    };
    let present = table.updated_at.and_then(|at| image[at].as_text());
    let unmoved = matches!((version, present), (Some(old), Some(now)) if is_same_version(old, now));
    let over = |columns| RowPatch { columns, ..patch.clone() };
    if deletes {
        return if unmoved {
            Settled::Edit(over(whole(table, patch, image)))
        } else {
            Settled::AsRecorded
        };
    }
    let columns: Vec<ColumnPatch> = patch
        .columns
        .iter()
        .filter_map(|column| {
            let at = table.position(column.column)?;
            let differs = !is_unchanged(&image[at], &column.new, table.columns[at].kind);
            differs.then(|| ColumnPatch { old: image[at].clone(), ..column.clone() })
        })
        .collect();
    match (columns.is_empty(), unmoved) {
        (true, _) => Settled::Nothing,
        (false, true) => Settled::Edit(over(columns)),
        (false, false) => Settled::Conflict(over(columns)),
    }
}

/// A delete of the row as the server has it; a soft one sets what it set.
fn whole(table: &Table, patch: &RowPatch, image: &[Value]) -> Vec<ColumnPatch> {
    let marked = table.deleted_at.map(|at| table.columns[at].id);
    let marks = patch.columns.iter().find(|column| Some(column.column) == marked);
    let columns = table.columns.iter().zip(image).enumerate().filter(|(at, _)| *at != table.key);
    let patched = columns.map(|(_, (column, value))| ColumnPatch {
        column: column.id,
        old: value.clone(),
        new: match marks.filter(|mark| mark.column == column.id) {
            _ if patch.kind == PatchKind::Delete => Value::Null,
            Some(mark) => mark.new.clone(),
            None => value.clone(),
        },
    });
    patched.collect()
}

/// Whether the old file's value is the server's. The SDK keeps a `numeric` as a double: what is the same double was not
/// edited, however many digits the server has.
fn is_unchanged(theirs: &Value, mine: &Value, kind: ColumnKind) -> bool {
    let number = |value: &Value| value.as_text().and_then(|text| text.parse::<f64>().ok());
    equal(theirs, mine, kind)
        || (kind == ColumnKind::Numeric
            && matches!((number(theirs), number(mine)), (Some(a), Some(b)) if a.to_bits() == b.to_bits()))
}
