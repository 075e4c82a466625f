//! Why an edit cannot be applied to a row, and the row that edits make of another. Pure.

use crate::engine::rows::apply::takes_back;
use crate::engine::rows::patch::{PatchKind, RowPatch};
use crate::engine::schema::model::Table;
use crate::ids::Seq;
use crate::value::Value;

/// Why an edit cannot stand on an image.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conflict {
    pub(super) seq: Seq,
    /// Names of the columns that differ; empty where the row itself is gone.
    pub(super) columns: Vec<String>,
    /// The row as the edit met it: the server's, with earlier edits over it.
    pub(super) present: Option<Vec<Value>>,
}

/// Lays a patch onto an image, as the rows themselves take it (R1).
pub(super) fn lay(table: &Table, present: &mut Option<Vec<Value>>, patch: &RowPatch) {
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
