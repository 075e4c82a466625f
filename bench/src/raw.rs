//! The reference: the same table and rows in plain SQLite, with the engine's pragmas but without
//! the engine.

use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, ToSql, params_from_iter, types::Value};

/// The columns of the table used by every workload: a UUID key, text, integers, a real, a boolean,
/// a nullable text.
pub(crate) const COLUMNS: [&str; 8] =
    ["id", "title", "body", "count", "amount", "done", "note", "updated_at"];

/// The table without engine features.
pub(crate) const TABLE: &str =
    "CREATE TABLE item (id TEXT PRIMARY KEY, title TEXT, body TEXT, count INTEGER,
    amount REAL, done INTEGER, note TEXT, updated_at TEXT)";

/// Opens a file with the table and the engine's settings.
pub(crate) fn open(path: &Path) -> Result<Connection> {
    let connection = connect(path)?;
    connection.execute_batch(TABLE)?;
    Ok(connection)
}

/// Opens an empty file with the engine's settings.
pub(crate) fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "recursive_triggers", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    // As in the engine, checkpoints are not made by the writer.
    connection.pragma_update(None, "wal_autocheckpoint", 16_000)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// The row with this number. Keys sort like the numbers, like UUIDv7 keys created in this order.
pub(crate) fn row(number: usize) -> [Value; 8] {
    keyed(key(number), number)
}

/// The row with this number under another key.
pub(crate) fn keyed(key: String, number: usize) -> [Value; 8] {
    [
        Value::Text(key),
        Value::Text(format!("item number {number}")),
        Value::Text(format!("the body of item {number}, which is a sentence of ordinary length")),
        Value::Integer(i64::try_from(number).unwrap_or(0)),
        Value::Real(number as f64 * 1.25),
        Value::Integer(i64::from(number.is_multiple_of(2))),
        if number.is_multiple_of(3) { Value::Null } else { Value::Text("noted".to_owned()) },
        Value::Text("2026-11-20T08:00:00.000000Z".to_owned()),
    ]
}

/// The key with this number: a UUID.
pub(crate) fn key(number: usize) -> String {
    format!("01900000-0000-7000-8000-{number:012x}")
}

/// The key with this number as a UUIDv4: spread over the table.
pub(crate) fn spread(number: usize) -> String {
    let mut bits = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (bits >> 31);
    let text = format!("{bits:016x}");
    format!("{}-{}-4{}-8000-{number:012x}", &text[..8], &text[8..12], &text[13..16])
}

/// `INSERT` of a whole row.
pub(crate) const INSERT: &str = "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
/// `UPDATE` of two columns.
pub(crate) const UPDATE: &str = "UPDATE item SET title = ?, count = ? WHERE id = ?";
/// `DELETE` of a row.
pub(crate) const DELETE: &str = "DELETE FROM item WHERE id = ?";

/// Fills the table with the first `count` rows, in one transaction.
pub(crate) fn fill(connection: &Connection, count: usize) -> Result<()> {
    let rows: Vec<_> = (0..count).map(crate::ours::row).collect();
    insert(connection, &rows)
}

/// Inserts prepared rows in one transaction.
pub(crate) fn insert(
    connection: &Connection,
    rows: &[[rejoin_core::value::Value; 8]],
) -> Result<()> {
    connection.execute_batch("BEGIN")?;
    let mut insert = connection.prepare_cached(INSERT)?;
    for row in rows {
        insert.execute(params_from_iter(row))?;
    }
    Ok(connection.execute_batch("COMMIT")?)
}

/// Runs a cached statement.
pub(crate) fn run(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<()> {
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}
