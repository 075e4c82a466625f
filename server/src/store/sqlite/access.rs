//! Access rules as SQLite SQL, over parameters that hold JSON arrays.

use rejoin_protocol::ColumnKind;

use crate::model::{Access, BucketColumn, Schema, Table};
use crate::store::access::{self, Dialect, Right, named_bucket, owner_bucket, writers_bucket};
use crate::store::quote::{cell, literal, quoted};

/// The owners in the JSON array `:{who}_owners`, rows without an owner if `:{who}_global` is 1, and rows that name a
/// bucket of `:{who}_buckets`.
struct Viewer<'a>(&'a str);

impl Dialect for Viewer<'_> {
    const NEVER: &'static str = "0";

    fn sees_global(&self) -> String {
        format!(":{}_global", self.0)
    }

    fn name(&self, table: &Table) -> String {
        quoted(&table.name)
    }

    fn is_owner(&self, table: &Table, alias: &str, column: usize) -> String {
        let value = by_bytes(table, alias, column);
        format!("{value} IN (SELECT value FROM json_each(:{}_owners))", self.0)
    }

    fn is_in_bucket(&self, table: &Table, alias: &str, bucket: &BucketColumn) -> String {
        let length = bucket.prefix.chars().count();
        format!(
            "{} IN (SELECT substr(value, {}) FROM json_each(:{}_buckets) \
             WHERE substr(value, 1, {length}) = {} AND length(value) > {length})",
            by_bytes(table, alias, bucket.column),
            length + 1,
            self.0,
            literal(&bucket.prefix),
        )
    }

    fn text(cell: &str) -> String {
        cell.to_owned()
    }

    fn no_bucket(cell: &str) -> String {
        format!("nullif({cell}, '') IS NULL")
    }
}

/// Whether the row `alias` is visible, by the parameters that begin with `see`.
pub(super) fn seen(schema: &Schema, table: &Table, alias: &str) -> String {
    access::allowed(&Viewer("see"), schema, (table, alias), Right::Read)
}

/// Whether the user may write the row `alias`, by the parameters that begin with `own`.
pub(super) fn written(schema: &Schema, table: &Table, alias: &str) -> String {
    access::allowed(&Viewer("own"), schema, (table, alias), Right::Write)
}

fn by_bytes(table: &Table, alias: &str, column: usize) -> String {
    let value = cell(table, alias, column);
    let is_text = table.columns.get(column).is_some_and(|c| c.kind == ColumnKind::String);
    let text = if is_text { value } else { format!("CAST({value} AS TEXT)") };
    format!("{text} COLLATE BINARY")
}

/// The buckets of the row `alias` as expressions; NULL for none.
pub(super) fn buckets(schema: &Schema, table: &Table, alias: &str) -> Vec<String> {
    let mut all: Vec<String> = owner_bucket::<Viewer<'_>>(table, alias).into_iter().collect();
    if let Access::Chain { column, parent } = table.access {
        let Some(above) = schema.tables.get(parent) else { return Vec::new() };
        let next = format!("{}p", alias.to_ascii_lowercase());
        let of = |bucket: String| of_parent((table, alias, column), (above, &next), &bucket);
        all.extend(buckets(schema, above, &next).into_iter().map(of));
    }
    all.extend(named_bucket::<Viewer<'_>>(table, alias));
    all
}

/// The bucket whose users write the row `alias`, by itself or by its parents, as an expression.
pub(super) fn writers(schema: &Schema, table: &Table, alias: &str) -> Option<String> {
    let Access::Chain { column, parent } = table.access else {
        return writers_bucket::<Viewer<'_>>(table, alias);
    };
    let above = schema.tables.get(parent)?;
    let next = format!("{}p", alias.to_ascii_lowercase());
    let bucket = writers(schema, above, &next)?;
    Some(of_parent((table, alias, column), (above, &next), &bucket))
}

/// An expression on the parent of a row: both with their aliases, the row with its parent column.
fn of_parent(
    (table, alias, column): (&Table, &str, usize),
    (above, next): (&Table, &str),
    expression: &str,
) -> String {
    format!(
        "(SELECT {expression} FROM {} AS {next} WHERE {} = {})",
        quoted(&above.name),
        cell(above, next, above.key),
        cell(table, alias, column)
    )
}
