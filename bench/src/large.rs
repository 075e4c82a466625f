//! The memory of one large transaction, in a process of its own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rejoin_core::value::Value;
use rejoin_core::{Client, Config};

use crate::{ours, raw};

const ROWS: usize = 100_000;

/// The memory that a transaction of [`ROWS`] inserted rows needs at most, divided by the bytes of their values.
pub(crate) fn memory(folder: &Path) -> Result<f64> {
    let path = folder.join("bench.db");
    drop(ours::open(&path)?);
    let child =
        Command::new(std::env::current_exe()?).arg("large-transaction").arg(&path).output()?;
    let text = String::from_utf8_lossy(&child.stdout);
    ensure!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    Ok(text.trim().parse()?)
}

/// Runs the transaction and prints the ratio.
pub(crate) fn print(path: &Path) -> Result<()> {
    let client = Client::open(Config::new(path)).wait()?;
    client.execute(raw::INSERT, ours::spread_row(ROWS).to_vec()).wait()?;
    let before = memory_of("VmRSS")?;
    let work = client.transaction(|tx| {
        let mut bytes = 0;
        for number in 0..ROWS {
            let row = ours::spread_row(number);
            bytes += row.iter().map(length).sum::<usize>();
            tx.execute(raw::INSERT, row.to_vec())?;
        }
        Ok(bytes)
    });
    let bytes = work.wait()?;
    let peak = memory_of("VmHWM")?.saturating_sub(before);
    println!("{}", peak as f64 * 1_024.0 / bytes as f64);
    client.shutdown().wait()?;
    Ok(())
}

fn length(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        Value::Integer(_) | Value::Real(_) => 8,
        Value::Null => 0,
    }
}

/// A size of this process in KiB.
fn memory_of(name: &str) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("no {name}"))?.parse()?)
}
