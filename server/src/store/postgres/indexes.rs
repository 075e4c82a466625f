//! Creates missing indexes for the access paths by which rows are found ([`super::access_paths`]), each
//! ordered by key.

use super::Shape;
use super::access::no_bucket;
use super::connection::Connection;
use super::types::OwnerForm;
use crate::model::{Access, Table};
use crate::store::quote::quoted;

/// A required index.
struct Wanted {
    /// The middle part of its name, between `rejoin_` and the table's number.
    what: &'static str,
    /// The column before the key, if any.
    first: Option<usize>,
    /// The predicate of a partial index.
    of: Option<String>,
}

/// The indexes that a table needs besides its primary key.
fn wanted(table: &Table, shape: &Shape) -> Vec<Wanted> {
    let of_rows = |what, of| Wanted { what, first: None, of };
    // Other types are compared as text and need no index. A key has its own.
    let by = |what, column| {
        let is_compared = shape.compares(column) != OwnerForm::Other && column != table.key;
        is_compared.then_some(Wanted { what, first: Some(column), of: None })
    };
    let mut wanted = Vec::new();
    // Text keys are read in byte order.
    wanted.extend(shape.by_bytes.then(|| of_rows("key", None)));
    match table.access {
        Access::Owner { column, global } => {
            let no_owner = || of_rows("open", Some(format!("{} IS NULL", name(table, column))));
            wanted.extend(by("owner", column));
            wanted.extend(global.then(no_owner));
        }
        Access::Chain { column, .. } if column != table.key => {
            wanted.push(Wanted { what: "parent", first: Some(column), of: None });
        }
        Access::Chain { .. } | Access::Global | Access::Denied => {}
    }
    if let Some(bucket) = &table.bucket {
        let unnamed = || of_rows("unnamed", Some(no_bucket(&name(table, bucket.column))));
        let is_compared = shape.compares(bucket.column) != OwnerForm::Other;
        wanted.extend(by("bucket", bucket.column));
        // The text form of other types depends on settings and cannot be indexed.
        wanted.extend((bucket.global && is_compared).then(unnamed));
    }
    wanted
}

fn name(table: &Table, at: usize) -> String {
    quoted(table.columns.get(at).map_or("", |column| column.name.as_str()))
}

/// Creates the missing indexes.
pub(super) fn install(
    connection: &Connection,
    table: &Table,
    shape: &Shape,
) -> Result<(), tokio_postgres::Error> {
    let order = if shape.by_bytes { " COLLATE \"C\"" } else { "" };
    for Wanted { what, first, of } in wanted(table, shape) {
        let called = format!("rejoin_{what}_{}", table.number);
        if is_there(connection, table, shape, first, of.is_some().then_some(&called))? {
            continue;
        }
        let first = first.map_or(String::new(), |at| format!("{}, ", name(table, at)));
        let of = of.map_or(String::new(), |of| format!(" WHERE {of}"));
        connection.batch(&format!(
            "CREATE INDEX {} ON {} ({first}{}{order}){of}",
            quoted(&called),
            shape.name,
            name(table, table.key)
        ))?;
    }
    Ok(())
}

/// Whether an equivalent index exists: a full one by its columns, a partial one (`called`) by its
/// name.
fn is_there(
    connection: &Connection,
    table: &Table,
    shape: &Shape,
    first: Option<usize>,
    called: Option<&String>,
) -> Result<bool, tokio_postgres::Error> {
    if let Some(called) = called {
        let find =
            "SELECT EXISTS (SELECT FROM pg_index AS i JOIN pg_class AS n ON n.oid = i.indexrelid
                    WHERE i.indrelid = $1::bigint::oid AND i.indisvalid AND n.relname = $2)";
        let row = connection.first(find, &[&shape.relation, called])?;
        return Ok(row.is_some_and(|row| row.get(0)));
    }
    // A different operator class, access method or collation would not be used.
    let find = "SELECT EXISTS (SELECT FROM pg_index AS i JOIN pg_class AS n ON n.oid = i.indexrelid
                JOIN pg_am AS m ON m.oid = n.relam
                WHERE i.indrelid = $1::bigint::oid AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree'
                AND i.indnkeyatts >= cardinality($2::integer[])
                AND NOT EXISTS (SELECT FROM unnest($2::integer[], $3::boolean[]) WITH ORDINALITY AS w(attnum, by_bytes, at)
                  LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = w.attnum
                  LEFT JOIN pg_opclass AS o ON o.oid = i.indclass[w.at::integer - 1]
                  WHERE i.indkey[w.at::integer - 1] <> w.attnum OR NOT o.opcdefault
                  OR i.indcollation[w.at::integer - 1]
                    <> CASE WHEN w.by_bytes THEN '\"C\"'::regcollation::oid ELSE a.attcollation END))";
    let columns: Vec<usize> = first.into_iter().chain([table.key]).collect();
    let attnums: Vec<i32> =
        columns.iter().map(|at| shape.attnums.get(*at).copied().unwrap_or_default()).collect();
    let by_bytes: Vec<bool> = columns.iter().map(|at| *at == table.key && shape.by_bytes).collect();
    let row = connection.first(find, &[&shape.relation, &attnums, &by_bytes])?;
    Ok(row.is_some_and(|row| row.get(0)))
}
