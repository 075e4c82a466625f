//! One push in its transaction: a savepoint and a stored verdict for each group.
//!
//! The stored verdict is read before any row of the group, so an accepted group stays accepted after
//! a schema change.

use std::cell::RefCell;
use std::collections::BTreeSet;

use rejoin_protocol::mutant::{self, Mutant};
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Cancel, Change, Ending, Group, Operation, PushRequest, Verdict};
use rejoin_protocol::wire::row::RowImage;

use crate::engine::batch::evaluate_all;
use crate::engine::budget::Budget;
use crate::engine::evaluate::{Evaluator, Outcome};
use crate::engine::hook::{Decision, ask_accepted};
use crate::engine::schema_gate;
use crate::engine::stage::not_staged;
use crate::engine::user_transaction::UserTransaction;
use crate::engine::verdict::{accepted, ended, from_stored, is_final, repeated, word};
use crate::error::Fault;
use crate::hooks::{AcceptedChanges, Changed, Hooks};
use crate::model::{Client, StoredVerdict};

/// A push in its transaction.
pub(super) struct PushSession<'a> {
    pub(super) request: &'a PushRequest,
    pub(super) evaluator: Evaluator<'a>,
    pub(super) client: &'a Client,
    pub(super) hooks: Option<&'a dyn Hooks>,
    pub(super) budget: &'a Budget<'a>,
    /// Groups that were accepted earlier from another copy of the file, although a group in their
    /// `after` is not accepted. A group names only the last group of a chain, so groups that depend
    /// on these are blocked.
    accepted_alone: RefCell<BTreeSet<String>>,
    undecided: RefCell<Vec<Undecided>>,
    /// Why the rights of its first group are not known.
    without_rights: Option<String>,
    /// The mutations whose rejection is stored, and had none before.
    rejected: RefCell<BTreeSet<String>>,
}

/// What a transaction has decided, besides its verdicts.
#[derive(Default)]
pub(super) struct Ended {
    pub(super) undecided: Vec<Undecided>,
    /// The number of rejections that were stored, of mutations that had none before.
    pub(super) rejections: usize,
}

/// A group that the store could not decide in this push.
pub(super) struct Undecided {
    pub(super) mutation: String,
    pub(super) why: String,
}

impl<'a> PushSession<'a> {
    pub(super) fn new(
        request: &'a PushRequest,
        evaluator: Evaluator<'a>,
        client: &'a Client,
        (hooks, without_rights): (Option<&'a dyn Hooks>, Option<String>),
        budget: &'a Budget<'a>,
    ) -> Self {
        let (accepted_alone, undecided) = (RefCell::default(), RefCell::default());
        let rejected = RefCell::default();
        Self {
            request,
            evaluator,
            client,
            hooks,
            budget,
            accepted_alone,
            undecided,
            without_rights,
            rejected,
        }
    }

    pub(super) fn into_ended(self) -> Ended {
        let rejections = self.rejected.into_inner().len();
        Ended { undecided: self.undecided.into_inner(), rejections }
    }
}

impl PushSession<'_> {
    /// Evaluates cancels, then groups, in their order, until the time of the transaction is over.
    /// Groups with hooks one by one, because the host decides on a group before the next group is
    /// written.
    pub(super) fn evaluate_all(
        &self,
        cancels: &[Cancel],
        groups: &[Group],
    ) -> Result<Vec<Verdict>, Fault> {
        let UserTransaction { writing, plan, .. } = self.evaluator.transaction;
        let is_over = || self.budget.is_slice_over(writing.is_awaited());
        let cancel = |at: usize| match cancels.get(at) {
            Some(cancel) => self.cancel(cancel),
            None => Err(Fault::Internal(String::from("a push has no such cancel"))),
        };
        let mut verdicts = evaluate_all(writing, None, cancels.len(), cancel, is_over)?;
        if verdicts.len() < cancels.len() || !verdicts.is_empty() && is_over() {
            return Ok(verdicts);
        }
        let plan = plan.filter(|_| self.hooks.is_none());
        let group = |at: usize| match groups.get(at) {
            Some(group) => self.group(at, group),
            None => Err(Fault::Internal(String::from("a push has no such group"))),
        };
        verdicts.extend(evaluate_all(writing, plan, groups.len(), group, is_over)?);
        Ok(verdicts)
    }

    /// Returns the verdict on a group: the stored one if the group is a repetition, else that of its evaluation.
    fn group(&self, at: usize, group: &Group) -> Result<Verdict, Fault> {
        let transaction = &self.evaluator.transaction;
        let stored = transaction.verdict(&group.id)?;
        if let Some(stored) = stored.filter(|_| !mutant::on(Mutant::VerdictForgotten)) {
            if let Some(verdict) = repeated(group, &stored)? {
                self.record_accepted_alone(group, &verdict)?;
                return Ok(self.within_room(verdict));
            }
        } else if group.seq < self.client.purged_below {
            let message = "the verdict on so old a mutation is no longer kept";
            return Ok(ended(group, Ending::Refused, code::EXPIRED, message));
        }
        if group.staged.is_some() {
            return Ok(not_staged(group));
        }
        self.check_schema()?;
        let Some(before) = self.left_by(&group.after)? else {
            let message = "depends on an earlier mutation that is not accepted";
            let verdict = Verdict {
                retryable: true,
                ..ended(group, Ending::Blocked, code::BLOCKED, message)
            };
            return self.store_rejection(group, verdict);
        };
        if let Some(why) = &self.without_rights {
            return self.undecided(group, why);
        }
        self.evaluator.own.begin(at, before);
        self.budget.begin_group(at);
        transaction.begin()?;
        let begun = self.evaluator.conflicts.len();
        let outcome = self.evaluate(group)?;
        if !matches!(outcome, Outcome::Accepted { .. }) {
            self.evaluator.forget(group);
        }
        match outcome {
            Outcome::Accepted { displaced } => {
                let kept = serde_json::to_string(&displaced)?;
                let verdict =
                    self.store_verdict(group, accepted(&group.id, group.attempt), Some(kept))?;
                transaction.keep()?;
                Ok(self.within_room(Verdict { displaced, ..verdict }))
            }
            Outcome::Refused(verdict) => self.refuse(group, verdict, begun),
            Outcome::Later(verdict) => {
                transaction.undo()?;
                self.evaluator.conflicts.discard(begun);
                Ok(verdict)
            }
            Outcome::Transient(message) => {
                if let Some(plan) = transaction.plan.filter(|plan| plan.is_together()) {
                    return Err(plan.fail());
                }
                transaction.undo()?;
                self.evaluator.conflicts.discard(begun);
                self.undecided(group, &message)
            }
        }
    }

    /// Rolls a rejected group back. `begun`: the number of conflicts before it.
    fn refuse(&self, group: &Group, verdict: Verdict, begun: usize) -> Result<Verdict, Fault> {
        let transaction = &self.evaluator.transaction;
        if verdict.code.as_deref() == Some(code::COLUMN_UNKNOWN) {
            // The column was removed. The device can determine whether the mutation wrote it or only
            // contains its default.
            let (version, hash) = (self.request.schema_version, self.request.schema_hash.as_str());
            schema_gate(transaction.writing, version, hash, false)?;
        }
        transaction.undo()?;
        let verdict = self.store_rejection(group, verdict)?;
        if verdict.verdict == Ending::Retry {
            self.evaluator.conflicts.discard(begun);
        } else {
            self.evaluator.conflicts.roll_back(begun);
        }
        Ok(verdict)
    }

    /// The answer to a group that the store could not decide: the device sends it again, unless
    /// this was its last try.
    fn undecided(&self, group: &Group, message: &str) -> Result<Verdict, Fault> {
        // The device shows this message; the id leads to the line of the server's log.
        let log_id = uuid::Uuid::new_v4().simple();
        let message = format!("the store could not decide: {message} (log_id {log_id})");
        let undecided = Undecided { mutation: group.id.clone(), why: message.clone() };
        self.undecided.borrow_mut().push(undecided);
        if group.last_try {
            // Stored, so that a late request of this attempt cannot be accepted.
            let verdict = ended(group, Ending::Refused, code::SERVER_FAULT, &message);
            return self.store_rejection(group, verdict);
        }
        Ok(Verdict { retryable: true, ..ended(group, Ending::Retry, code::TRANSIENT, &message) })
    }

    /// Evaluates the group; the host's hook decides on an accepted group.
    fn evaluate(&self, group: &Group) -> Result<Outcome, Fault> {
        let outcome = self.evaluator.group(group, self.request.schema_version)?;
        let (Some(hooks), Outcome::Accepted { displaced }) = (self.hooks, &outcome) else {
            return Ok(outcome);
        };
        let writing = self.evaluator.transaction.writing;
        let decision = ask_accepted(hooks, &self.accepted_group(group, displaced), writing)?;
        if let Some(plan) = self.evaluator.transaction.plan {
            plan.forget_rows();
        }
        match decision {
            Decision::Keep => Ok(outcome),
            Decision::Refuse(why) => {
                Ok(Outcome::Refused(ended(group, Ending::Rejected, code::HOOK_REFUSED, &why)))
            }
            Decision::Later(why) => {
                let verdict = ended(group, Ending::Retry, code::HOOK_LATER, &why);
                Ok(Outcome::Later(Verdict { retryable: true, ..verdict }))
            }
        }
    }

    /// Without deletes that found no row, because nothing shows that the user owned the row.
    fn accepted_group<'g>(
        &'g self,
        group: &'g Group,
        displaced: &[RowImage],
    ) -> AcceptedChanges<'g> {
        let is_real = |change: &&Change| {
            let found_none = |row: &RowImage| {
                row.absent && row.table_name == change.table_name && row.id == change.id
            };
            change.operation != Operation::Delete || !displaced.iter().any(found_none)
        };
        let changed = |change: &'g Change| Changed {
            table: &change.table_name,
            id: &change.id,
            operation: change.operation,
        };
        AcceptedChanges {
            user: self.evaluator.transaction.user,
            client_id: self.evaluator.client_id,
            mutation: Some(&group.id),
            action: group.action.as_ref(),
            now: self.evaluator.transaction.now,
            changes: group.changes.iter().filter(is_real).map(changed).collect(),
        }
    }

    /// Cancels a mutation. Unless it is already accepted, no late request can be accepted: the
    /// verdict holds for every attempt, also of a mutation that never arrived.
    pub(super) fn cancel(&self, cancel: &Cancel) -> Result<Verdict, Fault> {
        let transaction = &self.evaluator.transaction;
        let stored = transaction.verdict(&cancel.id)?;
        match &stored {
            Some(stored) if is_final(stored) => {
                return Ok(self.within_room(from_stored(stored, stored.attempt)?));
            }
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
            client_id: self.request.client_id.clone(),
            seq: cancel.seq,
            verdict: serde_json::to_string(&verdict)?,
            displaced: None,
            at: transaction.now.to_owned(),
        };
        transaction.put_verdict(&cancel.id, &stored)?;
        Ok(verdict)
    }

    /// The verdict without its before-images, if the response has no room for them: the device then
    /// uses the values that it knew.
    fn within_room(&self, mut verdict: Verdict) -> Verdict {
        let data = verdict.displaced.iter().filter_map(|image| image.data.as_ref());
        if !self.budget.sends_images(data.map(|data| data.get().len()).sum()) {
            verdict.displaced.clear();
        }
        verdict
    }

    /// A group is evaluated in the schema version in which it was written, if the server ever served
    /// it. Otherwise the device must migrate.
    fn check_schema(&self) -> Result<(), Fault> {
        let transaction = &self.evaluator.transaction;
        let (version, hash) = (self.request.schema_version, self.request.schema_hash.as_str());
        let present = &transaction.schema().manifest;
        if version == present.schema_version && hash == present.schema_hash {
            return Ok(());
        }
        if transaction.writing.manifest(version, Some(hash))?.is_some() {
            return Ok(());
        }
        schema_gate(transaction.writing, version, hash, false)
    }

    fn record_accepted_alone(&self, group: &Group, verdict: &Verdict) -> Result<(), Fault> {
        if verdict.verdict == Ending::Accepted && !self.all_accepted(&group.after)? {
            self.accepted_alone.borrow_mut().insert(group.id.clone());
        }
        Ok(())
    }

    /// Whether all of these mutations are accepted. Otherwise a group that depends on them is not
    /// evaluated.
    fn all_accepted(&self, after: &[String]) -> Result<bool, Fault> {
        self.left_by(after).map(|left| left.is_some())
    }

    /// The verdicts on those of these mutations that left other values than they sent; `None` if they
    /// are not all accepted.
    fn left_by(&self, after: &[String]) -> Result<Option<Vec<Verdict>>, Fault> {
        let transaction = &self.evaluator.transaction;
        let mut left = Vec::new();
        for mutation in after.iter().filter(|_| !mutant::on(Mutant::AfterIgnored)) {
            let stored = transaction.verdict(mutation)?;
            let accepted = stored.filter(|stored| stored.ending == word(Ending::Accepted));
            let Some(stored) =
                accepted.filter(|_| !self.accepted_alone.borrow().contains(mutation))
            else {
                return Ok(None);
            };
            if stored.verdict.contains("\"left\":") {
                left.push(from_stored(&stored, stored.attempt)?);
            }
        }
        Ok(Some(left))
    }

    /// Stores a verdict that does not accept the group. If the user has too many of them, nothing is
    /// decided: the device sends the group again later. One that replaces the verdict on an earlier
    /// attempt takes no room.
    fn store_rejection(&self, group: &Group, verdict: Verdict) -> Result<Verdict, Fault> {
        let is_new = self.evaluator.transaction.verdict(&group.id)?.is_none();
        let mut rejected = self.rejected.borrow_mut();
        // A group may be evaluated again, alone.
        if is_new && !rejected.contains(&group.id) {
            if rejected.len() >= self.budget.rejections() {
                let message =
                    "too many mutations of this user were rejected within an hour: send it later";
                let verdict = ended(group, Ending::Retry, code::TOO_MANY_REQUESTS, message);
                return Ok(Verdict { retryable: true, ..verdict });
            }
            rejected.insert(group.id.clone());
        }
        drop(rejected);
        self.store_verdict(group, verdict, None)
    }

    fn store_verdict(
        &self,
        group: &Group,
        verdict: Verdict,
        displaced: Option<String>,
    ) -> Result<Verdict, Fault> {
        let transaction = &self.evaluator.transaction;
        let stored = StoredVerdict {
            attempt: group.attempt,
            hash: group.hash.clone(),
            ending: String::from(word(verdict.verdict)),
            client_id: self.request.client_id.clone(),
            seq: group.seq,
            verdict: serde_json::to_string(&verdict)?,
            displaced,
            at: transaction.now.to_owned(),
        };
        transaction.put_verdict(&group.id, &stored)?;
        Ok(verdict)
    }
}
