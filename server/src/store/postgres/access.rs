//! Access rules as PostgreSQL SQL, over numbered parameters that hold arrays.

use super::types::OwnerForm;
use super::{Known, Shape, member, table_resolver};
use crate::model::{Access, BucketColumn, Table};
use crate::store::access::{self, Dialect, Right, named_bucket, owner_bucket, writers_bucket};
use crate::store::quote::{cell, literal};

/// The parameter numbers of a query: the owners as a list of texts, whether public rows are
/// visible, and the buckets by full name.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccessParams {
    pub(super) owners: usize,
    pub(super) global: usize,
    pub(super) buckets: usize,
}

/// The parameters of a statement over tables of these shapes.
struct Viewer<'a> {
    known: &'a Known,
    eyes: AccessParams,
}

impl Dialect for Viewer<'_> {
    const NEVER: &'static str = "false";

    fn sees_global(&self) -> String {
        format!("${}::boolean", self.eyes.global)
    }

    fn name(&self, table: &Table) -> String {
        self.known.shape(table).name.clone()
    }

    fn is_owner(&self, table: &Table, alias: &str, column: usize) -> String {
        let list = format!("${}::text[]", self.eyes.owners);
        is_of(self.known.shape(table).compares(column), &cell(table, alias, column), &list)
    }

    fn is_in_bucket(&self, table: &Table, alias: &str, bucket: &BucketColumn) -> String {
        let prefix = literal(&bucket.prefix);
        let list = format!(
            "ARRAY(SELECT substr(b, {}) FROM unnest(${}::text[]) AS b WHERE starts_with(b, {prefix}) AND b <> {prefix})",
            bucket.prefix.chars().count() + 1,
            self.eyes.buckets,
        );
        let value = cell(table, alias, bucket.column);
        is_of(self.known.shape(table).compares(bucket.column), &value, &list)
    }

    /// Rows in buckets named by a bucket function or a resolver.
    fn others(&self, table: &Table, alias: &str) -> Vec<String> {
        let Shape { function, resolver, .. } = self.known.shape(table);
        let function = function.as_ref().map(|_| member::seen(table, alias, self.eyes.buckets));
        let resolved =
            resolver.as_ref().map(|_| table_resolver::seen(table, alias, self.eyes.buckets));
        function.into_iter().chain(resolved).collect()
    }

    fn text(cell: &str) -> String {
        format!("{cell}::text")
    }

    fn no_bucket(cell: &str) -> String {
        format!("coalesce({cell}::text, '') = ''")
    }
}

/// Whether the user of these parameters has this right to the row `alias`.
pub(super) fn allowed(
    known: &Known,
    (table, alias): (&Table, &str),
    eyes: AccessParams,
    right: Right,
) -> String {
    access::allowed(&Viewer { known, eyes }, &known.schema, (table, alias), right)
}

/// Whether a cell names no bucket.
pub(super) fn no_bucket(value: &str) -> String {
    Viewer::no_bucket(value)
}

/// User ids and buckets are texts. A list is compared in the column's own type where that is
/// equivalent, so that an index on the column is used. A text that is not a value of the type
/// matches nothing.
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

/// The buckets of the row `alias` as an array, with NULL for none; a placeholder for those named by
/// a resolver.
pub(super) fn buckets(known: &Known, table: &Table, alias: &str) -> String {
    let own = match table.access {
        Access::Chain { .. } => {
            of_parent(known, table, alias, |above, next| Some(buckets(known, above, next)))
        }
        _ => owner_bucket::<Viewer<'_>>(table, alias).map(|one| format!("ARRAY[{one}]")),
    };
    let named = named_bucket::<Viewer<'_>>(table, alias).map(|one| format!("ARRAY[{one}]"));
    let Shape { function, resolver, .. } = known.shape(table);
    let function = function.as_ref().map(|_| member::buckets(table, alias));
    let resolver = resolver.as_ref().map(|_| table_resolver::placeholder(table, alias));
    let all: Vec<String> = own.into_iter().chain(named).chain(function).chain(resolver).collect();
    if all.is_empty() { String::from("ARRAY[]::text[]") } else { all.join(" || ") }
}

/// The bucket whose users write the row `alias`, by itself or by its parents, as an expression.
pub(super) fn writers(known: &Known, table: &Table, alias: &str) -> Option<String> {
    match table.access {
        Access::Chain { .. } => {
            of_parent(known, table, alias, |above, next| writers(known, above, next))
        }
        _ => writers_bucket::<Viewer<'_>>(table, alias),
    }
}

/// An expression on the parent of the row `alias`; `of` takes the parent's table and alias.
fn of_parent(
    known: &Known,
    table: &Table,
    alias: &str,
    of: impl FnOnce(&Table, &str) -> Option<String>,
) -> Option<String> {
    let Access::Chain { column, parent } = table.access else { return None };
    let above = known.schema.tables.get(parent)?;
    let next = format!("{}p", alias.to_ascii_lowercase());
    Some(format!(
        "(SELECT {} FROM {} AS {next} WHERE {} = {})",
        of(above, &next)?,
        known.shape(above).name,
        cell(above, &next, above.key),
        cell(table, alias, column)
    ))
}
