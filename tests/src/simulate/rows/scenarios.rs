//! Fixed sequences of steps that rarely occur by chance, each with its own random choices.

use fastrand::Rng;
use rejoin_core::Policy;
use rejoin_core::engine::queue::mutation::{Mutation, MutationState, ParkReason};
use rejoin_core::ids::MutationId;
use rejoin_core::sync::session::Phase;

use super::history::Name;
use super::invariants::CheckCause;
use super::mutations::ActionCall;
use super::run::{KINDS, RowsRun};
use super::schema::TINT;
use super::setting::USERS;
use crate::simulate::exchange::ExchangeRun as _;
use crate::simulate::{Checked, broken};
use crate::{Fault, Moment};

/// A sequence of steps.
#[derive(Debug, Clone, Copy)]
pub enum Scenario {
    /// An outside writer changes the same row before each push of a device arrives.
    RepeatedConflict,
    /// A sent mutation is discarded, its row is written again, and the verdict is delayed.
    WithdrawSent,
    /// Access is revoked before a push is answered, and granted again before the pull.
    LoseAccessBriefly,
    /// The log was compacted past a device's cursor. The device writes before the first page, and
    /// an outside writer deletes the row.
    WriteBeforeSnapshot,
    /// A pending mutation is edited although another write has overwritten it.
    EditOverwritten,
    /// A parked edit is retried, and no other writer changes anything.
    RetryParked,
    /// An outside writer makes the same change first, in a part of an edit that is then undone.
    UndoSharedWrite,
    /// An app of an older version, without actions, meets a conflict of one.
    OlderApp,
    /// An action in conflict has written what another has read.
    DependentActions,
    /// A cache has a shared page of a state that the server loses, and another device receives it.
    LostPage,
}

impl Scenario {
    pub(super) fn random(rng: &mut Rng) -> Self {
        use Scenario::{
            DependentActions, EditOverwritten, LoseAccessBriefly, LostPage, OlderApp,
            RepeatedConflict, RetryParked, UndoSharedWrite, WithdrawSent, WriteBeforeSnapshot,
        };
        [
            RepeatedConflict,
            WithdrawSent,
            LoseAccessBriefly,
            WriteBeforeSnapshot,
            EditOverwritten,
            RetryParked,
            RetryParked,
            UndoSharedWrite,
            OlderApp,
            DependentActions,
            LostPage,
        ][rng.usize(..11)]
    }
}

impl RowsRun<'_> {
    fn lose_shared_page(&mut self, at: usize, number: u32) -> Checked {
        self.server.back_up();
        for row in 0..KINDS {
            self.outside_sql(&format!(
                "INSERT INTO kinds (id, name) VALUES ('k{row}', 'l{number}')
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name"
            ));
        }
        self.reset(at)?;
        self.sync(at)?;
        self.restore();
        let other = (at + 1) % self.slots.len();
        self.reset(other)?;
        self.sync(other)?;
        self.report.count("a cached page of a lost state");
        Ok(())
    }

    pub(super) fn run_scenario(
        &mut self,
        at: usize,
        scenario: Scenario,
        number: u32,
        rng: &mut Rng,
    ) -> Checked {
        match scenario {
            Scenario::RepeatedConflict => self.repeat_conflict(at, number, rng),
            Scenario::WithdrawSent => self.withdraw_sent(at, number, rng),
            Scenario::LoseAccessBriefly => self.lose_access_briefly(at, number, rng),
            Scenario::WriteBeforeSnapshot => self.write_before_first_page(at, number, rng),
            Scenario::EditOverwritten => self.edit_overwritten(at, number, rng),
            Scenario::RetryParked => self.retry_parked(at, number, rng),
            Scenario::UndoSharedWrite => self.undo_shared_write(at, number, rng),
            Scenario::OlderApp => self.use_older_app(at, number, rng),
            Scenario::DependentActions => self.run_dependent_actions(at, rng),
            Scenario::LostPage => self.lose_shared_page(at, number),
        }
    }

    fn repeat_conflict(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let gives_way = |policy| matches!(policy, Policy::Rebase | Policy::KeepLocal);
        let fits = |name: &Name| gives_way(self.setting.policy(&name.0));
        let Some((table, id)) = self.own_row(at, rng, fits) else { return Ok(()) };
        let sql = format!("UPDATE {table} SET name = 'v{number}' WHERE id = '{id}'");
        let Some(mine) = self.write_mutation(at, &sql)? else { return Ok(()) };
        for turn in 0..7 {
            if !self.advance_to_push(at)? {
                return Ok(());
            }
            self.outside_sql(&format!(
                "UPDATE {table} SET name = 'w{number}.{turn}' WHERE id = '{id}'"
            ));
            self.exchanges(at, 1, None)?;
            self.report.count("an edit with a conflict at each push");
            let queue = &self.slots[at].state.queue;
            if queue.iter().all(|one| one.id != mine || one.state == MutationState::Parked) {
                break;
            }
        }
        Ok(())
    }

    fn withdraw_sent(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let Some((table, id)) = self.own_row(at, rng, |_| true) else { return Ok(()) };
        let write = |value: &str| format!("UPDATE {table} SET name = '{value}' WHERE id = '{id}'");
        let Some(mine) = self.write_mutation(at, &write(&format!("g{number}")))? else {
            return Ok(());
        };
        if !self.advance_to_push(at)? {
            return Ok(());
        }
        let fault = [Fault::AnswerLost, Fault::AnswerLost, Fault::RequestLost][rng.usize(..3)];
        self.exchanges(at, 1, Some((0, fault)))?;
        let queue = self.slots[at].state.queue.iter();
        let sent = |state| matches!(state, MutationState::Sent | MutationState::Uncertain);
        let Some(one) = queue.clone().find(|one| one.id == mine && sent(one.state)).cloned() else {
            return Ok(());
        };
        self.discard_mutation(at, &one, rng.bool())?;
        self.write_mutation(at, &write(&format!("h{number}")))?;
        if rng.bool()
            && self.advance_to_push(at)?
            && self.slots[at].device.push_undecided(&self.server).is_ok()
        {
            self.report.count("a withdrawal without a verdict yet");
            self.check_device(at, &CheckCause::Exchanged)?;
        }
        self.exchanges(at, rng.usize(1..7), None)
    }

    fn lose_access_briefly(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let user = self.slots[at].device.user.clone();
        let whose = USERS[rng.usize(..2)];
        if user == whose {
            return Ok(());
        }
        if !self.server.buckets(&user).contains(whose) {
            self.set_access(&user, whose, true);
            self.sync(at)?;
        }
        let view = self.slots[at].state.view.iter();
        let is_theirs = |name: &Name| name.0 == "items" || name.0 == "marks";
        let rows = view.filter(|(name, row)| {
            is_theirs(name) && row.get("user_id").is_some_and(|owner| owner == whose)
        });
        let Some((table, id)) = rng.choice(rows.map(|(name, _)| name.clone()).collect::<Vec<_>>())
        else {
            return Ok(());
        };
        let sql = format!("UPDATE {table} SET name = 'f{number}' WHERE id = '{id}'");
        if self.write_mutation(at, &sql)?.is_none() || !self.advance_to_push(at)? {
            return Ok(());
        }
        self.set_access(&user, whose, false);
        self.exchanges(at, 1, None)?;
        self.set_access(&user, whose, true);
        self.report.count("access missing while a push is answered");
        if rng.bool() {
            self.slots[at].crash();
        }
        self.sync(at)
    }

    fn write_before_first_page(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let first = self.slots[at].device.user[..1].to_owned();
        self.write_outside(number + 4_000, rng);
        self.compact(40);
        self.write_outside(number + 5_000, rng);
        if !self.advance_to(at, Phase::Snapshot)? {
            return Ok(());
        }
        self.exchanges(at, rng.usize(..2), None)?;
        self.slots[at].crash();
        self.check_device(at, &CheckCause::Opened)?;
        let id = format!("{first}{}", rng.u8(..=self.setting.rows));
        let has = self.slots[at].state.view.contains_key(&("marks".to_owned(), id.clone()));
        let sql = if has {
            format!("UPDATE marks SET name = 'n{number}' WHERE id = '{id}'")
        } else {
            format!("INSERT INTO marks (id, name) VALUES ('{id}', 'n{number}')")
        };
        self.write_mutation(at, &sql)?;
        if self.advance_to_push(at)? && self.advance_to(at, Phase::Snapshot)? {
            self.report.count("a write before the first page of a snapshot");
            self.outside_sql(&format!("DELETE FROM marks WHERE id = '{id}'"));
        }
        self.sync(at)
    }

    fn edit_overwritten(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let Some((table, id)) = self.own_row(at, rng, |_| true) else { return Ok(()) };
        let sql =
            format!("UPDATE {table} SET name = 'd{number}', note = 'd{number}' WHERE id = '{id}'");
        let Some(mine) = self.write_mutation(at, &sql)? else { return Ok(()) };
        self.write_mutation(
            at,
            &format!("UPDATE {table} SET note = 'c{number}' WHERE id = '{id}'"),
        )?;
        let queue = &self.slots[at].state.queue;
        match queue.iter().find(|one| one.id == mine).cloned() {
            Some(one) => self.edit_mutation(at, &one, number),
            None => Ok(()),
        }
    }

    /// A retry compares with what its author saw, so it is in no conflict while no other writer is
    /// active.
    fn retry_parked(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        self.sync(at)?;
        let parks = |name: &Name| self.setting.policy(&name.0) == Policy::AcceptServer;
        if let Some((table, id)) = self.own_row(at, rng, parks) {
            let write =
                |value| format!("UPDATE {table} SET name = '{value}{number}' WHERE id = '{id}'");
            self.write_mutation(at, &write('y'))?;
            self.outside_sql(&write('z'));
            self.sync(at)?;
        }
        // The pass may have begun before the last change on the server, which the app has not seen
        // then.
        if self.slots[at].stale || self.slots[at].pulled != self.server.history().tick() {
            return Ok(());
        }
        let base = &self.slots[at].state.base;
        let queue = &self.slots[at].state.queue;
        // Nor may a pending edit hide what another writer has written there.
        let is_hidden = |name: &Name| {
            let waiting = queue.iter().filter(|other| other.state != MutationState::Parked);
            let mut waiting = waiting.filter_map(|other| self.mutations.get(other.id));
            waiting.any(|other| other.rows.contains(name))
        };
        let fits = |id: MutationId| {
            self.mutations.get(id).is_some_and(|one| {
                !one.bad
                    // The other copy of the file may have retried it before, as the same attempt.
                    && !one.copied
                    && !one.cells.iter().any(|(name, column, _)| name.0 == "marks" && column == TINT)
                    && !one.rows.iter().any(is_hidden)
                    && one.first.action.is_none()
                    && self.push_history.has_one_sender(id)
                    && one.rows.iter().all(|name| {
                        let is_own = name.1.starts_with(&one.user[..1]);
                        is_own && base.contains_key(name) && ["items", "marks"].contains(&&*name.0)
                    })
            })
        };
        let parked = queue.iter().filter(|one| {
            one.state == MutationState::Parked
                && one.reason == Some(ParkReason::Conflicted)
                && fits(one.id)
        });
        let Some(one) = rng.choice(parked.collect::<Vec<_>>()).cloned() else { return Ok(()) };
        self.retry_mutation(at, &one, false)?;
        self.sync(at)?;
        self.report.count("a retry without other writers");
        let queue = &self.slots[at].state.queue;
        let still = queue
            .iter()
            .find(|other| other.id == one.id && other.reason == Some(ParkReason::Conflicted));
        match still {
            Some(still) => {
                broken!("retry-compares-with-what-was-seen", "offered again as it was: {still:?}")
            }
            None => Ok(()),
        }
    }

    fn undo_shared_write(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let Some((table, id)) = self.own_row(at, rng, |_| true) else { return Ok(()) };
        let whose = format!("WHERE id = '{id}'");
        let sql = format!("UPDATE {table} SET name = 'q{number}', note = 'q{number}' {whose}");
        let Some(mine) = self.write_mutation(at, &sql)? else { return Ok(()) };
        self.outside_sql(&format!("UPDATE {table} SET name = 'q{number}' {whose}"));
        self.sync(at)?;
        if self.slots[at].accepted.contains(&mine) {
            self.report.count("an undo of what another writer wrote in part");
            self.undo_mutation(at, mine, false)?;
        }
        Ok(())
    }

    /// A policy does not overwrite the row with an action that cannot run again.
    fn use_older_app(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        // Pending actions run again in this app; in the older one they would not.
        self.sync(at)?;
        let waits = |one: &Mutation| one.action.is_some() && one.state != MutationState::Parked;
        if self.slots[at].state.queue.iter().any(waits) {
            return Ok(());
        }
        let user = self.slots[at].device.user.clone();
        let tally = format!("{}t", &user[..1]);
        let count = ActionCall::Count(tally.clone(), i64::from(rng.u8(1..5)));
        self.perform_call(at, count, rng)?;
        // More than the action takes: if both leave the same value, an app that cannot run it again
        // sees no conflict and leaves it to the server.
        self.outside_sql(&format!(
            "UPDATE tallies SET n = n - 7 WHERE id = '{tally}';
             INSERT INTO takings (id, tally_id, n, user_id) VALUES ('w{number}', '{tally}', 7, '{user}')"
        ));
        self.slots[at].is_older = true;
        self.slots[at].crash();
        self.check_device(at, &CheckCause::Opened)?;
        self.sync(at)?;
        self.report.count("an app without its former actions");
        self.slots[at].is_older = false;
        self.slots[at].crash();
        self.check_device(at, &CheckCause::Opened)
    }

    fn run_dependent_actions(&mut self, at: usize, rng: &mut Rng) -> Checked {
        self.sync(at)?;
        let Some((_, mark)) = self.own_row(at, rng, |name| name.0 == "marks") else {
            return Ok(());
        };
        let tally = format!("{}t", &self.slots[at].device.user[..1]);
        self.perform_call(at, ActionCall::Take(tally.clone(), 1), rng)?;
        self.perform_call(at, ActionCall::CopyNumber(mark, tally.clone()), rng)?;
        self.outside_sql(&format!("UPDATE tallies SET m = m + 1 WHERE id = '{tally}'"));
        self.report.count("two actions of which the first is in conflict");
        self.exchanges(at, rng.usize(1..4), None)
    }

    /// A row of a device's user that the device has.
    fn own_row(&self, at: usize, rng: &mut Rng, fits: impl Fn(&Name) -> bool) -> Option<Name> {
        let slot = &self.slots[at];
        let rows = slot.state.view.iter().filter(|(name, row)| {
            ["items", "marks"].contains(&&*name.0)
                && row.get("user_id").is_some_and(|owner| *owner == slot.device.user)
                && !row.contains_key("deleted_at")
                && fits(name)
        });
        rng.choice(rows.map(|(name, _)| name.clone()).collect::<Vec<_>>())
    }

    /// The app executes this write; returns the mutation, if it was kept.
    fn write_mutation(&mut self, at: usize, sql: &str) -> Checked<Option<MutationId>> {
        let last = self.slots[at].state.queue.iter().map(|one| one.seq).max();
        self.write_sql(at, sql, false)?;
        let new = self.slots[at].state.queue.iter().find(|one| Some(one.seq) > last);
        Ok(new.map(|one| one.id))
    }

    /// Continues until a push of a device is ready to be sent; returns whether there is one.
    fn advance_to_push(&mut self, at: usize) -> Checked<bool> {
        self.advance_to(at, Phase::Pushing)
    }

    fn advance_to(&mut self, at: usize, phase: Phase) -> Checked<bool> {
        for _ in 0..40 {
            match self.slots[at].device.prepare() {
                Ok(Moment::Leaving(next)) if next == phase => {
                    self.check_device(at, &CheckCause::Exchanged)?;
                    return Ok(true);
                }
                Ok(Moment::Leaving(_)) => self.exchanges(at, 1, None)?,
                Ok(Moment::Finished(_)) | Err(_) => break,
            }
        }
        self.check_device(at, &CheckCause::Exchanged)?;
        Ok(false)
    }
}
