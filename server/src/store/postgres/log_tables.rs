//! The log's own tables, and the application's tables that the log writes.
//!
//! The own tables are made once a log table is configured. A log table may have no rule that a row
//! of the fold can break: it would fail the publish of a device that did nothing wrong.

use super::connection::Connection;
use super::types::{Form, OwnerForm, Type};
use crate::error::{SchemaProblem, ServerError};
use crate::model::{LogTable, LogType};
use crate::store::describe::FoundColumn;
use crate::store::log::{column, only_key};
use crate::store::quote::quoted;

const TABLES: &str = include_str!("../../../schema/postgres_log.sql");

/// Bytes of an index entry: a B-tree refuses more than 2,704.
const ENTRY: i64 = 2_600;

/// How a log table is stored in this database.
#[derive(Debug)]
pub(super) struct LogShape {
    /// `"schema"."table"`.
    pub(super) name: String,
    /// The types of the key and the other columns, in this order.
    pub(super) types: Vec<Type>,
}

const TABLE: &str = "SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname), c.relkind = 'r' AND c.relpersistence = 'p'
      AND NOT EXISTS (SELECT FROM pg_inherits AS i WHERE c.oid IN (i.inhparent, i.inhrelid)),
    EXISTS (SELECT FROM pg_constraint AS r WHERE r.conrelid = c.oid AND r.contype NOT IN ('p', 'n') OR r.confrelid = c.oid)
      OR EXISTS (SELECT FROM pg_rewrite AS w WHERE w.ev_class = c.oid),
    EXISTS (SELECT FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid JOIN pg_am AS m ON m.oid = x.relam
      WHERE i.indrelid = c.oid AND NOT i.indisprimary AND (i.indisunique OR i.indexprs IS NOT NULL
      OR i.indpred IS NOT NULL OR m.amname NOT IN ('btree', 'hash'))),
    row_security_active(c.oid)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)";

const COLUMNS: &str = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    a.atthasdef OR a.attidentity <> '', a.attgenerated <> '' OR a.attidentity = 'a', coalesce(p.is_key, false),
    coalesce(co.collisdeterministic, true), p.width
    FROM pg_attribute AS a
    LEFT JOIN pg_collation AS co ON co.oid = a.attcollation
    CROSS JOIN LATERAL (
      SELECT bool_or(i.indisprimary) AS is_key, max(i.indnatts)::bigint AS width
      FROM pg_index AS i WHERE i.indrelid = a.attrelid AND a.attnum = ANY(i.indkey::smallint[])
    ) AS p
    WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// Makes the log's tables if they are missing, and reads the application's. Adds their problems to
/// `problems`.
pub(super) fn refresh(
    connection: &Connection,
    names: &[&str],
    looks: bool,
    problems: &mut Vec<SchemaProblem>,
) -> Result<(Vec<LogTable>, Vec<LogShape>), ServerError> {
    let (mut tables, mut shapes) = (Vec::new(), Vec::new());
    if names.is_empty() {
        return Ok((tables, shapes));
    }
    if !looks {
        make(connection)?;
    }
    for name in names {
        if let Some((table, shape)) = read(connection, name, problems)? {
            tables.push(table);
            shapes.push(shape);
        }
    }
    Ok((tables, shapes))
}

fn make(connection: &Connection) -> Result<(), ServerError> {
    let exists = "SELECT to_regclass('rejoin.log_member') IS NOT NULL";
    if !connection.first(exists, &[])?.is_some_and(|row| row.get(0)) {
        connection.batch(TABLES)?;
    }
    // A policy does not apply to the owner of a table.
    let hidden = "SELECT row_security_active('rejoin.log_facts')";
    if connection.first(hidden, &[])?.is_some_and(|row| row.get(0)) {
        let why = "the log's tables hide their rows from the role of the server's URL: make it the owner of the tables \
                   rejoin.log_*";
        return Err(ServerError::Postgres(why.to_owned()));
    }
    Ok(())
}

fn read(
    connection: &Connection,
    table: &str,
    problems: &mut Vec<SchemaProblem>,
) -> Result<Option<(LogTable, LogShape)>, tokio_postgres::Error> {
    let before = problems.len();
    let mut problem = |column: Option<&str>, why: String| {
        let (table, column) = (table.to_owned(), column.map(str::to_owned));
        problems.push(SchemaProblem { table, column, why });
    };
    let Some(row) = connection.first(TABLE, &[&quoted(table)])? else {
        problem(None, String::from("the database has no such table: make it first"));
        return Ok(None);
    };
    let (relation, name): (i64, String) = (row.get(0), row.get(1));
    // Locked against changes until the transaction ends.
    connection.batch(&format!("LOCK TABLE {name} IN ACCESS SHARE MODE"))?;
    for (_, why) in rules(&row).iter().filter(|(broken, _)| *broken) {
        problem(None, String::from(*why));
    }
    let (mut keys, mut others, mut types) = (Vec::new(), Vec::new(), Vec::new());
    for row in connection.rows(COLUMNS, &[&relation])? {
        let found = found(&row);
        let width = row.get::<_, Option<i64>>(7);
        let max_bytes = width.map(|width| usize::try_from(ENTRY / width.max(1)).unwrap_or(0));
        if row.get(4) || found.is_key && !row.get::<_, bool>(6) {
            let why = "a log table has no generated column, and compares its key by bytes: declare \
                       another";
            problem(Some(&found.name), String::from(why));
        }
        let Some((kind, of)) = log_type(&found.declared) else {
            let why = "may refuse or round a value of a device: declare another";
            problem(Some(&found.name), format!("the type '{}' {why}", found.declared));
            continue;
        };
        let list = if found.is_key { &mut keys } else { &mut others };
        list.push(column(&found, kind, max_bytes));
        types.insert(if found.is_key { 0 } else { types.len() }, of);
    }
    let is_key = |kind| matches!(kind, LogType::Text | LogType::Uuid | LogType::Integer(_));
    if keys.len() != 1 || !keys.iter().all(|key| is_key(key.kind)) {
        problem(None, String::from("a log table has one key column: text, a UUID or an integer"));
    }
    let described = only_key(table, keys, others).filter(|_| problems.len() == before);
    Ok(described.map(|table| (table, LogShape { name, types })))
}

/// What a row of [`TABLE`] says against the table.
fn rules(row: &tokio_postgres::Row) -> [(bool, &'static str); 4] {
    [
        (
            !row.get::<_, bool>(2),
            "a log table is an ordinary table: no view, no partition, no heir",
        ),
        (
            row.get(3),
            "a log table has a primary key and NOT NULL, and no other constraint or rule of or to it: \
             a late entry could break it; test it in the action",
        ),
        (
            row.get(4),
            "a log table has plain B-tree and hash indexes only: none that is UNIQUE, partial or over \
             an expression",
        ),
        (
            row.get(5),
            "row level security hides rows from the role of the server's URL: make it the owner",
        ),
    ]
}

fn found(row: &tokio_postgres::Row) -> FoundColumn {
    FoundColumn {
        name: row.get(0),
        declared: row.get(1),
        not_null: row.get(2),
        default: row.get::<_, bool>(3).then(String::new),
        portable_default: None,
        is_key: row.get(5),
        generated: None,
        read_only: false,
        logical: "",
    }
}

/// The values of a declared type, and how its cells are read and written. Types that refuse or round
/// a value by their length, precision or domain are not there.
fn log_type(declared: &str) -> Option<(LogType, Type)> {
    let (kind, form, cast) = match declared {
        "text" | "character varying" => (LogType::Text, Form::Text, "text"),
        "uuid" => (LogType::Uuid, Form::Uuid, "uuid"),
        "smallint" => (LogType::Integer(16), Form::Integer, "smallint"),
        "integer" => (LogType::Integer(32), Form::Integer, "integer"),
        "bigint" => (LogType::Integer(64), Form::Integer, "bigint"),
        "double precision" => (LogType::Double, Form::Real, "double precision"),
        "numeric" => (LogType::Decimal, Form::Text, "numeric"),
        "boolean" => (LogType::Boolean, Form::Truth, "boolean"),
        "timestamp with time zone" => (LogType::Instant, Form::Instant, "timestamptz"),
        "timestamp without time zone" => (LogType::Instant, Form::Instant, "timestamp"),
        "date" => (LogType::Date, Form::Text, "date"),
        "json" => (LogType::Json, Form::Text, "json"),
        "jsonb" => (LogType::Json, Form::Text, "jsonb"),
        "bytea" => (LogType::Bytes, Form::Bytes, "bytea"),
        _ => return None,
    };
    Some((kind, Type { logical: "", form, cast: cast.to_owned(), owner: OwnerForm::Other }))
}
