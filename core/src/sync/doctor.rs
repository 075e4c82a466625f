//! The requests for a check of the device's rows and for all rows again, and the report of a check, as facts of the file.
//!
//! The next pass that reaches its end begins the check, also after a restart. A check is tried once:
//! one that fails does not fail later passes.

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, entries};
use crate::error::{Error, InputFault, Result, StorageFault, SyncFault};
use crate::sync::rows::fact::{self, RefetchReason};

/// The number of the requested check.
const DUE: &str = "doctor_due";
/// The last report, with the number of its request.
const DONE: &str = "doctor";

/// The result of a check of this device's rows against the server's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DoctorReport {
    /// Every synced table that the server has, of both models, by name.
    pub tables: Vec<TableCheck>,
}

/// The result for one table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TableCheck {
    /// Its name.
    pub table: String,
    /// Number of its rows on this device.
    pub rows: u64,
    /// Number of rows that were wrong here: missing, present without the server having them, or with
    /// other values, although everything newer was fetched. Pending edits are not counted.
    pub differing: u64,
    /// How many of these now have the server's content.
    pub repaired: u64,
}

impl DoctorReport {
    /// The result for the table with this name.
    pub(crate) fn of(&mut self, table: &str) -> Option<&mut TableCheck> {
        self.tables.iter_mut().find(|check| check.table == table)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Done {
    number: i64,
    report: DoctorReport,
}

/// Requires all rows of the server, and of the log if the schema has tables of it.
///
/// # Errors
/// Those of the file.
pub fn resync(engine: &mut Engine) -> Result<()> {
    fact::write(engine, &fact::snapshot_due(RefetchReason::Resync))?;
    if entries::has_tables(engine) { entries::resync(engine) } else { Ok(()) }
}

/// Requests a check; returns the number of the request.
pub fn request(engine: &mut Engine) -> Result<i64> {
    let last = match due(engine)? {
        Some(due) => due,
        None => done(engine)?.map_or(0, |done| done.number),
    };
    engine.set_meta(DUE, Some(&(last + 1).to_string()))?;
    Ok(last + 1)
}

/// The number of the requested check.
pub fn due(engine: &Engine) -> Result<Option<i64>> {
    Ok(engine.meta(DUE)?.and_then(|number| number.parse().ok()))
}

/// Takes the request for a check out of the file, before its first step.
pub fn take(engine: &mut Engine) -> Result<Option<i64>> {
    let due = due(engine)?;
    fact::write(engine, &[fact::forget(DUE)])?;
    Ok(due)
}

/// Stores the report on all requests up to this number.
pub fn finish(engine: &mut Engine, number: i64, report: DoctorReport) -> Result<()> {
    let text = serde_json::to_string(&Done { number, report })
        .map_err(|error| Error::Internal(error.to_string()))?;
    fact::write(engine, &[fact::fact(DONE, text)])
}

/// The report on this request.
///
/// # Errors
/// `Refused` if no pass has begun the check although one reached its end: the server has no digests.
/// `Offline` if the pass that began it failed.
pub fn report(engine: &Engine, number: i64) -> Result<DoctorReport> {
    match done(engine)? {
        Some(done) if done.number >= number => Ok(done.report),
        _ if due(engine)?.is_none() => Err(Error::Sync(SyncFault::Offline(String::from(
            "the pass that began the check of the rows failed; call doctor again",
        )))),
        _ => Err(Error::InvalidInput(InputFault::Refused {
            what: String::from("a check of the rows"),
            reason: String::from(
                "this server has no digests; it needs a newer release of Rejoin's",
            ),
        })),
    }
}

fn done(engine: &Engine) -> Result<Option<Done>> {
    let Some(text) = engine.meta(DONE)? else { return Ok(None) };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| Error::Storage(StorageFault::Corrupt(format!("fact {DONE}: {error}"))))
}
