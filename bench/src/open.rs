//! Opening a file whose queue is long.

use std::path::Path;

use anyhow::Result;

use crate::measure::{Run, Sample, Variant, wall};
use crate::{ours, raw};

/// Opens a file with `scale` pending mutations, by the clock; the reference opens one with a tenth of them, and both count
/// per mutation, so that linear is a ratio of one.
pub(crate) const PENDING: Run = |variant, folder, count| {
    pending(folder, if variant == Variant::Ours { count } else { count / 10 })
};

/// Opens a file with so many pending mutations.
pub(crate) fn pending(folder: &Path, count: usize) -> Result<Sample> {
    let path = folder.join("bench.db");
    let mut engine = ours::open(&path)?;
    for number in 0..count {
        engine.execute(raw::INSERT, &ours::row(number))?;
    }
    drop(engine);
    let (sample, engine) = wall(count, || ours::open(&path))?;
    drop(engine);
    Ok(sample)
}
