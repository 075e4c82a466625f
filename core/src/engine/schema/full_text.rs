//! Full-text indexes of the app whose text is in another table.
//!
//! They refer to rows by rowid, and the triggers of the app keep them. A schema change may remove
//! rows and columns without these triggers.

use rusqlite::Connection;

use crate::engine::database::OURS;
use crate::engine::database::module::Module;
use crate::engine::schema::app_trigger::{self, Measure};
use crate::engine::schema::sql::quoted;
use crate::error::Result;

/// Rebuilds the indexes that differ from their tables. One that cannot be rebuilt is recorded.
pub(crate) fn rebuild_stale(conn: &Connection) -> Result<()> {
    for (name, sql) in virtual_tables(conn)? {
        let Some(module) = Module::of(&sql).filter(Module::is_full_text) else { continue };
        let Some(content) = module.content.filter(|content| !content.is_empty()) else { continue };
        let index = quoted(&name);
        let check = if module.name == "fts5" {
            format!("INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")
        } else {
            format!("INSERT INTO {index} ({index}) VALUES ('integrity-check')")
        };
        if run(conn, &check)?.is_ok() {
            continue;
        }
        tracing::warn!(index = name, "a full-text index differs from its table and is rebuilt");
        if let Err(why) = run(conn, &format!("INSERT INTO {index} ({index}) VALUES ('rebuild')"))? {
            app_trigger::record(conn, &content, &[(name, sql)], &why, Measure::Stale)?;
        }
    }
    Ok(())
}

/// Runs a statement that may fail, which changes nothing then.
fn run(conn: &Connection, sql: &str) -> Result<Result<(), String>> {
    let ours = |sql: &str| -> Result<()> { Ok(conn.execute_batch(sql)?) };
    ours("SAVEPOINT rejoin_index")?;
    let done = match ours(sql) {
        Err(error) if error.is_of_the_machine() => return Err(error),
        Err(error) => {
            ours("ROLLBACK TO rejoin_index")?;
            Err(error.to_string())
        }
        Ok(()) => Ok(()),
    };
    ours("RELEASE rejoin_index")?;
    Ok(done)
}

fn virtual_tables(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let sql = format!(
        "{OURS}SELECT name, sql FROM sqlite_schema \
         WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%' ORDER BY name"
    );
    let mut statement = conn.prepare(&sql)?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
