//! The device's digest of a table, computed as on the server, and the hashes of its rows.
//!
//! A digest covers the base rows, without pending edits, so that synced peers agree regardless of
//! local writes. A `Scan` covers the rows that the app sees, a part at a time, so that it holds up no
//! writes: where it differs, `base_hash` compares a row without its pending edits.

use std::collections::{HashMap, HashSet};

use rejoin_protocol::ColumnKind;
use rejoin_protocol::digest::{self, Digest, covered};
use rejoin_protocol::limits::DIGEST_SLICES;

use crate::engine::Engine;
use crate::engine::database::OURS;
use crate::engine::rows::patch::RowKey;
use crate::engine::schema::model::Table;
use crate::engine::schema::sql::quoted;
use crate::error::{Error, InputFault, Result};
use crate::ids::TableNumber;
use crate::value::Value;

/// The digest of a synced table's base rows. Costs one scan of the table.
///
/// # Errors
/// `NotSynced` if there is no such synced table.
pub fn digest(engine: &Engine, table: &str) -> Result<Digest> {
    let found = engine
        .schema
        .named(table)
        .ok_or_else(|| Error::InvalidInput(InputFault::NotSynced(table.to_owned())))?;
    let cells = cells(engine, found)?;
    let touched: HashSet<RowKey> =
        engine.queue.rows().into_iter().filter(|row| row.table == found.number).collect();
    let mut digest = Digest::default();
    add_untouched(engine, found, &cells, &touched, &mut digest)?;
    let view = engine.queue_view();
    for row in &touched {
        if let Some(base) = view.base_row(row)? {
            digest.add(cells.iter().map(|(at, kind)| (&base[*at], *kind)));
        }
    }
    Ok(digest)
}

fn add_untouched(
    engine: &Engine,
    table: &Table,
    cells: &[(usize, ColumnKind)],
    touched: &HashSet<RowKey>,
    digest: &mut Digest,
) -> Result<()> {
    let sql = format!("{OURS}SELECT {} FROM {}", names(table), quoted(&table.name));
    let mut statement = engine.db.conn().prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key = RowKey { table: table.number, key: row.get(table.key)? };
        if touched.contains(&key) {
            continue;
        }
        let values: Vec<Value> =
            cells.iter().map(|(at, _)| row.get(*at)).collect::<rusqlite::Result<_>>()?;
        digest.add(values.iter().zip(cells.iter().map(|(_, kind)| *kind)));
    }
    Ok(())
}

/// The hash of a base row of either model; `None` if there is none.
pub(crate) fn base_hash(engine: &Engine, row: &RowKey) -> Result<Option<u64>> {
    let Some(table) = engine.schema.table(row.table) else { return Ok(None) };
    let cells = cells(engine, table)?;
    let base = engine.base_row(row)?;
    Ok(base.map(|base| digest::row_hash(cells.iter().map(|(at, kind)| (&base[*at], *kind)))))
}

/// Rows of a slice, on average.
const SLICE_ROWS: u64 = 1_000;

/// A scan of the rows of one table, in parts: the digests of its slices, and the hashes of the rows
/// of some of them.
#[derive(Debug)]
pub(crate) struct Scan {
    table: TableNumber,
    after: Option<Value>,
    /// The slices whose rows are collected.
    wanted: HashSet<u32>,
    /// The digests by slice.
    pub(crate) slices: Vec<Digest>,
    /// The hashes of the collected rows, by the text form of their keys.
    pub(crate) rows: HashMap<String, u64>,
}

impl Scan {
    /// A scan that divides the table into slices of about 1,000 rows.
    pub(crate) fn new(engine: &Engine, table: &Table) -> Result<Self> {
        let sql = format!("{OURS}SELECT count(*) FROM {}", quoted(&table.name));
        let conn = engine.db.conn();
        let rows: i64 = conn.query_row(&sql, [], |row| row.get(0))?;
        let slices = u64::try_from(rows).unwrap_or_default().div_ceil(SLICE_ROWS);
        let slices = slices.clamp(1, u64::from(DIGEST_SLICES));
        Ok(Self::over(table.number, usize::try_from(slices).unwrap_or(1), HashSet::new()))
    }

    fn over(table: TableNumber, slices: usize, wanted: HashSet<u32>) -> Self {
        let slices = vec![Digest::default(); slices];
        Self { table, after: None, wanted, slices, rows: HashMap::new() }
    }

    /// A scan of the same slices that also collects the rows of `wanted`.
    pub(crate) fn again(&self, wanted: HashSet<u32>) -> Self {
        Self::over(self.table, self.slices.len(), wanted)
    }

    /// The table.
    pub(crate) fn table<'e>(&self, engine: &'e Engine) -> Result<&'e Table> {
        let gone = || Error::Internal(String::from("a scan of a table that the schema lacks"));
        engine.schema.table(self.table).map(AsRef::as_ref).ok_or_else(gone)
    }

    /// Reads at most so many rows; returns whether there are more.
    pub(crate) fn step(&mut self, engine: &Engine, most: usize) -> Result<bool> {
        let table = self.table(engine)?;
        let cells = cells(engine, table)?;
        let (names, key) = (names(table), quoted(&table.key_column().name));
        let from = quoted(&table.name);
        let lower = if self.after.is_some() { "> ?1" } else { "IS NOT ?1" };
        let sql = format!(
            "{OURS}SELECT {names} FROM {from} WHERE {key} {lower} ORDER BY {key} LIMIT {most}"
        );
        let after = self.after.take().unwrap_or_default();
        let mut read = 0;
        let mut scan = |statement: &mut rusqlite::Statement<'_>| -> rusqlite::Result<()> {
            let mut rows = statement.query([&after])?;
            while let Some(row) = rows.next()? {
                let values = cells.iter().map(|(at, _)| row.get(*at));
                let values: Vec<Value> = values.collect::<rusqlite::Result<_>>()?;
                let key: Value = row.get(table.key)?;
                let kinds = cells.iter().map(|(_, kind)| *kind);
                self.add(&key, digest::row_hash(values.iter().zip(kinds)));
                self.after = Some(key);
                read += 1;
            }
            Ok(())
        };
        let conn = engine.db.conn();
        let mut statement = conn.prepare_cached(&sql)?;
        scan(&mut statement)?;
        Ok(read == most)
    }

    fn add(&mut self, key: &Value, hash: u64) {
        let Some(id) = key.to_id() else { return };
        let slice = digest::slice(&id, u32::try_from(self.slices.len()).unwrap_or(1));
        self.slices[slice as usize].add_hash(hash);
        if self.wanted.contains(&slice) {
            self.rows.insert(id, hash);
        }
    }
}

/// The columns of a row, in the table's order.
fn names(table: &Table) -> String {
    let names: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
    names.join(", ")
}

/// The positions of the digest's cells in the table, in manifest order.
fn cells(engine: &Engine, table: &Table) -> Result<Vec<(usize, ColumnKind)>> {
    let manifest = engine
        .schema
        .manifest
        .as_ref()
        .and_then(|ours| ours.tables.iter().find(|one| one.table_name == table.name))
        .ok_or_else(|| Error::InvalidInput(InputFault::NotSynced(table.name.clone())))?;
    covered(manifest)
        .into_iter()
        .map(|(at, kind)| {
            let name = &manifest.columns[at].name;
            let position = table.columns.iter().position(|column| column.name == *name);
            let missing = || Error::Internal(format!("column {name} of table {}", table.name));
            Ok((position.ok_or_else(missing)?, kind))
        })
        .collect()
}
