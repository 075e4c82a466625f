//! A plain push: records in the order of the request, each in its own savepoint, so that one bad record affects no other.
//!
//! A record whose parent is missing waits for the records after it: v0.1.2's apps send by the time of the last edit, a child
//! before its parent. A record that still waits at the end is retryable, until nothing can change its result: an SDK does
//! not pull while a record waits.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rejoin_protocol::time;
use rejoin_protocol::wire::push::{PushAnswer, PushRecord, PushRequest, PushResponse, PushResult};

use super::evaluate::{RecordEvaluator, RecordOutcome};
use crate::engine::batch;
use crate::engine::budget::Budget;
use crate::engine::budget::check_size;
use crate::engine::conflict_log::ConflictLog;
use crate::engine::cursor::shown;
use crate::engine::push::load::{self, ChangedRow};
use crate::engine::user_transaction::UserTransaction;
use crate::engine::{Caller, Engine, rights, window};
use crate::error::{Fault, Refusal};
use crate::store::{ReadHint, Reading, write};

/// The number of times that waiting records are tried in one push; deeper chains need another push.
const PASSES: usize = 16;

/// The usual size of an SDK's push. A smaller one is all that its device has to send.
const USUAL: usize = 100;

/// How long a record may wait for a row that its device does not send, in microseconds.
const PATIENCE: i64 = 600_000_000;

/// Answers a push of a plain peer.
pub(crate) fn push_plain(
    engine: &Engine,
    caller: &Caller,
    request: &PushRequest,
) -> Result<PushResponse, Fault> {
    check_size(request.changes.len(), engine.limits.changes, "changes")?;
    let now = engine.now();
    let hooks = engine.hooks.as_deref();
    let budget = Budget::new(engine, &caller.user);
    let (response, conflicts) = write(&*engine.store, &now, |writing| {
        let is_ours = request.rejoin.is_some() || caller.extended;
        let older =
            window::admit(engine, writing, is_ours, request.schema_version, &request.schema_hash)?;
        let user = caller.user.as_str();
        let client_id = request.client_id.as_str();
        writing.expect(&ReadHint { user, client_id, positions: &[], entries: None })?;
        let mut client = engine.registered(writing, caller, &request.client_id)?;
        let tolerance = i64::from(engine.limits.plain_clock_ms) * 1_000;
        let rights = rights(writing, caller)?;
        let conflicts = ConflictLog::new(hooks);
        let rows = request.changes.iter().map(changed_row);
        let plan = load::plan(writing, &engine.checks, (user, &rights), &[], rows)?;
        let plan = plan.as_ref();
        let transaction = UserTransaction::new(writing, plan, user, (&rights, &now));
        let evaluator = RecordEvaluator {
            transaction,
            tolerance,
            client_id,
            hooks,
            conflicts: &conflicts,
            budget: &budget,
        };
        let results = evaluate_all(&evaluator, &request.changes, engine.clock.now())?;
        let results = results.into_iter();
        let (accepted, mut rejected): (Vec<_>, Vec<_>) =
            results.partition(|result| result.status == "applied");
        client.last_push_at = Some(now.clone());
        client.seen_at.clone_from(&now);
        writing.put_client(user, client_id, &client)?;
        let rejoin = request.rejoin.as_ref().map(|ask| answer(writing, ask.request, &rights.reads));
        let manifest = &writing.schema().manifest;
        let mut served = (manifest.schema_version, manifest.schema_hash.clone());
        if let Some(older) = older {
            older.results(&mut rejected)?;
            served = older.name();
        }
        let response = PushResponse {
            accepted,
            rejected,
            checkpoint: 0,
            server_time: now.clone(),
            schema_version: served.0,
            schema_hash: served.1,
            rejoin: rejoin.transpose()?,
        };
        Ok((response, conflicts.into_all()))
    })?;
    engine.tell_conflicts(&conflicts);
    Ok(response)
}

fn changed_row(record: &PushRecord) -> ChangedRow<'_> {
    let data = record.data.as_deref();
    ChangedRow { table: &record.table_name, id: &record.id, data }
}

/// The response members for Rejoin devices.
fn answer(reading: &dyn Reading, request: i64, held: &[String]) -> Result<PushAnswer, Fault> {
    let epoch = reading.log_state()?.epoch;
    Ok(PushAnswer { request, epoch, held: shown(held), ..PushAnswer::default() })
}

/// A result for each record, in the order of the request.
fn evaluate_all(
    evaluator: &RecordEvaluator<'_>,
    records: &[PushRecord],
    now: i64,
) -> Result<Vec<PushResult>, Fault> {
    let mut ends: BTreeMap<usize, RecordOutcome> = BTreeMap::new();
    let mut waiting: Vec<usize> = (0..records.len()).collect();
    for _ in 0..PASSES {
        let pass = evaluate_pass(evaluator, records, &waiting)?;
        let rest = std::iter::repeat_with(RecordOutcome::busy);
        ends.extend(waiting.iter().copied().zip(pass.into_iter().chain(rest)));
        let left: Vec<usize> = waiting
            .iter()
            .copied()
            .filter(|at| ends.get(at).is_some_and(|end| end.waits))
            .collect();
        let is_over = left.is_empty() || left.len() == waiting.len();
        waiting = left;
        if is_over {
            break;
        }
    }
    let ended = records.iter().zip(ends.into_values());
    let mut results =
        ended.map(|(record, end)| evaluator.result(record, end)).collect::<Result<Vec<_>, _>>()?;
    if records.len() < USUAL && waiting.len() == records.len() {
        give_up(records, &mut results, now);
    }
    Ok(results)
}

/// How each of these records ends, if they are evaluated in their order.
fn evaluate_pass(
    evaluator: &RecordEvaluator<'_>,
    records: &[PushRecord],
    numbers: &[usize],
) -> Result<Vec<RecordOutcome>, Fault> {
    let UserTransaction { writing, plan, .. } = evaluator.transaction;
    // Rows with a record that waits, and the first such record. A later record of that row waits too.
    let rows: RefCell<BTreeMap<(&str, &str), usize>> = RefCell::default();
    let plan = plan.filter(|_| evaluator.hooks.is_none());
    let evaluate = |at: usize| {
        let record = numbers.get(at).and_then(|number| records.get(*number));
        let Some(record) = record else {
            return Err(Fault::Internal(String::from("a push has no such record")));
        };
        let row = (record.table_name.as_str(), record.id.as_str());
        // A record that is evaluated again may have waited before it was undone.
        if rows.borrow().get(&row).is_some_and(|first| *first < at) {
            return Ok(RecordOutcome::waits(&record.operation));
        }
        let end = evaluator.record(record)?;
        let mut rows = rows.borrow_mut();
        if end.waits {
            rows.insert(row, at)
        } else {
            rows.remove(&row)
        };
        Ok(end)
    };
    batch::evaluate_all(writing, plan, numbers.len(), evaluate, || evaluator.budget.is_over())
}

/// Rejects records that were written long ago: the device has nothing else to send, and none of its records applied.
fn give_up(records: &[PushRecord], results: &mut [PushResult], now: i64) {
    for (record, result) in records.iter().zip(results) {
        let written = time::parse(&record.client_updated_at).unwrap_or(time::FIRST);
        if written < now - PATIENCE {
            result.status = String::from("rejected_terminal");
        }
    }
}

/// Rejects a plain request with a time that is not RFC 3339, as v0.1.2 does. A base in SQLite's form is accepted: one of the
/// SDKs sends the text of its `CURRENT_TIMESTAMP`, and would send it forever. An empty base means none.
pub(crate) fn check_times(request: &PushRequest) -> Result<(), Fault> {
    let is_time = |text: &str| text.is_empty() || time::parse(text).is_some();
    let good = request.changes.iter().all(|record| {
        let at = record.client_updated_at.as_str();
        let is_rfc = at.is_empty() || at.contains('T');
        is_rfc && is_time(at) && record.base_updated_at.as_deref().is_none_or(is_time)
    });
    if good { Ok(()) } else { Err(Refusal::invalid("invalid request body").into()) }
}
