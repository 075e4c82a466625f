//! Chooses what of a manifest this device adopts: it leaves out what it cannot build, and names that the
//! app uses itself.

use std::collections::{BTreeSet, HashSet};

use rejoin_protocol::Manifest;
use rejoin_protocol::admit::{self, Misfit, Part};
use rejoin_protocol::manifest::TableManifest;
use rusqlite::Connection;

use super::{numbered, sorted};
use crate::engine::Engine;
use crate::engine::schema::build::refused;
use crate::engine::schema::left_out::{LeftOut, LeftOutPart};
use crate::engine::schema::model::Schema;
use crate::engine::schema::{local, trial};
use crate::error::{Error, Result};

/// A manifest without what this device cannot build.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) manifest: Manifest,
    pub(super) left_out: LeftOut,
}

impl Chosen {
    /// Whether the manifest has this table.
    pub(super) fn has(&self, table: &str) -> bool {
        self.manifest.tables.iter().any(|other| other.table_name == table)
    }

    /// Leaves these parts out; `waits` if they wait for the app.
    fn leave_out(&mut self, mut misfits: Vec<Misfit>, waits: bool) {
        for misfit in &mut misfits {
            if matches!(misfit.part, Part::Column(_)) {
                misfit.part = Part::Table;
            }
        }
        let mut whole = HashSet::new();
        misfits.retain(|misfit| misfit.part != Part::Table || whole.insert(misfit.table.clone()));
        for Misfit { table, part, why } in &misfits {
            let mut tables = self.manifest.tables.iter();
            let Some(declared) = tables.find(|other| other.table_name == *table) else { continue };
            let part = part.describe(declared);
            if waits {
                self.left_out.waiting.insert((table.clone(), part.clone()));
            }
            let (table, reason) = (table.clone(), why.clone());
            self.left_out.parts.push(LeftOutPart { table, part, reason });
        }
        admit::leave_out(&mut self.manifest.tables, &misfits);
    }
}

/// Chooses what this device adopts of a manifest. `out` is left out in any case.
///
/// # Errors
/// `SchemaRefused` if no table is left, or the manifest is too large.
pub(super) fn choose(engine: &Engine, served: &Manifest, out: &[Misfit]) -> Result<Chosen> {
    let first = served.tables.first().map_or("", |table| &table.table_name);
    let json = serde_json::to_string(served);
    let bytes = json.map_err(|error| Error::Internal(error.to_string()))?.len();
    admit::check_size(served, bytes).map_err(|why| refused(first, why))?;
    let mut chosen = Chosen { manifest: served.clone(), left_out: LeftOut::default() };
    chosen.leave_out(out.to_vec(), false);
    loop {
        let mut misfits = admit::misfits(&chosen.manifest.tables);
        let mut waits = false;
        if misfits.is_empty() {
            misfits = clashes(engine.db.conn(), &engine.schema, &chosen.manifest.tables)?;
            waits = !misfits.is_empty();
        }
        if misfits.is_empty() {
            misfits = unbuildable(engine, &chosen.manifest)?;
        }
        if misfits.is_empty() {
            break;
        }
        chosen.leave_out(misfits, waits);
    }
    chosen.left_out.forget_parts_of_tables();
    let parts = &chosen.left_out.parts;
    let has_synced = |manifest: &Manifest| manifest.synced().next().is_some();
    match parts.first() {
        Some(part) if has_synced(served) && !has_synced(&chosen.manifest) => {
            return Err(refused(&part.table, part.reason.as_str()));
        }
        Some(_) => {
            let is_concerned =
                |table: &&TableManifest| parts.iter().any(|part| part.table == table.table_name);
            chosen.left_out.tables = served.tables.iter().filter(is_concerned).cloned().collect();
            chosen.left_out.release = String::from(env!("CARGO_PKG_VERSION"));
        }
        None => {}
    }
    Ok(chosen)
}

/// The new tables and indexes among these whose names the app uses.
fn clashes(conn: &Connection, schema: &Schema, tables: &[TableManifest]) -> Result<Vec<Misfit>> {
    let taken = local::names_of_the_app(conn, schema)?;
    let mut out = Vec::new();
    for table in tables {
        let extension = table.rejoin.as_ref();
        if extension.is_some_and(|extension| extension.local_only) {
            continue;
        }
        let name = &table.table_name;
        let is_new = schema.named(name).is_none();
        if let Some(why) = if is_new { local::clash(conn, name, &taken)? } else { None } {
            let (table, why) = (name.clone(), why.to_owned());
            out.push(Misfit { table, part: Part::Table, why });
            continue;
        }
        let indexes = extension.iter().flat_map(|extension| &extension.indexes).enumerate();
        for (at, _) in indexes.filter(|(_, index)| taken.contains(&index.name.to_ascii_lowercase()))
        {
            let why = "the app has created a table, view or index with the name of the index; rename or drop it";
            out.push(Misfit { table: name.clone(), part: Part::Index(at), why: why.to_owned() });
        }
    }
    Ok(out)
}

/// What of a manifest that passed [`admit`] cannot be built in this file.
///
/// # Errors
/// `SchemaRefused` if the file has had too many columns.
fn unbuildable(engine: &Engine, manifest: &Manifest) -> Result<Vec<Misfit>> {
    let old = &engine.schema;
    let (catalogue, mut new) = numbered(engine.db.conn(), old, manifest)?;
    catalogue.check_size(manifest.tables.first().map_or("", |table| &table.table_name))?;
    catalogue.note_removed(&mut new);
    let mut out = Vec::new();
    for table in sorted(&new) {
        // Pending work of the other model could not be sent.
        if old.named(&table.name).is_some_and(|before| before.sync != table.sync) {
            let why = "it changes between rows and log; give the table another name";
            let (table, why) = (table.name.clone(), why.to_owned());
            out.push(Misfit { table, part: Part::Table, why });
        } else if old.tables.get(&table.number) != Some(table)
            && let Some(declared) = manifest.synced().find(|other| other.table_name == table.name)
        {
            out.extend(trial::misfits(&engine.db, declared, table)?);
        }
    }
    Ok(out)
}

/// Whether a part that is left out may be adopted now: the app has dropped or renamed its own object, or
/// another release has left it out.
pub(crate) fn may_return(engine: &Engine) -> Result<bool> {
    let left_out = &engine.schema.left_out;
    if left_out.parts.is_empty() {
        return Ok(false);
    }
    if left_out.release != env!("CARGO_PKG_VERSION") {
        return Ok(true);
    }
    if left_out.waiting.is_empty() {
        return Ok(false);
    }
    let still = clashes(engine.db.conn(), &engine.schema, &left_out.tables)?;
    let still: BTreeSet<(String, String)> = (left_out.tables.iter())
        .flat_map(|table| {
            let of_table = still.iter().filter(|misfit| misfit.table == table.table_name);
            of_table.map(|misfit| (misfit.table.clone(), misfit.part.describe(table)))
        })
        .collect();
    Ok(!left_out.waiting.is_subset(&still))
}
