//! Operations of a device's user: writes, actions, discards, retries, edits, undos, reading of
//! verdicts.

use fastrand::Rng;
use rejoin_core::engine::action::perform;
use rejoin_core::engine::queue::mutation::{Mutation, MutationState};
use rejoin_core::engine::rebase::decide;
use rejoin_core::engine::rows::patch::PatchKind;
use rejoin_core::ids::MutationId;
use rejoin_core::{Error, InputFault, QueueFault, Undone};

use super::device_state::{self, DeviceState};
use super::history::{Name, Rows, is_live};
use super::invariants::CheckCause;
use super::mutations::{ActionCall, WrittenMutation, number};
use super::run::RowsRun;
use super::schema::TINT;
use super::setting::USERS;
use crate::simulate::{Checked, broken};

/// A value that an app may write as the time of its change; the server assigns its own.
const OWN_TIME: &str = "2031-01-01T00:00:00.000000Z";

impl RowsRun<'_> {
    pub(super) fn write(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let bad = rng.u8(..12) == 0;
        let mut sql = Vec::new();
        for part in 0..[1, 1, 1, 2, 3][rng.usize(..5)] {
            sql.push(self.statement(at, &format!("t{number}.{part}"), bad && part == 0, rng));
        }
        let kept = self.write_sql(at, &sql.join("; "), bad)?;
        self.report.add("writes of a device", u64::from(kept));
        // Some users correct the bad value at once: then no edit is refused for it.
        if bad && kept && rng.bool() {
            let sql = format!(
                "UPDATE items SET level = 4, name = 'r{number}' WHERE level = 77 AND deleted_at IS NULL"
            );
            self.write_sql(at, &sql, false)?;
        }
        Ok(())
    }

    /// The app executes a write; returns whether it was kept.
    pub(super) fn write_sql(&mut self, at: usize, sql: &str, bad: bool) -> Checked<bool> {
        let kept = self.slots[at].device.try_write(sql);
        self.report
            .trace(|| format!("   {at} writes {sql}{}", if kept { "" } else { " (refused)" }));
        self.check_device(at, &CheckCause::Wrote { call: None, bad })?;
        Ok(kept)
    }

    fn statement(&mut self, at: usize, value: &str, bad: bool, rng: &mut Rng) -> String {
        if self.setting.teams && !bad && rng.bool() {
            return self.team_statement(Some(at), value, rng);
        }
        let mut first = &self.slots[at].device.user.clone()[..1];
        if rng.u8(..14) == 0 {
            first = &USERS[rng.usize(..2)][..1];
        }
        let id = format!("{first}{}", rng.u8(..=self.setting.rows));
        let level = if bad { 77 } else { rng.u8(..10) };
        let of = format!("WHERE id = '{id}' AND deleted_at IS NULL");
        let schema = self.slots[at].device.engine().schema().clone();
        let tinted = schema.named("marks").is_some_and(|marks| marks.column_named(TINT).is_some());
        let has =
            |table: &str| self.slots[at].state.view.contains_key(&(table.to_owned(), id.clone()));
        if bad && has("items") {
            return format!("UPDATE items SET level = 77, note = '{value}', name = '{value}' {of}");
        }
        if bad {
            return format!("INSERT INTO items (id, name, level) VALUES ('{id}', '{value}', 77)");
        }
        let part = format!("{id}p{}", rng.u8(..2));
        let tint = rng.u16(..);
        let leaf = self.leaf_sql(at, &schema, &id, tint);
        match (rng.u8(..16), has("items"), has("marks")) {
            (0..8, false, _) => {
                format!("INSERT INTO items (id, name, level) VALUES ('{id}', '{value}', {level})")
            }
            (0, true, _) => {
                format!("UPDATE items SET name = '{value}', updated_at = '{OWN_TIME}' {of}")
            }
            (1 | 2, true, _) => format!("UPDATE items SET name = '{value}' {of}"),
            (3..5, true, _) => format!("UPDATE items SET note = '{value}', level = {level} {of}"),
            (5, true, _) => {
                format!("DELETE FROM parts WHERE item_id = '{id}'; DELETE FROM items {of}")
            }
            (6, true, _) => format!(
                "UPDATE items SET deleted_at = '2026-01-01T00:00:00.000000Z' {of}
                 AND id NOT IN (SELECT item_id FROM parts)"
            ),
            (7 | 8, _, _) => format!(
                "INSERT OR IGNORE INTO parts (id, item_id, name) SELECT '{part}', id, '{value}' FROM items {of}"
            ),
            (9, _, _) => format!("UPDATE parts SET name = '{value}' WHERE id = '{part}'"),
            (10, _, _) => format!("DELETE FROM parts WHERE id = '{part}'"),
            (_, _, false) => format!("INSERT INTO marks (id, name) VALUES ('{id}', '{value}')"),
            (14 | 15, ..) if leaf.is_some() => leaf.unwrap_or_default(),
            (11, _, true) => format!("DELETE FROM marks WHERE id = '{id}'"),
            (12, _, true) => format!("UPDATE marks SET note = '{value}' WHERE id = '{id}'"),
            (13, _, true) if tinted => {
                format!("UPDATE marks SET tint = {tint} WHERE id = '{id}'")
            }
            _ => format!("UPDATE marks SET name = '{value}' WHERE id = '{id}'"),
        }
    }

    pub(super) fn perform(&mut self, at: usize, rng: &mut Rng) -> Checked {
        let first = self.slots[at].device.user[..1].to_owned();
        let tally = format!("{first}t");
        let by = i64::from(rng.u8(1..5));
        let m = self.slots[at].state.view.get(&("tallies".to_owned(), tally.clone()));
        let m = m.and_then(|row| number(row, "m")).unwrap_or_default();
        let mark = format!("{first}{}", rng.u8(..=self.setting.rows));
        let call = match rng.u8(..15) {
            _ if rng.u8(..6) == 0 => ActionCall::Vouch(mark, tally, m),
            0..4 => ActionCall::Take(tally, by),
            4..6 => ActionCall::Count(tally, by),
            6 | 10 | 11 => ActionCall::Sign(format!("sign{by}")),
            7..9 => ActionCall::Weigh(format!("{first}{}", rng.u8(..=self.setting.rows)), tally),
            9 => return self.perform_refused(at, rng),
            _ => ActionCall::CopyNumber(format!("{first}{}", rng.u8(..=self.setting.rows)), tally),
        };
        self.perform_call(at, call, rng)
    }

    pub(super) fn perform_call(&mut self, at: usize, call: ActionCall, rng: &mut Rng) -> Checked {
        let (name, arguments) = call.name_and_arguments();
        let done = perform::perform(self.slots[at].device.engine(), name, &arguments);
        self.report.trace(|| format!("   {at} performs {call:?}: {done:?}"));
        if done.is_ok() {
            self.report.count("actions of a device");
        }
        let weighed = match &call {
            ActionCall::Weigh(id, _) if done.is_ok() => Some(id.clone()),
            _ => None,
        };
        self.check_device(at, &CheckCause::Wrote { call: Some(call), bad: false })?;
        // Also writes the row that the action may write when it runs again.
        let Some(id) = weighed else { return Ok(()) };
        let value = rng.u32(..);
        let of = if rng.bool() { "marks" } else { "items" };
        let live = if of == "items" { " AND deleted_at IS NULL" } else { "" };
        let sql = format!("UPDATE {of} SET name = 'w{value}' WHERE id = '{id}'{live}");
        self.write_sql(at, &sql, false).map(drop)
    }

    /// An action that would read a table that only this device has is refused with that table's
    /// name.
    fn perform_refused(&mut self, at: usize, rng: &mut Rng) -> Checked {
        let first = self.slots[at].device.user[..1].to_owned();
        let call = ActionCall::Quote(format!("{first}{}", rng.u8(..=self.setting.rows)));
        let (name, arguments) = call.name_and_arguments();
        let done = perform::perform(self.slots[at].device.engine(), name, &arguments);
        match done {
            Err(Error::InvalidInput(InputFault::Refused { what, .. }))
                if what.contains("drafts") =>
            {
                self.report.count("an action that reads a local-only table");
            }
            // Before the first schema there is no table of marks.
            Err(error) => self.report.trace(|| format!("   {at} performs {call:?}: {error}")),
            Ok(done) => {
                return broken!(
                    "action-reads-synced-tables-only",
                    "{call:?} of {at} is taken: {done:?}"
                );
            }
        }
        self.check_device(at, &CheckCause::Opened)
    }

    /// A random mutation of a queue that matches.
    fn random_mutation(
        &self,
        at: usize,
        rng: &mut Rng,
        fits: impl Fn(&Mutation) -> bool,
    ) -> Option<Mutation> {
        let queue = self.slots[at].state.queue.iter();
        rng.choice(queue.filter(|one| fits(one)).collect::<Vec<_>>()).cloned()
    }

    pub(super) fn discard(&mut self, at: usize, chain: bool, rng: &mut Rng) -> Checked {
        let waits = rng.bool();
        let Some(one) =
            self.random_mutation(at, rng, |one| (one.state != MutationState::Parked) == waits)
        else {
            return Ok(());
        };
        self.discard_mutation(at, &one, chain)
    }

    pub(super) fn discard_mutation(&mut self, at: usize, one: &Mutation, chain: bool) -> Checked {
        let engine = self.slots[at].device.engine();
        let gone = if chain {
            decide::discard_chain(engine, one.id)
        } else {
            decide::discard(engine, one.id).map(|()| vec![one.id])
        };
        self.report.trace(|| format!("   {at} discards {} ({:?}): {gone:?}", one.id, one.state));
        let Ok(gone) = gone else { return self.check_device(at, &CheckCause::Opened) };
        self.report.count(match one.state {
            MutationState::Pending => "discards before sending",
            MutationState::Parked => "discards of parked mutations",
            _ => "discards of uncertain edits",
        });
        self.check_device(at, &CheckCause::Decided { gone, made: None, reverse: false })?;
        self.check_chain(at, one.id, chain)
    }

    /// A discard of the whole chain leaves none of its mutations in the queue.
    fn check_chain(&self, at: usize, id: MutationId, chain: bool) -> Checked {
        let mut parked =
            self.slots[at].state.queue.iter().filter(|one| one.state == MutationState::Parked);
        match parked.find(|one| chain && one.because_of == Some(id)) {
            Some(left) => {
                broken!("chain-is-decided-whole", "{left:?} is left of the chain of {id}")
            }
            None => Ok(()),
        }
    }

    pub(super) fn retry(&mut self, at: usize, chain: bool, rng: &mut Rng) -> Checked {
        // Undoing an action by plain values, over any present value, makes the column no longer a
        // counter.
        let mutations = &self.mutations;
        let counts = |one: &Mutation| {
            let rows = mutations.get(one.id).map(|one| one.rows.as_slice()).unwrap_or_default();
            one.action.is_none() && rows.iter().any(|name| name.0.starts_with("ta"))
        };
        let fits = |one: &Mutation| one.state == MutationState::Parked && !counts(one);
        let Some(one) = self.random_mutation(at, rng, fits) else { return Ok(()) };
        self.retry_mutation(at, &one, chain)
    }

    pub(super) fn retry_mutation(&mut self, at: usize, one: &Mutation, chain: bool) -> Checked {
        let before = self.slots[at].state.view.clone();
        let engine = self.slots[at].device.engine();
        let done = if chain {
            decide::retry_chain(engine, one.id)
        } else {
            decide::retry(engine, one.id).map(|()| vec![one.id])
        };
        self.report.trace(|| format!("   {at} retries {}: {done:?}", one.id));
        if done.is_ok() {
            self.report.count("retries");
            let known = self.slots[at].known;
            let base = &self.slots[at].state.base;
            let retried = self.mutations.get_mut(one.id);
            // A mutation whose row is gone is in conflict again.
            if let Some(one) =
                retried.filter(|one| one.rows.iter().all(|row| base.contains_key(row)))
            {
                one.known = one.known.max(known);
            }
        }
        self.check_device(
            at,
            &CheckCause::Decided { gone: Vec::new(), made: None, reverse: false },
        )?;
        let Ok(retried) = done else { return Ok(()) };
        self.record_missing_rows(at, &retried, &before);
        self.check_chain(at, one.id, chain)
    }

    /// Records which of these were offered again on a missing row, before them or after one of
    /// them.
    fn record_missing_rows(&mut self, at: usize, retried: &[MutationId], before: &Rows) {
        let schema = self.slots[at].device.engine().schema().clone();
        let slot = &self.slots[at];
        let DeviceState { view, queue, .. } = &slot.state;
        let lacks = retried.iter().filter(|id| {
            self.mutations.get(**id).is_some_and(|one| self.may_lack_right(at, &one.rows))
        });
        let lacks: Vec<MutationId> = lacks.copied().collect();
        let is_there = |name: &Name| {
            let mut rows = [before, view].into_iter().filter_map(|rows| rows.get(name));
            rows.any(is_live)
        };
        for one in queue.iter().filter(|one| retried.contains(&one.id)) {
            let needs = one.effect.rows.iter().filter(|patch| patch.kind != PatchKind::Insert);
            let mut names = needs.filter_map(|patch| device_state::name(&schema, patch));
            let Some(written) = self.mutations.get_mut(one.id) else { continue };
            written.retried_on_missing_row |= names.any(|name| !is_there(&name));
            written.retried = true;
            written.lost_right |= lacks.contains(&one.id);
            // Its author has seen the current rows.
            written.saw.extend(slot.versions(&written.rows));
        }
    }

    pub(super) fn edit(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let plain = |one: &Mutation| one.action.is_none();
        let mutations = &self.mutations;
        let fits =
            |one: &Mutation| plain(one) && mutations.get(one.id).is_some_and(|one| !one.reverse);
        let Some(one) = self.random_mutation(at, rng, fits) else { return Ok(()) };
        self.edit_mutation(at, &one, number)
    }

    pub(super) fn edit_mutation(&mut self, at: usize, one: &Mutation, number: u32) -> Checked {
        let Some(name) = self.mutations.get(one.id).and_then(|one| one.rows.first().cloned())
        else {
            return Ok(());
        };
        let sql = format!("UPDATE {} SET name = 'e{number}' WHERE id = '{}'", name.0, name.1);
        let repair = format!("UPDATE items SET level = 3 WHERE id = '{}' AND level = 77", name.1);
        let engine = self.slots[at].device.engine();
        let made = decide::edit(engine, one.id, |tx| {
            tx.execute(&sql, &[])?;
            tx.execute(&repair, &[]).map(drop)
        });
        self.report
            .trace(|| format!("   {at} edits {} ({:?}): {sql}: {made:?}", one.id, one.state));
        let Ok(made) = made else { return self.check_device(at, &CheckCause::Opened) };
        let before = self.slots[at].state.clone();
        self.report.count(match one.state {
            MutationState::Pending => "edits of pending mutations",
            MutationState::Parked => "edits of parked mutations",
            _ => "edits of uncertain mutations",
        });
        self.check_device(at, &CheckCause::Decided { gone: vec![one.id], made, reverse: false })?;
        // It replaces those that left the queue, whose rows the server may refuse.
        let stays = |id| self.slots[at].state.queue.iter().any(|one| one.id == id);
        let removed: Vec<_> = before.queue.iter().filter(|one| !stays(one.id)).collect();
        let any = |is_so: fn(&WrittenMutation) -> bool| {
            removed.iter().any(|one| self.mutations.get(one.id).is_some_and(is_so))
        };
        let bad = any(|one| one.bad);
        let has_action =
            any(|one| one.has_action) || removed.iter().any(|one| one.action.is_some());
        if let Some(written) = made.and_then(|made| self.mutations.get_mut(made)) {
            written.bad |= bad;
            written.has_action |= has_action;
        }
        self.check_later_writes(at, one, &before)
    }

    pub(super) fn undo(&mut self, at: usize, redo: bool, rng: &mut Rng) -> Checked {
        let known: Vec<MutationId> = self.slots[at].accepted.clone();
        let Some(id) = rng.choice(known) else { return Ok(()) };
        self.undo_mutation(at, id, redo)
    }

    pub(super) fn undo_mutation(&mut self, at: usize, id: MutationId, redo: bool) -> Checked {
        let view = self.slots[at].state.view.clone();
        let engine = self.slots[at].device.engine();
        let done = if redo { decide::redo(engine, id) } else { decide::undo(engine, id) };
        self.report
            .trace(|| format!("   {at} {} {id}: {done:?}", if redo { "redoes" } else { "undoes" }));
        let (gone, made) = match done {
            Ok(Undone::NewMutation(made)) => (Vec::new(), Some(made)),
            Ok(Undone::GivenUp) if redo => {
                // It is the undo that is discarded.
                (
                    self.slots[at]
                        .state
                        .queue
                        .iter()
                        .map(|one| one.id)
                        .filter(|id| self.is_undo(*id))
                        .collect(),
                    None,
                )
            }
            Ok(Undone::GivenUp) => (vec![id], None),
            Ok(Undone::Nothing) => (Vec::new(), None),
            Err(Error::Queue(QueueFault::Changed { .. })) => {
                self.report.count("an undo of a row changed since");
                return self.check_device(at, &CheckCause::Opened);
            }
            Err(_) => return self.check_device(at, &CheckCause::Opened),
        };
        if made.is_some() {
            self.report.count(if redo { "redone" } else { "undone" });
        }
        self.check_device(at, &CheckCause::Decided { gone, made, reverse: true })?;
        match made.filter(|_| !redo) {
            Some(made) => self.check_undo(at, id, made, &view),
            None => Ok(()),
        }
    }

    fn is_undo(&self, id: MutationId) -> bool {
        self.mutations.get(id).is_some_and(|one| one.reverse)
    }

    /// The app reads its verdicts: none is reported twice, none is left out.
    pub(super) fn read_verdicts(&mut self, at: usize, knows: u8) -> Checked {
        let slot = &mut self.slots[at];
        let engine = slot.device.engine();
        let read = engine.verdicts(0, 1_000).map_err(|error| format!("verdicts: {error}"))?;
        if read.missed > 0 {
            return broken!(
                "verdicts-are-reported-in-order",
                "{at} misses {} verdicts",
                read.missed
            );
        }
        let numbers: Vec<i64> = read.entries.iter().map(|entry| entry.number).collect();
        let open: Vec<i64> =
            slot.reported.range(slot.acknowledged + 1..).map(|(at, _)| *at).collect();
        if !numbers.starts_with(&open) {
            return broken!(
                "verdicts-are-reported-in-order",
                "{at} received {open:?}, and now {numbers:?}"
            );
        }
        for entry in &read.entries {
            let end = (entry.id, entry.attempt, entry.kind);
            if let Some(before) =
                slot.reported.insert(entry.number, end).filter(|before| *before != end)
            {
                return broken!(
                    "verdicts-are-reported-in-order",
                    "verdict {} was {before:?} and is {end:?}",
                    entry.number
                );
            }
        }
        if knows == 0 {
            return Ok(());
        }
        let through = if knows == 1 { numbers.first() } else { numbers.last() };
        if let Some(through) = through.copied() {
            let done = slot.device.engine().acknowledge_verdicts(through);
            done.map_err(|error| format!("acknowledging: {error}"))?;
            slot.acknowledged = through;
            self.report.count("verdicts acknowledged");
        }
        Ok(())
    }
}
