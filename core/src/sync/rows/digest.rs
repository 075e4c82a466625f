//! The device's digest of a table, computed as on the server.
//!
//! It covers the base rows, without pending edits, so that synced peers agree regardless of local
//! writes.

use std::collections::HashSet;

use rejoin_protocol::ColumnKind;
use rejoin_protocol::digest::{Digest, covered};

use crate::engine::Engine;
use crate::engine::database::{OURS, fault};
use crate::engine::rows::patch::RowKey;
use crate::engine::schema::model::Table;
use crate::error::{Error, InputFault, Result};
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
    for row in &touched {
        if let Some(base) = engine.base_row(row)? {
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
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let names: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
    let sql = format!("{OURS}SELECT {} FROM {}", names.join(", "), quoted(&table.name));
    let mut scan = |statement: &mut rusqlite::Statement<'_>| -> rusqlite::Result<()> {
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
    };
    engine
        .db
        .conn()
        .prepare_cached(&sql)
        .and_then(|mut statement| scan(&mut statement))
        .map_err(fault::of)
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
