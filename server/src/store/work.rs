//! Helpers for store closures that return a value.

use super::{End, Reading, Store, Writing};
use crate::error::Fault;

/// Runs `work` on a snapshot and returns its result.
pub fn read<T>(
    store: &(impl Store + ?Sized),
    mut work: impl FnMut(&dyn Reading) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut found = None;
    store.read(&mut |reading| {
        found = Some(work(reading)?);
        Ok(())
    })?;
    found.ok_or_else(no_run)
}

/// Runs `work` on a snapshot of a replica and returns its result. `None` if the store has no replica
/// that is available, or if `work` has no result there.
pub fn read_replica<T>(
    store: &dyn Store,
    mut work: impl FnMut(&dyn Reading) -> Result<Option<T>, Fault>,
) -> Option<T> {
    let mut found = None;
    let is_served = store.read_replica(&mut |reading| {
        found = work(reading)?;
        Ok(found.is_some())
    });
    found.filter(|_| is_served)
}

/// Runs `work` in a transaction and returns its result after the commit.
pub fn write<T>(
    store: &dyn Store,
    now: &str,
    mut work: impl FnMut(&dyn Writing) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut found = None;
    store.write(now, &mut |writing| {
        found = Some(work(writing)?);
        Ok(())
    })?;
    found.ok_or_else(no_run)
}

/// Like [`write()`], with the end of the log after the commit.
pub fn write_to_end<T>(
    store: &dyn Store,
    now: &str,
    mut work: impl FnMut(&dyn Writing) -> Result<T, Fault>,
) -> Result<(T, Result<End, Fault>), Fault> {
    let mut found = None;
    let end = store.write_to_end(now, &mut |writing| {
        found = Some(work(writing)?);
        Ok(())
    })?;
    let found = found.ok_or_else(no_run)?;
    Ok((found, end))
}

fn no_run() -> Fault {
    Fault::Internal(String::from("the store did not run the work"))
}
