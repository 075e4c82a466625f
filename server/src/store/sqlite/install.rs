//! Prepares the application's tables for serving: numbers, identities, manifest, version, triggers.
//!
//! One transaction, at start and after every change of the tables. If triggers of a table are
//! missing or modified, unrecorded writes are possible: the log is then reset by moving its
//! watermark.

use std::sync::Arc;

use rejoin_protocol::Manifest;
use rejoin_protocol::manifest::{SyncModel, TableManifest};
use rusqlite::{Connection, OptionalExtension};

use super::introspect;
use super::{Known, changelog, log_tables, schema_version, triggers};
use crate::config::TableConfig;
use crate::error::ServerError;
use crate::model::{LogTable, Schema};
use crate::store::describe::{self, FoundColumn};

/// Reads the tables, assigns numbers, identities and a version, and installs what is missing.
pub(super) fn refresh(
    connection: &Connection,
    tables: &[TableConfig],
    now: &str,
    starts: bool,
) -> Result<Known, ServerError> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    match refresh_in(connection, tables, now, starts) {
        Ok((schema, log)) => {
            connection.execute_batch("COMMIT")?;
            Ok(Known {
                version: schema_version(connection)?,
                schema: Arc::new(schema),
                log: log.into(),
            })
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
    starts: bool,
) -> Result<(Schema, Vec<LogTable>), ServerError> {
    let mut configs: Vec<&TableConfig> = configs.iter().collect();
    configs.sort_by(|left, right| left.name.cmp(&right.name));
    let mut problems = Vec::new();
    let mut found = Vec::new();
    let mut read = |config, problems: &mut _| -> Result<(), ServerError> {
        let table = introspect::read(connection, config, problems, starts)?;
        found.extend(table.map(|table| (config, table)));
        Ok(())
    };
    for config in configs.iter().filter(|config| config.sync == SyncModel::Rows) {
        read(*config, &mut problems)?;
    }
    let in_log: Vec<_> = configs.iter().filter(|config| config.sync == SyncModel::Log).collect();
    let names: Vec<&str> = in_log.iter().map(|config| config.name.as_str()).collect();
    let log = log_tables::refresh(connection, &names, &mut problems)?;
    if problems.is_empty() {
        in_log.into_iter().try_for_each(|config| read(*config, &mut problems))?;
    }
    if !problems.is_empty() {
        return Err(ServerError::Schema(problems));
    }
    let mut schema = Schema { manifest: Manifest::new(0, Vec::new()), tables: Vec::new() };
    let mut manifests = Vec::new();
    for (config, found) in &found {
        let number = number_of(connection, &config.name)?;
        let identities = identities(connection, number, &found.columns)?;
        manifests.push(describe::table_manifest(config, found, &identities, &configs));
        if config.sync == SyncModel::Rows {
            schema.tables.push(describe::table(number, config, found, &identities, &configs));
        }
    }
    describe::set_depths(&mut schema.tables);
    schema.manifest = Manifest::new(0, manifests);
    schema.manifest.schema_version = version_of(connection, &schema.manifest, now)?;
    install(connection, &schema)?;
    Ok((schema, log))
}

fn number_of(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.execute("INSERT OR IGNORE INTO rejoin_table(name) VALUES(?1)", [name])?;
    connection
        .query_row("SELECT number FROM rejoin_table WHERE name = ?1", [name], |row| row.get(0))
}

/// The identity of each column. A dropped column keeps its number forever; a new column of the same
/// name gets another.
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
    let mut select = connection
        .prepare("SELECT id, iif(gone, NULL, name) FROM rejoin_column WHERE table_number = ?1")?;
    let known = select.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut known = known.collect::<rusqlite::Result<Vec<(u32, Option<String>)>>>()?;
    let mut add = connection
        .prepare("INSERT INTO rejoin_column(table_number, id, name) VALUES (?1, ?2, ?3)")?;
    let mut identities = Vec::with_capacity(names.len());
    for name in names {
        let is_it = |(_, other): &&(u32, Option<String>)| other.as_deref() == Some(name);
        let id = if let Some((id, _)) = known.iter().find(is_it) {
            *id
        } else {
            let is_taken = |id| known.iter().any(|(other, _)| *other == id);
            let id = describe::new_identity(name, is_taken);
            add.execute((table, id, name))?;
            known.push((id, None));
            id
        };
        identities.push(id);
    }
    Ok(identities)
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
         SELECT coalesce(max(version), 0) + 1, ?1, ?2, ?3,
           ?4 FROM rejoin_schema WHERE true
         ON CONFLICT(hash, identities) DO UPDATE SET manifest = excluded.manifest",
        (&manifest.schema_hash, &identities, json, now),
    )?;
    let query = "SELECT version FROM rejoin_schema WHERE hash = ?1 AND identities = ?2";
    Ok(connection.query_row(query, (&manifest.schema_hash, &identities), |row| row.get(0))?)
}

/// Installs missing triggers and indexes; drops those of tables that are no longer synced.
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
    for (name, sql) in schema.tables.iter().flat_map(triggers::indexes) {
        let query = "SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?1";
        let found: Option<String> =
            connection.query_row(query, [&name], |row| row.get(0)).optional()?;
        if found.as_deref() != Some(sql.as_str()) {
            connection.execute_batch(&format!("DROP INDEX IF EXISTS {name}; {sql}"))?;
        }
    }
    if gap {
        changelog::start_epoch(connection)?;
    }
    Ok(())
}
