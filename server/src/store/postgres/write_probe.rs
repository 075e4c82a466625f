//! Tests whether the database accepts writes: a small commit that leaves no data.
//!
//! It detects a read-only database and a disk too full for the commit. A disk on which PostgreSQL
//! still has reserves is detected when they are used up; that is up to the monitoring of the
//! database.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::error::log_text;
use crate::store::WriteProblem;

/// Each session uses its own key, because several servers may test at once.
pub(super) const TRY: &str = "BEGIN READ WRITE;
    INSERT INTO rejoin.meta(key, value) VALUES('probe ' || pg_backend_pid(), '');
    DELETE FROM rejoin.meta WHERE key = 'probe ' || pg_backend_pid();
    COMMIT";

/// What the error means for later writes; `None` if it is unrelated.
pub(super) fn problem(error: &Error) -> Option<WriteProblem> {
    let state = error.code()?;
    if *state == SqlState::DISK_FULL {
        Some(WriteProblem::Full(log_text(error)))
    } else if *state == SqlState::READ_ONLY_SQL_TRANSACTION {
        Some(WriteProblem::ReadOnly(log_text(error)))
    } else {
        None
    }
}
