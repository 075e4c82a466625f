//! Contents of groups that arrive in parts.

use super::connection::Connection;
use super::operate::{counted, number};
use super::records::{kept, meant};
use crate::model::{StagedPart, StagedSize};

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// The content of a device that is staged, and how much of it.
pub(super) fn size(
    connection: &Connection,
    user: &str,
    client_id: &str,
) -> Result<Option<StagedSize>> {
    let select = "SELECT content, at_byte + octet_length(bytes) FROM rejoin.staged
                  WHERE user_id = $1 AND client_id = $2 ORDER BY at_byte DESC LIMIT 1";
    let row = connection.first(select, &[&kept(user).as_ref(), &kept(client_id).as_ref()])?;
    Ok(row.map(|row| StagedSize { content: meant(row.get(0)), bytes: row.get(1) }))
}

/// The bytes of the contents that the devices of a user have begun to stage.
pub(super) fn size_of_user(connection: &Connection, user: &str) -> Result<i64> {
    let sum = "SELECT coalesce(sum(size), 0)::bigint FROM rejoin.staged WHERE user_id = $1 AND at_byte = 0";
    Ok(connection.first(sum, &[&kept(user).as_ref()])?.map_or(0, |row| row.get(0)))
}

/// The bytes of a content, as far as they are staged.
pub(super) fn bytes(
    connection: &Connection,
    user: &str,
    client_id: &str,
    content: &str,
) -> Result<Vec<u8>> {
    let select = "SELECT bytes FROM rejoin.staged
                  WHERE user_id = $1 AND client_id = $2 AND content = $3 ORDER BY at_byte";
    let (user, client_id, content) = (kept(user), kept(client_id), kept(content));
    let rows =
        connection.rows(select, &[&user.as_ref(), &client_id.as_ref(), &content.as_ref()])?;
    Ok(rows.iter().flat_map(|row| row.get::<_, &[u8]>(0)).copied().collect())
}

pub(super) fn put(
    connection: &Connection,
    user: &str,
    client_id: &str,
    part: &StagedPart<'_>,
) -> Result<()> {
    let put = "INSERT INTO rejoin.staged(user_id, client_id, at_byte, content, size, bytes, at)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let (user, client_id, content) = (kept(user), kept(client_id), kept(part.content));
    connection
        .execute(
            put,
            &[
                &user.as_ref(),
                &client_id.as_ref(),
                &part.offset,
                &content.as_ref(),
                &part.size,
                &part.bytes,
                &part.at,
            ],
        )
        .map(drop)
}

pub(super) fn forget(connection: &Connection, user: &str, client_id: &str) -> Result<()> {
    let delete = "DELETE FROM rejoin.staged WHERE user_id = $1 AND client_id = $2";
    connection.execute(delete, &[&kept(user).as_ref(), &kept(client_id).as_ref()]).map(drop)
}

/// Deletes parts that arrived before this time, at most `most`.
pub(super) fn forget_before(connection: &Connection, before: &str, most: usize) -> Result<usize> {
    let delete = "DELETE FROM rejoin.staged WHERE (user_id, client_id, at_byte) IN (
                  SELECT user_id, client_id, at_byte FROM rejoin.staged WHERE at < $1 LIMIT $2)";
    Ok(counted(connection.execute(delete, &[&before, &number(most)])?))
}
