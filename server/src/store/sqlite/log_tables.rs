//! The log's own tables, and the application's tables that the log writes.
//!
//! The own tables are made once a log table is configured. A log table may have no rule that a row
//! of the fold can break: it would fail the publish of a device that did nothing wrong.

use rusqlite::Connection;

use super::{ddl, introspect};
use crate::error::{SchemaProblem, ServerError};
use crate::model::{LogTable, LogType};
use crate::store::describe::FoundColumn;
use crate::store::log::{column, only_key};

const TABLES: &str = include_str!("../../../schema/sqlite_log.sql");

/// Makes the log's tables if they are missing, and reads the application's. Adds their problems to
/// `problems`.
pub(super) fn refresh(
    connection: &Connection,
    names: &[&str],
    problems: &mut Vec<SchemaProblem>,
) -> Result<Vec<LogTable>, ServerError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let exists = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'rejoin_log_member')";
    if !connection.query_row(exists, [], |row| row.get::<_, bool>(0))? {
        connection.execute_batch(TABLES)?;
    }
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        tables.extend(read(connection, name, problems)?);
    }
    Ok(tables)
}

fn read(
    connection: &Connection,
    table: &str,
    problems: &mut Vec<SchemaProblem>,
) -> rusqlite::Result<Option<LogTable>> {
    let before = problems.len();
    let mut problem = |column: Option<&str>, why: &str| {
        let (table, column) = (table.to_owned(), column.map(str::to_owned));
        problems.push(SchemaProblem { table, column, why: why.to_owned() });
    };
    let Some(sql) = introspect::definition(connection, table)? else {
        problem(None, "the database has no such table: make it first");
        return Ok(None);
    };
    let definitions = ddl::definitions(&sql);
    let columns = introspect::columns(connection, table, &definitions)?;
    rules(connection, table, &definitions, &mut problem)?;
    introspect::key_problems(&columns, &definitions, &mut |column, why| problem(column, &why));
    for column in columns.iter().filter(|column| column.generated.is_some()) {
        problem(Some(&column.name), "a log table has no generated column: use a view");
    }
    let (mut keys, mut others) = (Vec::new(), Vec::new());
    for found in &columns {
        let Some(kind) = log_type(found) else {
            let why = format!("the type '{}' is no type of a log table", found.declared);
            problem(Some(&found.name), &format!("{why}: declare another"));
            continue;
        };
        let list = if found.is_key { &mut keys } else { &mut others };
        list.push(column(found, kind, None));
    }
    Ok(only_key(table, keys, others).filter(|_| problems.len() == before))
}

/// Rules that a row of the fold may break.
fn rules(
    connection: &Connection,
    table: &str,
    definitions: &[String],
    problem: &mut impl FnMut(Option<&str>, &str),
) -> rusqlite::Result<()> {
    let count = |sql: &str| connection.query_row(sql, [table], |row| row.get::<_, bool>(0));
    if definitions.iter().any(|text| ddl::mentions(text, "check")) {
        problem(
            None,
            "a log table has no CHECK: a late entry could break it; test it in the action",
        );
    }
    if count("SELECT count(*) > 0 FROM pragma_index_list(?1) WHERE \"unique\" AND origin <> 'pk'")?
    {
        problem(
            None,
            "a log table has no UNIQUE beside its key: drop it, and test it in the action",
        );
    }
    if count(
        "SELECT count(*) > 0 FROM sqlite_schema AS m, pragma_foreign_key_list(m.name) AS f
         WHERE m.type = 'table' AND (m.name = ?1 OR lower(f.\"table\") = lower(?1))",
    )? {
        problem(None, "a foreign key of or to a log table would refuse a row: drop it");
    }
    if count(
        "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 AND name NOT LIKE 'rejoin\\_%' ESCAPE '\\' AND sql LIKE '%raise%'",
    )? {
        problem(None, "a trigger with RAISE would refuse a row of a log table: drop it");
    }
    Ok(())
}

/// The type of a declared type. SQLite rounds decimals, except in DECIMAL TEXT.
fn log_type(column: &FoundColumn) -> Option<LogType> {
    let is_decimal =
        column.declared.starts_with("numeric") || column.declared.starts_with("decimal");
    Some(match column.logical {
        "string" | "time" => LogType::Text,
        "int64" | "int" => LogType::Integer(64),
        "float" if is_decimal => {
            return column.declared.ends_with(" text").then_some(LogType::Decimal);
        }
        "float" => LogType::Double,
        "boolean" => LogType::Boolean,
        "datetime" => LogType::Instant,
        "date" => LogType::Date,
        "json" => LogType::Json,
        "bytes" => LogType::Bytes,
        _ => return None,
    })
}
