//! Checks of schema changes by the app.
//!
//! The authorizer does not see everything: whether an index is UNIQUE, the new name of a table, the
//! body of a trigger. So the schema itself is checked right after such a statement; a forbidden
//! change is rolled back and rejected by name.

use std::fmt::Write as _;

use rusqlite::{Connection, OptionalExtension as _};

use crate::engine::Engine;
use crate::engine::database::Database;
use crate::engine::database::authorizer::Footprint;
use crate::engine::schema::app_trigger::raises;
use crate::engine::schema::sql::quoted;
use crate::engine::{firing, search, statement};
use crate::error::{Error, InputFault, Result};

/// Creates an index; on synced tables too, where it survives migration and snapshot. It cannot
/// be UNIQUE there: a base row is never rejected, so uniqueness is declared as a rule.
///
/// # Errors
/// `Refused` by name, and for an index of this name on other columns; nothing was created.
pub fn create_index(engine: &mut Engine, name: &str, table: &str, columns: &[&str]) -> Result<()> {
    match found_index(engine.db.conn(), name, table, columns)? {
        Some(true) => return Ok(()),
        Some(false) => {
            return refuse(
                format!("index {name}"),
                "there is an index of this name on other columns; drop it, or choose another name",
            );
        }
        None => {}
    }
    let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let (name, table) = (quoted(name), quoted(table));
    engine
        .execute(
            &format!("CREATE INDEX IF NOT EXISTS {name} ON {table} ({})", columns.join(", ")),
            &[],
        )
        .map(drop)
}

/// Creates an index with a name of its table and columns, and returns the name.
///
/// # Errors
/// As those of [`create_index`].
pub fn create_named_index(engine: &mut Engine, table: &str, columns: &[&str]) -> Result<String> {
    let mut name = format!("idx_{table}_{}", columns.join("_"));
    if found_index(engine.db.conn(), &name, table, columns)? == Some(false) {
        // Other names joined may give the same text; with their lengths they do not.
        for part in [table].iter().chain(columns) {
            let _ = write!(name, "${}", part.len());
        }
    }
    create_index(engine, &name, table, columns)?;
    Ok(name)
}

/// Whether the index of this name is on these columns of this table; `None` if there is none.
fn found_index(
    conn: &Connection,
    name: &str,
    table: &str,
    columns: &[&str],
) -> Result<Option<bool>> {
    let found: Option<String> = conn
        .prepare_cached(
            "/*rejoin*/SELECT tbl_name FROM sqlite_schema WHERE type = 'index' AND name = ?1 COLLATE NOCASE",
        )?.query_row([name], |row| row.get(0)).optional()?;
    let Some(found) = found else { return Ok(None) };
    let names: Vec<Option<String>> = conn
        .prepare_cached(
            "/*rejoin*/SELECT i.name FROM pragma_index_info(?1) AS i
             WHERE NOT EXISTS (SELECT 1 FROM pragma_index_list(?2) AS l WHERE l.name = ?1 COLLATE NOCASE
             AND l.partial) ORDER BY i.seqno",
        )?.query_map([name, table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let is_same = |(one, other): (&Option<String>, &&str)| {
        one.as_ref().is_some_and(|one| one.eq_ignore_ascii_case(other))
    };
    let same = found.eq_ignore_ascii_case(table)
        && names.len() == columns.len()
        && names.iter().zip(columns).all(is_same);
    Ok(Some(same))
}

/// Creates a local-only table: `definition` is the part of `CREATE TABLE` between the
/// parentheses.
///
/// # Errors
/// `Refused` if it would refer to a synced table natively; nothing was created.
pub fn create_table(engine: &mut Engine, name: &str, definition: &str) -> Result<()> {
    engine
        .execute(&format!("CREATE TABLE IF NOT EXISTS {} ({definition})", quoted(name)), &[])
        .map(drop)
}

/// Adds a column to a local-only table: `definition` is name, type and constraints.
///
/// # Errors
/// `Refused` for a synced table, whose schema comes from the manifest.
pub fn alter_table(engine: &mut Engine, name: &str, definition: &str) -> Result<()> {
    engine.execute(&format!("ALTER TABLE {} ADD COLUMN {definition}", quoted(name)), &[]).map(drop)
}

/// Checks the schema after a statement of the app that changed it.
pub(super) fn verify(db: &Database, footprint: &Footprint) -> Result<()> {
    let conn = db.conn();
    for table in db.gate.synced() {
        one_synced_table(conn, &table)?;
    }
    names(conn, db)?;
    search::refuse_to_lose(conn, &footprint.altered)?;
    for table in &footprint.triggered {
        trigger_bodies(db, table)?;
    }
    Ok(())
}

fn one_synced_table(conn: &Connection, table: &str) -> Result<()> {
    let first = |sql: &str| -> Result<Option<String>> {
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query([table])?;
        Ok(rows.next().and_then(|row| row.map(|row| row.get(0)).transpose())?)
    };
    if let Some(index) = first(
        "/*rejoin*/SELECT name FROM pragma_index_list(?1) WHERE \"unique\" AND origin <> 'pk'",
    )? {
        return refuse(
            format!("UNIQUE index {index} on the synced table {table}"),
            "it would reject rows of the server; declare uniqueness as a rule in the manifest",
        );
    }
    if let Some(index) = first(
        "/*rejoin*/SELECT l.name FROM pragma_index_list(?1) AS l, pragma_index_xinfo(l.name) AS x
         WHERE x.cid = -2 OR l.partial",
    )? {
        return refuse(
            format!("index {index} on an expression of the synced table {table}"),
            "the expression could fail on a row of the server; index a column, or a generated column",
        );
    }
    if let Some(local) = first(
        "/*rejoin*/SELECT s.name FROM sqlite_schema AS s, pragma_foreign_key_list(s.name) AS f
         WHERE s.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE",
    )? {
        return refuse(
            format!("FOREIGN KEY of {local} to the synced table {table}"),
            "SQLite would reject rows of the server; make it a plain column",
        );
    }
    if let Some(shadow) =
        first("/*rejoin*/SELECT name FROM sqlite_temp_schema WHERE name = ?1 COLLATE NOCASE")?
    {
        return refuse(
            format!("temporary {shadow}"),
            "it would stand before the synced table of this name; choose another",
        );
    }
    Ok(())
}

/// Checks that the transaction leaves no temporary object: queries run on other connections, which
/// would not find it.
pub(super) fn no_temporary(db: &Database) -> Result<()> {
    if !db.gate.take_temporary() {
        return Ok(());
    }
    let first = "/*rejoin*/SELECT name FROM sqlite_temp_schema WHERE name NOT LIKE 'rejoin#_%' ESCAPE '#' LIMIT 1";
    let name: Option<String> = db.conn().query_row(first, [], |row| row.get(0)).optional()?;
    match name {
        None => Ok(()),
        Some(name) => refuse(
            format!("temporary {name} after its transaction"),
            "queries run on other connections and would not find it; drop it in the transaction, or create an ordinary table",
        ),
    }
}

/// Checks that a rename has not created a reserved name.
fn names(conn: &Connection, db: &Database) -> Result<()> {
    let mut statement = conn
        .prepare_cached(
            "/*rejoin*/SELECT name FROM sqlite_schema WHERE name LIKE 'rejoin\\_%' ESCAPE '\\'
             UNION ALL SELECT name FROM sqlite_temp_schema WHERE name LIKE 'rejoin\\_%' ESCAPE '\\'",
        )?;
    let names = statement
        .query_map([], |row| row.get::<_, String>(0))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)?;
    match names.into_iter().find(|name| !db.gate.is_ours(name)) {
        Some(name) => refuse(name, "names that begin with rejoin_ are the engine's"),
        None => Ok(()),
    }
}

/// A trigger of the app on this table that calls RAISE.
fn raising_trigger(conn: &Connection, table: &str) -> Result<Option<String>> {
    let mut statement = conn.prepare_cached(
        "/*rejoin*/SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'
         AND tbl_name = ?1 COLLATE NOCASE AND name NOT LIKE 'rejoin\\_%' ESCAPE '\\'",
    )?;
    let mut rows = statement.query([table])?;
    while let Some(row) = rows.next()? {
        if raises(&row.get::<_, String>(1)?) {
            return Ok(Some(row.get(0)?));
        }
    }
    Ok(None)
}

/// CREATE TRIGGER does not compile the body: statements that would fire it are compiled here,
/// otherwise the first pull would fail.
fn trigger_bodies(db: &Database, table: &str) -> Result<()> {
    let conn = db.conn();
    if let Some(trigger) = raising_trigger(conn, table)?
        && db.gate.is_synced(table)
    {
        return refuse(
            format!("trigger {trigger}"),
            "it calls RAISE; a trigger of the app may not refuse a row of a synced table",
        );
    }
    let statements = firing::statements(conn, table)?;
    let _app = db.gate.app();
    for sql in statements {
        conn.prepare(&sql)
            .map_err(|error| match statement::explain(error, &db.gate) {
                Error::InvalidInput(InputFault::Sql(message)) if is_view_objection(&message) => {
                    None
                }
                other => Some(other),
            })
            .map_or_else(|error| error.map_or(Ok(()), Err), |_| Ok(()))?;
    }
    Ok(())
}

/// Whether SQLite rejects the statement because a view lacks that INSTEAD OF trigger.
fn is_view_objection(message: &str) -> bool {
    message.contains("because it is a view")
}

fn refuse<T>(what: impl Into<String>, why: &str) -> Result<T> {
    Err(Error::InvalidInput(InputFault::Refused { what: what.into(), reason: why.to_owned() }))
}
