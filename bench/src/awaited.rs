//! Writes through a client, each of which its caller awaits: from one caller, and from a hundred.
//!
//! In wall time, because another thread writes. A caller alone uses the writer itself if it is free;
//! a hundred share transactions.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::Result;
use rejoin_core::{Client, Config, Task};

use crate::measure::{Run, Sample, Variant, wall};
use crate::{capture, ours, raw};

pub(crate) const ONE: Run = |variant, folder, count| each(variant, folder, count, 1);
pub(crate) const HUNDRED: Run = |variant, folder, count| each(variant, folder, count, 100);

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
