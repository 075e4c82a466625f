//! Opening a file with a long queue.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::measure::{Run, Variant, cpu, wall};
use crate::{ours, raw};

/// Opens a file with `scale` pending mutations, in CPU time. The reference opens one with a tenth
/// of them, and both count per mutation, so that linear cost is a ratio of one.
pub(crate) const PENDING: Run = |variant, folder, count| {
    let count = if variant == Variant::Ours { count } else { count / 10 };
    let path = filled(folder, count)?;
    Ok(cpu(count, || ours::open(&path))?.0)
};

/// Wall time in seconds to open a file with this many pending mutations.
pub(crate) fn seconds(folder: &Path, count: usize) -> Result<f64> {
    let path = filled(folder, count)?;
    Ok(wall(count, || ours::open(&path))?.0.time.as_secs_f64())
}

fn filled(folder: &Path, count: usize) -> Result<PathBuf> {
    let path = folder.join("bench.db");
    let mut engine = ours::open(&path)?;
    for number in 0..count {
        engine.execute(raw::INSERT, &ours::row(number))?;
    }
    Ok(path)
}
