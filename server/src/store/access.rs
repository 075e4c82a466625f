//! Access as SQL: the predicate of who sees a row, and the bucket of a row for the triggers. One place for all stores.
//!
//! What a page shows, what a push may touch and what the log names follow from the same rules here; how a database says a
//! comparison is its [`Dialect`]'s.

use super::quote::{cell, literal};
use crate::model::{Access, BucketColumn, GLOBAL, Schema, Table};

/// How a database says what access is made of. An `alias` is the name of a row in SQL.
pub(super) trait Dialect: Words {
    /// A condition that never holds.
    const NEVER: &'static str;

    /// Whether rows without an owner are seen.
    fn everybody(&self) -> String;

    /// The table, quoted.
    fn name(&self, table: &Table) -> String;

    /// The alias of the parent of a row.
    fn above(&self, alias: &str) -> String;

    /// Whether the column holds one of the owners. Ids differ by case, whatever the column's collation says.
    fn is_owner(&self, table: &Table, alias: &str, column: usize) -> String;

    /// Whether the column names one of the buckets. Buckets differ by case.
    fn is_in_bucket(&self, table: &Table, alias: &str, bucket: &BucketColumn) -> String;

    /// Other conditions under which the row is seen.
    fn others(&self, table: &Table, alias: &str) -> Vec<String>;
}

/// How a database says a value.
pub(super) trait Words {
    /// A cell as text.
    fn text(cell: &str) -> String;

    /// Whether a cell names no bucket.
    fn no_bucket(cell: &str) -> String;
}

/// Whether the row `alias` is seen.
pub(super) fn seen<D: Dialect>(dialect: &D, schema: &Schema, table: &Table, alias: &str) -> String {
    let mut ways = vec![owned(dialect, schema, table, alias)];
    ways.extend(table.bucket.as_ref().map(|bucket| in_bucket(dialect, table, alias, bucket)));
    ways.extend(dialect.others(table, alias));
    if ways.len() == 1 { ways.remove(0) } else { format!("({})", ways.join(" OR ")) }
}

fn owned<D: Dialect>(dialect: &D, schema: &Schema, table: &Table, alias: &str) -> String {
    match table.access {
        Access::Nobody => D::NEVER.to_owned(),
        Access::Global => dialect.everybody(),
        Access::Owner { column, global } => {
            let own = dialect.is_owner(table, alias, column);
            if !global {
                return own;
            }
            let owner = cell(table, alias, column);
            format!("({own} OR ({owner} IS NULL AND {}))", dialect.everybody())
        }
        Access::Chain { column, parent } => {
            let Some(above) = schema.tables.get(parent) else { return D::NEVER.to_owned() };
            let next = dialect.above(alias);
            format!(
                "EXISTS (SELECT 1 FROM {} AS {next} WHERE {} = {} AND {})",
                dialect.name(above),
                cell(above, &next, above.key),
                cell(table, alias, column),
                seen(dialect, schema, above, &next)
            )
        }
    }
}

fn in_bucket<D: Dialect>(dialect: &D, table: &Table, alias: &str, bucket: &BucketColumn) -> String {
    let named = dialect.is_in_bucket(table, alias, bucket);
    if !bucket.global {
        return named;
    }
    let nothing = D::no_bucket(&cell(table, alias, bucket.column));
    format!("({named} OR ({nothing} AND {}))", dialect.everybody())
}

/// The bucket of the row `alias` by its owner; `None` if it has none, or its parent's.
pub(super) fn owner_bucket<W: Words>(table: &Table, alias: &str) -> Option<String> {
    match table.access {
        Access::Nobody | Access::Chain { .. } => None,
        Access::Global => Some(W::text(&literal(GLOBAL))),
        Access::Owner { column, global } => {
            let (owner, nobody) = (cell(table, alias, column), nobody(global));
            let text = W::text(&owner);
            Some(format!("CASE WHEN {owner} IS NULL THEN {nobody} ELSE 'user:' || {text} END"))
        }
    }
}

/// The bucket that the row `alias` names in a column of its own.
pub(super) fn named_bucket<W: Words>(table: &Table, alias: &str) -> Option<String> {
    let bucket = table.bucket.as_ref()?;
    let value = cell(table, alias, bucket.column);
    let (nothing, nobody) = (W::no_bucket(&value), nobody(bucket.global));
    let (prefix, text) = (literal(&bucket.prefix), W::text(&value));
    Some(format!("CASE WHEN {nothing} THEN {nobody} ELSE {prefix} || {text} END"))
}

/// The bucket of a row that names none.
fn nobody(is_global: bool) -> String {
    if is_global { literal(GLOBAL) } else { String::from("NULL") }
}
