//! Runs the operator's queries, which only read: action checks, which must return true, and those of streams.

use rejoin_protocol::Value;
use rusqlite::types::{Null, ValueRef};
use rusqlite::{Connection, Statement, params_from_iter};

use crate::model::PlanStep;

/// Whether the query returns true in its first row.
pub(super) fn holds(
    connection: &Connection,
    sql: &str,
    values: &[(&str, Value)],
) -> rusqlite::Result<bool> {
    Ok(truths(connection, sql, values, 1)? == [true])
}

/// What the query returns in its first rows.
pub(super) fn truths(
    connection: &Connection,
    sql: &str,
    values: &[(&str, Value)],
    most: usize,
) -> rusqlite::Result<Vec<bool>> {
    let mut statement = connection.prepare_cached(sql)?;
    if !statement.readonly() {
        return Err(rusqlite::Error::InvalidQuery);
    }
    for (name, value) in values {
        if let Some(at) = statement.parameter_index(&format!(":{name}"))? {
            statement.raw_bind_parameter(at, value)?;
        }
    }
    let (mut rows, mut found) = (statement.raw_query(), Vec::new());
    while found.len() < most
        && let Some(row) = rows.next()?
    {
        found.push(match row.get_ref(0)? {
            ValueRef::Integer(number) => number != 0,
            ValueRef::Real(number) => number != 0.0,
            ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => false,
        });
    }
    Ok(found)
}

/// The steps in which SQLite runs the query.
pub(super) fn plan(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<PlanStep>> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let nothing = vec![Null; statement.parameter_count()];
    let steps = statement.query_map(params_from_iter(nothing), |row| {
        let text: String = row.get(3)?;
        let is_scan = text.starts_with("SCAN ");
        Ok(PlanStep { text, is_scan })
    })?;
    steps.collect()
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
