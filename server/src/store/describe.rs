//! Converts tables as a database describes them into the engine's schema and the manifest, for all
//! stores.
//!
//! A store fills [`Found`] from its catalogue. Ownership, protected columns, synced rules and the
//! manifest follow from the configuration and do not depend on the database.

use rejoin_protocol::ColumnKind;
use rejoin_protocol::manifest::{
    ColumnIdentity, ColumnManifest, GeneratedColumn, Index, ReferenceAction, Rule, SyncModel,
    TableExtension, TableManifest,
};
use sha2::{Digest as _, Sha256};

use crate::config::TableConfig;
use crate::model::resolver::Resolve;
use crate::model::{Access, BucketColumn, Column, OWN_PREFIX, PushPolicy, Reference, Table};

/// Returns the identity of a column that is new to its table: a hash of its name that `is_taken` does not report as used.
///
/// A backup does not contain columns that were added after it. With a hash, a column that is added
/// again after a restore gets its earlier identity, and a column with another name gets another
/// one. A counter would assign the same number to both.
pub(super) fn new_identity(name: &str, is_taken: impl Fn(u32) -> bool) -> u32 {
    let identity = |occurrence: u32| {
        let occurrence = occurrence.to_be_bytes();
        let hash = Sha256::new().chain_update(occurrence).chain_update(name).finalize();
        // PostgreSQL stores it in a signed column.
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) >> 1
    };
    (0..=u32::MAX).map(identity).find(|identity| !is_taken(*identity)).unwrap_or_default()
}

/// A table as described by the database.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) columns: Vec<FoundColumn>,
    pub(super) references: Vec<FoundReference>,
    pub(super) indexes: Vec<(String, Vec<String>)>,
    pub(super) without_rowid: bool,
}

/// A column as described by the database.
#[derive(Debug)]
pub(super) struct FoundColumn {
    pub(super) name: String,
    /// The declared type, which is more specific than the logical one.
    pub(super) declared: String,
    pub(super) not_null: bool,
    pub(super) default: Option<String>,
    /// The default as an SQLite expression, if there is one.
    pub(super) portable_default: Option<String>,
    pub(super) is_key: bool,
    /// The expression of a generated column that devices also compute, and whether it is stored.
    pub(super) generated: Option<(String, bool)>,
    /// Written by the database only, and devices cannot compute it.
    pub(super) read_only: bool,
    pub(super) logical: &'static str,
}

/// A foreign key of one column.
#[derive(Debug)]
pub(super) struct FoundReference {
    pub(super) column: String,
    pub(super) table: String,
    pub(super) target: Option<String>,
    pub(super) on_delete: String,
    pub(super) on_update: String,
}

fn is_protected(config: &TableConfig, column: &FoundColumn) -> bool {
    let name = column.name.as_str();
    column.read_only
        || matches!(name, "created_at" | "updated_at" | "deleted_at")
        || name == config.updated_at_column
        || name == config.deleted_at_column
        || config.owner_column.as_deref() == Some(name)
        || config.protected.iter().any(|protected| protected == name)
}

pub(super) fn table(
    number: i64,
    config: &TableConfig,
    found: &Found,
    identities: &[u32],
    configs: &[&TableConfig],
) -> Table {
    let at = |name: &str| found.columns.iter().position(|column| column.name == name);
    let columns = found.columns.iter().zip(identities).map(|(column, identity)| Column {
        name: column.name.clone(),
        kind: kind(config, column),
        protected: is_protected(config, column),
        generated: column.generated.is_some(),
        identity: *identity,
    });
    Table {
        number,
        name: config.name.clone(),
        columns: columns.collect(),
        key: found.columns.iter().position(|column| column.is_key).unwrap_or_default(),
        updated_at: at(&config.updated_at_column).unwrap_or_default(),
        deleted_at: at(&config.deleted_at_column),
        created_at: at("created_at"),
        access: access(config, at, configs),
        owner: config.owner_column.as_deref().and_then(at),
        bucket: config.bucket().and_then(|(column, prefix)| {
            let (column, global) = (at(column)?, config.global_when_bucket_null);
            Some(BucketColumn { column, prefix: prefix.to_owned(), global })
        }),
        push: config.push_policy(),
        policy: config.policy,
        resolver: config.resolver.clone(),
        skew_tolerance_ms: config.skew_tolerance_ms,
        references: references(found, at),
        depth: 0,
    }
}

/// The version, deletion and creation columns are compared as instants even if declared as TEXT.
fn logical(config: &TableConfig, column: &FoundColumn) -> &'static str {
    let is_dated = column.name == config.updated_at_column
        || column.name == config.deleted_at_column
        || column.name == "created_at";
    if is_dated && column.logical == "string" { "datetime" } else { column.logical }
}

fn kind(config: &TableConfig, column: &FoundColumn) -> ColumnKind {
    let logical = logical(config, column);
    ColumnKind::of(logical, &column.declared).unwrap_or(ColumnKind::String)
}

fn access(
    config: &TableConfig,
    at: impl Fn(&str) -> Option<usize>,
    configs: &[&TableConfig],
) -> Access {
    // Elsewhere, the owner's column only says who created the row.
    let grants = !matches!(config.push, Some(PushPolicy::Bucket | PushPolicy::InsertOnly));
    let owner = config.owner_column.as_deref().filter(|_| grants);
    if let Some(column) = owner.and_then(&at) {
        return Access::Owner { column, global: config.allow_global_read };
    }
    if let Some(parent) = &config.parent {
        // Tables of the log are not in the list of described tables.
        let mut in_rows = configs.iter().filter(|other| other.sync == SyncModel::Rows);
        let table = in_rows.position(|other| other.name == parent.table);
        return match (at(&parent.column), table) {
            (Some(column), Some(parent)) => Access::Chain { column, parent },
            _ => Access::Denied,
        };
    }
    if config.is_everybodys() { Access::Global } else { Access::Denied }
}

fn references(found: &Found, at: impl Fn(&str) -> Option<usize>) -> Vec<Reference> {
    found
        .references
        .iter()
        .filter_map(|reference| {
            Some(Reference {
                column: at(&reference.column)?,
                table: reference.table.clone(),
                target: reference.target.clone().unwrap_or_default(),
            })
        })
        .collect()
}

/// Parents before children; tables in a cycle of references are ordered by name.
pub(super) fn set_depths(tables: &mut [Table]) {
    for _ in 0..tables.len() {
        let depths: Vec<(String, usize)> =
            tables.iter().map(|table| (table.name.clone(), table.depth)).collect();
        let parent_of = |table: &Table| match table.access {
            Access::Chain { parent, .. } => depths.get(parent).map(|(_, depth)| depth + 1),
            _ => None,
        };
        for table in tables.iter_mut() {
            let above = table.references.iter().filter(|reference| reference.table != table.name);
            let deepest = above
                .filter_map(|reference| {
                    depths.iter().find(|(name, _)| *name == reference.table).map(|(_, d)| d + 1)
                })
                .chain(parent_of(table))
                .max();
            table.depth = deepest.unwrap_or(0).min(depths.len());
        }
    }
}

pub(super) fn table_manifest(
    config: &TableConfig,
    found: &Found,
    identities: &[u32],
    configs: &[&TableConfig],
) -> TableManifest {
    let has_delete = found.columns.iter().any(|column| column.name == config.deleted_at_column);
    let push = match config.push_policy() {
        // A plain peer knows these two words.
        PushPolicy::OwnerOnly | PushPolicy::Bucket | PushPolicy::InsertOnly => "owner_only",
        PushPolicy::Disabled => "disabled",
    };
    // With a bucket function, v0.1.2 does not use the owner column as the bucket.
    let owner = config.owner_column.as_ref().filter(|_| config.bucket_function.is_none());
    let bucket_column = config.bucket_by_column.as_ref().or(owner);
    // v0.1.2 reports it for tables with an owner only; others are public without it.
    let is_reported = config.owner_column.is_some() || config.names_buckets();
    TableManifest {
        table_name: config.name.clone(),
        push_policy: String::from(push),
        parent_table: config.parent.as_ref().map(|parent| parent.table.clone()),
        parent_fk_col: config.parent.as_ref().map(|parent| parent.column.clone()),
        updated_at_column: config.updated_at_column.clone(),
        deleted_at_column: if has_delete {
            config.deleted_at_column.clone()
        } else {
            String::new()
        },
        primary_key: found.columns.iter().filter(|c| c.is_key).map(|c| c.name.clone()).collect(),
        bucket_by_column: bucket_column.cloned(),
        bucket_prefix: bucket_column
            .map(|_| config.bucket_prefix.clone().unwrap_or_else(|| String::from(OWN_PREFIX))),
        global_when_bucket_null: config.global_when_bucket_null
            || config.bucket_by_column.is_none() && is_reported && config.allow_global_read,
        allow_global_read: is_reported && config.allow_global_read,
        bucket_function: config.bucket_function.clone(),
        dependencies: dependencies(config, found, configs),
        columns: found.columns.iter().map(|column| column_manifest(config, column)).collect(),
        rejoin: Some(extension(config, found, identities, configs)),
    }
}

/// The synced tables that this table depends on: a hint about write order for plain peers.
fn dependencies(config: &TableConfig, found: &Found, configs: &[&TableConfig]) -> Vec<String> {
    let parent = config.parent.iter().map(|parent| &parent.table);
    let named = parent.chain(found.references.iter().map(|reference| &reference.table));
    let named = named.chain(&config.dependencies);
    let others = named.filter(|name| **name != config.name);
    let synced = others.filter(|name| configs.iter().any(|other| other.name == **name));
    synced.cloned().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

fn column_manifest(config: &TableConfig, column: &FoundColumn) -> ColumnManifest {
    let default_kind = match (&column.default, &column.portable_default) {
        (None, _) => "none",
        (Some(_), Some(_)) => "portable",
        (Some(_), None) => "server_only",
    };
    ColumnManifest {
        name: column.name.clone(),
        db_type: column.declared.clone(),
        logical_type: String::from(logical(config, column)),
        nullable: !(column.not_null || column.is_key),
        default_sql: column.default.clone(),
        default_kind: String::from(default_kind),
        sqlite_default_sql: column.portable_default.clone(),
        is_primary_key: column.is_key,
    }
}

fn extension(
    config: &TableConfig,
    found: &Found,
    identities: &[u32],
    configs: &[&TableConfig],
) -> TableExtension {
    let named = found.columns.iter().zip(identities);
    let generated = found.columns.iter().filter_map(|column| {
        let (expression, stored) = column.generated.clone()?;
        let (name, sql_type) = (column.name.clone(), column.declared.to_ascii_uppercase());
        Some(GeneratedColumn { name, sql_type, expression, stored })
    });
    let mut rules = if config.infer_rules { inferred(config, found, configs) } else { Vec::new() };
    rules.extend(config.rules.iter().cloned());
    let read_only = found.columns.iter().filter(|column| column.read_only).map(|c| &c.name);
    let protected =
        config.protected.iter().chain(read_only.filter(|name| !config.protected.contains(name)));
    let indexes = found.indexes.iter().filter(|_| config.infer_rules);
    TableExtension {
        sync: config.sync,
        identities: named
            .map(|(column, id)| ColumnIdentity { name: column.name.clone(), id: *id })
            .collect(),
        rules,
        generated: generated.collect(),
        indexes: indexes
            .map(|(name, columns)| Index { name: name.clone(), columns: columns.clone() })
            .collect(),
        owner_column: config.owner_column.clone(),
        protected: protected.cloned().collect(),
        without_rowid: found.without_rowid,
        local_only: false,
        policy: config.policy,
        whole_rows: matches!(config.resolver, Resolve::ServerWins),
    }
}

/// NOT NULL rules of columns written by devices, and references to other synced tables.
fn inferred(config: &TableConfig, found: &Found, configs: &[&TableConfig]) -> Vec<Rule> {
    let device_writes = |column: &&FoundColumn| {
        column.generated.is_none() && !column.is_key && !is_protected(config, column)
    };
    let columns = found.columns.iter().filter(device_writes).filter(|column| column.not_null);
    let not_null = columns.map(|column| Rule::NotNull { column: column.name.clone() });
    let synced = |name: &str| configs.iter().any(|other| other.name == name);
    let references = found.references.iter().filter(|reference| synced(&reference.table));
    let references = references.map(|reference| Rule::References {
        column: reference.column.clone(),
        table: reference.table.clone(),
        on_delete: action(&reference.on_delete),
        on_update: action(&reference.on_update),
    });
    not_null.chain(references).collect()
}

fn action(word: &str) -> ReferenceAction {
    match word {
        "CASCADE" => ReferenceAction::Cascade,
        "SET NULL" => ReferenceAction::SetNull,
        "RESTRICT" => ReferenceAction::Restrict,
        _ => ReferenceAction::NoAction,
    }
}
