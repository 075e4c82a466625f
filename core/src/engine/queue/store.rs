//! The queue's rows: the only module that uses the columns of `rejoin_mutation` and
//! `rejoin_history`.

use std::collections::HashSet;

use rusqlite::blob::ZeroBlob;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use uuid::Uuid;

use super::intent::Reads;
use super::mutation::{Mutation, MutationState, ParkReason};
use super::part::DecidedRows;
use super::policy_state::PolicyState;
use super::{Awaiting, Intent, Last, NewMutation, QueueEntry, attempt, intent};
use crate::engine::meta::set_meta;
use crate::engine::queue::pending_op::{OpOutcome, Parking, PendingOp};
use crate::engine::rows::binary::Malformed;
use crate::engine::rows::encode;
use crate::engine::rows::patch::Effect;
use crate::engine::rows::undo::Undo;
use crate::error::{Error, Result, StorageFault};
use crate::ids::{MutationId, Seq};

const INSERT: &str = "/*rejoin*/INSERT INTO rejoin_mutation \
    (seq, id, time_ms, counter, action, version, args, reads, state, attempt, effect) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 1, ?9)";

const COLUMNS: &str = "seq, id, time_ms, counter, action, state, attempt, request, because_of, \
    reason, detail, effect, basis, policy_state, \
    coalesce(octet_length(args) + octet_length(reads), 0)";

/// Metadata key of the numbers that were assigned last: number, time, counter.
const LAST_GIVEN: &str = "last_given";

/// Metadata key of imported edits that await the server's rows.
const AWAITING: &str = "synchro_awaiting";

/// An effect of more bytes is written into its row after the insert: SQLite copies a bound value,
/// and copies it again into the record, while it holds both.
const LARGE_EFFECT: usize = 1 << 20;

/// Inserts a row.
pub(crate) fn insert(
    conn: &Connection,
    entry: &QueueEntry,
    (time_ms, counter): (i64, i64),
    new: &NewMutation,
) -> Result<()> {
    let mut statement = conn.prepare_cached(INSERT)?;
    let intent = new.intent.as_ref();
    let effect = &new.recorded.effect;
    let is_large = effect.len() > LARGE_EFFECT;
    let bound: &dyn ToSql = if is_large { &ZeroBlob(effect.len() as u64) } else { effect };
    statement.execute(params![
        entry.seq.0,
        entry.id.0.as_bytes(),
        time_ms,
        counter,
        intent.map(|intent| &intent.action),
        intent.map(|intent| intent.version),
        intent.map(|intent| &intent.args),
        intent.map(|intent| intent::encode_reads(&intent.reads, &intent.seen)),
        bound
    ])?;
    if is_large {
        let mut blob = conn.blob_open("main", "rejoin_mutation", "effect", entry.seq.0, false)?;
        blob.write_all_at(effect, 0)?;
        blob.close()?;
    }
    Ok(())
}

/// The numbers that were assigned last.
pub(super) fn last(conn: &Connection) -> Result<Last> {
    let newest = conn
        .query_row(
            "/*rejoin*/SELECT seq, time_ms, counter FROM rejoin_mutation ORDER BY seq DESC LIMIT 1",
            [],
            |row| Ok(Last { seq: row.get(0)?, time_ms: row.get(1)?, counter: row.get(2)? }),
        )
        .optional()?
        .unwrap_or_default();
    let given: Option<String> = conn
        .query_row("/*rejoin*/SELECT value FROM rejoin_meta WHERE key = ?1", [LAST_GIVEN], |row| {
            row.get(0)
        })
        .optional()?;
    let given = given.as_deref().and_then(parse_given).unwrap_or_default();
    Ok(if given.seq >= newest.seq { given } else { newest })
}

fn parse_given(text: &str) -> Option<Last> {
    let mut numbers = text.split(' ').map(|number| number.parse().ok());
    Some(Last { seq: numbers.next()??, time_ms: numbers.next()??, counter: numbers.next()?? })
}

/// Stores the numbers that were assigned last, before a row that may have them is removed.
pub(crate) fn keep_last(conn: &Connection, last: Last) -> Result<()> {
    let given = format!("{} {} {}", last.seq, last.time_ms, last.counter);
    set_meta(conn, LAST_GIVEN, Some(&given))
}

/// Marks mutations that were sent when the last process ended as uncertain.
pub(super) fn recover(conn: &Connection) -> Result<()> {
    let sent = "/*rejoin*/SELECT EXISTS (SELECT 1 FROM rejoin_mutation WHERE state = 1)";
    if conn.query_row(sent, [], |row| row.get(0))? {
        let sql = "/*rejoin*/UPDATE rejoin_mutation SET state = 2 WHERE state = 1";
        conn.execute(sql, [])?;
    }
    Ok(())
}

/// Reads every mutation as kept in memory, in order.
pub(super) fn each_entry(conn: &Connection, mut each: impl FnMut(QueueEntry)) -> Result<()> {
    let mut statement = conn.prepare(
        "/*rejoin*/SELECT seq, id, state, attempt, effect, reads \
             FROM rejoin_mutation ORDER BY seq",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(entry(row)?);
    }
    Ok(())
}

/// Reads one mutation as kept in memory.
pub(crate) fn read_entry(conn: &Connection, seq: Seq) -> Result<Option<QueueEntry>> {
    let sql = "/*rejoin*/SELECT seq, id, state, attempt, effect, reads FROM rejoin_mutation \
               WHERE seq = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([seq.0])?;
    rows.next()?.map(entry).transpose()
}

fn entry(row: &Row<'_>) -> Result<QueueEntry> {
    let effect = row.get_ref(4)?.as_blob().map_err(|_| damaged("effect"))?;
    Ok(QueueEntry {
        seq: Seq(row.get(0)?),
        id: id(row, 1)?.ok_or_else(|| damaged("id"))?,
        state: state(row.get(2)?)?,
        attempt: row.get(3)?,
        rows: encode::rows_of(effect)?.into(),
        reads: reads(row, 5)?.tables.into(),
    })
}

fn reads(row: &Row<'_>, column: usize) -> Result<Reads> {
    let bytes = row.get_ref(column)?.as_blob_or_null().unwrap_or(None);
    Ok(bytes.map(intent::decode_reads).transpose()?.unwrap_or_default())
}

pub(super) fn damaged(what: &'static str) -> Error {
    Malformed(what).into()
}

pub(super) fn id(row: &Row<'_>, column: usize) -> Result<Option<MutationId>> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    bytes
        .map(|bytes| Uuid::from_slice(&bytes).map(MutationId).map_err(|_| damaged("mutation id")))
        .transpose()
}

fn state(number: i64) -> Result<MutationState> {
    Ok(match number {
        0 => MutationState::Pending,
        1 => MutationState::Sent,
        2 => MutationState::Uncertain,
        3 => MutationState::Parked,
        _ => return Err(damaged("state of a mutation")),
    })
}

fn reason(number: Option<i64>) -> Result<Option<ParkReason>> {
    let known = |number| {
        ParkReason::of_number(number).ok_or_else(|| damaged("reason of a parked mutation"))
    };
    number.map(known).transpose()
}

/// Reads one whole mutation.
pub(crate) fn read(conn: &Connection, seq: Seq) -> Result<Option<Mutation>> {
    let sql = format!("/*rejoin*/SELECT {COLUMNS} FROM rejoin_mutation WHERE seq = ?1");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([seq.0])?;
    rows.next()?.map(mutation).transpose()
}

/// Reads every whole mutation, in order.
pub(crate) fn read_all(conn: &Connection) -> Result<Vec<Mutation>> {
    let sql = format!("/*rejoin*/SELECT {COLUMNS} FROM rejoin_mutation ORDER BY seq");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(mutation(row)?);
    }
    Ok(all)
}

fn mutation(row: &Row<'_>) -> Result<Mutation> {
    let get = |column: usize| -> Result<Option<i64>> { Ok(row.get(column)?) };
    let effect = row.get_ref(11)?.as_blob().map_err(|_| damaged("effect"))?;
    let basis = row.get_ref(12)?.as_blob_or_null().unwrap_or(None);
    Ok(Mutation {
        seq: Seq(row.get(0)?),
        id: id(row, 1)?.ok_or_else(|| damaged("mutation id"))?,
        time_ms: row.get(2)?,
        counter: row.get(3)?,
        action: row.get(4)?,
        state: state(row.get(5)?)?,
        attempt: row.get(6)?,
        request: get(7)?,
        because_of: id(row, 8)?,
        reason: reason(get(9)?)?,
        detail: row.get(10)?,
        effect: encode::decode(effect)?,
        basis: basis.map(attempt::decode_basis).transpose()?.unwrap_or_default(),
        policy_state: policy_state(row, 13)?,
        meant: usize::try_from(get(14)?.unwrap_or(0)).unwrap_or(0),
    })
}

/// Policy state; empty for most mutations.
fn policy_state(row: &Row<'_>, column: usize) -> Result<PolicyState> {
    let bytes = row.get_ref(column)?.as_blob_or_null().unwrap_or(None);
    Ok(bytes.map(PolicyState::decode).transpose()?.unwrap_or_default())
}

/// Reads a mutation for a rebase.
pub(crate) fn read_step(conn: &Connection, seq: Seq) -> Result<Option<PendingOp>> {
    let sql = "/*rejoin*/SELECT seq, id, state, action, attempt, effect, basis, frozen, undo, \
               parts, policy_state, time_ms, version, args, reads FROM rejoin_mutation WHERE seq = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([seq.0])?;
    rows.next()?.map(step).transpose()
}

fn step(row: &Row<'_>) -> Result<PendingOp> {
    let blob = |column| row.get_ref(column)?.as_blob_or_null().map_err(rusqlite::Error::from);
    let owned = |column| blob(column).map(|bytes| bytes.map(<[u8]>::to_vec));
    let state = state(row.get(2)?)?;
    let action: Option<String> = row.get(3)?;
    let intent = action.map(|action| -> Result<Intent> {
        let version: Option<i64> = row.get(12)?;
        let args: Option<String> = row.get(13)?;
        let (version, args) = (version.unwrap_or(1), args.unwrap_or_default());
        let Reads { tables, seen } = reads(row, 14)?;
        Ok(Intent { action, version, args, reads: tables, seen })
    });
    let basis = blob(6)?.map(attempt::decode_basis).transpose()?;
    Ok(PendingOp {
        seq: Seq(row.get(0)?),
        id: id(row, 1)?.ok_or_else(|| damaged("mutation id"))?,
        state,
        time_ms: row.get(11)?,
        intent: intent.transpose()?,
        attempt: row.get(4)?,
        effect: encode::decode(blob(5)?.ok_or_else(|| damaged("effect"))?)?.into(),
        basis: basis.unwrap_or_default(),
        frozen: owned(7)?,
        undo: owned(8)?,
        displaced: None,
        policy_state: policy_state(row, 10)?,
        parts: blob(9)?.map(DecidedRows::decode).transpose()?.unwrap_or_default(),
        reduced: false,
        rewritten: false,
        conflicted: None,
        outdated: HashSet::new(),
        outcome: OpOutcome::Stays,
        changed: false,
    })
}

/// The before-images of a mutation, as they are applied now.
pub(super) fn read_undo(conn: &Connection, seq: Seq) -> Result<Option<Undo>> {
    let sql = "/*rejoin*/SELECT undo, iif(undo IS NULL, effect, NULL) FROM rejoin_mutation WHERE seq = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([seq.0])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let blob = |column| row.get_ref(column)?.as_blob_or_null().map_err(rusqlite::Error::from);
    Ok(Some(if let Some(undo) = blob(0)? {
        Undo::decode(undo)?
    } else {
        let effect = blob(1)?.ok_or_else(|| damaged("effect"))?;
        Undo::of(&encode::decode(effect)?)
    }))
}

/// Runs one of the statements below.
pub(super) fn run(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<()> {
    let mut statement = conn.prepare_cached(sql)?;
    statement.execute(params)?;
    Ok(())
}

/// Stores the new undo of a mutation.
pub(crate) fn write_undo(conn: &Connection, step: &PendingOp) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET undo = ?2 WHERE seq = ?1";
    run(conn, sql, params![step.seq.0, step.undo])
}

/// Stores what is left of a mutation of which rows have their verdict, and those rows.
pub(crate) fn write_parts(conn: &Connection, step: &PendingOp) -> Result<()> {
    let sql =
        "/*rejoin*/UPDATE rejoin_mutation SET effect = ?2, parts = ?3, basis = ?4 WHERE seq = ?1";
    let (effect, basis) = (encode::encode(&step.effect), attempt::encode_basis(&step.basis));
    run(conn, sql, params![step.seq.0, effect, step.parts.encode(), basis])
}

/// Completes the effect of an imported edit, whose old values were unknown. An effect never changes
/// otherwise, except in a mutant.
pub(crate) fn write_effect(conn: &Connection, step: &PendingOp) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET effect = ?2 WHERE seq = ?1";
    run(conn, sql, params![step.seq.0, encode::encode(&step.effect)])
}

/// Stores the writes and reads of an action that ran again.
pub(crate) fn write_run(conn: &Connection, step: &PendingOp) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET effect = ?2, reads = ?3, undo = NULL, basis = NULL \
               WHERE seq = ?1";
    run(conn, sql, params![step.seq.0, encode::encode(&step.effect), reads_of(step)])
}

/// Stores the new reads of an action that is otherwise unchanged.
pub(crate) fn write_seen(conn: &Connection, step: &PendingOp) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET reads = ?2 WHERE seq = ?1";
    run(conn, sql, params![step.seq.0, reads_of(step)])
}

fn reads_of(step: &PendingOp) -> Option<Vec<u8>> {
    step.intent.as_ref().map(|intent| intent::encode_reads(&intent.reads, &intent.seen))
}

/// Sets the undo of the mutation that was just appended; `None` if it is the effect's own.
pub(crate) fn set_undo(conn: &Connection, seq: Seq, undo: Option<&[u8]>) -> Result<()> {
    if undo.is_none() {
        return Ok(());
    }
    run(conn, "/*rejoin*/UPDATE rejoin_mutation SET undo = ?2 WHERE seq = ?1", params![seq.0, undo])
}

/// Reads which imported edits await the server's rows.
pub(super) fn read_awaiting(conn: &Connection) -> Result<Awaiting> {
    let json: Option<String> = conn
        .query_row("/*rejoin*/SELECT value FROM rejoin_meta WHERE key = ?1", [AWAITING], |row| {
            row.get(0)
        })
        .optional()?;
    let Some(json) = json else { return Ok(Awaiting::new()) };
    let known: std::collections::BTreeMap<i64, Option<String>> = serde_json::from_str(&json)
        .map_err(|error| Error::Storage(StorageFault::Corrupt(format!("{AWAITING}: {error}"))))?;
    Ok(known.into_iter().map(|(seq, version)| (Seq(seq), version)).collect())
}

/// Stores which imported edits await the server's rows.
pub(crate) fn write_awaiting(conn: &Connection, awaiting: &Awaiting) -> Result<()> {
    if awaiting.is_empty() {
        return set_meta(conn, AWAITING, None);
    }
    let known: std::collections::BTreeMap<i64, &Option<String>> =
        awaiting.iter().map(|(seq, version)| (seq.0, version)).collect();
    let json = serde_json::to_string(&known).map_err(|error| Error::Internal(error.to_string()))?;
    set_meta(conn, AWAITING, Some(&json))
}

/// Stores the state and the attempt of a mutation.
pub(crate) fn write_attempt(conn: &Connection, step: &PendingOp) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET state = ?2, attempt = ?3, basis = ?4, \
               frozen = ?5, policy_state = ?6, request = iif(?2 = 0, NULL, request), \
               hash = iif(?2 = 0, NULL, hash) WHERE seq = ?1";
    let (basis, policies) = (attempt::encode_basis(&step.basis), step.policy_state.encode());
    let (seq, state) = (step.seq.0, step.state as i64);
    run(conn, sql, params![seq, state, step.attempt, basis, step.frozen, policies])
}

/// Parks a mutation: it is no longer applied, so it has no undo.
pub(crate) fn park(conn: &Connection, step: &PendingOp, parking: &Parking) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET state = 3, reason = ?2, because_of = ?3, \
               detail = ?4, basis = ?5, attempt = ?6, frozen = NULL, undo = NULL, policy_state = ?7 \
               WHERE seq = ?1";
    let because_of = parking.because_of.map(|id| *id.0.as_bytes());
    let basis = attempt::encode_basis(&step.basis);
    let reason = parking.reason.number();
    let (seq, policy_state) = (step.seq.0, step.policy_state.of_parked().encode());
    let detail = &parking.detail;
    run(conn, sql, params![seq, reason, because_of, detail, basis, step.attempt, policy_state])
}

/// Removes a mutation from the queue.
pub(crate) fn remove(conn: &Connection, seq: Seq) -> Result<()> {
    run(conn, "/*rejoin*/DELETE FROM rejoin_mutation WHERE seq = ?1", [seq.0])
}

/// Removes every pending, accepted and cancelled mutation, and every record.
pub(crate) fn clear(conn: &Connection) -> Result<()> {
    let tables = ["rejoin_mutation", "rejoin_history", "rejoin_record", "rejoin_cancel"];
    tables.iter().try_for_each(|table| run(conn, &format!("/*rejoin*/DELETE FROM {table}"), []))
}

/// Copies an accepted mutation to the history, with what it really changed if that differs from
/// what it wrote.
pub(crate) fn keep_in_history(
    conn: &Connection,
    seq: Seq,
    accepted_ms: i64,
    done: Option<&[u8]>,
) -> Result<()> {
    let sql = "/*rejoin*/INSERT INTO rejoin_history \
        (seq, id, time_ms, counter, action, version, args, attempt, accepted_ms, epoch, effect, basis, \
        frozen, undoes, displaced) SELECT seq, id, time_ms, counter, action, version, args, attempt, ?2, \
        (SELECT value FROM rejoin_meta WHERE key = 'epoch'), effect, basis, frozen, undoes, ?3 \
        FROM rejoin_mutation WHERE seq = ?1";
    run(conn, sql, params![seq.0, accepted_ms, done])
}

/// Reads all metadata of the file.
pub(crate) fn facts(conn: &Connection) -> Result<Vec<(String, String)>> {
    let mut statement = conn.prepare("/*rejoin*/SELECT key, value FROM rejoin_meta")?;
    let facts = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(facts.collect::<rusqlite::Result<_>>()?)
}

/// The bytes of an attempt.
pub(super) struct Content {
    /// The content that is independent of the attempt: what was written, or the intent of an
    /// action.
    pub(super) hashed: Vec<u8>,
    pub(super) frozen: Option<Vec<u8>>,
}

/// The bytes of the current attempt.
pub(super) fn read_content(conn: &Connection, seq: Seq) -> Result<Option<Content>> {
    let sql = "/*rejoin*/SELECT iif(action IS NULL, effect, CAST(json_array(action, version, args) AS BLOB)), \
               frozen FROM rejoin_mutation WHERE seq = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let content = |row: &Row<'_>| Ok(Content { hashed: row.get(0)?, frozen: row.get(1)? });
    Ok(statement.query_row([seq.0], content).optional()?)
}

/// What a mutation wrote.
pub(crate) fn read_effect(conn: &Connection, seq: Seq) -> Result<Option<Effect>> {
    let sql = "/*rejoin*/SELECT effect FROM rejoin_mutation WHERE seq = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([seq.0])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let bytes = row.get_ref(0)?.as_blob().map_err(|_| damaged("effect"))?;
    Ok(Some(encode::decode(bytes)?))
}

/// Marks an attempt as sent, with its frozen content.
pub(crate) fn write_sent(
    conn: &Connection,
    seq: Seq,
    request: i64,
    hash: &str,
    frozen: &[u8],
) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET state = 1, request = ?2, hash = ?3, frozen = ?4 \
               WHERE seq = ?1";
    run(conn, sql, params![seq.0, request, hash, frozen])
}

/// Marks a mutation whose records are about to be sent with a request.
pub(crate) fn write_leaving(conn: &Connection, seq: Seq, request: i64) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET state = 1, request = ?2 WHERE seq = ?1";
    run(conn, sql, [seq.0, request])
}

/// Marks a mutation as pending or as uncertain.
pub(crate) fn write_state(conn: &Connection, seq: Seq, state: MutationState) -> Result<()> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET state = ?2 WHERE seq = ?1";
    run(conn, sql, [seq.0, state as i64])
}

/// Marks the sent mutations of a request, or of all, as uncertain; returns their numbers and attempts.
pub(crate) fn lost(conn: &Connection, request: Option<i64>) -> Result<Vec<(Seq, i64)>> {
    let sql = "/*rejoin*/UPDATE rejoin_mutation SET state = 2 \
               WHERE state = 1 AND (?1 IS NULL OR request = ?1) RETURNING seq, attempt";
    let mut statement = conn.prepare_cached(sql)?;
    let lost = statement.query_map([request], |row| Ok((Seq(row.get(0)?), row.get(1)?)));
    Ok(lost.and_then(Iterator::collect)?)
}
