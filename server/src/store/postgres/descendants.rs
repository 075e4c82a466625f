//! Descendants of a row through chains of parents, as SQL: they are in the buckets of their parent
//! and move with it.

use std::fmt::Write as _;

use super::Known;
use crate::model::{Access, Table};
use crate::store::quote::cell;

/// A table below another, with the tables between them, from lower to upper.
pub(super) struct Descendant<'a> {
    pub(super) table: &'a Table,
    path: Vec<&'a Table>,
}

/// Every table below this one.
pub(super) fn descendants<'a>(known: &'a Known, table: &'a Table) -> Vec<Descendant<'a>> {
    let tables = &known.schema.tables;
    tables
        .iter()
        .filter_map(|lower| {
            let mut path = vec![lower];
            while let Some(Access::Chain { parent, .. }) = path.last().map(|last| last.access) {
                let above = tables.get(parent)?;
                if above.number == table.number {
                    return Some(Descendant { table: lower, path });
                }
                if path.len() > tables.len() {
                    return None;
                }
                path.push(above);
            }
            None
        })
        .collect()
}

impl Descendant<'_> {
    /// The keys of the descendants, as `(SELECT ... AS k FROM ...) AS lower`; `link` is the
    /// condition on the rows of the upper table.
    pub(super) fn rows(&self, known: &Known, link: impl FnOnce(&str) -> String) -> String {
        let mut from = String::new();
        for (at, table) in self.path.iter().enumerate() {
            let join = if at == 0 { "FROM" } else { " JOIN" };
            let _ = write!(from, "{join} {} AS d{at}", known.shape(table).name);
            if let Some(lower) = at.checked_sub(1).and_then(|lower| self.path.get(lower)) {
                let column = lower.parent_column().unwrap_or_default();
                let key = cell(table, &format!("d{at}"), table.key);
                let _ =
                    write!(from, " ON {key} = {}", cell(lower, &format!("d{}", at - 1), column));
            }
        }
        let top = self.path.len() - 1;
        let upper = self.path.last().map_or(String::new(), |last| {
            cell(last, &format!("d{top}"), last.parent_column().unwrap_or_default())
        });
        let key = cell(self.table, "d0", self.table.key);
        format!("(SELECT {key}::text AS k {from} WHERE {}) AS lower", link(&upper))
    }

    /// Whether the row has direct children, if this is their table; `link` as above.
    pub(super) fn direct(
        &self,
        known: &Known,
        link: impl FnOnce(&str) -> String,
    ) -> Option<String> {
        let [only] = self.path.as_slice() else { return None };
        let column = cell(only, "d0", only.parent_column().unwrap_or_default());
        let name = &known.shape(only).name;
        Some(format!("EXISTS (SELECT FROM {name} AS d0 WHERE {})", link(&column)))
    }

    /// Whether a foreign key ensures that every child of the upper table (`name`) has its parent.
    pub(super) fn is_guarded(&self, name: &str) -> bool {
        self.path.last().is_none_or(|child| {
            let link = child.parent_column();
            child
                .references
                .iter()
                .any(|reference| Some(reference.column) == link && reference.table == name)
        })
    }
}
