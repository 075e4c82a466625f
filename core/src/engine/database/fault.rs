//! Translates SQLite's errors: one variant per decision that a caller can take.

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_CORRUPT_VTAB;

use crate::engine::database::authorizer::LARGEST;
use crate::error::{Error, InputFault, StorageFault};

/// Hidden, because the version of rusqlite is not part of the public API.
#[doc(hidden)]
impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        // A module of SQLite reports damage of its own tables by this code.
        let is_of_module =
            error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_CORRUPT_VTAB);
        let words = with_remedy(error.to_string());
        let Some(code) = code else { return InputFault::Sql(words).into() };
        if is_of_module {
            let table = String::from("(unknown)");
            return InputFault::CorruptIndex { table, reason: words }.into();
        }
        match code {
            ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => {
                StorageFault::Corrupt(words).into()
            }
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
                StorageFault::ReadOnly(words).into()
            }
            ErrorCode::DiskFull => StorageFault::Full.into(),
            ErrorCode::OutOfMemory => StorageFault::OutOfMemory.into(),
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => StorageFault::Io(words).into(),
            ErrorCode::DatabaseBusy | ErrorCode::FileLockingProtocolFailed => {
                StorageFault::Locked { path: String::from("the database") }.into()
            }
            ErrorCode::OperationInterrupted => Error::Suspended,
            ErrorCode::ConstraintViolation => {
                broken_rule(&words).unwrap_or_else(|| InputFault::Sql(words).into())
            }
            _ => InputFault::Sql(words).into(),
        }
    }
}

/// SQLite's message; for some, also what to do.
fn with_remedy(words: String) -> String {
    if words.contains("string or blob too big") {
        let most = LARGEST / (1024 * 1024);
        return format!(
            "{words}: a value, a row and the changes of a transaction have at most {most} MiB each"
        );
    }
    let remedy = if words.contains("error in view ") {
        "the view names what the schema no longer has: drop it or create it again; diagnose() lists such views"
    } else if words.contains("no such table: ") {
        "check its name; a synced table exists once the schema is passed when opening the file or the first sync is done, a temporary one until its transaction ends"
    } else if words.contains("readonly database") {
        "the file and its folder must be writable, because SQLite keeps files beside it"
    } else if words.contains("vtable constructor failed") {
        "the module cannot open the tables in which it keeps its data; drop this virtual table and create it again"
    } else {
        return words;
    };
    format!("{words}; {remedy}")
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
    Some(Error::Constraint { table: table.to_owned(), column, rule: rule.to_owned() })
}

/// Translates an error of the file system.
pub(crate) fn of_file(error: &std::io::Error, what: &str) -> Error {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::Storage(StorageFault::ReadOnly(format!("{what}: {error}")))
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::Storage(StorageFault::Full),
        _ => Error::Storage(StorageFault::Io(format!("{what}: {error}"))),
    }
}
