//! Maps SQLite errors: the code shows whether a retry may succeed.
//!
//! The rest of the server handles [`Fault`], [`WriteError`] and [`ServerError`], never the driver's
//! error.

use crate::error::{Fault, ServerError};
use crate::store::WriteError;

/// Whether a retry may succeed: busy, locked, full, out of memory, disk I/O.
pub(super) fn is_transient(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
                | ErrorCode::CannotOpen
        )
    )
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        if is_transient(&error) {
            Self::Transient(error.to_string())
        } else {
            Self::Internal(error.to_string())
        }
    }
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Fault(error.into())
    }
}

impl From<rusqlite::Error> for ServerError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

/// The fault of a request that failed to read the schema again.
pub(super) fn fault_of_refresh(error: ServerError) -> Fault {
    match error {
        ServerError::Schema(problems) => Fault::Schema(problems),
        ServerError::Database(error) => match error.downcast::<rusqlite::Error>() {
            Ok(error) => (*error).into(),
            Err(error) => Fault::Internal(error.to_string()),
        },
        other => Fault::Internal(other.to_string()),
    }
}
