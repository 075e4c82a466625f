//! Rejoin's own tables in the schema `rejoin`, by numbered migrations.

use super::connection::Connection;
use crate::error::ServerError;

/// The schema, to which releases append migrations, in order.
pub(super) const MIGRATIONS: &[&str] = &[include_str!("../../../schema/postgres.sql")];

/// Creates the first epoch and the secret that signs cursors, unless the database has them.
const BEGINNING: &str = "INSERT INTO rejoin.meta(key, value) VALUES
  ('epoch', gen_random_uuid()::text),
  ('cursor_key', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')),
  ('watermark', '0'),
  ('zero_tag', (floor(random() * 9007199254740992))::bigint::text)
ON CONFLICT(key) DO NOTHING;";

/// The oldest supported version (`xid8` is needed), as PostgreSQL numbers them.
const OLDEST: i32 = 130_000;

/// Runs the missing migrations in one transaction. Does not change a database of a newer server, or
/// one that cannot be served.
pub(super) fn migrate(connection: &Connection) -> Result<(), ServerError> {
    connection.batch("BEGIN ISOLATION LEVEL READ COMMITTED")?;
    match migrate_in(connection) {
        Ok(()) => Ok(connection.commit()?),
        Err(error) => {
            connection.batch("ROLLBACK")?;
            Err(error)
        }
    }
}

fn migrate_in(connection: &Connection) -> Result<(), ServerError> {
    // Serialises servers that start concurrently.
    connection.rows("SELECT pg_advisory_xact_lock(1380600394, 1)", &[])?;
    check_database(connection)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found = read(connection)?;
    if found > known {
        return Err(ServerError::TooNew { found, known });
    }
    if found == known {
        return Ok(());
    }
    for statements in statements(usize::try_from(found).unwrap_or(0)) {
        connection.batch(&statements)?;
    }
    Ok(())
}

/// The statements that migrate a database with the first `found` migrations.
fn statements(found: usize) -> impl Iterator<Item = String> {
    let all = MIGRATIONS.len();
    let number = format!(
        "INSERT INTO rejoin.meta(key, value) VALUES ('migration', '{all}') ON CONFLICT(key) DO UPDATE SET value = excluded.value;"
    );
    let ours = MIGRATIONS.iter().skip(found).map(|migration| String::from(*migration));
    ours.chain([String::from(BEGINNING), number])
}

/// The same as one script for an operator; a server that starts afterwards has nothing to do.
pub(super) fn script(found: usize) -> String {
    let mut script = String::from("BEGIN;\n");
    for statements in statements(found) {
        script.push_str(&statements);
        script.push('\n');
    }
    script.push_str("COMMIT;\n");
    script
}

fn check_database(connection: &Connection) -> Result<(), ServerError> {
    let select =
        "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding')";
    let Some(row) = connection.first(select, &[])? else { return Ok(()) };
    let (version, encoding): (i32, String) = (row.get(0), row.get(1));
    if version < OLDEST {
        let why = format!("PostgreSQL {} is too old: use 13 or newer", version / 10_000);
        return Err(ServerError::Postgres(why));
    }
    if encoding != "UTF8" {
        let why = format!("the database's encoding is {encoding}: make one in UTF8");
        return Err(ServerError::Postgres(why));
    }
    Ok(())
}

fn read(connection: &Connection) -> Result<i64, ServerError> {
    let exists = connection.first("SELECT to_regclass('rejoin.meta') IS NOT NULL", &[])?;
    if !exists.is_some_and(|row| row.get(0)) {
        return Ok(0);
    }
    let select = "SELECT value::bigint FROM rejoin.meta WHERE key = 'migration'";
    Ok(connection.first(select, &[])?.map_or(0, |row| row.get(0)))
}
