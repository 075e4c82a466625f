//! The triggers that record changes in the writer's transaction, as PL/pgSQL text.
//!
//! An entry names a row and a bucket, current or former, computed at write time. Positions are
//! assigned later. The server sets the row's version: the current time, and at least one
//! microsecond after the previous version, whatever the writer or application triggers set. The
//! triggers' names sort last, so they run last. They are ENABLE ALWAYS, so that replicated writes
//! are recorded. They run with their owner's rights, so that writers need no rights on Rejoin's
//! tables.

use std::fmt::Write as _;

use super::access::{buckets, writers};
use super::descendants::{Descendant, descendants};
use super::{Known, member, table_resolver};
use crate::model::{Access, Table};
use crate::store::access::writers_prefix;
use crate::store::quote::{cell, literal, quoted};

/// The prefix of trigger names; sorts after nearly all names of application triggers.
pub(super) const PREFIX: &str = "~rejoin_";

/// A trigger with its function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PostgresTrigger {
    pub(super) name: String,
    /// Time and events: `BEFORE INSERT OR UPDATE`.
    pub(super) event: &'static str,
    /// `ROW` or `STATEMENT`.
    pub(super) each: &'static str,
    /// The function's name in the schema `rejoin`.
    pub(super) function: String,
    /// The function body between the dollar quotes.
    pub(super) body: String,
}

/// Every trigger of a table.
pub(super) fn of(known: &Known, table: &Table) -> Vec<PostgresTrigger> {
    let text = Text { known, table, descendants: descendants(known, table) };
    let trigger = |what: &str, event, each, function: &str, body: String| PostgresTrigger {
        name: format!("{PREFIX}{what}"),
        event,
        each,
        function: format!("{function}_{}", table.number),
        body,
    };
    let capture = text.capture();
    let function = known.shape(table).function.as_ref();
    let forget =
        function.map(|_| trigger("forget", "AFTER DELETE", "ROW", "forget", member::forget(table)));
    let always = [
        trigger("version", "BEFORE INSERT OR UPDATE", "ROW", "version", text.version()),
        trigger("capture", "AFTER INSERT OR UPDATE", "ROW", "capture", capture.clone()),
        // BEFORE: afterwards, descendants are deleted by a cascade or have lost their bucket.
        trigger("delete", "BEFORE DELETE", "ROW", "capture", capture),
        trigger("truncate", "BEFORE TRUNCATE", "STATEMENT", "truncate", text.truncate()),
    ];
    always.into_iter().chain(forget).collect()
}

struct Text<'a> {
    known: &'a Known,
    table: &'a Table,
    descendants: Vec<Descendant<'a>>,
}

impl Text<'_> {
    fn name_of(&self, at: usize) -> String {
        quoted(self.table.columns.get(at).map_or("", |column| column.name.as_str()))
    }

    fn key(&self, alias: &str) -> String {
        cell(self.table, alias, self.table.key)
    }

    /// The columns that determine the row's buckets.
    fn decides(&self) -> impl Iterator<Item = usize> {
        let owner = match self.table.access {
            Access::Owner { column, .. } | Access::Chain { column, .. } => Some(column),
            Access::Global | Access::Denied => None,
        };
        owner.into_iter().chain(self.table.bucket.as_ref().map(|bucket| bucket.column))
    }

    fn version(&self) -> String {
        let column = self.name_of(self.table.updated_at);
        let cast = self.known.shape(self.table).cast(self.table.updated_at);
        let (read, written) = match cast {
            "timestamptz" => (format!("OLD.{column}"), String::from("present")),
            "timestamp" => (
                format!("OLD.{column} AT TIME ZONE 'UTC'"),
                String::from("present AT TIME ZONE 'UTC'"),
            ),
            // Text that is not a version is no time either: the row gets a new one.
            _ => (
                format!(
                    "CASE WHEN OLD.{column}::text ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}[.][0-9]{{6}}Z$' \
                     THEN OLD.{column}::text::timestamptz END"
                ),
                String::from(
                    "to_char(present AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
                ),
            ),
        };
        format!(
            "DECLARE
  present timestamptz := coalesce(nullif(current_setting('rejoin.now', true), '')::timestamptz, clock_timestamp());
  before timestamptz;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    before := {read};
    IF before IS NOT NULL AND isfinite(before) AND present <= before THEN
      present := before + interval '1 microsecond';
    END IF;
  END IF;
  NEW.{column} := {written};
  RETURN NEW;
END"
        )
    }

    /// Entries for the row under its old and new key, in its old and new buckets, and for all
    /// descendants if it moves.
    fn capture(&self) -> String {
        let (old, new) = (self.key("OLD"), self.key("NEW"));
        let same = |at| format!("OLD.{0} IS NOT DISTINCT FROM NEW.{0}", self.name_of(at));
        let stays = std::iter::once(self.table.key).chain(self.decides()).map(same);
        let stays = stays.collect::<Vec<_>>().join(" AND ");
        let number = self.table.number;
        let shape = self.known.shape(self.table);
        let function = shape.function.as_ref();
        let members = function.map(|function| member::capture(function, self.table));
        let asks =
            shape.resolver.as_ref().map(|resolver| table_resolver::capture(resolver, self.table));
        let declared = "  former text[] := ARRAY[]::text[];\n  fresh text[] := ARRAY[]::text[];\n";
        let stays = match function {
            Some(_) => format!("{stays} AND former @> fresh AND fresh @> former"),
            None => stays,
        };
        // Readers of a former bucket know the old key and must not learn the new one.
        let own = self.put_own(&format!(
            "SELECT e.b, {number}, e.k FROM (SELECT unnest(held) AS b, old_key AS k UNION SELECT unnest(holds), new_key) AS e
  WHERE e.b IS NOT NULL AND e.k IS NOT NULL"
        ));
        format!(
            "DECLARE
  old_key text;
  new_key text;
  held text[] := ARRAY[]::text[];
  holds text[] := ARRAY[]::text[];
  keys text[];
  buckets text[];
  moves boolean := true;
  adopts boolean := false;
  above text;
{declared}BEGIN
{members}  IF TG_OP <> 'DELETE' THEN
{hold_new}    new_key := {new}::text;
    holds := array_remove({buckets_new}, NULL);
  END IF;
{adopted}  IF TG_OP = 'UPDATE' THEN
    moves := NOT ({stays});
  END IF;
  IF TG_OP <> 'INSERT' AND moves THEN
{hold_old}    old_key := {old}::text;
    held := {former}{buckets_old};
  END IF;
  keys := ARRAY[old_key, new_key];
  buckets := held || holds;
  {own}{below}{asks}  IF TG_OP = 'DELETE' THEN
    RETURN OLD;
  END IF;
  RETURN NULL;
END",
            declared = if function.is_some() { declared } else { "" },
            members = members.unwrap_or_default(),
            adopted = self.adopted(),
            hold_new = self.hold_above("NEW"),
            hold_old = self.hold_above("OLD"),
            former = if function.is_some() { "former || " } else { "" },
            buckets_new = buckets(self.known, self.table, "NEW"),
            buckets_old = buckets(self.known, self.table, "OLD"),
            below = self.below_row(),
            asks = asks.unwrap_or_default(),
        )
    }

    /// The entries of the row itself. Most rows are in one bucket and stay there: a row of values
    /// is cheaper than a query.
    fn put_own(&self, rows: &str) -> String {
        let put = self.put(rows);
        if table_resolver::is_awaited(self.known, self.table) {
            return put;
        }
        format!(
            "IF cardinality(held) = 0 AND cardinality(holds) <= 1 THEN
    IF cardinality(holds) = 1 AND new_key IS NOT NULL THEN
      INSERT INTO rejoin.inbox(bucket, table_number, record_id) VALUES (holds[1], {}, new_key);
    END IF;
  ELSE
  {put}  END IF;
",
            self.table.number
        )
    }

    /// Entries of the rows that a query returns: bucket, table, key.
    fn put(&self, rows: &str) -> String {
        if table_resolver::is_awaited(self.known, self.table) {
            return table_resolver::put_awaited(rows);
        }
        format!("INSERT INTO rejoin.inbox(bucket, table_number, record_id)\n  {rows};\n")
    }

    /// Locks the positions of the ancestors, nearest first, in share mode.
    fn hold_above(&self, alias: &str) -> String {
        let mut text = String::new();
        let mut lower = self.table;
        let mut from: Option<String> = None;
        while let Access::Chain { column, parent } = lower.access {
            let Some(above) = self.known.schema.tables.get(parent) else { break };
            match &from {
                None => {
                    let link = cell(lower, alias, column);
                    let _ = writeln!(text, "    above := {link}::text;");
                }
                Some(key) => {
                    let _ = writeln!(
                        text,
                        "    above := (SELECT {}::text FROM {} AS p WHERE {} = {key});",
                        cell(lower, "p", column),
                        self.known.shape(lower).name,
                        cell(lower, "p", lower.key),
                    );
                }
            }
            let _ = writeln!(text, "    PERFORM rejoin.hold({}, above, false);", above.number);
            let cast = self.known.shape(above).cast(above.key);
            from = Some(format!("above::{cast}"));
            lower = above;
        }
        text
    }

    /// Whether an inserted row has rows below it, and the refusal of a push that inserts it: the users
    /// who write a parent write its rows. If a parent was removed without them (without a foreign key,
    /// or by a replica session), a push may create it again only in the bucket whose users wrote it last.
    fn adopted(&self) -> String {
        // Testing for one row is much cheaper than collecting them.
        let cast = self.known.shape(self.table).cast(self.table.key);
        let link = |link: &str| format!("{link} = new_key::{cast}");
        let direct = self.descendants.iter().filter_map(|lower| lower.direct(self.known, link));
        let has_rows = direct.collect::<Vec<_>>().join(" OR ");
        if has_rows.is_empty() {
            return String::new();
        }
        let of_row = format!(
            "table_number = {} AND record_id = new_key AND (starts_with(bucket, {}) OR bucket = 'global')",
            self.table.number,
            literal(writers_prefix(&self.known.schema, self.table))
        );
        let refusal = |writers: String| {
            format!(
                "    IF adopts AND coalesce(current_setting('rejoin.now', true), '') <> ''
      AND coalesce((SELECT e.bucket = 'global' OR e.bucket IS DISTINCT FROM {writers}
        FROM (SELECT bucket, 1 AS part, id AS at FROM rejoin.inbox WHERE {of_row}
          UNION ALL SELECT bucket, 0, position FROM rejoin.changelog WHERE {of_row}) AS e
        ORDER BY e.part DESC, e.at DESC LIMIT 1), true) THEN
      RAISE EXCEPTION 'rows below this key are not the new row''s' USING ERRCODE = 'unique_violation', COLUMN = {};
    END IF;
",
                literal(self.table.columns.get(self.table.key).map_or("", |key| &key.name)),
            )
        };
        let refusal = writers(self.known, self.table, "NEW").map(refusal).unwrap_or_default();
        format!("  IF TG_OP = 'INSERT' THEN\n    adopts := {has_rows};\n{refusal}  END IF;\n")
    }

    /// A row that moves, appears or disappears takes its descendants along; concurrent writers of
    /// descendants are waited for.
    fn below_row(&self) -> String {
        if self.descendants.is_empty() {
            return String::new();
        }
        let number = self.table.number;
        let cast = self.known.shape(self.table).cast(self.table.key);
        let mut text = String::from("  IF moves AND (TG_OP <> 'INSERT' OR adopts) THEN\n");
        // With a foreign key, no child can be added to a row being deleted, and an inserted row has
        // none.
        let is_guarded = self.descendants.iter().all(|lower| lower.is_guarded(&self.table.name));
        let alone = if is_guarded { "= 'UPDATE'" } else { "<> 'INSERT'" };
        let _ = writeln!(
            text,
            "    IF TG_OP {alone} THEN\n      FOREACH above IN ARRAY keys LOOP\n        \
             PERFORM rejoin.hold({number}, above, true);\n      END LOOP;\n    END IF;"
        );
        for lower in &self.descendants {
            let rows = lower.rows(self.known, |link| format!("{link} = ANY(keys::{cast}[])"));
            let number = lower.table.number;
            let rows = format!(
                "SELECT DISTINCT b, {number}, k FROM unnest(buckets) AS b, {rows} WHERE b IS NOT NULL"
            );
            let _ = write!(text, "    {}", self.put(&rows));
        }
        text.push_str("  END IF;\n");
        text
    }

    /// All rows and their descendants disappear at once: the table is locked against writers.
    fn truncate(&self) -> String {
        let number = self.table.number;
        let table = &self.known.shape(self.table).name;
        let own = self.put(&format!(
            "SELECT b, {number}, k FROM (SELECT {}::text AS k, unnest({}) AS b FROM {table} AS t) AS gone WHERE b IS NOT NULL",
            self.key("t"),
            buckets(self.known, self.table, "t"),
        ));
        let mut text = format!("BEGIN\n  {own}");
        for lower in &self.descendants {
            let key = self.key("t");
            let rows = lower.rows(self.known, |link| format!("{link} = {key}"));
            let rows = format!(
                "SELECT b, {}, k FROM (SELECT unnest({}) AS b, lower.k FROM {table} AS t CROSS JOIN LATERAL {rows}) AS gone
  WHERE b IS NOT NULL",
                lower.table.number,
                buckets(self.known, self.table, "t"),
            );
            let _ = write!(text, "  {}", self.put(&rows));
        }
        if self.known.shape(self.table).resolver.is_some() {
            text.push_str(&table_resolver::truncate(self.known, self.table));
        }
        if self.known.shape(self.table).function.is_some() {
            text.push_str(&member::forget_all(self.table));
        }
        text.push_str("  RETURN NULL;\nEND");
        text
    }
}
