//! What the triggers of the app write: SQLite reports it when statements that fire them are compiled.
//!
//! A base row is written by statements of the engine, which have no footprint. So the tables that
//! triggers fill with a synced table are read from statements that fire all of its triggers; they
//! are cached until the schema changes.

use std::collections::{BTreeSet, HashMap};

use rusqlite::Connection;

use crate::engine::database::authorizer::Authorizer;
use crate::engine::database::{Database, OURS};
use crate::engine::schema::sql::quoted;
use crate::engine::statement::is_internal;
use crate::error::Result;

/// The triggers of the app in a file, those of search indexes included.
#[derive(Debug)]
pub(crate) struct AppTriggers {
    /// Whether there is any.
    pub(crate) is_any: bool,
    /// Local-only tables and views that have a trigger, lower case.
    pub(crate) on_local: BTreeSet<String>,
    /// Local-only tables that triggers write, by synced table.
    written: HashMap<String, Vec<String>>,
}

impl AppTriggers {
    pub(crate) fn load(conn: &Connection, gate: &Authorizer) -> Result<Self> {
        let sql = format!(
            "{OURS}SELECT lower(tbl_name) FROM sqlite_schema WHERE type = 'trigger' \
             AND name NOT LIKE 'rejoin\\_%' ESCAPE '\\'"
        );
        let mut on_local: BTreeSet<String> = names(conn, &sql)?;
        let is_any = !on_local.is_empty();
        on_local.retain(|table| !gate.is_synced(table));
        Ok(Self { is_any, on_local, written: HashMap::new() })
    }

    /// The local-only tables that triggers may write when this synced table is written.
    pub(crate) fn written_with(&mut self, db: &Database, table: &str) -> &[String] {
        self.written.entry(table.to_owned()).or_insert_with(|| {
            compiled(db, table).unwrap_or_else(|error| {
                // Such a trigger fails with rows, too. What the others write is not known.
                tracing::debug!(%error, table, "a trigger does not compile");
                let sql =
                    format!("{OURS}SELECT lower(name) FROM sqlite_schema WHERE type = 'table'");
                names(db.conn(), &sql).map(|all| local(db, all)).unwrap_or_default()
            })
        })
    }
}

/// The tables that these statements write.
fn compiled(db: &Database, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut written = BTreeSet::new();
    for sql in statements(db.conn(), table)? {
        db.gate.record();
        let compiled = db.conn().prepare(&sql).map(drop);
        written.append(&mut db.gate.recorded().writes);
        db.gate.take_refusal();
        compiled?;
    }
    Ok(local(db, written))
}

fn local(db: &Database, tables: BTreeSet<String>) -> Vec<String> {
    tables.into_iter().filter(|table| !db.gate.is_synced(table) && !is_internal(table)).collect()
}

fn names(conn: &Connection, sql: &str) -> Result<BTreeSet<String>> {
    let mut statement = conn.prepare_cached(sql)?;
    let names = statement.query_map([], |row| row.get(0)).and_then(Iterator::collect);
    Ok(names?)
}

/// Statements that fire every trigger of a table or view, to be compiled.
pub(crate) fn statements(conn: &Connection, table: &str) -> rusqlite::Result<[String; 3]> {
    let columns: Vec<String> = conn
        .prepare_cached("/*rejoin*/SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0")?
        .query_map([table], |row| row.get::<_, String>(0))?
        .map(|name| name.map(|name| quoted(&name)))
        .collect::<rusqlite::Result<_>>()?;
    let set: Vec<String> = columns.iter().map(|column| format!("{column} = NULL")).collect();
    let (name, first) = (quoted(table), columns.first().map_or("", String::as_str));
    Ok([
        format!("EXPLAIN INSERT INTO {name} ({first}) VALUES (NULL)"),
        format!("EXPLAIN UPDATE {name} SET {}", set.join(", ")),
        format!("EXPLAIN DELETE FROM {name}"),
    ])
}
