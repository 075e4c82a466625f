//! What it costs that a write is recorded with the row.

use std::path::Path;

use anyhow::Result;
use rejoin_core::value::Value;
use rusqlite::Connection;

use crate::measure::{Run, Sample, Variant, cpu};
use crate::{ours, raw};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Insert,
    Update,
    Delete,
}

/// One row a transaction, against the floor of any durable queue: the row and one small queue row in one transaction.
pub(crate) const ONE_INSERT: Run =
    |variant, folder, count| one(variant, folder, count, Write::Insert);
/// The same for updates.
pub(crate) const ONE_UPDATE: Run =
    |variant, folder, count| one(variant, folder, count, Write::Update);
/// The same for deletes.
pub(crate) const ONE_DELETE: Run =
    |variant, folder, count| one(variant, folder, count, Write::Delete);

fn one(variant: Variant, folder: &Path, count: usize, write: Write) -> Result<Sample> {
    each(variant, folder, count, 1, write, true)
}

/// A thousand rows a transaction, against plain SQLite without any queue.
pub(crate) const THOUSAND_INSERTS: Run =
    |variant, folder, count| each(variant, folder, count, 1_000, Write::Insert, false);
/// The same for updates.
pub(crate) const THOUSAND_UPDATES: Run =
    |variant, folder, count| each(variant, folder, count, 1_000, Write::Update, false);
/// The same for deletes.
pub(crate) const THOUSAND_DELETES: Run =
    |variant, folder, count| each(variant, folder, count, 1_000, Write::Delete, false);
/// A hundred rows a transaction, against plain SQLite; counted in instructions.
pub(crate) const HUNDRED_INSERTS: Run =
    |variant, folder, count| each(variant, folder, count, 100, Write::Insert, false);

fn each(
    variant: Variant,
    folder: &Path,
    count: usize,
    per_transaction: usize,
    write: Write,
    floor: bool,
) -> Result<Sample> {
    let path = folder.join("bench.db");
    let filled = if write == Write::Insert { 0 } else { count };
    if variant == Variant::Ours {
        let mut engine = ours::open(&path)?;
        if filled > 0 {
            engine.transaction(|tx| {
                (0..filled)
                    .try_for_each(|number| tx.execute(raw::INSERT, &ours::row(number)).map(drop))
            })?;
        }
        let (sample, ()) = cpu(count, || {
            for first in (0..count).step_by(per_transaction) {
                engine.transaction(|tx| {
                    for number in first..(first + per_transaction).min(count) {
                        match write {
                            Write::Insert => tx.execute(raw::INSERT, &ours::row(number))?,
                            Write::Update => tx.execute(raw::UPDATE, &update(number))?,
                            Write::Delete => tx.execute(raw::DELETE, &[raw::key(number).into()])?,
                        };
                    }
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        return Ok(sample);
    }
    let connection = raw::open(&path)?;
    raw::fill(&connection, filled)?;
    if floor {
        connection.execute_batch(FLOOR)?;
    }
    let (sample, ()) = cpu(count, || {
        for first in (0..count).step_by(per_transaction) {
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            for number in first..(first + per_transaction).min(count) {
                write_raw(&connection, write, number)?;
            }
            if floor {
                queue(&connection, first)?;
            }
            connection.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    })?;
    Ok(sample)
}

/// The smallest durable queue: one row with a number and sixty bytes.
const FLOOR: &str =
    "CREATE TABLE queue (seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB, effect BLOB)";

fn queue(connection: &Connection, number: usize) -> Result<()> {
    let id = (number as u128).to_le_bytes();
    raw::run(
        connection,
        "INSERT INTO queue (id, effect) VALUES (?, ?)",
        &[&id.as_slice(), &[7_u8; 60].as_slice()],
    )
}

fn write_raw(connection: &Connection, write: Write, number: usize) -> Result<()> {
    match write {
        Write::Insert => {
            connection
                .prepare_cached(raw::INSERT)?
                .execute(rusqlite::params_from_iter(ours::row(number)))?;
            Ok(())
        }
        Write::Update => {
            connection
                .prepare_cached(raw::UPDATE)?
                .execute(rusqlite::params_from_iter(update(number)))?;
            Ok(())
        }
        Write::Delete => raw::run(connection, raw::DELETE, &[&raw::key(number)]),
    }
}

fn update(number: usize) -> [Value; 3] {
    let count = i64::try_from(number + 1).unwrap_or(0);
    [format!("item number {number}, again").into(), count.into(), raw::key(number).into()]
}
