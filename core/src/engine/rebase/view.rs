//! Looking at the queue and through it: what waits, where a row stands, and what the base holds under it.

use super::footprint;
use crate::engine::Engine;
use crate::engine::queue::mutation::Mutation;
use crate::engine::queue::{history, store};
use crate::engine::row_state::RowSyncState;
use crate::engine::rows::apply::Rows;
use crate::engine::rows::patch::RowKey;
use crate::engine::rows::undo::{Before, Undo};
use crate::error::{Error, Result};
use crate::ids::MutationId;
use crate::value::Value;

impl Engine {
    /// Every mutation of the queue, in every state, in order.
    pub fn pending(&self) -> Result<Vec<Mutation>> {
        store::read_all(self.db.conn())
    }

    /// A mutation of the queue; `None` if it is not there, because it was accepted or discarded or never was.
    pub fn mutation(&self, id: MutationId) -> Result<Option<Mutation>> {
        match self.queue.find(id) {
            Some(entry) => store::read(self.db.conn(), entry.seq),
            None => Ok(None),
        }
    }

    /// Whether the history has this mutation as accepted; old ones leave it (D11).
    pub fn was_accepted(&self, id: MutationId) -> Result<bool> {
        history::is_in_history(self.db.conn(), id)
    }

    /// What waits on a row. A row that is not there and was never edited is synced.
    ///
    /// # Errors
    /// `NotSynced` if the table is not.
    pub fn row_sync_state(&self, table: &str, key: &Value) -> Result<RowSyncState> {
        let known = self.schema.named(table).ok_or_else(|| Error::NotSynced(table.to_owned()))?;
        Ok(self.queue.states().read().state(&known.name, key))
    }

    /// The row as the base holds it, in the table's order: what is seen, with everything that waits taken back.
    pub fn base_row(&self, row: &RowKey) -> Result<Option<Vec<Value>>> {
        let mut rows = Rows::new(self.db.conn(), &self.schema);
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

    /// The version of a row (R9): the raw text of `updated_at` in the base, never in what the app may have written.
    /// `None` if the base has no such row, or the table no versions.
    pub fn base_version(&self, row: &RowKey) -> Result<Option<String>> {
        let mut rows = Rows::new(self.db.conn(), &self.schema);
        let table = rows.table(row.table)?;
        let Some(at) = table.updated_at else { return Ok(None) };
        let id = table.columns[at].id;
        // Oldest first: the first image that names the column, or the whole row, is the base's.
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

    /// What the steps at a row displaced there, oldest first.
    fn undos_of(&self, row: &RowKey) -> Result<Vec<Before>> {
        let states = self.queue.states();
        let steps: Vec<_> = footprint::steps_at(&states.read(), row.table, &row.key).collect();
        let mut undos = Vec::with_capacity(steps.len());
        for seq in steps {
            let Some(step) = store::read_step(self.db.conn(), seq)? else { continue };
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
