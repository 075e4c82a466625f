//! Writes the rows of a change that applies: create, bring back, update, delete.
//!
//! Owner, version and times are the server's own columns and are set here. References and parents are checked before each write.

use rejoin_protocol::Value;

use super::change::Cells;
use super::conflict::{Expected, changed_cells, is_as_sent, is_equal, not_found};
use super::rejection::ChangeError;
use super::user_transaction::UserTransaction;
use crate::model::{Row, Table};
use crate::store::WriteError;

impl UserTransaction<'_> {
    /// Inserts a row that the user owns.
    pub(super) fn create(
        &self,
        table: &Table,
        key: &Value,
        data: &Cells,
    ) -> Result<(), ChangeError> {
        self.check_parent(table, data)?;
        let mut cells: Cells = data.iter().filter(|(at, _)| *at != table.key).cloned().collect();
        cells.push((table.key, key.clone()));
        if let Some(owner) = table.owner() {
            cells.push((owner, Value::from(self.user)));
        }
        for at in table.created_at.into_iter().chain([table.updated_at]) {
            cells.push((at, Value::from(self.now)));
        }
        cells.sort_by_key(|(at, _)| *at);
        self.check_references(table, key, &cells)?;
        match self.writing.insert(table, &cells) {
            // The key of another user's row, which this transaction does not see.
            Err(WriteError::Rule(rule)) if rule.is_key_taken(table) => not_found(),
            other => Ok(other?),
        }
    }

    /// Brings a deleted row back: the sent cells over its earlier ones.
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
        self.check_references(table, key, &cells)?;
        Ok(self.writing.update(table, key, &cells)?)
    }

    /// Writes the cells of an update that differ from the row. `expected` is `None` where nothing is compared.
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
        self.check_references(table, key, &cells)?;
        Ok(self.writing.update(table, key, &cells)?)
    }

    /// Deletes the row, softly if the table has a column for it.
    pub(super) fn delete(&self, table: &Table, key: &Value) -> Result<(), ChangeError> {
        match table.deleted_at {
            Some(at) => Ok(self.writing.update(table, key, &[(at, Value::from(self.now))])?),
            None => Ok(self.writing.remove(table, key)?),
        }
    }
}
