//! The branches of a page, each in key order, and their merge.

use std::fmt::Write as _;

use super::{AccessPath, AccessPaths, BRANCHES, Next, condition};
use crate::store::postgres::table_resolver;
use crate::store::postgres::types::Form;
use crate::store::quote::cell;

impl AccessPaths<'_> {
    pub(super) fn live(&self, alias: &str) -> String {
        self.table
            .deleted_at
            .map_or(String::new(), |at| format!(" AND {} IS NULL", cell(self.table, alias, at)))
    }

    /// The number of the parameter after the lists.
    fn after(&self) -> usize {
        self.lists.len() + 1
    }

    /// The key as an expression in index order.
    fn key(&self) -> String {
        format!("{}{}", cell(self.table, "t", self.table.key), self.order())
    }

    fn order(&self) -> &'static str {
        if self.shape(self.table).by_bytes { " COLLATE \"C\"" } else { "" }
    }

    /// Live rows of a branch in key order.
    fn branch(&self, condition: &str, next: Next) -> String {
        let raw = (0..self.table.columns.len()).fold(String::new(), |mut raw, at| {
            let _ = write!(raw, ", {} AS c{at}", cell(self.table, "t", at));
            raw
        });
        let shape = self.shape(self.table);
        let later = if next.goes_on {
            let cast = match shape.form(self.table.key) {
                Form::Integer => String::new(),
                _ => format!("::{}", shape.cast(self.table.key)),
            };
            format!(" AND {} > ${}{cast}{}", self.key(), self.after(), self.order())
        } else {
            String::new()
        };
        format!(
            "(SELECT {key} AS k{raw} FROM {name} AS t WHERE {condition}{live}{later} ORDER BY {key} LIMIT {most})",
            key = self.key(),
            name = shape.name,
            live = self.live("t"),
            most = next.most,
        )
    }

    fn branches(&self, path: AccessPath, next: Next) -> Vec<String> {
        let (table, most) = (self.table, next.most);
        match path {
            AccessPath::Equals { column, list } => {
                let (value, cast) = (cell(table, "t", column), self.cast(table, column));
                let many = self.lists.get(list - 1).map_or(0, Vec::len);
                if many > BRANCHES {
                    let rows = self.branch(&format!("{value} = v.v{cast}"), next);
                    return vec![format!(
                        "(SELECT c.* FROM unnest(${list}::text[]) AS v(v) CROSS JOIN LATERAL {rows} AS c \
                         ORDER BY c.k LIMIT {most})"
                    )];
                }
                // Padded to a power of two, so that there are few statements; missing elements are
                // NULL, which equals nothing.
                let one =
                    |at| self.branch(&format!("{value} = (${list}::text[])[{at}]{cast}"), next);
                (1..=many.next_power_of_two()).map(one).collect()
            }
            AccessPath::Members { list, resolved } => vec![self.members(list, resolved, next)],
            AccessPath::Below { column, parent } => {
                let Some(keys) = self.keys(parent, true) else { return Vec::new() };
                let rows = self.branch(&format!("{} = p.key", cell(table, "t", column)), next);
                vec![format!(
                    "(SELECT c.* FROM ({keys}) AS p CROSS JOIN LATERAL {rows} AS c ORDER BY c.k LIMIT {most})"
                )]
            }
            plain => condition(plain, &|at| cell(table, "t", at))
                .map(|condition| self.branch(&condition, next))
                .into_iter()
                .collect(),
        }
    }

    /// The rows that a function or a resolver put into buckets. Members are ordered by key for text
    /// and UUID keys; for other keys all members of a bucket are read.
    fn members(&self, list: usize, resolved: bool, next: Next) -> String {
        let Next { most, goes_on } = next;
        let table = self.table;
        let cast = self.shape(table).cast(table.key);
        let key = cell(table, "t", table.key);
        let row = self.branch(&format!("{key} = m.record_id::{cast}"), Next { most: 1, goes_on });
        let is_in_order = matches!(cast, "text" | "uuid");
        let order = if is_in_order { "m.record_id" } else { "c.k" };
        let later = if is_in_order && goes_on {
            format!(" AND m.record_id > ${}::text COLLATE \"C\"", self.after())
        } else {
            String::new()
        };
        format!(
            "(SELECT DISTINCT ON (c.k) c.* FROM unnest(${list}::text[]) AS v(v) CROSS JOIN LATERAL (SELECT c.* \
             FROM rejoin.member AS m CROSS JOIN LATERAL {row} AS c WHERE m.bucket = v.v AND m.table_number = {}{later}{} \
             ORDER BY {order} LIMIT {most}) AS c ORDER BY c.k LIMIT {most})",
            table.number,
            table_resolver::resolved_only(resolved)
        )
    }

    /// The next visible rows over all access paths; `columns` are read from `u`, where they are
    /// named `c0` and so on.
    pub(in super::super) fn page(&self, columns: &str, next: Next) -> Option<String> {
        let branches: Vec<String> =
            self.own.iter().flat_map(|path| self.branches(*path, next)).collect();
        if branches.is_empty() {
            return None;
        }
        Some(format!(
            "SELECT DISTINCT ON (u.k) {columns} FROM ({}) AS u ORDER BY u.k LIMIT {}",
            branches.join(" UNION ALL "),
            next.most
        ))
    }

    /// The same by scanning all keys, four times as many rows as requested: for users who see much
    /// of the table.
    pub(in super::super) fn walk(&self, columns: &str, next: Next) -> String {
        let rows = self.branch("true", Next { most: next.most.saturating_mul(4), ..next });
        let held = self.held(self.table, &self.own, "u", &|at| format!("u.c{at}"));
        format!("SELECT {columns} FROM {rows} AS u WHERE {held} ORDER BY u.k LIMIT {}", next.most)
    }
}
