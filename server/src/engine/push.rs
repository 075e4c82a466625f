//! Push by groups: O1 to O4, O9, O14. One transaction, a savepoint per group, a stored verdict for each.
//!
//! The verdict is looked up before anything of the group is read, so that what was accepted stays accepted whatever the
//! schema has become (O2). Every answer carries the touched rows as they stand at the end of the transaction (O3).

use std::collections::BTreeSet;

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{
    Ending, Group, PushAnswer, PushAsk, PushRequest, PushResponse, Verdict,
};
use rejoin_protocol::wire::row::RowImage;

use super::cursor;
use super::judge::{Judge, Outcome};
use super::{Caller, Engine, encode, held, registered, schema_gate, sight_of};
use crate::error::{Fault, Refusal};
use crate::store::{Client, Reading, StoredVerdict, Writing, write};

impl Engine {
    /// Answers a push of groups.
    pub(crate) fn push(
        &self,
        caller: &Caller,
        request: &PushRequest,
        ask: &PushAsk,
    ) -> Result<PushResponse, Fault> {
        self.check_push(request, ask)?;
        let now = self.now();
        write(&*self.store, &now, |writing| {
            let mut client = registered(writing, caller, &request.client_id)?;
            if cursor::is_of_another_life(writing, &ask.witness)? {
                tracing::warn!("a device knows a later log than this one: a new epoch begins");
                writing.new_epoch()?;
            }
            let life = writing.life()?;
            let held = held(writing, &caller.user)?;
            let mut answer = PushAnswer {
                request: ask.request,
                epoch: life.epoch.clone(),
                held: held.clone(),
                ..PushAnswer::default()
            };
            if ask.epoch == life.epoch {
                let push = Push { writing, caller, held: &held, now: &now, client: &client };
                for group in &ask.groups {
                    answer.verdicts.push(push.group(request, group)?);
                }
                answer.rows = push.rows(&ask.groups)?;
                answer.witness = cursor::seal(&cursor::at_head(writing, &[])?, &life.key)?;
                client.acked_below = client.acked_below.max(ask.acked_below);
                client.last_push_at = Some(now.clone());
                client.seen_at.clone_from(&now);
                writing.put_client(&caller.user, &request.client_id, &client)?;
            }
            let manifest = &writing.schema().manifest;
            Ok(PushResponse {
                accepted: Vec::new(),
                rejected: Vec::new(),
                checkpoint: 0,
                server_time: now.clone(),
                schema_version: manifest.schema_version,
                schema_hash: manifest.schema_hash.clone(),
                rejoin: Some(answer),
            })
        })
    }

    fn check_push(&self, request: &PushRequest, ask: &PushAsk) -> Result<(), Fault> {
        if !request.changes.is_empty() && !ask.groups.is_empty() {
            let message = "a push carries plain changes or groups, not both";
            return Err(Refusal::new(400, code::MIXED_PUSH, message).into());
        }
        let changes: usize = ask.groups.iter().map(|group| group.changes.len()).sum();
        check_size(ask.groups.len(), self.limits.groups, "groups")?;
        check_size(changes, self.limits.changes, "changes")
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
struct Push<'a> {
    writing: &'a dyn Writing,
    caller: &'a Caller,
    held: &'a [String],
    now: &'a str,
    client: &'a Client,
}

impl Push<'_> {
    fn group(&self, request: &PushRequest, group: &Group) -> Result<Verdict, Fault> {
        if let Some(stored) = self.writing.verdict(&self.caller.user, &group.id)? {
            if let Some(verdict) = repeated(group, &stored)? {
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
        let judge = Judge {
            writing: self.writing,
            user: &self.caller.user,
            held: self.held,
            now: self.now,
        };
        match judge.group(group, request.schema_version)? {
            Outcome::Accepted { displaced } => {
                let verdict = accepted(group);
                let verdict = self.keep(request, group, verdict, Some(displaced))?;
                self.writing.keep()?;
                Ok(verdict)
            }
            Outcome::Refused(verdict) => {
                self.writing.undo()?;
                self.keep(request, group, verdict, None)
            }
            Outcome::Transient(message) => {
                self.writing.undo()?;
                tracing::warn!(mutation = group.id, message, "nothing was decided");
                let message = "the store could not decide now";
                Ok(Verdict {
                    retryable: true,
                    ..ended(group, Ending::Retry, code::TRANSIENT, message)
                })
            }
        }
    }

    /// Content is judged in the schema in which it is written, if that was ever served; else the device must migrate.
    fn check_schema(&self, request: &PushRequest) -> Result<(), Fault> {
        let (version, hash) = (request.schema_version, request.schema_hash.as_str());
        if self.writing.manifest(version, Some(hash))?.is_some() {
            return Ok(());
        }
        schema_gate(self.writing, version, hash, false)
    }

    /// O4: judged only if everything it stands on is accepted.
    fn all_accepted(&self, after: &[String]) -> Result<bool, Fault> {
        for mutation in after {
            match self.writing.verdict(&self.caller.user, mutation)? {
                Some(stored) if stored.ending == word(Ending::Accepted) => {}
                _ => return Ok(false),
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
            ending: word(verdict.verdict),
            client_id: request.client_id.clone(),
            seq: group.seq,
            verdict: serde_json::to_string(&verdict)?,
            displaced,
            at: self.now.to_owned(),
        };
        self.writing.put_verdict(&self.caller.user, &group.id, &stored)?;
        Ok(verdict)
    }

    /// Every row that the groups name, as it stands now for this user (O3).
    fn rows(&self, groups: &[Group]) -> Result<Vec<RowImage>, Fault> {
        let named: BTreeSet<(&str, &str)> = groups
            .iter()
            .flat_map(|group| &group.changes)
            .map(|change| (change.table_name.as_str(), change.id.as_str()))
            .collect();
        let sight = sight_of(self.held);
        let reading: &dyn Reading = self.writing;
        let mut rows = Vec::with_capacity(named.len());
        for (table, id) in named {
            let Some(table) = reading.schema().table(table) else { continue };
            let row = match table.key_of(id) {
                Some(key) => reading.image(table, &key, &sight)?,
                None => None,
            };
            rows.push(encode::image(table, id, row.as_ref())?);
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
    let is_final =
        stored.ending == word(Ending::Accepted) || stored.ending == word(Ending::Cancelled);
    if !is_final && group.attempt > stored.attempt {
        return Ok(None);
    }
    let kept: Verdict = serde_json::from_str(&stored.verdict)?;
    // It is given for the attempt that was asked, or the device would wait for it for ever.
    Ok(Some(Verdict { attempt: group.attempt, ..kept }))
}

fn accepted(group: &Group) -> Verdict {
    Verdict {
        id: group.id.clone(),
        attempt: group.attempt,
        verdict: Ending::Accepted,
        code: None,
        retryable: false,
        table_name: None,
        record_id: None,
        column: None,
        message: None,
    }
}

pub(super) fn ended(group: &Group, ending: Ending, code: &str, message: &str) -> Verdict {
    Verdict {
        verdict: ending,
        code: Some(code.to_owned()),
        message: Some(message.to_owned()),
        ..accepted(group)
    }
}

/// The wire's word for an ending.
fn word(ending: Ending) -> String {
    String::from(match ending {
        Ending::Accepted => "accepted",
        Ending::Rejected => "rejected",
        Ending::Conflict => "conflict",
        Ending::Refused => "refused",
        Ending::Blocked => "blocked",
        Ending::Cancelled => "cancelled",
        Ending::Retry => "retry",
    })
}
