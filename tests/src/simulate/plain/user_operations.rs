//! Operations of a device's user: writes, writes in the middle of a pull, discards.

use fastrand::Rng;
use rejoin_core::engine::queue::mutation::{Mutation, MutationState};
use rejoin_core::engine::rebase::decide;
use rejoin_core::ids::MutationId;
use rejoin_core::sync::session::Phase;

use super::final_checks;
use super::history::Name;
use super::run::PlainRun;
use super::step::StepKind;
use super::written::{self, Kind, Values};
use crate::simulate::Checked;
use crate::simulate::exchange::{ExchangeRun as _, Step};
use crate::{Device, Moment};

impl PlainRun<'_> {
    pub(super) fn edit(&mut self, at: usize, step: &Step<StepKind>, rng: &mut Rng) {
        let user = self.devices[at].user.clone();
        let mut values = Values::new(step.number);
        values.bad = rng.u8(..12) == 0;
        let mut sql = Vec::new();
        for _ in 0..[1, 1, 1, 2, 3][rng.usize(..5)] {
            let row = match rng.u8(..6) {
                0 => self.random_row(at, rng),
                _ => format!("{}{}", &user[..1], rng.u8(..self.rows)),
            };
            sql.push(statement(&mut self.devices[at], &row, &mut values, rng));
        }
        let sql = sql.join("; ");
        self.write(at, &sql);
    }

    /// A note with a random key that the device shows, or the key of a new one, which no one
    /// creates again.
    fn random_row(&mut self, at: usize, rng: &mut Rng) -> String {
        let device = &mut self.devices[at];
        let is_shown = |id: &&String| {
            let sql = format!("SELECT 1 FROM notes WHERE id = '{id}' AND deleted_at IS NULL");
            device.try_write("SELECT 1 FROM notes LIMIT 0") && !device.see(&sql).is_empty()
        };
        let shown: Vec<&String> = self.random.iter().filter(is_shown).collect();
        if let Some(one) = rng.choice(shown).filter(|_| rng.u8(..3) > 0) {
            return one.clone();
        }
        let user = &self.devices[at].user[..1];
        let (first, last) = (rng.u32(..1 << 28), rng.u64(..1 << 48));
        let id = format!("{user}{first:07x}-0000-4000-8000-{last:012x}");
        self.random.push(id.clone());
        id
    }

    /// A row that is deleted and created again: the log has both, and a page may end between the
    /// two.
    pub(super) fn recreate(&mut self, at: usize, step: &Step<StepKind>, rng: &mut Rng) -> Checked {
        let id = format!("{}{}", &self.devices[at].user[..1], rng.u8(..self.rows));
        let mut values = Values::new(step.number);
        let delete = format!("DELETE FROM notes WHERE id = '{id}' AND deleted_at IS NULL");
        let create = format!("INSERT INTO notes (id, title) VALUES ('{id}', '{}')", values.text());
        let update = values.text();
        let update =
            format!("UPDATE notes SET title = '{update}' WHERE id = '{id}' AND deleted_at IS NULL");
        let is_there = {
            let history = self.server.history();
            let note = ("notes".to_owned(), id.clone());
            let parts = history.live_rows("parts");
            history.now(&note).is_some_and(|row| row.is_there)
                && !parts.values().any(|part| part.cells.get("note_id") == Some(&id))
        };
        if !is_there {
            return Ok(());
        }
        for sql in [&delete, &create] {
            self.write(at, sql);
        }
        for _ in 0..12 {
            if matches!(self.devices[at].prepare(), Ok(Moment::Leaving(Phase::Pulling))) {
                self.write(at, &update);
                break;
            }
            if !matches!(self.exchange(at, None)?, Ok(Moment::Leaving(_))) {
                return Ok(());
            }
        }
        self.exchanges(at, rng.usize(1..4), None)
    }

    fn write(&mut self, at: usize, sql: &str) {
        let kept = self.devices[at].try_write(sql);
        self.report
            .trace(|| format!("   {at} writes {sql}{}", if kept { "" } else { " (refused)" }));
        if kept {
            self.record_written(at);
        }
    }

    fn record_written(&mut self, at: usize) {
        let schema = self.devices[at].engine().schema().clone();
        let Some(mutation) = self.devices[at].queue().pop() else { return };
        if mutation.seq.0 <= self.newest[at] {
            return;
        }
        self.newest[at] = mutation.seq.0;
        let tick = self.server.history().tick();
        let edits = written::of(&schema, &mutation, at, tick, self.known[at]);
        self.report.count("edits of a device");
        if edits.len() > 1 {
            self.report.count("an edit of several rows");
        }
        let deletes = edits.iter().filter(|edit| edit.kind == Kind::Delete).count();
        self.report.add("deletes", deletes as u64);
        self.written.extend(edits);
    }

    /// The app discards an edit, with the edits of its chain.
    pub(super) fn discard(&mut self, at: usize, rng: &mut Rng) {
        let queue = self.devices[at].queue();
        // The reverse of a discarded edit is queued too; discarding it would restore the value.
        let is_written = |one: &&Mutation| self.written.iter().any(|edit| edit.id == one.id);
        let waiting = queue.iter().filter(|one| one.state != MutationState::Parked);
        let waiting: Vec<_> = waiting.filter(is_written).collect();
        let Some(one) = rng.choice(waiting) else { return };
        let what = format!("   {at} discards {} ({:?})", one.id, one.state);
        let before = self.waiting_rows(at, &queue);
        if decide::discard(self.devices[at].engine(), one.id).is_err() {
            return;
        }
        self.report.trace(|| what);
        let was_sent = one.state != MutationState::Pending;
        self.report.count(if was_sent {
            "discards of uncertain edits"
        } else {
            "discards before sending"
        });
        let queue = self.devices[at].queue();
        let after = self.waiting_rows(at, &queue);
        let history = self.server.history();
        for edit in self.written.iter_mut().filter(|edit| edit.at == at) {
            let name = (edit.id, edit.name.clone());
            let had = final_checks::applied_at(&history, edit).is_some();
            // Accepted rows have left it before, and refused ones are removed with it.
            let is_gone = before.contains(&name) && !after.contains(&name);
            edit.discarded |= is_gone || edit.id == one.id && !had;
            if is_gone && had && was_sent {
                self.report.count("discards of uncertain edits accepted by the server");
            }
        }
    }

    /// The rows of all mutations in a queue.
    fn waiting_rows(&mut self, at: usize, queue: &[Mutation]) -> Vec<(MutationId, Name)> {
        let schema = self.devices[at].engine().schema().clone();
        let rows =
            queue.iter().flat_map(|one| one.effect.rows.iter().map(move |row| (one.id, row)));
        rows.filter_map(|(id, row)| Some((id, written::name(&schema, row)?))).collect()
    }
}

fn statement(device: &mut Device, id: &str, values: &mut Values, rng: &mut Rng) -> String {
    // A part stays with its note: such a server silently ignores a change of parent.
    let part = format!("p{id}{}", rng.u8(..2));
    let Ok(()) = device.engine().execute_batch("SELECT 1 FROM notes, parts LIMIT 0") else {
        return format!("INSERT INTO notes (id, title) VALUES ('{id}', '{}')", values.text());
    };
    let there = !device
        .see(&format!("SELECT id FROM notes WHERE id = '{id}' AND deleted_at IS NULL"))
        .is_empty();
    let parts =
        device.see(&format!("SELECT id FROM parts WHERE id = '{part}' OR note_id = '{id}'"));
    let of = format!("WHERE id = '{id}' AND deleted_at IS NULL");
    match (there, rng.u8(..12)) {
        (false, 0..3) => format!(
            "INSERT INTO notes (id, title, size, due) VALUES ('{id}', '{}', {}, '{}')",
            values.text(),
            values.integer(),
            values.instant(rng)
        ),
        (false, 3..7) if parts.is_empty() => format!(
            "INSERT INTO notes (id, title) VALUES ('{id}', '{}'); \
             INSERT INTO parts (id, note_id, body) VALUES ('{part}', '{id}', '{}')",
            values.text(),
            values.text()
        ),
        (false, _) => {
            format!("INSERT INTO notes (id, title) VALUES ('{id}', '{}')", values.text())
        }
        (true, 0) => format!("UPDATE notes SET size = {} {of}", values.integer()),
        (true, 1) => format!("UPDATE notes SET due = '{}' {of}", values.instant(rng)),
        (true, 2) => format!("UPDATE notes SET body = '{}' {of}", values.text()),
        (true, 3) => {
            format!("UPDATE notes SET title = '{}', body = '{}' {of}", values.text(), values.text())
        }
        (true, 4..6) if parts.is_empty() => format!("DELETE FROM notes {of}"),
        (true, 6) if parts.is_empty() => {
            format!("UPDATE notes SET deleted_at = '2026-01-01T00:00:00.000000Z' {of}")
        }
        (true, 7) if parts.is_empty() => format!(
            "INSERT INTO parts (id, note_id, body) VALUES ('{part}', '{id}', '{}')",
            values.text()
        ),
        (true, 8) if !parts.is_empty() => {
            format!("UPDATE parts SET body = '{}' WHERE id = '{part}'", values.text())
        }
        (true, 9) if !parts.is_empty() => format!("DELETE FROM parts WHERE id = '{part}'"),
        (true, _) => format!("UPDATE notes SET title = '{}' {of}", values.text()),
    }
}
