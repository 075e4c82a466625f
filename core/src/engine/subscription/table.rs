//! The table of subscriptions: reads and writes, each a part of the caller's transaction.

use rejoin_protocol::wire::subscription::SubscriptionState;
use rusqlite::{Connection, Row};
use serde::Serialize;

use super::{StoredStream, StreamKey, StreamParameters, StreamRequest};
use crate::error::{Error, Result, StorageFault};

/// The longest ttl: a hundred years.
const LONGEST_TTL_MS: i64 = 100 * 366 * 24 * 3_600 * 1_000;

/// All subscriptions, also ended ones, the lowest priority first.
pub(super) fn all(conn: &Connection) -> Result<Vec<StoredStream>> {
    let sql = "/*rejoin*/SELECT stream, parameters, priority, ttl_ms, expires_ms, state, pushed
               FROM rejoin_subscription ORDER BY priority, stream, parameters";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

fn read(row: &Row<'_>) -> Result<StoredStream> {
    let parameters: String = row.get(1)?;
    let state: Option<String> = row.get(5)?;
    Ok(StoredStream {
        key: StreamKey {
            stream: row.get(0)?,
            parameters: StreamParameters(serde_json::from_str(&parameters).map_err(corrupt)?),
        },
        priority: row.get(2)?,
        ttl_ms: row.get(3)?,
        expires_ms: row.get(4)?,
        state: state.map(|text| serde_json::from_str(&text)).transpose().map_err(corrupt)?,
        pushed: row.get(6)?,
    })
}

/// Adds a subscription, or combines it with the one to the same rows. One that has ended counts only by
/// its state: its rows are still here. A refused one is decided again.
pub(super) fn put(conn: &Connection, request: &StreamRequest, now_ms: i64) -> Result<()> {
    let StreamRequest { key, priority, ttl } = request;
    let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).min(LONGEST_TTL_MS);
    let sql = "/*rejoin*/INSERT INTO rejoin_subscription
                   (stream, parameters, priority, ttl_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (stream, parameters) DO UPDATE SET
                   priority = iif(expires_ms <= ?6, ?3, min(priority, ?3)),
                   ttl_ms = iif(expires_ms <= ?6, ?4, max(ttl_ms, ?4)),
                   expires_ms = max(expires_ms, ?5),
                   state = iif(state LIKE '{\"state\":\"refused\"%', NULL, state)";
    let values = (&key.stream, text(key)?, priority, ttl_ms, now_ms + ttl_ms, now_ms);
    conn.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

pub(super) fn set_expiry(conn: &Connection, key: &StreamKey, expires_ms: i64) -> Result<()> {
    set(conn, "expires_ms", key, expires_ms)
}

pub(super) fn set_state(
    conn: &Connection,
    key: &StreamKey,
    state: &SubscriptionState,
) -> Result<()> {
    set(conn, "state", key, json(state)?)
}

pub(super) fn set_pushed(conn: &Connection, key: &StreamKey, pushed: bool) -> Result<()> {
    set(conn, "pushed", key, pushed)
}

/// Its rows may leave the device.
pub(super) fn forget_state(conn: &Connection, key: &StreamKey) -> Result<()> {
    set(conn, "state", key, rusqlite::types::Null)
}

fn set(
    conn: &Connection,
    column: &str,
    key: &StreamKey,
    value: impl rusqlite::ToSql,
) -> Result<()> {
    let sql = format!(
        "/*rejoin*/UPDATE rejoin_subscription SET {column} = ?3 WHERE stream = ?1 AND parameters = ?2"
    );
    conn.prepare_cached(&sql)?.execute((&key.stream, text(key)?, value))?;
    Ok(())
}

pub(super) fn remove(conn: &Connection, key: &StreamKey) -> Result<()> {
    let sql = "/*rejoin*/DELETE FROM rejoin_subscription WHERE stream = ?1 AND parameters = ?2";
    conn.prepare_cached(sql)?.execute((&key.stream, text(key)?))?;
    Ok(())
}

/// Removes all: another user takes the file.
pub(crate) fn forget_all(conn: &Connection) -> Result<()> {
    conn.execute("/*rejoin*/DELETE FROM rejoin_subscription", [])?;
    Ok(())
}

/// The rows of all are gone, and will be fetched again.
pub(crate) fn forget_states(conn: &Connection) -> Result<()> {
    conn.execute("/*rejoin*/UPDATE rejoin_subscription SET state = NULL", [])?;
    Ok(())
}

fn text(key: &StreamKey) -> Result<String> {
    json(&key.parameters.0)
}

fn json(of: &impl Serialize) -> Result<String> {
    serde_json::to_string(of).map_err(|error| Error::Internal(error.to_string()))
}

#[allow(clippy::needless_pass_by_value)] // For `map_err`.
fn corrupt(error: serde_json::Error) -> Error {
    Error::Storage(StorageFault::Corrupt(format!("rejoin_subscription: {error}")))
}
