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
use super::guard::ServedTables;
use super::introspect::{self, FoundTable};
use super::log_tables::LogShape;
use super::member::Function;
use super::table_resolver::TableResolver;
use super::triggers::{self, PREFIX, PostgresTrigger};
use super::types::Form;
use super::{
    Effects, Known, Shape, changelog, fingerprint, indexes, log_tables, member, membership,
    policies, rewritten, table_resolver,
};
use crate::config::TableConfig;
use crate::error::{RowSecurityProblem, SchemaProblem, ServerError};
use crate::model::{LeftOut, LogTable, Schema, Table};
use crate::store::admit::{self, ReadTable};
use crate::store::describe::{self, Found};
use crate::store::quote::{literal, quoted};

impl From<tokio_postgres::Error> for ServerError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(log_text(&error))
    }
}

/// Why the tables could not be prepared.
enum Stop {
    /// These tables are in the way: the others are prepared without them.
    Tables(Vec<SchemaProblem>),
    Other(ServerError),
}

impl<E: Into<ServerError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Other(error.into())
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
    let mut broken = Vec::new();
    loop {
        // Waits longer for a busy table than a request does, because its triggers are required.
        connection.batch("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '60s'")?;
        match refresh_in(connection, plan, (now, starts), &broken) {
            Ok(known) => {
                if plan.looks {
                    connection.batch("ROLLBACK")?;
                } else {
                    connection.commit()?;
                }
                return Ok(known);
            }
            Err(stop) => {
                connection.batch("ROLLBACK")?;
                match stop {
                    Stop::Tables(problems) => broken.extend(problems),
                    Stop::Other(error) => return Err(error),
                }
            }
        }
    }
}

/// Whether the server has served from this database.
fn has_served(connection: &Connection) -> Result<bool, tokio_postgres::Error> {
    let select = "SELECT EXISTS (SELECT FROM rejoin.schema_version)";
    Ok(connection.first(select, &[])?.is_some_and(|row| row.get(0)))
}

/// The failure of a statement that only this table has caused, unless a start refuses it.
fn in_the_way(table: &str, error: tokio_postgres::Error, refuses: bool) -> Stop {
    let is_of_table = |class| ["0A", "22", "23", "42", "44", "P0"].contains(&class);
    let class = error.code().map(|state| state.code().get(..2).unwrap_or_default());
    if refuses || !class.is_some_and(is_of_table) {
        return error.into();
    }
    tracing::error!(
        table,
        error = log_text(&error),
        "it cannot be read, or its triggers installed"
    );
    Stop::Tables(vec![admit::in_the_way(table)])
}

/// Leaves out tables whose policies do not hold for requests.
fn check_policies(connection: &Connection, plan: &ServedTables, known: &Known) -> Result<(), Stop> {
    let Some(security) = &plan.security else { return Ok(()) };
    match policies::check(connection, known, security) {
        Err(ServerError::RowSecurity(problems))
            if problems.iter().all(|of| of.table().is_some()) =>
        {
            let problem = |of: &RowSecurityProblem| {
                let (table, why) = (of.table().unwrap_or_default().to_owned(), of.to_string());
                SchemaProblem { why: why.replace(&format!("{table}: "), ""), table, column: None }
            };
            Err(Stop::Tables(problems.iter().map(problem).collect()))
        }
        done => Ok(done?),
    }
}

fn refresh_in(
    connection: &Connection,
    plan: &ServedTables,
    (now, starts): (&str, bool),
    broken: &[SchemaProblem],
) -> Result<Known, Stop> {
    // Serialises servers that start concurrently.
    connection.rows("SELECT pg_advisory_xact_lock(1380600394, 1)", &[])?;
    let mut configs: Vec<&TableConfig> = plan.tables.iter().collect();
    configs.sort_by(|left, right| left.name.cmp(&right.name));
    let refuses = starts && plan.strictness.refuses(has_served(connection)?);
    let ReadTables { found, mut left_out, problems, log, log_shapes } =
        read_tables(connection, plan, &configs, (refuses, broken))?;
    let configs: Vec<&TableConfig> = found.iter().map(|(config, _)| *config).collect();
    let mut schema = Schema::default();
    let (mut manifests, mut shapes, mut is_rewritten) = (Vec::new(), Vec::new(), false);
    for (config, NamedTable { table, function, resolver }) in found {
        let (number, is_same) = number_of(connection, &config.name, table.relation)?;
        let identities = identities(connection, number, is_same, &table)?;
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
            resolver,
            effects: effects(connection, table.relation)?,
            refers_to_itself: refers_to_itself(connection, table.relation)?,
            columns: table.types,
            attnums: table.attnums,
        });
        schema.tables.push(described);
    }
    describe::set_depths(&mut schema.tables);
    schema.manifest = admit::manifest(manifests, &mut left_out);
    schema.left_out = admit::all(&problems, left_out);
    if starts && plan.strictness.is_strict() {
        admit::require_all(&schema.left_out)?;
    }
    schema.manifest.schema_version = version_of(connection, &schema.manifest, now)?;
    let names = plan.tables.iter().map(|config| quoted(&config.name)).collect();
    let mut known = Known::new(Arc::new(schema), shapes, names);
    (known.log, known.log_shapes) = (log, log_shapes);
    if !plan.looks {
        plan.check(connection, &known)?;
        install(connection, &known, (refuses, is_rewritten))?;
        if starts {
            membership::install(connection, plan.membership.as_ref())?;
        }
        // A start refuses policies that do not hold, for all tables.
        if !starts {
            check_policies(connection, plan, &known)?;
        }
    }
    known.fingerprint = fingerprint(connection, &known.names)?;
    known.cursor_key = changelog::log_state(connection)?.log.key;
    Ok(known)
}

/// A table, and what names buckets for its rows.
struct NamedTable {
    table: FoundTable,
    function: Option<Function>,
    resolver: Option<TableResolver>,
}

impl ReadTable for NamedTable {
    fn found(&self) -> &Found {
        &self.table.found
    }

    fn remove(&mut self, column: &str) {
        self.table.remove(column);
    }
}

/// The application's tables as they are.
struct ReadTables<'c> {
    /// Those that can be served.
    found: Vec<(&'c TableConfig, NamedTable)>,
    /// Parts of them that are left out, and why the other tables are.
    left_out: Vec<LeftOut>,
    problems: Vec<SchemaProblem>,
    log: Vec<LogTable>,
    log_shapes: Vec<LogShape>,
}

fn read_tables<'c>(
    connection: &Connection,
    plan: &ServedTables,
    configs: &[&'c TableConfig],
    (refuses, broken): (bool, &[SchemaProblem]),
) -> Result<ReadTables<'c>, Stop> {
    let (mut problems, mut parts, mut found) = (broken.to_vec(), Vec::new(), Vec::new());
    let mut read = |config: &'c TableConfig, problems: &mut _| -> Result<(), Stop> {
        let table = read_table(connection, config, (problems, &mut parts));
        let table = table.map_err(|error| in_the_way(&config.name, error, refuses))?;
        found.extend(table.map(|table| (config, table)));
        Ok(())
    };
    let (in_log, in_rows): (Vec<&'c TableConfig>, Vec<_>) =
        configs.iter().partition(|config| config.sync == SyncModel::Log);
    for config in in_rows {
        if !broken.iter().any(|problem| problem.table == config.name) {
            read(config, &mut problems)?;
        }
    }
    let of_log: Vec<&str> = in_log.iter().map(|config| config.name.as_str()).collect();
    let (log, log_shapes) = log_tables::refresh(connection, &of_log, plan.looks, &mut problems)?;
    if !problems.iter().any(|problem| of_log.contains(&problem.table.as_str())) {
        in_log.into_iter().try_for_each(|config| read(config, &mut problems))?;
    }
    let tables = found.iter().map(|(of, named)| (*of, &named.table));
    introspect::chain_problems(&tables, &mut problems);
    if let Some(error) = admit::refusals(&problems, &parts).filter(|_| refuses) {
        return Err(error.into());
    }
    let found = admit::choose(found, &mut problems, &mut parts);
    admit::require_log(&problems, &parts, &of_log)?;
    match admit::refusals(&problems, &[]).filter(|_| refuses) {
        Some(error) => Err(error.into()),
        None => Ok(ReadTables { found, left_out: parts, problems, log, log_shapes }),
    }
}

fn read_table(
    connection: &Connection,
    config: &TableConfig,
    (problems, parts): (&mut Vec<SchemaProblem>, &mut Vec<LeftOut>),
) -> Result<Option<NamedTable>, tokio_postgres::Error> {
    let Some(table) = introspect::read(connection, config, problems, parts)? else {
        return Ok(None);
    };
    let function = member::find(connection, config, problems)?;
    let resolver = table_resolver::find(connection, config, table.relation, problems)?;
    Ok(Some(NamedTable { table, function, resolver }))
}

/// Side effects of writes to the table. A foreign key that only checks has none.
fn effects(connection: &Connection, relation: i64) -> Result<Effects, tokio_postgres::Error> {
    let select = "SELECT coalesce(bool_or(does.bits & 4 <> 0), false), coalesce(bool_or(does.bits & 16 <> 0), false),
        coalesce(bool_or(does.bits & 8 <> 0), false) FROM (
          SELECT g.tgtype::integer AS bits FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid
          WHERE g.tgrelid = $1::bigint::oid AND NOT starts_with(g.tgname::text, '~rejoin_')
            AND NOT starts_with(g.tgname::text, 'rejoin_membership_') AND NOT (g.tgisinternal
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
fn install(
    connection: &Connection,
    known: &Known,
    (refuses, mut gap): (bool, bool),
) -> Result<(), Stop> {
    for (table, shape) in known.schema.tables.iter().zip(&known.shapes) {
        let installed = install_on(connection, known, table, shape);
        gap |= installed.map_err(|error| in_the_way(&table.name, error, refuses))?;
    }
    let relations: Vec<i64> = known.shapes.iter().map(|shape| shape.relation).collect();
    let stale = "SELECT t.tgname::text, t.tgrelid::regclass::text FROM pg_trigger AS t
                 WHERE starts_with(t.tgname::text, $1) AND NOT t.tgrelid::bigint = ANY($2::bigint[])";
    for row in connection.rows(stale, &[&PREFIX, &relations])? {
        let (name, relation): (String, String) = (row.get(0), row.get(1));
        connection.batch(&format!("DROP TRIGGER {} ON {relation}", quoted(&name)))?;
    }
    table_resolver::forget_others(connection, known)?;
    if gap {
        changelog::start_epoch(connection)?;
    }
    Ok(())
}

/// Installs what is missing on one table; returns whether writes may have been missed.
fn install_on(
    connection: &Connection,
    known: &Known,
    table: &Table,
    shape: &Shape,
) -> Result<bool, tokio_postgres::Error> {
    let wanted = triggers::of(known, table);
    let mut gap = false;
    if !is_installed(connection, shape, &wanted)? {
        install_triggers(connection, known, table, shape, &wanted)?;
        gap = true;
    } else if table_resolver::is_news(connection, table, shape)? {
        lock(connection, shape)?;
        member::install(connection, table, shape)?;
        table_resolver::install(connection, table, shape)?;
        gap = true;
    }
    indexes::install(connection, table, shape)?;
    Ok(gap)
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
) -> Result<(), tokio_postgres::Error> {
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
    table_resolver::install(connection, table, shape)
}
