//! Runs action checks: read-only queries that must return true.

use rejoin_protocol::Value;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

/// Whether the query returns true in its first row.
pub(super) fn holds(
    connection: &Connection,
    sql: &str,
    values: &[(&str, Value)],
) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(sql)?;
    if !statement.readonly() {
        return Err(rusqlite::Error::InvalidQuery);
    }
    for (name, value) in values {
        if let Some(at) = statement.parameter_index(&format!(":{name}"))? {
            statement.raw_bind_parameter(at, value)?;
        }
    }
    let mut rows = statement.raw_query();
    let Some(row) = rows.next()? else { return Ok(false) };
    Ok(match row.get_ref(0)? {
        ValueRef::Integer(number) => number != 0,
        ValueRef::Real(number) => number != 0.0,
        ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => false,
    })
}

/// The names of its parameters, or why the query cannot be used.
pub(super) fn parameters_of(connection: &Connection, sql: &str) -> Result<Vec<String>, String> {
    let statement = connection.prepare(sql).map_err(|error| error.to_string())?;
    if statement.column_count() == 0 || !statement.readonly() {
        return Err(String::from("a check is one query that only reads"));
    }
    (1..=statement.parameter_count()).map(|at| named(&statement, at)).collect()
}

fn named(statement: &Statement<'_>, at: usize) -> Result<String, String> {
    let name = statement.parameter_name(at).and_then(|name| name.strip_prefix(':'));
    name.map(str::to_owned).ok_or_else(|| format!("parameter {at} has no name; write :name"))
}
