//! The queue's rows: the only place that knows the columns of `rejoin_mutation` and `rejoin_history`.

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::mutation::{Mutation, ParkReason, State};
use super::{Entry, Last, NewMutation};
use crate::engine::capture::binary::Malformed;
use crate::engine::capture::encode;
use crate::engine::database::fault;
use crate::error::{Error, Result};
use crate::ids::{MutationId, Seq};

const INSERT: &str = "/*rejoin*/INSERT INTO rejoin_mutation \
    (seq, id, time_ms, counter, action, version, args, state, attempt, effect) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 1, ?8)";

const COLUMNS: &str = "seq, id, time_ms, counter, action, state, attempt, request, because_of, \
    reason, detail, effect, basis";

/// The meta key of the highest number ever given.
const LAST_SEQ: &str = "last_seq";

/// Writes a new row.
pub(super) fn insert(
    conn: &Connection,
    entry: &Entry,
    (time_ms, counter): (i64, i64),
    new: &NewMutation,
    effect: &[u8],
) -> Result<()> {
    let mut statement = conn.prepare_cached(INSERT).map_err(fault::of)?;
    statement
        .execute(params![
            entry.seq.0,
            entry.id.0.as_bytes(),
            time_ms,
            counter,
            new.action,
            new.version,
            new.args,
            effect
        ])
        .map_err(fault::of)?;
    Ok(())
}

/// The numbers given last.
pub(super) fn last(conn: &Connection) -> Result<Last> {
    let newest = conn
        .query_row(
            "/*rejoin*/SELECT seq, time_ms, counter FROM rejoin_mutation ORDER BY seq DESC LIMIT 1",
            [],
            |row| Ok(Last { seq: row.get(0)?, time_ms: row.get(1)?, counter: row.get(2)? }),
        )
        .optional()
        .map_err(fault::of)?
        .unwrap_or_default();
    let given: Option<String> = conn
        .query_row("/*rejoin*/SELECT value FROM rejoin_meta WHERE key = ?1", [LAST_SEQ], |row| {
            row.get(0)
        })
        .optional()
        .map_err(fault::of)?;
    let given = given.and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Last { seq: newest.seq.max(given), ..newest })
}

/// Keeps the highest number given, before a row leaves that may carry it.
pub(crate) fn keep_last_seq(conn: &Connection, last: Seq) -> Result<()> {
    let mut statement = conn
        .prepare_cached(
            "/*rejoin*/INSERT INTO rejoin_meta (key, value) VALUES (?1, ?2) \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
        )
        .map_err(fault::of)?;
    statement.execute(params![LAST_SEQ, last.0.to_string()]).map_err(fault::of)?;
    Ok(())
}

/// What was on its way when the last process ended is uncertain.
pub(super) fn recover(conn: &Connection) -> Result<()> {
    let sent = "/*rejoin*/SELECT EXISTS (SELECT 1 FROM rejoin_mutation WHERE state = 1)";
    if conn.query_row(sent, [], |row| row.get(0)).map_err(fault::of)? {
        let sql = "/*rejoin*/UPDATE rejoin_mutation SET state = 2 WHERE state = 1";
        conn.execute(sql, []).map_err(fault::of)?;
    }
    Ok(())
}

/// Every mutation as the memory keeps it, in order.
pub(super) fn each_entry(conn: &Connection, mut each: impl FnMut(Entry)) -> Result<()> {
    let mut statement = conn
        .prepare(
            "/*rejoin*/SELECT seq, id, state, action IS NOT NULL, effect \
             FROM rejoin_mutation ORDER BY seq",
        )
        .map_err(fault::of)?;
    let mut rows = statement.query([]).map_err(fault::of)?;
    while let Some(row) = rows.next().map_err(fault::of)? {
        each(entry(row)?);
    }
    Ok(())
}

fn entry(row: &Row<'_>) -> Result<Entry> {
    let effect = row.get_ref(4).map_err(fault::of)?.as_blob().map_err(|_| damaged("effect"))?;
    Ok(Entry {
        seq: Seq(row.get(0).map_err(fault::of)?),
        id: id(row, 1)?.ok_or_else(|| damaged("id"))?,
        state: state(row.get(2).map_err(fault::of)?)?,
        action: row.get(3).map_err(fault::of)?,
        rows: encode::rows_of(effect)?.into(),
    })
}

fn damaged(what: &'static str) -> Error {
    Malformed(what).into()
}

fn id(row: &Row<'_>, column: usize) -> Result<Option<MutationId>> {
    let bytes: Option<Vec<u8>> = row.get(column).map_err(fault::of)?;
    bytes
        .map(|bytes| Uuid::from_slice(&bytes).map(MutationId).map_err(|_| damaged("mutation id")))
        .transpose()
}

fn state(number: i64) -> Result<State> {
    Ok(match number {
        0 => State::Pending,
        1 => State::Sent,
        2 => State::Uncertain,
        3 => State::Parked,
        _ => return Err(damaged("state of a mutation")),
    })
}

fn reason(number: Option<i64>) -> Result<Option<ParkReason>> {
    Ok(Some(match number {
        None => return Ok(None),
        Some(0) => ParkReason::Rejected,
        Some(1) => ParkReason::Conflicted,
        Some(2) => ParkReason::Refused,
        Some(3) => ParkReason::Unreplayable,
        Some(4) => ParkReason::Depends,
        Some(5) => ParkReason::Remainder,
        Some(_) => return Err(damaged("reason of a parked mutation")),
    }))
}

/// The stored number of a reason.
pub(crate) fn reason_number(reason: ParkReason) -> i64 {
    match reason {
        ParkReason::Rejected => 0,
        ParkReason::Conflicted => 1,
        ParkReason::Refused => 2,
        ParkReason::Unreplayable => 3,
        ParkReason::Depends => 4,
        ParkReason::Remainder => 5,
    }
}

/// One mutation, whole.
pub(crate) fn read(conn: &Connection, seq: Seq) -> Result<Option<Mutation>> {
    let sql = format!("/*rejoin*/SELECT {COLUMNS} FROM rejoin_mutation WHERE seq = ?1");
    let mut statement = conn.prepare_cached(&sql).map_err(fault::of)?;
    let mut rows = statement.query([seq.0]).map_err(fault::of)?;
    rows.next().map_err(fault::of)?.map(mutation).transpose()
}

/// Every mutation, whole, in order.
pub(crate) fn read_all(conn: &Connection) -> Result<Vec<Mutation>> {
    let sql = format!("/*rejoin*/SELECT {COLUMNS} FROM rejoin_mutation ORDER BY seq");
    let mut statement = conn.prepare_cached(&sql).map_err(fault::of)?;
    let mut rows = statement.query([]).map_err(fault::of)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(fault::of)? {
        all.push(mutation(row)?);
    }
    Ok(all)
}

fn mutation(row: &Row<'_>) -> Result<Mutation> {
    let get = |column: usize| -> Result<Option<i64>> { row.get(column).map_err(fault::of) };
    let effect = row.get_ref(11).map_err(fault::of)?.as_blob().map_err(|_| damaged("effect"))?;
    let basis = row.get_ref(12).map_err(fault::of)?.as_blob_or_null().unwrap_or(None);
    Ok(Mutation {
        seq: Seq(row.get(0).map_err(fault::of)?),
        id: id(row, 1)?.ok_or_else(|| damaged("mutation id"))?,
        time_ms: row.get(2).map_err(fault::of)?,
        counter: row.get(3).map_err(fault::of)?,
        action: row.get(4).map_err(fault::of)?,
        state: state(row.get(5).map_err(fault::of)?)?,
        attempt: row.get(6).map_err(fault::of)?,
        request: get(7)?,
        because_of: id(row, 8)?,
        reason: reason(get(9)?)?,
        detail: row.get(10).map_err(fault::of)?,
        effect: encode::decode(effect)?,
        basis: basis.map(super::attempt::decode_basis).transpose()?.unwrap_or_default(),
    })
}
