//! The schema of the synced tables: the manifest with column positions instead of names.
//!
//! A store reads it from its database and returns one value per version of the schema.

use rejoin_protocol::{ColumnKind, Manifest, Policy, Value};

use super::resolver::Resolve;

/// All synced tables, sorted by name, and their manifest.
#[derive(Debug)]
pub struct Schema {
    /// The manifest for devices, with extensions.
    pub manifest: Manifest,
    /// The tables of the row model, in the manifest's order.
    pub tables: Vec<Table>,
    /// Configured tables, and parts of tables, that cannot be synced.
    pub left_out: Vec<LeftOut>,
}

/// A configured table, or a part of one, that is not served because it cannot be synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The table.
    pub table: String,
    /// What of it: [`LeftOut::TABLE`], or `column NAME`, `index NAME`, `CHECK NAME` and the like.
    pub what: String,
    /// What is wrong, and the remedy.
    pub why: String,
}

impl Default for Schema {
    fn default() -> Self {
        Self { manifest: Manifest::new(0, Vec::new()), tables: Vec::new(), left_out: Vec::new() }
    }
}

impl LeftOut {
    /// The whole table.
    pub const TABLE: &'static str = "the table";

    /// Whether nothing of the table is served.
    pub fn is_table(&self) -> bool {
        self.what == Self::TABLE
    }

    /// Whether both are about the same part.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.table, &self.what) == (&other.table, &other.what)
    }
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {} is left out: {}", self.table, self.what, self.why)
    }
}

/// Whether devices may write a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushPolicy {
    /// The owner may.
    OwnerOnly,
    /// Users with the right to write the row's bucket may.
    Bucket,
    /// All users may create rows, and none reads or changes them.
    InsertOnly,
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
    /// The column with the creation time, if there is one; written by the server.
    pub created_at: Option<usize>,
    /// Who may read a row, and with [`PushPolicy::OwnerOnly`] write it.
    pub access: Access,
    /// The column with the user who created the row; written by the server.
    pub owner: Option<usize>,
    /// The column that names a further bucket of a row.
    pub bucket: Option<BucketColumn>,
    /// Whether devices may write.
    pub push: PushPolicy,
    /// The conflict policy of devices.
    pub policy: Policy,
    /// The conflict resolver of the server.
    pub resolver: Resolve,
    /// Milliseconds by which an edit may be older than its row and still win.
    pub skew_tolerance_ms: u32,
    /// References to other tables, for ordering a group's changes and naming the cause of a
    /// rejection.
    pub references: Vec<Reference>,
    /// Maximum length of a chain of references from this table: parents come before children.
    pub depth: usize,
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
    /// Whether only the server writes it: owner, version, times, and configured columns.
    pub protected: bool,
    /// Whether the database computes it.
    pub generated: bool,
    /// Its identity, stable across renames.
    pub identity: u32,
}

/// A foreign key of the database.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The column, by position.
    pub column: usize,
    /// The other table's name; it need not be synced.
    pub table: String,
    /// The other table's column.
    pub target: String,
}

/// Who may read a row. Enforced by the engine; the default is no access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The user named in the column; rows without an owner are public if `global`.
    Owner {
        /// The owner's position.
        column: usize,
        /// Whether NULL makes a row public.
        global: bool,
    },
    /// Users who can read the parent.
    Chain {
        /// The position of the column that names the parent.
        column: usize,
        /// The parent's position in [`Schema::tables`].
        parent: usize,
    },
    /// All users may read, none may write.
    Global,
    /// No user may read.
    Denied,
}

/// A bucket named in a column: its users may read the row, and with [`PushPolicy::Bucket`] write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketColumn {
    /// The column's position.
    pub column: usize,
    /// The prefix of the value in the bucket's name.
    pub prefix: String,
    /// Whether NULL or empty text makes the row public.
    pub global: bool,
}

impl Reference {
    /// Whether it refers to the key of this table; without a column, SQLite refers to the key.
    pub fn is_to_key(&self, above: &Table) -> bool {
        let key = above.columns.get(above.key);
        self.target.is_empty() || key.is_some_and(|key| key.name == self.target)
    }
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

    /// Positions of the columns that are sent: all except generated ones.
    pub fn travelling(&self) -> impl Iterator<Item = usize> {
        (0..self.columns.len()).filter(|at| self.columns.get(*at).is_some_and(|c| !c.generated))
    }

    /// The position of the column that names the parent, if the table has one.
    pub fn parent_column(&self) -> Option<usize> {
        match self.access {
            Access::Chain { column, .. } => Some(column),
            _ => None,
        }
    }

    /// The key in this id text; `None` if it is not a key of this table in canonical form.
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
