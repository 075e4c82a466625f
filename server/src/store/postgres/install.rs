//! Prepares the application's tables for serving: numbers, identities, manifest, version, triggers,
//! indexes.
//!
//! One transaction, at start and after every change of the tables. If triggers of a table are
//! missing, disabled or modified, unrecorded writes are possible: the log is then reset by moving
//! its watermark.

use std::sync::Arc;

use rejoin_protocol::Manifest;
use rejoin_protocol::manifest::{SyncModel, TableManifest};

use super::connection::Connection;
use super::error::log_text;
use super::fed::TableResolver;
use super::guard::ServedTables;
use super::introspect::{self, FoundTable};
use super::log_tables::LogShape;
use super::member::Function;
use super::triggers::{self, PREFIX, PostgresTrigger};
use super::types::Form;
use super::{
    Effects, Known, Shape, changelog, fed, fingerprint, indexes, log_tables, member, rewritten,
};
use crate::config::TableConfig;
use crate::error::ServerError;
use crate::model::{LogTable, Schema, Table};
use crate::store::describe;
use crate::store::quote::{literal, quoted};

impl From<tokio_postgres::Error> for ServerError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(log_text(&error))
    }
}

/// Reads the tables, assigns numbers, identities and a version, and installs what is missing,
/// unless the plan is inspection only. `now` dates the schema.
pub(super) fn refresh(
    connection: &Connection,
    plan: &ServedTables,
    now: &str,
    starts: bool,
) -> Result<Known, ServerError> {
    // Waits longer for a busy table than a request does, because its triggers are required.
    connection.batch("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '60s'")?;
    let done = refresh_in(connection, plan, now, starts);
    match done {
        Ok(known) => {
            if plan.looks {
                connection.batch("ROLLBACK")?;
            } else {
                connection.commit()?;
            }
            Ok(known)
        }
        Err(error) => {
            connection.batch("ROLLBACK")?;
            Err(error)
        }
    }
}

fn refresh_in(
    connection: &Connection,
    plan: &ServedTables,
    now: &str,
    starts: bool,
) -> Result<Known, ServerError> {
    // Serialises servers that start concurrently.
    connection.rows("SELECT pg_advisory_xact_lock(1380600394, 1)", &[])?;
    let mut configs: Vec<&TableConfig> = plan.tables.iter().collect();
    configs.sort_by(|left, right| left.name.cmp(&right.name));
    let ReadTables { found, named, log, log_shapes } =
        read_tables(connection, plan, &configs, starts)?;
    let mut schema = Schema { manifest: Manifest::new(0, Vec::new()), tables: Vec::new() };
    let (mut manifests, mut shapes, mut is_rewritten) = (Vec::new(), Vec::new(), false);
    for ((config, table), (function, fed)) in found.iter().zip(named) {
        let (number, is_same) = number_of(connection, &config.name, table.relation)?;
        let identities = identities(connection, number, is_same, table)?;
        let is_key_of_text = |at: usize| {
            let form = table.types.get(at).map(|of| of.form);
            form == Some(Form::Text) && table.found.columns.get(at).is_some_and(|c| c.is_key)
        };
        manifests.push(describe::table_manifest(config, &table.found, &identities, &configs));
        if config.sync == SyncModel::Log {
            continue;
        }
        is_rewritten |= rewritten::is_news(connection, number, is_same)?;
        let described = describe::table(number.into(), config, &table.found, &identities, &configs);
        shapes.push(Shape {
            name: table.name.clone(),
            relation: table.relation,
            by_bytes: is_key_of_text(described.key),
            function,
            fed,
            effects: effects(connection, table.relation)?,
            refers_to_itself: refers_to_itself(connection, table.relation)?,
            columns: table.types.clone(),
            attnums: table.attnums.clone(),
        });
        schema.tables.push(described);
    }
    describe::set_depths(&mut schema.tables);
    schema.manifest = Manifest::new(0, manifests);
    schema.manifest.schema_version = version_of(connection, &schema.manifest, now)?;
    let mut known = Known::new(Arc::new(schema), shapes);
    known.names.extend(log.iter().map(|table| quoted(&table.name)));
    (known.log, known.log_shapes) = (log, log_shapes);
    if !plan.looks {
        plan.check(connection, &known)?;
        install(connection, &known, is_rewritten)?;
    }
    known.fingerprint = fingerprint(connection, &known.names)?;
    known.cursor_key = changelog::log_state(connection)?.log.key;
    Ok(known)
}

/// The application's tables as they are.
struct ReadTables<'c> {
    found: Vec<(&'c TableConfig, FoundTable)>,
    /// What names buckets for the rows of each of them.
    named: Vec<(Option<Function>, Option<TableResolver>)>,
    log: Vec<LogTable>,
    log_shapes: Vec<LogShape>,
}

fn read_tables<'c>(
    connection: &Connection,
    plan: &ServedTables,
    configs: &[&'c TableConfig],
    starts: bool,
) -> Result<ReadTables<'c>, ServerError> {
    let (mut problems, mut found, mut named) = (Vec::new(), Vec::new(), Vec::new());
    let mut read = |config: &'c TableConfig, problems: &mut _| -> Result<(), ServerError> {
        if let Some(table) = introspect::read(connection, config, problems, starts)? {
            let function = member::find(connection, config, problems)?;
            named.push((function, fed::find(connection, config, table.relation, problems)?));
            found.push((config, table));
        }
        Ok(())
    };
    let (in_log, in_rows): (Vec<&'c TableConfig>, Vec<_>) =
        configs.iter().partition(|config| config.sync == SyncModel::Log);
    for config in in_rows {
        read(config, &mut problems)?;
    }
    let of_log: Vec<&str> = in_log.iter().map(|config| config.name.as_str()).collect();
    let (log, log_shapes) = log_tables::refresh(connection, &of_log, plan.looks, &mut problems)?;
    if problems.is_empty() {
        in_log.into_iter().try_for_each(|config| read(config, &mut problems))?;
    }
    introspect::chain_problems(&found, &mut problems);
    if problems.is_empty() {
        Ok(ReadTables { found, named, log, log_shapes })
    } else {
        Err(ServerError::Schema(problems))
    }
}

/// Side effects of writes to the table. A foreign key that only checks has none.
fn effects(connection: &Connection, relation: i64) -> Result<Effects, tokio_postgres::Error> {
    let select = "SELECT coalesce(bool_or(does.bits & 4 <> 0), false), coalesce(bool_or(does.bits & 16 <> 0), false),
        coalesce(bool_or(does.bits & 8 <> 0), false) FROM (
          SELECT g.tgtype::integer AS bits FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid
          WHERE g.tgrelid = $1::bigint::oid AND NOT starts_with(g.tgname::text, '~rejoin_') AND NOT (g.tgisinternal
            AND p.proname IN ('RI_FKey_check_ins', 'RI_FKey_check_upd', 'RI_FKey_noaction_del', 'RI_FKey_noaction_upd',
              'RI_FKey_restrict_del', 'RI_FKey_restrict_upd', 'unique_key_recheck'))
          UNION ALL SELECT 28 FROM pg_rewrite AS r WHERE r.ev_class = $1::bigint::oid) AS does";
    let row = connection.first(select, &[&relation])?;
    Ok(row.map_or(Effects { insert: true, update: true, delete: true }, |row| Effects {
        insert: row.get(0),
        update: row.get(1),
        delete: row.get(2),
    }))
}

fn refers_to_itself(connection: &Connection, relation: i64) -> Result<bool, tokio_postgres::Error> {
    let select = "SELECT EXISTS (SELECT FROM pg_constraint AS f
        WHERE f.contype = 'f' AND f.conrelid = $1::bigint::oid AND f.confrelid = f.conrelid)";
    Ok(connection.first(select, &[&relation])?.is_none_or(|row| row.get(0)))
}

/// The table's number, and whether it is the same table that had it before.
fn number_of(
    connection: &Connection,
    name: &str,
    relation: i64,
) -> Result<(i32, bool), tokio_postgres::Error> {
    let find = "SELECT number, relation::bigint FROM rejoin.table_number WHERE name = $1";
    if let Some(row) = connection.first(find, &[&name])? {
        let number: i32 = row.get(0);
        let update = "UPDATE rejoin.table_number SET relation = $2::bigint::oid WHERE number = $1";
        connection.execute(update, &[&number, &relation])?;
        return Ok((number, row.get::<_, i64>(1) == relation));
    }
    let insert = "INSERT INTO rejoin.table_number(name, relation) VALUES ($1, $2::bigint::oid)
                  RETURNING number";
    let row = connection.first(insert, &[&name, &relation])?;
    Ok((row.map_or(0, |row| row.get(0)), true))
}

/// The identity of each column: by `attnum` in a known table; by name in a new table of the same
/// name (a restored dump numbers its columns again).
fn identities(
    connection: &Connection,
    number: i32,
    is_same: bool,
    table: &FoundTable,
) -> Result<Vec<u32>, tokio_postgres::Error> {
    let select = "SELECT id, attnum, name FROM rejoin.column_identity WHERE table_number = $1";
    let mut known: Vec<(i32, Option<i32>, String)> = connection
        .rows(select, &[&number])?
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let gone = "UPDATE rejoin.column_identity SET attnum = NULL WHERE table_number = $1";
    connection.execute(gone, &[&number])?;
    let put = "INSERT INTO rejoin.column_identity(table_number, id, attnum, name)
               VALUES ($1, $2, $3, $4)
               ON CONFLICT(table_number, id) DO UPDATE SET attnum = excluded.attnum, name = excluded.name";
    let mut identities = Vec::with_capacity(table.attnums.len());
    for (column, attnum) in table.found.columns.iter().zip(&table.attnums) {
        let is_it = |(_, other, name): &&(i32, Option<i32>, String)| {
            if is_same { *other == Some(*attnum) } else { other.is_some() && *name == column.name }
        };
        let id = if let Some((id, ..)) = known.iter().find(is_it) {
            *id
        } else {
            let is_taken = |id| known.iter().any(|(other, ..)| i64::from(*other) == i64::from(id));
            let id = describe::new_identity(&column.name, is_taken);
            let id = i32::try_from(id).unwrap_or_default();
            known.push((id, None, String::new()));
            id
        };
        connection.execute(put, &[&number, &id, attnum, &column.name])?;
        identities.push(u32::try_from(id).unwrap_or_default());
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
    let put = "INSERT INTO rejoin.schema_version(version, hash, identities, manifest, created_at)
               SELECT coalesce(max(version), 0) + 1, $1, $2, $3, $4 FROM rejoin.schema_version
               ON CONFLICT(hash, md5(identities)) DO UPDATE SET manifest = excluded.manifest
               RETURNING version";
    let row = connection.first(put, &[&manifest.schema_hash, &identities, &json, &now])?;
    Ok(row.map_or(0, |row| row.get(0)))
}

/// Installs missing triggers and indexes; drops those of tables that are no longer synced.
///
/// `gap`: rows have changed, and the log does not name them. Devices then take a snapshot.
fn install(connection: &Connection, known: &Known, mut gap: bool) -> Result<(), ServerError> {
    for (table, shape) in known.schema.tables.iter().zip(&known.shapes) {
        let wanted = triggers::of(known, table);
        if !is_installed(connection, shape, &wanted)? {
            install_triggers(connection, known, table, shape, &wanted)?;
            gap = true;
        } else if fed::is_news(connection, table, shape)? {
            lock(connection, shape)?;
            member::install(connection, table, shape)?;
            fed::install(connection, table, shape)?;
            gap = true;
        }
        indexes::install(connection, table, shape)?;
    }
    let relations: Vec<i64> = known.shapes.iter().map(|shape| shape.relation).collect();
    let stale = "SELECT t.tgname::text, t.tgrelid::regclass::text FROM pg_trigger AS t
                 WHERE starts_with(t.tgname::text, $1) AND NOT t.tgrelid::bigint = ANY($2::bigint[])";
    for row in connection.rows(stale, &[&PREFIX, &relations])? {
        let (name, relation): (String, String) = (row.get(0), row.get(1));
        connection.batch(&format!("DROP TRIGGER {} ON {relation}", quoted(&name)))?;
    }
    fed::forget_others(connection, known)?;
    if gap {
        changelog::start_epoch(connection)?;
    }
    Ok(())
}

/// Whether exactly Rejoin's triggers exist, enabled always, with the expected functions.
fn is_installed(
    connection: &Connection,
    shape: &Shape,
    wanted: &[PostgresTrigger],
) -> Result<bool, tokio_postgres::Error> {
    let select = "SELECT t.tgname::text, t.tgenabled::text, p.proname::text, p.prosrc
                  FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
                  WHERE t.tgrelid = $1::bigint::oid AND starts_with(t.tgname::text, $2)";
    let rows = connection.rows(select, &[&shape.relation, &PREFIX])?;
    let is_there = |trigger: &PostgresTrigger| {
        rows.iter().any(|row| {
            row.get::<_, String>(0) == trigger.name
                && row.get::<_, String>(1) == "A"
                && row.get::<_, String>(2) == trigger.function
                && row.get::<_, String>(3) == trigger.body
        })
    };
    Ok(rows.len() == wanted.len() && wanted.iter().all(is_there))
}

fn lock(connection: &Connection, shape: &Shape) -> Result<(), tokio_postgres::Error> {
    connection.batch(&format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", shape.name))
}

fn install_triggers(
    connection: &Connection,
    known: &Known,
    table: &Table,
    shape: &Shape,
    wanted: &[PostgresTrigger],
) -> Result<(), ServerError> {
    let relation = &shape.name;
    // No writes between the check of the rows and the installation of the triggers.
    lock(connection, shape)?;
    let select = "SELECT tgname::text FROM pg_trigger
                  WHERE tgrelid = $1::bigint::oid AND starts_with(tgname::text, $2)";
    for row in connection.rows(select, &[&shape.relation, &PREFIX])? {
        let name = quoted(&row.get::<_, String>(0));
        connection.batch(&format!("DROP TRIGGER {name} ON {relation}"))?;
    }
    changelog::normalise_versions(connection, known, table)?;
    for trigger in wanted {
        let PostgresTrigger { name, event, each, function, body } = trigger;
        let name = quoted(name);
        connection.batch(&format!(
            "CREATE OR REPLACE FUNCTION rejoin.{function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
             SET search_path = pg_catalog, pg_temp AS {};
             CREATE TRIGGER {name} {event} ON {relation} FOR EACH {each} EXECUTE FUNCTION rejoin.{function}();
             ALTER TABLE {relation} ENABLE ALWAYS TRIGGER {name}",
            literal(body),
        ))?;
    }
    member::install(connection, table, shape)?;
    Ok(fed::install(connection, table, shape)?)
}
