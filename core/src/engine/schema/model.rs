//! Model of the synced tables; plain data, no SQL.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rejoin_protocol::manifest::{GeneratedColumn, Index, Manifest, Rule, SyncModel};
use rejoin_protocol::{ColumnKind, Policy};

use crate::engine::schema::left_out::LeftOut;
use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// A policy for each of these tables, by name.
pub type Policies = BTreeMap<String, Policy>;

/// All synced tables of a file.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// The manifest that it was built from; `None` before the first.
    pub manifest: Option<Manifest>,
    /// By number.
    pub tables: HashMap<TableNumber, Arc<Table>>,
    /// Numbers by name.
    pub by_name: HashMap<String, TableNumber>,
    /// Tables that the server has removed. They have no rows; earlier mutations may name them.
    pub(crate) removed: HashMap<TableNumber, Arc<Table>>,
    /// What this file lacks of the server's manifest.
    pub(crate) left_out: Arc<LeftOut>,
}

/// A synced table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its number in this file.
    pub number: TableNumber,
    /// Its name.
    pub name: String,
    /// How it is synced: its writes become mutations of the queue, or entries of the log.
    pub sync: SyncModel,
    /// The stored and synced columns, in the table's order, without generated ones.
    pub columns: Vec<Column>,
    /// Index of the key in `columns`.
    pub key: usize,
    /// Index of the column with the row's version, if the table has it.
    pub updated_at: Option<usize>,
    /// Index of the soft-delete column, if the table has it.
    pub deleted_at: Option<usize>,
    /// Index of the column that assigns rows to users. If it names the owner, a plain server fills
    /// it in: a NULL there was not written by the app.
    pub owner: Option<usize>,
    /// Declared rules.
    pub rules: Vec<Rule>,
    /// Columns that SQLite computes; never captured, never sent.
    pub generated: Vec<GeneratedColumn>,
    /// Indexes of the manifest.
    pub indexes: Vec<Index>,
    /// Whether devices may write it; if not, local writes are rejected by name.
    pub writable: bool,
    /// Whether it is WITHOUT ROWID.
    pub without_rowid: bool,
    /// How conflicts of plain SQL edits are resolved: the manifest's policy, unless this device's
    /// configuration overrides it.
    pub policy: Policy,
    /// Whether the server merges no columns.
    pub whole_rows: bool,
    /// Columns that the server has removed or given another type.
    pub(crate) removed: Vec<Removed>,
}

/// A column of a synced table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its identity.
    pub id: ColumnId,
    /// Its name.
    pub name: String,
    /// Its logical type.
    pub kind: ColumnKind,
    /// A default as SQLite expression, already translated.
    pub default: Option<String>,
    /// Captured for undo, never sent, never compared: `updated_at`, `created_at`, `deleted_at`, the
    /// owner.
    pub protected: bool,
}

/// A removed column of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Removed {
    /// Its identity.
    pub(crate) id: ColumnId,
    /// Its last name.
    pub(crate) name: String,
    /// The value of its default; NULL without one.
    pub(crate) default: Value,
}

impl Schema {
    /// The table with this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Table>> {
        let number = self.by_name.get(name).or_else(|| {
            // SQLite's names are case-insensitive.
            self.by_name.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, n)| n)
        })?;
        self.tables.get(number)
    }

    /// The tables of the row model.
    pub(crate) fn in_rows(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values().filter(|table| table.sync == SyncModel::Rows)
    }

    /// The tables of the log.
    pub(crate) fn in_log(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values().filter(|table| table.sync == SyncModel::Log)
    }

    /// The table of the row model with this name.
    pub(crate) fn named_in_rows(&self, name: &str) -> Option<&Arc<Table>> {
        self.named(name).filter(|table| table.sync == SyncModel::Rows)
    }

    /// Whether the server has this table and this device has left it out: its rows are skipped.
    pub(crate) fn is_left_out(&self, name: &str) -> bool {
        !self.by_name.contains_key(name) && self.left_out.is_table(name)
    }

    /// Sets these policies for the tables that they name.
    pub(crate) fn set_policies(&mut self, policies: &Policies) {
        for table in self.tables.values_mut() {
            let named = policies.iter().find(|(name, _)| name.eq_ignore_ascii_case(&table.name));
            if let Some((_, policy)) = named {
                Arc::make_mut(table).policy = *policy;
            }
        }
    }

    /// The table with this number, including removed ones.
    pub fn table(&self, number: TableNumber) -> Option<&Arc<Table>> {
        self.tables.get(&number).or_else(|| self.removed.get(&number))
    }
}

impl Table {
    /// The position of the column with this identity.
    pub fn position(&self, id: ColumnId) -> Option<usize> {
        self.columns.iter().position(|column| column.id == id)
    }

    /// The position of the column with this name; SQLite's names are case-insensitive.
    pub fn column_named(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Whether the server must know which row version an edit was made on: it decides by version or
    /// by time.
    pub fn is_versioned(&self) -> bool {
        self.updated_at.is_some() && (self.whole_rows || self.policy == Policy::LastWriteWins)
    }

    /// The key's column.
    pub fn key_column(&self) -> &Column {
        &self.columns[self.key]
    }
}
