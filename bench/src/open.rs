//! Opening a file with a long queue, or a long log.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rejoin_protocol::manifest::SyncModel;

use crate::measure::{Run, Variant, cpu, wall};
use crate::{log, ours, raw};

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

/// Wall time in seconds to open a file with this many entries of the log above the horizon, and to
/// write one more.
pub(crate) fn seconds_of_log(folder: &Path, count: usize) -> Result<f64> {
    let path = folder.join("bench.db");
    log::fill(&path, count)?;
    let open = || {
        let mut engine = ours::open_in(&path, SyncModel::Log)?;
        engine.execute("UPDATE item SET count = 7 WHERE id = ?", &[raw::key(7).into()])?;
        Ok(engine)
    };
    Ok(wall(1, open)?.0.time.as_secs_f64())
}

fn filled(folder: &Path, count: usize) -> Result<PathBuf> {
    let path = folder.join("bench.db");
    let mut engine = ours::open(&path)?;
    for number in 0..count {
        engine.execute(raw::INSERT, &ours::row(number))?;
    }
    Ok(path)
}
