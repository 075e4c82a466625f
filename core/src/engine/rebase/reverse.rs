//! The reverse of what the app has given up and a server has (O12, P10): a mutation in its place in the queue.

use rejoin_protocol::Value;

use super::work::Work;
use crate::engine::capture::apply::soft_deletes;
use crate::engine::capture::compose::Recorded;
use crate::engine::capture::encode;
use crate::engine::capture::patch::{ColumnPatch, Effect, PatchKind, RowKey, RowPatch};
use crate::engine::queue::mutation::State;
use crate::engine::queue::{Entry, NewMutation, Staged, store};
use crate::engine::schema::model::Table;
use crate::error::{Error, Result};
use crate::ids::{MutationId, Seq};

impl Work<'_> {
    /// Puts a reverse into the queue, at a number that is free.
    pub(super) fn put_reverse(
        &mut self,
        seq: Seq,
        id: MutationId,
        patches: Vec<RowPatch>,
    ) -> Result<()> {
        let version = self.schema.manifest.as_ref().map_or(0, |manifest| manifest.schema_version);
        let rows = patches.iter().map(|patch| (patch.row.clone(), patch.kind)).collect();
        let effect = encode::encode(&Effect { schema_version: version, rows: patches });
        let recorded = Recorded { effect, rows };
        let entry = Entry {
            seq,
            id,
            state: State::Pending,
            attempt: 1,
            rows: recorded.rows.clone(),
            reads: std::sync::Arc::default(),
        };
        store::insert(self.conn, &entry, (self.now_ms, 0), &NewMutation::plain(recorded))?;
        let missing = || Error::Internal(format!("mutation {} was not reversed", seq.0));
        let mut step = store::read_step(self.conn, seq)?.ok_or_else(missing)?;
        step.stance.compare_only = true; // No policy lets it go over what is there by now (O11).
        step.changed = true;
        self.steps.insert(seq, step);
        for (row, _) in entry.rows.iter() {
            self.reversed.insert(row.clone(), seq);
        }
        self.staged.push(Staged::Added(entry));
        Ok(())
    }
}

/// What takes these edits back from the row as the server has it, newest first: a column only where it still is what the
/// edit wrote.
pub(super) fn reversal(
    table: &Table,
    row: &RowKey,
    base: Option<&[Value]>,
    hidden: &[&RowPatch],
) -> Option<RowPatch> {
    let mut present = base.map(<[Value]>::to_vec);
    for patch in hidden.iter().rev() {
        // A soft delete names every column, as a delete does (D3).
        let kind = if soft_deletes(table, patch) { PatchKind::Delete } else { patch.kind };
        match (kind, &mut present) {
            (PatchKind::Insert, present) => *present = None,
            (PatchKind::Update, Some(image)) => {
                for column in patch.columns.iter().filter(|column| column.is_change()) {
                    let Some(at) = table.position(column.column) else { continue };
                    let kind = table.columns[at].kind;
                    if rejoin_protocol::equal::equal(&image[at], &column.new, kind) {
                        image[at].clone_from(&column.old);
                    }
                }
            }
            (PatchKind::Delete, present @ None) => {
                let mut image = vec![Value::Null; table.columns.len()];
                image[table.key] = row.key.clone();
                for column in &patch.columns {
                    if let Some(at) = table.position(column.column) {
                        image[at].clone_from(&column.old);
                    }
                }
                *present = Some(image);
            }
            (PatchKind::Update, None) | (PatchKind::Delete, Some(_)) => {}
        }
    }
    let cells = |image: &[Value], make: &dyn Fn(Value) -> (Value, Value)| -> Vec<ColumnPatch> {
        let named = table.columns.iter().zip(image).enumerate().filter(|(at, _)| *at != table.key);
        let patched = named.map(|(_, (column, value))| {
            let (old, new) = make(value.clone());
            ColumnPatch { column: column.id, old, new }
        });
        patched.collect()
    };
    let (kind, columns) = match (base, present.as_deref()) {
        (None, None) => return None,
        (Some(base), None) => (PatchKind::Delete, cells(base, &|old| (old, Value::Null))),
        (None, Some(new)) => (PatchKind::Insert, cells(new, &|new| (Value::Null, new))),
        (Some(base), Some(new)) => {
            let mut columns = cells(base, &|old| (old, Value::Null));
            let news = cells(new, &|new| (new, Value::Null));
            columns.iter_mut().zip(news).for_each(|(column, new)| column.new = new.old);
            columns.retain(ColumnPatch::is_change);
            (PatchKind::Update, columns)
        }
    };
    let is_change = kind != PatchKind::Update || !columns.is_empty();
    is_change.then(|| RowPatch { row: row.clone(), kind, columns })
}
