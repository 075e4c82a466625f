//! The peak memory of a first sync and of a large transaction, each side in a process of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use rusqlite::params_from_iter;

use super::{PAGE, Tables, check_queue, connected, control, lines, open};
use crate::{apply, memory, ours, raw};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// A first sync, page by page.
    FirstSync,
    /// Inserts in one transaction.
    Insert,
}

/// With what it does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    Ours,
    Raw,
    Views,
}

/// The peak in bytes, measured in a new process. The pages of a first sync are made here, and
/// are in a file with one page on each line.
pub(crate) fn peak(folder: &Path, work: Work, side: Side, count: usize) -> Result<f64> {
    if work == Work::FirstSync {
        write_pages(&folder.join("pages"), side, count)?;
    }
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    };
    let (work, side) = (name(work.to_possible_value()), name(side.to_possible_value()));
    let count = count.to_string();
    let words = ["memory-beside-powersync", &work, &side, &count].map(AsRef::as_ref);
    memory::of_process(&[&words[..], &[folder.as_ref()]].concat())
}

fn write_pages(path: &Path, side: Side, count: usize) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    if side == Side::Ours {
        for first in (0..count).step_by(PAGE) {
            file.write_all(&apply::page(first, PAGE.min(count - first))?)?;
            file.write_all(b"\n")?;
        }
    } else {
        lines(count).iter().try_for_each(|line| writeln!(file, "{line}"))?;
    }
    Ok(file.flush()?)
}

/// Does the work and prints the peak in bytes.
pub(crate) fn print(folder: &Path, work: Work, side: Side, count: usize) -> Result<()> {
    let peak = match side {
        Side::Ours => with_rejoin(folder, work, count)?,
        Side::Raw => with_powersync(folder, work, count, Tables::Raw)?,
        Side::Views => with_powersync(folder, work, count, Tables::Views)?,
    };
    println!("{peak}");
    Ok(())
}

fn with_rejoin(folder: &Path, work: Work, count: usize) -> Result<f64> {
    let mut engine = ours::open(&folder.join("bench.db"))?;
    let (peak, ()) = memory::growth(|| match work {
        Work::FirstSync => each_page(folder, |page| {
            engine.apply(apply::batch(page.as_bytes())?)?;
            Ok(())
        }),
        Work::Insert => Ok(engine.transaction(|tx| {
            (0..count)
                .map(ours::spread_row)
                .try_for_each(|row| tx.execute(raw::INSERT, &row).map(drop))
        })?),
    })?;
    let found = engine
        .open_reader()?
        .query("SELECT count(*) FROM item", &[], |row| row.get::<_, i64>(0))?;
    ensure!(found == [i64::try_from(count)?], "{found:?} of {count} rows");
    Ok(peak)
}

fn with_powersync(folder: &Path, work: Work, count: usize, tables: Tables) -> Result<f64> {
    let path = folder.join("bench.db");
    let open = if work == Work::FirstSync { connected } else { open };
    let connection = open(&path, tables)?;
    let (peak, ()) = memory::growth(|| match work {
        Work::FirstSync => each_page(folder, |line| control(&connection, "line_text", line)),
        Work::Insert => {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            for row in (0..count).map(ours::spread_row) {
                connection.prepare_cached(raw::INSERT)?.execute(params_from_iter(row))?;
            }
            Ok(connection.execute_batch("COMMIT")?)
        }
    })?;
    let found: i64 = connection.query_row("SELECT count(*) FROM item", [], |row| row.get(0))?;
    ensure!(found == i64::try_from(count)?, "{found} of {count} rows");
    check_queue(&connection, if work == Work::Insert { count } else { 0 })?;
    Ok(peak)
}

/// Calls `apply` with each page of the file; only one is in memory.
fn each_page(folder: &Path, mut apply: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let mut file = BufReader::new(File::open(folder.join("pages"))?);
    let mut page = String::new();
    while file.read_line(&mut page)? > 0 {
        apply(page.trim_end())?;
        page.clear();
    }
    Ok(())
}
