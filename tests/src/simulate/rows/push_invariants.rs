//! Invariants of what a device pushes, in order. No content is offered again after a conflict. An
//! action is accepted only while its reads are current. A mutation that depends on a verdict waits
//! for it. An accepted mutation is applied whole and to the columns meant. An undo reverts only its
//! own edit.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_core::engine::queue::mutation::{Mutation, ParkReason};
use rejoin_core::engine::rows::patch::{ColumnPatch, PatchKind, RowPatch};
use rejoin_core::engine::schema::model::Schema;
use rejoin_core::ids::{MutationId, Seq};
use rejoin_protocol::wire::push::{Ending, Group, Operation};
use serde_json::value::RawValue;

use super::device_state;
use super::exceptions::{DISPLACED, FOLLOWS, READS};
use super::history::{Name, Rows};
use super::mutations::{ActionCall, number};
use super::pushes::{AnsweredPush, PushedGroup, cells};
use super::run::RowsRun;
use super::schema::{self, TINT};
use crate::simulate::{Checked, broken};

/// Number of conflicts after which an edit is forced, or left to the app.
const CONFLICTS: u32 = 4;

/// A mutation that was discarded after it was sent.
#[derive(Debug, Clone)]
pub(super) struct WithdrawnMutation {
    pub(super) id: MutationId,
    pub(super) seq: Seq,
    pub(super) rows: Vec<Name>,
}

/// The conflicts of a mutation since the app's last decision.
#[derive(Debug)]
struct Conflicts {
    attempt: i64,
    /// What it compared and wrote; none if an action before it ran again for the same verdicts.
    content: Option<String>,
    /// The number of the server's changes until then.
    tick: usize,
    times: u32,
}

/// The mutations offered so far.
#[derive(Debug, Default)]
pub(super) struct PushHistory {
    /// Devices that have sent a mutation: copies of a file send the same.
    senders: BTreeMap<String, BTreeSet<usize>>,
    conflicts: BTreeMap<String, Conflicts>,
    /// Cells that a mutation was accepted for, and their previous values.
    displaced: BTreeMap<(String, Name, String), Option<String>>,
}

impl PushHistory {
    /// Resets the conflicts after an app's decision, a change of access, or a reset: content that
    /// was in conflict may be offered again.
    pub(super) fn forget_conflicts(&mut self) {
        self.conflicts.clear();
    }

    /// Whether only this device ever sent it.
    pub(super) fn has_one_sender(&self, id: MutationId) -> bool {
        self.senders.get(&id.to_string()).is_none_or(|devices| devices.len() == 1)
    }
}

impl RowsRun<'_> {
    /// Checks the pushes since the last call.
    pub(super) fn check_pushes(&mut self, at: usize, received: bool) -> Checked {
        for push in self.server.pushes.take() {
            self.check_later_edit_wins(&push)?;
            self.check_repeated_offer(at, &push, received)?;
            self.check_reads(&push)?;
            self.check_follower_sent(at, &push.groups)?;
            self.check_read_order(&push.groups)?;
            let schema = self.slots[at].device.engine().schema().clone();
            for PushedGroup { group, fresh, .. } in &push.groups {
                if *fresh {
                    self.check_columns(&schema, group)?;
                    self.check_named_versions(at, group)?;
                }
                for change in &group.changes {
                    self.check_version(at, change)?;
                    self.check_recreated_row(group, change)?;
                }
            }
            self.record_displaced(&push);
        }
        Ok(())
    }

    /// After a conflict the same content is not offered again while its rows are unchanged, and in
    /// the end it is forced. A conflict whose response the device did not receive changes nothing
    /// for the device.
    fn check_repeated_offer(&mut self, at: usize, push: &AnsweredPush, received: bool) -> Checked {
        let history = self.server.history();
        let mut run_again: BTreeSet<Name> = BTreeSet::new();
        for PushedGroup { group, verdict, .. } in &push.groups {
            let senders = self.push_history.senders.entry(group.id.clone()).or_default();
            senders.insert(at);
            let is_conflict =
                verdict.as_ref().is_some_and(|verdict| verdict.verdict == Ending::Conflict);
            if !is_conflict || senders.len() > 1 {
                continue;
            }
            let rows = named(group);
            // What such an edit compares follows the action's runs. A sent one compares what an
            // earlier run wrote, and may come to the same again (seed 12012449).
            let follows_a_run = rows.iter().any(|row| run_again.contains(row));
            let content = format!("{:?} {:?}", group.changes, group.reads);
            let content = Some(content).filter(|_| !follows_a_run);
            if !group.reads.is_empty() {
                run_again.extend(rows.iter().cloned());
            }
            let mut times = 1;
            if let Some(before) = self.push_history.conflicts.get(&group.id) {
                // An earlier attempt may arrive late.
                if before.attempt >= group.attempt {
                    continue;
                }
                times += before.times;
                let mut since = history.changes.iter().skip(before.tick);
                let is_same = content.is_some() && before.content == content;
                if is_same && !since.any(|change| rows.contains(&change.name)) {
                    return broken!(
                        "conflict-is-not-offered-again",
                        "nothing has changed, and it is offered again: {group:?}"
                    );
                }
            }
            if times > CONFLICTS && !group.old_only {
                return broken!(
                    "conflicts-are-bounded",
                    "{times} conflicts, and it is not forced: {group:?}"
                );
            }
            if !received {
                continue;
            }
            let (attempt, tick) = (group.attempt, push.changes.end);
            let conflicts = Conflicts { attempt, content, tick, times };
            self.push_history.conflicts.insert(group.id.clone(), conflicts);
        }
        Ok(())
    }

    /// The values that an action has read by key are current when it is accepted.
    fn check_reads(&self, push: &AnsweredPush) -> Checked {
        let rows = push.before.iter().filter(|(name, _)| name.0 == "tallies");
        let mut tallies: BTreeMap<&str, Option<i64>> =
            rows.map(|(name, row)| (name.1.as_str(), number(row, "m"))).collect();
        for PushedGroup { group, .. } in push.groups.iter().filter(|one| one.fresh) {
            let written = MutationId::parse(&group.id).and_then(|id| self.mutations.get(id));
            let written = written.filter(|one| !one.retried && !self.is_excepted(READS, one));
            if let Some(ActionCall::Vouch(_, of, m)) = written.and_then(|one| one.call.as_ref())
                && let Some(is) = tallies.get(of.as_str()).filter(|is| **is != Some(*m))
            {
                return broken!(READS, "{} vouches for {m} of {of}, which has {is:?}", group.id);
            }
            for change in group.changes.iter().filter(|change| change.table_name == "tallies") {
                let mut sent = cells(change.data.as_deref().map(RawValue::get)).into_iter();
                if let Some((_, m)) = sent.find(|(column, _)| column == "m") {
                    tallies.insert(&change.id, m.and_then(|m| m.parse().ok()));
                }
            }
        }
        Ok(())
    }

    /// An action that read what an earlier action wrote is accepted only after it.
    fn check_read_order(&self, push: &[PushedGroup]) -> Checked {
        let call = |id: &str| {
            let written = self.mutations.get(MutationId::parse(id)?)?;
            written.call.clone().filter(|_| !self.is_excepted(FOLLOWS, written))
        };
        for (at, one) in push.iter().enumerate() {
            let reader = call(&one.group.id).filter(|_| one.fresh);
            let Some(ActionCall::CopyNumber(_, of)) = reader else { continue };
            for earlier in push[..at].iter().filter(|earlier| !earlier.accepted) {
                if matches!(call(&earlier.group.id), Some(ActionCall::Take(tally, _)) if tally == of)
                {
                    let (id, took) = (&one.group.id, &earlier.group.id);
                    return broken!(FOLLOWS, "{id} read what {took} wrote, which was not accepted");
                }
            }
        }
        Ok(())
    }

    /// An accepted mutation was written to the columns meant, and completely.
    fn check_columns(&self, schema: &Schema, group: &Group) -> Checked {
        let Some(written) = MutationId::parse(&group.id).and_then(|id| self.mutations.get(id))
        else {
            return Ok(());
        };
        for change in &group.changes {
            let sent = cells(change.data.as_deref().map(RawValue::get));
            let name = (change.table_name.clone(), change.id.clone());
            let is = self.server.identity();
            let tint = sent.iter().find(|(column, _)| column == TINT);
            if let Some((_, tint)) = tint
                && !schema::is_intended_column(&written.columns, &written.cells, &name, (is, tint))
            {
                return broken!(
                    "column-is-the-one-meant",
                    "{} wrote {tint:?} to column {is:?}: {written:?}",
                    group.id
                );
            }
            let mut rows = written.first.effect.rows.iter();
            let of_row =
                |patch: &&RowPatch| device_state::name(schema, patch).as_ref() == Some(&name);
            let Some(patch) = rows.find(of_row).filter(|_| written.first.action.is_none()) else {
                continue;
            };
            let table = schema.table(patch.row.table);
            let is_open = |column: &&ColumnPatch| {
                let at = table.and_then(|table| table.position(column.column));
                let known = table.zip(at).map(|(table, at)| &table.columns[at]);
                column.is_change() && known.is_none_or(|column| !column.protected)
            };
            let open = patch.columns.iter().filter(is_open).count();
            let is_update =
                patch.kind == PatchKind::Update && change.operation == Operation::Update;
            if is_update && sent.len() < open {
                return broken!(
                    "mutation-is-applied-whole",
                    "{} wrote {patch:?}, and was accepted for {sent:?}",
                    group.id
                );
            }
        }
        Ok(())
    }

    /// A mutation on rows of a discarded one is not sent before the verdict on that one.
    fn check_follower_sent(&self, at: usize, push: &[PushedGroup]) -> Checked {
        for open in &self.slots[at].open {
            let follows = |group: &&Group| {
                group.seq > open.seq.0
                    && group.id != open.id.to_string()
                    && named(group).iter().any(|name| open.rows.contains(name))
            };
            if let Some(group) = push.iter().map(|one| &one.group).find(follows) {
                return broken!(
                    "follower-waits-for-verdict",
                    "{} was discarded and has no verdict: {group:?}",
                    open.id
                );
            }
        }
        Ok(())
    }

    /// Such a mutation is not checked for conflicts with pulled rows either.
    pub(super) fn check_follower_parked(&self, at: usize, parked: &Mutation) -> Checked {
        let Some(written) = self.mutations.get(parked.id) else { return Ok(()) };
        if parked.reason != Some(ParkReason::Conflicted) || written.rows.len() > 1 {
            return Ok(());
        }
        let open = self.open_withdrawals(at);
        match open.iter().find(|open| open.rows.iter().any(|name| written.rows.contains(name))) {
            None => Ok(()),
            Some(open) => broken!(
                "follower-is-not-compared",
                "{} was discarded and has no verdict, and this is parked: {parked:?}",
                open.id
            ),
        }
    }

    /// The mutations that a device has discarded and that have no verdict.
    pub(super) fn open_withdrawals(&self, at: usize) -> Vec<WithdrawnMutation> {
        let slot = &self.slots[at];
        if slot.withdrawn.is_empty() {
            return Vec::new();
        }
        let open = slot.device.raw("SELECT group_concat(lower(hex(id)), ' ') FROM rejoin_cancel");
        let is_open =
            |one: &&WithdrawnMutation| open.contains(&one.id.to_string().replace('-', ""));
        slot.withdrawn.iter().filter(is_open).cloned().collect()
    }

    fn record_displaced(&mut self, push: &AnsweredPush) {
        let fresh = || push.groups.iter().filter(|one| one.fresh).map(|one| &one.group);
        for group in fresh() {
            for change in &group.changes {
                let name = (change.table_name.clone(), change.id.clone());
                let is_sole = fresh().filter(|one| named(one).contains(&name)).count() == 1;
                let Some(row) = push.before.get(&name).filter(|_| is_sole) else { continue };
                for (column, _) in cells(change.data.as_deref().map(RawValue::get)) {
                    let was = row.get(&column).cloned();
                    self.push_history
                        .displaced
                        .insert((group.id.clone(), name.clone(), column), was);
                }
            }
        }
    }

    /// An undo reverts the mutation's changes on the server, where they are still present, and
    /// nothing else.
    pub(super) fn check_undo(
        &mut self,
        at: usize,
        id: MutationId,
        made: MutationId,
        view: &Rows,
    ) -> Checked {
        let schema = self.slots[at].device.engine().schema().clone();
        let (Some(done), Some(undo)) = (self.mutations.get(id), self.mutations.get(made)) else {
            return Ok(());
        };
        if done.first.action.is_some() {
            return Ok(());
        }
        let row_of = |patch: &RowPatch| device_state::name(&schema, patch);
        for patch in &undo.first.effect.rows {
            let name = row_of(patch);
            let Some(name) = name else { continue };
            let own = done.first.effect.rows.iter().find(|own| row_of(own).as_ref() == Some(&name));
            let Some(own) = own else {
                return broken!(
                    "undo-takes-back-its-own-edit",
                    "{id} did nothing to {name:?}, and its undo does"
                );
            };
            let wrote: BTreeMap<_, _> = device_state::written(&schema, own).into_iter().collect();
            let current_row = view.get(&name);
            let back = match patch.kind {
                PatchKind::Update => device_state::written(&schema, patch),
                PatchKind::Delete => device_state::written(&schema, own),
                PatchKind::Insert => continue,
            };
            for (column, back) in back.iter().filter(|(column, _)| is_compared(column)) {
                let mine = wrote.get(column);
                let current = current_row.and_then(|row| row.get(column)).cloned();
                if mine != Some(&current) {
                    return broken!(
                        "undo-takes-back-its-own-edit",
                        "{id} wrote {mine:?} into {name:?}, its undo finds {current:?}"
                    );
                }
                let key = (id.to_string(), name.clone(), column.clone());
                let is_known =
                    self.push_history.has_one_sender(id) && !self.is_excepted(DISPLACED, done);
                let is_wrong = |was: &&Option<String>| Some(*was) == mine || *was != back;
                let was = self.push_history.displaced.get(&key).filter(is_wrong);
                if let Some(was) = was.filter(|_| is_known && patch.kind == PatchKind::Update) {
                    return broken!(
                        DISPLACED,
                        "{id} displaced {was:?} in {name:?}, and goes back to {back:?}"
                    );
                }
            }
        }
        Ok(())
    }
}

fn is_compared(column: &str) -> bool {
    ["name", "note", "level"].contains(&column)
}

fn named(group: &Group) -> Vec<Name> {
    let changes = group.changes.iter().map(|one| (one.table_name.clone(), one.id.clone()));
    let reads = group.reads.iter().map(|one| (one.table_name.clone(), one.id.clone()));
    changes.chain(reads).collect()
}
