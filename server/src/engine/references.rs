//! Validates references of a pushed row: the user must be able to write its parent and to read
//! other referenced rows.
//!
//! Checked before the write. The database alone would accept a reference to another user's row and
//! reject one to a missing row, which reveals the keys in use. The parent has its own rule.

use rejoin_protocol::Value;
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::Ending;

use super::change::Cells;
use super::rejection::{ChangeError, reject};
use super::user_transaction::UserTransaction;
use super::write_set::WriteSet;
use crate::model::{Access, Table, Violation};
use crate::store::WriteError;

impl UserTransaction<'_> {
    /// A child needs a parent that the user may write. Missing parents and other users' parents are
    /// rejected with the same error. Of a group that is applied as a set, this is checked at its end.
    pub(super) fn check_parent(&self, table: &Table, data: &Cells) -> Result<(), ChangeError> {
        let Some(at) = table.parent_column() else { return Ok(()) };
        if self.set.is_some_and(|set| set.checks_parent_later(table, data)) {
            return Ok(());
        }
        let column = table.columns.get(at).map(|column| column.name.as_str());
        let schema = self.schema();
        let Access::Chain { parent, .. } = table.access else { return Ok(()) };
        let Some(above) = schema.tables.get(parent) else { return Ok(()) };
        let value = data.iter().find(|(other, _)| *other == at).map(|(_, value)| value);
        let stored = match value {
            Some(value) if !value.is_null() => self.stored(above, value)?,
            _ => None,
        };
        match stored {
            Some(stored) if stored.writable => Ok(()),
            Some(stored) if stored.readable => {
                let message = "the parent is not this user's to add to";
                reject(Ending::Refused, code::OWNERSHIP, column, message)
            }
            _ => Err(missing(column, "the parent is not there").into()),
        }
    }

    /// Rejects a reference among these cells to a row that the user cannot see, deleted or not. Of a
    /// group that is applied as a set, this is checked at its end.
    pub(super) fn check_references(
        &self,
        table: &Table,
        key: &Value,
        cells: &[(usize, Value)],
    ) -> Result<(), WriteError> {
        if self.set.is_some_and(WriteSet::is_open) {
            return Ok(());
        }
        let schema = self.schema();
        for reference in &table.references {
            let column = reference.column;
            let Some((_, value)) = cells.iter().find(|(at, _)| *at == column) else { continue };
            let Some(above) = schema.table(&reference.table) else { continue };
            let is_itself = above.name == table.name && value == key;
            let is_open = above.access == Access::Global || table.parent_column() == Some(column);
            if value.is_null() || !reference.is_to_key(above) || is_itself || is_open {
                continue;
            }
            let stored = self.stored(above, value)?;
            if !stored.is_some_and(|stored| stored.readable) {
                let column = table.columns.get(column).map(|column| column.name.as_str());
                return Err(missing(column, "the row that it refers to is not there"));
            }
        }
        Ok(())
    }
}

/// The rejection of a reference; the row may be one that a later change of the group creates.
fn missing(column: Option<&str>, message: &str) -> WriteError {
    WriteError::Rule(Violation {
        code: code::CONSTRAINT_REFERENCES,
        column: column.map(str::to_owned),
        message: message.to_owned(),
        is_among_rows: true,
    })
}
