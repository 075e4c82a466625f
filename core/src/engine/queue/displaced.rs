//! What an accepted mutation did to the server's rows in truth (O13).
//!
//! Pure. The server says what stood there: a value that was there already was not written by the mutation, and a row that was
//! there was not made by it. From this, and not from what the device believed, its reverse is built.

use crate::engine::rows::Image;
use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowKey, RowPatch};

/// What is told of a row.
pub(crate) fn image_of<'a>(displaced: &'a [Image], row: &RowKey) -> Option<&'a Image> {
    displaced.iter().find(|image| image.table == row.table && image.key == row.key)
}

/// The patch as it was done; `None` if nothing was. Where nothing is told, it was as the device believed. `deletes` also for
/// an update that is a soft delete (D3).
pub(crate) fn done(patch: &RowPatch, deletes: bool, was: Option<&Image>) -> Option<RowPatch> {
    let mut done = patch.clone();
    let Some(was) = was else { return Some(done) };
    match (patch.kind, &was.row) {
        // It was there with the same values; or it was gone already.
        (PatchKind::Insert, Some(_)) => return None,
        (_, None) if deletes => return None,
        // A row that was gone was brought back.
        (PatchKind::Insert | PatchKind::Update, None) => done.kind = PatchKind::Insert,
        (PatchKind::Update | PatchKind::Delete, row) => {
            for ColumnPatch { column, old, .. } in &mut done.columns {
                let told = row.iter().flatten().find(|(known, _)| known == column);
                if let Some((_, value)) = told {
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
    fn what_was_there_already_was_not_done() {
        let row = RowKey { table: TableNumber(1), key: "k".into() };
        let patch = |kind, old: Value, new: Value| RowPatch {
            row: row.clone(),
            kind,
            columns: vec![ColumnPatch { column: ColumnId(2), old, new }],
        };
        let was = |value: Option<Value>| Image {
            table: TableNumber(1),
            key: "k".into(),
            row: value.map(|value| vec![(ColumnId(2), value)]),
        };
        let update = patch(PatchKind::Update, 1.into(), 2.into());
        let delete = patch(PatchKind::Delete, 1.into(), Value::Null);
        let insert = patch(PatchKind::Insert, Value::Null, 2.into());
        let cases = [
            ("nothing is told", &update, None, Some(update.clone())),
            ("as it was believed", &update, Some(was(Some(1.into()))), Some(update.clone())),
            (
                "it was so already",
                &update,
                Some(was(Some(2.into()))),
                Some(patch(PatchKind::Update, 2.into(), 2.into())),
            ),
            ("a new row", &insert, Some(was(None)), Some(insert.clone())),
            ("the row was there", &insert, Some(was(Some(2.into()))), None),
            ("the row was gone", &delete, Some(was(None)), None),
            (
                "an edit brought the row back",
                &update,
                Some(was(None)),
                Some(patch(PatchKind::Insert, 1.into(), 2.into())),
            ),
            (
                "another row than was seen",
                &delete,
                Some(was(Some(7.into()))),
                Some(patch(PatchKind::Delete, 7.into(), Value::Null)),
            ),
        ];
        for (name, patch, was, expected) in cases {
            let told: Vec<Image> = was.into_iter().collect();
            let deletes = patch.kind == PatchKind::Delete;
            assert_eq!(done(patch, deletes, image_of(&told, &row)), expected, "{name}");
        }
    }
}
