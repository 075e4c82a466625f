//! What an entry of the old queue is here: a create, an edit or a delete with what is known of it, or the reason why it
//! stays in the old file.

use super::mapping::{Image, Mapping};
use super::order::Place;
use super::read::{Entry, Operation};
use super::value::is_of_this_device;
use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowPatch};
use crate::value::Value;

/// An unsent edit.
#[derive(Debug)]
pub(super) struct Edit {
    /// The table, by its index among the mappings.
    pub(super) mapping: usize,
    pub(super) does: Operation,
    pub(super) image: Image,
    /// The version that was edited first.
    pub(super) base: Option<String>,
    /// When it was edited last.
    pub(super) time: String,
    pub(super) fingerprint: String,
}

/// Why a row that was made and deleted between two syncs is nobody's.
const NEVER_SENT: &str = "it was made and deleted before the server had heard of it";

/// What the entry is, or why it is left out. `known` tells whether the server has, or had, the row, where that is known.
pub(super) fn decide(
    entry: &Entry,
    mapping: &Mapping,
    image: Option<&Image>,
    known: impl FnOnce(&Image) -> bool,
) -> Result<Operation, String> {
    let operation = entry.operation.ok_or("its operation is none that this release knows")?;
    if !mapping.table.writable {
        return Err(String::from("devices may not write this table; the server would refuse it"));
    }
    let image = image.ok_or("its row is not in the old file any more")?;
    let here = is_of_this_device(entry.base.as_deref());
    let does = match operation {
        Operation::Create | Operation::Update if mapping.is_deleted(image) => {
            // Deleting twice leaves an edit in the old queue; what was meant is the delete.
            if operation == Operation::Create || here {
                return Err(String::from(NEVER_SENT));
            }
            Operation::Delete
        }
        // Made, deleted and taken back before it was sent: the SDK forgot that it was made.
        Operation::Update if here && !known(image) => Operation::Create,
        operation => operation,
    };
    if does != Operation::Delete {
        mapping.test(image)?;
    }
    Ok(does)
}

impl Edit {
    /// Its place among the others.
    pub(super) fn place(&self, mapping: &Mapping) -> Place {
        Place {
            row: self.image.row.clone(),
            creates: self.does == Operation::Create,
            deletes: self.does == Operation::Delete,
            parents: mapping.parents(&self.image),
        }
    }

    /// What it does, as far as the old file knows. The olds of an edit are unknown: they stand for nothing until it is
    /// settled, but that each differs from the new value.
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
            // With the column of the soft delete it is one (D3), as the app has always seen it.
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
