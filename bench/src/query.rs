//! Reads: a result as a row buffer, and a hundred watched queries.

use std::path::Path;

use anyhow::{Context, Result};

use crate::measure::{Run, Sample, Variant, cpu};
use crate::{ours, raw};

const SQL: &str = "SELECT * FROM item ORDER BY id";

/// 10,000 x 8 into a row buffer, against stepping through the rows and reading every cell.
pub(crate) const TO_BUFFER: Run = |variant, folder, count| read(variant, folder, count, 1);

/// The same with 100 rows, read `count` times.
pub(crate) const HUNDRED_TO_BUFFER: Run =
    |variant, folder, count| read(variant, folder, 100, count);

fn read(variant: Variant, folder: &Path, count: usize, times: usize) -> Result<Sample> {
    let path = folder.join("bench.db");
    let units = count * times;
    if variant == Variant::Ours {
        let mut engine = ours::open(&path)?;
        engine.transaction(|tx| {
            (0..count).try_for_each(|number| tx.execute(raw::INSERT, &ours::row(number)).map(drop))
        })?;
        let mut reader = engine.open_reader()?;
        reader.rows(SQL, &[])?; // Compiled and cached, like the reference.
        let mut reads = || (0..times).try_for_each(|_| Ok(reader.rows(SQL, &[]).map(drop)?));
        return Ok(cpu(units, &mut reads)?.0);
    }
    let connection = raw::open(&path)?;
    raw::fill(&connection, count)?;
    // That of the engine's readers.
    connection.pragma_update(None, "cache_size", -2_000)?;
    let step = || -> Result<usize> {
        let mut statement = connection.prepare_cached(SQL)?;
        let mut rows = statement.query([])?;
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            for at in 0..raw::COLUMNS.len() {
                bytes += match row.get_ref(at)? {
                    rusqlite::types::ValueRef::Text(text) => text.len(),
                    rusqlite::types::ValueRef::Blob(blob) => blob.len(),
                    _ => 8,
                };
            }
        }
        Ok(bytes)
    };
    step()?;
    let (sample, bytes) = cpu(units, || (0..times).try_fold(0, |all, _| Ok(all + step()?)))?;
    (bytes > 0).then_some(sample).context("nothing was read")
}
