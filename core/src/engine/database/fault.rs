//! Translates SQLite's errors: one variant per decision that a caller can take.

use rusqlite::ErrorCode;

use crate::error::Error;

/// Translates an error of SQLite.
pub(crate) fn of(error: rusqlite::Error) -> Error {
    let Some(code) = error.sqlite_error_code() else { return Error::Sql(error) };
    let words = error.to_string();
    match code {
        ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => Error::Corrupt(words),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Error::ReadOnly(words),
        ErrorCode::DiskFull => Error::Full,
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => Error::Io(words),
        ErrorCode::DatabaseBusy | ErrorCode::FileLockingProtocolFailed => {
            Error::Locked { path: String::from("the database") }
        }
        ErrorCode::OperationInterrupted => Error::Suspended,
        ErrorCode::ConstraintViolation => broken_rule(&words).unwrap_or(Error::Sql(error)),
        _ => Error::Sql(error),
    }
}

/// SQLite's message for a violated key, or for a rule of a local-only table: `UNIQUE constraint
/// failed: t.a, t.b`.
fn broken_rule(words: &str) -> Option<Error> {
    let (rule, rest) = words.split_once(" constraint failed: ")?;
    if rule != "UNIQUE" && rule != "NOT NULL" {
        return None;
    }
    let mut columns = rest.split(", ");
    let (table, first) = columns.next()?.split_once('.')?;
    let mut column = first.to_owned();
    for other in columns {
        column.push(',');
        column.push_str(other.strip_prefix(table)?.strip_prefix('.')?);
    }
    Some(Error::Rule { table: table.to_owned(), column, rule: rule.to_owned() })
}

/// Translates an error of the file system.
pub(crate) fn of_file(error: &std::io::Error, what: &str) -> Error {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::ReadOnly(format!("{what}: {error}"))
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::Full,
        _ => Error::Io(format!("{what}: {error}")),
    }
}
