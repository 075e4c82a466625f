//! Migrations of the engine's own tables: numbered, each in one transaction that also writes the
//! new number.
//!
//! `user_version` is the number of the last migration, `application_id` marks the file as ours. A
//! file of a newer release is rejected before anything is written.

use std::path::Path;

use crate::death::{self, Failpoint};
use crate::error::{Error, InputFault, Result, StorageFault};
use rusqlite::Connection;

/// "RJN1", in the header of each of our files.
pub(crate) const APPLICATION_ID: i64 = 0x524A_4E31;

/// The first is the schema, to which releases append migrations. In order; positions count from one.
/// A released one is never edited.
const MIGRATIONS: &[&str] = &[include_str!("../../schema.sql")];

/// The format that this release writes.
#[allow(clippy::cast_possible_wrap)] // A few entries.
pub(crate) const FORMAT: i64 = MIGRATIONS.len() as i64;

/// Rejects a file that this release must not write; reads only.
pub(crate) fn check(application_id: i64, user_version: i64) -> Result<()> {
    match application_id {
        0 if user_version == 0 => Ok(()),
        APPLICATION_ID if user_version <= FORMAT => Ok(()),
        APPLICATION_ID => {
            Err(Error::Storage(StorageFault::TooNew { found: user_version, known: FORMAT }))
        }
        _ => Err(Error::InvalidInput(InputFault::Refused {
            what: String::from("the file"),
            reason: String::from(
                "it belongs to another application; use another file for Rejoin (import_synchro imports a Synchro database)",
            ),
        })),
    }
}

/// Rejects a file that this release cannot read without migrating it.
pub(crate) fn check_to_read(path: &Path, application_id: i64, user_version: i64) -> Result<()> {
    check(application_id, user_version)?;
    if application_id == APPLICATION_ID && user_version == FORMAT {
        return Ok(());
    }
    let why = if application_id == APPLICATION_ID {
        format!(
            "its format is {user_version}, and this release reads {FORMAT}; open it for writing with this release to migrate it"
        )
    } else {
        String::from("it is no file of Rejoin's")
    };
    Err(Error::InvalidInput(InputFault::Refused { what: path.display().to_string(), reason: why }))
}

/// Migrates the engine's tables to this release.
pub(crate) fn migrate(conn: &Connection) -> Result<()> {
    let number = |name: &str| conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
    let format: i64 = number("user_version")?;
    check(number("application_id")?, format)?;
    if format == FORMAT {
        return Ok(());
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let done = usize::try_from(format).unwrap_or(0);
    let each = |sql: &&str| {
        conn.execute_batch(sql)?;
        death::pass(Failpoint::MidMigration);
        Ok(())
    };
    let result = MIGRATIONS[done..].iter().try_for_each(each).and_then(|()| {
        conn.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT"
        ))
    });
    if result.is_err() && !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK")?;
    }
    Ok(result?)
}
