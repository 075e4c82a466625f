//! Metadata of the file, by name: `rejoin_meta`.

use crate::error::Result;
use rusqlite::{Connection, OptionalExtension as _};

/// Key: another server answers under the URL, and the tables of the log have not had its rows. Empty
/// ones must not replace the device's.
pub(crate) const LOG_OTHER_SERVER: &str = "log_other_server";

/// Key of the server's kind: [`PLAIN`] if rows and frozen records are from a plain server.
pub(crate) const PEER: &str = "peer";

/// The value of [`PEER`].
pub(crate) const PLAIN: &str = "plain";

/// Sets a value, or removes it.
pub(crate) fn set_meta(conn: &Connection, key: &str, value: Option<&str>) -> Result<()> {
    if let Some(value) = value {
        let sql = "/*rejoin*/INSERT INTO rejoin_meta (key, value) VALUES (?1, ?2) \
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        conn.prepare_cached(sql)?.execute([key, value])?;
    } else {
        let sql = "/*rejoin*/DELETE FROM rejoin_meta WHERE key = ?1";
        conn.prepare_cached(sql)?.execute([key])?;
    }
    Ok(())
}

/// The value of a key; `None` if it is not set.
pub(crate) fn meta(conn: &Connection, key: &str) -> Result<Option<String>> {
    Ok(conn
        .prepare_cached("/*rejoin*/SELECT value FROM rejoin_meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?)
}
