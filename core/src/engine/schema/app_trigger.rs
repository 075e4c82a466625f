//! Handles an app trigger that fails while base rows are applied: it is dropped in that transaction
//! and recorded, and the batch continues, because a base row is never rejected. An index that names
//! a removed column is handled the same way.
//!
//! The error does not say which trigger failed, so the batch is tried without each of them; if no
//! single one is the cause, all are dropped.

use rusqlite::Connection;
use serde_json::json;

use crate::engine::database::{OURS, fault};
use crate::engine::schema::model::Schema;
use crate::engine::schema::sql::quoted;
use crate::error::{Error, InputFault, Result};

/// Key in `rejoin_meta`: a JSON list of the dropped triggers, with table, error and SQL.
pub(crate) const TRIGGER_DISABLED: &str = "trigger_disabled";

const RAISES: &str = "it calls RAISE, and a trigger of the app may not refuse a row of a synced table; declare a rule in the \
                      manifest, or write a local-only table";

const SAVEPOINT: &str = "rejoin_without_trigger";

/// Drops and records app triggers that call RAISE on a synced table: another program or an earlier
/// release has created them. The file can be opened nevertheless.
pub(crate) fn set_aside_raising(conn: &Connection, schema: &Schema) -> Result<()> {
    for table in schema.tables.values() {
        let mut raising = triggers_of(conn, &table.name).map_err(fault::of)?;
        raising.retain(|(_, sql)| raises(sql));
        for (name, _) in &raising {
            let drop = format!("DROP TRIGGER {}", quoted(name));
            conn.execute_batch(&drop).map_err(fault::of)?;
        }
        record(conn, &table.name, &raising, RAISES).map_err(fault::of)?;
    }
    Ok(())
}

/// Whether there is any such trigger.
pub(crate) fn is_any_raising(conn: &Connection, schema: &Schema) -> Result<bool> {
    for table in schema.tables.values() {
        let triggers = triggers_of(conn, &table.name).map_err(fault::of)?;
        if triggers.iter().any(|(_, sql)| raises(sql)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Runs `attempt` again without the app trigger that made it fail.
///
/// # Errors
/// The first error, if no app trigger caused it.
pub(crate) fn without_failing(
    conn: &Connection,
    table: &str,
    first: Error,
    mut attempt: impl FnMut() -> rusqlite::Result<usize>,
) -> Result<usize> {
    let why = first.to_string();
    if !matches!(
        first,
        Error::InvalidInput(InputFault::Sql(_) | InputFault::Refused { .. })
            | Error::Constraint { .. }
    ) {
        return Err(first);
    }
    let triggers = triggers_of(conn, table).map_err(fault::of)?;
    let mut sets: Vec<&[(String, String)]> = triggers.chunks(1).collect();
    if triggers.len() > 1 {
        sets.push(&triggers);
    }
    for dropped in sets {
        if let Some(rows) = try_without(conn, dropped, &mut attempt).map_err(fault::of)? {
            record(conn, table, dropped, &why).map_err(fault::of)?;
            return Ok(rows);
        }
    }
    Err(first)
}

fn triggers_of(conn: &Connection, table: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = conn.prepare(&format!(
        "{OURS}SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' \
         AND tbl_name = ?1 COLLATE NOCASE AND name NOT LIKE 'rejoin\\_%' ESCAPE '\\' ORDER BY name"
    ))?;
    let rows = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn try_without(
    conn: &Connection,
    triggers: &[(String, String)],
    attempt: &mut impl FnMut() -> rusqlite::Result<usize>,
) -> rusqlite::Result<Option<usize>> {
    conn.execute_batch(&format!("SAVEPOINT {SAVEPOINT}"))?;
    for (name, _) in triggers {
        conn.execute_batch(&format!("DROP TRIGGER {}", quoted(name)))?;
    }
    let result = attempt();
    if result.is_err() {
        conn.execute_batch(&format!("ROLLBACK TO {SAVEPOINT}"))?;
    }
    conn.execute_batch(&format!("RELEASE {SAVEPOINT}"))?;
    Ok(result.ok())
}

/// Records what was dropped, with its SQL, so that the app can create it again.
pub(crate) fn record(
    conn: &Connection,
    table: &str,
    dropped: &[(String, String)],
    why: &str,
) -> rusqlite::Result<()> {
    for (name, sql) in dropped {
        tracing::warn!(table, trigger = name, why, "a trigger or an index of the app is dropped");
        let entry = json!({ "table": table, "trigger": name, "error": why, "sql": sql });
        conn.execute(
            &format!(
                "{OURS}INSERT INTO rejoin_meta (key, value) VALUES (?1, json_array(json(?2))) \
                 ON CONFLICT (key) DO UPDATE SET value = json_insert(value, '$[#]', json(?2))"
            ),
            [TRIGGER_DISABLED, &entry.to_string()],
        )?;
    }
    Ok(())
}

/// Whether the keyword RAISE occurs outside of strings, names and comments.
pub(crate) fn raises(sql: &str) -> bool {
    let mut rest = sql;
    let mut word = String::new();
    while let Some(character) = rest.chars().next() {
        let skip = match character {
            '\'' | '"' | '`' => 1 + rest[1..].find(character).map_or(rest.len() - 1, |end| end + 1),
            '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ => {
                if character.is_alphanumeric() || character == '_' {
                    word.push(character.to_ascii_lowercase());
                } else {
                    if word == "raise" {
                        return true;
                    }
                    word.clear();
                }
                rest = &rest[character.len_utf8()..];
                continue;
            }
        };
        word.clear();
        rest = &rest[skip..];
    }
    false
}
