//! Details stored with a conflict, as JSON: the server's error, and for each row both versions.
//!
//! `{"code": .., "message": .., "rows": [{"table": .., "id": .., "columns": [..], "mine": {..} |
//! null, "theirs": {..} | null}]}`: *mine* is the row as this device showed it after the mutation,
//! *theirs* is the server's row, null for no row. A table whose policy is `manual` also has
//! `"before": {..}`: the previous values of the changed columns.

use rejoin_protocol::codec::encode_object;
use rejoin_protocol::{ColumnKind, Policy, Value};
use serde_json::{Map, Value as Json, json};

use super::conflict::apply_patch;
use super::context::RebaseContext;
use crate::engine::queue::pending_op::PendingOp;
use crate::engine::rows::patch::{PatchKind, RowKey};
use crate::engine::schema::model::Table;
use crate::error::Result;
use crate::ids::Seq;

/// The detail of a conflict of `seq` in these rows and columns; `verdict` is the server's, if there
/// is one.
pub(super) fn of_conflict(
    work: &mut RebaseContext<'_>,
    seq: Seq,
    rows: &[(RowKey, Vec<String>)],
    verdict: Option<&str>,
) -> Result<String> {
    let reported = verdict.and_then(|text| serde_json::from_str::<Map<String, Json>>(text).ok());
    let mut detail = reported.unwrap_or_default();
    let mut conflicts = Vec::new();
    for (row, columns) in rows {
        let theirs = work.rows.read(row)?;
        let mine = mine(work, seq, row, theirs.as_ref())?;
        let table = work.rows.table(row.table)?;
        let mut one = json!({
            "table": table.name,
            "id": row.key.to_id(),
            "columns": columns,
            "mine": mine.map(|image| object(table, &image)),
            "theirs": theirs.map(|image| object(table, &image)),
        });
        if table.policy == Policy::Manual {
            one["before"] = found(work.step(seq)?, table, row);
        }
        conflicts.push(one);
    }
    detail.insert(String::from("rows"), Json::Array(conflicts));
    Ok(Json::Object(detail).to_string())
}

/// The values of the changed columns before the edit. Null for a create.
fn found(step: &PendingOp, table: &Table, row: &RowKey) -> Json {
    let Some((index, patch)) = step.patch(row) else { return Json::Null };
    if patch.kind == PatchKind::Insert {
        return Json::Null;
    }
    let changed = patch.columns.iter().enumerate().filter(|(_, column)| column.is_change());
    let cells = changed.filter_map(|(at, column)| {
        let known = &table.columns[table.position(column.column)?];
        Some((known.name.as_str(), step.old(index, at), known.kind))
    });
    as_json(cells)
}

/// The row on this device after the mutation: the base before this response, with the edits up to
/// this one.
fn mine(
    work: &RebaseContext<'_>,
    seq: Seq,
    row: &RowKey,
    theirs: Option<&Vec<Value>>,
) -> Result<Option<Vec<Value>>> {
    let table = work.rows.table(row.table)?;
    let mut image = work.bases.get(row).cloned().unwrap_or_else(|| theirs.cloned());
    for earlier in work.states.steps_at(row.table, &row.key) {
        if earlier <= seq
            && let Some((_, patch)) = work.step(earlier)?.patch(row)
        {
            apply_patch(table, &mut image, patch);
        }
    }
    Ok(image)
}

fn object(table: &Table, image: &[Value]) -> Json {
    let cells = table.columns.iter().zip(image);
    as_json(cells.map(|(column, value)| (column.name.as_str(), value, column.kind)))
}

fn as_json<'a>(named: impl Iterator<Item = (&'a str, &'a Value, ColumnKind)>) -> Json {
    // Values without a JSON form are rejected when they are written; a damaged one is left out.
    encode_object(named)
        .ok()
        .and_then(|object| serde_json::from_str(object.get()).ok())
        .unwrap_or(Json::Null)
}
