//! From the user's tables to a schema that is served: numbers, identities, manifest, version, triggers.
//!
//! One transaction, at start and whenever somebody changed the tables. Where a table's triggers are missing or are not
//! ours, somebody may have written rows that nobody recorded: the log then begins anew, by its watermark (D29, C3).

use std::sync::Arc;

use rejoin_protocol::manifest::{
    ColumnIdentity, ColumnManifest, GeneratedColumn, Index, ReferenceAction, Rule, TableExtension,
    TableManifest,
};
use rejoin_protocol::{ColumnKind, Manifest};
use rusqlite::{Connection, OptionalExtension};

use super::introspect::{self, Found, FoundColumn};
use super::{Known, changelog, schema_version, triggers};
use crate::config::{PushPolicy, TableConfig};
use crate::engine::resolve::Resolve;
use crate::engine::schema::{Access, Column, Reference, Schema, Table};
use crate::error::ServerError;

/// Reads the tables, gives them numbers, identities and a version, and installs what is missing.
pub(super) fn refresh(
    connection: &Connection,
    tables: &[TableConfig],
    now: &str,
) -> Result<Known, ServerError> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    match refresh_in(connection, tables, now) {
        Ok(schema) => {
            connection.execute_batch("COMMIT")?;
            Ok(Known { version: schema_version(connection)?, schema: Arc::new(schema) })
        }
        Err(error) => {
            connection.execute_batch("ROLLBACK")?;
            Err(error)
        }
    }
}

fn refresh_in(
    connection: &Connection,
    configs: &[TableConfig],
    now: &str,
) -> Result<Schema, ServerError> {
    let mut configs: Vec<&TableConfig> = configs.iter().collect();
    configs.sort_by(|left, right| left.name.cmp(&right.name));
    let mut problems = Vec::new();
    let mut found = Vec::new();
    for config in &configs {
        if let Some(table) = introspect::read(connection, config, &mut problems)? {
            found.push((*config, table));
        }
    }
    if !problems.is_empty() {
        return Err(ServerError::Schema(problems));
    }
    let mut schema = Schema { manifest: Manifest::new(0, Vec::new()), tables: Vec::new() };
    let mut manifests = Vec::new();
    for (config, found) in &found {
        let number = number_of(connection, &config.name)?;
        let identities = identities(connection, number, &found.columns)?;
        manifests.push(table_manifest(config, found, &identities, &configs));
        schema.tables.push(table(number, config, found, &identities, &configs));
    }
    set_depths(&mut schema.tables);
    schema.manifest = Manifest::new(0, manifests);
    schema.manifest.schema_version = version_of(connection, &schema.manifest, now)?;
    install(connection, &schema)?;
    Ok(schema)
}

fn number_of(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.execute("INSERT OR IGNORE INTO rejoin_table(name) VALUES(?1)", [name])?;
    connection
        .query_row("SELECT number FROM rejoin_table WHERE name = ?1", [name], |row| row.get(0))
}

/// The identity of each column. A name that is gone keeps its number for ever; if it comes back it is another column.
fn identities(
    connection: &Connection,
    table: i64,
    columns: &[FoundColumn],
) -> rusqlite::Result<Vec<u32>> {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    connection.execute(
        "UPDATE rejoin_column SET gone = 1 WHERE table_number = ?1 AND gone = 0
         AND name NOT IN (SELECT value FROM json_each(?2))",
        (table, serde_json::json!(names).to_string()),
    )?;
    let mut find = connection.prepare(
        "SELECT id FROM rejoin_column WHERE table_number = ?1 AND name = ?2 AND gone = 0",
    )?;
    let mut add = connection.prepare(
        "INSERT INTO rejoin_column(table_number, id, name)
         SELECT ?1, coalesce(max(id), 0) + 1, ?2 FROM rejoin_column WHERE table_number = ?1
         RETURNING id",
    )?;
    names
        .into_iter()
        .map(|name| match find.query_row((table, name), |row| row.get(0)).optional()? {
            Some(id) => Ok(id),
            None => add.query_row((table, name), |row| row.get(0)),
        })
        .collect()
}

fn is_protected(config: &TableConfig, name: &str) -> bool {
    matches!(name, "created_at" | "updated_at" | "deleted_at")
        || name == config.updated_at_column
        || name == config.deleted_at_column
        || config.owner_column.as_deref() == Some(name)
        || config.protected.iter().any(|protected| protected == name)
}

fn table(
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
        protected: is_protected(config, &column.name),
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
        push: config.push_policy(),
        policy: config.policy,
        resolver: config.resolver.clone(),
        skew_tolerance_ms: config.skew_tolerance_ms,
        references: references(found, at),
        depth: 0,
    }
}

/// A version, a deletion or a birth declared as TEXT is an instant all the same: it compares as one.
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
    if let Some(column) = config.owner_column.as_deref().and_then(&at) {
        return Access::Owner { column, global: config.allow_global_read };
    }
    if let Some(parent) = &config.parent {
        let table = configs.iter().position(|other| other.name == parent.table);
        return match (at(&parent.column), table) {
            (Some(column), Some(parent)) => Access::Chain { column, parent },
            _ => Access::Nobody,
        };
    }
    if config.allow_global_read { Access::Global } else { Access::Nobody }
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

/// Parents before children; in a cycle of references the order is the names'.
fn set_depths(tables: &mut [Table]) {
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

fn table_manifest(
    config: &TableConfig,
    found: &Found,
    identities: &[u32],
    configs: &[&TableConfig],
) -> TableManifest {
    let has_delete = found.columns.iter().any(|column| column.name == config.deleted_at_column);
    let push = match config.push_policy() {
        PushPolicy::OwnerOnly => "owner_only",
        PushPolicy::Disabled => "disabled",
    };
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
        bucket_by_column: config.owner_column.clone(),
        bucket_prefix: config.owner_column.as_ref().map(|_| String::from("user:")),
        global_when_bucket_null: config.owner_column.is_some() && config.allow_global_read,
        // v0.1.2 says it of tables with an owner only; the others are everybody's without it.
        allow_global_read: config.owner_column.is_some() && config.allow_global_read,
        dependencies: dependencies(config, found, configs),
        columns: found.columns.iter().map(|column| column_manifest(config, column)).collect(),
        rejoin: Some(extension(config, found, identities, configs)),
        ..TableManifest::default()
    }
}

/// The other synced tables that rows of this one stand on: a hint for those who write without asking.
fn dependencies(config: &TableConfig, found: &Found, configs: &[&TableConfig]) -> Vec<String> {
    let parent = config.parent.iter().map(|parent| &parent.table);
    let named = parent.chain(found.references.iter().map(|reference| &reference.table));
    let others = named.filter(|name| **name != config.name);
    let synced = others.filter(|name| configs.iter().any(|other| other.name == **name));
    synced.cloned().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

fn column_manifest(config: &TableConfig, column: &FoundColumn) -> ColumnManifest {
    let (default_kind, sqlite_default) = default_of(column);
    ColumnManifest {
        name: column.name.clone(),
        db_type: column.declared.clone(),
        logical_type: String::from(logical(config, column)),
        nullable: !(column.not_null || column.is_key),
        default_sql: column.default.clone(),
        default_kind: String::from(default_kind),
        sqlite_default_sql: sqlite_default,
        is_primary_key: column.is_key,
    }
}

fn default_of(column: &FoundColumn) -> (&'static str, Option<String>) {
    let Some(default) = column.default.as_deref().map(str::trim) else { return ("none", None) };
    let upper = default.to_ascii_uppercase();
    let portable = match upper.as_str() {
        "NULL" | "CURRENT_TIMESTAMP" | "CURRENT_DATE" | "CURRENT_TIME" => Some(upper),
        "TRUE" => Some(String::from("1")),
        "FALSE" => Some(String::from("0")),
        _ if default.starts_with('\'') || default.parse::<f64>().is_ok() => {
            Some(default.to_owned())
        }
        _ => None,
    };
    (if portable.is_some() { "portable" } else { "server_only" }, portable)
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
    let indexes = found.indexes.iter().filter(|_| config.infer_rules);
    TableExtension {
        identities: named
            .map(|(column, id)| ColumnIdentity { name: column.name.clone(), id: *id })
            .collect(),
        rules,
        generated: generated.collect(),
        indexes: indexes
            .map(|(name, columns)| Index { name: name.clone(), columns: columns.clone() })
            .collect(),
        owner_column: config.owner_column.clone(),
        protected: config.protected.clone(),
        without_rowid: found.without_rowid,
        local_only: false,
        policy: config.policy,
        whole_rows: matches!(config.resolver, Resolve::ServerWins),
    }
}

/// NOT NULL of what the device writes, and references to other synced tables.
fn inferred(config: &TableConfig, found: &Found, configs: &[&TableConfig]) -> Vec<Rule> {
    let device_writes = |column: &&FoundColumn| {
        column.generated.is_none() && !column.is_key && !is_protected(config, &column.name)
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

fn version_of(connection: &Connection, manifest: &Manifest, now: &str) -> Result<i64, ServerError> {
    let json_error = |error| ServerError::Io(std::io::Error::other(error));
    let named = |table: &TableManifest| {
        let identities = table.rejoin.as_ref().map(|extension| extension.identities.clone());
        (table.table_name.clone(), identities)
    };
    let identities: Vec<_> = manifest.tables.iter().map(named).collect();
    let identities = serde_json::to_string(&identities).map_err(json_error)?;
    let json = serde_json::to_string(manifest).map_err(json_error)?;
    connection.execute(
        "INSERT INTO rejoin_schema(version, hash, identities, manifest, created_at)
         SELECT coalesce(max(version), 0) + 1, ?1, ?2, ?3, ?4 FROM rejoin_schema WHERE true
         ON CONFLICT(hash, identities) DO UPDATE SET manifest = excluded.manifest",
        (&manifest.schema_hash, &identities, json, now),
    )?;
    let query = "SELECT version FROM rejoin_schema WHERE hash = ?1 AND identities = ?2";
    Ok(connection.query_row(query, (&manifest.schema_hash, &identities), |row| row.get(0))?)
}

/// Installs what is missing of triggers and indexes; drops what is not expected (a table that is no longer synced).
fn install(connection: &Connection, schema: &Schema) -> Result<(), ServerError> {
    let mut installed = changelog::own_triggers(connection)?;
    let mut gap = false;
    for table in &schema.tables {
        let wanted = triggers::of(schema, table);
        let complete = wanted
            .iter()
            .all(|trigger| installed.get(&trigger.name).is_some_and(|sql| *sql == trigger.sql));
        let stale: Vec<String> = installed
            .keys()
            .filter(|name| name.starts_with(&format!("rejoin_{}_", table.number)))
            .cloned()
            .collect();
        if complete && stale.len() == wanted.len() {
            for name in &stale {
                installed.remove(name);
            }
            continue;
        }
        for name in stale {
            connection.execute_batch(&format!("DROP TRIGGER {name}"))?;
            installed.remove(&name);
        }
        changelog::normalise_versions(connection, table)?;
        for trigger in &wanted {
            connection.execute_batch(&trigger.sql)?;
        }
        gap = true;
    }
    for name in installed.keys() {
        connection.execute_batch(&format!("DROP TRIGGER {name}"))?;
    }
    for (name, sql) in schema.tables.iter().filter_map(triggers::parent_index) {
        let query = "SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?1";
        let found: Option<String> =
            connection.query_row(query, [&name], |row| row.get(0)).optional()?;
        if found.as_deref() != Some(sql.as_str()) {
            connection.execute_batch(&format!("DROP INDEX IF EXISTS {name}; {sql}"))?;
        }
    }
    if gap {
        changelog::begin_anew(connection)?;
    }
    Ok(())
}
