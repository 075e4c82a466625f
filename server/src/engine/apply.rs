//! Writes the rows of a change: create, restore, update, delete.
//!
//! Sets the server-owned columns: owner, version and times. References and parents are checked
//! before each write.

use rejoin_protocol::Value;

use super::change::Cells;
use super::conflict::{Expected, changed_cells, is_as_sent, is_equal, not_found};
use super::rejection::ChangeError;
use super::user_transaction::UserTransaction;
use crate::model::{Row, Table};
use crate::store::{StoreWrite, WriteError};

impl UserTransaction<'_> {
    /// Inserts a row with the user as owner.
    pub(super) fn create(
        &self,
        table: &Table,
        key: &Value,
        data: &Cells,
    ) -> Result<(), ChangeError> {
        self.check_parent(table, data)?;
        let cells = data.iter().filter(|(at, _)| *at != table.key).cloned().collect();
        let created = self.insert_row(table, key, cells);
        if let (Some(rows), Ok(())) = (self.rows, &created) {
            rows.record_created(table, key);
        }
        match created {
            // The key belongs to another user's row, which this transaction cannot see.
            Err(WriteError::Rule(rule)) if rule.is_key_taken(table) => not_found(),
            other => Ok(other?),
        }
    }

    /// Restores a deleted row with the sent cells over its previous ones.
    pub(super) fn resurrect(
        &self,
        table: &Table,
        key: &Value,
        row: &Row,
        data: &Cells,
    ) -> Result<(), ChangeError> {
        if let Some(parent) = table.parent_column()
            && data.iter().any(|(at, value)| *at == parent && !is_equal(table, row, *at, value))
        {
            self.check_parent(table, data)?;
        }
        let mut cells: Cells = data
            .iter()
            .filter(|(at, value)| *at != table.key && !is_as_sent(table, row, *at, value))
            .cloned()
            .collect();
        cells.extend(table.deleted_at.map(|at| (at, Value::Null)));
        cells.sort_by_key(|(at, _)| *at);
        Ok(self.update_row(table, key, &cells)?)
    }

    /// Writes the cells of an update that differ from the row. `expected` is `None` if nothing is
    /// compared.
    pub(super) fn update(
        &self,
        table: &Table,
        key: &Value,
        row: &Row,
        data: &Cells,
        expected: Option<Expected<'_>>,
    ) -> Result<(), ChangeError> {
        let cells = changed_cells(table, row, data, expected)?;
        if cells.is_empty() {
            return Ok(());
        }
        Ok(self.update_row(table, key, &cells)?)
    }

    /// Inserts a row with these cells and key, the user as owner and the current time.
    pub(super) fn insert_row(
        &self,
        table: &Table,
        key: &Value,
        mut cells: Cells,
    ) -> Result<(), WriteError> {
        cells.push((table.key, key.clone()));
        cells.extend(table.owner.map(|owner| (owner, Value::from(self.user))));
        let times = table.created_at.into_iter().chain([table.updated_at]);
        cells.extend(times.map(|at| (at, Value::from(self.now))));
        cells.sort_by_key(|(at, _)| *at);
        self.check_references(table, key, &cells)?;
        self.write(table, StoreWrite::Insert { cells })
    }

    /// Writes these cells of the row.
    pub(super) fn update_row(
        &self,
        table: &Table,
        key: &Value,
        cells: &Cells,
    ) -> Result<(), WriteError> {
        self.check_references(table, key, cells)?;
        self.write(table, StoreWrite::Update { key: key.clone(), cells: cells.clone() })
    }

    /// Deletes the row, softly if the table has a column for it.
    pub(super) fn delete_row(&self, table: &Table, key: &Value) -> Result<(), WriteError> {
        let key = key.clone();
        self.write(
            table,
            match table.deleted_at {
                Some(at) => StoreWrite::Update { key, cells: vec![(at, Value::from(self.now))] },
                None => StoreWrite::Delete { key },
            },
        )
    }
}
