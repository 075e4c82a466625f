//! Maps PostgreSQL errors: the SQLSTATE shows whether the content, the moment or the server is the
//! cause.
//!
//! Database messages may contain values (`Key (id)=(7) already exists`). Messages to devices name
//! rules and columns only.

use rejoin_protocol::Value;
use rejoin_protocol::wire::code;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use crate::error::Fault;
use crate::model::{PushPolicy, Table, Violation};
use crate::store::WriteError;

/// The error for the log: code and message, without the detail, which may contain row values.
pub(super) fn log_text(error: &Error) -> String {
    match error.as_db_error() {
        Some(database) => format!("{}: {}", database.code().code(), database.message()),
        None => std::error::Error::source(error)
            .map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
    }
}

/// Temporary errors in classes that are otherwise permanent.
const OF_THE_MOMENT: &[&SqlState] = &[
    &SqlState::LOCK_NOT_AVAILABLE,
    &SqlState::OBJECT_IN_USE,
    &SqlState::IN_FAILED_SQL_TRANSACTION,
    &SqlState::UNDEFINED_COLUMN,
    &SqlState::UNDEFINED_TABLE,
    &SqlState::FEATURE_NOT_SUPPORTED,
    &SqlState::READ_ONLY_SQL_TRANSACTION,
];

/// Whether a statement's name is missing in the session that a pooler chose, or is in use there.
pub(super) fn is_of_names(error: &Error) -> bool {
    let names = [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT];
    error.code().is_some_and(|state| names.contains(state))
}

/// Whether a prepared statement may have other types than its tables have now: of its result
/// (FEATURE_NOT_SUPPORTED), or of its parameters (class 42, which has missing rights, too).
pub(super) fn may_be_of_types(error: &Error) -> bool {
    error.code().is_some_and(|state| {
        let is_of_class = state.code().starts_with("42");
        *state == SqlState::FEATURE_NOT_SUPPORTED
            || is_of_class && *state != SqlState::INSUFFICIENT_PRIVILEGE
    })
}

/// Whether a value does not fit the type of its parameter.
pub(super) fn is_of_value(error: &Error) -> bool {
    error.code().is_some_and(|state| state.code().starts_with("22"))
}

/// Whether a retry may succeed: connection, lock, deadlock, shutdown, full disk, or a table that
/// changed under the statement (the next transaction reads the schema again).
pub(super) fn is_transient(error: &Error) -> bool {
    let Some(state) = error.code() else {
        let is_io = |error: &(dyn std::error::Error + 'static)| error.is::<std::io::Error>();
        return error.is_closed() || std::error::Error::source(error).is_some_and(is_io);
    };
    let class = state.code().get(..2).unwrap_or_default();
    matches!(class, "08" | "40" | "53" | "57" | "58")
        || OF_THE_MOMENT.contains(&state)
        || is_of_names(error)
}

/// Whether the transaction lost against a concurrent one and must be run again.
pub(super) fn is_collision(error: &Error) -> bool {
    error.code().is_some_and(|state| {
        *state == SqlState::T_R_SERIALIZATION_FAILURE || *state == SqlState::T_R_DEADLOCK_DETECTED
    })
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        if is_collision(&error) {
            Self::Collision(log_text(&error))
        } else if is_transient(&error) {
            Self::Transient(log_text(&error))
        } else {
            Self::Internal(log_text(&error))
        }
    }
}

/// Maps a failed write to the violated rule or to a fault. `columns_of` returns the columns of a
/// constraint.
pub(super) fn of_write(
    error: Error,
    table: &Table,
    cells: &[(usize, Value)],
    columns_of: impl FnOnce(&str) -> Vec<String>,
) -> WriteError {
    let Some(database) = error.as_db_error() else { return WriteError::Fault(error.into()) };
    if is_transient(&error) {
        return WriteError::Fault(error.into());
    }
    let state = database.code();
    let class = state.code().get(..2).unwrap_or_default();
    let own = |name: &str| table.column(name).map(|_| name.to_owned());
    let written = |names: Vec<String>| {
        let is_written = |name: &String| {
            cells.iter().any(|(at, _)| table.columns.get(*at).is_some_and(|c| c.name == *name))
        };
        let mut named = names.into_iter().filter(is_written);
        match (named.next(), named.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        }
    };
    let named = database.constraint().unwrap_or_default().to_owned();
    let (code, column) = match (state, class) {
        (state, _) if *state == SqlState::NOT_NULL_VIOLATION => {
            (code::CONSTRAINT_NOT_NULL, database.column().and_then(own))
        }
        (state, _) if *state == SqlState::UNIQUE_VIOLATION => {
            // Our triggers name the column; the database names the constraint only.
            let column = database.column().and_then(own);
            (code::CONSTRAINT_UNIQUE, column.or_else(|| written(columns_of(&named))))
        }
        (state, _) if *state == SqlState::FOREIGN_KEY_VIOLATION => {
            (code::CONSTRAINT_REFERENCES, written(columns_of(&named)))
        }
        // Row level security: the parent is not visible to the user, or the row would belong to
        // another user.
        (state, _) if is_policy(database, state) => {
            let bucket = table.bucket.as_ref().filter(|_| table.push == PushPolicy::Bucket);
            let parent = table.parent_column();
            let named = parent.or(bucket.map(|bucket| bucket.column));
            let column = named.and_then(|at| table.columns.get(at));
            let is_child = parent.is_some();
            let code = if is_child { code::CONSTRAINT_REFERENCES } else { code::OWNERSHIP };
            (code, column.map(|column| column.name.clone()))
        }
        (_, "23" | "44") => (code::CONSTRAINT_CHECK, written(columns_of(&named))),
        // Class 54: too long for an index, or nested too deeply.
        (_, "22" | "54") => (code::VALUE_INVALID, only(table, cells)),
        (_, "P0") => (code::CONSTRAINT_TRIGGER, None),
        (_, class) if is_of_the_applications_own(class) => (code::CONSTRAINT_TRIGGER, None),
        _ => return WriteError::Fault(error.into()),
    };
    let of_rows = [code::CONSTRAINT_UNIQUE, code::CONSTRAINT_REFERENCES, code::CONSTRAINT_TRIGGER];
    let is_among_rows = of_rows.contains(&code) || *state == SqlState::EXCLUSION_VIOLATION;
    let message = message(database, &named);
    WriteError::Rule(Violation { code, column, message, is_among_rows })
}

/// The deferred rule that a transaction breaks, or a fault. The engine names the row.
pub(super) fn of_constraint(error: Error) -> WriteError {
    let Some(database) = error.as_db_error().filter(|_| !is_transient(&error)) else {
        return WriteError::Fault(error.into());
    };
    let named = database.constraint().unwrap_or_default().to_owned();
    let (code, column, is_among_rows) = (code::CONSTRAINT_CHECK, None, true);
    let message = message(database, &named);
    WriteError::Rule(Violation { code, column, message, is_among_rows })
}

/// The classes defined by the SQL standard and PostgreSQL.
const KNOWN_CLASSES: &[&str] = &[
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22",
    "23", "24", "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40",
    "42", "44", "53", "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX",
];

/// Whether the class is the application's own, used by its triggers to reject writes.
fn is_of_the_applications_own(class: &str) -> bool {
    !KNOWN_CLASSES.contains(&class)
}

/// Whether a policy rejects the write; a missing privilege has the same SQLSTATE.
fn is_policy(database: &DbError, state: &SqlState) -> bool {
    *state == SqlState::INSUFFICIENT_PRIVILEGE && database.routine() == Some("ExecWithCheckOptions")
}

/// The only written column besides the key and server-owned columns, which then has the invalid
/// value.
fn only(table: &Table, cells: &[(usize, Value)]) -> Option<String> {
    let mut sent = cells
        .iter()
        .filter_map(|(at, _)| table.columns.get(*at).filter(|_| *at != table.key))
        .filter(|column| !column.protected);
    match (sent.next(), sent.next()) {
        (Some(one), None) => Some(one.name.clone()),
        _ => None,
    }
}

fn message(database: &DbError, constraint: &str) -> String {
    let class = database.code().code().get(..2).unwrap_or_default();
    match (class, constraint) {
        // The message of a violated rule names the rule; that of an invalid value contains the
        // value.
        ("22" | "54", _) => {
            format!("a value that the database does not take ({})", database.code().code())
        }
        ("P0", _) => String::from(database.message()),
        (class, _) if is_of_the_applications_own(class) => String::from(database.message()),
        (_, "") => String::from("a rule of the table is broken"),
        (_, constraint) => format!("the rule '{constraint}' is broken"),
    }
}
