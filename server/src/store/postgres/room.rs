//! Whether the database takes writes: a small commit that leaves nothing behind.
//!
//! It finds a read-only database, and a disk that is too full for the commit. A disk of which
//! PostgreSQL still has reserves is found when they are used up: that is for the monitoring of the
//! database.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::error::log_text;
use crate::store::WriteProblem;

/// Each session has a key of its own: several servers try at once.
pub(super) const TRY: &str = "BEGIN;
    INSERT INTO rejoin.meta(key, value) VALUES('probe ' || pg_backend_pid(), '');
    DELETE FROM rejoin.meta WHERE key = 'probe ' || pg_backend_pid();
    COMMIT";

/// What the error says of later writes; `None` if no more than of others.
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
