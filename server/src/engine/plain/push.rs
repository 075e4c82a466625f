//! A plain push: records in the order of the request, each in a savepoint of its own, so that one bad record harms none.
//!
//! A record whose parent is not there waits for those behind it: v0.1.2's apps send by the time of the last edit, a child
//! before its parent. What still waits at the end may be sent again, until nothing more can come of it: an SDK does not
//! pull while a record waits.

use std::collections::BTreeSet;

use rejoin_protocol::time;
use rejoin_protocol::wire::push::{PushAnswer, PushRecord, PushRequest, PushResponse, PushResult};

use super::evaluate::{Evaluated, RecordEvaluator};
use crate::engine::conflict_log::ConflictLog;
use crate::engine::push::check_size;
use crate::engine::user_transaction::UserTransaction;
use crate::engine::{Caller, Engine, held, window};
use crate::error::{Fault, Refusal};
use crate::store::write;

/// How often what waits is tried again in one push: deeper chains come with the next one.
const PASSES: usize = 16;

/// A smaller push than an SDK's usual one is all that its device has to send.
const USUAL: usize = 100;

/// How long a record waits for a row that its device does not send, in microseconds.
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
    let (response, conflicts) = write(&*engine.store, &now, |writing| {
        let is_ours = request.rejoin.is_some() || caller.extended;
        let older =
            window::admit(engine, writing, is_ours, request.schema_version, &request.schema_hash)?;
        let mut client = engine.registered(writing, caller, &request.client_id)?;
        let tolerance = i64::from(engine.limits.plain_clock_ms) * 1_000;
        let held = held(writing, &caller.user)?;
        let conflicts = ConflictLog::new(hooks);
        let transaction =
            UserTransaction { writing, plan: None, user: &caller.user, held: &held, now: &now };
        let evaluator = RecordEvaluator {
            transaction,
            tolerance,
            client_id: &request.client_id,
            hooks,
            conflicts: &conflicts,
        };
        let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
        let results = evaluate_all(&evaluator, &request.changes, engine.clock.now())?;
        for result in results {
            if result.status == "applied" { &mut accepted } else { &mut rejected }.push(result);
        }
        client.last_push_at = Some(now.clone());
        client.seen_at.clone_from(&now);
        writing.put_client(&caller.user, &request.client_id, &client)?;
        let rejoin = match &request.rejoin {
            Some(ask) => Some(PushAnswer {
                request: ask.request,
                epoch: writing.log_state()?.epoch,
                held: held.clone(),
                ..PushAnswer::default()
            }),
            None => None,
        };
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
            rejoin,
        };
        Ok((response, conflicts.into_all()))
    })?;
    engine.tell_conflicts(&conflicts);
    Ok(response)
}

/// A result for each record, in the order of the request.
fn evaluate_all(
    evaluator: &RecordEvaluator<'_>,
    records: &[PushRecord],
    now: i64,
) -> Result<Vec<PushResult>, Fault> {
    let mut results: Vec<Option<PushResult>> = vec![None; records.len()];
    let mut waiting: Vec<usize> = (0..records.len()).collect();
    for _ in 0..PASSES {
        let mut rows = BTreeSet::new();
        let mut left = Vec::new();
        for at in &waiting {
            let Some(record) = records.get(*at) else { continue };
            let row = (record.table_name.as_str(), record.id.as_str());
            // What follows on a row that waits waits with it.
            let evaluated = if rows.contains(&row) {
                Evaluated::Waits(RecordEvaluator::waits(record))
            } else {
                evaluator.record(record)?
            };
            let result = match evaluated {
                Evaluated::Ended(result) => result,
                Evaluated::Waits(result) => {
                    rows.insert(row);
                    left.push(*at);
                    result
                }
            };
            if let Some(place) = results.get_mut(*at) {
                *place = Some(result);
            }
        }
        let is_over = left.is_empty() || left.len() == waiting.len();
        waiting = left;
        if is_over {
            break;
        }
    }
    if records.len() < USUAL && waiting.len() == records.len() {
        give_up(records, &mut results, now);
    }
    Ok(results.into_iter().flatten().collect())
}

/// Nothing left the device's queue, and nothing else is in it: what was written long ago waits in vain.
fn give_up(records: &[PushRecord], results: &mut [Option<PushResult>], now: i64) {
    for (record, result) in records.iter().zip(results) {
        let written = time::parse(&record.client_updated_at).unwrap_or(time::FIRST);
        if let Some(result) = result.as_mut().filter(|_| written < now - PATIENCE) {
            result.status = String::from("rejected_terminal");
        }
    }
}

/// The error of a plain request in a time that is no RFC 3339: v0.1.2 refuses the whole request. SQLite's own form of a
/// base is taken: one of the SDKs sends the text of its CURRENT_TIMESTAMP, and would send it for ever. An empty base is none.
pub(crate) fn check_times(request: &PushRequest) -> Result<(), Fault> {
    let is_time = |text: &str| text.is_empty() || time::parse(text).is_some();
    let good = request.changes.iter().all(|record| {
        let at = record.client_updated_at.as_str();
        let is_rfc = at.is_empty() || at.contains('T');
        is_rfc && is_time(at) && record.base_updated_at.as_deref().is_none_or(is_time)
    });
    if good { Ok(()) } else { Err(Refusal::invalid("invalid request body").into()) }
}
