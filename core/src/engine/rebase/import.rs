//! Completes imported edits when the server's rows arrive: the old file does not say which columns
//! were edited.
//!
//! An old queue keeps the version of the edited row and the final row. If the server's row still
//! has that version, the columns that differ were edited, and the server's values are the old ones:
//! the effect is complete. If the row has changed since, the user's columns cannot be distinguished
//! from remote changes. An edit that differs is then parked as a conflict with both rows.

use rejoin_protocol::equal::equal;
use rejoin_protocol::{ColumnKind, Value, time};

use super::context::RebaseContext;
use super::park;
use super::{detail, detect};
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::queue::mutation::ParkReason;
use crate::engine::queue::pending_op::Parking;
use crate::engine::queue::{Awaiting, Staged, store};
use crate::engine::rows::apply::soft_deletes;
use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowKey, RowPatch};
use crate::engine::schema::model::Table;
use crate::error::Result;
use crate::ids::Seq;

/// Result of comparing an imported edit with the server's row.
#[derive(Debug, PartialEq)]
enum Settled {
    /// The server's row already has these values.
    Nothing,
    /// This edit of the server's row.
    Edit(RowPatch),
    /// These columns differ, and the row has changed since.
    Conflict(RowPatch),
    /// As recorded; the policy decides.
    AsRecorded,
}

/// Whether imported edits can be completed now: some are pending, and the server's rows are here.
pub(crate) fn is_due(engine: &Engine) -> Result<bool> {
    Ok(!engine.queue.awaiting().is_empty() && engine.meta("first_sync")?.as_deref() == Some("done"))
}

/// Completes imported edits in one transaction if the server's rows are here. Returns how many were
/// parked.
pub(crate) fn settle_all(engine: &mut Engine) -> Result<usize> {
    if !is_due(engine)? {
        return Ok(0);
    }
    let awaiting = engine.queue.awaiting().clone();
    let applied = engine.rebase(Origin::Remote, Triggers::Fire, |work, _| {
        let mut rows = Vec::with_capacity(awaiting.len());
        for (seq, version) in &awaiting {
            rows.extend(settle(work, *seq, version.as_deref())?);
        }
        work.settled = true;
        detect::detect_conflicts(work, &rows)?;
        store::write_awaiting(work.conn, &Awaiting::new())?;
        work.staged.push(Staged::Awaiting(Awaiting::new()));
        work.touched.queue();
        Ok(())
    })?;
    tracing::info!(edits = awaiting.len(), parked = applied.parked.len(), "import settled");
    Ok(applied.parked.len())
}

/// Completes one edit; returns its row if it must be checked for conflicts.
fn settle(work: &mut RebaseContext<'_>, seq: Seq, version: Option<&str>) -> Result<Option<RowKey>> {
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
            // It wrote nothing, so no later mutation may take over old values from it.
            step.effect.rows[0].columns.clear();
            park::discard(work, seq)?;
        }
        Settled::Edit(patch) => {
            step.effect.rows[0] = patch;
            store::write_effect(work.conn, work.step(seq)?)?;
        }
        Settled::Conflict(patch) => park(work, seq, patch)?,
    }
    Ok(Some(row))
}

/// Parks an edit with both rows.
fn park(work: &mut RebaseContext<'_>, seq: Seq, patch: RowPatch) -> Result<()> {
    let row = patch.row.clone();
    let table = work.rows.table(row.table)?;
    let names = patch.columns.iter().filter_map(|column| table.position(column.column));
    let columns = names.map(|at| table.columns[at].name.clone()).collect();
    work.step_mut(seq)?.effect.rows[0] = patch.clone();
    store::write_effect(work.conn, work.step(seq)?)?;
    let detail = detail::of_conflict(work, seq, &[(row, columns)], None)?;
    // Its old values are unknown: later edits take nothing over from it and keep their own.
    work.step_mut(seq)?.effect.rows[0].columns.clear();
    park::park(
        work,
        seq,
        Parking { reason: ParkReason::Conflicted, because_of: None, detail: Some(detail) },
    )?;
    work.step_mut(seq)?.effect.rows[0] = patch;
    Ok(())
}

/// Compares an imported edit with the server's row. `version` is the edited version according to
/// the old file.
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

/// A delete of the server's row; a soft delete sets its columns.
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

/// Whether the old file's value equals the server's. The SDK stores a `numeric` as a double, so a
/// value with the same double is unedited, even if the server has more digits.
fn is_unchanged(theirs: &Value, mine: &Value, kind: ColumnKind) -> bool {
    let number = |value: &Value| value.as_text().and_then(|text| text.parse::<f64>().ok());
    equal(theirs, mine, kind)
        || (kind == ColumnKind::Numeric
            && matches!((number(theirs), number(mine)), (Some(a), Some(b)) if a.to_bits() == b.to_bits()))
}

/// Whether two texts name the same version of a row. On some platforms the SDK truncates the
/// version in a push response to milliseconds; such a text matches any version within it.
fn is_same_version(old: &str, present: &str) -> bool {
    let (Some(left), Some(right)) = (time::parse(old), time::parse(present)) else {
        return old == present;
    };
    let digits = old
        .split_once('.')
        .map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
    left == right || (digits <= 3 && (left - right).abs() < 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::schema::model::Column;
    use crate::engine::tests::known_table;
    use crate::ids::{ColumnId, TableNumber};

    const OLD: &str = "2026-01-01T00:00:00.000001+00:00";
    const NEW: &str = "2026-01-01T00:00:09.000000Z";

    /// `id, a (text), n (numeric), updated_at, deleted_at`.
    fn table() -> Table {
        let column = |id: u32, name: &str, kind, protected| Column {
            id: ColumnId(id),
            name: name.to_owned(),
            kind,
            default: None,
            protected,
        };
        Table {
            updated_at: Some(3),
            deleted_at: Some(4),
            ..known_table(
                "t",
                vec![
                    column(1, "id", ColumnKind::String, false),
                    column(2, "a", ColumnKind::String, false),
                    column(3, "n", ColumnKind::Numeric, false),
                    column(4, "updated_at", ColumnKind::Datetime, true),
                    column(5, "deleted_at", ColumnKind::Datetime, true),
                ],
            )
        }
    }

    fn patch(kind: PatchKind, cells: &[(u32, Value, Value)]) -> RowPatch {
        let row = RowKey { table: TableNumber(1), key: "k".into() };
        let columns = cells.iter().map(|(id, old, new)| ColumnPatch {
            column: ColumnId(*id),
            old: old.clone(),
            new: new.clone(),
        });
        RowPatch { row, kind, columns: columns.collect() }
    }

    fn image(a: &str, n: &str, version: &str) -> Vec<Value> {
        vec!["k".into(), a.into(), n.into(), version.into(), Value::Null]
    }

    #[test]
    fn edit_is_the_difference_if_the_row_is_unchanged() {
        let unknown = |id, new: Value| (id, Value::Null, new);
        let edit = patch(PatchKind::Update, &[unknown(2, "x".into()), unknown(3, "1.5".into())]);
        let (text, both) = (
            patch(PatchKind::Update, &[(2, "a".into(), "x".into())]),
            patch(PatchKind::Update, &[(2, "a".into(), "x".into()), (3, "2".into(), "1.5".into())]),
        );
        let base = Some(OLD);
        let same_instant = "2026-01-01T00:00:00.000001Z";
        let cases = [
            ("one column", image("a", "1.5", same_instant), base, Settled::Edit(text.clone())),
            ("another spelling of it", image("a", "1.50", OLD), base, Settled::Edit(text.clone())),
            (
                "more digits than a double has",
                image("a", "1.50000000000000000001", OLD),
                base,
                Settled::Edit(text.clone()),
            ),
            ("both columns", image("a", "2", OLD), base, Settled::Edit(both.clone())),
            ("nothing", image("x", "1.5", OLD), base, Settled::Nothing),
            ("nothing, and moved on", image("x", "1.5", NEW), base, Settled::Nothing),
            ("moved on", image("a", "1.5", NEW), base, Settled::Conflict(text.clone())),
            ("no version is known", image("a", "1.5", OLD), None, Settled::Conflict(text)),
        ];
        for (name, image, version, expected) in cases {
            assert_eq!(settled(&table(), &edit, Some(&image), version), expected, "{name}");
        }
        assert_eq!(settled(&table(), &edit, None, base), Settled::AsRecorded, "row was deleted");
    }

    #[test]
    fn delete_names_the_row_if_it_is_unchanged() {
        let at = "2026-01-02T00:00:00.000000Z";
        let cells = [(2, "x".into(), "x".into()), (5, Value::Null, at.into())];
        let soft = patch(PatchKind::Update, &cells);
        let hard = patch(PatchKind::Delete, &[(2, "x".into(), Value::Null)]);
        let (now, moved) = (image("a", "2", OLD), image("a", "2", NEW));
        let whole = |new: fn(u32, &Value) -> Value| -> Vec<(u32, Value, Value)> {
            let columns = (2..6).zip(&now[1..]);
            columns.map(|(id, old)| (id, old.clone(), new(id, old))).collect()
        };
        let marked =
            whole(
                |id, old| {
                    if id == 5 { "2026-01-02T00:00:00.000000Z".into() } else { old.clone() }
                },
            );
        let base = Some(OLD);
        let soft_now = Settled::Edit(patch(PatchKind::Update, &marked));
        assert_eq!(settled(&table(), &soft, Some(&now), base), soft_now);
        let hard_now = Settled::Edit(patch(PatchKind::Delete, &whole(|_, _| Value::Null)));
        assert_eq!(settled(&table(), &hard, Some(&now), base), hard_now);
        for delete in [&soft, &hard] {
            assert_eq!(settled(&table(), delete, Some(&moved), base), Settled::AsRecorded);
            assert_eq!(settled(&table(), delete, None, base), Settled::Nothing);
        }
    }

    #[test]
    fn versions_match_exactly_or_truncated_to_milliseconds() {
        let cases = [
            ("2026-11-20T06:41:50.896045+00:00", "2026-11-20T06:41:50.896045Z", true),
            ("2026-11-20T06:41:50.896045+00:00", "2026-11-20T06:41:50.896046Z", false),
            ("2026-11-20T06:41:50.896Z", "2026-11-20T06:41:50.896045Z", true),
            ("2026-11-20T06:41:50.896Z", "2026-11-20T06:41:50.897045Z", false),
            ("2026-11-20T06:41:50Z", "2026-11-20T06:41:50.100000Z", false),
            ("v1", "v1", true),
            ("v1", "v2", false),
        ];
        for (old, present, same) in cases {
            assert_eq!(is_same_version(old, present), same, "{old} {present}");
        }
    }
}
