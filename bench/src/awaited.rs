//! Writes through a client, each of which its caller awaits: from one caller, and from a hundred.
//!
//! In wall time, because another thread writes. Of a hundred, those that wait share transactions. With
//! `try_execute` a caller alone writes on its own thread.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::{Context as _, Result};
use rejoin_core::{Client, Config, Task};

use crate::measure::{Run, Sample, Variant, wall};
use crate::{capture, ours, raw};

pub(crate) const ONE: Run = |variant, folder, count| each(variant, folder, count, 1);
pub(crate) const HUNDRED: Run = |variant, folder, count| each(variant, folder, count, 100);
/// On the caller's own thread.
pub(crate) const OWN: Run = |variant, folder, count| each(variant, folder, count, 0);

fn each(variant: Variant, folder: &Path, count: usize, callers: usize) -> Result<Sample> {
    let path = folder.join("bench.db");
    let rows: Vec<_> = (0..count).map(ours::spread_row).collect();
    if variant == Variant::Reference {
        let connection = raw::open(&path)?;
        let (sample, ()) = wall(count, || capture::inserts_with_queue(&connection, &rows))?;
        return Ok(sample);
    }
    drop(ours::open(&path)?);
    let client = Client::open(Config::new(path)).wait()?;
    let (sample, ()) = wall(count, || {
        if callers == 0 {
            return rows.into_iter().try_for_each(|row| {
                let written = client.try_execute(raw::INSERT, row.to_vec());
                written.context("the writer is busy")?.map(drop).map_err(Into::into)
            });
        }
        let mut begun = VecDeque::new();
        for row in rows {
            begun.push_back(client.execute(raw::INSERT, row.to_vec()));
            if begun.len() == callers {
                begun.pop_front().map(Task::wait).transpose()?;
            }
        }
        begun.into_iter().try_for_each(|write| write.wait().map(drop))?;
        Ok(())
    })?;
    client.shutdown().wait()?;
    Ok(sample)
}
