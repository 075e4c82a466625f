//! What the rows of the queue know of parked mutations that are offered again, and of chains.

use rusqlite::{Connection, params};

use super::stance::Stance;
use super::store::{damaged, id, run};
use crate::engine::database::fault;
use crate::error::Result;
use crate::ids::{MutationId, Seq};

/// Puts a mutation that is parked or lifted under another number, to be offered again. Only a parked one (state 3) had its end
/// reported, and has another one to report.
pub(crate) fn requeue(conn: &Connection, seq: Seq, to: Seq) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET seq = ?2, state = 0, reason = NULL, \
               because_of = NULL, detail = NULL, request = NULL, hash = NULL, \
               told = iif(state = 3, 0, told) \
               WHERE seq = ?1";
    run(conn, sql, [seq.0, to.0])
}

/// What was parked because of one mutation is so because of another, which took its place.
pub(crate) fn replace_cause(conn: &Connection, old: MutationId, new: MutationId) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET because_of = ?2 WHERE because_of = ?1";
    run(conn, sql, [old.0.as_bytes(), new.0.as_bytes()])
}

/// The parked mutations that were parked because of this one, and of those, in the order of the queue; the last id is the
/// cause of each.
pub(crate) fn parked_chain(
    conn: &Connection,
    id: MutationId,
) -> Result<Vec<(Seq, MutationId, MutationId)>> {
    let sql = "/*rejoin*/WITH RECURSIVE chain (seq, id, cause) AS (\
               SELECT seq, id, because_of FROM rejoin_mutation WHERE because_of = ?1 AND state = 3 UNION \
               SELECT m.seq, m.id, m.because_of FROM rejoin_mutation m JOIN chain c ON m.because_of = c.id \
               WHERE m.state = 3) SELECT seq, id, cause FROM chain ORDER BY seq";
    let mut statement = conn.prepare_cached(sql).map_err(fault::of)?;
    let mut rows = statement.query([id.0.as_bytes()]).map_err(fault::of)?;
    let mut chain = Vec::new();
    while let Some(row) = rows.next().map_err(fault::of)? {
        let found = |at| self::id(row, at)?.ok_or_else(|| damaged("mutation id"));
        chain.push((Seq(row.get(0).map_err(fault::of)?), found(1)?, found(2)?));
    }
    Ok(chain)
}

/// A mutation that was made of an action is only ever compared, by its old values (O1).
pub(crate) fn compare_only(conn: &Connection, id: MutationId) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET stance = ?2 WHERE id = ?1";
    run(conn, sql, params![id.0.as_bytes(), Stance::comparing(true).encode()])
}
