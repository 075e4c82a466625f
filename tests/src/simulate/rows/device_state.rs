//! The state of a device: its rows as the app sees them, the base, the queue, and the check that
//! base plus queue give the rows.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_core::engine::Engine;
use rejoin_core::engine::queue::mutation::{Mutation, MutationState};
use rejoin_core::engine::rows::patch::{PatchKind, RowKey, RowPatch};
use rejoin_core::engine::schema::model::{Schema, Table};
use rejoin_core::value::Value;

use super::history::{Name, Row, Rows};
use super::mutations::ActionCall;
use super::mutations::Cell;
use crate::backend::text;
use crate::simulate::{Checked, Failure, broken};

/// The invariant of [`DeviceState::check_view`].
const BASE: &str = "view-is-base-plus-pending";

/// The present state of a device.
#[derive(Debug, Clone, Default)]
pub(super) struct DeviceState {
    pub(super) view: Rows,
    pub(super) base: Rows,
    pub(super) queue: Vec<Mutation>,
}

/// Reads the state of a device.
pub(super) fn read(engine: &mut Engine) -> Checked<DeviceState> {
    let schema = engine.schema().clone();
    let queue = engine.pending().map_err(|error| format!("the queue: {error}"))?;
    let mut tables: Vec<_> = schema.tables.values().cloned().collect();
    tables.sort_by_key(|table| table.number);
    let view = engine.transaction(|tx| {
        let mut view = Rows::new();
        for table in &tables {
            let names: Vec<String> =
                table.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
            let sql = format!("SELECT {} FROM {}", names.join(", "), table.name);
            for row in tx.query(&sql, &[], |row| row_of(table, |at| row.get(at)))? {
                view.insert((table.name.clone(), row["id"].clone()), row);
            }
        }
        Ok(view)
    });
    let view = view.map_err(|error| format!("the rows: {error}"))?;
    let mut base = Rows::new();
    let edited = queue.iter().flat_map(|one| &one.effect.rows);
    let edited: BTreeSet<Name> = edited.filter_map(|patch| name(&schema, patch)).collect();
    for (name, row) in view.iter().filter(|(name, _)| !edited.contains(*name)) {
        base.insert(name.clone(), row.clone());
    }
    for name in edited {
        let Some(table) = schema.named(&name.0) else { continue };
        let key = RowKey { table: table.number, key: Value::from(name.1.as_str()) };
        let row = engine.base_row(&key).map_err(|error| format!("the base: {error}"))?;
        if let Some(row) = row {
            let cells = row_of(table, |at| Ok(row[at].clone()));
            base.insert(name, cells.map_err(|error| error.to_string())?);
        }
    }
    Ok(DeviceState { view, base, queue })
}

fn row_of(table: &Table, cell: impl Fn(usize) -> rusqlite::Result<Value>) -> rusqlite::Result<Row> {
    let mut row = Row::new();
    for (at, column) in table.columns.iter().enumerate() {
        row.extend(text(&cell(at)?).map(|text| (column.name.clone(), text)));
    }
    Ok(row)
}

/// The name of a patch's row. A removed table has no rows.
pub(super) fn name(schema: &Schema, patch: &RowPatch) -> Option<Name> {
    let table = schema.tables.get(&patch.row.table)?;
    Some((table.name.clone(), patch.row.key.as_text()?.to_owned()))
}

/// The columns that a patch changed, with their new values; all columns for an insert.
pub(super) fn written(schema: &Schema, patch: &RowPatch) -> Vec<(String, Option<String>)> {
    let Some(table) = schema.table(patch.row.table) else { return Vec::new() };
    let changed =
        patch.columns.iter().filter(|one| patch.kind == PatchKind::Insert || one.is_change());
    changed
        .filter_map(|one| {
            let column = table.columns.iter().find(|column| column.id == one.column)?;
            Some((column.name.clone(), text(&one.new)))
        })
        .collect()
}

/// All that a mutation wrote: row, column, new value.
pub(super) fn cells(schema: &Schema, one: &Mutation) -> Vec<Cell> {
    let rows = one.effect.rows.iter().filter_map(|patch| Some((name(schema, patch)?, patch)));
    rows.flat_map(|(name, patch)| {
        let cells = written(schema, patch).into_iter();
        cells.map(move |(column, value)| (name.clone(), column, value))
    })
    .collect()
}

impl DeviceState {
    /// Checks that the app sees the base with all pending mutations applied, actions run again;
    /// computed without the engine.
    pub(super) fn check_view(
        &self,
        schema: &Schema,
        call: impl Fn(&Mutation) -> Option<ActionCall>,
    ) -> Checked {
        let mut rows = self.base.clone();
        let (mut unknown, mut marked) = (BTreeSet::new(), Vec::new());
        for one in self.queue.iter().filter(|one| one.state != MutationState::Parked) {
            let call = call(one).filter(|_| one.state == MutationState::Pending);
            if let Some(ActionCall::CopyNumber(id, _) | ActionCall::Vouch(id, ..)) = &call {
                marked.push((one, ("marks".to_owned(), id.clone())));
            }
            match call {
                // Its reads are unknown, and so are its writes.
                Some(call) if unknown.contains(&call.reads()) => {
                    apply_recorded(&mut rows, schema, one, &mut unknown);
                    unknown.extend(call.writes());
                }
                Some(call) => {
                    call.run(&mut rows, schema, one).map_err(|why| not_runnable(one, &why))?;
                }
                None => apply_recorded(&mut rows, schema, one, &mut unknown),
            }
        }
        if rows == self.view {
            return Ok(());
        }
        let is_gone = |name: &Name| {
            rows.contains_key(name) && !unknown.contains(name) && !self.view.contains_key(name)
        };
        if let Some((one, _)) = marked.iter().find(|(_, name)| is_gone(name)) {
            return Err(not_runnable(one, "there is no mark"));
        }
        let differs =
            |name: &&Name| !unknown.contains(*name) && rows.get(*name) != self.view.get(*name);
        let names: BTreeSet<&Name> = rows.keys().chain(self.view.keys()).collect();
        match names.iter().find(|name| differs(name)) {
            None => Ok(()),
            Some(name) => broken!(
                BASE,
                "{name:?} is {:?}, and base with mutations is {:?} (base {:?})",
                self.view.get(*name),
                rows.get(*name),
                self.base.get(*name)
            ),
        }
    }
}

/// Applies a mutation as it was recorded.
pub(super) fn apply_recorded(
    rows: &mut Rows,
    schema: &Schema,
    one: &Mutation,
    unknown: &mut BTreeSet<Name>,
) {
    for patch in &one.effect.rows {
        let Some(name) = name(schema, patch) else { continue };
        match (patch.kind, rows.contains_key(&name)) {
            (PatchKind::Delete, _) => drop(rows.remove(&name)),
            // A policy may resurrect the row with what it has stored of it: actions find a row of
            // unknown content.
            (PatchKind::Update, false) => {
                rows.insert(name.clone(), key_only_row(&name));
                unknown.insert(name);
            }
            (PatchKind::Insert, false) | (_, true) => {
                let row = rows.entry(name.clone()).or_insert_with(|| key_only_row(&name));
                for (column, value) in written(schema, patch) {
                    put(row, &column, value);
                }
            }
        }
    }
}

/// A pending action that cannot run on these rows.
fn not_runnable(one: &Mutation, why: &str) -> Failure {
    Failure::Invariant(BASE, format!("{} still waits, and {why}", one.id))
}

fn key_only_row(name: &Name) -> Row {
    BTreeMap::from([("id".to_owned(), name.1.clone())])
}

/// Puts a value into a cell.
pub(super) fn put(row: &mut Row, column: &str, value: Option<String>) {
    match value {
        Some(value) => drop(row.insert(column.to_owned(), value)),
        None => drop(row.remove(column)),
    }
}
