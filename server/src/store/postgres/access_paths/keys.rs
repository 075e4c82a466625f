//! Visible parents and the number of visible rows: per row, or as a list of keys.

use super::{AccessPath, AccessPaths, condition};
use crate::model::Table;
use crate::store::access::parent_alias;
use crate::store::postgres::table_resolver;
use crate::store::quote::{cell, literal};

/// Rows from which a table that all users read is not counted: every first sync would count it.
const ESTIMATED: i64 = 10_000;

impl AccessPaths<'_> {
    /// Whether a row is visible, evaluated per row: a list of all visible parents would cost more
    /// than a page.
    pub(super) fn held(
        &self,
        table: &Table,
        paths: &[AccessPath],
        alias: &str,
        of: &dyn Fn(usize) -> String,
    ) -> String {
        let held = paths.iter().filter_map(|path| match *path {
            AccessPath::Equals { column, list } => Some(format!(
                "{} = ANY(${list}::text[]{})",
                of(column),
                match self.cast(table, column) {
                    "" => String::new(),
                    cast => format!("{cast}[]"),
                }
            )),
            AccessPath::Members { list, resolved } => Some(format!(
                "(SELECT true FROM rejoin.member AS m WHERE m.table_number = {} AND m.record_id = {}::text \
                 AND m.bucket = ANY(${list}::text[]){} LIMIT 1)",
                table.number,
                of(table.key),
                table_resolver::resolved_only(resolved)
            )),
            AccessPath::Below { column, parent } => {
                let upper = self.table_at(parent)?;
                let next = parent_alias(alias);
                let held = self.held(upper, self.ways_above(parent), &next, &|at| cell(upper, &next, at));
                Some(format!(
                    "(SELECT true FROM {} AS {next} WHERE {} = {} AND {held} LIMIT 1)",
                    self.shape(upper).name,
                    cell(upper, &next, upper.key),
                    of(column)
                ))
            }
            plain => condition(plain, of),
        });
        let held: Vec<String> = held.collect();
        if held.is_empty() { String::from("false") } else { format!("({})", held.join(" OR ")) }
    }

    /// Up to `most` visible parent keys and their table; `None` if no access path leads through
    /// another table.
    pub(in super::super) fn above(&self, most: usize) -> Option<(usize, String)> {
        let parent = self.own.iter().find_map(|path| match path {
            AccessPath::Below { parent, .. } => Some(*parent),
            _ => None,
        })?;
        let keys = self.keys(parent, false)?;
        Some((parent, format!("SELECT p.key::text FROM ({keys}) AS p LIMIT {most}")))
    }

    /// The number of visible live rows; of a large table that all users read, the statistics' one.
    pub(in super::super) fn count(&self) -> Option<String> {
        let keys = self.keys_of(self.table, &self.own, &self.live("t"), true)?;
        let count = format!("SELECT count(*) FROM ({keys}) AS p");
        Some(match self.own.as_slice() {
            [AccessPath::All] => format!("SELECT coalesce(({}), ({count}))", self.estimate()),
            _ => count,
        })
    }

    /// The number of live rows by the statistics; NULL without such, for a table that is small or
    /// has parts, and where row level security hides the share of deleted rows.
    fn estimate(&self) -> String {
        let (table, relation) = (self.table, self.shape(self.table).relation);
        let deleted = table.deleted_at.and_then(|at| table.columns.get(at));
        let live = deleted.map_or(String::from("1"), |column| {
            format!(
                "(SELECT s.null_frac FROM pg_stats AS s WHERE s.tablename = c.relname AND s.attname = {} \
                 AND NOT s.inherited AND s.schemaname = (SELECT n.nspname FROM pg_namespace AS n WHERE n.oid = c.relnamespace))",
                literal(&column.name)
            )
        });
        format!(
            "SELECT (c.reltuples * {live})::bigint FROM pg_class AS c WHERE c.oid = {relation} \
             AND c.reltuples >= {ESTIMATED} AND c.relkind = 'r' AND NOT c.relhassubclass"
        )
    }

    /// The keys of all visible rows of a parent table, live or deleted.
    pub(super) fn keys(&self, parent: usize, distinct: bool) -> Option<String> {
        let upper = self.table_at(parent)?;
        if let Some((_, list)) = self.listed.filter(|(listed, _)| *listed == parent) {
            let cast = self.shape(upper).cast(upper.key);
            return Some(format!("SELECT v.v::{cast} AS key FROM unnest(${list}::text[]) AS v(v)"));
        }
        self.keys_of(upper, self.ways_above(parent), "", distinct)
    }

    /// `distinct`: each key once, even if several access paths lead to it.
    fn keys_of(
        &self,
        table: &Table,
        paths: &[AccessPath],
        live: &str,
        distinct: bool,
    ) -> Option<String> {
        let found = paths.iter().filter_map(|path| self.keys_by(table, *path, live));
        let all: Vec<String> = found.collect();
        let is_alone =
            !distinct || matches!(paths, [path] if !matches!(path, AccessPath::Members { .. }));
        match all.as_slice() {
            [] => None,
            [one] if is_alone => Some(one.clone()),
            many if !distinct => Some(many.join(" UNION ALL ")),
            many => Some(format!("SELECT DISTINCT k.key FROM ({}) AS k", many.join(" UNION ALL "))),
        }
    }

    fn keys_by(&self, table: &Table, path: AccessPath, live: &str) -> Option<String> {
        let key = cell(table, "t", table.key);
        let name = &self.shape(table).name;
        // Without a limit the planner would not use the index.
        let rows = |condition: &str| {
            format!(
                "LATERAL (SELECT {key} AS key FROM {name} AS t WHERE {condition}{live} OFFSET 0) AS c"
            )
        };
        Some(match path {
            AccessPath::Equals { column, list } => {
                let equal =
                    format!("{} = v.v{}", cell(table, "t", column), self.cast(table, column));
                format!(
                    "SELECT c.key FROM unnest(${list}::text[]) AS v(v) CROSS JOIN {}",
                    rows(&equal)
                )
            }
            AccessPath::Members { list, resolved } => {
                let equal = format!("{key} = m.record_id::{}", self.shape(table).cast(table.key));
                format!(
                    "SELECT c.key FROM rejoin.member AS m CROSS JOIN {} \
                     WHERE m.bucket = ANY(${list}::text[]) AND m.table_number = {}{}",
                    rows(&equal),
                    table.number,
                    table_resolver::resolved_only(resolved)
                )
            }
            AccessPath::Below { column, parent } => {
                let keys = self.keys(parent, true)?;
                let equal = format!("{} = p.key", cell(table, "t", column));
                format!("SELECT c.key FROM ({keys}) AS p CROSS JOIN {}", rows(&equal))
            }
            plain => {
                let condition = condition(plain, &|at| cell(table, "t", at))?;
                format!("SELECT {key} AS key FROM {name} AS t WHERE {condition}{live}")
            }
        })
    }
}
