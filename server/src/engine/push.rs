//! Answers a push of groups in one transaction.
//!
//! `load` reads what the groups need, and `session` evaluates them; the writes are applied at the
//! end. The response contains every row that the request names, as it is at the end of the
//! transaction.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{
    Ending, Group, PushAnswer, PushAsk, PushRequest, PushResponse, Verdict,
};
use rejoin_protocol::wire::row::RowImage;

use super::conflict_log::ConflictLog;
use super::cursor::{self, LastAccepted};
use super::evaluate::Evaluator;
use super::user_transaction::UserTransaction;
use super::{Caller, Engine, encode, held};
use crate::error::{Fault, Refusal};
use crate::model::ReadScope;
use crate::store::{Reading, Writing, write};

pub(super) mod load;
mod session;

use session::PushSession;

/// A push that was answered.
pub(crate) struct Pushed {
    pub(crate) response: PushResponse,
    /// The end of the log after the push, if it was read.
    pub(crate) head: Option<i64>,
}

/// Answers a push of groups.
pub(crate) fn push(
    engine: &Engine,
    caller: &Caller,
    request: &PushRequest,
    ask: &PushAsk,
) -> Result<Pushed, Fault> {
    check_push(engine, request, ask)?;
    let now = engine.now();
    let hooks = engine.hooks.as_deref();
    let (mut response, conflicts, log) = write(&*engine.store, &now, |writing| {
        load::announce(writing, caller, &request.client_id, &ask.witness)?;
        let mut client = engine.registered(writing, caller, &request.client_id)?;
        if cursor::shows_restore(writing, &ask.witness)? {
            tracing::warn!("a device has read a later state of the log: starting a new epoch");
            writing.new_epoch()?;
        }
        let log = writing.log_state()?;
        let held = held(writing, &caller.user)?;
        let mut answer = PushAnswer {
            request: ask.request,
            epoch: log.epoch.clone(),
            held: held.clone(),
            ..PushAnswer::default()
        };
        let conflicts = ConflictLog::new(hooks);
        if ask.epoch == log.epoch {
            let user = caller.user.as_str();
            load::lock_keys(writing, ask)?;
            let plan = load::plan_of(writing, &engine.checks, (user, &held), ask)?;
            let plan = plan.as_ref();
            let transaction = UserTransaction { writing, plan, user, held: &held, now: &now };
            let evaluator = Evaluator {
                transaction,
                client_id: &request.client_id,
                conflicts: &conflicts,
                checks: &engine.checks,
            };
            let session = PushSession::new(request, evaluator, &client, hooks);
            for cancel in &ask.cancel {
                answer.verdicts.push(session.cancel(cancel)?);
            }
            answer.verdicts.extend(session.evaluate_all(&ask.groups)?);
            answer.rows = rows_of(writing, &held, ask)?;
            client.acked_below = client.acked_below.max(ask.acked_below);
            client.last_push_at = Some(now.clone());
            client.seen_at.clone_from(&now);
            writing.put_client(&caller.user, &request.client_id, &client)?;
        }
        let response = answered(writing, &now, answer);
        Ok((response, conflicts.into_all(), log))
    })?;
    engine.tell_conflicts(&conflicts);
    log_undecided(&response);
    let mut head = None;
    if let Some(answer) = response.rejoin.as_mut().filter(|_| ask.epoch == log.epoch) {
        // After the commit, because a log may assign positions to its entries then.
        let end = engine.store.end()?;
        let accepted = accepted_of(caller, request, ask, &answer.verdicts);
        answer.witness = cursor::witness(end, false, &log, accepted, &ask.witness)?;
        head = Some(end.0);
    }
    Ok(Pushed { response, head })
}

/// Logs the groups that the store could not decide. A request that fails has no verdicts: it is
/// logged as failed, at a limited rate.
fn log_undecided(response: &PushResponse) {
    let is_undecided = |code: &str| [code::TRANSIENT, code::SERVER_FAULT].contains(&code);
    for verdict in response.rejoin.iter().flat_map(|answer| &answer.verdicts) {
        if verdict.code.as_deref().is_some_and(is_undecided) {
            let why = verdict.message.as_deref();
            tracing::warn!(mutation = verdict.id, why, "nothing was decided");
        }
    }
}

fn check_push(engine: &Engine, request: &PushRequest, ask: &PushAsk) -> Result<(), Fault> {
    let is_ours = !ask.groups.is_empty() || !ask.cancel.is_empty();
    if !request.changes.is_empty() && is_ours {
        let message = "a push carries plain changes or groups, not both";
        return Err(Refusal::new(400, code::MIXED_PUSH, message).into());
    }
    let rows = |group: &Group| group.changes.len() + group.reads.len();
    let changes: usize = ask.groups.iter().map(rows).sum();
    let named: usize = ask.cancel.iter().map(|cancel| cancel.rows.len()).sum();
    check_size(ask.groups.len() + ask.cancel.len(), engine.limits.groups, "groups")?;
    check_size(changes + named, engine.limits.changes, "changes")
}

/// The last mutation that this push accepted.
fn accepted_of(
    caller: &Caller,
    request: &PushRequest,
    ask: &PushAsk,
    verdicts: &[Verdict],
) -> Option<LastAccepted> {
    let is_accepted = |group: &&Group| {
        let of = |verdict: &&Verdict| verdict.id == group.id;
        verdicts.iter().find(of).is_some_and(|verdict| verdict.verdict == Ending::Accepted)
    };
    let last = ask.groups.iter().filter(is_accepted).max_by_key(|group| group.seq)?;
    Some(LastAccepted {
        user: caller.user.clone(),
        client_id: request.client_id.clone(),
        mutation: last.id.clone(),
        seq: last.seq,
    })
}

/// The response with the members of v0.1.2 around the answer.
fn answered(writing: &dyn Writing, now: &str, answer: PushAnswer) -> PushResponse {
    let manifest = &writing.schema().manifest;
    PushResponse {
        accepted: Vec::new(),
        rejected: Vec::new(),
        checkpoint: 0,
        server_time: now.to_owned(),
        schema_version: manifest.schema_version,
        schema_hash: manifest.schema_hash.clone(),
        rejoin: Some(answer),
    }
}

/// Rejects a push that is too large (413).
pub(super) fn check_size(found: usize, most: usize, what: &str) -> Result<(), Fault> {
    if found <= most {
        return Ok(());
    }
    let message = format!("{found} {what} in one push, at most {most}: send fewer");
    Err(Refusal::new(413, code::TOO_LARGE, message).into())
}

/// Every row that the request names, in its present state for this user.
fn rows_of(reading: &dyn Reading, held: &[String], ask: &PushAsk) -> Result<Vec<RowImage>, Fault> {
    let changes = ask.groups.iter().flat_map(|group| &group.changes);
    let read = ask.groups.iter().flat_map(|group| &group.reads);
    let cancelled = ask.cancel.iter().flat_map(|cancel| &cancel.rows);
    let mut named: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (table, id) in changes
        .map(|change| (change.table_name.as_str(), change.id.as_str()))
        .chain(read.map(|row| (row.table_name.as_str(), row.id.as_str())))
        .chain(cancelled.map(|row| (row.table_name.as_str(), row.id.as_str())))
    {
        named.entry(table).or_default().insert(id);
    }
    let scope = ReadScope::of(held);
    let mut rows = Vec::new();
    for (table, ids) in named {
        let Some(table) = reading.schema().table(table) else { continue };
        let keys: Vec<_> = ids.iter().map(|id| table.key_of(id)).collect();
        let (mut ids, mut done) = (ids.into_iter(), Ok(()));
        reading.images(table, &keys, &scope, &mut |row| {
            let Some(id) = ids.next() else { return false };
            done = encode::image(table, id, row.as_ref()).map(|image| rows.push(image));
            done.is_ok()
        })?;
        done?;
    }
    Ok(rows)
}
