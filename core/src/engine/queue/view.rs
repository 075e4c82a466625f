//! The queue and the base below it, as the open transaction sees them; requests are built from it.
//!
//! Reads the file and the queue's memory, and writes nothing: `engine/outbox.rs` does that.

use rusqlite::Connection;

use super::{Queue, store};
use crate::engine::rows::apply::RowWriter;
use crate::engine::rows::patch::RowKey;
use crate::engine::rows::undo::{Before, Undo};
use crate::engine::schema::model::Schema;
use crate::error::Result;
use crate::value::Value;

/// The queue with its file and schema.
#[derive(Clone, Copy)]
pub(crate) struct QueueView<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) queue: &'a Queue,
    pub(crate) schema: &'a Schema,
}

impl QueueView<'_> {
    /// The base row, in the order of the table's columns: the visible row, with the edits of the
    /// queue undone.
    pub(crate) fn base_row(&self, row: &RowKey) -> Result<Option<Vec<Value>>> {
        let mut rows = RowWriter::new(self.conn, self.schema);
        let table = rows.table(row.table)?;
        let mut image = rows.read(row)?;
        if table.is_removed() {
            return Ok(None);
        }
        for before in self.undos_of(row)?.into_iter().rev() {
            let olds = match before {
                Before::Absent => {
                    image = None;
                    continue;
                }
                Before::Columns(olds) => olds,
                Before::Whole(olds) => {
                    let mut whole = vec![Value::Null; table.columns.len()];
                    whole[table.key] = row.key.clone();
                    image = Some(whole);
                    olds
                }
            };
            for (column, old) in olds {
                if let (Some(image), Some(at)) = (&mut image, table.position(column)) {
                    image[at] = old;
                }
            }
        }
        Ok(image)
    }

    /// The version of a row: the raw text of `updated_at` in the base, never a value that the app
    /// has written. `None` if the base has no such row, or the table has no versions.
    pub(crate) fn base_version(&self, row: &RowKey) -> Result<Option<String>> {
        let mut rows = RowWriter::new(self.conn, self.schema);
        let table = rows.table(row.table)?;
        let Some(at) = table.updated_at else { return Ok(None) };
        let id = table.columns[at].id;
        // Oldest first: the first image that contains the column, or the whole row, is the base's.
        for before in self.undos_of(row)? {
            match before {
                Before::Absent => return Ok(None),
                Before::Columns(olds) | Before::Whole(olds) => {
                    if let Some((_, old)) = olds.into_iter().find(|(column, _)| *column == id) {
                        return Ok(text(old));
                    }
                }
            }
        }
        let present = rows.read_columns(row, &[at])?;
        Ok(present.and_then(|mut columns| columns.pop()).and_then(text))
    }

    /// The before-images of the mutations at a row, oldest first.
    fn undos_of(&self, row: &RowKey) -> Result<Vec<Before>> {
        let states = self.queue.states();
        let steps: Vec<_> = states.read().steps_at(row.table, &row.key).collect();
        let mut undos = Vec::with_capacity(steps.len());
        for seq in steps {
            let Some(step) = store::read_step(self.conn, seq)? else { continue };
            let undo = match &step.undo {
                Some(bytes) => Undo::decode(bytes)?,
                None => Undo::of(&step.effect),
            };
            undos.extend(undo.row(row).cloned());
        }
        Ok(undos)
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}
