//! `GET /sync/tables`: v0.1.2's list of tables without columns. Rejoin devices use the schema
//! instead.

use serde::{Deserialize, Serialize};

use crate::manifest::{Manifest, TableManifest};

/// The tables, sorted by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TablesResponse {
    /// The tables.
    pub tables: Vec<TableMeta>,
    /// The server's clock.
    pub server_time: String,
    /// The server's schema.
    pub schema_version: i64,
    /// Its hash.
    pub schema_hash: String,
}

/// One table; the members mean the same as in [`TableManifest`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TableMeta {
    /// Its name.
    pub table_name: String,
    /// `owner_only` or `disabled`.
    pub push_policy: String,
    /// A hint; unlike in the schema, it is present when empty.
    pub dependencies: Vec<String>,
    /// The table whose rows own these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_table: Option<String>,
    /// The column that names the parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_fk_col: Option<String>,
    /// The column that holds the row's version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub updated_at_column: String,
    /// The column of the soft delete.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deleted_at_column: String,
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
}

impl From<&TableManifest> for TableMeta {
    fn from(table: &TableManifest) -> Self {
        Self {
            table_name: table.table_name.clone(),
            push_policy: table.push_policy.clone(),
            dependencies: table.dependencies.clone(),
            parent_table: table.parent_table.clone(),
            parent_fk_col: table.parent_fk_col.clone(),
            updated_at_column: table.updated_at_column.clone(),
            deleted_at_column: table.deleted_at_column.clone(),
            bucket_by_column: table.bucket_by_column.clone(),
            bucket_prefix: table.bucket_prefix.clone(),
            global_when_bucket_null: table.global_when_bucket_null,
            allow_global_read: table.allow_global_read,
            bucket_function: table.bucket_function.clone(),
        }
    }
}

impl From<&Manifest> for TablesResponse {
    fn from(manifest: &Manifest) -> Self {
        Self {
            tables: manifest.in_rows().map(TableMeta::from).collect(),
            server_time: manifest.server_time.clone(),
            schema_version: manifest.schema_version,
            schema_hash: manifest.schema_hash.clone(),
        }
    }
}
