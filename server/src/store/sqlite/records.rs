//! Devices, verdicts and author times.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::changelog::put_meta;
use crate::model::{Client, Grant, KnownClient, ManifestVersion, StoredVerdict};

pub(super) fn client(
    connection: &Connection,
    user: &str,
    client_id: &str,
) -> rusqlite::Result<Option<Client>> {
    connection
        .prepare_cached(
            "SELECT id, client_name, platform, app_version, incarnation, acked_below, purged_below,
             position, last_pull_at, last_push_at, created_at, seen_at, opening
             FROM rejoin_client WHERE user_id = ?1 AND client_id = ?2",
        )?
        .query_row((user, client_id), of_row)
        .optional()
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<Client> {
    Ok(Client {
        id: row.get(0)?,
        client_name: row.get(1)?,
        platform: row.get(2)?,
        app_version: row.get(3)?,
        incarnation: row.get(4)?,
        acked_below: row.get(5)?,
        purged_below: row.get(6)?,
        position: row.get(7)?,
        last_pull_at: row.get(8)?,
        last_push_at: row.get(9)?,
        created_at: row.get(10)?,
        seen_at: row.get(11)?,
        opening: row.get(12)?,
    })
}

/// Devices by user and id, after a given one.
pub(super) fn clients(
    connection: &Connection,
    after: Option<(&str, &str)>,
    most: i64,
) -> rusqlite::Result<Vec<KnownClient>> {
    // User ids are not empty, so every device is after this one.
    let (user, client_id) = after.unwrap_or(("", ""));
    let known = |row: &Row<'_>| {
        Ok(KnownClient { user: row.get(13)?, client_id: row.get(14)?, client: of_row(row)? })
    };
    connection
        .prepare_cached(
            "SELECT id, client_name, platform, app_version, incarnation, acked_below, purged_below,
             position, last_pull_at, last_push_at, created_at, seen_at, opening, user_id, client_id
             FROM rejoin_client WHERE (user_id, client_id) > (?1, ?2) ORDER BY user_id, client_id LIMIT ?3",
        )?
        .query_map((user, client_id, most), known)?
        .collect()
}

pub(super) fn devices_since(
    connection: &Connection,
    user: &str,
    since: &str,
) -> rusqlite::Result<i64> {
    let count = "SELECT count(*) FROM rejoin_client WHERE user_id = ?1 AND seen_at >= ?2";
    connection.prepare_cached(count)?.query_row((user, since), |row| row.get(0))
}

pub(super) fn verdicts_from(
    connection: &Connection,
    user: &str,
    client_id: &str,
    (seq, most): (i64, i64),
) -> rusqlite::Result<i64> {
    let count = "SELECT count(*) FROM (SELECT 1 FROM rejoin_verdict
                 WHERE user_id = ?1 AND client_id = ?2 AND seq >= ?3 LIMIT ?4)";
    let mut statement = connection.prepare_cached(count)?;
    statement.query_row((user, client_id, seq, most), |row| row.get(0))
}

pub(super) fn put_client(
    connection: &Connection,
    user: &str,
    client_id: &str,
    client: &Client,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO rejoin_client(user_id, client_id, id, client_name, platform,
             app_version, incarnation, acked_below, purged_below, position, last_pull_at, last_push_at,
             created_at, seen_at, opening)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            user,
            client_id,
            client.id,
            client.client_name,
            client.platform,
            client.app_version,
            client.incarnation,
            client.acked_below,
            client.purged_below,
            client.position,
            client.last_pull_at,
            client.last_push_at,
            client.created_at,
            client.seen_at,
            client.opening,
        ])?;
    Ok(())
}

pub(super) fn verdict(
    connection: &Connection,
    user: &str,
    mutation: &str,
) -> rusqlite::Result<Option<StoredVerdict>> {
    connection
        .prepare_cached(
            "SELECT attempt, hash, ending, client_id, seq, verdict, displaced, at
             FROM rejoin_verdict WHERE user_id = ?1 AND mutation_id = ?2",
        )?
        .query_row((user, mutation), |row| {
            Ok(StoredVerdict {
                attempt: row.get(0)?,
                hash: row.get(1)?,
                ending: row.get(2)?,
                client_id: row.get(3)?,
                seq: row.get(4)?,
                verdict: row.get(5)?,
                displaced: row.get(6)?,
                at: row.get(7)?,
            })
        })
        .optional()
}

pub(super) fn put_verdict(
    connection: &Connection,
    user: &str,
    mutation: &str,
    verdict: &StoredVerdict,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO rejoin_verdict(user_id, mutation_id, attempt, hash, ending,
             client_id, seq, verdict, displaced, at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            user,
            mutation,
            verdict.attempt,
            verdict.hash,
            verdict.ending,
            verdict.client_id,
            verdict.seq,
            verdict.verdict,
            verdict.displaced,
            verdict.at,
        ])?;
    Ok(())
}

pub(super) fn written_at(
    connection: &Connection,
    table: i64,
    id: &str,
    version: &str,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT at FROM rejoin_written WHERE table_number = ?1 AND record_id = ?2 AND version = ?3",
        )?
        .query_row((table, id, version), |row| row.get(0))
        .optional()
}

pub(super) fn put_written_at(
    connection: &Connection,
    table: i64,
    id: &str,
    version: &str,
    at: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO rejoin_written(table_number, record_id, version, at)
             VALUES(?1, ?2, ?3, ?4)",
        )?
        .execute((table, id, version, at))?;
    Ok(())
}

pub(super) fn forget_written(
    connection: &Connection,
    before: &str,
    most: i64,
) -> rusqlite::Result<usize> {
    connection.execute(
        "DELETE FROM rejoin_written WHERE (table_number, record_id) IN
         (SELECT table_number, record_id FROM rejoin_written WHERE version < ?1 LIMIT ?2)",
        (before, most),
    )
}

/// The grants of a user, by this statement.
pub(super) fn grants(
    connection: &Connection,
    select: &str,
    user: &str,
) -> rusqlite::Result<Vec<Grant>> {
    let grant =
        |row: &Row<'_>| Ok(Grant { bucket: row.get(0)?, reads: row.get(1)?, writes: row.get(2)? });
    connection.prepare_cached(select)?.query_map([user], grant)?.collect()
}

pub(super) fn put_grant(
    connection: &Connection,
    user: &str,
    grant: &Grant,
) -> rusqlite::Result<bool> {
    let put = "INSERT INTO rejoin_bucket(user_id, bucket, reads, writes) VALUES(?1, ?2, ?3, ?4)
        ON CONFLICT(user_id, bucket) DO UPDATE SET reads = excluded.reads, writes = excluded.writes
        WHERE reads <> excluded.reads OR writes <> excluded.writes";
    let Grant { bucket, reads, writes } = grant;
    Ok(connection.prepare_cached(put)?.execute((user, bucket, reads, writes))? > 0)
}

pub(super) fn remove_grant(
    connection: &Connection,
    user: &str,
    bucket: &str,
) -> rusqlite::Result<bool> {
    let delete = "DELETE FROM rejoin_bucket WHERE user_id = ?1 AND bucket = ?2";
    Ok(connection.prepare_cached(delete)?.execute((user, bucket))? > 0)
}

pub(super) fn manifest(
    connection: &Connection,
    version: i64,
    hash: Option<&str>,
) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT manifest FROM rejoin_schema WHERE version = ?1 AND coalesce(?2, hash) = hash",
        )?
        .query_row((version, hash), |row| row.get(0))
        .optional()
}

/// The served schemas, newest first.
pub(super) fn manifests(
    connection: &Connection,
    most: i64,
) -> rusqlite::Result<Vec<ManifestVersion>> {
    connection
        .prepare_cached(
            "SELECT version, hash, created_at FROM rejoin_schema ORDER BY version DESC LIMIT ?1",
        )?
        .query_map([most], |row| {
            Ok(ManifestVersion { version: row.get(0)?, hash: row.get(1)?, created_at: row.get(2)? })
        })?
        .collect()
}

pub(super) fn schema_followed_at(
    connection: &Connection,
    version: i64,
) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT min(created_at) FROM rejoin_schema WHERE version > ?1")?
        .query_row([version], |row| row.get(0))
}

pub(super) fn new_epoch(connection: &Connection) -> rusqlite::Result<String> {
    let epoch = uuid::Uuid::new_v4().to_string();
    put_meta(connection, "epoch", &epoch)?;
    Ok(epoch)
}

pub(super) fn lowest_position(
    connection: &Connection,
    seen_since: &str,
) -> rusqlite::Result<Option<i64>> {
    connection.query_row(
        "SELECT min(position) FROM rejoin_client WHERE seen_at >= ?1",
        [seen_since],
        |row| row.get(0),
    )
}

/// Deletes verdicts received by inactive devices, and records up to which one, so that no mutation
/// is applied twice.
pub(super) fn forget_verdicts(
    connection: &Connection,
    seen_since: &str,
    most: i64,
) -> rusqlite::Result<usize> {
    connection.execute(
        "UPDATE rejoin_client SET purged_below = acked_below WHERE seen_at < ?1 AND purged_below <> acked_below",
        [seen_since],
    )?;
    connection.execute(
        "DELETE FROM rejoin_verdict WHERE (user_id, mutation_id) IN
         (SELECT v.user_id, v.mutation_id FROM rejoin_client AS c JOIN rejoin_verdict AS v
          ON v.user_id = c.user_id AND v.client_id = c.client_id
          WHERE c.seen_at < ?1 AND v.seq < c.acked_below LIMIT ?2)",
        (seen_since, most),
    )
}
