//! Access as SQL: the predicate of who sees a row, and the expression of its bucket for the triggers.
//!
//! One place, so that what a page shows, what a push may touch and what the log names cannot drift apart.

use super::quote::{cell, literal};
use super::types::OwnerForm;
use super::{Known, Shape, fed, member};
use crate::model::{Access, BucketColumn, Table};

/// The numbers of a look's parameters: the owners as a list of texts, whether everybody's rows are seen, and the buckets by
/// their whole names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Eyes {
    pub(super) owners: usize,
    pub(super) global: usize,
    pub(super) buckets: usize,
}

/// Whether the row `alias` is seen.
pub(super) fn seen(known: &Known, table: &Table, alias: &str, eyes: Eyes) -> String {
    let mut ways = vec![owned(known, table, alias, eyes)];
    let named = table.bucket.as_ref();
    ways.extend(named.map(|bucket| in_bucket(known, table, alias, eyes, bucket)));
    let Shape { function, fed, .. } = known.shape(table);
    ways.extend(function.as_ref().map(|_| member::seen(table, alias, eyes.buckets)));
    ways.extend(fed.as_ref().map(|_| fed::seen(table, alias, eyes.buckets)));
    if ways.len() == 1 { ways.remove(0) } else { format!("({})", ways.join(" OR ")) }
}

fn owned(known: &Known, table: &Table, alias: &str, eyes: Eyes) -> String {
    match table.access {
        Access::Nobody => String::from("false"),
        Access::Global => format!("${}::boolean", eyes.global),
        Access::Owner { column, global: is_open } => {
            let owner = cell(table, alias, column);
            let own = is_of(
                known.shape(table).compares(column),
                &owner,
                &format!("${}::text[]", eyes.owners),
            );
            if is_open {
                format!("({own} OR ({owner} IS NULL AND ${}::boolean))", eyes.global)
            } else {
                own
            }
        }
        Access::Chain { column, parent } => {
            let Some(above) = known.schema.tables.get(parent) else { return String::from("false") };
            let next = above_of(alias);
            format!(
                "EXISTS (SELECT FROM {} AS {next} WHERE {} = {} AND {})",
                known.shape(above).name,
                cell(above, &next, above.key),
                cell(table, alias, column),
                seen(known, above, &next, eyes)
            )
        }
    }
}

fn in_bucket(
    known: &Known,
    table: &Table,
    alias: &str,
    eyes: Eyes,
    bucket: &BucketColumn,
) -> String {
    let value = cell(table, alias, bucket.column);
    let prefix = literal(&bucket.prefix);
    let list = format!(
        "ARRAY(SELECT substr(b, {}) FROM unnest(${}::text[]) AS b WHERE starts_with(b, {prefix}) AND b <> {prefix})",
        bucket.prefix.chars().count() + 1,
        eyes.buckets,
    );
    let named = is_of(known.shape(table).compares(bucket.column), &value, &list);
    if bucket.global {
        let nothing = no_bucket(&value);
        return format!("({named} OR ({nothing} AND ${}::boolean))", eyes.global);
    }
    named
}

/// Whether a cell names no bucket.
pub(super) fn no_bucket(value: &str) -> String {
    format!("coalesce({value}::text, '') = ''")
}

/// The alias of a row's parent; one in quotes stays so.
pub(super) fn above_of(alias: &str) -> String {
    alias.strip_suffix('"').map_or_else(|| format!("{alias}p"), |open| format!("{open}p\""))
}

/// User ids and buckets are texts and differ by case. A list is compared in the column's own type where that says the same,
/// so that an index on the column serves; a text that is no value of the type names nothing there.
fn is_of(form: OwnerForm, value: &str, list: &str) -> String {
    match form {
        OwnerForm::Text => format!("{value} = ANY({list})"),
        OwnerForm::Uuid => format!(
            "{value} = ANY(ARRAY(SELECT o::uuid FROM unnest({list}) AS o WHERE o ~ \
             '^[0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}$'))"
        ),
        OwnerForm::Integer => format!(
            "{value} = ANY(ARRAY(SELECT o::bigint FROM unnest({list}) AS o WHERE o ~ \
             '^(0|-?[1-9][0-9]{{0,17}})$'))"
        ),
        OwnerForm::Other => format!("{value}::text COLLATE \"C\" = ANY({list})"),
    }
}

/// The buckets of the row `alias` as an array, with NULL for none; a stand-in for those that a resolver names.
pub(super) fn buckets(known: &Known, table: &Table, alias: &str) -> String {
    let own = match table.access {
        Access::Nobody => None,
        Access::Global => Some(String::from("ARRAY['global'::text]")),
        Access::Owner { column, global } => {
            let owner = cell(table, alias, column);
            let nobody = if global { "'global'" } else { "NULL" };
            Some(format!(
                "ARRAY[CASE WHEN {owner} IS NULL THEN {nobody} ELSE 'user:' || {owner}::text END]"
            ))
        }
        Access::Chain { column, parent } => known.schema.tables.get(parent).map(|above| {
            let next = format!("{}p", alias.to_ascii_lowercase());
            format!(
                "(SELECT {} FROM {} AS {next} WHERE {} = {})",
                buckets(known, above, &next),
                known.shape(above).name,
                cell(above, &next, above.key),
                cell(table, alias, column)
            )
        }),
    };
    let named = table.bucket.as_ref().map(|bucket| {
        let value = cell(table, alias, bucket.column);
        let nobody = if bucket.global { "'global'" } else { "NULL" };
        let prefix = literal(&bucket.prefix);
        format!(
            "ARRAY[CASE WHEN {} THEN {nobody} ELSE {prefix} || {value}::text END]",
            no_bucket(&value)
        )
    });
    let Shape { function, fed, .. } = known.shape(table);
    let function = function.as_ref().map(|_| member::buckets(table, alias));
    let resolver = fed.as_ref().map(|_| fed::stand_in(table, alias));
    let all: Vec<String> = own.into_iter().chain(named).chain(function).chain(resolver).collect();
    if all.is_empty() { String::from("ARRAY[]::text[]") } else { all.join(" || ") }
}
