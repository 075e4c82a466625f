//! Outcomes of mutations, kept until the app has acknowledged them: each once, in order.
//!
//! Written in the transaction that ends the mutation, so that a crash loses none. Bounded: the
//! newest [`KEPT`] are kept, and a reader gets the number of missed ones; parked mutations stay in
//! the queue all the same.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::detail::VerdictDetail;
use super::mutation::ParkReason;
use super::store::{damaged, id, run};
use crate::engine::meta::{meta, set_meta};
use crate::engine::schema::model::Schema;
use crate::error::Result;
use crate::ids::{MutationId, Seq};

/// Number of verdicts that are kept until the app reads them.
pub const KEPT: i64 = 10_000;
/// Maximum bytes of a stored detail; a longer one is only kept with the parked mutation.
pub(crate) const DETAIL: usize = 64 * 1024;

/// Metadata key: the number up to which the app has acknowledged verdicts.
const ACKNOWLEDGED: &str = "verdicts_acknowledged";

/// Outcome of a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerdictKind {
    /// The server has it, and the rows show it.
    Accepted,
    /// It was not accepted, and waits for the app's decision.
    Parked(ParkReason),
    /// The app discarded it after it was sent, and the server has answered. If the server had it,
    /// `because_of` names the mutation that reverses it.
    Withdrawn,
    /// In the log model: it was accepted earlier, and the authority has run it again after earlier
    /// changes arrived. It now has the effect that `detail` shows.
    Corrected,
}

/// The outcome of one attempt of a mutation.
#[derive(Debug, Clone, PartialEq)]
pub struct VerdictEntry {
    /// Increases, and is never reused; for
    /// [`QueueHandle::acknowledge_verdicts`](crate::QueueHandle::acknowledge_verdicts).
    pub number: i64,
    /// The mutation.
    pub id: MutationId,
    /// Its attempt: `retry` makes another one, with its own outcome.
    pub attempt: i64,
    /// The outcome.
    pub kind: VerdictKind,
    /// The mutation because of which it was parked, or which reverses it.
    pub because_of: Option<MutationId>,
    /// The action's name; `None` for plain SQL.
    pub action: Option<String>,
    /// The server's message, and both rows of a conflict. `None` if there is none or it exceeds 64
    /// KiB: then it is in [`PendingMutation::detail`](crate::PendingMutation::detail).
    pub detail: Option<VerdictDetail>,
    /// Time of the verdict: milliseconds since 1970, by the device's clock.
    pub at_ms: i64,
}

/// Verdicts that the app has not acknowledged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdicts {
    /// Oldest first.
    pub entries: Vec<VerdictEntry>,
    /// Number of earlier verdicts that are no longer kept.
    pub missed: u64,
}

/// The outcome of a mutation that is in the queue.
pub(crate) struct NewVerdict<'a> {
    pub(crate) attempt: i64,
    pub(crate) kind: VerdictKind,
    pub(crate) because_of: Option<MutationId>,
    pub(crate) detail: Option<&'a str>,
}

/// Stores the outcome of a mutation before it leaves the queue. An acceptance by an earlier epoch
/// of the server was already reported.
pub(crate) fn write(conn: &Connection, seq: Seq, new: &NewVerdict<'_>, now_ms: i64) -> Result<()> {
    let sql = "/*rejoin*/INSERT INTO rejoin_verdict \
               (mutation, attempt, kind, because_of, action, detail, at_ms) \
               SELECT id, ?2, ?3, ?4, action, ?5, ?6 FROM rejoin_mutation \
               WHERE seq = ?1 AND (?3 <> 0 OR told = 0)";
    let because_of = new.because_of.map(|id| *id.0.as_bytes());
    let detail = new.detail.filter(|detail| detail.len() <= DETAIL);
    let kind = number_of(new.kind);
    run(conn, sql, params![seq.0, new.attempt, kind, because_of, detail, now_ms])?;
    prune(conn)
}

/// Stores the server's answer to a cancelled mutation; `reverse` reverses it.
pub(crate) fn write_withdrawn(
    conn: &Connection,
    (id, attempt): (MutationId, i64),
    reverse: Option<MutationId>,
    now_ms: i64,
) -> Result<()> {
    let sql = "/*rejoin*/INSERT INTO rejoin_verdict (mutation, attempt, kind, because_of, at_ms) \
               VALUES (?1, ?2, 1, ?3, ?4)";
    let reverse = reverse.map(|id| *id.0.as_bytes());
    run(conn, sql, params![id.0.as_bytes(), attempt, reverse, now_ms])?;
    prune(conn)
}

/// Stores the outcome of an entry of the log.
pub(crate) fn write_of_log(
    conn: &Connection,
    (id, attempt, action): (MutationId, i64, Option<&str>),
    kind: VerdictKind,
    detail: Option<&str>,
    now_ms: i64,
) -> Result<()> {
    let sql = "/*rejoin*/INSERT INTO rejoin_verdict (mutation, attempt, kind, detail, at_ms, action) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (id, kind) = (id.0.as_bytes(), number_of(kind));
    let detail = detail.filter(|detail| detail.len() <= DETAIL);
    run(conn, sql, params![id, attempt, kind, detail, now_ms, action])?;
    prune(conn)
}

/// When mutations were accepted last, of those whose verdicts the file still keeps.
pub(crate) fn accepted_times(conn: &Connection) -> Result<HashMap<MutationId, i64>> {
    let sql = "/*rejoin*/SELECT mutation, max(at_ms) FROM rejoin_verdict WHERE kind = ?1 \
               GROUP BY mutation";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([number_of(VerdictKind::Accepted)])?;
    let mut times = HashMap::new();
    while let Some(row) = rows.next()? {
        let id = id(row, 0)?.ok_or_else(|| damaged("mutation id"))?;
        times.insert(id, row.get(1)?);
    }
    Ok(times)
}

/// Removes the oldest entries beyond the bound.
fn prune(conn: &Connection) -> Result<()> {
    let sql = "/*rejoin*/DELETE FROM rejoin_verdict \
               WHERE number <= (SELECT max(number) FROM rejoin_verdict) - ?1";
    run(conn, sql, [KEPT])
}

/// Removes all verdicts when the file is reset.
pub(crate) fn forget_all(conn: &Connection) -> Result<()> {
    acknowledge(conn, last_given(conn)?)
}

fn acknowledge(conn: &Connection, through: i64) -> Result<()> {
    run(conn, "/*rejoin*/DELETE FROM rejoin_verdict WHERE number <= ?1", [through])?;
    set_meta(conn, ACKNOWLEDGED, Some(&through.to_string()))
}

/// The number that was assigned last; it survives the removal of entries.
fn last_given(conn: &Connection) -> Result<i64> {
    let sql = "/*rejoin*/SELECT coalesce((SELECT seq FROM sqlite_sequence \
               WHERE name = 'rejoin_verdict'), 0)";
    Ok(conn.query_row(sql, [], |row| row.get(0))?)
}

fn number_of(kind: VerdictKind) -> i64 {
    match kind {
        VerdictKind::Accepted => 0,
        VerdictKind::Withdrawn => 1,
        VerdictKind::Corrected => 2,
        VerdictKind::Parked(reason) => 10 + reason.number(),
    }
}

fn kind_of(number: i64) -> Result<VerdictKind> {
    let parked = |reason| ParkReason::of_number(reason).map(VerdictKind::Parked);
    match number {
        0 => Ok(VerdictKind::Accepted),
        1 => Ok(VerdictKind::Withdrawn),
        2 => Ok(VerdictKind::Corrected),
        number => parked(number - 10).ok_or_else(|| damaged("kind of a verdict")),
    }
}

/// The unacknowledged verdicts after a number, oldest first, at most `most`.
pub(crate) fn read(
    conn: &Connection,
    schema: &Schema,
    after: i64,
    most: usize,
) -> Result<Verdicts> {
    let known = acknowledged(conn)?;
    let after = after.max(known);
    let sql = "/*rejoin*/SELECT number, mutation, attempt, kind, because_of, action, detail, at_ms \
               FROM rejoin_verdict WHERE number > ?1 ORDER BY number LIMIT ?2";
    let entries = {
        let mut statement = conn.prepare_cached(sql)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut rows = statement.query([after, most])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let detail: Option<String> = row.get(6)?;
            entries.push(VerdictEntry {
                number: row.get(0)?,
                id: id(row, 1)?.ok_or_else(|| damaged("mutation id"))?,
                attempt: row.get(2)?,
                kind: kind_of(row.get(3)?)?,
                because_of: id(row, 4)?,
                action: row.get(5)?,
                detail: detail.map(|text| VerdictDetail::decode(&text, schema)),
                at_ms: row.get(7)?,
            });
        }
        entries
    };
    let first = entries.first().map_or(after + 1, |entry: &VerdictEntry| entry.number);
    Ok(Verdicts { missed: u64::try_from(first - after - 1).unwrap_or(0), entries })
}

/// Removes the verdicts up to this number: the app has read them.
pub(crate) fn acknowledge_through(conn: &Connection, through: i64) -> Result<()> {
    let through = through.min(last_given(conn)?);
    if through > acknowledged(conn)? { acknowledge(conn, through) } else { Ok(()) }
}

fn acknowledged(conn: &Connection) -> Result<i64> {
    Ok(meta(conn, ACKNOWLEDGED)?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_kinds_have_distinct_numbers() {
        let parked = ParkReason::ALL.map(VerdictKind::Parked);
        let others = [VerdictKind::Accepted, VerdictKind::Withdrawn, VerdictKind::Corrected];
        for kind in parked.into_iter().chain(others) {
            assert_eq!(kind_of(number_of(kind)).unwrap(), kind);
        }
        for number in [-1, 3, 9, 99] {
            assert!(kind_of(number).is_err(), "{number}");
        }
    }
}
