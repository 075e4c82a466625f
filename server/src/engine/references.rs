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
use super::write_set::{Phase, WriteSet};
use crate::error::Fault;
use crate::model::{Access, Table, Violation};
use crate::store::WriteError;

impl UserTransaction<'_> {
    /// A child needs a parent that the user may write. Missing parents and other users' parents are
    /// rejected with the same error. Of a group that is applied as a set, this is checked before its
    /// writes, or after them if the group names the parent.
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
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Err(missing(column, "the parent is not there", false).into());
        };
        if self.is_checked_otherwise(above, value) {
            return Ok(());
        }
        let stored = self.stored(above, value)?;
        match stored {
            Some(stored) if stored.writable => Ok(()),
            Some(stored) if stored.readable => {
                let message = "the parent is not this user's to add to";
                reject(Ending::Refused, code::OWNERSHIP, column, message)
            }
            _ => {
                let may_come = self.may_come(above, value);
                Err(missing(column, "the parent is not there", may_come).into())
            }
        }
    }

    /// Rejects a reference among these cells to a row that the user cannot see, deleted or not. Of a
    /// group that is applied as a set, this is checked like parents.
    pub(super) fn check_references(
        &self,
        table: &Table,
        key: &Value,
        cells: &[(usize, Value)],
    ) -> Result<(), WriteError> {
        if self.set.is_some_and(|set| set.phase() == Phase::Collects) {
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
            if self.is_checked_otherwise(above, value) {
                continue;
            }
            let stored = self.stored(above, value)?;
            if !stored.is_some_and(|stored| stored.readable) {
                let column = table.columns.get(column).map(|column| column.name.as_str());
                let may_come = self.may_come(above, value);
                return Err(missing(column, "the row that it refers to is not there", may_come));
            }
        }
        Ok(())
    }

    /// Whether one of these cells refers to a row that is missing and that no device can create. The
    /// database alone names the rule, which may be one that is checked later.
    pub(super) fn lacks_global_row(
        &self,
        table: &Table,
        cells: &[(usize, Value)],
    ) -> Result<bool, Fault> {
        for reference in &table.references {
            let above = self.schema().table(&reference.table);
            let above = above.filter(|above| above.access == Access::Global);
            let value =
                cells.iter().find(|(at, value)| *at == reference.column && !value.is_null());
            if let (Some(above), Some((_, value))) = (above, value)
                && reference.is_to_key(above)
                && self.stored(above, value)?.is_none()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a reference needs no check now: the group has created its row, or the row is checked
    /// before or after the writes of the set.
    fn is_checked_otherwise(&self, above: &Table, value: &Value) -> bool {
        let Some(rows) = self.rows else { return false };
        match self.set.map(WriteSet::phase) {
            None => rows.has_created(above, value),
            Some(Phase::Collects) => true,
            Some(Phase::Begins) => rows.names(above, value),
            Some(Phase::Written) => !rows.names(above, value) || rows.has_created(above, value),
            Some(Phase::Refused) => !rows.names(above, value),
        }
    }

    /// Whether a change of the group may create the row.
    fn may_come(&self, above: &Table, value: &Value) -> bool {
        self.rows.is_some_and(|rows| rows.names(above, value))
    }
}

/// The rejection of a reference. `may_come`: the row may be one that a later change of the group
/// creates.
fn missing(column: Option<&str>, message: &str, may_come: bool) -> WriteError {
    WriteError::Rule(Violation {
        code: code::CONSTRAINT_REFERENCES,
        column: column.map(str::to_owned),
        message: message.to_owned(),
        is_among_rows: may_come,
    })
}
