//! Removed tables and columns, and whether earlier mutations name them.
//!
//! Pure. A column with a new type, or created again under its old name, is another column; the old
//! one counts as removed. A mutation names a removed column if it wrote it: a delete does not, nor
//! does an insert that left the column NULL or at its default. A mutation that names nothing
//! removed keeps its meaning.

use std::sync::Arc;

use rejoin_protocol::wire::push::Operation;
use rejoin_protocol::{ColumnKind, Policy};

use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowPatch, same};
use crate::engine::schema::model::{Column, Removed, Schema, Table};
use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// The key of a removed table, of which only the other columns are known: patches store the key
/// separately. No column has this number.
const NO_COLUMN: ColumnId = ColumnId(0);

/// Something that a mutation names and the schema no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing<'s> {
    pub(crate) table: &'s str,
    /// `None` if it is the whole table.
    pub(crate) column: Option<&'s str>,
}

impl std::fmt::Display for Missing<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.column {
            None => write!(out, "the server has removed table {}", self.table),
            Some(column) => {
                let table = self.table;
                write!(out, "the server has removed column {column} of {table} or changed its type")
            }
        }
    }
}

impl Schema {
    /// The first removed table or column that one of these patches names.
    pub(crate) fn missing<'s>(&'s self, patches: &[RowPatch]) -> Option<Missing<'s>> {
        patches.iter().find_map(|patch| {
            let table = self.table(patch.row.table)?;
            let named = |column: &ColumnPatch| {
                let removed = table.removed.iter().find(|removed| removed.id == column.column)?;
                removed.is_named(patch.kind, column).then_some(removed.name.as_str())
            };
            let column = patch.columns.iter().find_map(named);
            let is_missing = table.is_removed() || column.is_some();
            let column = column.filter(|_| !table.is_removed());
            is_missing.then_some(Missing { table: &table.name, column })
        })
    }

    /// Adds a removed table of which only the former columns are known.
    pub(crate) fn add_removed(&mut self, number: TableNumber, name: &str, removed: Vec<Removed>) {
        let column = |id, name: &str| Column {
            id,
            name: name.to_owned(),
            kind: ColumnKind::String,
            default: None,
            protected: false,
        };
        let mut columns: Vec<Column> =
            removed.iter().map(|known| column(known.id, &known.name)).collect();
        columns.push(column(NO_COLUMN, ""));
        let table = Table {
            number,
            name: name.to_owned(),
            key: columns.len() - 1,
            columns,
            updated_at: None,
            deleted_at: None,
            owner: None,
            rules: Vec::new(),
            generated: Vec::new(),
            indexes: Vec::new(),
            writable: false,
            sync: rejoin_protocol::manifest::SyncModel::Rows,
            without_rowid: false,
            policy: Policy::default(),
            whole_rows: false,
            removed,
        };
        self.removed.insert(number, Arc::new(table));
    }
}

impl Removed {
    fn is_named(&self, kind: PatchKind, column: &ColumnPatch) -> bool {
        match kind {
            PatchKind::Insert => self.is_written(&column.new),
            PatchKind::Update => column.is_change(),
            PatchKind::Delete => false,
        }
    }

    /// Whether a create with this value has written the column.
    fn is_written(&self, value: &Value) -> bool {
        !value.is_null() && !same(value, &self.default)
    }
}

impl Table {
    /// Whether the server has removed it.
    pub(crate) fn is_removed(&self) -> bool {
        self.key_column().id == NO_COLUMN
    }

    /// The last name of a column, if the server has removed it.
    pub(crate) fn former_name(&self, id: ColumnId) -> Option<&str> {
        self.removed.iter().find(|removed| removed.id == id).map(|removed| removed.name.as_str())
    }

    /// Whether a column of a patch is sent: not a protected one, and a removed one only if the
    /// patch wrote it, so that the server rejects the whole patch instead of accepting the rest.
    pub(crate) fn sends(&self, kind: PatchKind, column: &ColumnPatch) -> bool {
        let removed = self.removed.iter().find(|removed| removed.id == column.column);
        match (self.position(column.column), removed) {
            (Some(at), _) => !self.columns[at].protected,
            (None, Some(removed)) => removed.is_named(kind, column),
            (None, None) => true,
        }
    }

    /// The same for an edit that restores a whole row: columns that the edit wrote, and those of
    /// the table.
    pub(crate) fn sends_whole(&self, edit: &RowPatch, column: ColumnId) -> bool {
        let wrote = |one: &ColumnPatch| one.column == column && one.is_change();
        let present = self.position(column).map(|at| !self.columns[at].protected);
        present.unwrap_or_else(|| edit.columns.iter().any(wrote))
    }

    /// The values of a record that are sent: a create leaves out removed columns that it did not
    /// write.
    pub(crate) fn sent_values(
        &self,
        operation: Operation,
        cells: &[(ColumnId, Value)],
    ) -> Vec<(ColumnId, Value)> {
        let is_meant = |(id, value): &&(ColumnId, Value)| {
            let removed = self.removed.iter().find(|removed| removed.id == *id);
            operation != Operation::Create || removed.is_none_or(|known| known.is_written(value))
        };
        cells.iter().filter(is_meant).cloned().collect()
    }
}
