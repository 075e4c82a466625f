//! Buckets from an operator's database function: computed when a row is written, stored next to the
//! row, used by reads.
//!
//! A generated wrapper function per table calls it, limits its result and fails closed: a row for
//! which it fails is in none of its buckets and is recorded for a retry. The writer is not
//! affected.

use super::connection::Connection;
use super::{Known, Shape};
use crate::config::TableConfig;
use crate::error::SchemaProblem;
use crate::model::{BucketFailure, Replayed, Table};
use crate::store::quote::{cell, literal, quoted};

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// A function that names buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    /// Its name with its schema, quoted.
    name: String,
    /// Maximum number of buckets of one row; 0 is unlimited.
    most: u32,
    /// The search path, as in the server's session.
    path: String,
}

/// The parameters: table, `create` or `update`, new row, old row.
const PARAMETERS: &str = "(text, text, jsonb, jsonb)";

/// The function that this table names, if it exists.
pub(super) fn find(
    connection: &Connection,
    config: &TableConfig,
    problems: &mut Vec<SchemaProblem>,
) -> Result<Option<Function>> {
    let Some(named) = &config.bucket_function else { return Ok(None) };
    let select = "SELECT n.nspname::text, p.proname::text,
        coalesce((SELECT string_agg(quote_ident(s), ', ') FROM unnest(current_schemas(false)) AS s), '')
        FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE p.oid = to_regprocedure($1) AND p.proretset AND p.prokind = 'f' AND p.prorettype = 'text'::regtype";
    let Some(row) = connection.first(select, &[&format!("{named}{PARAMETERS}")])? else {
        let why = format!(
            "there is no function {named}{PARAMETERS} that returns SETOF text: make it first"
        );
        problems.push(SchemaProblem { table: config.name.clone(), column: None, why });
        return Ok(None);
    };
    let (space, name, path): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    Ok(Some(Function {
        name: format!("{}.{}", quoted(&space), quoted(&name)),
        most: config.max_buckets_per_event.unwrap_or_default(),
        path: if path.is_empty() { String::from("pg_catalog") } else { path },
    }))
}

/// The function's buckets of the row `alias`, as an array.
pub(super) fn buckets(table: &Table, alias: &str) -> String {
    format!(
        "ARRAY(SELECT m.bucket FROM rejoin.member AS m WHERE m.table_number = {} AND m.record_id = {}::text)",
        table.number,
        cell(table, alias, table.key)
    )
}

/// Whether the row `alias` is in one of the buckets of this parameter.
pub(super) fn seen(table: &Table, alias: &str, parameter: usize) -> String {
    format!(
        "EXISTS (SELECT FROM rejoin.member AS m WHERE m.table_number = {} AND m.record_id = {}::text \
         AND m.bucket = ANY(${parameter}::text[]))",
        table.number,
        cell(table, alias, table.key)
    )
}

/// The trigger's first step: the row's former and new buckets.
pub(super) fn capture(function: &Function, table: &Table) -> String {
    let (old, new) = (cell(table, "OLD", table.key), cell(table, "NEW", table.key));
    let number = table.number;
    format!(
        "  -- {name}, at most {most}
  IF TG_OP <> 'INSERT' THEN
    former := {former};
  END IF;
  IF TG_OP = 'INSERT' THEN
    fresh := rejoin.assign_{number}('create', {new}::text, to_jsonb(NEW), NULL);
  ELSIF TG_OP = 'UPDATE' THEN
    IF {old} IS DISTINCT FROM {new} THEN
      DELETE FROM rejoin.member AS m WHERE m.table_number = {number} AND m.record_id = {old}::text;
    END IF;
    fresh := rejoin.assign_{number}('update', {new}::text, to_jsonb(NEW), to_jsonb(OLD));
  END IF;
  buckets := former || fresh;
",
        name = function.name,
        most = function.most,
        former = buckets(table, "OLD"),
    )
}

/// Removes the stored buckets of a deleted row.
pub(super) fn forget(table: &Table) -> String {
    let (number, old) = (table.number, cell(table, "OLD", table.key));
    format!(
        "BEGIN
  DELETE FROM rejoin.member AS m WHERE m.table_number = {number} AND m.record_id = {old}::text;
  DELETE FROM rejoin.bucket_failure AS f WHERE f.table_number = {number} AND f.record_id = {old}::text;
  RETURN NULL;
END"
    )
}

/// Removes the stored buckets of all rows.
pub(super) fn forget_all(table: &Table) -> String {
    let number = table.number;
    format!(
        "  DELETE FROM rejoin.member AS m WHERE m.table_number = {number};
  DELETE FROM rejoin.bucket_failure AS f WHERE f.table_number = {number};
"
    )
}

/// Creates the table's wrapper function and computes the buckets of all existing rows. The table is
/// locked against writers.
pub(super) fn install(connection: &Connection, table: &Table, shape: &Shape) -> Result<()> {
    connection.batch(&forget_all(table))?;
    let Some(function) = &shape.function else { return Ok(()) };
    let number = table.number;
    connection.batch(&format!(
        "CREATE OR REPLACE FUNCTION rejoin.assign_{number}(operation text, key text, new_row jsonb, old_row jsonb)
         RETURNS text[] LANGUAGE plpgsql SECURITY DEFINER SET search_path = {path}, pg_temp AS {body}",
        path = function.path,
        body = literal(&assign(function, table)),
    ))?;
    connection.rows(
        &format!(
            "SELECT count(rejoin.assign_{number}('create', {}::text, to_jsonb(t), NULL)) FROM {} AS t",
            cell(table, "t", table.key),
            shape.name
        ),
        &[],
    )?;
    Ok(())
}

/// Temporary errors are reported to the writer; all others fail closed.
fn assign(function: &Function, table: &Table) -> String {
    let Function { name, most, .. } = function;
    let number = table.number;
    let bound = if *most == 0 {
        String::new()
    } else {
        format!(
            "    IF cardinality(named) > {most} THEN
      RAISE EXCEPTION '% buckets, at most {most}', cardinality(named) USING ERRCODE = 'cardinality_violation';
    END IF;\n"
        )
    };
    format!(
        "DECLARE
  named text[];
BEGIN
  BEGIN
    named := ARRAY(SELECT DISTINCT f.b FROM {name}({table}, operation, new_row, old_row) AS f(b) WHERE f.b <> '' AND NOT starts_with(f.b, '#'));
{bound}    DELETE FROM rejoin.bucket_failure AS x WHERE x.table_number = {number} AND x.record_id = key;
  EXCEPTION
    WHEN transaction_rollback OR insufficient_resources OR operator_intervention OR lock_not_available THEN
      RAISE;
    WHEN OTHERS THEN
      named := ARRAY[]::text[];
      INSERT INTO rejoin.bucket_failure AS x (table_number, record_id, why)
      VALUES ({number}, key, SQLSTATE || ': ' || SQLERRM)
      ON CONFLICT ON CONSTRAINT bucket_failure_pkey DO UPDATE SET why = excluded.why, at = excluded.at;
  END;
  DELETE FROM rejoin.member AS m WHERE m.table_number = {number} AND m.record_id = key AND m.bucket <> ALL(named);
  INSERT INTO rejoin.member(table_number, record_id, bucket) SELECT {number}, key, b FROM unnest(named) AS b
  ON CONFLICT DO NOTHING;
  RETURN named;
END",
        table = literal(&table.name),
    )
}

/// The rows for which the functions failed.
pub(super) fn failures(connection: &Connection) -> Result<Vec<BucketFailure>> {
    let select = "SELECT n.name, f.record_id, f.why FROM rejoin.bucket_failure AS f
                  JOIN rejoin.table_number AS n ON n.number = f.table_number ORDER BY f.at, n.name, f.record_id";
    let failure = |row: &tokio_postgres::Row| BucketFailure {
        table: row.get(0),
        id: row.get(1),
        why: row.get(2),
    };
    Ok(connection.rows(select, &[])?.iter().map(failure).collect())
}

/// Updates those rows without changes, so that the functions run again and devices are notified.
pub(super) fn replay(connection: &Connection, known: &Known) -> Result<Replayed> {
    let failures = failures(connection)?;
    for failure in &failures {
        let Some(table) = known.schema.table(&failure.table) else { continue };
        let shape = known.shape(table);
        let key = quoted(table.columns.get(table.key).map_or("", |column| &column.name));
        let touch = format!(
            "UPDATE {} SET {key} = {key} WHERE {key} = $1::text::{}",
            shape.name,
            shape.cast(table.key)
        );
        connection.execute(&touch, &[&failure.id])?;
        if shape.resolver.is_some() {
            // The feeder records the outcome.
            let asked = "DELETE FROM rejoin.bucket_failure WHERE table_number = $1::bigint AND record_id = $2";
            connection.execute(asked, &[&table.number, &failure.id])?;
        }
    }
    Ok(Replayed { tried: failures.len(), failed: self::failures(connection)?.len() })
}
