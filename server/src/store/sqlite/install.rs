//! Prepares the application's tables for serving: numbers, identities, manifest, version, triggers.
//!
//! One transaction, at start and after every change of the tables. If triggers of a table are
//! missing or modified, unrecorded writes are possible: the log is then reset by moving its
//! watermark.

use std::sync::Arc;

use rejoin_protocol::Manifest;
use rejoin_protocol::manifest::{SyncModel, TableManifest};
use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::introspect;
use super::{Known, changelog, log_tables, membership, schema_version, triggers};
use crate::config::{MembershipConfig, TableConfig};
use crate::error::{SchemaProblem, ServerError};
use crate::model::{LogTable, Schema, Table};
use crate::store::admit::{self, Strictness};
use crate::store::describe::{self, FoundColumn};

/// Why the tables could not be prepared.
enum Stop {
    /// This table is in the way: the others are prepared without it.
    Table(SchemaProblem),
    Other(ServerError),
}

impl<E: Into<ServerError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Reads the tables, assigns numbers, identities and a version, and installs what is missing. `starts` is
/// `None` while the server runs.
pub(super) fn refresh(
    connection: &Connection,
    (tables, membership): (&[TableConfig], Option<&MembershipConfig>),
    now: &str,
    starts: Option<Strictness>,
) -> Result<Known, ServerError> {
    let mut broken = Vec::new();
    loop {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        match refresh_in(connection, tables, (now, starts), &broken) {
            Ok((schema, log)) => {
                let grants = match membership::install(connection, membership, starts.is_some()) {
                    Ok(grants) => grants.into(),
                    Err(error) => {
                        connection.execute_batch("ROLLBACK")?;
                        return Err(error);
                    }
                };
                connection.execute_batch("COMMIT")?;
                let version = schema_version(connection)?;
                return Ok(Known { version, schema: Arc::new(schema), log: log.into(), grants });
            }
            Err(stop) => {
                connection.execute_batch("ROLLBACK")?;
                match stop {
                    Stop::Table(problem) => broken.push(problem),
                    Stop::Other(error) => return Err(error),
                }
            }
        }
    }
}

/// Whether the server has served from this file.
fn has_served(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM rejoin_schema)", [], |row| row.get(0))
}

fn refresh_in(
    connection: &Connection,
    configs: &[TableConfig],
    (now, starts): (&str, Option<Strictness>),
    broken: &[SchemaProblem],
) -> Result<(Schema, Vec<LogTable>), Stop> {
    let refuses = match starts {
        Some(strictness) => strictness.refuses(has_served(connection)?),
        None => false,
    };
    let mut configs: Vec<&TableConfig> = configs.iter().collect();
    configs.sort_by(|left, right| left.name.cmp(&right.name));
    let (mut problems, mut parts, mut found) = (broken.to_vec(), Vec::new(), Vec::new());
    let (in_log, in_rows): (Vec<&TableConfig>, Vec<_>) =
        configs.iter().partition(|config| config.sync == SyncModel::Log);
    for config in in_rows.iter().filter(|config| !broken.iter().any(|of| of.table == config.name)) {
        let table = introspect::read(connection, config, &mut problems, &mut parts)?;
        found.extend(table.map(|table| (*config, table)));
    }
    let names: Vec<&str> = in_log.iter().map(|config| config.name.as_str()).collect();
    let log = log_tables::refresh(connection, &names, &mut problems)?;
    if !problems.iter().any(|problem| names.contains(&problem.table.as_str())) {
        for config in &in_log {
            let table = introspect::read(connection, config, &mut problems, &mut parts)?;
            found.extend(table.map(|table| (*config, table)));
        }
    }
    if let Some(error) = admit::refusals(&problems, &parts).filter(|_| refuses) {
        return Err(error.into());
    }
    let found = admit::choose(found, &mut problems, &mut parts);
    admit::require_log(&problems, &parts, &names)?;
    if let Some(error) = admit::refusals(&problems, &[]).filter(|_| refuses) {
        return Err(error.into());
    }
    let configs: Vec<&TableConfig> = found.iter().map(|(config, _)| *config).collect();
    let mut schema = Schema::default();
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
    schema.manifest = admit::manifest(manifests, &mut parts);
    schema.left_out = admit::all(&problems, parts);
    if starts.is_some_and(Strictness::is_strict) {
        admit::require_all(&schema.left_out)?;
    }
    schema.manifest.schema_version = version_of(connection, &schema.manifest, now)?;
    install(connection, &schema).map_err(|error| match error {
        Stop::Table(problem) if refuses => ServerError::Schema(vec![problem]).into(),
        other => other,
    })?;
    Ok((schema, log))
}

/// The failure of a statement that only this table has caused.
fn in_the_way(table: &Table, error: rusqlite::Error) -> Stop {
    let of_table = [ErrorCode::ConstraintViolation, ErrorCode::Unknown];
    if !error.sqlite_error_code().is_some_and(|code| of_table.contains(&code)) {
        return error.into();
    }
    tracing::error!(table = table.name, %error, "the triggers cannot be installed");
    Stop::Table(admit::in_the_way(&table.name))
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
fn install(connection: &Connection, schema: &Schema) -> Result<(), Stop> {
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
        let made = changelog::normalise_versions(connection, table).and_then(|()| {
            wanted.iter().try_for_each(|trigger| connection.execute_batch(&trigger.sql))
        });
        made.map_err(|error| in_the_way(table, error))?;
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
