//! The history of accepted mutations: lookup, listing and bounds.

use std::time::Duration;

use rusqlite::{Connection, Row, params};
use sha2::{Digest as _, Sha256};

use super::attempt;
use super::policy_state::PolicyState;
use super::store::{damaged, id, run};
use crate::engine::queue::pending_op::old_of;
use crate::engine::rows::binary::BinaryWriter;
use crate::engine::rows::encode;
use crate::engine::rows::patch::{Effect, RowKey, RowPatch};
use crate::error::Result;
use crate::ids::{MutationId, Seq};

/// How many accepted mutations are kept, for undo and for display. The newest are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryBounds {
    /// Maximum number of mutations; 1,000 by default.
    pub count: u32,
    /// Maximum bytes of what they wrote; 16 MiB by default.
    pub bytes: u64,
    /// Maximum time between the verdict and that of the newest mutation, by the server's clock;
    /// thirty days by default.
    pub age: Duration,
}

impl Default for HistoryBounds {
    fn default() -> Self {
        let age = Duration::from_hours(30 * 24);
        Self { count: 1_000, bytes: 16 * 1024 * 1024, age }
    }
}

impl HistoryBounds {
    fn age_ms(&self) -> i64 {
        i64::try_from(self.age.as_millis()).unwrap_or(i64::MAX)
    }
}

/// An accepted mutation.
pub(crate) struct Kept {
    pub(crate) seq: Seq,
    pub(crate) id: MutationId,
    pub(crate) time_ms: i64,
    pub(crate) action: Option<String>,
    pub(crate) attempt: i64,
    pub(crate) accepted_ms: i64,
    /// The mutation that it reverses.
    pub(crate) undoes: Option<MutationId>,
    /// What it changed according to the server's before-images; else what it wrote.
    pub(crate) done: Effect,
}

/// The newest entries, at most `most`, newest first.
pub(crate) fn read_newest(conn: &Connection, most: usize) -> Result<Vec<Kept>> {
    let sql = "/*rejoin*/SELECT seq, id, time_ms, action, attempt, accepted_ms, effect, displaced, \
               basis, undoes FROM rejoin_history ORDER BY seq DESC LIMIT ?1";
    let mut statement = conn.prepare(sql)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut rows = statement.query([most])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(Kept {
            seq: Seq(row.get(0)?),
            id: id(row, 1)?.ok_or_else(|| damaged("mutation id"))?,
            time_ms: row.get(2)?,
            action: row.get(3)?,
            attempt: row.get(4)?,
            accepted_ms: row.get(5)?,
            undoes: id(row, 9)?,
            done: done(row, 6)?,
        });
    }
    Ok(all)
}

/// What a mutation changed: according to the server's before-images, else as its accepted attempt
/// expected. Columns: effect, displaced, basis.
fn done(row: &Row<'_>, from: usize) -> Result<Effect> {
    let bytes = |at: usize| -> Result<Option<Vec<u8>>> { Ok(row.get(from + at)?) };
    if let Some(displaced) = bytes(1)? {
        return Ok(encode::decode(&displaced)?);
    }
    let written = encode::decode(&bytes(0)?.ok_or_else(|| damaged("effect"))?)?;
    let basis = bytes(2)?.map(|bytes| attempt::decode_basis(&bytes)).transpose()?;
    let basis = basis.unwrap_or_default();
    let mut done = written.clone();
    for (index, patch) in done.rows.iter_mut().enumerate() {
        for (at, column) in patch.columns.iter_mut().enumerate() {
            column.old = old_of(&written, &basis, index, at).clone();
        }
    }
    Ok(done)
}

/// What an accepted mutation changed; `None` if the history does not have it.
pub(crate) fn read_done(conn: &Connection, id: MutationId) -> Result<Option<Vec<RowPatch>>> {
    let sql = "/*rejoin*/SELECT effect, displaced, basis FROM rejoin_history WHERE id = ?1";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([id.0.as_bytes()])?;
    let found = rows.next()?;
    found.map(|row| done(row, 0).map(|done| done.rows)).transpose()
}

/// Whether a mutation is an action, or reverses one directly or indirectly. If the reversed
/// mutation was pruned, it counts as an action: that only compares more.
pub(crate) fn is_of_action(conn: &Connection, id: MutationId) -> Result<bool> {
    let sql = "/*rejoin*/WITH RECURSIVE \
        known(id, action, undoes) AS (SELECT id, action, undoes FROM rejoin_history \
            UNION ALL SELECT id, action, undoes FROM rejoin_mutation), \
        chain(id, action, undoes) AS (SELECT id, action, undoes FROM known WHERE id = ?1 \
            UNION SELECT k.id, k.action, k.undoes FROM chain AS c JOIN known AS k ON k.id = c.undoes) \
        SELECT EXISTS (SELECT 1 FROM chain WHERE action IS NOT NULL OR undoes IS NOT NULL \
            AND undoes NOT IN (SELECT id FROM known))";
    let mut statement = conn.prepare(sql)?;
    Ok(statement.query_row([id.0.as_bytes().as_slice()], |row| row.get(0))?)
}

/// Stores what a new mutation reverses, and marks it as compare-only, as an action if it reverses
/// one.
pub(crate) fn mark_undo(conn: &Connection, seq: Seq, undoes: MutationId) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET undoes = ?2, policy_state = ?3 WHERE seq = ?1";
    let of_action = is_of_action(conn, undoes)?;
    let policy_state = PolicyState::comparing(of_action).encode();
    conn.execute(sql, params![seq.0, undoes.0.as_bytes(), policy_state])?;
    Ok(())
}

/// The last mutation that reverses this one, pending or accepted.
pub(crate) fn undo_of(conn: &Connection, of: MutationId) -> Result<Option<MutationId>> {
    let sql = "/*rejoin*/SELECT id FROM (SELECT seq, id FROM rejoin_mutation WHERE undoes = ?1 \
               UNION ALL SELECT seq, id FROM rejoin_history WHERE undoes = ?1) \
               ORDER BY seq DESC LIMIT 1";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([of.0.as_bytes()])?;
    rows.next()?.map_or(Ok(None), |row| id(row, 0))
}

/// Whether the history has this mutation.
pub(crate) fn is_in_history(conn: &Connection, id: MutationId) -> Result<bool> {
    let sql = "/*rejoin*/SELECT EXISTS (SELECT 1 FROM rejoin_history WHERE id = ?1)";
    let mut statement = conn.prepare_cached(sql)?;
    Ok(statement.query_row([id.0.as_bytes().as_slice()], |row| row.get(0))?)
}

/// Whether the history has a mutation with this number.
pub(crate) fn is_number_in_history(conn: &Connection, seq: Seq) -> Result<bool> {
    let sql = "/*rejoin*/SELECT EXISTS (SELECT 1 FROM rejoin_history WHERE seq = ?1)";
    Ok(conn.query_row(sql, [seq.0], |row| row.get(0))?)
}

/// The lowest number in the history.
pub(crate) fn oldest_in_history(conn: &Connection) -> Result<Option<Seq>> {
    let sql = "/*rejoin*/SELECT min(seq) FROM rejoin_history";
    Ok(conn.query_row(sql, [], |row| Ok(row.get::<_, Option<i64>>(0)?.map(Seq)))?)
}

/// Removes the oldest entries beyond these bounds; returns how many. The age is measured from the
/// newest entry: the device's clock may be wrong, and must not remove what a restored server needs
/// again.
pub(crate) fn prune(conn: &Connection, bounds: &HistoryBounds) -> Result<usize> {
    let sql = "/*rejoin*/DELETE FROM rejoin_history WHERE \
        (SELECT accepted_ms FROM rejoin_history ORDER BY seq DESC LIMIT 1) - accepted_ms > ?1 \
        OR seq <= (\
        SELECT max(seq) FROM (SELECT seq, row_number() OVER newest AS place, \
        sum(length(effect) + coalesce(length(displaced), 0)) OVER newest AS bytes \
        FROM rejoin_history WINDOW newest AS (ORDER BY seq DESC)) WHERE place > ?2 OR bytes > ?3)";
    let bytes = i64::try_from(bounds.bytes).unwrap_or(i64::MAX);
    let bounds = [bounds.age_ms(), bounds.count.into(), bytes];
    Ok(conn.prepare_cached(sql)?.execute(bounds)?)
}

/// Whether the history has an edit of this row.
pub(crate) fn has_row(conn: &Connection, row: &RowKey) -> Result<bool> {
    let all = read_newest(conn, usize::MAX)?;
    Ok(all.iter().any(|kept| kept.done.rows.iter().any(|patch| patch.row == *row)))
}

/// Stores that a plain server had this row and deleted it.
pub(crate) fn note_gone(conn: &Connection, row: &RowKey) -> Result<()> {
    let sql = "/*rejoin*/INSERT OR IGNORE INTO rejoin_gone (hash) VALUES (?1)";
    run(conn, sql, [hash_of(row)])
}

/// Whether a plain server had this row and deleted it, as far as this device has pulled that. Two
/// rows may have the same hash: then a create is compared that need not be.
pub(crate) fn was_gone(conn: &Connection, row: &RowKey) -> Result<bool> {
    let sql = "/*rejoin*/SELECT EXISTS (SELECT 1 FROM rejoin_gone WHERE hash = ?1)";
    let mut statement = conn.prepare_cached(sql)?;
    Ok(statement.query_row([hash_of(row)], |row| row.get(0))?)
}

fn hash_of(row: &RowKey) -> i64 {
    let mut bytes = BinaryWriter::new();
    bytes.row(row);
    let digest = Sha256::digest(bytes.finish());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | i64::from(*byte))
}

/// Whether the oldest entry is older than the default age.
pub(crate) fn is_over_age(conn: &Connection) -> Result<bool> {
    let sql = "/*rejoin*/SELECT (SELECT accepted_ms FROM rejoin_history ORDER BY seq DESC LIMIT 1) \
               - min(accepted_ms) FROM rejoin_history";
    let span = conn.query_row(sql, [], |row| row.get::<_, Option<i64>>(0))?;
    Ok(span.is_some_and(|span| span > HistoryBounds::default().age_ms()))
}

/// Moves mutations that other epochs accepted back into the queue, uncertain, as they were sent.
/// What a plain server accepted belongs to no epoch: after an upgrade the server has it, or had it
/// and has changed it since.
pub(crate) fn recall(conn: &Connection) -> Result<Vec<Seq>> {
    const OTHER: &str = "epoch IS NOT NULL \
                         AND epoch IS NOT (SELECT value FROM rejoin_meta WHERE key = 'epoch')";
    let sql = format!(
        "/*rejoin*/INSERT INTO rejoin_mutation \
         (seq, id, time_ms, counter, action, version, args, state, attempt, effect, basis, frozen, \
         undoes, told) SELECT seq, id, time_ms, counter, action, version, args, 2, attempt, effect, \
         basis, frozen, undoes, 1 \
         FROM rejoin_history WHERE {OTHER} ORDER BY seq RETURNING seq"
    );
    let mut statement = conn.prepare(&sql)?;
    let seqs = statement
        .query_map([], |row| row.get(0).map(Seq))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<Seq>>>)?;
    let sql = format!("/*rejoin*/DELETE FROM rejoin_history WHERE {OTHER}");
    conn.execute(&sql, [])?;
    Ok(seqs)
}
