//! Devices and author times.
//!
//! PostgreSQL stores no text with NUL, but a peer may use one in its name or in a mutation id. Such
//! a text is stored in an escaped form, which is unique and reversible.

use std::borrow::Cow;

use tokio_postgres::Row;
use uuid::Uuid;

use super::connection::{Connection, Params};
use crate::model::{Client, Grant};

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// The escape character, before `0` for NUL and before `1` for itself; an unassigned character.
const ESCAPE: char = '\u{10ffff}';

/// The stored form of a text.
pub(super) fn kept(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(ESCAPE, "\u{10ffff}1").replace('\0', "\u{10ffff}0"))
}

/// The text of a stored form.
pub(super) fn meant(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    text.replace("\u{10ffff}0", "\0").replace("\u{10ffff}1", "\u{10ffff}")
}

pub(super) fn put_meta(connection: &Connection, key: &str, value: &str) -> Result<()> {
    let put = "INSERT INTO rejoin.meta(key, value) VALUES ($1, $2)
               ON CONFLICT(key) DO UPDATE SET value = excluded.value";
    connection.execute(put, &[&key, &value]).map(drop)
}

/// Locks the user against other pushes: while this push finds no verdict on a mutation, no other
/// evaluates it. It also prevents deadlocks on rows, since only their owner's devices may write
/// them.
pub(super) fn hold_user(connection: &Connection, user: &str) -> Result<()> {
    connection.rows(HOLD_USER, &[&kept(user).as_ref()]).map(drop)
}

pub(super) const HOLD_USER: &str = "SELECT pg_advisory_xact_lock(1380600396, hashtext($1))";

pub(super) fn client(
    connection: &Connection,
    user: &str,
    client_id: &str,
) -> Result<Option<Client>> {
    let row = connection.first(CLIENT, &[&kept(user).as_ref(), &kept(client_id).as_ref()])?;
    Ok(row.as_ref().map(of_row))
}

pub(super) const CLIENT: &str =
    "SELECT id, client_name, platform, app_version, incarnation, acked_below, purged_below,
     position, last_pull_at, last_push_at, created_at, seen_at, opening
     FROM rejoin.client WHERE user_id = $1 AND client_id = $2";

/// A device from a row that begins with its columns in this order.
pub(super) fn of_row(row: &Row) -> Client {
    Client {
        id: row.get(0),
        client_name: row.get::<_, Option<String>>(1).map(meant),
        platform: meant(row.get(2)),
        app_version: meant(row.get(3)),
        incarnation: row.get(4),
        acked_below: row.get(5),
        purged_below: row.get(6),
        position: row.get(7),
        last_pull_at: row.get(8),
        last_push_at: row.get(9),
        created_at: row.get(10),
        seen_at: row.get(11),
        opening: meant(row.get(12)),
    }
}

/// A device to store.
#[derive(Debug)]
pub(super) struct PutClient {
    pub(super) user: String,
    pub(super) client_id: String,
    pub(super) client: Client,
}

const PUT_CLIENT: &str = "INSERT INTO rejoin.client(user_id, client_id, id, client_name, platform, app_version, incarnation,
    acked_below, purged_below, position, last_pull_at, last_push_at, created_at, seen_at, opening)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
    ON CONFLICT(user_id, client_id) DO UPDATE SET id = excluded.id, client_name = excluded.client_name,
    platform = excluded.platform, app_version = excluded.app_version, incarnation = excluded.incarnation,
    acked_below = excluded.acked_below, purged_below = excluded.purged_below,
    position = excluded.position, last_pull_at = excluded.last_pull_at,
    last_push_at = excluded.last_push_at, created_at = excluded.created_at, seen_at = excluded.seen_at,
    opening = excluded.opening";

impl PutClient {
    /// Passes the statement to `run`.
    pub(super) fn with<T>(&self, run: impl FnOnce(&str, Params<'_>) -> T) -> T {
        let Client { id, incarnation, acked_below, purged_below, position, .. } = &self.client;
        let Client { last_pull_at, last_push_at, created_at, seen_at, .. } = &self.client;
        let (user, client_id) = (kept(&self.user), kept(&self.client_id));
        let name = self.client.client_name.as_deref().map(kept);
        let platform = kept(&self.client.platform);
        let (app_version, opening) = (kept(&self.client.app_version), kept(&self.client.opening));
        run(
            PUT_CLIENT,
            &[
                &user.as_ref(),
                &client_id.as_ref(),
                id,
                &name.as_deref(),
                &platform.as_ref(),
                &app_version.as_ref(),
                incarnation,
                acked_below,
                purged_below,
                position,
                last_pull_at,
                last_push_at,
                created_at,
                seen_at,
                &opening.as_ref(),
            ],
        )
    }
}

pub(super) fn written_at(
    connection: &Connection,
    table: i64,
    id: &str,
    version: &str,
) -> Result<Option<i64>> {
    let select = "SELECT at FROM rejoin.written
                  WHERE table_number = $1::bigint AND record_id = $2 AND version = $3";
    let row = connection.first(select, &[&table, &kept(id).as_ref(), &version])?;
    Ok(row.map(|row| row.get(0)))
}

pub(super) fn put_written_at(
    connection: &Connection,
    table: i64,
    id: &str,
    version: &str,
    at: i64,
) -> Result<()> {
    let put = "INSERT INTO rejoin.written(table_number, record_id, version, at) VALUES ($1::bigint, $2, $3, $4)
               ON CONFLICT(table_number, record_id) DO UPDATE SET version = excluded.version, at = excluded.at";
    connection.execute(put, &[&table, &kept(id).as_ref(), &version, &at]).map(drop)
}

pub(super) fn grants(connection: &Connection, user: &str) -> Result<Vec<Grant>> {
    let row = connection.first(&format!("SELECT {GRANTS}"), &[&kept(user).as_ref()])?;
    Ok(row.iter().flat_map(|row| grants_of(row, 0)).collect())
}

/// A user's grants and memberships as an array of texts: the right in the first character, then the bucket.
pub(super) const GRANTS: &str =
    "ARRAY(SELECT CASE WHEN reads AND writes THEN 'b' WHEN reads THEN 'r' WHEN writes THEN 'w' ELSE '-' END || bucket
     FROM rejoin.bucket WHERE user_id = $1) || rejoin.memberships($1)";

/// The grants in this column of a row: an array of [`GRANTS`].
pub(super) fn grants_of(row: &Row, column: usize) -> impl Iterator<Item = Grant> {
    row.get::<_, Vec<&str>>(column).into_iter().map(|text| Grant {
        bucket: meant(text.get(1..).unwrap_or_default().to_owned()),
        reads: text.starts_with(['b', 'r']),
        writes: text.starts_with(['b', 'w']),
    })
}

pub(super) fn put_grant(connection: &Connection, user: &str, grant: &Grant) -> Result<bool> {
    let put =
        "INSERT INTO rejoin.bucket AS b (user_id, bucket, reads, writes) VALUES ($1, $2, $3, $4)
        ON CONFLICT(user_id, bucket) DO UPDATE SET reads = excluded.reads, writes = excluded.writes
        WHERE b.reads <> excluded.reads OR b.writes <> excluded.writes";
    let Grant { bucket, reads, writes } = grant;
    let (user, bucket) = (kept(user), kept(bucket));
    Ok(connection.execute(put, &[&user.as_ref(), &bucket.as_ref(), reads, writes])? > 0)
}

pub(super) fn remove_grant(connection: &Connection, user: &str, bucket: &str) -> Result<bool> {
    let delete = "DELETE FROM rejoin.bucket WHERE user_id = $1 AND bucket = $2";
    Ok(connection.execute(delete, &[&kept(user).as_ref(), &kept(bucket).as_ref()])? > 0)
}

pub(super) fn manifest(
    connection: &Connection,
    version: i64,
    hash: Option<&str>,
) -> Result<Option<String>> {
    let select = "SELECT manifest FROM rejoin.schema_version WHERE version = $1 AND coalesce($2, hash) = hash";
    let hash = hash.map(kept);
    let row = connection.first(select, &[&version, &hash.as_deref()])?;
    Ok(row.map(|row| row.get(0)))
}

pub(super) fn schema_followed_at(connection: &Connection, version: i64) -> Result<Option<String>> {
    let select = "SELECT min(created_at) FROM rejoin.schema_version WHERE version > $1";
    Ok(connection.first(select, &[&version])?.and_then(|row| row.get(0)))
}

pub(super) fn new_epoch(connection: &Connection) -> Result<String> {
    let epoch = Uuid::new_v4().to_string();
    put_meta(connection, "epoch", &epoch)?;
    Ok(epoch)
}

#[cfg(test)]
mod tests {
    use super::{kept, meant};

    #[test]
    fn text_with_nul_is_stored_escaped() {
        let texts =
            ["", "anna", "an\0na", "an\u{10ffff}0na", "\u{10ffff}", "\u{10ffff}1\0", "\0\0"];
        let mut seen = std::collections::BTreeSet::new();
        for text in texts {
            assert!(!kept(text).contains('\0'), "{text:?}");
            assert_eq!(meant(kept(text).into_owned()), text);
            assert!(seen.insert(kept(text).into_owned()), "{text:?}");
        }
    }
}
