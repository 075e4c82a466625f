//! Undo: the edits that reverse an accepted mutation, if every column still has the value that it
//! wrote.
//!
//! The old values are the server's before-images, so a column that already had the value is left
//! alone. If a column has another value now, nothing is changed, and the error shows the rows.

use rejoin_protocol::Value;
use rejoin_protocol::equal::equal;

use super::context::RebaseContext;
use super::reverse::reversal;
use crate::engine::rows::apply::soft_deletes;
use crate::engine::rows::patch::{PatchKind, RowPatch};
use crate::engine::schema::model::Table;
use crate::error::{ChangedRow, Error, InputFault, QueueFault, Result};
use crate::ids::MutationId;
use rejoin_protocol::mutant::{self, Mutant};

/// Result of an undo or a redo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// The mutation had no verdict yet: it was removed, as by `discard`.
    GivenUp,
    /// This pending mutation reverses it.
    NewMutation(MutationId),
    /// There was nothing to reverse: the server's rows already had these values before.
    Nothing,
}

/// The patches that reverse these edits on the rows as the app sees them, if none has changed
/// since.
pub(super) fn taken_back(work: &mut RebaseContext<'_>, done: &[RowPatch]) -> Result<Vec<RowPatch>> {
    if let Some(missing) = work.schema.missing(done).filter(|missing| missing.column.is_none()) {
        let what = "the undo".to_owned();
        return Err(InputFault::Refused { what, reason: missing.to_string() }.into());
    }
    let mut changed = Vec::new();
    let mut back = Vec::new();
    for patch in done.iter().rev() {
        let table = work.rows.table(patch.row.table)?;
        let present = work.rows.read(&patch.row)?;
        match changed_since(table, patch, present.as_deref()) {
            Some(columns) if !mutant::on(Mutant::UndoOverLater) => {
                changed.push(shown(table, patch, columns, present.as_deref()));
            }
            _ => back.extend(reversal(table, &patch.row, present.as_deref(), &[patch])),
        }
    }
    if changed.is_empty() {
        Ok(back)
    } else {
        Err(Error::Queue(QueueFault::Changed { rows: changed }))
    }
}

/// The columns that differ from the patch's result; empty if the row itself was created or deleted.
/// `None` if nothing changed.
fn changed_since(
    table: &Table,
    patch: &RowPatch,
    present: Option<&[Value]>,
) -> Option<Vec<String>> {
    let deletes = patch.kind == PatchKind::Delete || soft_deletes(table, patch);
    let Some(present) = present.filter(|_| !deletes) else {
        return (deletes == present.is_some()).then(Vec::new);
    };
    let mut columns = Vec::new();
    for column in &patch.columns {
        let Some(at) = table.position(column.column) else { continue };
        let known = &table.columns[at];
        let wrote = patch.kind == PatchKind::Insert || column.is_change();
        // The server fills in an owner that the app left empty.
        let is_open = table.owner == Some(at) && column.new.is_null();
        if wrote && !known.protected && !is_open && !equal(&present[at], &column.new, known.kind) {
            columns.push(known.name.clone());
        }
    }
    (!columns.is_empty()).then_some(columns)
}

fn shown(
    table: &Table,
    patch: &RowPatch,
    columns: Vec<String>,
    present: Option<&[Value]>,
) -> ChangedRow {
    let named = |at: usize, value: &Value| (table.columns[at].name.clone(), value.clone());
    let wrote = patch
        .columns
        .iter()
        .filter_map(|column| Some(named(table.position(column.column)?, &column.new)));
    let all = |image: &[Value]| image.iter().enumerate().map(|(at, it)| named(at, it)).collect();
    ChangedRow {
        table: table.name.clone(),
        key: patch.row.key.clone(),
        columns,
        wrote: (patch.kind != PatchKind::Delete).then(|| wrote.collect()),
        present: present.map(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rebase::detect::tests::{image_of, patch, table};

    #[test]
    fn unchanged_edits_can_be_undone() {
        let cases: [(&str, &str, &str, Option<&[&str]>); 12] = [
            ("an unchanged update", "~ a:x>y", "y 1 . me", None),
            ("another column has changed", "~ a:x>y", "y 2 . me", None),
            ("its column has changed", "~ a:x>y", "z 1 . me", Some(&["a"])),
            ("its row was deleted", "~ a:x>y", "", Some(&[])),
            ("the same number in other digits", "~ n:1>2", "x 2.0 . me", None),
            ("a protected column never", "~ a:x>y o:me>them", "y 1 . me", None),
            ("an unchanged create", "+ a:.>x n:.>1", "x 1 . me", None),
            ("a created row that was edited", "+ a:.>x n:.>1", "x 2 . me", Some(&["n"])),
            ("a created row that was deleted", "+ a:.>x", "", Some(&[])),
            ("an unchanged delete", "- a:x>.", "", None),
            ("a deleted row that exists again", "- a:x>.", "x 1 . me", Some(&[])),
            ("an unchanged soft delete", "~ a:x>x d:.>now", "", None),
        ];
        for (name, done, present, expected) in cases {
            let present = image_of(present);
            let found = changed_since(&table(), &patch(done), present.as_deref());
            let found = found.as_ref().map(|columns| columns.iter().map(String::as_str));
            let found: Option<Vec<&str>> = found.map(Iterator::collect);
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }
}
