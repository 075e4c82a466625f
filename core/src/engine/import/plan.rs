//! Converts an entry of the old queue: to a create, an edit or a delete with its known values, or
//! to the reason why it stays in the old file.

use super::mapping::{ConvertedRow, Mapping};
use super::order::EditDependencies;
use super::read::{Operation, SynchroEntry};
use super::value::is_of_this_device;
use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowPatch};
use crate::value::Value;

/// An unsent edit.
#[derive(Debug)]
pub(super) struct UnsentEdit {
    /// The table, by its index among the mappings.
    pub(super) mapping: usize,
    pub(super) does: Operation,
    pub(super) image: ConvertedRow,
    /// The version that was edited first.
    pub(super) base: Option<String>,
    /// The time of the last edit.
    pub(super) time: String,
    pub(super) fingerprint: String,
}

/// Why a row that was created and deleted between two syncs is not imported.
const NEVER_SENT: &str = "it was created and deleted before it was sent";

/// Converts the entry, or returns why it is left out. `known` returns whether the server has, or
/// had, the row, if that is known.
pub(super) fn decide(
    entry: &SynchroEntry,
    mapping: &Mapping,
    image: Option<&ConvertedRow>,
    known: impl FnOnce(&ConvertedRow) -> bool,
) -> Result<Operation, String> {
    let operation = entry.operation.ok_or("its operation is unknown to this release")?;
    if !mapping.table.writable {
        return Err(String::from("devices may not write this table; the server would refuse it"));
    }
    let image = image.ok_or("its row is not in the old file any more")?;
    let here = is_of_this_device(entry.base.as_deref());
    let does = match operation {
        Operation::Create | Operation::Update if mapping.is_deleted(image) => {
            // Deleting twice leaves an edit in the old queue; a delete was intended.
            if operation == Operation::Create || here {
                return Err(String::from(NEVER_SENT));
            }
            Operation::Delete
        }
        // Created, deleted and restored before it was sent: the SDK has lost the create.
        Operation::Update if here && !known(image) => Operation::Create,
        operation => operation,
    };
    if does != Operation::Delete {
        mapping.test(image)?;
    }
    Ok(does)
}

impl UnsentEdit {
    /// Its place among the others.
    pub(super) fn place(&self, mapping: &Mapping) -> EditDependencies {
        EditDependencies {
            row: self.image.row.clone(),
            creates: self.does == Operation::Create,
            deletes: self.does == Operation::Delete,
            parents: mapping.parents(&self.image),
        }
    }

    /// Its patch, as far as the old file has the values. The old values of an edit are unknown:
    /// until it is completed they are placeholders that differ from the new values.
    pub(super) fn patch(&self, mapping: &Mapping) -> RowPatch {
        let table = &mapping.table;
        let (kind, columns): (_, Vec<ColumnPatch>) = match self.does {
            Operation::Create => (
                PatchKind::Insert,
                mapping.patch(&self.image, |_, value| Some((Value::Null, value.clone()))),
            ),
            Operation::Update => (
                PatchKind::Update,
                mapping.patch(&self.image, |at, value| {
                    let unknown = if value.is_null() { Value::from("") } else { Value::Null };
                    (!table.columns[at].protected).then(|| (unknown, value.clone()))
                }),
            ),
            // With a soft-delete column it is a soft delete, as the app has always seen it.
            Operation::Delete if mapping.is_deleted(&self.image) => (
                PatchKind::Update,
                mapping.patch(&self.image, |at, value| {
                    let old = if Some(at) == table.deleted_at { &Value::Null } else { value };
                    Some((old.clone(), value.clone()))
                }),
            ),
            Operation::Delete => (
                PatchKind::Delete,
                mapping.patch(&self.image, |_, value| Some((value.clone(), Value::Null))),
            ),
        };
        RowPatch { row: self.image.row.clone(), kind, columns }
    }
}
