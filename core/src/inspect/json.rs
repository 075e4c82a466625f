//! Conversion of an inspection to JSON, with exact cells.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::{AcceptedMutation, InspectedTable, Inspection};
use crate::client::{PendingColumn, PendingMutation, PendingRow};
use crate::engine::queue::detail::{ColumnValues, ConflictedRow, VerdictDetail};
use crate::engine::rows::patch::PatchKind;
use crate::value::Value;

/// Converts the whole inspection.
pub(super) fn inspection(found: &Inspection) -> Json {
    let counts = found.counts;
    json!({
        "path": found.path.display().to_string(),
        "format": found.format,
        "facts": found.facts,
        "first_sync": found.first_sync,
        "counts": {
            "pending": counts.pending,
            "sent": counts.sent,
            "uncertain": counts.uncertain,
            "parked": counts.parked,
            "history": found.history.len(),
        },
        "log": found.log.map(|log| {
            json!({ "entries": log.entries, "pending": log.pending, "parked": log.parked })
        }),
        "tables": found.tables.iter().map(table).collect::<Vec<_>>(),
        "queue": found.queue.iter().map(pending).collect::<Vec<_>>(),
        "history": found.history.iter().map(accepted).collect::<Vec<_>>(),
    })
}

fn table(table: &InspectedTable) -> Json {
    json!({
        "name": table.name,
        "columns": table.columns,
        "writable": table.writable,
        "rows": table.rows,
        "base_rows": table.base_rows,
        "digest": table.digest,
    })
}

fn pending(one: &PendingMutation) -> Json {
    json!({
        "seq": one.seq.0,
        "id": one.id.to_string(),
        "state": variant_name(&one.state),
        "reason": one.reason.as_ref().map(variant_name),
        "because_of": one.because_of.map(|id| id.to_string()),
        "blocked_by": one.blocked_by.map(|id| id.to_string()),
        "detail": one.detail.as_ref().map(detail),
        "action": one.action,
        "written_ms": one.written_ms,
        "attempt": one.attempt,
        "rows": rows(&one.rows),
    })
}

/// A queued mutation has no correction: that is in a verdict.
fn detail(detail: &VerdictDetail) -> Json {
    json!({
        "code": detail.code,
        "message": detail.message,
        "table": detail.table,
        "key": detail.key.as_ref().map(cell),
        "column": detail.column,
        "rows": detail.rows.iter().map(conflict).collect::<Vec<_>>(),
    })
}

fn conflict(row: &ConflictedRow) -> Json {
    let values = |found: &Option<ColumnValues>| {
        found.as_ref().map(|found| -> Map<_, _> {
            found.iter().map(|(column, value)| (column.clone(), cell(value))).collect()
        })
    };
    json!({
        "table": row.table,
        "key": cell(&row.key),
        "columns": row.columns,
        "mine": values(&row.mine),
        "theirs": values(&row.theirs),
        "before": values(&row.before),
    })
}

fn accepted(one: &AcceptedMutation) -> Json {
    json!({
        "seq": one.seq.0,
        "id": one.id.to_string(),
        "action": one.action,
        "written_ms": one.written_ms,
        "accepted_ms": one.accepted_ms,
        "attempt": one.attempt,
        "undoes": one.undoes.map(|id| id.to_string()),
        "rows": rows(&one.rows),
    })
}

fn rows(rows: &[PendingRow]) -> Vec<Json> {
    let row = |row: &PendingRow| {
        let columns = row.columns.iter().map(|column| (column.name.clone(), change(column, row)));
        json!({
            "table": row.table,
            "key": cell(&row.key),
            "operation": variant_name(&row.operation),
            "columns": columns.collect::<Map<_, _>>(),
        })
    };
    rows.iter().map(row).collect()
}

/// Omits the old value of an insert and the new one of a delete.
fn change(column: &PendingColumn, row: &PendingRow) -> Json {
    match row.operation {
        PatchKind::Insert => json!({ "new": cell(&column.new) }),
        PatchKind::Update => json!({ "old": cell(&column.old), "new": cell(&column.new) }),
        PatchKind::Delete => json!({ "old": cell(&column.old) }),
    }
}

fn cell(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(number) => (*number).into(),
        Value::Real(number) => (*number).into(), // Synced reals are always finite.
        Value::Text(text) => text.clone().into(),
        Value::Blob(bytes) => {
            let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            json!({ "blob": hex })
        }
    }
}

/// The name of an enum variant in lower case.
fn variant_name(variant: &impl std::fmt::Debug) -> String {
    format!("{variant:?}").to_lowercase()
}
