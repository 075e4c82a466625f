//! The synced tables as the engine knows them; plain data, no SQL.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rejoin_protocol::manifest::{GeneratedColumn, Index, Manifest, Rule};
use rejoin_protocol::{ColumnKind, Policy};

use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// A policy for each of these tables, by name.
pub type Policies = BTreeMap<String, Policy>;

/// All synced tables of a file.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// The manifest that it was made from; `None` before the first.
    pub manifest: Option<Manifest>,
    /// By number.
    pub tables: HashMap<TableNumber, Arc<Table>>,
    /// Numbers by name.
    pub by_name: HashMap<String, TableNumber>,
    /// Tables that the server has removed. They have no rows; mutations that were written before may name them.
    pub(crate) removed: HashMap<TableNumber, Arc<Table>>,
}

/// A synced table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its number in this file.
    pub number: TableNumber,
    /// Its name.
    pub name: String,
    /// The columns that are stored and synced, in the table's order; generated ones are not among them.
    pub columns: Vec<Column>,
    /// Index of the key in `columns`.
    pub key: usize,
    /// Index of the column that holds the row's version (R9), if the table has it.
    pub updated_at: Option<usize>,
    /// Index of the column of the soft delete (D3), if the table has it.
    pub deleted_at: Option<usize>,
    /// Index of the column by which rows are handed out. Where it names the owner, a plain server fills it in: what the app
    /// left NULL there is nothing that it wrote.
    pub owner: Option<usize>,
    /// Declared rules (R5).
    pub rules: Vec<Rule>,
    /// Columns that SQLite computes; never captured, never sent.
    pub generated: Vec<GeneratedColumn>,
    /// Indexes that the manifest asks for.
    pub indexes: Vec<Index>,
    /// Whether devices may write it; if not, local writes are refused by name.
    pub writable: bool,
    /// Whether it is WITHOUT ROWID.
    pub without_rowid: bool,
    /// What is done where a foreign change meets an edit of plain SQL: the manifest's word, unless this device was told
    /// otherwise.
    pub policy: Policy,
    /// Whether the server merges no columns.
    pub whole_rows: bool,
    /// Columns that it had and that the server has removed, or given another type.
    pub(crate) removed: Vec<Removed>,
}

/// A column of a synced table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its identity (S1).
    pub id: ColumnId,
    /// Its name.
    pub name: String,
    /// What it means.
    pub kind: ColumnKind,
    /// A default in SQLite's SQL, already translated.
    pub default: Option<String>,
    /// Captured for undo, never sent, never compared: `updated_at`, `created_at`, `deleted_at`, the owner.
    pub protected: bool,
}

/// A column that a table had.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Removed {
    /// Its identity.
    pub(crate) id: ColumnId,
    /// Its last name.
    pub(crate) name: String,
    /// What its default gave; NULL without one.
    pub(crate) default: Value,
}

impl Schema {
    /// The table of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Table>> {
        let number = self.by_name.get(name).or_else(|| {
            // SQLite's names know no case.
            self.by_name.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, n)| n)
        })?;
        self.tables.get(number)
    }

    /// Takes these policies for the tables that they name.
    pub(crate) fn set_policies(&mut self, policies: &Policies) {
        for table in self.tables.values_mut() {
            let named = policies.iter().find(|(name, _)| name.eq_ignore_ascii_case(&table.name));
            if let Some((_, policy)) = named {
                Arc::make_mut(table).policy = *policy;
            }
        }
    }

    /// The table of this number, also one that the server has removed.
    pub fn table(&self, number: TableNumber) -> Option<&Arc<Table>> {
        self.tables.get(&number).or_else(|| self.removed.get(&number))
    }
}

impl Table {
    /// The position of the column with this identity.
    pub fn position(&self, id: ColumnId) -> Option<usize> {
        self.columns.iter().position(|column| column.id == id)
    }

    /// The position of the column of this name; SQLite's names know no case.
    pub fn column_named(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Whether the server must know which version of a row an edit was made on: it decides by that, or by time.
    pub fn is_versioned(&self) -> bool {
        self.updated_at.is_some() && (self.whole_rows || self.policy == Policy::LastWriteWins)
    }

    /// The key's column.
    pub fn key_column(&self) -> &Column {
        &self.columns[self.key]
    }
}
