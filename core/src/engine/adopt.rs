//! Migrates from one schema to the next in one transaction, and keeps pending mutations.
//!
//! Pending mutations never block a schema change: an unsent mutation that names a removed table or
//! column is parked whole, with its values, in the same transaction. A mutation that a server may
//! have waits for its verdict. An added column is empty until the server has filled it; it never
//! gets a local default.

use std::sync::Arc;

use rejoin_protocol::admit::{self, Misfit, Part};
use rejoin_protocol::manifest::{Manifest, Rule, SyncModel};
use rusqlite::Connection;

use crate::death::{self, Failpoint};
use crate::engine::Engine;
use crate::engine::capture::trigger;
use crate::engine::change::Origin;
use crate::engine::database::Database;
use crate::engine::log;
use crate::engine::rebase::missing;
use crate::engine::schema::app_trigger;
use crate::engine::schema::build::{self, refused};
use crate::engine::schema::change::{self, run};
use crate::engine::schema::left_out::{LEFT_OUT, LeftOut};
use crate::engine::schema::model::{Schema, Table};
use crate::engine::schema::sql::{self, quoted};
use crate::engine::schema::store::{Catalogue, note_unfilled};
use crate::engine::schema::{full_text, guarded, local, trial};
use crate::engine::search;
use crate::error::{Error, InputFault, Result};
use crate::ids::{ColumnId, MutationId, TableNumber};
use choose::Chosen;
pub(crate) use choose::may_return;

mod choose;

/// Result of adopting a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Adopted {
    /// Whether anything changed.
    pub changed: bool,
    /// Empty tables that need their rows from the server: new ones, and those with a new key.
    pub new_tables: Vec<TableNumber>,
    /// Columns that are NULL until the server has filled them.
    pub gained: Vec<(TableNumber, Vec<ColumnId>)>,
    /// Removed tables.
    pub dropped: Vec<String>,
    /// Mutations that were parked because they name something removed, or depend on one that does.
    pub parked: Vec<MutationId>,
}

/// Adopts a manifest in one transaction: creates and changes tables, keeps pending mutations,
/// and returns what the server must fill. Works offline. Does nothing if the manifest is the
/// current one.
///
/// # Errors
/// `SchemaRefused` names table and reason; nothing was changed.
pub fn adopt(engine: &mut Engine, manifest: &Manifest) -> Result<Adopted> {
    if is_current(engine, manifest) {
        return Ok(Adopted::default());
    }
    let chosen = choose::choose(engine, manifest, &[])?;
    match chosen.left_out.parts.first() {
        Some(part) => Err(refused(&part.table, part.reason.as_str())),
        None => store(engine, &chosen, &[]),
    }
}

/// Tables that are left out one after another because SQLite refuses them, although they passed all
/// checks.
const MOST_REFUSED: usize = 32;

/// Adopts a manifest without what this device cannot build, as [`adopt`] does. `due` has facts that are
/// stored in the same transaction.
///
/// # Errors
/// `SchemaRefused` if no table is left, or the manifest is too large; nothing was changed.
pub(crate) fn adopt_what_fits(
    engine: &mut Engine,
    manifest: &Manifest,
    due: impl Fn(&Engine, &Manifest) -> Result<Vec<(String, Option<String>)>>,
) -> Result<Adopted> {
    if is_current(engine, manifest) {
        return Ok(Adopted::default());
    }
    let mut out: Vec<Misfit> = Vec::new();
    loop {
        let chosen = choose::choose(engine, manifest, &out)?;
        let ours = engine.schema.manifest.as_ref();
        if ours == Some(&chosen.manifest) && *engine.schema.left_out == chosen.left_out {
            return Ok(Adopted::default());
        }
        let facts = due(engine, &chosen.manifest)?;
        match store(engine, &chosen, &facts) {
            Err(Error::InvalidInput(InputFault::SchemaRefused { table, reason: why }))
                if out.len() < MOST_REFUSED && chosen.has(&table) =>
            {
                out.push(Misfit { table, part: Part::Table, why });
            }
            done => return done,
        }
    }
}

fn is_current(engine: &Engine, manifest: &Manifest) -> bool {
    engine.schema.manifest.as_ref() == Some(manifest) && engine.schema.left_out.parts.is_empty()
}

/// Makes the chosen part of a manifest the schema, in one transaction with these facts.
fn store(
    engine: &mut Engine,
    chosen: &Chosen,
    facts: &[(String, Option<String>)],
) -> Result<Adopted> {
    let manifest = &chosen.manifest;
    let internal = |error: serde_json::Error| Error::Internal(error.to_string());
    let json = serde_json::to_string(manifest).map_err(internal)?;
    let left_out = chosen.left_out.to_json()?;
    let before = Arc::clone(&engine.schema);
    let result = engine.write(Origin::Local, |engine| {
        let adopted = take_over(engine, chosen)?;
        death::pass(Failpoint::MidMigration);
        engine.set_meta("manifest", Some(&json))?;
        engine.set_meta(LEFT_OUT, left_out.as_deref())?;
        engine.set_meta("schema_version", Some(&manifest.schema_version.to_string()))?;
        engine.set_meta("schema_hash", Some(&manifest.schema_hash))?;
        let rules = manifest.rejoin.as_ref().map(|extension| extension.rules_hash.as_str());
        engine.set_meta("rules_hash", rules)?;
        facts.iter().try_for_each(|(key, value)| engine.set_meta(key, value.as_deref()))?;
        for table in engine.schema.tables.values() {
            engine.touched.table(&table.name);
        }
        // What a query reads may be another table now.
        engine.touched.table("sqlite_schema");
        Ok(adopted)
    });
    if result.is_err() {
        install(engine, before);
        engine.db.note_ours()?;
    } else {
        chosen.left_out.log_changes(&before.left_out);
    }
    result
}

/// Creates the missing local-only tables and columns of a bundled manifest.
pub(crate) fn adopt_local(engine: &mut Engine, bundled: &Manifest) -> Result<()> {
    let mut bundled = bundled.clone();
    for misfit in admit::prune(&mut bundled.tables, |_, _| None) {
        tracing::warn!(table = misfit.table, why = misfit.why, "a part of the bundle is left out");
    }
    if local::missing(engine.db.conn(), &bundled)?.is_empty() {
        return Ok(());
    }
    engine.write(Origin::Local, |engine| local::create_tables(&engine.db, &bundled))
}

/// Loads the schema stored in the file.
pub(crate) fn load_schema(engine: &mut Engine) -> Result<()> {
    if !know_schema(engine)? {
        return Ok(());
    }
    repair_triggers(engine)?;
    if app_trigger::is_any_raising(engine.db.conn(), &engine.schema)? {
        engine.write(Origin::Local, |engine| {
            app_trigger::set_aside_raising(engine.db.conn(), &engine.schema)
        })?;
    }
    search::mend_search(engine)
}

/// Reads the schema of the file, if it has one, without changing the file.
pub(crate) fn know_schema(engine: &mut Engine) -> Result<bool> {
    let Some(json) = engine.meta("manifest")? else { return Ok(false) };
    let manifest: Manifest = serde_json::from_str(&json).map_err(|error| {
        Error::Storage(crate::StorageFault::Corrupt(format!("the stored manifest: {error}")))
    })?;
    let mut catalogue = Catalogue::load(engine.db.conn())?;
    let mut schema = build::build(&manifest, &mut catalogue)?;
    catalogue.note_removed(&mut schema);
    schema.left_out = Arc::new(LeftOut::load(engine.db.conn())?);
    install(engine, Arc::new(schema));
    Ok(true)
}

/// Creates triggers again that are missing or differ from those of this release: another tool
/// may have dropped one, or an earlier release may have created it. A write without capture
/// would never be synced.
fn repair_triggers(engine: &mut Engine) -> Result<()> {
    let schema = Arc::clone(&engine.schema);
    for table in sorted(&schema) {
        let triggers = triggers_of(&engine.db, &schema, table)?;
        if !trigger::are_as(engine.db.conn(), table, &triggers)? {
            tracing::warn!(table = table.name, "triggers differ and are created again");
            engine.write(Origin::Local, |engine| {
                let conn = engine.db.conn();
                conn.execute_batch(&trigger::drop_all(table))?;
                triggers.iter().try_for_each(|sql| run(conn, table, sql))
            })?;
        }
    }
    engine.db.note_ours()
}

/// Makes a schema the current one everywhere.
pub(crate) fn install(engine: &mut Engine, mut schema: Arc<Schema>) {
    if !engine.policies.is_empty() {
        Arc::make_mut(&mut schema).set_policies(&engine.policies);
    }
    let size = schema.tables.keys().map(|number| number.0 + 1).max().unwrap_or(0);
    let mut tables = vec![None; usize::try_from(size).unwrap_or(0)];
    for table in schema.tables.values() {
        if let Some(slot) = usize::try_from(table.number.0).ok().and_then(|at| tables.get_mut(at)) {
            *slot = Some(Arc::new(guarded::guard(table, &schema)));
        }
    }
    engine.capture.state().tables = tables;
    engine.db.gate.set_synced(schema.by_name.keys().map(String::as_str));
    engine.queue.name_tables(&schema);
    engine.log.reload(&schema);
    engine.footprints.clear();
    engine.schema = schema;
}

fn take_over(engine: &mut Engine, chosen: &Chosen) -> Result<Adopted> {
    let (old, manifest) = (Arc::clone(&engine.schema), &chosen.manifest);
    let (mut catalogue, mut new) = numbered(engine.db.conn(), &old, manifest)?;
    catalogue.store(engine.db.conn(), &old)?;
    catalogue.note_removed(&mut new);
    new.left_out = Arc::new(chosen.left_out.clone());
    let new = Arc::new(new);
    let parked = missing::park(engine, &new)?;
    let mut adopted = Adopted { changed: true, parked, ..Adopted::default() };
    search::lay_search_aside(engine)?;
    change_tables(&engine.db, &old, &new, &mut adopted)?;
    let conn = engine.db.conn();
    local::create_tables(&engine.db, manifest)?;
    note_unfilled(conn, &adopted.gained)?;
    install(engine, Arc::clone(&new));
    create_triggers(&engine.db, &new)?;
    search::renew_search(engine)?;
    full_text::rebuild_stale(engine.db.conn())?;
    engine.db.note_ours()?;
    let filled = adopted.new_tables.iter().chain(adopted.gained.iter().map(|(table, _)| table));
    if filled.filter_map(|number| new.table(*number)).any(|table| table.sync == SyncModel::Log) {
        log::require_snapshot(engine.db.conn())?;
    }
    Ok(adopted)
}

/// Changes the synced tables to their new form.
fn change_tables(db: &Database, old: &Schema, new: &Schema, adopted: &mut Adopted) -> Result<()> {
    let _guard = db.gate.schema_change();
    let conn = db.conn();
    for table in old.tables.values() {
        conn.execute_batch(&trigger::drop_all(table))?;
    }
    for table in sorted(old) {
        if let Some(after) = new.named(&table.name) {
            change::drop_indexes(conn, table, after)?;
        } else {
            run(conn, table, &format!("DROP TABLE {}", quoted(&table.name)))?;
            adopted.dropped.push(table.name.clone());
        }
    }
    for table in sorted(new) {
        match (old.tables.get(&table.number), old.named(&table.name)) {
            (Some(before), _) => {
                let gained = change::alter(conn, before, table)?;
                if !gained.is_empty() {
                    adopted.gained.push((table.number, gained));
                }
            }
            (None, Some(before)) => {
                change::replace(conn, before, table, &[])?;
                adopted.new_tables.push(table.number);
            }
            (None, None) => {
                run(conn, table, &sql::create_table(table, &table.name))?;
                adopted.new_tables.push(table.number);
            }
        }
    }
    for table in sorted(new) {
        change::create_indexes(conn, table)?;
    }
    Ok(())
}

/// The schema of a manifest, with the table and column numbers of this file. A table with a new key
/// counts as a new table.
fn numbered(conn: &Connection, old: &Schema, manifest: &Manifest) -> Result<(Catalogue, Schema)> {
    let mut catalogue = Catalogue::load(conn)?;
    let new = build::build(manifest, &mut catalogue)?;
    let is_replaced = |table: &&Arc<Table>| {
        let before = old.tables.get(&table.number);
        before.is_some_and(|before| before.key_column().id != table.key_column().id)
    };
    let replaced: Vec<TableNumber> =
        new.tables.values().filter(is_replaced).map(|table| table.number).collect();
    if replaced.is_empty() {
        return Ok((catalogue, new));
    }
    let mut catalogue = Catalogue::load(conn)?;
    for table in replaced {
        catalogue.replace(table);
    }
    let new = build::build(manifest, &mut catalogue)?;
    Ok((catalogue, new))
}

/// In the order of numbers, so that the same manifest gives the same file.
fn sorted(schema: &Schema) -> Vec<&Arc<Table>> {
    let mut tables: Vec<_> = schema.tables.values().collect();
    tables.sort_by_key(|table| table.number);
    tables
}

/// Creates the triggers of all tables.
fn create_triggers(db: &Database, schema: &Schema) -> Result<()> {
    let _guard = db.gate.schema_change();
    for table in sorted(schema) {
        triggers_of(db, schema, table)?.iter().try_for_each(|sql| run(db.conn(), table, sql))?;
    }
    sorted(schema).into_iter().try_for_each(|table| trial::compile(db, table))
}

/// The statements of a table's triggers, with the columns that each CHECK reads according to
/// SQLite's compiler.
fn triggers_of(db: &Database, schema: &Schema, table: &Table) -> Result<Vec<String>> {
    let mut reads = vec![Vec::new(); table.rules.len()];
    for (position, rule) in table.rules.iter().enumerate() {
        if let Rule::Check { name, expression } = rule {
            reads[position] = columns_read(db, table, name, expression)?;
        }
    }
    Ok(trigger::create_all(table, schema, &|position| reads[position].clone()))
}

fn columns_read(db: &Database, table: &Table, name: &str, expression: &str) -> Result<Vec<String>> {
    db.gate.record();
    let sql = format!("SELECT 1 FROM {} WHERE NOT ({expression})", quoted(&table.name));
    let compiled = db.conn().prepare(&sql).map(drop);
    let footprint = db.gate.recorded();
    db.gate.take_refusal();
    compiled.map_err(|error| refused(&table.name, format!("CHECK {name}: {error}")))?;
    if footprint.reads.iter().any(|other| !other.eq_ignore_ascii_case(&table.name)) {
        return Err(refused(&table.name, format!("CHECK {name} reads another table")));
    }
    Ok(footprint.read_columns.into_iter().collect())
}
