//! Virtual tables: what they read besides their own rows, which SQLite does not report, and how a
//! damaged one is rebuilt.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _};

use crate::engine::database::authorizer::Footprint;
use crate::error::{Error, InputFault};

/// Functions that return tables and read none.
const PURE: &[&str] = &["json_each", "json_tree", "jsonb_each", "jsonb_tree", "generate_series"];

/// Modules whose tables change only by writes that name them.
const SELF_CONTAINED: &[&str] = &["fts5", "fts4", "fts3", "rtree", "rtree_i32", "geopoly"];

/// Whether a table changes by writes that do not name it.
pub(crate) fn is_written_unseen(conn: &Connection, table: &str) -> rusqlite::Result<bool> {
    if table.starts_with("rejoin_") || table.starts_with("sqlite_") {
        return Ok(true);
    }
    let found: Option<(String, Option<String>)> = conn
        .prepare_cached(
            "/*rejoin*/SELECT l.type, s.sql FROM pragma_table_list(?1) AS l
             LEFT JOIN sqlite_schema AS s ON s.name = l.name COLLATE NOCASE AND s.type <> 'trigger'
             WHERE l.schema = 'main'",
        )?
        .query_row([table], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match found {
        Some((kind, Some(sql))) if kind == "virtual" => Ok(!is_self_contained(&sql)),
        Some((kind, _)) => Ok(kind == "shadow" || kind == "virtual"),
        // A common table expression, or a function that returns a table.
        None if PURE.contains(&table) => Ok(false),
        None => conn
            .prepare_cached("/*rejoin*/SELECT 1 FROM pragma_module_list WHERE name = ?1")?
            .exists([table]),
    }
}

/// Whether this `CREATE VIRTUAL TABLE` is of a module that reads no other table.
fn is_self_contained(sql: &str) -> bool {
    Module::of(sql).is_some_and(|module| module.content.is_none())
}

/// The module of a virtual table.
pub(crate) struct Module {
    /// One of [`SELF_CONTAINED`].
    pub(crate) name: &'static str,
    /// The table or view that has the text of a full-text index, if it has none itself; empty if
    /// nothing has it.
    pub(crate) content: Option<String>,
}

impl Module {
    /// The module in a `CREATE VIRTUAL TABLE`, if it is one of SQLite's indexes.
    pub(crate) fn of(sql: &str) -> Option<Self> {
        let lower = sql.to_ascii_lowercase();
        let (name, arguments) = lower.match_indices("using").find_map(|(at, using)| {
            let rest = lower[at + using.len()..].trim_start();
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let name = SELF_CONTAINED.iter().find(|name| **name == &rest[..end])?;
            Some((*name, &rest[end..]))
        })?;
        let mut options = arguments.split("content").skip(1);
        let content = options.find_map(|rest| rest.trim_start().strip_prefix('='));
        let content = content.map(|value| {
            let value = value.trim_start();
            let quoted = value.strip_prefix(['\'', '"', '`', '[']);
            let end =
                |c| matches!(c, '\'' | '"' | '`' | ']' | ',' | ')') || c == ' ' && quoted.is_none();
            quoted.unwrap_or(value).split(end).next().unwrap_or_default().to_owned()
        });
        Some(Self { name, content })
    }

    /// Whether it is a full-text index.
    pub(crate) fn is_full_text(&self) -> bool {
        self.name.starts_with("fts")
    }
}

/// Names the damaged index among the tables of a statement, and what to do.
pub(crate) fn named(conn: &Connection, error: Error, footprint: &Footprint) -> Error {
    let Error::InvalidInput(InputFault::CorruptIndex { reason, .. }) = error else { return error };
    let known = |table: &String| -> Option<(String, String)> {
        let sql = "/*rejoin*/SELECT name, sql FROM sqlite_schema WHERE type = 'table' \
                   AND name = ?1 COLLATE NOCASE AND sql LIKE 'CREATE VIRTUAL TABLE%'";
        let mut statement = conn.prepare_cached(sql).ok()?;
        statement.query_row([table], |row| Ok((row.get(0)?, row.get(1)?))).ok()
    };
    let tables: BTreeSet<&String> = footprint.reads.union(&footprint.writes).collect();
    let found: Vec<(String, String)> = tables.into_iter().filter_map(known).collect();
    let remedies: Vec<String> = (found.iter())
        .map(|(name, sql)| match Module::of(sql).filter(Module::is_full_text) {
            Some(_) => format!("INSERT INTO {0} ({0}) VALUES ('rebuild')", quoted(name)),
            None => format!("drop {name} and create it again"),
        })
        .collect();
    let names: Vec<String> = found.into_iter().map(|(name, _)| name).collect();
    let (table, remedies) = (names.join(","), remedies.join("; "));
    InputFault::CorruptIndex { table, reason: format!("{reason}; rebuild it: {remedies}") }.into()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_that_read_other_tables_are_recognized() {
        for (sql, is) in [
            ("CREATE VIRTUAL TABLE using_x USING fts5(a, content)", true),
            ("CREATE VIRTUAL TABLE x USING rtree (id, a, b)", true),
            ("create virtual table x using FTS4", true),
            ("CREATE VIRTUAL TABLE x USING fts5(a, content = 'item')", false),
            ("CREATE VIRTUAL TABLE x USING fts4(content=\"item\", a)", false),
            ("CREATE VIRTUAL TABLE x USING fts5vocab(other, row)", false),
            ("CREATE VIRTUAL TABLE x USING dbstat", false),
        ] {
            assert_eq!(is_self_contained(sql), is, "{sql}");
        }
    }

    #[test]
    fn content_of_an_index_is_read_from_its_sql() {
        for (options, content) in [
            ("content='item', a", Some("item")),
            ("a, content = \"my item\" , b", Some("my item")),
            ("a, content=item)", Some("item")),
            ("a, content=''", Some("")),
            ("a, content, content_rowid=x", None),
        ] {
            let module =
                Module::of(&format!("CREATE VIRTUAL TABLE x USING fts5({options})")).unwrap();
            assert_eq!(module.content.as_deref(), content, "{options}");
        }
    }
}
