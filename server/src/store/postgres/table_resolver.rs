//! Tables with bucket resolvers in Rust: what triggers leave to the feeder, and who sees a row
//! meanwhile.
//!
//! A trigger cannot call host code. It writes a placeholder bucket, `#` with the table's number and
//! the row's key, which moves and chains treat like any bucket. It ends up in `rejoin.tell` instead
//! of the inbox. The row itself is queued in `rejoin.ask`; until it is resolved, it is in none of
//! the resolver's buckets.

use std::fmt::Write as _;
use std::sync::Arc;

use super::connection::Connection;
use super::{Known, Shape, member};
use crate::bucket_resolver::BucketResolver;
use crate::config::TableConfig;
use crate::error::SchemaProblem;
use crate::model::{Access, Table, WAITING};
use crate::store::quote::{cell, literal};

/// In `rejoin.meta`: the version of a table's resolver, by table number.
pub(super) const PREFIX: &str = "resolver_";

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// A table's resolver.
#[derive(Debug, Clone)]
pub(super) struct TableResolver {
    pub(super) resolver: Arc<dyn BucketResolver>,
    /// Maximum number of buckets of one row; 0 is unlimited.
    pub(super) most: u32,
    pub(super) version: u32,
    /// The columns that the resolver depends on; `None`: all.
    columns: Option<Vec<String>>,
}

/// The resolver of this table, limited to existing columns.
pub(super) fn find(
    connection: &Connection,
    config: &TableConfig,
    relation: i64,
    problems: &mut Vec<SchemaProblem>,
) -> Result<Option<TableResolver>> {
    let Some(resolver) = &config.bucket_resolver else { return Ok(None) };
    let columns = resolver.decides_by(&config.name);
    let missing = "SELECT name FROM unnest($2::text[]) AS name WHERE NOT EXISTS (SELECT FROM pg_attribute AS a
        WHERE a.attrelid = $1::bigint::oid AND a.attname = name AND a.attnum > 0 AND NOT a.attisdropped)";
    for row in connection.rows(missing, &[&relation, &columns.clone().unwrap_or_default()])? {
        let (table, column) = (config.name.clone(), Some(row.get(0)));
        let why = String::from("the table has no such column for its resolver of buckets");
        problems.push(SchemaProblem { table, column, why });
    }
    Ok(Some(TableResolver {
        resolver: Arc::clone(resolver),
        most: config.max_buckets_per_event.unwrap_or_default(),
        version: resolver.version(),
        columns,
    }))
}

/// Whether a resolver names buckets of this table's rows: its own, or that of a table above.
pub(super) fn is_awaited(known: &Known, table: &Table) -> bool {
    let mut present = table;
    for _ in 0..=known.schema.tables.len() {
        if known.shape(present).resolver.is_some() {
            return true;
        }
        let Access::Chain { parent, .. } = present.access else { return false };
        let Some(above) = known.schema.tables.get(parent) else { return false };
        present = above;
    }
    false
}

/// The placeholder for the resolver's buckets of the row `alias`, as an array.
pub(super) fn placeholder(table: &Table, alias: &str) -> String {
    format!("ARRAY['#{}:' || {}::text]", table.number, cell(table, alias, table.key))
}

/// Whether the row `alias` is in one of the buckets of this parameter, and its current version is
/// resolved.
pub(super) fn seen(table: &Table, alias: &str, parameter: usize) -> String {
    let was = member::seen(table, alias, parameter);
    format!(
        "({was} AND ('{WAITING}' = ANY(${parameter}::text[]) OR NOT EXISTS (SELECT FROM rejoin.ask AS w \
         WHERE w.table_number = {} AND w.record_id = {}::text)))",
        table.number,
        cell(table, alias, table.key)
    )
}

/// Whether readers of these buckets only see resolved rows.
pub(super) fn sees_resolved_only(buckets: &[String]) -> bool {
    !buckets.iter().any(|bucket| bucket == WAITING)
}

/// Like [`sees_resolved_only`], as a further condition on a member `m`.
pub(super) fn resolved_only(is_asked: bool) -> &'static str {
    if !is_asked {
        return "";
    }
    " AND NOT EXISTS (SELECT FROM rejoin.ask AS w WHERE w.table_number = m.table_number AND w.record_id = m.record_id)"
}

/// Entries of the rows that a query returns (`b`, `n`, `k`); entries with placeholders wait for the
/// feeder.
pub(super) fn put_awaited(rows: &str) -> String {
    format!(
        "WITH entries(b, n, k) AS (
    {rows}
  ), awaited AS (
    INSERT INTO rejoin.tell(source_table, source_id, table_number, record_id)
    SELECT split_part(substr(b, 2), ':', 1)::integer, substr(b, strpos(b, ':') + 1), n, k FROM entries
    WHERE starts_with(b, '#')
  )
  INSERT INTO rejoin.inbox(bucket, table_number, record_id) SELECT b, n, k FROM entries WHERE NOT starts_with(b, '#');\n"
    )
}

/// The trigger's last step: queues the row, unless no relevant column has changed.
pub(super) fn capture(resolver: &TableResolver, table: &Table) -> String {
    let (old, new) = (cell(table, "OLD", table.key), cell(table, "NEW", table.key));
    let number = table.number;
    let is_same = |column: &String| {
        let name = literal(column);
        format!("(to_jsonb(OLD)->{name}) IS NOT DISTINCT FROM (to_jsonb(NEW)->{name})")
    };
    let mut stays = String::from("false");
    if let Some(columns) = &resolver.columns {
        stays = format!(
            "{old} = {new} AND NOT EXISTS (SELECT FROM rejoin.bucket_failure AS f WHERE f.table_number = {number} \
             AND f.record_id = {new}::text)"
        );
        for column in columns {
            let _ = write!(stays, " AND {}", is_same(column));
        }
    }
    format!(
        "  -- resolver, at most {most}
  IF TG_OP = 'INSERT' THEN
    INSERT INTO rejoin.ask(table_number, record_id, operation, new_row) VALUES ({number}, {new}::text, 'create', to_jsonb(NEW));
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO rejoin.ask(table_number, record_id, operation) VALUES ({number}, {old}::text, 'delete');
  ELSIF NOT ({stays}) THEN
    IF {old} IS DISTINCT FROM {new} THEN
      INSERT INTO rejoin.ask(table_number, record_id, operation) VALUES ({number}, {old}::text, 'delete');
    END IF;
    INSERT INTO rejoin.ask(table_number, record_id, operation, new_row, old_row)
    VALUES ({number}, {new}::text, 'update', to_jsonb(NEW), to_jsonb(OLD));
  END IF;
",
        most = resolver.most,
    )
}

/// Handles TRUNCATE.
pub(super) fn truncate(known: &Known, table: &Table) -> String {
    format!(
        "  INSERT INTO rejoin.ask(table_number, record_id, operation) SELECT {}, {}::text, 'delete' FROM {} AS t;\n",
        table.number,
        cell(table, "t", table.key),
        known.shape(table).name
    )
}

/// Queues all existing rows if there is a resolver, and discards earlier results. The table is
/// locked against writers.
pub(super) fn install(connection: &Connection, table: &Table, shape: &Shape) -> Result<()> {
    let number = table.number;
    connection.batch(&format!(
        "DELETE FROM rejoin.ask WHERE table_number = {number}; DELETE FROM rejoin.tell WHERE source_table = {number}"
    ))?;
    let Some(resolver) = &shape.resolver else { return Ok(()) };
    connection.batch(&format!(
        "INSERT INTO rejoin.meta AS m (key, value) VALUES ('{PREFIX}{number}', '{version}') ON CONFLICT(key) DO UPDATE
         SET value = greatest(m.value::bigint, {version})::text;
         INSERT INTO rejoin.ask(table_number, record_id, operation, new_row) SELECT {number}, {}::text, 'create', to_jsonb(t)
         FROM {} AS t",
        cell(table, "t", table.key),
        shape.name,
        version = resolver.version,
    ))
}

/// Whether the resolver is newer than the one last used. An older one, on a node not yet updated,
/// is not called any more ([`is_outdated`]).
pub(super) fn is_news(connection: &Connection, table: &Table, shape: &Shape) -> Result<bool> {
    let Some(resolver) = &shape.resolver else { return Ok(false) };
    let select =
        "SELECT coalesce((SELECT value::bigint < $2 FROM rejoin.meta WHERE key = $1), true)";
    let key = format!("{PREFIX}{}", table.number);
    let row = connection.first(select, &[&key, &i64::from(resolver.version)])?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Whether another node has a newer version of one of these resolvers.
pub(super) fn is_outdated(connection: &Connection, known: &Known) -> Result<bool> {
    let all = known.schema.tables.iter().zip(&known.shapes);
    let (keys, versions): (Vec<String>, Vec<i64>) = all
        .filter_map(|(table, shape)| {
            let resolver = shape.resolver.as_ref()?;
            Some((format!("{PREFIX}{}", table.number), i64::from(resolver.version)))
        })
        .unzip();
    let select = "SELECT EXISTS (SELECT FROM unnest($1::text[], $2::bigint[]) AS o(key, version)
        JOIN rejoin.meta AS m ON m.key = o.key WHERE m.value::bigint > o.version)";
    Ok(connection.first(select, &[&keys, &versions])?.is_some_and(|row| row.get(0)))
}

/// Removes queued rows of tables that are no longer synced or have no resolver.
pub(super) fn forget_others(connection: &Connection, known: &Known) -> Result<()> {
    let numbers: Vec<i64> = known.schema.tables.iter().map(|table| table.number).collect();
    let ask = "DELETE FROM rejoin.ask WHERE NOT table_number = ANY($1::bigint[])";
    connection.execute(ask, &[&numbers])?;
    let tell = "DELETE FROM rejoin.tell WHERE NOT source_table = ANY($1::bigint[])";
    connection.execute(tell, &[&numbers])?;
    let all = known.schema.tables.iter().zip(&known.shapes);
    let resolver = all.filter(|(_, shape)| shape.resolver.is_some());
    let keys: Vec<String> =
        resolver.map(|(table, _)| format!("{PREFIX}{}", table.number)).collect();
    let resolver =
        "DELETE FROM rejoin.meta WHERE starts_with(key, $1) AND NOT key = ANY($2::text[])";
    connection.execute(resolver, &[&PREFIX, &keys]).map(drop)
}
