//! The memory of one large transaction, in a process of its own.

use std::path::Path;

use anyhow::Result;
use rejoin_core::value::Value;
use rejoin_core::{Client, Config};

use crate::{memory, ours, raw};

const ROWS: usize = 100_000;

/// The memory that a transaction of [`ROWS`] inserted rows needs at most, divided by the bytes of their values.
pub(crate) fn memory(folder: &Path) -> Result<f64> {
    let path = folder.join("bench.db");
    drop(ours::open(&path)?);
    memory::of_process(&["large-transaction".as_ref(), path.as_ref()])
}

/// Runs the transaction and prints the ratio.
pub(crate) fn print(path: &Path) -> Result<()> {
    let client = Client::open(Config::new(path)).wait()?;
    client.execute(raw::INSERT, ours::spread_row(ROWS).to_vec()).wait()?;
    let (peak, bytes) = memory::growth(|| {
        let work = client.transaction(|tx| {
            let mut bytes = 0;
            for number in 0..ROWS {
                let row = ours::spread_row(number);
                bytes += row.iter().map(length).sum::<usize>();
                tx.execute(raw::INSERT, row.to_vec())?;
            }
            Ok(bytes)
        });
        Ok(work.wait()?)
    })?;
    println!("{}", peak / bytes as f64);
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
