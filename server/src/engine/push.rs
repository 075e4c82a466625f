//! Answers a push of groups: in one transaction, or in several short ones where a transaction
//! excludes all others.
//!
//! `load` reads what the groups need, and `session` evaluates them; the writes are applied at the
//! end. The response contains the rows that the request names, as they are at the end of the last
//! transaction. Groups for which there is no time ([`Budget`]) are sent again; rows and
//! before-images for which there is no room are left out, and the device pulls the rows.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_protocol::limits::GROUP_CHANGES;
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{
    Ending, Group, PushAnswer, PushAsk, PushRequest, PushResponse, Verdict,
};
use rejoin_protocol::wire::row::RowImage;

use super::budget::{Budget, check_size};
use super::conflict_log::ConflictLog;
use super::cursor::{self, LastAccepted};
use super::evaluate::Evaluator;
use super::own_writes::OwnWrites;
use super::stage;
use super::user_transaction::UserTransaction;
use super::verdict::unfinished;
use super::{Caller, Engine, encode};
use crate::error::{Fault, Refusal};
use crate::hooks::Conflict;
use crate::model::{Client, LogState, ReadScope, Row};
use crate::store::{End, Reading, Writing, write_to_end};

mod left;
pub(super) mod load;
pub(crate) mod own_rights;
mod session;

use own_rights::Slice;
use session::{Ended, PushSession, Undecided};

/// A push that was answered.
pub(crate) struct Pushed {
    pub(crate) response: PushResponse,
    /// The end of the log after the push, if it was read.
    pub(crate) head: Option<i64>,
}

/// Answers a push of groups; a staged group as if the request had its content.
pub(crate) fn push(
    engine: &Engine,
    caller: &Caller,
    request: &PushRequest,
    ask: &PushAsk,
) -> Result<Pushed, Fault> {
    let Some(staged) = ask.groups.iter().find_map(|group| group.staged.as_ref()) else {
        return push_groups(engine, caller, (request, ask), engine.limits.changes);
    };
    let _turn = stage::turn(engine)?;
    let client_id = request.client_id.as_str();
    let whole = stage::with_content(engine, caller, client_id, (ask, staged))?;
    let whole = whole.as_ref().unwrap_or(ask);
    let pushed = push_groups(engine, caller, (request, whole), GROUP_CHANGES)?;
    let verdicts = pushed.response.rejoin.iter().flat_map(|answer| &answer.verdicts);
    let mut verdicts = verdicts.filter(|verdict| verdict.verdict != Ending::Retry);
    if verdicts.any(|verdict| ask.groups.iter().any(|group| group.id == verdict.id)) {
        stage::forget(engine, caller, client_id)?;
    }
    Ok(pushed)
}

fn push_groups(
    engine: &Engine,
    caller: &Caller,
    (request, ask): (&PushRequest, &PushAsk),
    most: usize,
) -> Result<Pushed, Fault> {
    check_push(engine, (request, ask), most)?;
    let budget = Budget::new(engine, &caller.user);
    let mut verdicts = Vec::new();
    let (mut response, log, end) = loop {
        let (Part { answered, ended, conflicts }, end) =
            push_part(engine, caller, (request, ask), &budget, &mut verdicts)?;
        engine.tell_conflicts(&conflicts);
        // After the commit: a request that fails is logged as failed, at a limited rate.
        for Undecided { mutation, why } in ended.undecided {
            tracing::warn!(mutation, why, "nothing was decided");
        }
        if let Some((response, log)) = answered {
            break (response, log, end);
        }
    };
    // Of after the commit, because a log may assign positions to its entries then. Without it, nothing is answered: the
    // commit may not be on disk yet.
    let end = end?;
    let mut head = None;
    if let Some(answer) = response.rejoin.as_mut().filter(|_| ask.epoch == log.epoch) {
        let accepted = accepted_of(caller, request, ask, &verdicts);
        answer.witness = cursor::witness(end, false, &log, accepted, &ask.witness)?;
        let decided = verdicts.len().saturating_sub(ask.cancel.len());
        verdicts.extend(ask.groups.iter().skip(decided).map(unfinished));
        answer.verdicts = verdicts;
        head = Some(end.0);
    }
    Ok(Pushed { response, head })
}

/// What one transaction of a push has done.
struct Part {
    /// The response without verdicts, and the log's state, if this was the last transaction.
    answered: Option<(PushResponse, LogState)>,
    ended: Ended,
    conflicts: Vec<Conflict>,
}

/// Evaluates the cancels and groups that have no verdict yet, until the time of the transaction is
/// over, and adds their verdicts. With the end of the log after the commit.
fn push_part(
    engine: &Engine,
    caller: &Caller,
    (request, ask): (&PushRequest, &PushAsk),
    budget: &Budget<'_>,
    verdicts: &mut Vec<Verdict>,
) -> Result<(Part, Result<End, Fault>), Fault> {
    let now = engine.now();
    let hooks = engine.hooks.as_deref();
    let begun = verdicts.len();
    let cancels = ask.cancel.get(begun..).unwrap_or_default();
    let left = ask.groups.get(begun.saturating_sub(ask.cancel.len())..).unwrap_or_default();
    let ((part, found), end) = write_to_end(&*engine.store, &now, |writing| {
        budget.begin_slice(writing.batch().is_none());
        load::announce(writing, caller, &request.client_id, &ask.witness)?;
        let mut client = engine.registered(writing, caller, &request.client_id)?;
        if cursor::shows_restore(writing, &ask.witness)? {
            tracing::warn!("a device has read a later state of the log: starting a new epoch");
            writing.new_epoch()?;
        }
        check_verdicts(engine, writing, caller, (request, ask), &client)?;
        let log = writing.log_state()?;
        let Slice { groups, rights, gives, undecided } =
            own_rights::slice(engine, (writing, caller, &now), (request, left), budget)?;
        let (held, epoch) = (cursor::shown(&rights.reads), log.epoch.clone());
        let mut answer = PushAnswer { request: ask.request, epoch, held, ..PushAnswer::default() };
        let conflicts = ConflictLog::new(hooks);
        let (mut found, mut ended, mut is_last) = (Vec::new(), Ended::default(), true);
        if ask.epoch == log.epoch {
            let user = caller.user.as_str();
            load::lock_keys(writing, groups)?;
            let plan = load::plan_of(writing, &engine.checks, (user, &rights), (cancels, groups))?;
            // One statement for all writes would not see the rights that the first of them give.
            let plan = plan.as_ref().filter(|_| !gives);
            let transaction = UserTransaction::new(writing, plan, user, (&rights, &now));
            let own = OwnWrites::default();
            let evaluator = Evaluator {
                transaction,
                client_id: &request.client_id,
                conflicts: &conflicts,
                checks: &engine.checks,
                budget,
                own: &own,
            };
            let session = PushSession::new(request, evaluator, &client, (hooks, undecided), budget);
            found = session.evaluate_all(cancels, groups)?;
            ended = session.into_ended();
            is_last = found.len() == cancels.len() + left.len() || budget.is_over();
            if is_last {
                answer.rows = rows_of(writing, &rights.reads, ask, (budget, &own))?;
            } else {
                left::compare(writing, &rights.reads, &own)?;
            }
            left::report(&transaction, &own, budget, (groups, &mut found))?;
            if is_last {
                client.acked_below = client.acked_below.max(ask.acked_below);
                client.last_push_at = Some(now.clone());
                client.seen_at.clone_from(&now);
                writing.put_client(&caller.user, &request.client_id, &client)?;
            }
        }
        let answered = is_last.then(|| (answered(writing, &now, answer), log));
        Ok((Part { answered, ended, conflicts: conflicts.into_all() }, found))
    })?;
    budget.end_slice(found.len() > cancels.len(), part.ended.rejections);
    count_rejections(engine, &caller.user, part.ended.rejections, &found);
    verdicts.extend(found);
    Ok((part, end))
}

/// Counts the rejections that were stored, and those for which the user has no room.
fn count_rejections(engine: &Engine, user: &str, stored: usize, found: &[Verdict]) {
    let is_limited = |verdict: &&Verdict| verdict.code.as_deref() == Some(code::TOO_MANY_REQUESTS);
    engine.rejections.take(user, stored, engine.clock.now());
    engine.rejections.count_refusals(found.iter().filter(is_limited).count());
}

/// Rejects cancels (429) of a device that leaves more verdicts unconfirmed than any device does: they
/// cost it nothing, and each is stored.
fn check_verdicts(
    engine: &Engine,
    reading: &dyn Reading,
    caller: &Caller,
    (request, ask): (&PushRequest, &PushAsk),
    client: &Client,
) -> Result<(), Fault> {
    if ask.cancel.is_empty() {
        return Ok(());
    }
    let confirmed = client.acked_below.max(ask.acked_below);
    let most = i64::from(engine.limits.verdicts_per_device);
    let kept = reading.verdicts_from(&caller.user, &request.client_id, confirmed, most)?;
    if kept < most {
        return Ok(());
    }
    let message = "the device has too many verdicts that it has not confirmed by `acked_below`";
    Err(Refusal { retryable: true, ..Refusal::new(429, code::TOO_MANY_REQUESTS, message) }.into())
}

/// Rejects a push that is malformed, or has more than `most` changes.
fn check_push(
    engine: &Engine,
    (request, ask): (&PushRequest, &PushAsk),
    most: usize,
) -> Result<(), Fault> {
    let is_ours = !ask.groups.is_empty() || !ask.cancel.is_empty();
    if !request.changes.is_empty() && is_ours {
        let message = "a push carries plain changes or groups, not both";
        return Err(Refusal::new(400, code::MIXED_PUSH, message).into());
    }
    let rows = |group: &Group| group.changes.len() + group.reads.len();
    let changes: usize = ask.groups.iter().map(rows).sum();
    let named: usize = ask.cancel.iter().map(|cancel| cancel.rows.len()).sum();
    check_size(ask.groups.len() + ask.cancel.len(), engine.limits.groups, "groups")?;
    check_size(changes + named, most, "changes")?;
    let groups = ask.groups.iter().map(|group| group.id.as_str());
    check_unique(groups.chain(ask.cancel.iter().map(|cancel| cancel.id.as_str())), "mutation")?;
    for group in &ask.groups {
        let reads = group.reads.iter().map(|row| (row.table_name.as_str(), row.id.as_str()));
        check_unique(reads, "row in `reads`")?;
    }
    Ok(())
}

/// Rejects a push that names something twice (400): one evaluation gives one answer, and each
/// repetition would cost as much again.
fn check_unique<T: Ord>(named: impl Iterator<Item = T>, what: &str) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    for name in named {
        if !seen.insert(name) {
            return Err(Refusal::invalid(format!("a {what} is named twice: name each once")).into());
        }
    }
    Ok(())
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

/// The rows that the request names, in their present state for this user, as far as there is room.
fn rows_of(
    reading: &dyn Reading,
    held: &[String],
    ask: &PushAsk,
    (budget, own): (&Budget<'_>, &OwnWrites),
) -> Result<Vec<RowImage>, Fault> {
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
            if let Some(row) = &row {
                own.compare(table, id, row);
            }
            if !budget.sends_images(row.as_ref().map_or(0, Row::weight)) {
                return !budget.is_over();
            }
            done = encode::image(table, id, row.as_ref()).map(|image| rows.push(image));
            done.is_ok()
        })?;
        done?;
    }
    Ok(rows)
}
