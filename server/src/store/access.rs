//! Access rules as SQL, for all stores: which rows a user sees, and the bucket of a row for the triggers.
//!
//! Pages, pushes and the change log use the same rules. A [`Dialect`] writes the comparisons for one database.

use super::quote::{cell, literal};
use crate::model::{Access, BucketColumn, GLOBAL, OWN_PREFIX, PushPolicy, Schema, Table};

/// What a user wants of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Write,
}

/// SQL of one database for the parts of an access rule. `alias` is the name of the row in the statement.
pub(super) trait Dialect {
    /// A condition that never holds.
    const NEVER: &'static str;

    /// The condition under which rows without an owner are visible.
    fn sees_global(&self) -> String;

    /// The table, quoted.
    fn name(&self, table: &Table) -> String;

    /// Whether the column holds one of the owners. Ids are case-sensitive, whatever the column's
    /// collation.
    fn is_owner(&self, table: &Table, alias: &str, column: usize) -> String;

    /// Whether the column names one of the buckets. Buckets are case-sensitive.
    fn is_in_bucket(&self, table: &Table, alias: &str, bucket: &BucketColumn) -> String;

    /// Other conditions under which the row is visible; none by default. They grant no right to write.
    fn others(&self, table: &Table, alias: &str) -> Vec<String> {
        let _ = (table, alias);
        Vec::new()
    }

    /// A cell as text.
    fn text(cell: &str) -> String;

    /// Whether a cell names no bucket.
    fn no_bucket(cell: &str) -> String;
}

/// Whether the user has this right to the row `alias`.
pub(super) fn allowed<D: Dialect>(
    dialect: &D,
    schema: &Schema,
    (table, alias): (&Table, &str),
    right: Right,
) -> String {
    let mut ways = Vec::new();
    if table.access != Access::Denied {
        ways.push(owned(dialect, schema, (table, alias), right));
    }
    if right == Right::Read || table.push == PushPolicy::Bucket {
        ways.extend(table.bucket.as_ref().map(|bucket| in_bucket(dialect, table, alias, bucket)));
    }
    if right == Right::Read {
        ways.extend(dialect.others(table, alias));
    }
    match ways.len() {
        0 => D::NEVER.to_owned(),
        1 => ways.remove(0),
        _ => format!("({})", ways.join(" OR ")),
    }
}

fn owned<D: Dialect>(
    dialect: &D,
    schema: &Schema,
    (table, alias): (&Table, &str),
    right: Right,
) -> String {
    match table.access {
        Access::Denied => D::NEVER.to_owned(),
        Access::Global => dialect.sees_global(),
        Access::Owner { column, global } => {
            let own = dialect.is_owner(table, alias, column);
            if !global {
                return own;
            }
            let owner = cell(table, alias, column);
            format!("({own} OR ({owner} IS NULL AND {}))", dialect.sees_global())
        }
        Access::Chain { column, parent } => {
            let Some(above) = schema.tables.get(parent) else { return D::NEVER.to_owned() };
            let next = parent_alias(alias);
            format!(
                "EXISTS (SELECT 1 FROM {} AS {next} WHERE {} = {} AND {})",
                dialect.name(above),
                cell(above, &next, above.key),
                cell(table, alias, column),
                allowed(dialect, schema, (above, &next), right)
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
    format!("({named} OR ({nothing} AND {}))", dialect.sees_global())
}

/// The alias of a row's parent; quoted if `alias` is.
pub(super) fn parent_alias(alias: &str) -> String {
    alias.strip_suffix('"').map_or_else(|| format!("{alias}p"), |open| format!("{open}p\""))
}

/// The bucket of the row `alias` by its owner; `None` if the table has no owner, or the parent's.
pub(super) fn owner_bucket<D: Dialect>(table: &Table, alias: &str) -> Option<String> {
    match table.access {
        Access::Denied | Access::Chain { .. } => None,
        Access::Global => Some(D::text(&literal(GLOBAL))),
        Access::Owner { column, global } => {
            let (owner, default) = (cell(table, alias, column), default_bucket(global));
            let text = D::text(&owner);
            Some(format!("CASE WHEN {owner} IS NULL THEN {default} ELSE 'user:' || {text} END"))
        }
    }
}

/// The bucket whose users write the row `alias`; `None` if the table has none, or the parent's.
pub(super) fn writers_bucket<D: Dialect>(table: &Table, alias: &str) -> Option<String> {
    if table.push == PushPolicy::Bucket {
        named_bucket::<D>(table, alias)
    } else {
        owner_bucket::<D>(table, alias)
    }
}

/// The prefix of the buckets whose users write the rows of a table or of its ancestors.
pub(super) fn writers_prefix<'a>(schema: &'a Schema, table: &'a Table) -> &'a str {
    let mut present = table;
    for _ in &schema.tables {
        let Access::Chain { parent, .. } = present.access else { break };
        let Some(above) = schema.tables.get(parent) else { break };
        present = above;
    }
    let named = present.bucket.as_ref().filter(|_| present.push == PushPolicy::Bucket);
    named.map_or(OWN_PREFIX, |bucket| bucket.prefix.as_str())
}

/// The bucket that the row `alias` names in a column of its own.
pub(super) fn named_bucket<D: Dialect>(table: &Table, alias: &str) -> Option<String> {
    let bucket = table.bucket.as_ref()?;
    let value = cell(table, alias, bucket.column);
    let (nothing, default) = (D::no_bucket(&value), default_bucket(bucket.global));
    let (prefix, text) = (literal(&bucket.prefix), D::text(&value));
    Some(format!("CASE WHEN {nothing} THEN {default} ELSE {prefix} || {text} END"))
}

/// The bucket of a row that names none.
fn default_bucket(is_global: bool) -> String {
    if is_global { literal(GLOBAL) } else { String::from("NULL") }
}
