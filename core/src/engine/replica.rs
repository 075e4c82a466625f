//! The log of a file in transactions of the engine: capture is off, and rows, records and facts
//! commit together.
//!
//! The replica's state between two transactions is the caller's (`Replica::into_parts`): after an
//! error it continues with a copy made before.

use std::cell::Cell;

use rejoin_log::replica::LogError;

use crate::engine::Engine;
use crate::engine::change::{Origin, Touched};
use crate::error::{Error, Result};

pub use crate::engine::log::SqliteReplica;

/// Runs `body` on the log in one transaction, which is rolled back if `body` fails.
///
/// # Errors
/// The outer error is the database's, the inner one a decision of the log.
pub fn write_log<T>(
    engine: &mut Engine,
    origin: Origin,
    body: impl FnOnce(SqliteReplica<'_>) -> Result<T, LogError>,
) -> Result<Result<T, LogError>> {
    let mut refusal = None;
    let done = engine.write(origin, |engine| {
        let Engine { db, schema, touched, log, .. } = engine;
        let failure = Cell::new(None);
        let tables = (&**schema, &log.tables);
        body(SqliteReplica::new(db.conn(), tables, touched, &failure)).map_err(|error| {
            let error = of_log(error, &failure);
            refusal = error.1;
            error.0
        })
    });
    match refusal {
        Some(refusal) => Ok(Err(refusal)),
        None => done.map(Ok),
    }
}

/// Runs `body`, which only reads, on the log.
pub fn read_log<T>(
    engine: &Engine,
    body: impl FnOnce(SqliteReplica<'_>) -> Result<T, LogError>,
) -> Result<Result<T, LogError>> {
    let (failure, mut touched) = (Cell::new(None), Touched::default());
    let tables = (&*engine.schema, &engine.log.tables);
    let store = SqliteReplica::new(engine.db.conn(), tables, &mut touched, &failure);
    body(store).map_or_else(
        |error| match of_log(error, &failure) {
            (_, Some(refusal)) => Ok(Err(refusal)),
            (error, None) => Err(error),
        },
        |value| Ok(Ok(value)),
    )
}

/// The error that rolls back, and the decision of the log behind it, if it is one.
fn of_log(error: LogError, failure: &Cell<Option<Error>>) -> (Error, Option<LogError>) {
    let text = error.to_string();
    match error {
        LogError::Store(_) => (failure.take().unwrap_or(Error::Internal(text)), None),
        refusal => (Error::Internal(text), Some(refusal)),
    }
}
