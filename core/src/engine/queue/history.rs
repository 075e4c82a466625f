//! What the file remembers of accepted mutations: whether it has one, all of them to show it, and its bounds.

use rusqlite::Connection;

use super::store::{damaged, id};
use crate::engine::capture::encode;
use crate::engine::capture::patch::Effect;
use crate::engine::database::fault;
use crate::error::Result;
use crate::ids::{MutationId, Seq};

/// Accepted mutations that are kept at most (D11).
const HISTORY_ROWS: i64 = 1_000;
/// Bytes of their effects that are kept at most.
const HISTORY_BYTES: i64 = 16 * 1024 * 1024;
/// How long they are kept: thirty days.
const HISTORY_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// An accepted mutation.
pub(crate) struct Kept {
    pub(crate) seq: Seq,
    pub(crate) id: MutationId,
    pub(crate) time_ms: i64,
    pub(crate) action: Option<String>,
    pub(crate) attempt: i64,
    pub(crate) accepted_ms: i64,
    pub(crate) effect: Effect,
}

/// What the history holds, oldest first.
pub(crate) fn read_all(conn: &Connection) -> Result<Vec<Kept>> {
    let sql = "/*rejoin*/SELECT seq, id, time_ms, action, attempt, accepted_ms, effect \
               FROM rejoin_history ORDER BY seq";
    let mut statement = conn.prepare(sql).map_err(fault::of)?;
    let mut rows = statement.query([]).map_err(fault::of)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(fault::of)? {
        let effect = row.get_ref(6).map_err(fault::of)?.as_blob().map_err(|_| damaged("effect"))?;
        all.push(Kept {
            seq: Seq(row.get(0).map_err(fault::of)?),
            id: id(row, 1)?.ok_or_else(|| damaged("mutation id"))?,
            time_ms: row.get(2).map_err(fault::of)?,
            action: row.get(3).map_err(fault::of)?,
            attempt: row.get(4).map_err(fault::of)?,
            accepted_ms: row.get(5).map_err(fault::of)?,
            effect: encode::decode(effect)?,
        });
    }
    Ok(all)
}

/// Whether the history has this mutation.
pub(crate) fn is_in_history(conn: &Connection, id: MutationId) -> Result<bool> {
    let sql = "/*rejoin*/SELECT EXISTS (SELECT 1 FROM rejoin_history WHERE id = ?1)";
    let mut statement = conn.prepare_cached(sql).map_err(fault::of)?;
    statement.query_row([id.0.as_bytes().as_slice()], |row| row.get(0)).map_err(fault::of)
}

/// Whether the history has a mutation of this number.
pub(crate) fn is_number_in_history(conn: &Connection, seq: Seq) -> Result<bool> {
    let sql = "/*rejoin*/SELECT EXISTS (SELECT 1 FROM rejoin_history WHERE seq = ?1)";
    conn.query_row(sql, [seq.0], |row| row.get(0)).map_err(fault::of)
}

/// The lowest number in the history.
pub(crate) fn oldest_in_history(conn: &Connection) -> Result<Option<Seq>> {
    let sql = "/*rejoin*/SELECT min(seq) FROM rejoin_history";
    conn.query_row(sql, [], |row| Ok(row.get::<_, Option<i64>>(0)?.map(Seq))).map_err(fault::of)
}

/// Keeps the history within its bounds, the newest first.
pub(crate) fn prune_history(conn: &Connection, now_ms: i64) -> Result<()> {
    let sql = "/*rejoin*/DELETE FROM rejoin_history WHERE accepted_ms < ?1 OR seq <= (\
        SELECT max(seq) FROM (SELECT seq, row_number() OVER newest AS place, \
        sum(length(effect)) OVER newest AS bytes FROM rejoin_history \
        WINDOW newest AS (ORDER BY seq DESC)) WHERE place > ?2 OR bytes > ?3)";
    let bounds = [now_ms - HISTORY_MS, HISTORY_ROWS, HISTORY_BYTES];
    conn.prepare_cached(sql).and_then(|mut it| it.execute(bounds)).map(drop).map_err(fault::of)
}
