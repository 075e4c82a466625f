//! The triggers that record changes, as plain SQL without custom functions, so that a bare
//! `sqlite3` can fire them.
//!
//! An entry names a row and a bucket, current or former. The server sets the row's version: each
//! write gets the next tick of `rejoin_clock`, which only rises. So versions rise even if the
//! system clock stops, REPLACE hides a row, or a writer sets the column. The trigger's own update
//! is recognised by `bumping` and its tick.

use std::fmt::Write as _;

use super::access::{buckets, writers};
use crate::model::{Access, Schema, Table};
use crate::store::access::writers_prefix;
use crate::store::quote::{cell, literal, quoted};

/// A trigger: its name and its whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SqliteTrigger {
    pub(super) name: String,
    pub(super) sql: String,
}

/// A table below another, with the tables between them, from lower to upper.
struct Descendant<'a> {
    table: &'a Table,
    path: Vec<&'a Table>,
}

/// Every trigger of a table.
pub(super) fn of(schema: &Schema, table: &Table) -> Vec<SqliteTrigger> {
    let text = Text { schema, table, descendants: descendants(schema, table) };
    vec![
        text.before_insert(),
        text.after_insert(),
        text.before_key(),
        text.after_update(),
        text.before_delete(),
    ]
    .into_iter()
    .chain(text.moved())
    .chain(text.adopted())
    .collect()
}

/// The indexes, by name, that find the children of a row and, in key order, the rows of a bucket.
pub(super) fn indexes(table: &Table) -> Vec<(String, String)> {
    let bucket = table.bucket.as_ref().map(|bucket| bucket.column);
    let bucket = bucket.filter(|column| table.parent_column() != Some(*column));
    let index = |(what, at): (&str, usize)| {
        let name = format!("rejoin_{what}_{}", table.number);
        let (column, key) = (table.columns.get(at)?, table.columns.get(table.key)?);
        let (column, key) = (quoted(&column.name), quoted(&key.name));
        let sql = format!("CREATE INDEX {name} ON {} ({column}, {key})", quoted(&table.name));
        Some((name, sql))
    };
    let parent = table.parent_column().map(|at| ("parent", at));
    parent.into_iter().chain(bucket.map(|at| ("bucket", at))).filter_map(index).collect()
}

fn descendants<'a>(schema: &'a Schema, table: &'a Table) -> Vec<Descendant<'a>> {
    schema
        .tables
        .iter()
        .filter_map(|lower| {
            let mut path = vec![lower];
            while let Some(Access::Chain { parent, .. }) = path.last().map(|last| last.access) {
                let above = schema.tables.get(parent)?;
                if above.number == table.number {
                    return Some(Descendant { table: lower, path });
                }
                if path.len() > schema.tables.len() {
                    return None;
                }
                path.push(above);
            }
            None
        })
        .collect()
}

/// The message of a refused push of a row whose key has rows of others below it.
pub(super) const ADOPTED: &str = "rejoin: rows below this key are not the new row's";

struct Text<'a> {
    schema: &'a Schema,
    table: &'a Table,
    descendants: Vec<Descendant<'a>>,
}

impl Text<'_> {
    /// A REPLACE by a writer without recursive triggers removes a row without a delete trigger: its
    /// bucket is recorded here. Upserts also fire it; an extra entry is harmless, since pulls read
    /// the current rows.
    fn before_insert(&self) -> SqliteTrigger {
        let body = self.displaced("NEW");
        self.trigger("before_insert", "BEFORE INSERT", &self.key_is_taken(), &body)
    }

    /// Like [`before_insert`](Self::before_insert), for `UPDATE OR REPLACE` of the key.
    fn before_key(&self) -> SqliteTrigger {
        let event = format!("BEFORE UPDATE OF {}", self.name_of(self.table.key));
        let (old, new) = (self.key("OLD"), self.key("NEW"));
        let taken = format!("{old} IS NOT {new} AND {}", self.key_is_taken());
        let body = self.displaced("NEW");
        self.trigger("before_key", &event, &taken, &body)
    }

    /// The users who write a parent write its rows. If a parent was removed without them, a push may
    /// create it again only in the bucket whose users wrote it last.
    fn adopted(&self) -> Option<SqliteTrigger> {
        let key = self.key("NEW");
        let direct = self.descendants.iter().filter_map(|lower| match lower.path.as_slice() {
            [only] => Some(format!(
                "EXISTS (SELECT 1 FROM {} AS d0 WHERE {} = {key})",
                quoted(&only.name),
                cell(only, "d0", only.parent_column().unwrap_or_default())
            )),
            _ => None,
        });
        let has_rows = direct.collect::<Vec<_>>().join(" OR ");
        let writers = writers(self.schema, self.table, "NEW")?;
        let prefix = writers_prefix(self.schema, self.table);
        let last = format!(
            "(SELECT bucket FROM rejoin_changelog WHERE table_number = {} \
             AND record_id = CAST({key} AS TEXT) AND (substr(bucket, 1, {}) = {} OR bucket = 'global') \
             ORDER BY seq DESC LIMIT 1)",
            self.table.number,
            prefix.chars().count(),
            literal(prefix)
        );
        // Only the server sets a time.
        let when = format!(
            "(SELECT now FROM rejoin_clock) IS NOT NULL AND ({has_rows}) \
             AND ({last} = 'global' OR {last} IS NOT {writers})"
        );
        let body = vec![format!("SELECT RAISE(ABORT, {})", literal(ADOPTED))];
        let is_parent = !has_rows.is_empty();
        is_parent.then(|| self.trigger("adopted", "BEFORE INSERT", &when, &body))
    }

    fn after_insert(&self) -> SqliteTrigger {
        let buckets = self.buckets("NEW", "");
        let mut body = self.entry(&buckets, &[self.key("NEW")]);
        body.extend(self.entries_below(&buckets, &self.key("NEW")));
        body.extend(self.bump());
        self.trigger("after_insert", "AFTER INSERT", "", &body)
    }

    fn after_update(&self) -> SqliteTrigger {
        let mut body = vec![self.moved_entry()];
        body.extend(self.bump());
        let version = self.name_of(self.table.updated_at);
        let own_tick = format!(
            "NOT ((SELECT bumping FROM rejoin_clock) = 1 AND NEW.{version} IS NOT OLD.{version} \
             AND NEW.{version} = (SELECT last FROM rejoin_clock))"
        );
        self.trigger("after_update", "AFTER UPDATE", &own_tick, &body)
    }

    /// A row that moves takes its descendants along.
    fn moved(&self) -> Option<SqliteTrigger> {
        if self.descendants.is_empty() {
            return None;
        }
        let decides = match self.table.access {
            Access::Owner { column, .. } | Access::Chain { column, .. } => Some(column),
            Access::Global | Access::Denied => None,
        };
        let bucket = self.table.bucket.as_ref().map(|bucket| bucket.column);
        let differs = |at: usize| format!("OLD.{0} IS NOT NEW.{0}", self.name_of(at));
        let when = std::iter::once(self.table.key)
            .chain(decides)
            .chain(bucket)
            .map(differs)
            .collect::<Vec<_>>()
            .join(" OR ");
        let keys = format!("{}, {}", self.key("OLD"), self.key("NEW"));
        let body = self.entries_below(&self.both_buckets(), &keys);
        Some(self.trigger("moved", "AFTER UPDATE", &when, &body))
    }

    /// BEFORE: afterwards, descendants are deleted by a cascade or have lost their bucket.
    fn before_delete(&self) -> SqliteTrigger {
        let buckets = self.buckets("OLD", "");
        let mut body = self.entry(&buckets, &[self.key("OLD")]);
        body.extend(self.entries_below(&buckets, &self.key("OLD")));
        self.trigger("before_delete", "BEFORE DELETE", "", &body)
    }

    fn trigger(&self, what: &str, event: &str, when: &str, body: &[String]) -> SqliteTrigger {
        let name = format!("rejoin_{}_{what}", self.table.number);
        let when = if when.is_empty() { String::new() } else { format!(" WHEN {when}") };
        let sql = format!(
            "CREATE TRIGGER {name} {event} ON {}{when} BEGIN {}; END",
            quoted(&self.table.name),
            body.join("; ")
        );
        SqliteTrigger { name, sql }
    }

    fn name_of(&self, at: usize) -> String {
        quoted(self.table.columns.get(at).map_or("", |column| column.name.as_str()))
    }

    fn key(&self, alias: &str) -> String {
        cell(self.table, alias, self.table.key)
    }

    fn key_is_taken(&self) -> String {
        let table = quoted(&self.table.name);
        format!("EXISTS (SELECT 1 FROM {table} AS o WHERE {} = {})", self.key("o"), self.key("NEW"))
    }

    /// Entries for the row whose key `alias` is about to take, and for its descendants.
    fn displaced(&self, alias: &str) -> Vec<String> {
        let from = format!(
            " FROM {} AS o WHERE {} = {}",
            quoted(&self.table.name),
            self.key("o"),
            self.key(alias)
        );
        let buckets = self.buckets("o", &from);
        let mut body = self.entry(&buckets, &[self.key(alias)]);
        body.extend(self.entries_below(&buckets, &self.key(alias)));
        body
    }

    fn both_buckets(&self) -> String {
        format!("{} UNION {}", self.buckets("OLD", ""), self.buckets("NEW", ""))
    }

    /// A query of the buckets of the row `alias` in `from`.
    fn buckets(&self, alias: &str, from: &str) -> String {
        let mut of = buckets(self.schema, self.table, alias);
        if of.is_empty() {
            of.push(String::from("NULL"));
        }
        let select = |bucket: &String| format!("SELECT {bucket} AS b{from}");
        of.iter().map(select).collect::<Vec<_>>().join(" UNION ")
    }

    fn entry(&self, buckets: &str, keys: &[String]) -> Vec<String> {
        let keys: Vec<String> = keys.iter().map(|key| format!("SELECT {key} AS k")).collect();
        vec![insert(self.table.number, &format!("({})", keys.join(" UNION ")), buckets)]
    }

    /// Entries under the old key in former buckets, and under the new key in current ones. Readers
    /// of a former bucket know the old key and must not learn the new one.
    fn moved_entry(&self) -> String {
        let side = |alias: &str| {
            format!("SELECT b, {} AS k FROM ({})", self.key(alias), self.buckets(alias, ""))
        };
        format!(
            "INSERT INTO rejoin_changelog(bucket, table_number, record_id, tx) \
             SELECT DISTINCT b, {}, CAST(k AS TEXT), (SELECT tx FROM rejoin_clock) \
             FROM ({} UNION {}) WHERE b IS NOT NULL",
            self.table.number,
            side("OLD"),
            side("NEW"),
        )
    }

    fn entries_below(&self, buckets: &str, keys: &str) -> Vec<String> {
        let of = |descendant: &Descendant<'_>| {
            let mut from = String::new();
            for (at, table) in descendant.path.iter().enumerate() {
                let join = if at == 0 { "FROM" } else { " JOIN" };
                let _ = write!(from, "{join} {} AS d{at}", quoted(&table.name));
                if let Some(lower) = at.checked_sub(1).and_then(|lower| descendant.path.get(lower))
                {
                    let link = lower.parent_column().unwrap_or_default();
                    let key = cell(table, &format!("d{at}"), table.key);
                    let child = cell(lower, &format!("d{}", at - 1), link);
                    let _ = write!(from, " ON {key} = {child}");
                }
            }
            let top = descendant.path.len() - 1;
            let link =
                descendant.path.last().and_then(|last| last.parent_column()).unwrap_or_default();
            let link = descendant
                .path
                .last()
                .map_or(String::new(), |last| cell(last, &format!("d{top}"), link));
            let key = cell(descendant.table, "d0", descendant.table.key);
            let rows = format!("(SELECT {key} AS k {from} WHERE {link} IN ({keys}))");
            insert(descendant.table.number, &rows, buckets)
        };
        self.descendants.iter().map(of).collect()
    }

    fn bump(&self) -> Vec<String> {
        let now = "coalesce(now, strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z')";
        let next = "CASE substr(last, 21, 6) WHEN '999999' \
             THEN strftime('%Y-%m-%dT%H:%M:%S', substr(last, 1, 19), '+1 second') || '.000000Z' \
             ELSE substr(last, 1, 20) || printf('%06d', substr(last, 21, 6) + 1) || 'Z' END";
        vec![
            format!(
                "UPDATE rejoin_clock SET bumping = 1, \
                 last = CASE WHEN {now} > last THEN {now} ELSE {next} END"
            ),
            format!(
                "UPDATE {0} SET {1} = (SELECT last FROM rejoin_clock) WHERE {2} = {3} \
                 AND {1} IS NOT (SELECT last FROM rejoin_clock)",
                quoted(&self.table.name),
                self.name_of(self.table.updated_at),
                self.name_of(self.table.key),
                self.key("NEW")
            ),
            String::from("UPDATE rejoin_clock SET bumping = 0"),
        ]
    }
}

fn insert(number: i64, keys: &str, buckets: &str) -> String {
    format!(
        "INSERT INTO rejoin_changelog(bucket, table_number, record_id, tx) \
         SELECT b, {number}, CAST(k AS TEXT), (SELECT tx FROM rejoin_clock) \
         FROM {keys}, ({buckets}) WHERE b IS NOT NULL"
    )
}
