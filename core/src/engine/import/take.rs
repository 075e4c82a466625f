//! Imports in one transaction: rows into the base where no server has filled it, unsent edits into
//! the queue.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rejoin_protocol::time;

use super::file::OldFile;
use super::mapping::{ConvertedRow, Mapping};
use super::order::in_order;
use super::plan::{self, UnsentEdit};
use super::read::{Operation, SynchroEntry};
use super::{ImportedTable, LeftOut, SynchroImport};
use crate::engine::Engine;
use crate::engine::capture::compose::Recorded;
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::queue::{self, NewMutation, Staged, store};
use crate::engine::rebase::import;
use crate::engine::rows::apply::RowWriter;
use crate::engine::rows::encode;
use crate::engine::rows::patch::{Effect, RowKey};
use crate::engine::rows::undo::{Undo, UndoRow};
use crate::error::{Error, Result, StorageFault};
use crate::ids::Seq;
use crate::value::Value;

/// Metadata key of what was imported from old files, so that nothing is imported twice.
const TAKEN: &str = "synchro_taken";

/// Whether the server's rows have been synced; `rows::fact` writes it.
const FIRST_SYNC: &str = "first_sync";

/// The contents of the old file, converted.
struct Found {
    mappings: Vec<Mapping>,
    edits: Vec<UnsentEdit>,
    /// Rows that no server has: not for the base.
    made_here: HashSet<RowKey>,
    report: SynchroImport,
}

/// Imports the rows and unsent edits of an old file in one transaction; a second call imports
/// only what is new. Works offline.
///
/// # Errors
/// `Refused` if no schema is known yet, `Corrupt` for a damaged file, those of writing ours:
/// nothing was imported.
pub(crate) fn import_synchro(engine: &mut Engine, old: &OldFile) -> Result<SynchroImport> {
    if engine.schema.manifest.is_none() {
        return Err(old.refused(
            "the synced tables are not known yet: bundle a schema, or wait for the first sync, and import then",
        ));
    }
    let mut imported = imported(engine)?;
    let mut found = look(engine, old, &imported)?;
    let edits = std::mem::take(&mut found.edits);
    let found_ref = &mut found;
    engine.write_with(Origin::Local, Triggers::MayRest, |engine| {
        if engine.meta(FIRST_SYNC)?.is_none() {
            take_rows(engine, old, found_ref, &edits)?;
        }
        take_edits(engine, found_ref, &edits)?;
        imported.extend(edits.iter().map(|edit| edit.fingerprint.clone()));
        let json =
            serde_json::to_string(&imported).map_err(|error| Error::Internal(error.to_string()))?;
        engine.set_meta(TAKEN, Some(&json))
    })?;
    // The import is committed: edits that cannot be completed now are completed before the next
    // push.
    if let Err(error) = import::settle_all(engine) {
        tracing::warn!(%error, "imported edits are not settled yet");
    }
    found.report.awaiting = engine.queue.awaiting().len() as u64;
    Ok(found.report)
}

fn imported(engine: &Engine) -> Result<HashSet<String>> {
    let Some(json) = engine.meta(TAKEN)? else { return Ok(HashSet::new()) };
    serde_json::from_str(&json)
        .map_err(|error| Error::Storage(StorageFault::Corrupt(format!("fact {TAKEN}: {error}"))))
}

/// Reads the old tables and the queue, and converts each entry.
fn look(engine: &Engine, old: &OldFile, imported: &HashSet<String>) -> Result<Found> {
    let mut report = SynchroImport::default();
    let (mut mappings, mut places) = (Vec::new(), HashMap::new());
    let mut missing = BTreeMap::new();
    for table in old.tables()? {
        match Mapping::of(&table, &engine.schema) {
            Ok(mapping) => {
                report.tables.push(ImportedTable {
                    name: mapping.table.name.clone(),
                    columns_left_out: mapping.left_out.clone(),
                    ..ImportedTable::default()
                });
                places.insert(table.name, mappings.len());
                mappings.push(mapping);
            }
            Err(why) => drop(missing.insert(table.name, (0, why))),
        }
    }
    let mut found = Found { mappings, edits: Vec::new(), made_here: HashSet::new(), report };
    for entry in old.entries()? {
        if let Some(at) = places.get(&entry.table) {
            convert_entry(engine, old, &entry, *at, imported, &mut found)?;
        } else {
            let gone = || (0, String::from("it is not in the old file"));
            missing.entry(entry.table).or_insert_with(gone).0 += 1;
        }
    }
    for (table, (unsent, why)) in missing {
        found.report.left_out.push(LeftOut { table, record_id: None, unsent, reason: why });
    }
    Ok(found)
}

fn convert_entry(
    engine: &Engine,
    old: &OldFile,
    entry: &SynchroEntry,
    at: usize,
    imported: &HashSet<String>,
    found: &mut Found,
) -> Result<()> {
    engine.db.awake()?;
    let mapping = &found.mappings[at];
    let values = old.row(&mapping.old_name, &mapping.columns, &mapping.key, &entry.record_id)?;
    let image = values.and_then(|values| mapping.image(values));
    let known = |image: &ConvertedRow| engine.base_row(&image.row).is_ok_and(|row| row.is_some());
    let decided = plan::decide(entry, mapping, image.as_ref(), known);
    if let Some(image) = &image
        && (decided == Ok(Operation::Create) || entry.operation == Some(Operation::Create))
    {
        found.made_here.insert(image.row.clone());
    }
    let fingerprint = entry.fingerprint();
    match (decided, image) {
        _ if imported.contains(&fingerprint) => found.report.taken_before += 1,
        (Ok(does), Some(image)) => found.edits.push(UnsentEdit {
            mapping: at,
            does,
            image,
            base: entry.base.clone(),
            time: entry.time.clone(),
            fingerprint,
        }),
        (Ok(_), None) => {}
        (Err(why), _) => found.report.left_out.push(LeftOut {
            table: entry.table.clone(),
            record_id: Some(entry.record_id.clone()),
            unsent: 1,
            reason: why,
        }),
    }
    Ok(())
}

/// Writes the old rows to the base, as if a server had sent them; the first sync replaces them.
/// A row that exists, or has a pending mutation, stays unchanged.
fn take_rows(
    engine: &mut Engine,
    old: &OldFile,
    found: &mut Found,
    edits: &[UnsentEdit],
) -> Result<()> {
    let edited: HashMap<&RowKey, &UnsentEdit> =
        edits.iter().map(|edit| (&edit.image.row, edit)).collect();
    let schema = Arc::clone(&engine.schema);
    let shared = engine.queue.states();
    let states = shared.read();
    let mut rows = RowWriter::new(engine.db.conn(), &schema);
    for (at, mapping) in found.mappings.iter().enumerate() {
        let mut count = 0;
        old.each_row(&mapping.old_name, &mapping.columns, |values| {
            engine.db.awake()?;
            let Some(mut image) = mapping.image(values) else { return Ok(()) };
            match edited.get(&image.row) {
                Some(edit) if edit.does == Operation::Delete => {
                    image.set(mapping.table.deleted_at, Value::Null);
                }
                Some(edit) => {
                    if let Some(base) = &edit.base {
                        image.set(mapping.table.updated_at, Value::from(base.as_str()));
                    }
                }
                None => {}
            }
            let waits = !states.at(image.row.table, &image.row.key).is_empty();
            if found.made_here.contains(&image.row)
                || waits
                || mapping.is_deleted(&image)
                || rows.read_columns(&image.row, &[])?.is_some()
            {
                return Ok(());
            }
            let (positions, values): (Vec<usize>, Vec<&Value>) =
                image.known(mapping.table.key).unzip();
            count += 1;
            rows.put(&image.row, &positions, values.into_iter())
        })?;
        engine.touched.table(&mapping.table.name);
        found.report.tables[at].rows = count;
    }
    Ok(())
}

/// Appends the edits in order; edits with unknown values await the server's rows.
fn take_edits(engine: &mut Engine, found: &mut Found, edits: &[UnsentEdit]) -> Result<()> {
    let places: Vec<_> =
        edits.iter().map(|edit| edit.place(&found.mappings[edit.mapping])).collect();
    let mut awaiting = engine.queue.awaiting().clone();
    for at in in_order(&places) {
        engine.db.awake()?;
        let edit = &edits[at];
        let seq = take_edit(engine, &found.mappings[edit.mapping], edit)?;
        let table = &mut found.report.tables[edit.mapping];
        match edit.does {
            Operation::Create => table.creates += 1,
            Operation::Update => table.updates += 1,
            Operation::Delete => table.deletes += 1,
        }
        if edit.does != Operation::Create {
            awaiting.insert(seq, edit.base.clone());
        }
    }
    store::write_awaiting(engine.db.conn(), &awaiting)?;
    engine.queue.stage(Staged::Awaiting(awaiting));
    if !edits.is_empty() {
        engine.touched.queue();
    }
    Ok(())
}

fn take_edit(engine: &mut Engine, mapping: &Mapping, edit: &UnsentEdit) -> Result<Seq> {
    let schema = Arc::clone(&engine.schema);
    let version = schema.manifest.as_ref().map_or(0, |manifest| manifest.schema_version);
    let patch = edit.patch(mapping);
    let conn = engine.db.conn();
    let before = RowWriter::new(conn, &schema).apply_patch(&patch)?;
    let row = patch.row.clone();
    let undo = Undo {
        rows: before.map(|before| UndoRow { row: row.clone(), before }).into_iter().collect(),
    };
    let kind = patch.kind;
    let effect = Effect { schema_version: version, rows: vec![patch] };
    let undo = (!undo.is_of(&effect)).then(|| undo.encode());
    let recorded = Recorded { effect: encode::encode(&effect), rows: [(row.clone(), kind)].into() };
    // Keeps its age, but never a time in the future, which would compare as the newest.
    let written = time::parse(&edit.time).map(|micros| micros / 1_000);
    let new = NewMutation::plain(recorded);
    let place = engine.queue.place(&*engine.host);
    let seq = queue::append_at(conn, &mut engine.queue, place, &new, written)?;
    store::set_undo(conn, seq, undo.as_deref())?;
    engine.touched.row(&mapping.table.name, row.key);
    Ok(seq)
}
