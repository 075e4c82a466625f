//! Why an edit cannot be applied to a row, and the result of applying edits to a row. Pure
//! functions.

use crate::engine::rows::apply::takes_back;
use crate::engine::rows::patch::{PatchKind, RowPatch};
use crate::engine::schema::model::Table;
use crate::ids::Seq;
use crate::value::Value;

/// Why an edit cannot be applied to an image.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conflict {
    pub(super) seq: Seq,
    /// Names of the columns that differ; empty if the row does not exist.
    pub(super) columns: Vec<String>,
    /// The row below the edit: the server's, with earlier edits applied.
    pub(super) present: Option<Vec<Value>>,
}

/// Applies a patch to an image, with the same rules as for stored rows.
pub(super) fn apply_patch(table: &Table, present: &mut Option<Vec<Value>>, patch: &RowPatch) {
    if patch.kind == PatchKind::Delete {
        *present = None;
        return;
    }
    let mut all = patch.kind == PatchKind::Insert;
    if present.is_none() && (all || takes_back(table, patch)) {
        all = true;
        let mut image = vec![Value::Null; table.columns.len()];
        image[table.key] = patch.row.key.clone();
        *present = Some(image);
    }
    let Some(present) = present else { return };
    for column in patch.columns.iter().filter(|column| all || column.is_change()) {
        if let Some(at) = table.position(column.column) {
            present[at].clone_from(&column.new);
        }
    }
}
