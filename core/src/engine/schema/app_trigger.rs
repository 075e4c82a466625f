//! Handles an app trigger that fails while base rows are applied: it is disabled for that
//! transaction and recorded, and the batch continues, because a base row is never rejected. An index
//! that names a removed column is dropped and recorded.
//!
//! The error does not say which trigger failed, so the row is tried without each of them, and then
//! without the smallest set that lets it pass.

use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};

use crate::engine::database::OURS;
use crate::engine::meta::{meta, set_meta};
use crate::engine::schema::left_out::LeftOutPart;
use crate::engine::schema::model::Schema;
use crate::engine::schema::sql::quoted;
use crate::error::{Error, InputFault, Result};

/// Key in `rejoin_meta`: a JSON list of [`Failed`].
pub(crate) const TRIGGER_DISABLED: &str = "trigger_disabled";

/// What was done with a trigger or an index of the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// It was dropped.
    #[default]
    Dropped,
    /// A trigger is disabled until the end of this transaction.
    Disabling,
    /// A trigger was disabled for a transaction.
    Disabled,
    /// A full-text index could not be rebuilt.
    Stale,
}

/// A trigger or an index of the app that failed.
#[derive(Debug, Serialize, Deserialize)]
struct Failed {
    table: String,
    trigger: String,
    error: String,
    /// With it the app can create the object again.
    sql: String,
    #[serde(default)]
    measure: Measure,
    #[serde(default = "once")]
    times: u64,
}

fn once() -> u64 {
    1
}

const RAISES: &str = "it calls RAISE, and a trigger of the app may not refuse a row of a synced table; declare a rule in the \
                      manifest, or write a local-only table";

const SAVEPOINT: &str = "rejoin_without_trigger";

/// Drops and records app triggers that call RAISE on a synced table: another program or an earlier
/// release has created them. The file can be opened nevertheless.
pub(crate) fn set_aside_raising(conn: &Connection, schema: &Schema) -> Result<()> {
    for table in schema.tables.values() {
        let mut raising = triggers_of(conn, &table.name)?;
        raising.retain(|(_, sql)| raises(sql));
        for (name, _) in &raising {
            let drop = format!("DROP TRIGGER {}", quoted(name));
            conn.execute_batch(&drop)?;
        }
        record(conn, &table.name, &raising, RAISES, Measure::Dropped)?;
    }
    Ok(())
}

/// Whether there is any such trigger.
pub(crate) fn is_any_raising(conn: &Connection, schema: &Schema) -> Result<bool> {
    for table in schema.tables.values() {
        let triggers = triggers_of(conn, &table.name)?;
        if triggers.iter().any(|(_, sql)| raises(sql)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Runs `attempt` again without the app triggers that made it fail, which are disabled until the end
/// of the transaction.
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
        Error::InvalidInput(
            InputFault::Sql(_) | InputFault::Refused { .. } | InputFault::CorruptIndex { .. }
        ) | Error::Constraint { .. }
    ) || conn.is_autocommit()
    {
        return Err(first);
    }
    let triggers = triggers_of(conn, table)?;
    for one in triggers.chunks(1) {
        if let Some(rows) = try_without(conn, one, &mut attempt, true)? {
            record(conn, table, one, &why, Measure::Disabling)?;
            return Ok(rows);
        }
    }
    let failing = failing(conn, triggers, &mut attempt)?;
    let done = try_without(conn, &failing, &mut attempt, true)?;
    match done.filter(|_| !failing.is_empty()) {
        Some(rows) => {
            record(conn, table, &failing, &why, Measure::Disabling)?;
            Ok(rows)
        }
        None => Err(first),
    }
}

/// The smallest set of these triggers without which `attempt` passes; none if it fails anyway.
fn failing(
    conn: &Connection,
    mut triggers: Vec<(String, String)>,
    attempt: &mut impl FnMut() -> rusqlite::Result<usize>,
) -> rusqlite::Result<Vec<(String, String)>> {
    if triggers.len() < 2 || try_without(conn, &triggers, attempt, false)?.is_none() {
        return Ok(Vec::new());
    }
    for at in (0..triggers.len()).rev() {
        let innocent = triggers.remove(at);
        if try_without(conn, &triggers, attempt, false)?.is_none() {
            triggers.insert(at, innocent);
        }
    }
    Ok(triggers)
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
    keep: bool,
) -> rusqlite::Result<Option<usize>> {
    conn.execute_batch(&format!("SAVEPOINT {SAVEPOINT}"))?;
    for (name, _) in triggers {
        conn.execute_batch(&format!("DROP TRIGGER {}", quoted(name)))?;
    }
    let result = attempt();
    if result.is_err() || !keep {
        conn.execute_batch(&format!("ROLLBACK TO {SAVEPOINT}"))?;
    }
    conn.execute_batch(&format!("RELEASE {SAVEPOINT}"))?;
    Ok(result.ok())
}

/// Records what failed, with its SQL, so that the app can create it again. An object is in the list
/// once.
pub(crate) fn record(
    conn: &Connection,
    table: &str,
    objects: &[(String, String)],
    why: &str,
    measure: Measure,
) -> Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    let mut all = recorded(conn)?;
    for (name, sql) in objects {
        tracing::warn!(table, trigger = name, why, ?measure, "an object of the app failed");
        let times = match all.iter().position(|known| known.trigger == *name) {
            Some(at) => all.remove(at).times + 1,
            None => 1,
        };
        let (table, trigger, error) = (table.to_owned(), name.clone(), why.to_owned());
        all.push(Failed { table, trigger, error, sql: sql.clone(), measure, times });
    }
    store(conn, &all)
}

/// Creates the triggers again that were disabled for this transaction, except those that
/// `is_rebuilt` names.
pub(crate) fn restore(conn: &Connection, is_rebuilt: impl Fn(&str) -> bool) -> Result<()> {
    let mut all = recorded(conn)?;
    if !all.iter().any(|failed| failed.measure == Measure::Disabling) {
        return Ok(());
    }
    for failed in all.iter_mut().filter(|failed| failed.measure == Measure::Disabling) {
        failed.measure = Measure::Disabled;
        if is_rebuilt(&failed.trigger) {
            continue;
        }
        if let Err(error) = conn.execute_batch(&failed.sql) {
            tracing::error!(trigger = failed.trigger, %error, "a trigger cannot be created again");
            failed.measure = Measure::Dropped;
        }
    }
    store(conn, &all)
}

/// The list; a part of another form is left out.
fn recorded(conn: &Connection) -> Result<Vec<Failed>> {
    let text = meta(conn, TRIGGER_DISABLED)?.unwrap_or_default();
    let known: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap_or_default();
    Ok(known.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect())
}

fn store(conn: &Connection, all: &[Failed]) -> Result<()> {
    let text = serde_json::to_string(all).map_err(|error| Error::Internal(error.to_string()))?;
    set_meta(conn, TRIGGER_DISABLED, Some(&text))
}

/// The triggers without which rows of the server were written, for the status. The app has neither
/// dropped nor changed them since.
pub(crate) fn failed(conn: &Connection) -> Result<Vec<LeftOutPart>> {
    let mut parts = Vec::new();
    for Failed { table, trigger, error, sql, measure, times } in recorded(conn)? {
        let now: Option<String> = conn
            .prepare_cached(&format!(
                "{OURS}SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?1"
            ))?
            .query_row([&trigger], |row| row.get(0))
            .optional()?;
        if measure == Measure::Disabled && now == Some(sql) {
            let reason = format!(
                "rows of the server were written without it ({times} times), because it failed: {error}; drop it, or \
                 create one that does not fail"
            );
            parts.push(LeftOutPart { table, part: format!("trigger {trigger}"), reason });
        }
    }
    Ok(parts)
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
