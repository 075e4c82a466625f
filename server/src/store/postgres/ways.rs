//! Every row that somebody sees, along indexes: each way of seeing reads its own, in the order of keys, and they are merged.
//!
//! The predicate over all ways ([`super::access::seen`]) has no index of its own: whoever pages by it walks past everybody's
//! rows, or sorts all that are seen for each page. Here each owner and each bucket is a branch that is read lazily, so that
//! a page costs its own rows and a step down an index for each branch, however large the table is. Rows below others are found
//! from those that are seen above, which costs what the user has.

use super::access::no_bucket;
use super::types::{self, OwnerForm};
use super::{Known, Shape, fed};
use crate::model::{Access, ReadScope, Table};

mod branch;
mod keys;

/// Values of a column that are branches of their own; with more of them they are looked up one by one for each page.
const BRANCHES: usize = 128;

/// One way in which rows of a table are seen.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Every row.
    All,
    /// What names nobody: the column of the owner is NULL.
    NoOwner { column: usize },
    /// What names no bucket.
    NoBucket { column: usize },
    /// What has one of the values of a list.
    Equals { column: usize, list: usize },
    /// The same of a column whose type has no list of its own.
    Odd { column: usize, list: usize },
    /// What a function or a resolver put into one of the buckets of a list; `spoken`: unless the resolver has yet to speak of it.
    Members { list: usize, spoken: bool },
    /// What stands below a row that is seen, of this table of the schema.
    Below { column: usize, parent: usize },
}

/// All ways in which somebody sees rows of a table.
pub(super) struct Ways<'a> {
    known: &'a Known,
    table: &'a Table,
    own: Vec<Way>,
    above: Vec<(usize, Vec<Way>)>,
    /// The statement's first parameters.
    lists: Vec<Vec<String>>,
    /// The keys that are seen of a table above, if they are a parameter: the table, and which.
    listed: Option<(usize, usize)>,
}

/// What a text of SQL asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    /// How many rows.
    pub(super) most: usize,
    /// Whether the rows behind a key; it is the last parameter.
    pub(super) goes_on: bool,
}

impl<'a> Ways<'a> {
    pub(super) fn of(known: &'a Known, table: &'a Table, scope: &ReadScope) -> Self {
        let mut ways = Self {
            known,
            table,
            own: Vec::new(),
            above: Vec::new(),
            lists: Vec::new(),
            listed: None,
        };
        ways.own = ways.found_in(table, scope);
        let mut lower = table;
        while let Access::Chain { parent, .. } = lower.access {
            let Some(upper) = known.schema.tables.get(parent) else { break };
            let found = ways.found_in(upper, scope);
            ways.above.push((parent, found));
            lower = upper;
        }
        ways
    }

    pub(super) fn lists(&self) -> &[Vec<String>] {
        &self.lists
    }

    /// Takes what is seen of the table above as a list of keys: it is not looked for again.
    pub(super) fn list_above(&mut self, parent: usize, keys: Vec<String>) {
        self.lists.push(keys);
        self.listed = Some((parent, self.lists.len()));
    }

    fn found_in(&mut self, table: &Table, scope: &ReadScope) -> Vec<Way> {
        let mut ways = Vec::new();
        match table.access {
            Access::Global if scope.global => return vec![Way::All],
            Access::Global | Access::Nobody => {}
            Access::Owner { column, global } => {
                ways.extend(self.equals(table, column, scope.owners.iter().map(String::as_str)));
                ways.extend((global && scope.global).then_some(Way::NoOwner { column }));
            }
            Access::Chain { column, parent } => ways.push(Way::Below { column, parent }),
        }
        if let Some(bucket) = &table.bucket {
            let column = bucket.column;
            let named = scope.buckets.iter().filter_map(|name| name.strip_prefix(&bucket.prefix));
            ways.extend(self.equals(table, column, named.filter(|value| !value.is_empty())));
            ways.extend((bucket.global && scope.global).then_some(Way::NoBucket { column }));
        }
        let Shape { function, fed, .. } = self.known.shape(table);
        if function.is_some() || fed.is_some() {
            let list = self.list(scope.buckets.iter().map(String::as_str));
            let spoken = fed.is_some() && fed::asks_spoken(&scope.buckets);
            ways.extend(list.map(|list| Way::Members { list, spoken }));
        }
        ways
    }

    /// The rows that have one of these values; none if no value is one of the column's type.
    fn equals<'v>(
        &mut self,
        table: &Table,
        column: usize,
        values: impl Iterator<Item = &'v str>,
    ) -> Option<Way> {
        let form = self.known.shape(table).compares(column);
        let list = self.list(values.filter(|value| is_value(form, value)))?;
        Some(match form {
            OwnerForm::Other => Way::Odd { column, list },
            _ => Way::Equals { column, list },
        })
    }

    /// The number of a parameter of these texts; each once, and what the database cannot hold left out.
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

    fn ways_above(&self, parent: usize) -> &[Way] {
        let found = self.above.iter().find(|(at, _)| *at == parent);
        found.map_or(&[], |(_, ways)| ways.as_slice())
    }

    fn table_at(&self, parent: usize) -> Option<&'a Table> {
        self.known.schema.tables.get(parent)
    }

    /// The element of a list, as the column's type says it.
    fn cast(&self, table: &Table, column: usize) -> &'static str {
        match self.shape(table).compares(column) {
            OwnerForm::Uuid => "::uuid",
            OwnerForm::Integer => "::bigint",
            OwnerForm::Text | OwnerForm::Other => "",
        }
    }
}

/// The condition of a way whose rows are told by themselves, by how its cells are said; `None` for the others.
fn condition(way: Way, of: &dyn Fn(usize) -> String) -> Option<String> {
    Some(match way {
        Way::All => String::from("true"),
        Way::NoOwner { column } => format!("{} IS NULL", of(column)),
        Way::NoBucket { column } => no_bucket(&of(column)),
        Way::Odd { column, list } => {
            format!("{}::text COLLATE \"C\" = ANY(${list}::text[])", of(column))
        }
        Way::Equals { .. } | Way::Members { .. } | Way::Below { .. } => return None,
    })
}

/// Whether the text says a value of such a column, as the predicate reads it.
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
