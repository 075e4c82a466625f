//! SQL statements of hooks, in the push transaction; each runs in its own savepoint.

use rejoin_protocol::Value;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::{Batch, Connection, Error, ErrorCode, Statement};

use super::error::is_transient;
use crate::hooks::SqlError;

/// Runs a statement without result; returns the number of affected rows.
pub(super) fn execute(
    connection: &Connection,
    sql: &str,
    values: &[(&str, Value)],
) -> Result<u64, SqlError> {
    within(connection, || {
        let done =
            prepared(connection, sql, values)?.raw_execute().map_err(|error| sql_error(&error))?;
        Ok(u64::try_from(done).unwrap_or(u64::MAX))
    })
}

/// Runs a query; returns its rows.
pub(super) fn query(
    connection: &Connection,
    sql: &str,
    values: &[(&str, Value)],
) -> Result<Vec<Vec<Value>>, SqlError> {
    within(connection, || {
        let mut statement = prepared(connection, sql, values)?;
        let width = statement.column_count();
        let mut rows = statement.raw_query();
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(|error| sql_error(&error))? {
            let cells = (0..width).map(|at| row.get(at)).collect::<Result<_, _>>();
            found.push(cells.map_err(|error| sql_error(&error))?);
        }
        Ok(found)
    })
}

/// Rolls back a failed statement; reports a statement that ended the whole transaction (`OR
/// ROLLBACK`) as such.
fn within<T>(
    connection: &Connection,
    run: impl FnOnce() -> Result<T, SqlError>,
) -> Result<T, SqlError> {
    connection.execute_batch("SAVEPOINT rejoin_hook").map_err(|error| sql_error(&error))?;
    let done = run();
    if connection.is_autocommit() {
        return Err(SqlError::Over(String::from("SQLite ended the transaction")));
    }
    let end = if done.is_ok() {
        "RELEASE rejoin_hook"
    } else {
        "ROLLBACK TO rejoin_hook; RELEASE rejoin_hook"
    };
    match (connection.execute_batch(end), done) {
        (Ok(()), done) => done,
        (Err(error), _) => Err(SqlError::Over(error.to_string())),
    }
}

fn prepared<'c>(
    connection: &'c Connection,
    sql: &str,
    values: &[(&str, Value)],
) -> Result<Statement<'c>, SqlError> {
    let refused = |why: String| Err(SqlError::Refused(why));
    let mut batch = Batch::new(connection, sql);
    let Some(mut statement) = batch.next().map_err(|error| sql_error(&error))? else {
        return refused(String::from("there is no statement in it"));
    };
    if batch.next().map_err(|error| sql_error(&error))?.is_some() {
        return refused(String::from("one statement at a time"));
    }
    for at in 1..=statement.parameter_count() {
        let name = statement.parameter_name(at).and_then(|name| name.strip_prefix(':'));
        let Some(name) = name else {
            return refused(format!("parameter {at} has no name; write :name"));
        };
        let Some((_, value)) = values.iter().find(|(other, _)| *other == name) else {
            return refused(format!("no value is given for :{name}"));
        };
        statement.raw_bind_parameter(at, value).map_err(|error| sql_error(&error))?;
    }
    Ok(statement)
}

fn sql_error(error: &Error) -> SqlError {
    if is_transient(error) {
        return SqlError::Moment(error.to_string());
    }
    match (error.sqlite_error_code(), error) {
        (Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig), _) => {
            SqlError::Rule(error.to_string())
        }
        (_, Error::ExecuteReturnedResults) => {
            SqlError::Refused(String::from("it returns rows; use query"))
        }
        _ => SqlError::Failed(error.to_string()),
    }
}
