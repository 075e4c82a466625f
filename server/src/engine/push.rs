//! Push by groups: O1 to O4, O9, O14. One transaction, a savepoint per group, a stored verdict for each.
//!
//! The verdict is looked up before anything of the group is read, so that what was accepted stays accepted whatever the
//! schema has become (O2). Every answer carries the touched rows as they stand at the end of the transaction (O3).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{
    Cancel, Ending, Group, PushAnswer, PushAsk, PushRequest, PushResponse, Verdict,
};
use rejoin_protocol::wire::row::RowImage;

use super::cursor::{self, Accepted};
use super::hook::Met;
use super::judge::{Judge, Outcome};
use super::seen::Checks;
use super::{Caller, Engine, encode, held, run, schema_gate};
use crate::error::{Fault, Refusal};
use crate::hooks::Hooks;
use crate::model::{Client, ReadScope, StoredVerdict};
use crate::store::{Reading, Writing, write};
use rejoin_protocol::mutant::{self, Mutant};

/// A push that was answered.
pub(crate) struct Pushed {
    pub(crate) response: PushResponse,
    /// The log's end behind it, where it was looked at.
    pub(crate) head: Option<i64>,
}

impl Engine {
    /// Answers a push of groups.
    pub(crate) fn push(
        &self,
        caller: &Caller,
        request: &PushRequest,
        ask: &PushAsk,
    ) -> Result<Pushed, Fault> {
        self.check_push(request, ask)?;
        let now = self.now();
        let hooks = self.hooks.as_deref();
        let (mut response, met, log) = write(&*self.store, &now, |writing| {
            run::expect(writing, caller, &request.client_id, &ask.witness)?;
            let mut client = self.registered(writing, caller, &request.client_id)?;
            if cursor::is_of_another_life(writing, &ask.witness)? {
                tracing::warn!("a device knows a later log than this one: a new epoch begins");
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
            let met = Met::new(hooks);
            if ask.epoch == log.epoch {
                let push = Push {
                    writing,
                    caller,
                    held: &held,
                    now: &now,
                    client: &client,
                    client_id: &request.client_id,
                    hooks,
                    met: &met,
                    checks: &self.checks,
                    begun: Cell::new(0),
                    accepted_alone: RefCell::default(),
                };
                push.foresee(ask)?;
                for cancel in &ask.cancel {
                    answer.verdicts.push(push.cancel(request, cancel)?);
                }
                push.groups(request, &ask.groups, &mut answer.verdicts)?;
                answer.rows = push.rows(ask)?;
                client.acked_below = client.acked_below.max(ask.acked_below);
                client.last_push_at = Some(now.clone());
                client.seen_at.clone_from(&now);
                writing.put_client(&caller.user, &request.client_id, &client)?;
            }
            let response = answered(writing, &now, answer);
            Ok((response, met.into_all(), log))
        })?;
        self.tell_conflicts(&met);
        let mut head = None;
        if let Some(answer) = response.rejoin.as_mut().filter(|_| ask.epoch == log.epoch) {
            // Only now: a log may give its entries their positions when they have been committed (C1).
            let end = self.store.end()?;
            let accepted = accepted_of(caller, request, ask, &answer.verdicts);
            answer.witness = cursor::witness(end, &log, accepted, &ask.witness)?;
            head = Some(end.0);
        }
        Ok(Pushed { response, head })
    }

    fn check_push(&self, request: &PushRequest, ask: &PushAsk) -> Result<(), Fault> {
        let is_ours = !ask.groups.is_empty() || !ask.cancel.is_empty();
        if !request.changes.is_empty() && is_ours {
            let message = "a push carries plain changes or groups, not both";
            return Err(Refusal::new(400, code::MIXED_PUSH, message).into());
        }
        let rows = |group: &Group| group.changes.len() + group.reads.len();
        let changes: usize = ask.groups.iter().map(rows).sum();
        let named: usize = ask.cancel.iter().map(|cancel| cancel.rows.len()).sum();
        check_size(ask.groups.len() + ask.cancel.len(), self.limits.groups, "groups")?;
        check_size(changes + named, self.limits.changes, "changes")
    }
}

/// The last of what is accepted.
fn accepted_of(
    caller: &Caller,
    request: &PushRequest,
    ask: &PushAsk,
    verdicts: &[Verdict],
) -> Option<Accepted> {
    let is_accepted = |group: &&Group| {
        let of = |verdict: &&Verdict| verdict.id == group.id;
        verdicts.iter().find(of).is_some_and(|verdict| verdict.verdict == Ending::Accepted)
    };
    let last = ask.groups.iter().filter(is_accepted).max_by_key(|group| group.seq)?;
    Some(Accepted {
        user: caller.user.clone(),
        client_id: request.client_id.clone(),
        mutation: last.id.clone(),
        seq: last.seq,
    })
}

/// An answer in its frame.
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

/// Refuses what is too many (413).
pub(super) fn check_size(found: usize, most: usize, what: &str) -> Result<(), Fault> {
    if found <= most {
        return Ok(());
    }
    let message = format!("{found} {what} in one push, at most {most}: send fewer");
    Err(Refusal::new(413, code::TOO_LARGE, message).into())
}

/// A push under way.
pub(super) struct Push<'a> {
    pub(super) writing: &'a dyn Writing,
    pub(super) caller: &'a Caller,
    pub(super) held: &'a [String],
    pub(super) now: &'a str,
    client: &'a Client,
    pub(super) client_id: &'a str,
    pub(super) hooks: Option<&'a dyn Hooks>,
    met: &'a Met,
    pub(super) checks: &'a Checks,
    /// How many groups have got a savepoint.
    pub(super) begun: Cell<usize>,
    /// Groups that were accepted earlier, from another copy of the file, although a group in their `after` is not accepted.
    /// A group names only the last one of a chain, so groups that depend on these are blocked.
    accepted_alone: RefCell<BTreeSet<String>>,
}

impl Push<'_> {
    pub(super) fn group(&self, request: &PushRequest, group: &Group) -> Result<Verdict, Fault> {
        let stored = self.writing.verdict(&self.caller.user, &group.id)?;
        if let Some(stored) = stored.filter(|_| !mutant::on(Mutant::VerdictForgotten)) {
            if let Some(verdict) = repeated(group, &stored)? {
                self.record_accepted_alone(group, &verdict)?;
                return Ok(verdict);
            }
        } else if group.seq < self.client.purged_below {
            let message = "the verdict on so old a mutation is no longer kept";
            return Ok(ended(group, Ending::Refused, code::EXPIRED, message));
        }
        self.check_schema(request)?;
        if !self.all_accepted(&group.after)? {
            let message = "an earlier mutation that this one stands on is not accepted";
            let verdict = Verdict {
                retryable: true,
                ..ended(group, Ending::Blocked, code::BLOCKED, message)
            };
            return self.keep(request, group, verdict, None);
        }
        self.writing.begin()?;
        self.begun.set(self.begun.get() + 1);
        let begun = self.met.len();
        match self.judged(group, request.schema_version)? {
            Outcome::Accepted { displaced } => {
                let kept = serde_json::to_string(&displaced)?;
                let verdict =
                    self.keep(request, group, accepted(&group.id, group.attempt), Some(kept))?;
                self.writing.keep()?;
                Ok(Verdict { displaced, ..verdict })
            }
            Outcome::Refused(verdict) => {
                if verdict.code.as_deref() == Some(code::COLUMN_UNKNOWN) {
                    // A column that was removed since. The device knows whether the mutation wrote it, or only its default.
                    let (version, hash) = (request.schema_version, request.schema_hash.as_str());
                    schema_gate(self.writing, version, hash, false)?;
                }
                self.writing.undo()?;
                self.met.undone(begun);
                self.keep(request, group, verdict, None)
            }
            Outcome::Later(verdict) => {
                self.writing.undo()?;
                self.met.undecided(begun);
                Ok(verdict)
            }
            Outcome::Transient(message) => {
                self.writing.undo()?;
                self.met.undecided(begun);
                // The device shows it, and so names the line that says the rest.
                let log_id = uuid::Uuid::new_v4().simple().to_string();
                tracing::warn!(mutation = group.id, log_id, message, "nothing was decided");
                let message = format!("the store could not decide: {message} (log_id {log_id})");
                if group.last_try {
                    // Kept, so that a request of this attempt that comes late cannot be accepted any more.
                    let verdict = ended(group, Ending::Refused, code::SERVER_FAULT, &message);
                    return self.keep(request, group, verdict, None);
                }
                Ok(Verdict {
                    retryable: true,
                    ..ended(group, Ending::Retry, code::TRANSIENT, &message)
                })
            }
        }
    }

    /// How the group ends, by what stands there and by what the host says.
    fn judged(&self, group: &Group, version: i64) -> Result<Outcome, Fault> {
        let judge = Judge {
            writing: self.writing,
            user: &self.caller.user,
            held: self.held,
            now: self.now,
            checks: self.checks,
            client_id: self.client_id,
            met: self.met,
        };
        let judged = judge.group(group, version)?;
        self.heard(group, judged)
    }

    /// Withdraws a mutation: it was accepted already, or will never be, whatever comes late (O12). The verdict holds for
    /// every attempt, also of one that never came.
    fn cancel(&self, request: &PushRequest, cancel: &Cancel) -> Result<Verdict, Fault> {
        let stored = self.writing.verdict(&self.caller.user, &cancel.id)?;
        match &stored {
            Some(stored) if is_final(stored) => return told(stored, stored.attempt),
            None if cancel.seq < self.client.purged_below => {
                let message = "the verdict on so old a mutation is no longer kept";
                return Ok(Verdict {
                    verdict: Ending::Refused,
                    code: Some(code::EXPIRED.to_owned()),
                    message: Some(message.to_owned()),
                    ..accepted(&cancel.id, 0)
                });
            }
            _ => {}
        }
        let verdict = Verdict { verdict: Ending::Cancelled, ..accepted(&cancel.id, 0) };
        let stored = StoredVerdict {
            attempt: 0,
            hash: String::new(),
            ending: String::from(word(Ending::Cancelled)),
            client_id: request.client_id.clone(),
            seq: cancel.seq,
            verdict: serde_json::to_string(&verdict)?,
            displaced: None,
            at: self.now.to_owned(),
        };
        self.writing.put_verdict(&self.caller.user, &cancel.id, &stored)?;
        Ok(verdict)
    }

    /// Content is judged in the schema in which it is written, if that was ever served; else the device must migrate.
    fn check_schema(&self, request: &PushRequest) -> Result<(), Fault> {
        let (version, hash) = (request.schema_version, request.schema_hash.as_str());
        let present = &self.writing.schema().manifest;
        if version == present.schema_version && hash == present.schema_hash {
            return Ok(());
        }
        if self.writing.manifest(version, Some(hash))?.is_some() {
            return Ok(());
        }
        schema_gate(self.writing, version, hash, false)
    }

    fn record_accepted_alone(&self, group: &Group, verdict: &Verdict) -> Result<(), Fault> {
        if verdict.verdict == Ending::Accepted && !self.all_accepted(&group.after)? {
            self.accepted_alone.borrow_mut().insert(group.id.clone());
        }
        Ok(())
    }

    /// O4: judged only if everything it stands on is accepted.
    fn all_accepted(&self, after: &[String]) -> Result<bool, Fault> {
        for mutation in after.iter().filter(|_| !mutant::on(Mutant::AfterIgnored)) {
            let stored = self.writing.verdict(&self.caller.user, mutation)?;
            let is_accepted = stored.is_some_and(|stored| stored.ending == word(Ending::Accepted));
            if !is_accepted || self.accepted_alone.borrow().contains(mutation) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn keep(
        &self,
        request: &PushRequest,
        group: &Group,
        verdict: Verdict,
        displaced: Option<String>,
    ) -> Result<Verdict, Fault> {
        let stored = StoredVerdict {
            attempt: group.attempt,
            hash: group.hash.clone(),
            ending: String::from(word(verdict.verdict)),
            client_id: request.client_id.clone(),
            seq: group.seq,
            verdict: serde_json::to_string(&verdict)?,
            displaced,
            at: self.now.to_owned(),
        };
        self.writing.put_verdict(&self.caller.user, &group.id, &stored)?;
        Ok(verdict)
    }

    /// Every row that the request names, as it stands now for this user (O3).
    fn rows(&self, ask: &PushAsk) -> Result<Vec<RowImage>, Fault> {
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
        let scope = ReadScope::of(self.held);
        let reading: &dyn Reading = self.writing;
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
}

/// The verdict that is kept, if it holds for this attempt (O2).
fn repeated(group: &Group, stored: &StoredVerdict) -> Result<Option<Verdict>, Fault> {
    if group.attempt == stored.attempt && group.hash != stored.hash {
        let message = "this attempt came before with other content: number it as the next attempt";
        return Ok(Some(ended(group, Ending::Refused, code::HASH_MISMATCH, message)));
    }
    if !is_final(stored) && group.attempt > stored.attempt {
        return Ok(None);
    }
    // It is given for the attempt that was asked, or the device would wait for it for ever.
    told(stored, group.attempt).map(Some)
}

/// Whether a verdict holds for every attempt.
fn is_final(stored: &StoredVerdict) -> bool {
    stored.ending == word(Ending::Accepted) || stored.ending == word(Ending::Cancelled)
}

/// A verdict that is kept, with what was displaced.
fn told(stored: &StoredVerdict, attempt: i64) -> Result<Verdict, Fault> {
    let kept: Verdict = serde_json::from_str(&stored.verdict)?;
    // An earlier release kept the members in arrays, which are read as well.
    let displaced = stored.displaced.as_deref().and_then(|text| serde_json::from_str(text).ok());
    Ok(Verdict { attempt, displaced: displaced.unwrap_or_default(), ..kept })
}

fn accepted(id: &str, attempt: i64) -> Verdict {
    Verdict {
        id: id.to_owned(),
        attempt,
        verdict: Ending::Accepted,
        code: None,
        retryable: false,
        table_name: None,
        record_id: None,
        column: None,
        displaced: Vec::new(),
        message: None,
    }
}

pub(super) fn ended(group: &Group, ending: Ending, code: &str, message: &str) -> Verdict {
    Verdict {
        verdict: ending,
        code: Some(code.to_owned()),
        message: Some(message.to_owned()),
        ..accepted(&group.id, group.attempt)
    }
}

/// The wire's word for an ending.
pub(crate) fn word(ending: Ending) -> &'static str {
    match ending {
        Ending::Accepted => "accepted",
        Ending::Rejected => "rejected",
        Ending::Conflict => "conflict",
        Ending::Refused => "refused",
        Ending::Blocked => "blocked",
        Ending::Cancelled => "cancelled",
        Ending::Retry => "retry",
    }
}
