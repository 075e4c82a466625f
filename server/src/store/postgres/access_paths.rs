//! Finds all rows visible to a user along indexes: each access path reads its own index in key
//! order, and the results are merged.
//!
//! No index supports the predicate over all access paths ([`super::access::seen`]): it would scan
//! all rows of other users, or sort all visible rows for each page. Here each owner and each bucket
//! is a branch that is read lazily. A page costs its own rows and one index descent per branch,
//! however large the table is. Child rows are found through visible parents, which costs as much as
//! the user has.

use super::access::no_bucket;
use super::types::{self, OwnerForm};
use super::{Known, Shape, table_resolver};
use crate::model::{Access, ReadScope, Table};

mod branch;
mod keys;

/// Maximum number of column values read as separate branches; more are looked up one by one for
/// each page.
const BRANCHES: usize = 128;

/// An access path to rows of a table.
#[derive(Debug, Clone, Copy)]
enum AccessPath {
    /// Every row.
    All,
    /// Rows without an owner.
    NoOwner { column: usize },
    /// Rows without a bucket.
    NoBucket { column: usize },
    /// Rows with one of the values of a list.
    Equals { column: usize, list: usize },
    /// Like `Equals`, for a column whose type has no list.
    Odd { column: usize, list: usize },
    /// Rows that a function or resolver put into one of the buckets of a list; `resolved`: resolved
    /// rows only.
    Members { list: usize, resolved: bool },
    /// Rows below a visible row of this table of the schema.
    Below { column: usize, parent: usize },
}

/// All access paths of a user to rows of a table.
pub(super) struct AccessPaths<'a> {
    known: &'a Known,
    table: &'a Table,
    own: Vec<AccessPath>,
    above: Vec<(usize, Vec<AccessPath>)>,
    /// The statement's first parameters.
    lists: Vec<Vec<String>>,
    /// The visible keys of a parent table, if they are a parameter: the table, and its parameter.
    listed: Option<(usize, usize)>,
}

/// What a query returns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    /// Maximum number of rows.
    pub(super) most: usize,
    /// Whether the rows follow a key, which is the last parameter.
    pub(super) goes_on: bool,
}

impl<'a> AccessPaths<'a> {
    pub(super) fn of(known: &'a Known, table: &'a Table, scope: &ReadScope) -> Self {
        let mut paths = Self {
            known,
            table,
            own: Vec::new(),
            above: Vec::new(),
            lists: Vec::new(),
            listed: None,
        };
        paths.own = paths.found_in(table, scope);
        let mut lower = table;
        while let Access::Chain { parent, .. } = lower.access {
            let Some(upper) = known.schema.tables.get(parent) else { break };
            let found = paths.found_in(upper, scope);
            paths.above.push((parent, found));
            lower = upper;
        }
        paths
    }

    pub(super) fn lists(&self) -> &[Vec<String>] {
        &self.lists
    }

    /// Uses a list of visible keys of the parent table instead of a subquery.
    pub(super) fn list_above(&mut self, parent: usize, keys: Vec<String>) {
        self.lists.push(keys);
        self.listed = Some((parent, self.lists.len()));
    }

    fn found_in(&mut self, table: &Table, scope: &ReadScope) -> Vec<AccessPath> {
        let mut paths = Vec::new();
        match table.access {
            Access::Global if scope.global => return vec![AccessPath::All],
            Access::Global | Access::Denied => {}
            Access::Owner { column, global } => {
                paths.extend(self.equals(table, column, scope.owners.iter().map(String::as_str)));
                paths.extend((global && scope.global).then_some(AccessPath::NoOwner { column }));
            }
            Access::Chain { column, parent } => paths.push(AccessPath::Below { column, parent }),
        }
        if let Some(bucket) = &table.bucket {
            let column = bucket.column;
            let named = scope.buckets.iter().filter_map(|name| name.strip_prefix(&bucket.prefix));
            paths.extend(self.equals(table, column, named.filter(|value| !value.is_empty())));
            paths
                .extend((bucket.global && scope.global).then_some(AccessPath::NoBucket { column }));
        }
        let Shape { function, resolver, .. } = self.known.shape(table);
        if function.is_some() || resolver.is_some() {
            let list = self.list(scope.buckets.iter().map(String::as_str));
            let resolved = resolver.is_some() && table_resolver::sees_resolved_only(&scope.buckets);
            paths.extend(list.map(|list| AccessPath::Members { list, resolved }));
        }
        paths
    }

    /// The rows that have one of these values; none if no value is valid for the column's type.
    fn equals<'v>(
        &mut self,
        table: &Table,
        column: usize,
        values: impl Iterator<Item = &'v str>,
    ) -> Option<AccessPath> {
        let form = self.known.shape(table).compares(column);
        let list = self.list(values.filter(|value| is_value(form, value)))?;
        Some(match form {
            OwnerForm::Other => AccessPath::Odd { column, list },
            _ => AccessPath::Equals { column, list },
        })
    }

    /// The number of a parameter with these texts; without duplicates and texts that the database
    /// cannot store.
    fn list<'v>(&mut self, values: impl Iterator<Item = &'v str>) -> Option<usize> {
        let mut list: Vec<String> = Vec::new();
        for value in values.filter(|value| types::is_text(value)) {
            if !list.iter().any(|known| known == value) {
                list.push(value.to_owned());
            }
        }
        if list.is_empty() {
            return None;
        }
        self.lists.push(list);
        Some(self.lists.len())
    }

    fn shape(&self, table: &Table) -> &Shape {
        self.known.shape(table)
    }

    fn ways_above(&self, parent: usize) -> &[AccessPath] {
        let found = self.above.iter().find(|(at, _)| *at == parent);
        found.map_or(&[], |(_, paths)| paths.as_slice())
    }

    fn table_at(&self, parent: usize) -> Option<&'a Table> {
        self.known.schema.tables.get(parent)
    }

    /// The cast of a list element to the column's type.
    fn cast(&self, table: &Table, column: usize) -> &'static str {
        match self.shape(table).compares(column) {
            OwnerForm::Uuid => "::uuid",
            OwnerForm::Integer => "::bigint",
            OwnerForm::Text | OwnerForm::Other => "",
        }
    }
}

/// The condition of an access path that needs only the row itself; `None` for the others. `of`
/// returns a cell's expression.
fn condition(path: AccessPath, of: &dyn Fn(usize) -> String) -> Option<String> {
    Some(match path {
        AccessPath::All => String::from("true"),
        AccessPath::NoOwner { column } => format!("{} IS NULL", of(column)),
        AccessPath::NoBucket { column } => no_bucket(&of(column)),
        AccessPath::Odd { column, list } => {
            format!("{}::text COLLATE \"C\" = ANY(${list}::text[])", of(column))
        }
        AccessPath::Equals { .. } | AccessPath::Members { .. } | AccessPath::Below { .. } => {
            return None;
        }
    })
}

/// Whether the text is a valid value of such a column.
fn is_value(form: OwnerForm, text: &str) -> bool {
    match form {
        OwnerForm::Text | OwnerForm::Other => true,
        OwnerForm::Uuid => types::is_uuid(text),
        OwnerForm::Integer => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let is_short =
                (1..=18).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            is_short && (text == "0" || !digits.starts_with('0'))
        }
    }
}
