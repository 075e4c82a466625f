//! The queue and the base below it, as the open transaction sees them; requests are built from it.
//!
//! Reads the file and the queue's memory, and writes nothing: `engine/outbox.rs` does that. A view
//! decodes each mutation once, so one view serves all rows of a request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use rusqlite::Connection;

use super::mutation::Mutation;
use super::{Queue, store};
use crate::engine::rows::apply::RowWriter;
use crate::engine::rows::patch::RowKey;
use crate::engine::rows::row_index::{IndexedEffect, RowIndex};
use crate::engine::rows::undo::{Before, Undo};
use crate::engine::schema::model::Schema;
use crate::error::Result;
use crate::ids::Seq;
use crate::value::Value;

/// The queue with its file and schema.
pub(crate) struct QueueView<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) queue: &'a Queue,
    pub(crate) schema: &'a Schema,
    rows: RefCell<RowWriter<'a>>,
    undos: Decoded<(Undo, RowIndex)>,
    effects: Decoded<IndexedEffect>,
    mutations: Decoded<Mutation>,
}

/// Decoded content by mutation; `None` if the queue lacks it.
type Decoded<T> = RefCell<HashMap<Seq, Option<Rc<T>>>>;

/// The content of a mutation, which is read once.
fn once<T>(
    known: &Decoded<T>,
    seq: Seq,
    read: impl FnOnce() -> Result<Option<T>>,
) -> Result<Option<Rc<T>>> {
    if let Some(found) = known.borrow().get(&seq) {
        return Ok(found.clone());
    }
    let found = read()?.map(Rc::new);
    known.borrow_mut().insert(seq, found.clone());
    Ok(found)
}

impl<'a> QueueView<'a> {
    pub(crate) fn new(conn: &'a Connection, queue: &'a Queue, schema: &'a Schema) -> Self {
        Self {
            conn,
            queue,
            schema,
            rows: RefCell::new(RowWriter::new(conn, schema)),
            undos: Decoded::default(),
            effects: Decoded::default(),
            mutations: Decoded::default(),
        }
    }

    /// The base row, in the order of the table's columns: the visible row, with the edits of the
    /// queue undone.
    pub(crate) fn base_row(&self, row: &RowKey) -> Result<Option<Vec<Value>>> {
        let mut rows = self.rows.borrow_mut();
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
        let mut rows = self.rows.borrow_mut();
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

    /// What a mutation wrote.
    pub(super) fn effect(&self, seq: Seq) -> Result<Option<Rc<IndexedEffect>>> {
        once(&self.effects, seq, || Ok(store::read_effect(self.conn, seq)?.map(Into::into)))
    }

    /// A whole mutation.
    pub(super) fn mutation(&self, seq: Seq) -> Result<Option<Rc<Mutation>>> {
        once(&self.mutations, seq, || store::read(self.conn, seq))
    }

    /// The before-images of the mutations at a row, oldest first.
    fn undos_of(&self, row: &RowKey) -> Result<Vec<Before>> {
        let states = self.queue.states();
        let steps: Vec<_> = states.read().steps_at(row.table, &row.key).collect();
        let mut undos = Vec::with_capacity(steps.len());
        for seq in steps {
            let read = || {
                let undo = store::read_undo(self.conn, seq)?;
                Ok(undo.map(|undo| {
                    let index = RowIndex::of(&undo.rows, |one| &one.row);
                    (undo, index)
                }))
            };
            let Some(decoded) = once(&self.undos, seq, read)? else { continue };
            let (undo, index) = &*decoded;
            let at = index.find(&undo.rows, |one| &one.row, row);
            undos.extend(at.map(|at| undo.rows[at].before.clone()));
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
