//! Tests whether the file accepts writes: commits rows that are removed again in the same
//! transaction.
//!
//! It must detect a full disk and a file at its size limit. The row is larger than a page, so new
//! pages are needed (`SQLITE_FULL`); the commit writes to the disk.

use rusqlite::{Connection, ErrorCode};

use crate::store::WriteProblem;

const TRY: &str = "BEGIN IMMEDIATE;
    INSERT INTO rejoin_meta(key, value) VALUES('probe', printf('%.*c', 16384, '-'));
    DELETE FROM rejoin_meta WHERE key = 'probe';
    COMMIT";

/// Tries a write, and rolls it back if it fails. Inconclusive while another program writes.
pub(super) fn try_write(connection: &Connection) -> Result<(), WriteProblem> {
    let tried = connection.execute_batch(TRY);
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").map_err(problem)?;
    }
    match tried {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
        tried => tried.map_err(problem),
    }
}

/// What an error of SQLite means for later writes.
pub(super) fn problem(error: rusqlite::Error) -> WriteProblem {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => WriteProblem::Full(error.to_string()),
        Some(ErrorCode::ReadOnly) => WriteProblem::ReadOnly(error.to_string()),
        _ => WriteProblem::Other(error.into()),
    }
}
