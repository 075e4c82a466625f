//! Computes what an accepted mutation really changed on the server.
//!
//! Pure. The server returns before-images: the mutation did not change a value that was already
//! there, and did not create a row that already existed. Its reverse is built from this, not from
//! what the device expected.

use std::collections::HashMap;

use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowKey, RowPatch};

/// The before-images by row.
pub(crate) fn by_row(displaced: &[ServerRow]) -> HashMap<RowKey, &ServerRow> {
    let row = |image: &ServerRow| RowKey { table: image.table, key: image.key.clone() };
    displaced.iter().map(|image| (row(image), image)).collect()
}

/// The patch as applied; `None` if it changed nothing. Without a before-image the device's values
/// count, and so do values that the server has not replaced (`left`). `deletes` is also set for an
/// update that is a soft delete.
pub(crate) fn done(
    patch: &RowPatch,
    deletes: bool,
    (was, left): (Option<&ServerRow>, Option<&ServerRow>),
) -> Option<RowPatch> {
    let mut done = patch.clone();
    let written = |column: &ColumnPatch| patch.kind == PatchKind::Insert || column.is_change();
    for column in done.columns.iter_mut().filter(|column| written(column)) {
        let left = left.and_then(|left| left.row.as_ref()).into_iter().flatten();
        if let Some((_, value)) = left.clone().find(|(known, _)| *known == column.column) {
            column.new.clone_from(value);
        }
    }
    let Some(was) = was else { return Some(done) };
    match (patch.kind, &was.row) {
        // The row already had these values, or was already deleted.
        (PatchKind::Insert, Some(_)) => return None,
        (_, None) if deletes => return None,
        // A deleted row was restored.
        (PatchKind::Insert | PatchKind::Update, None) => done.kind = PatchKind::Insert,
        (PatchKind::Update | PatchKind::Delete, row) => {
            for ColumnPatch { column, old, .. } in &mut done.columns {
                let before = row.iter().flatten().find(|(known, _)| known == column);
                if let Some((_, value)) = before {
                    old.clone_from(value);
                }
            }
        }
    }
    Some(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ColumnId, TableNumber};
    use crate::value::Value;

    #[test]
    fn unchanged_values_are_not_part_of_the_applied_patch() {
        let row = RowKey { table: TableNumber(1), key: "k".into() };
        let patch = |kind, old: Value, new: Value| RowPatch {
            row: row.clone(),
            kind,
            columns: vec![ColumnPatch { column: ColumnId(2), old, new }],
        };
        let was = |value: Option<Value>| ServerRow {
            table: TableNumber(1),
            key: "k".into(),
            row: value.map(|value| vec![(ColumnId(2), value)]),
        };
        let update = patch(PatchKind::Update, 1.into(), 2.into());
        let delete = patch(PatchKind::Delete, 1.into(), Value::Null);
        let insert = patch(PatchKind::Insert, Value::Null, 2.into());
        let cases = [
            ("no before-image", &update, None, Some(update.clone())),
            ("as the device expected", &update, Some(was(Some(1.into()))), Some(update.clone())),
            (
                "the value was already there",
                &update,
                Some(was(Some(2.into()))),
                Some(patch(PatchKind::Update, 2.into(), 2.into())),
            ),
            ("a new row", &insert, Some(was(None)), Some(insert.clone())),
            ("the row already existed", &insert, Some(was(Some(2.into()))), None),
            ("the row was already deleted", &delete, Some(was(None)), None),
            (
                "an edit restored the row",
                &update,
                Some(was(None)),
                Some(patch(PatchKind::Insert, 1.into(), 2.into())),
            ),
            (
                "another row than expected",
                &delete,
                Some(was(Some(7.into()))),
                Some(patch(PatchKind::Delete, 7.into(), Value::Null)),
            ),
        ];
        for (name, patch, was, expected) in cases {
            let images: Vec<ServerRow> = was.into_iter().collect();
            let deletes = patch.kind == PatchKind::Delete;
            let was = (by_row(&images).get(&row).copied(), None);
            assert_eq!(done(patch, deletes, was), expected, "{name}");
        }
    }
}
