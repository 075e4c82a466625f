//! Queue updates for parked mutations that are sent again, and for chains of them.

use rusqlite::{Connection, params};

use super::policy_state::PolicyState;
use super::store::{damaged, id, run};
use crate::error::Result;
use crate::ids::{MutationId, Seq};

/// Gives a parked or removed mutation another number, to be sent again. Only a parked one (state 3)
/// had its outcome reported, and needs another report.
pub(crate) fn requeue(conn: &Connection, seq: Seq, to: Seq) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET seq = ?2, state = 0, reason = NULL, \
               because_of = NULL, detail = NULL, request = NULL, hash = NULL, \
               told = iif(state = 3, 0, told) \
               WHERE seq = ?1";
    run(conn, sql, [seq.0, to.0])
}

/// Mutations that were parked because of `old` are now parked because of `new`, which replaces it.
pub(crate) fn replace_cause(conn: &Connection, old: MutationId, new: MutationId) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET because_of = ?2 WHERE because_of = ?1";
    run(conn, sql, [old.0.as_bytes(), new.0.as_bytes()])
}

/// The mutations that were parked because of this one, directly or indirectly, in queue order; the
/// last id is the cause of each.
pub(crate) fn parked_chain(
    conn: &Connection,
    id: MutationId,
) -> Result<Vec<(Seq, MutationId, MutationId)>> {
    let sql = "/*rejoin*/WITH RECURSIVE chain (seq, id, cause) AS (\
               SELECT seq, id, because_of FROM rejoin_mutation WHERE because_of = ?1 AND state = 3 UNION \
               SELECT m.seq, m.id, m.because_of FROM rejoin_mutation m JOIN chain c ON m.because_of = c.id \
               WHERE m.state = 3) SELECT seq, id, cause FROM chain ORDER BY seq";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([id.0.as_bytes()])?;
    let mut chain = Vec::new();
    while let Some(row) = rows.next()? {
        let found = |at| self::id(row, at)?.ok_or_else(|| damaged("mutation id"));
        chain.push((Seq(row.get(0)?), found(1)?, found(2)?));
    }
    Ok(chain)
}

/// A mutation that was derived from an action is compare-only, by its old values.
pub(crate) fn compare_only(conn: &Connection, id: MutationId) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET policy_state = ?2 WHERE id = ?1";
    run(conn, sql, params![id.0.as_bytes(), PolicyState::comparing(true).encode()])
}
