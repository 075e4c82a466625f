//! Rejoin's own tables, by numbered migrations. The file's `user_version` and `application_id` stay
//! the application's.

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use crate::error::ServerError;

/// The schema, to which releases append migrations, in order.
const MIGRATIONS: &[&str] = &[include_str!("../../../schema/sqlite.sql")];

/// Runs the missing migrations in one transaction. Does not change a file of a newer server.
pub(super) fn migrate(connection: &Connection) -> Result<(), ServerError> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let done = migrate_in(connection);
    connection.execute_batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    done
}

fn migrate_in(connection: &Connection) -> Result<(), ServerError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found = if exists(connection)? { read(connection)? } else { 0 };
    if found > known {
        return Err(ServerError::TooNew { found, known });
    }
    let start = usize::try_from(found).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(start) {
        connection.execute_batch(migration)?;
    }
    let put = "INSERT INTO rejoin_meta(key, value) VALUES(?1, ?2)
               ON CONFLICT(key) DO UPDATE SET value = excluded.value";
    connection.execute(put, ("migration", known.to_string()))?;
    if found == 0 {
        connection.execute(put, ("epoch", Uuid::new_v4().to_string()))?;
        let key = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        connection.execute(put, ("cursor_key", key))?;
        connection.execute(put, ("watermark", "0"))?;
        connection.execute(
            "INSERT INTO rejoin_meta(key, value) SELECT 'zero_tag', CAST(random() AS TEXT)",
            [],
        )?;
    }
    Ok(())
}

fn exists(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'rejoin_meta'", [], |_| Ok(()))
        .optional()
        .map(|found| found.is_some())
}

fn read(connection: &Connection) -> rusqlite::Result<i64> {
    let query = "SELECT CAST(value AS INTEGER) FROM rejoin_meta WHERE key = 'migration'";
    Ok(connection.query_row(query, [], |row| row.get(0)).optional()?.unwrap_or(0))
}
