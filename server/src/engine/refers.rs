//! What a row that is pushed refers to: a parent that its user may write, and other rows that he may see.
//!
//! Asked before the database is: that would take a reference to a row of somebody else's and refuse one to a row that is not
//! there, and so tell which keys are taken (I10). A parent is asked for by its own rule.

use rejoin_protocol::Value;
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::Ending;

use super::judge::{Cells, Judge, Stop, stop};
use crate::model::{Access, ReadScope, Reference, Table, Violation};
use crate::store::{WriteError, Writing};

impl Judge<'_> {
    /// A child needs a parent that this user may write. One that is not there and one of somebody else's look alike.
    pub(super) fn check_parent(&self, table: &Table, data: &Cells) -> Result<(), Stop> {
        let Some(at) = table.parent_column() else { return Ok(()) };
        let column = table.columns.get(at).map(|column| column.name.as_str());
        let schema = self.writing.schema();
        let Access::Chain { parent, .. } = table.access else { return Ok(()) };
        let Some(above) = schema.tables.get(parent) else { return Ok(()) };
        let value = data.iter().find(|(other, _)| *other == at).map(|(_, value)| value);
        let stored = match value {
            Some(value) if !value.is_null() => {
                let (scope, own) = (ReadScope::of(self.held), ReadScope::owned_by(self.user));
                self.writing.stored(above, value, &scope, &own)?
            }
            _ => None,
        };
        match stored {
            Some(stored) if stored.writable => Ok(()),
            Some(stored) if stored.readable => {
                let message = "the parent is not this user's to add to";
                stop(Ending::Refused, code::OWNERSHIP, column, message)
            }
            _ => {
                let message = "the parent is not there";
                stop(Ending::Rejected, code::CONSTRAINT_REFERENCES, column, message)
            }
        }
    }

    pub(super) fn check_references(
        &self,
        table: &Table,
        key: &Value,
        cells: &Cells,
    ) -> Result<(), Stop> {
        Ok(check(self.writing, table, key, cells, (self.user, self.held))?)
    }
}

/// Whether every reference among these cells leads to a row that `user`, who holds `held`, may see, deleted or not.
pub(super) fn check(
    writing: &dyn Writing,
    table: &Table,
    key: &Value,
    cells: &[(usize, Value)],
    (user, held): (&str, &[String]),
) -> Result<(), WriteError> {
    let schema = writing.schema();
    for Reference { column, table: name, target } in &table.references {
        let Some((_, value)) = cells.iter().find(|(at, _)| at == column) else { continue };
        let Some(above) = schema.table(name) else { continue };
        let is_key = above.columns.get(above.key).is_some_and(|key| key.name == *target);
        let is_itself = above.name == table.name && value == key;
        let is_open = above.access == Access::Global || table.parent_column() == Some(*column);
        if value.is_null() || !is_key || is_itself || is_open {
            continue;
        }
        let stored =
            writing.stored(above, value, &ReadScope::of(held), &ReadScope::owned_by(user))?;
        if !stored.is_some_and(|stored| stored.readable) {
            return Err(WriteError::Rule(Violation {
                code: code::CONSTRAINT_REFERENCES,
                column: table.columns.get(*column).map(|column| column.name.clone()),
                message: String::from("the row that it refers to is not there"),
            }));
        }
    }
    Ok(())
}
