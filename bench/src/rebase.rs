//! The cost of pending mutations when remote rows arrive.

use std::path::Path;

use anyhow::{Result, ensure};
use rejoin_core::engine::Engine;
use rejoin_core::value::Value;

use crate::action::set_counts;
use crate::apply::{changed, pages};
use crate::measure::{Run, Sample, Variant, cpu};
use crate::{ours, raw};

/// Rows in the table.
pub(crate) const TABLE: usize = 20_000;
/// Pending mutations.
const PENDING: usize = 1_000;
/// Rows of the remote batch.
const REMOTE: usize = 1_000;

/// 1,000 pending mutations and a batch that overlaps none of them, against the same batch without
/// pending mutations.
pub(crate) const NONE_MET: Run = |variant, folder, _| {
    let pending = if variant == Variant::Ours { PENDING } else { 0 };
    let mut engine = filled(&folder.join("bench.db"))?;
    write_pending(&mut engine, pending)?;
    let batch = changed(PENDING..PENDING + REMOTE)?;
    let (sample, _) = cpu(REMOTE, || Ok(engine.apply(batch)?))?;
    Ok(sample)
};

/// 1,000 pending mutations and a batch that overlaps all of them, against the minimum: the same
/// rows and statements in one plain transaction.
pub(crate) const ALL_MET: Run = |variant, folder, _| met(variant, folder, TABLE, PENDING);

/// Rows that are all updated by a pending mutation each and met by a batch, against the minimum.
pub(crate) const EVERY_ROW_MET: Run = |variant, folder, count| met(variant, folder, count, count);

fn met(variant: Variant, folder: &Path, rows: usize, pending: usize) -> Result<Sample> {
    let path = folder.join("bench.db");
    if variant == Variant::Reference {
        return floor(&path, rows, pending);
    }
    let mut engine = ours::open(&path)?;
    pages(&mut engine, rows)?;
    write_pending(&mut engine, pending)?;
    let batch = changed(0..pending)?;
    let (sample, applied) = cpu(pending, || Ok(engine.apply(batch)?))?;
    ensure!(applied.affected == pending, "{} mutations were met", applied.affected);
    Ok(sample)
}

/// The same with 1,000 pending actions that are run again, against the same minimum, which needs no
/// action to run.
pub(crate) const ALL_RUN_AGAIN: Run = |variant, folder, _| {
    let path = folder.join("bench.db");
    if variant == Variant::Reference {
        return floor(&path, TABLE, PENDING);
    }
    let mut engine = filled(&path)?;
    set_counts(&mut engine, PENDING)?;
    let batch = changed(0..REMOTE)?;
    let (sample, applied) = cpu(REMOTE, || Ok(engine.apply(batch)?))?;
    ensure!(applied.affected == PENDING, "{} actions were met", applied.affected);
    Ok(sample)
};

/// An engine with a filled table.
pub(crate) fn filled(path: &Path) -> Result<Engine> {
    let mut engine = ours::open(path)?;
    pages(&mut engine, TABLE)?;
    Ok(engine)
}

fn write_pending(engine: &mut Engine, count: usize) -> Result<()> {
    for number in 0..count {
        let mine = i64::try_from(number)? + 7;
        engine.execute(
            "UPDATE item SET count = ? WHERE id = ?",
            &[mine.into(), raw::key(number).into()],
        )?;
    }
    Ok(())
}

/// Undo, remote rows and redo in plain SQL: UPDATE, UPSERT and UPDATE per row.
fn floor(path: &Path, rows: usize, pending: usize) -> Result<Sample> {
    let connection = raw::open(path)?;
    raw::fill(&connection, rows)?;
    for number in 0..pending {
        raw::run(
            &connection,
            "UPDATE item SET count = ? WHERE id = ?",
            &[&7_i64, &raw::key(number)],
        )?;
    }
    let remote: Vec<[Value; 8]> = (0..pending).map(ours::row).collect();
    let (sample, ()) = cpu(pending, || {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for number in (0..pending).rev() {
            let old = i64::try_from(number)?;
            raw::run(
                &connection,
                "UPDATE item SET count = ? WHERE id = ?",
                &[&old, &raw::key(number)],
            )?;
        }
        let mut upsert = connection.prepare_cached(UPSERT)?;
        for row in &remote {
            upsert.execute(rusqlite::params_from_iter(row))?;
        }
        drop(upsert);
        for number in 0..pending {
            let mine = i64::try_from(number)? + 7;
            raw::run(
                &connection,
                "UPDATE item SET count = ? WHERE id = ?",
                &[&mine, &raw::key(number)],
            )?;
        }
        Ok(connection.execute_batch("COMMIT")?)
    })?;
    Ok(sample)
}

const UPSERT: &str =
    "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    title = excluded.title, body = excluded.body, count = excluded.count, amount = excluded.amount,
    done = excluded.done, note = excluded.note, updated_at = excluded.updated_at";
