//! The cost of capturing a write together with the row.

use std::path::Path;

use anyhow::Result;
use rejoin_core::value::Value;
use rejoin_protocol::manifest::SyncModel;
use rusqlite::Connection;

use crate::measure::{Run, Sample, Variant, cpu};
use crate::powersync::{self, Tables};
use crate::{ours, raw};

/// The kind of write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Insert,
    Update,
    Delete,
}

/// The order of keys: spread over the table like UUIDv4, or ascending like UUIDv7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    Spread,
    Rising,
}

/// What a captured write is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Against {
    /// Plain SQLite.
    Plain,
    /// Plain SQLite, with a queue row in each transaction.
    Floor,
    PowerSync(Tables),
}

/// The measured workload.
struct Shape {
    per_transaction: usize,
    write: Write,
    keys: Keys,
    against: Against,
    /// The model of the table.
    sync: SyncModel,
}

const ONE: Shape = Shape {
    per_transaction: 1,
    write: Write::Insert,
    keys: Keys::Spread,
    against: Against::Floor,
    sync: SyncModel::Rows,
};
const MANY: Shape = Shape { per_transaction: 1_000, against: Against::Plain, ..ONE };

/// One row per transaction, against the minimum of any durable queue: the row and one small queue
/// row in one transaction.
pub(crate) const ONE_INSERT: Run = |variant, folder, count| each(variant, folder, count, &ONE);
/// The same for updates.
pub(crate) const ONE_UPDATE: Run =
    |variant, folder, count| each(variant, folder, count, &Shape { write: Write::Update, ..ONE });
/// The same for deletes.
pub(crate) const ONE_DELETE: Run =
    |variant, folder, count| each(variant, folder, count, &Shape { write: Write::Delete, ..ONE });
/// A thousand rows per transaction, against plain SQLite without a queue.
pub(crate) const THOUSAND_INSERTS: Run =
    |variant, folder, count| each(variant, folder, count, &MANY);
/// The same for updates.
pub(crate) const THOUSAND_UPDATES: Run =
    |variant, folder, count| each(variant, folder, count, &Shape { write: Write::Update, ..MANY });
/// The same for deletes.
pub(crate) const THOUSAND_DELETES: Run =
    |variant, folder, count| each(variant, folder, count, &Shape { write: Write::Delete, ..MANY });
/// The same with ascending keys, the best case of plain SQLite.
pub(crate) const THOUSAND_RISING: Run =
    |variant, folder, count| each(variant, folder, count, &Shape { keys: Keys::Rising, ..MANY });
/// One row of the log per transaction, against the same floor.
pub(crate) const LOG_INSERT: Run =
    |variant, folder, count| each(variant, folder, count, &Shape { sync: SyncModel::Log, ..ONE });
/// The same for updates.
pub(crate) const LOG_UPDATE: Run = |variant, folder, count| {
    let shape = Shape { write: Write::Update, sync: SyncModel::Log, ..ONE };
    each(variant, folder, count, &shape)
};
/// A thousand rows of the log per transaction, against plain SQLite.
pub(crate) const LOG_THOUSAND: Run =
    |variant, folder, count| each(variant, folder, count, &Shape { sync: SyncModel::Log, ..MANY });
/// A hundred rows per transaction, against plain SQLite; counted in instructions.
pub(crate) const HUNDRED_INSERTS: Run =
    |variant, folder, count| each(variant, folder, count, &Shape { per_transaction: 100, ..MANY });

/// The same writes, against PowerSync: one row per transaction.
pub(crate) const ONE_INSERT_RAW: Run =
    |variant, folder, count| each(variant, folder, count, &Shape { against: RAW, ..ONE });
pub(crate) const ONE_INSERT_VIEWS: Run =
    |variant, folder, count| each(variant, folder, count, &Shape { against: VIEWS, ..ONE });
pub(crate) const ONE_UPDATE_RAW: Run = |variant, folder, count| {
    each(variant, folder, count, &Shape { write: Write::Update, against: RAW, ..ONE })
};
pub(crate) const ONE_UPDATE_VIEWS: Run = |variant, folder, count| {
    each(variant, folder, count, &Shape { write: Write::Update, against: VIEWS, ..ONE })
};
/// All rows in one transaction.
pub(crate) const INSERTS_RAW: Run =
    |variant, folder, count| each(variant, folder, count, &Shape { against: RAW, ..ALL });
pub(crate) const INSERTS_VIEWS: Run =
    |variant, folder, count| each(variant, folder, count, &Shape { against: VIEWS, ..ALL });
pub(crate) const UPDATES_RAW: Run = |variant, folder, count| {
    each(variant, folder, count, &Shape { write: Write::Update, against: RAW, ..ALL })
};
pub(crate) const UPDATES_VIEWS: Run = |variant, folder, count| {
    each(variant, folder, count, &Shape { write: Write::Update, against: VIEWS, ..ALL })
};
pub(crate) const DELETES_RAW: Run = |variant, folder, count| {
    each(variant, folder, count, &Shape { write: Write::Delete, against: RAW, ..ALL })
};
pub(crate) const DELETES_VIEWS: Run = |variant, folder, count| {
    each(variant, folder, count, &Shape { write: Write::Delete, against: VIEWS, ..ALL })
};

const RAW: Against = Against::PowerSync(Tables::Raw);
const VIEWS: Against = Against::PowerSync(Tables::Views);
const ALL: Shape = Shape { per_transaction: usize::MAX, ..MANY };

impl Shape {
    fn row(&self, number: usize) -> [Value; 8] {
        match self.keys {
            Keys::Spread => ours::spread_row(number),
            Keys::Rising => ours::row(number),
        }
    }

    fn key(&self, number: usize) -> Value {
        match self.keys {
            Keys::Spread => raw::spread(number).into(),
            Keys::Rising => raw::key(number).into(),
        }
    }

    /// The statement and its parameters.
    fn statement(&self, number: usize) -> (&'static str, Vec<Value>) {
        match self.write {
            Write::Insert => (raw::INSERT, self.row(number).into()),
            Write::Update => {
                let count = i64::try_from(number + 1).unwrap_or(0);
                let title = format!("item number {number}, again");
                (raw::UPDATE, vec![title.into(), count.into(), self.key(number)])
            }
            Write::Delete => (raw::DELETE, vec![self.key(number)]),
        }
    }

    /// The rows that exist before.
    fn before(&self, count: usize) -> Vec<[Value; 8]> {
        let filled = if self.write == Write::Insert { 0 } else { count };
        (0..filled).map(|number| self.row(number)).collect()
    }
}

/// Rows and statements are prepared outside of the measurement.
fn each(variant: Variant, folder: &Path, count: usize, shape: &Shape) -> Result<Sample> {
    let path = folder.join("bench.db");
    let before = shape.before(count);
    let statements: Vec<_> = (0..count).map(|number| shape.statement(number)).collect();
    if variant == Variant::Ours {
        let mut engine = ours::open_in(&path, shape.sync)?;
        if !before.is_empty() {
            engine.transaction(|tx| {
                before.iter().try_for_each(|row| tx.execute(raw::INSERT, row).map(drop))
            })?;
        }
        let (sample, ()) = cpu(count, || {
            for together in statements.chunks(shape.per_transaction) {
                engine.transaction(|tx| {
                    together.iter().try_for_each(|(sql, values)| tx.execute(sql, values).map(drop))
                })?;
            }
            Ok(())
        })?;
        return Ok(sample);
    }
    let connection = match shape.against {
        Against::PowerSync(tables) => powersync::open(&path, tables)?,
        Against::Plain | Against::Floor => raw::open(&path)?,
    };
    raw::insert(&connection, &before)?;
    if shape.against == Against::Floor {
        connection.execute_batch(FLOOR)?;
    }
    let (sample, ()) = cpu(count, || {
        for (number, together) in statements.chunks(shape.per_transaction).enumerate() {
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            for (sql, values) in together {
                connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values))?;
            }
            if shape.against == Against::Floor {
                queue(&connection, number)?;
            }
            connection.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    })?;
    if matches!(shape.against, Against::PowerSync(_)) {
        powersync::check_queue(&connection, before.len() + count)?;
    }
    Ok(sample)
}

/// Inserts each row in a transaction of the floor.
pub(crate) fn inserts_with_queue(connection: &Connection, rows: &[[Value; 8]]) -> Result<()> {
    connection.execute_batch(FLOOR)?;
    for (number, row) in rows.iter().enumerate() {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        connection.prepare_cached(raw::INSERT)?.execute(rusqlite::params_from_iter(row))?;
        queue(connection, number)?;
        connection.prepare_cached("COMMIT")?.execute([])?;
    }
    Ok(())
}

/// The smallest durable queue: one row with a number and sixty bytes.
const FLOOR: &str = "CREATE TABLE queue (seq INTEGER PRIMARY KEY, id BLOB, effect BLOB)";

fn queue(connection: &Connection, number: usize) -> Result<()> {
    let id = (number as u128).to_le_bytes();
    raw::run(
        connection,
        "INSERT INTO queue (id, effect) VALUES (?, ?)",
        &[&id.as_slice(), &[7_u8; 60].as_slice()],
    )
}
