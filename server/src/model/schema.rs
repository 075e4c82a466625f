//! The schema of the synced tables: the manifest with column positions instead of names.
//!
//! A store reads it from its database and returns one value per version of the schema.

use rejoin_protocol::{ColumnKind, Manifest, Policy, Value};

use super::resolver::Resolve;

/// Every synced table, sorted by name, and the manifest that says the same to devices.
#[derive(Debug)]
pub struct Schema {
    /// What devices get, extensions included.
    pub manifest: Manifest,
    /// The tables, in the manifest's order.
    pub tables: Vec<Table>,
}

/// Whether devices may write a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushPolicy {
    /// The owner may.
    OwnerOnly,
    /// No device may.
    Disabled,
}

/// A synced table.
#[derive(Debug)]
pub struct Table {
    /// Its number in the log.
    pub number: i64,
    /// Its name.
    pub name: String,
    /// Its columns, in the database's order.
    pub columns: Vec<Column>,
    /// The key's position.
    pub key: usize,
    /// The version's position.
    pub updated_at: usize,
    /// The soft delete's position; without one, a delete removes the row.
    pub deleted_at: Option<usize>,
    /// When the row was made, if the table says so; the server writes it.
    pub created_at: Option<usize>,
    /// Who may read and write a row.
    pub access: Access,
    /// The bucket in which a row is beside that of its owner.
    pub bucket: Option<BucketColumn>,
    /// Whether devices may write.
    pub push: PushPolicy,
    /// What is done where a change meets another value than it was made on.
    pub policy: Policy,
    /// What this server makes of it.
    pub resolver: Resolve,
    /// How much older than its row an edit may be and win, in milliseconds.
    pub skew_tolerance_ms: u32,
    /// References to other tables, for the order of a group's changes and for naming what a rejection is about.
    pub references: Vec<Reference>,
    /// How many references lead away from here, at most: parents come before children.
    pub depth: usize,
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it means.
    pub kind: ColumnKind,
    /// Whether only the server writes it: owner, version, times, what the configuration protects.
    pub protected: bool,
    /// Whether the database computes it.
    pub generated: bool,
    /// Its identity (S1).
    pub identity: u32,
}

/// A reference of the database's own.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The column, by position.
    pub column: usize,
    /// The other table's name; it need not be synced.
    pub table: String,
    /// The other table's column.
    pub target: String,
}

/// Who may read a row. Decided in the engine, closed unless it is opened (I10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The user that the column names; rows that name nobody are everybody's to read if `global`.
    Owner {
        /// The owner's position.
        column: usize,
        /// Whether NULL means everybody may read.
        global: bool,
    },
    /// Whoever may see the parent.
    Chain {
        /// The position of the column that names the parent.
        column: usize,
        /// The parent's position in [`Schema::tables`].
        parent: usize,
    },
    /// Everybody may read, nobody may write.
    Global,
    /// Nobody.
    Nobody,
}

/// A bucket that a column names: whoever holds it may read the row, and only its owner may write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketColumn {
    /// The column's position.
    pub column: usize,
    /// What stands before the value in the bucket's name.
    pub prefix: String,
    /// Whether NULL, or an empty text, means everybody.
    pub global: bool,
}

impl Schema {
    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        let at = self.tables.binary_search_by(|table| table.name.as_str().cmp(name)).ok()?;
        self.tables.get(at)
    }
}

impl Table {
    /// The position of the column of this name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Positions of the columns that travel: all that the database does not compute.
    pub fn travelling(&self) -> impl Iterator<Item = usize> {
        (0..self.columns.len()).filter(|at| self.columns.get(*at).is_some_and(|c| !c.generated))
    }

    /// The position of the column that names the owner, if the table has one.
    pub fn owner(&self) -> Option<usize> {
        match self.access {
            Access::Owner { column, .. } => Some(column),
            _ => None,
        }
    }

    /// The position of the column that names the parent, if the table has one.
    pub fn parent_column(&self) -> Option<usize> {
        match self.access {
            Access::Chain { column, .. } => Some(column),
            _ => None,
        }
    }

    /// The key that this id text names, or `None` if no key of this table is written so.
    pub fn key_of(&self, id: &str) -> Option<Value> {
        match self.columns.get(self.key)?.kind {
            ColumnKind::Int | ColumnKind::Int64 => {
                let number: i64 = id.parse().ok()?;
                (number.to_string() == id).then_some(Value::Integer(number))
            }
            _ => Some(Value::from(id)),
        }
    }
}
