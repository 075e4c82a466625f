//! The schema manifest: `GET /sync/schema`, or the same JSON bundled with the app.
//!
//! The plain part is that of v0.1.2, with its hash. Extensions (rules, generated columns, indexes,
//! column identities) are in members named `rejoin`, which have their own hash.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{ColumnKind, Policy};
pub use stream::{StreamManifest, StreamParameter};

mod stream;

/// The manifest of all synced tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The server's number for this schema; not monotonic.
    pub schema_version: i64,
    /// [`Manifest::hash`] of the tables, lower-case hex.
    pub schema_hash: String,
    /// The server's clock.
    #[serde(default)]
    pub server_time: String,
    /// The tables, sorted by name.
    pub tables: Vec<TableManifest>,
    /// Rejoin's extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<ManifestExtension>,
}

/// Extensions of the whole manifest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ManifestExtension {
    /// [`Manifest::rules_hash`].
    pub rules_hash: String,
    /// The streams, for generated code. No hash covers them: devices do not need them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamManifest>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TableManifest {
    /// Its name.
    pub table_name: String,
    /// `owner_only` or `disabled`.
    pub push_policy: String,
    /// The table whose rows own these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_table: Option<String>,
    /// The column that names the parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_fk_col: Option<String>,
    /// Tables that this one depends on, sorted; a hint only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<String>,
    /// The column that holds the row's version.
    pub updated_at_column: String,
    /// The column of the soft-delete time.
    pub deleted_at_column: String,
    /// The key: exactly one column.
    pub primary_key: Vec<String>,
    /// The column that names the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket_by_column: Option<String>,
    /// The prefix of the bucket name, before the column's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket_prefix: Option<String>,
    /// Whether rows with NULL belong to all users.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub global_when_bucket_null: bool,
    /// Whether all users may read rows without an owner.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_global_read: bool,
    /// A database function that computes buckets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket_function: Option<String>,
    /// The columns, in the server's order.
    pub columns: Vec<ColumnManifest>,
    /// Rejoin's extensions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<TableExtension>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnManifest {
    /// Its name.
    pub name: String,
    /// The database's type.
    pub db_type: String,
    /// string, int, int64, float, boolean, datetime, date, time, json or bytes.
    pub logical_type: String,
    /// Whether the column may be NULL.
    pub nullable: bool,
    /// The server's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_sql: Option<String>,
    /// `none`, `portable` or `server_only`.
    pub default_kind: String,
    /// The default in SQLite's SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlite_default_sql: Option<String>,
    /// Whether it is the key column.
    pub is_primary_key: bool,
}

/// How a table is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncModel {
    /// Rows, in the server's order.
    #[default]
    Rows,
    /// Entries of the log, in the order in which users performed them (`docs/log.md`).
    Log,
}

/// Extensions of a table.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TableExtension {
    /// How the table is synced. Plain peers do not see tables of the log.
    #[serde(skip_serializing_if = "SyncModel::is_default")]
    pub sync: SyncModel,
    /// The identity of each column, by name; unlisted columns are identified by name.
    pub identities: Vec<ColumnIdentity>,
    /// Rules that the engine enforces for local writes.
    pub rules: Vec<Rule>,
    /// Columns that the database computes.
    pub generated: Vec<GeneratedColumn>,
    /// Indexes to create on the device.
    pub indexes: Vec<Index>,
    /// The column of the row's owner: protected, only the server writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_column: Option<String>,
    /// Further columns that only the server writes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<String>,
    /// Whether the device's table is WITHOUT ROWID.
    pub without_rowid: bool,
    /// Whether the table is local-only: created from the bundled manifest, never synced.
    pub local_only: bool,
    /// The conflict policy of devices.
    #[serde(skip_serializing_if = "Policy::is_default")]
    pub policy: Policy,
    /// Whether the server merges no columns: any change of the row conflicts with an edit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub whole_rows: bool,
}

/// A column's identity: it survives a rename and is never reused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnIdentity {
    /// The column's current name.
    pub name: String,
    /// Its identity. The server derives it from the column's first name.
    pub id: u32,
}

/// A generated column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedColumn {
    /// Its name.
    pub name: String,
    /// Its declared type.
    pub sql_type: String,
    /// The expression, in SQLite's SQL.
    pub expression: String,
    /// Whether it is stored.
    #[serde(default)]
    pub stored: bool,
}

/// An index on the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
}

/// A declared rule: enforced for local writes, never for base rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Rule {
    /// The column must not be NULL.
    NotNull {
        /// The column.
        column: String,
    },
    /// No two rows have the same values; NULLs are distinct.
    Unique {
        /// The columns.
        columns: Vec<String>,
    },
    /// The expression must not be false.
    Check {
        /// The name in error messages.
        name: String,
        /// A SQLite expression over the table's columns.
        expression: String,
    },
    /// The value must be the key of a row of another table.
    References {
        /// The column.
        column: String,
        /// The referenced table; its key is referenced.
        table: String,
        /// The effect of deleting the referenced row.
        #[serde(default)]
        on_delete: ReferenceAction,
        /// The effect of changing the referenced key.
        #[serde(default)]
        on_update: ReferenceAction,
    },
}

/// The effect on a row that references a deleted row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceAction {
    /// An error at the end of the statement.
    #[default]
    NoAction,
    /// An immediate error.
    Restrict,
    /// The row is deleted too.
    Cascade,
    /// The column is set to NULL.
    SetNull,
}

impl SyncModel {
    /// Whether it is the default model.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl ColumnManifest {
    /// The column's kind; `None` for an unknown logical type.
    pub fn kind(&self) -> Option<ColumnKind> {
        ColumnKind::of(&self.logical_type, &self.db_type)
    }
}

impl Manifest {
    /// Creates a manifest of `tables`, sorted, with both hashes.
    pub fn new(schema_version: i64, mut tables: Vec<TableManifest>) -> Self {
        tables.sort_by(|left, right| left.table_name.cmp(&right.table_name));
        for table in &mut tables {
            table.dependencies.sort();
        }
        let mut manifest = Self {
            schema_version,
            schema_hash: String::new(),
            server_time: String::new(),
            tables,
            rejoin: None,
        };
        manifest.schema_hash = manifest.hash();
        manifest.rejoin = Some(ManifestExtension {
            rules_hash: manifest.rules_hash(),
            ..ManifestExtension::default()
        });
        manifest
    }

    /// The v0.1.2 hash: SHA-256 of the compact JSON of the plain tables, in the format of Go's
    /// encoder.
    pub fn hash(&self) -> String {
        let plain: Vec<TableManifest> = self.in_rows().map(TableManifest::plain).collect();
        let json = serde_json::to_string(&plain).unwrap_or_default();
        hex_sha256(go_escaped(&format!("{{\"tables\":{json}}}")).as_bytes())
    }

    /// The hash of the extensions.
    pub fn rules_hash(&self) -> String {
        let extensions: Vec<_> =
            self.tables.iter().map(|table| (&table.table_name, &table.rejoin)).collect();
        hex_sha256(serde_json::to_string(&extensions).unwrap_or_default().as_bytes())
    }

    /// The manifest for a plain peer.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self {
            tables: self.in_rows().map(TableManifest::plain).collect(),
            rejoin: None,
            ..self.clone()
        }
    }

    /// The synced tables.
    pub fn synced(&self) -> impl Iterator<Item = &TableManifest> {
        self.tables
            .iter()
            .filter(|table| !table.rejoin.as_ref().is_some_and(|extension| extension.local_only))
    }

    /// The synced tables of the row model.
    pub fn in_rows(&self) -> impl Iterator<Item = &TableManifest> {
        self.synced().filter(|table| table.sync() == SyncModel::Rows)
    }

    /// The tables of the log model.
    pub fn in_log(&self) -> impl Iterator<Item = &TableManifest> {
        self.synced().filter(|table| table.sync() == SyncModel::Log)
    }
}

impl TableManifest {
    /// How the table is synced.
    pub fn sync(&self) -> SyncModel {
        self.rejoin.as_ref().map(|extension| extension.sync).unwrap_or_default()
    }

    /// The column of the key, if the manifest names exactly one.
    pub fn key(&self) -> Option<&str> {
        match self.primary_key.as_slice() {
            [key] => Some(key),
            _ => None,
        }
    }

    /// Whether only the server writes the column: it is kept for undo, never sent, never compared. In
    /// a table of the log no column is.
    pub fn is_protected(&self, column: &str) -> bool {
        if self.sync() == SyncModel::Log {
            return false;
        }
        let listed = self.rejoin.as_ref().is_some_and(|extension| {
            extension.owner_column.as_deref() == Some(column)
                || extension.protected.iter().any(|protected| protected == column)
        });
        let stamped = [self.updated_at_column.as_str(), self.deleted_at_column.as_str()];
        listed
            || stamped.contains(&column)
            || ["created_at", "updated_at", "deleted_at"].contains(&column)
    }

    /// Whether the database computes the column.
    pub fn is_generated(&self, column: &str) -> bool {
        self.rejoin
            .as_ref()
            .is_some_and(|extension| extension.generated.iter().any(|made| made.name == column))
    }

    /// The table without extensions.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self { rejoin: None, ..self.clone() }
    }
}

/// Go's encoder escapes these five characters in strings.
fn go_escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out
}

pub(crate) fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::{
        ColumnManifest, GeneratedColumn, Manifest, SyncModel, TableExtension, TableManifest,
    };
    use crate::{ColumnKind, digest};

    fn column(name: &str, logical_type: &str) -> ColumnManifest {
        ColumnManifest {
            name: name.to_owned(),
            logical_type: logical_type.to_owned(),
            ..ColumnManifest::default()
        }
    }

    fn table(name: &str) -> TableManifest {
        let generated = GeneratedColumn {
            name: String::from("stars"),
            sql_type: String::from("TEXT"),
            expression: String::from("score"),
            stored: false,
        };
        TableManifest {
            table_name: name.to_owned(),
            updated_at_column: String::from("changed_at"),
            deleted_at_column: String::from("gone_at"),
            primary_key: vec![String::from("id")],
            columns: vec![
                column("id", "string"),
                column("created_at", "datetime"),
                column("user_id", "string"),
                column("score", "int"),
                column("changed_at", "datetime"),
                column("gone_at", "datetime"),
                column("approved", "boolean"),
                column("stars", "string"),
            ],
            rejoin: Some(TableExtension {
                generated: vec![generated],
                owner_column: Some(String::from("user_id")),
                protected: vec![String::from("approved")],
                ..TableExtension::default()
            }),
            ..TableManifest::default()
        }
    }

    #[test]
    fn server_written_columns_are_protected() {
        let table = table("places");
        let protected: Vec<_> = table
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| table.is_protected(name))
            .collect();
        assert_eq!(protected, ["created_at", "user_id", "changed_at", "gone_at", "approved"]);
        assert!(!TableManifest { rejoin: None, ..table.clone() }.is_protected("user_id"));
        assert_eq!(table.key(), Some("id"));
        assert_eq!(TableManifest::default().key(), None);
    }

    #[test]
    fn digest_covers_user_columns_and_version() {
        let covered = digest::covered(&table("places"));
        let expected = [(0, ColumnKind::String), (3, ColumnKind::Int), (4, ColumnKind::Datetime)];
        assert_eq!(covered, expected);
    }

    #[test]
    fn rule_changes_rules_hash_and_not_plain_hash() {
        let without = Manifest::new(1, vec![table("places")]);
        let mut stricter = table("places");
        if let Some(extension) = &mut stricter.rejoin {
            extension.protected.clear();
        }
        let with = Manifest::new(1, vec![stricter]);
        assert_eq!(without.schema_hash, with.schema_hash);
        assert_ne!(without.rules_hash(), with.rules_hash());
    }

    #[test]
    fn plain_manifest_omits_tables_of_the_log() {
        let mut seats = table("seats");
        seats.rejoin = Some(TableExtension { sync: SyncModel::Log, ..TableExtension::default() });
        let manifest = Manifest::new(1, vec![table("places"), seats]);
        let names = |tables: &mut dyn Iterator<Item = &TableManifest>| {
            tables.map(|table| table.table_name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&mut manifest.in_log()), ["seats"]);
        assert_eq!(names(&mut manifest.plain().tables.iter()), ["places"]);
        let without = Manifest::new(1, vec![table("places")]);
        assert_eq!(manifest.schema_hash, without.schema_hash);
        assert_ne!(manifest.rules_hash(), without.rules_hash());
    }

    #[test]
    fn plain_manifest_omits_local_tables_and_extensions() {
        let mut local = table("drafts");
        local.rejoin = Some(TableExtension { local_only: true, ..TableExtension::default() });
        let manifest = Manifest::new(1, vec![table("places"), local, table("notes")]);
        let plain = manifest.plain();
        let names: Vec<_> = plain.tables.iter().map(|table| table.table_name.as_str()).collect();
        assert_eq!(names, ["notes", "places"]);
        assert!(plain.rejoin.is_none() && plain.tables.iter().all(|table| table.rejoin.is_none()));
        assert_eq!(plain.hash(), manifest.schema_hash);
    }
}
