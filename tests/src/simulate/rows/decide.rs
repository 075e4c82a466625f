//! Operations of a device's user: writes, actions, discards, retries, edits, undos, reading of
//! verdicts.

use fastrand::Rng;
use rejoin_core::engine::action::perform;
use rejoin_core::engine::queue::mutation::{Mutation, MutationState};
use rejoin_core::engine::rebase::decide;
use rejoin_core::engine::rows::patch::PatchKind;
use rejoin_core::ids::MutationId;
use rejoin_core::{Error, InputFault, QueueFault, Undone};

use super::book::{Doing, Written, number};
use super::history::{Name, Rows, is_live};
use super::laws::Why;
use super::schema::TINT;
use super::setting::USERS;
use super::sight::{self, Sight};
use super::world::World;
use crate::simulate::{Checked, broken};

/// A value that an app may write as the time of its change; the server assigns its own.
const OWN_TIME: &str = "2031-01-01T00:00:00.000000Z";

impl World<'_> {
    pub(super) fn write(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let bad = rng.u8(..12) == 0;
        let mut sql = Vec::new();
        for part in 0..[1, 1, 1, 2, 3][rng.usize(..5)] {
            sql.push(self.statement(at, &format!("t{number}.{part}"), bad && part == 0, rng));
        }
        let sql = sql.join("; ");
        let kept = self.seats[at].device.try_write(&sql);
        self.report.say(|| format!("   {at} writes {sql}{}", if kept { "" } else { " (refused)" }));
        if kept {
            self.report.count("writes of a device");
        }
        self.look(at, &Why::Wrote { doing: None, bad })?;
        // Some users correct the bad value at once: then no edit is refused for it.
        if bad && kept && rng.bool() {
            let sql = format!(
                "UPDATE items SET level = 4, name = 'r{number}' WHERE level = 77 AND deleted_at IS NULL"
            );
            self.seats[at].device.try_write(&sql);
            self.report.say(|| format!("   {at} writes {sql}"));
            self.look(at, &Why::Wrote { doing: None, bad: false })?;
        }
        Ok(())
    }

    fn statement(&mut self, at: usize, value: &str, bad: bool, rng: &mut Rng) -> String {
        let mut first = &self.seats[at].device.user.clone()[..1];
        if rng.u8(..14) == 0 {
            first = &USERS[rng.usize(..2)][..1];
        }
        let id = format!("{first}{}", rng.u8(..=self.setting.rows));
        let level = if bad { 77 } else { rng.u8(..10) };
        let of = format!("WHERE id = '{id}' AND deleted_at IS NULL");
        let schema = self.seats[at].device.engine().schema().clone();
        let tinted = schema.named("marks").is_some_and(|marks| marks.column_named(TINT).is_some());
        let has =
            |table: &str| self.seats[at].sight.view.contains_key(&(table.to_owned(), id.clone()));
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
        let first = self.seats[at].device.user[..1].to_owned();
        let tally = format!("{first}t");
        let by = i64::from(rng.u8(1..5));
        let m = self.seats[at].sight.view.get(&("tallies".to_owned(), tally.clone()));
        let m = m.and_then(|row| number(row, "m")).unwrap_or_default();
        let mark = format!("{first}{}", rng.u8(..=self.setting.rows));
        let doing = match rng.u8(..15) {
            _ if rng.u8(..6) == 0 => Doing::Vouch(mark, tally, m),
            0..4 => Doing::Take(tally, by),
            4..6 => Doing::Count(tally, by),
            6 | 10 | 11 => Doing::Sign(format!("sign{by}")),
            7..9 => Doing::Weigh(format!("{first}{}", rng.u8(..=self.setting.rows)), tally),
            9 => return self.quote(at, rng),
            _ => Doing::Tell(format!("{first}{}", rng.u8(..=self.setting.rows)), tally),
        };
        self.act(at, doing, rng)
    }

    pub(super) fn act(&mut self, at: usize, doing: Doing, rng: &mut Rng) -> Checked {
        let (name, arguments) = doing.words();
        let done = perform::perform(self.seats[at].device.engine(), name, &arguments);
        self.report.say(|| format!("   {at} performs {doing:?}: {done:?}"));
        if done.is_ok() {
            self.report.count("actions of a device");
        }
        let weighed = match &doing {
            Doing::Weigh(id, _) if done.is_ok() => Some(id.clone()),
            _ => None,
        };
        self.look(at, &Why::Wrote { doing: Some(doing), bad: false })?;
        // Also writes the row that the action may write when it runs again.
        let Some(id) = weighed else { return Ok(()) };
        let value = rng.u32(..);
        let of = if rng.bool() { "marks" } else { "items" };
        let live = if of == "items" { " AND deleted_at IS NULL" } else { "" };
        let sql = format!("UPDATE {of} SET name = 'w{value}' WHERE id = '{id}'{live}");
        self.seats[at].device.try_write(&sql);
        self.report.say(|| format!("   {at} writes {sql}"));
        self.look(at, &Why::Wrote { doing: None, bad: false })
    }

    /// An action that would read a table that only this device has is refused with that table's
    /// name.
    fn quote(&mut self, at: usize, rng: &mut Rng) -> Checked {
        let first = self.seats[at].device.user[..1].to_owned();
        let doing = Doing::Quote(format!("{first}{}", rng.u8(..=self.setting.rows)));
        let (name, arguments) = doing.words();
        let done = perform::perform(self.seats[at].device.engine(), name, &arguments);
        match done {
            Err(Error::InvalidInput(InputFault::Refused { what, .. }))
                if what.contains("drafts") =>
            {
                self.report.count("an action that reads a local-only table");
            }
            // Before the first schema there is no table of marks.
            Err(error) => self.report.say(|| format!("   {at} performs {doing:?}: {error}")),
            Ok(done) => {
                return broken!(
                    "action-reads-synced-tables-only",
                    "{doing:?} of {at} is taken: {done:?}"
                );
            }
        }
        self.look(at, &Why::Opened)
    }

    /// A random mutation of a queue that matches.
    fn any(&self, at: usize, rng: &mut Rng, fits: impl Fn(&Mutation) -> bool) -> Option<Mutation> {
        let queue = self.seats[at].sight.queue.iter();
        rng.choice(queue.filter(|one| fits(one)).collect::<Vec<_>>()).cloned()
    }

    pub(super) fn discard(&mut self, at: usize, chain: bool, rng: &mut Rng) -> Checked {
        let waits = rng.bool();
        let Some(one) = self.any(at, rng, |one| (one.state != MutationState::Parked) == waits)
        else {
            return Ok(());
        };
        self.give_up(at, &one, chain)
    }

    pub(super) fn give_up(&mut self, at: usize, one: &Mutation, chain: bool) -> Checked {
        let engine = self.seats[at].device.engine();
        let gone = if chain {
            decide::discard_chain(engine, one.id)
        } else {
            decide::discard(engine, one.id).map(|()| vec![one.id])
        };
        self.report.say(|| format!("   {at} discards {} ({:?}): {gone:?}", one.id, one.state));
        let Ok(gone) = gone else { return self.look(at, &Why::Opened) };
        self.report.count(match one.state {
            MutationState::Pending => "discards before sending",
            MutationState::Parked => "discards of parked mutations",
            _ => "discards of uncertain edits",
        });
        self.look(at, &Why::Decided { gone, made: None, reverse: false })?;
        self.is_whole_chain(at, one.id, chain)
    }

    /// A discard of the whole chain leaves none of its mutations in the queue.
    fn is_whole_chain(&self, at: usize, id: MutationId, chain: bool) -> Checked {
        let mut parked =
            self.seats[at].sight.queue.iter().filter(|one| one.state == MutationState::Parked);
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
        let book = &self.book;
        let counts = |one: &Mutation| {
            let rows = book.of(one.id).map(|one| one.rows.as_slice()).unwrap_or_default();
            one.action.is_none() && rows.iter().any(|name| name.0.starts_with("ta"))
        };
        let fits = |one: &Mutation| one.state == MutationState::Parked && !counts(one);
        let Some(one) = self.any(at, rng, fits) else { return Ok(()) };
        self.offer_again(at, &one, chain)
    }

    pub(super) fn offer_again(&mut self, at: usize, one: &Mutation, chain: bool) -> Checked {
        let before = self.seats[at].sight.view.clone();
        let engine = self.seats[at].device.engine();
        let done = if chain {
            decide::retry_chain(engine, one.id)
        } else {
            decide::retry(engine, one.id).map(|()| vec![one.id])
        };
        self.report.say(|| format!("   {at} retries {}: {done:?}", one.id));
        if done.is_ok() {
            self.report.count("retries");
            let known = self.seats[at].known;
            let base = &self.seats[at].sight.base;
            let retried = self.book.of_mut(one.id);
            // A mutation whose row is gone is in conflict again.
            if let Some(one) =
                retried.filter(|one| one.rows.iter().all(|row| base.contains_key(row)))
            {
                one.known = one.known.max(known);
            }
        }
        self.look(at, &Why::Decided { gone: Vec::new(), made: None, reverse: false })?;
        let Ok(retried) = done else { return Ok(()) };
        self.note_groundless(at, &retried, &before);
        self.is_whole_chain(at, one.id, chain)
    }

    /// Records which of these were offered again on a missing row, before them or after one of
    /// them.
    fn note_groundless(&mut self, at: usize, retried: &[MutationId], before: &Rows) {
        let schema = self.seats[at].device.engine().schema().clone();
        let seat = &self.seats[at];
        let Sight { view, queue, .. } = &seat.sight;
        let is_there = |name: &Name| {
            let mut rows = [before, view].into_iter().filter_map(|rows| rows.get(name));
            rows.any(is_live)
        };
        for one in queue.iter().filter(|one| retried.contains(&one.id)) {
            let needs = one.effect.rows.iter().filter(|patch| patch.kind != PatchKind::Insert);
            let mut names = needs.filter_map(|patch| sight::name(&schema, patch));
            let Some(written) = self.book.of_mut(one.id) else { continue };
            written.groundless |= names.any(|name| !is_there(&name));
            written.retried = true;
            // Its author has seen the current rows.
            written.saw.extend(seat.versions(&written.rows));
        }
    }

    pub(super) fn edit(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let plain = |one: &Mutation| one.action.is_none();
        let book = &self.book;
        let fits = |one: &Mutation| plain(one) && book.of(one.id).is_some_and(|one| !one.reverse);
        let Some(one) = self.any(at, rng, fits) else { return Ok(()) };
        self.replace(at, &one, number)
    }

    pub(super) fn replace(&mut self, at: usize, one: &Mutation, number: u32) -> Checked {
        let Some(name) = self.book.of(one.id).and_then(|one| one.rows.first().cloned()) else {
            return Ok(());
        };
        let sql = format!("UPDATE {} SET name = 'e{number}' WHERE id = '{}'", name.0, name.1);
        let repair = format!("UPDATE items SET level = 3 WHERE id = '{}' AND level = 77", name.1);
        let engine = self.seats[at].device.engine();
        let made = decide::edit(engine, one.id, |tx| {
            tx.execute(&sql, &[])?;
            tx.execute(&repair, &[]).map(drop)
        });
        self.report.say(|| format!("   {at} edits {} ({:?}): {sql}: {made:?}", one.id, one.state));
        let Ok(made) = made else { return self.look(at, &Why::Opened) };
        let before = self.seats[at].sight.clone();
        self.report.count(match one.state {
            MutationState::Pending => "edits of pending mutations",
            MutationState::Parked => "edits of parked mutations",
            _ => "edits of uncertain mutations",
        });
        self.look(at, &Why::Decided { gone: vec![one.id], made, reverse: false })?;
        // It replaces those that left the queue, whose rows the server may refuse.
        let stays = |id| self.seats[at].sight.queue.iter().any(|one| one.id == id);
        let removed: Vec<_> = before.queue.iter().filter(|one| !stays(one.id)).collect();
        let any = |is_so: fn(&Written) -> bool| {
            removed.iter().any(|one| self.book.of(one.id).is_some_and(is_so))
        };
        let bad = any(|one| one.bad);
        let has_action =
            any(|one| one.has_action) || removed.iter().any(|one| one.action.is_some());
        if let Some(written) = made.and_then(|made| self.book.of_mut(made)) {
            written.bad |= bad;
            written.has_action |= has_action;
        }
        self.keeps_what_is_later(at, one, &before)
    }

    pub(super) fn undo(&mut self, at: usize, redo: bool, rng: &mut Rng) -> Checked {
        let known: Vec<MutationId> = self.seats[at].accepted.clone();
        let Some(id) = rng.choice(known) else { return Ok(()) };
        self.take_back(at, id, redo)
    }

    pub(super) fn take_back(&mut self, at: usize, id: MutationId, redo: bool) -> Checked {
        let view = self.seats[at].sight.view.clone();
        let engine = self.seats[at].device.engine();
        let done = if redo { decide::redo(engine, id) } else { decide::undo(engine, id) };
        self.report
            .say(|| format!("   {at} {} {id}: {done:?}", if redo { "redoes" } else { "undoes" }));
        let (gone, made) = match done {
            Ok(Undone::NewMutation(made)) => (Vec::new(), Some(made)),
            Ok(Undone::GivenUp) if redo => {
                // It is the undo that is discarded.
                (
                    self.seats[at]
                        .sight
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
                return self.look(at, &Why::Opened);
            }
            Err(_) => return self.look(at, &Why::Opened),
        };
        if made.is_some() {
            self.report.count(if redo { "redone" } else { "undone" });
        }
        self.look(at, &Why::Decided { gone, made, reverse: true })?;
        match made.filter(|_| !redo) {
            Some(made) => self.takes_back_its_own(at, id, made, &view),
            None => Ok(()),
        }
    }

    fn is_undo(&self, id: MutationId) -> bool {
        self.book.of(id).is_some_and(|one| one.reverse)
    }

    /// The app reads its verdicts: none is reported twice, none is left out.
    pub(super) fn read_verdicts(&mut self, at: usize, knows: u8) -> Checked {
        let seat = &mut self.seats[at];
        let engine = seat.device.engine();
        let read = engine.verdicts(0, 1_000).map_err(|error| format!("verdicts: {error}"))?;
        if read.missed > 0 {
            return broken!(
                "verdicts-are-reported-in-order",
                "{at} misses {} verdicts",
                read.missed
            );
        }
        let numbers: Vec<i64> = read.entries.iter().map(|entry| entry.number).collect();
        let open: Vec<i64> = seat.ends.range(seat.acknowledged + 1..).map(|(at, _)| *at).collect();
        if !numbers.starts_with(&open) {
            return broken!(
                "verdicts-are-reported-in-order",
                "{at} received {open:?}, and now {numbers:?}"
            );
        }
        for entry in &read.entries {
            let end = (entry.id, entry.attempt, entry.kind);
            if let Some(before) =
                seat.ends.insert(entry.number, end).filter(|before| *before != end)
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
            let done = seat.device.engine().acknowledge_verdicts(through);
            done.map_err(|error| format!("acknowledging: {error}"))?;
            seat.acknowledged = through;
            self.report.count("verdicts acknowledged");
        }
        Ok(())
    }
}
