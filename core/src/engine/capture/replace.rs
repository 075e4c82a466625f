//! Captures the rows that REPLACE removes, where triggers must not be recursive.
//!
//! SQLite fires the delete triggers of such a row only with recursive triggers, which would change
//! what triggers of the app on local-only tables do. So a temporary trigger of the connection deletes
//! the row before the statement replaces it.

use rusqlite::Connection;

use crate::engine::schema::model::Table;
use crate::engine::schema::sql::quoted;

/// Creates the triggers of a table, if they do not exist: a rollback and a schema change remove them.
/// Returns whether it did. They do nothing, except while
/// [`Capture::replacing`](super::guard::Capture::replacing) is on.
pub(crate) fn create_triggers(conn: &Connection, table: &Table) -> rusqlite::Result<bool> {
    let names =
        ["insert", "update"].map(|kind| format!("rejoin_replace_{kind}_{}", table.number.0));
    let exist = conn
        .prepare_cached("/*rejoin*/SELECT 1 FROM sqlite_temp_schema WHERE name = ?1")?
        .exists([&names[1]])?;
    if exist {
        return Ok(false);
    }
    let [insert, update] = names;
    let (name, key) = (quoted(&table.name), quoted(&table.key_column().name));
    let delete = format!("BEGIN DELETE FROM {name} WHERE {key} = NEW.{key}; END");
    conn.execute_batch(&format!(
        "CREATE TEMP TRIGGER IF NOT EXISTS {insert} BEFORE INSERT ON main.{name} WHEN rejoin_replaces() {delete};
         CREATE TEMP TRIGGER {update} BEFORE UPDATE OF {key} ON main.{name}
             WHEN rejoin_replaces() AND NEW.{key} IS NOT OLD.{key} {delete};"
    ))?;
    Ok(true)
}
