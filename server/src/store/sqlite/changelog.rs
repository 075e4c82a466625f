//! The log's table: entries, tags, stamps, watermark. Only triggers write entries, except the one
//! that resets the log.

use std::collections::BTreeMap;

use rejoin_protocol::time;
use rusqlite::{Connection, OptionalExtension, Rows};

use crate::model::{ChangeEntry, LogState, Table, Touched};
use crate::store::quote::quoted;

/// Marks the entries of the current transaction as belonging together, and dates its writes.
pub(super) fn stamp(connection: &Connection, now: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE rejoin_clock SET transactions = transactions + 1, tx = transactions + 1, now = ?1",
        )?
        .execute([now])?;
    Ok(())
}

/// Removes the mark before the commit, so that it does not apply to other writers.
pub(super) fn clear_stamp(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE rejoin_clock SET tx = NULL, now = NULL")?.execute([])?;
    Ok(())
}

/// Rejoin's triggers as they are in the file.
pub(super) fn own_triggers(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut query = connection.prepare(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name GLOB 'rejoin_[0-9]*'",
    )?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Gives every row of a table a version in canonical text, and sets the clock past all of them.
pub(super) fn normalise_versions(connection: &Connection, table: &Table) -> rusqlite::Result<()> {
    let name = quoted(&table.name);
    let column = |at: usize| quoted(table.columns.get(at).map_or("", |column| &column.name));
    let (key, version) = (column(table.key), column(table.updated_at));
    let canonical = "????-??-??T??:??:??.??????Z";
    let odd = format!("{version} IS NULL OR {version} NOT GLOB '{canonical}'");
    let mut select = connection
        .prepare(&format!("SELECT {key}, CAST({version} AS TEXT) FROM {name} WHERE {odd}"))?;
    let rows: Vec<(rejoin_protocol::Value, Option<String>)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let mut update =
        connection.prepare(&format!("UPDATE {name} SET {version} = ?2 WHERE {key} = ?1"))?;
    for (key, text) in rows {
        let micros = text.as_deref().and_then(time::parse).unwrap_or(0);
        update.execute((key, time::format(micros)))?;
    }
    connection.execute(
        &format!(
            "UPDATE rejoin_clock SET last = max(last, coalesce((SELECT max({version}) FROM {name}), last))"
        ),
        [],
    )?;
    Ok(())
}

/// Moves the watermark past the end of the log: unrecorded changes are possible, so every cursor
/// needs a snapshot.
///
/// In a new file it only sets the first position.
pub(super) fn start_epoch(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO rejoin_changelog(bucket, table_number, record_id) VALUES('', 0, '')",
        [],
    )?;
    let head = connection.last_insert_rowid();
    put_meta(connection, "watermark", &head.to_string())
}

pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT value FROM rejoin_meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

pub(super) fn put_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO rejoin_meta(key, value) VALUES(?1, ?2)
             ON CONFLICT(key) DO UPDATE SET value = excluded.value",
        )?
        .execute([key, value])?;
    Ok(())
}

pub(super) fn log_state(connection: &Connection) -> rusqlite::Result<LogState> {
    let text = |key| Ok::<_, rusqlite::Error>(meta(connection, key)?.unwrap_or_default());
    let head = connection
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM rejoin_changelog")?
        .query_row([], |row| row.get(0))?;
    Ok(LogState {
        epoch: text("epoch")?,
        key: text("cursor_key")?,
        watermark: text("watermark")?.parse().unwrap_or(0),
        head,
        // The triggers number each write in its own transaction.
        unnumbered: false,
    })
}

pub(super) fn tag(connection: &Connection, position: i64) -> rusqlite::Result<Option<i64>> {
    if position == 0 {
        return Ok(meta(connection, "zero_tag")?.and_then(|tag| tag.parse().ok()));
    }
    connection
        .prepare_cached("SELECT tag FROM rejoin_changelog WHERE seq = ?1")?
        .query_row([position], |row| row.get(0))
        .optional()
}

/// The buckets of the entries of a span; `None` if some entries were compacted.
pub(super) fn touched(
    connection: &Connection,
    after: i64,
    upto: i64,
) -> rusqlite::Result<Option<Vec<Touched>>> {
    let select = "SELECT bucket, table_number = 0, count(*) FROM rejoin_changelog
                  WHERE seq > ?1 AND seq <= ?2 GROUP BY 1, 2";
    let mut query = connection.prepare_cached(select)?;
    let mut rows = query.query((after, upto))?;
    let (mut touched, mut entries) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        touched.push(Touched { bucket: row.get(0)?, is_grant: row.get(1)? });
        entries += row.get::<_, i64>(2)?;
    }
    Ok((entries == upto - after).then_some(touched))
}

/// Entries in order: at most `limit`, then on to the end of the last one's transaction.
///
/// Each bucket is read along its own index and the streams are merged, so that the cost depends on
/// the page's size.
pub(super) fn entries(
    connection: &Connection,
    position: i64,
    buckets: &[String],
    limit: usize,
) -> rusqlite::Result<Vec<ChangeEntry>> {
    let sql = "SELECT seq, table_number, record_id, tx FROM rejoin_changelog
               WHERE bucket = ?1 AND seq > ?2 ORDER BY seq";
    let mut statements =
        buckets.iter().map(|_| connection.prepare_cached(sql)).collect::<Result<Vec<_>, _>>()?;
    let mut streams = Vec::with_capacity(buckets.len());
    for (statement, bucket) in statements.iter_mut().zip(buckets) {
        let mut rows = statement.query((bucket, position))?;
        let head = next_entry(&mut rows)?;
        streams.push((head, rows));
    }
    let mut entries: Vec<ChangeEntry> = Vec::new();
    let mut last = None;
    loop {
        let heads = streams.iter_mut().filter(|(head, _)| head.is_some());
        let first = heads.min_by_key(|(head, _)| head.as_ref().map(|(entry, _)| entry.position));
        let Some((head, rows)) = first else { return Ok(entries) };
        let Some((entry, tx)) = head.take() else { return Ok(entries) };
        if entries.len() >= limit && (tx.is_none() || tx != last) {
            return Ok(entries);
        }
        *head = next_entry(rows)?;
        last = tx;
        entries.push(entry);
    }
}

fn next_entry(rows: &mut Rows<'_>) -> rusqlite::Result<Option<(ChangeEntry, Option<i64>)>> {
    let Some(row) = rows.next()? else { return Ok(None) };
    // A key of bytes or invalid UTF-8 cannot exist on a device: it names no row.
    let id = row.get_ref(2)?.as_str().unwrap_or_default().to_owned();
    let entry = ChangeEntry { position: row.get(0)?, table: row.get(1)?, id };
    Ok(Some((entry, row.get(3)?)))
}

pub(super) fn behind(
    connection: &Connection,
    position: i64,
    buckets: &str,
) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM rejoin_changelog
             WHERE seq > ?1 AND bucket IN (SELECT value FROM json_each(?2)) LIMIT 100000)",
        )?
        .query_row((position, buckets), |row| row.get(0))
}

pub(super) fn was_seen(
    connection: &Connection,
    table: i64,
    id: &str,
    buckets: &str,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM rejoin_changelog WHERE table_number = ?1 AND record_id = ?2
             AND bucket IN (SELECT value FROM json_each(?3)))",
        )?
        .query_row((table, id, buckets), |row| row.get(0))
}

/// Deletes entries below the watermark. The entry at the watermark stays: its tag validates cursors
/// at that position.
pub(super) fn forget(
    connection: &Connection,
    watermark: i64,
    most: i64,
) -> rusqlite::Result<usize> {
    let gone = connection.execute(
        "DELETE FROM rejoin_changelog WHERE seq IN
         (SELECT seq FROM rejoin_changelog WHERE seq < ?1 ORDER BY seq LIMIT ?2)",
        [watermark, most],
    )?;
    // The watermark only rises: a server with older knowledge may compact last.
    connection.execute(
        "UPDATE rejoin_meta SET value = CAST(max(CAST(value AS INTEGER), ?1) AS TEXT) WHERE key = 'watermark'",
        [watermark],
    )?;
    Ok(gone)
}
