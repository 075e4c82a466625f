//! Operator functions: lists of devices and schemas, and compaction of the log and of verdicts.
//!
//! Deletes run in batches, each in its own transaction, so that writers never wait for long.

use super::connection::Connection;
use super::records::{kept, meant, of_row};
use crate::model::{KnownClient, ManifestVersion};

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

pub(super) fn number(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

pub(super) fn counted(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

/// Devices by user and id, after a given one.
pub(super) fn clients(
    connection: &Connection,
    after: Option<(&str, &str)>,
    most: usize,
) -> Result<Vec<KnownClient>> {
    let select =
        "SELECT id, client_name, platform, app_version, incarnation, acked_below, purged_below,
                  position, last_pull_at, last_push_at, created_at, seen_at, opening, user_id, client_id
                  FROM rejoin.client WHERE (user_id, client_id) > ($1, $2) ORDER BY user_id, client_id LIMIT $3";
    // User ids are not empty, so every device is after this one.
    let (user, client_id) = after.unwrap_or(("", ""));
    let rows = connection
        .rows(select, &[&kept(user).as_ref(), &kept(client_id).as_ref(), &number(most)])?;
    let known = |row: &tokio_postgres::Row| KnownClient {
        user: meant(row.get(13)),
        client_id: meant(row.get(14)),
        client: of_row(row),
    };
    Ok(rows.iter().map(known).collect())
}

pub(super) fn devices_since(connection: &Connection, user: &str, since: &str) -> Result<i64> {
    let count = "SELECT count(*) FROM rejoin.client WHERE user_id = $1 AND seen_at >= $2";
    let rows = connection.rows(count, &[&kept(user).as_ref(), &since])?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

pub(super) fn verdicts_from(
    connection: &Connection,
    user: &str,
    client_id: &str,
    (seq, most): (i64, i64),
) -> Result<i64> {
    let count = "SELECT count(*) FROM (SELECT FROM rejoin.verdict
                 WHERE user_id = $1 AND client_id = $2 AND seq >= $3 LIMIT $4) AS v";
    let (user, client_id) = (kept(user), kept(client_id));
    let rows = connection.rows(count, &[&user.as_ref(), &client_id.as_ref(), &seq, &most])?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

/// The served schemas, newest first.
pub(super) fn manifests(connection: &Connection, most: usize) -> Result<Vec<ManifestVersion>> {
    let select = "SELECT version, hash, created_at FROM rejoin.schema_version ORDER BY version DESC LIMIT $1";
    let rows = connection.rows(select, &[&number(most)])?;
    let version = |row: &tokio_postgres::Row| ManifestVersion {
        version: row.get(0),
        hash: row.get(1),
        created_at: row.get(2),
    };
    Ok(rows.iter().map(version).collect())
}

/// Whether no other server on this database compacts until this transaction ends.
pub(super) fn compacts_alone(connection: &Connection) -> Result<bool> {
    let lock = "SELECT pg_try_advisory_xact_lock(1380600398, 0)";
    Ok(connection.first(lock, &[])?.is_some_and(|row| row.get(0)))
}

pub(super) fn lowest_position(connection: &Connection, seen_since: &str) -> Result<Option<i64>> {
    let select = "SELECT min(position) FROM rejoin.client WHERE seen_at >= $1";
    Ok(connection.first(select, &[&seen_since])?.and_then(|row| row.get(0)))
}

/// Deletes entries below the watermark. The entry at the watermark stays: its tag validates cursors
/// at that position. The watermark only rises, since a server with older knowledge may compact
/// last.
pub(super) fn forget_entries(
    connection: &Connection,
    watermark: i64,
    most: usize,
) -> Result<usize> {
    let gone = connection.execute(
        "DELETE FROM rejoin.changelog WHERE position = ANY(ARRAY(
         SELECT position FROM rejoin.changelog WHERE position < $1 ORDER BY position LIMIT $2))",
        &[&watermark, &number(most)],
    )?;
    let raise = "UPDATE rejoin.meta SET value = greatest(value::bigint, $1::bigint)::text WHERE key = 'watermark'";
    connection.execute(raise, &[&watermark])?;
    Ok(counted(gone))
}

pub(super) fn forget_written(connection: &Connection, before: &str, most: usize) -> Result<usize> {
    let gone = connection.execute(
        "DELETE FROM rejoin.written WHERE (table_number, record_id) IN (
         SELECT table_number, record_id FROM rejoin.written WHERE version < $1 LIMIT $2)",
        &[&before, &number(most)],
    )?;
    Ok(counted(gone))
}

/// Deletes verdicts received by inactive devices, and records up to which one, so that no mutation
/// is applied twice.
pub(super) fn forget_verdicts(
    connection: &Connection,
    seen_since: &str,
    most: usize,
) -> Result<usize> {
    let update = "UPDATE rejoin.client SET purged_below = acked_below
                  WHERE seen_at < $1 AND purged_below <> acked_below";
    connection.execute(update, &[&seen_since])?;
    let gone = connection.execute(
        "DELETE FROM rejoin.verdict WHERE (user_id, mutation_id) IN (
         SELECT v.user_id, v.mutation_id FROM rejoin.client AS c JOIN rejoin.verdict AS v
         ON v.user_id = c.user_id AND v.client_id = c.client_id
         WHERE c.seen_at < $1 AND v.seq < c.acked_below LIMIT $2)",
        &[&seen_since, &number(most)],
    )?;
    Ok(counted(gone))
}
