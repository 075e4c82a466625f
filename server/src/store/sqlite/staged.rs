//! Contents of groups that arrive in parts.

use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::model::{StagedPart, StagedSize};

/// The content of a device that is staged, and how much of it.
pub(super) fn size(
    connection: &Connection,
    user: &str,
    client_id: &str,
) -> Result<Option<StagedSize>> {
    connection
        .prepare_cached(
            "SELECT content, at_byte + length(bytes) FROM rejoin_staged
             WHERE user_id = ?1 AND client_id = ?2 ORDER BY at_byte DESC LIMIT 1",
        )?
        .query_row((user, client_id), |row| {
            Ok(StagedSize { content: row.get(0)?, bytes: row.get(1)? })
        })
        .optional()
}

/// The bytes of the contents that the devices of a user have begun to stage.
pub(super) fn size_of_user(connection: &Connection, user: &str) -> Result<i64> {
    let sum = "SELECT coalesce(sum(size), 0) FROM rejoin_staged WHERE user_id = ?1 AND at_byte = 0";
    connection.prepare_cached(sum)?.query_row([user], |row| row.get(0))
}

/// The bytes of a content, as far as they are staged.
pub(super) fn bytes(
    connection: &Connection,
    user: &str,
    client_id: &str,
    content: &str,
) -> Result<Vec<u8>> {
    let mut statement = connection.prepare_cached(
        "SELECT bytes FROM rejoin_staged WHERE user_id = ?1 AND client_id = ?2 AND content = ?3 ORDER BY at_byte",
    )?;
    let mut rows = statement.query((user, client_id, content))?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.extend_from_slice(row.get_ref(0)?.as_blob()?);
    }
    Ok(all)
}

pub(super) fn put(
    connection: &Connection,
    user: &str,
    client_id: &str,
    part: &StagedPart<'_>,
) -> Result<()> {
    let StagedPart { content, size, offset, bytes, at } = part;
    connection
        .prepare_cached(
            "INSERT INTO rejoin_staged(user_id, client_id, at_byte, content, size, bytes, at)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![user, client_id, offset, content, size, bytes, at])
        .map(drop)
}

pub(super) fn forget(connection: &Connection, user: &str, client_id: &str) -> Result<()> {
    let delete = "DELETE FROM rejoin_staged WHERE user_id = ?1 AND client_id = ?2";
    connection.prepare_cached(delete)?.execute((user, client_id)).map(drop)
}

/// Deletes parts that arrived before this time, at most `most`.
pub(super) fn forget_before(connection: &Connection, before: &str, most: i64) -> Result<usize> {
    connection.execute(
        "DELETE FROM rejoin_staged WHERE rowid IN (SELECT rowid FROM rejoin_staged WHERE at < ?1 LIMIT ?2)",
        (before, most),
    )
}
