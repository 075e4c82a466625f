//! The end of a run: some quiet passes, then the final invariants.

use std::time::Duration;

use rejoin_core::engine::queue::mutation::{Mutation, MutationState, ParkReason};
use rejoin_protocol::Policy;
use serde_json::json;

use super::history::{COLUMNS, Change, History, Name, of_text};
use super::run::{ALIVE, PlainRun, RESIDUE};
use super::written::{self, Kind, WrittenEdit};
use crate::simulate::exchange::{ExchangeRun as _, parked_event};
use crate::simulate::{Checked, broken};

/// Rounds of passes within which everything must have ended, one driver interval apart: 360 s.
const ROUNDS: usize = 12;

/// The tick at which the server first had an edit of the device that wrote it; for a delete, at
/// which the row was missing.
pub(super) fn applied_at(history: &History, edit: &WrittenEdit) -> Option<usize> {
    let versions = history.versions(&edit.name);
    if edit.kind == Kind::Delete {
        let at_once = versions.iter().rev().find(|change| change.tick <= edit.tick);
        if !at_once.is_some_and(Change::is_there) {
            return Some(edit.tick);
        }
        let gone = versions.iter().find(|change| change.tick > edit.tick && !change.is_there());
        return gone.map(|change| change.tick);
    }
    let wanted: Vec<_> = edit.cells.iter().filter(|cell| cell.2.is_some()).collect();
    let has = |change: &&Change| {
        change.by == Some(edit.at)
            && change.after.as_ref().is_some_and(|row| {
                wanted.iter().all(|(column, _, new)| row.cells.get(column) == new.as_ref())
            })
    };
    versions.iter().find(has).map(|change| change.tick)
}

impl PlainRun<'_> {
    /// All faults end, and devices sync until nothing is pending.
    pub(super) fn settle(&mut self) -> Checked {
        self.report.trace(|| "all faults end".to_owned());
        self.recover();
        self.server.backend.server().lag(false);
        // A device cannot detect that an empty log was cut (docs/plain-server.md).
        let row = json!({"id": "z0", "user_id": "zoe", "title": "the end"});
        self.server.backend.insert("notes", &row);
        self.server.record_changes(None);
        self.server.take_unchecked();
        for at in 0..self.devices.len() {
            self.deliver_late(at)?;
        }
        let mut quiet = 0;
        for round in 0..ROUNDS {
            self.advance_clocks(Duration::from_secs(30));
            for at in 0..self.devices.len() {
                if round == 1 {
                    self.devices[at].crash();
                }
                let _ = self.pass(at)?;
            }
            quiet = if round > 1 && self.check_at_rest().is_ok() { quiet + 1 } else { 0 };
            if quiet == 2 {
                return Ok(());
            }
        }
        self.check_at_rest()?;
        broken!("queue-drains", "no two rounds in a row are quiet")
    }

    /// Nothing is pending, and all agree.
    fn check_at_rest(&mut self) -> Checked {
        for at in 0..self.devices.len() {
            let queue = self.devices[at].queue();
            if let Some(open) = queue.iter().find(|one| one.state != MutationState::Parked) {
                return broken!("queue-drains", "device {at} still waits: {open:?}");
            }
            let records = self.devices[at].raw("SELECT count(*) FROM rejoin_record");
            if records != "0" {
                return broken!("queue-drains", "{records} records of device {at} have no verdict");
            }
            let (mine, theirs) = (self.view(at), self.shown(at));
            if mine != theirs {
                return broken!("devices-agree", "device {at} has {mine:?}, the server {theirs:?}");
            }
        }
        Ok(())
    }

    /// The rows that the server shows the user of a device.
    fn shown(&self, at: usize) -> Vec<String> {
        let prefix = &self.devices[at].user[..1];
        let history = self.server.history();
        let rows = |table: &str, begin: String| -> Vec<String> {
            let there = history.live_rows(table);
            let mine = there.iter().filter(|(id, _)| id.starts_with(&begin));
            mine.map(|(id, row)| row.line(id)).collect()
        };
        [rows("notes", prefix.to_owned()), rows("parts", format!("p{prefix}"))].concat()
    }

    /// The rows that a device shows, in the same format.
    pub(super) fn view(&mut self, at: usize) -> Vec<String> {
        let sql = "SELECT id, title, body, size, due, NULL FROM notes \
             WHERE deleted_at IS NULL UNION ALL SELECT id, NULL, body, NULL, NULL, note_id \
             FROM parts WHERE deleted_at IS NULL ORDER BY id";
        let rows =
            self.devices[at].engine().transaction(|tx| tx.query(sql, &[], crate::device::line));
        // Without a schema it shows nothing.
        let lines = rows.unwrap_or_default().into_iter().map(|line| {
            let mut cells = line.split('|');
            let id = cells.next().unwrap_or_default().to_owned();
            let cells = cells.zip(COLUMNS).map(|(cell, column)| of_text(column, cell));
            format!("{id}|{}", cells.collect::<Vec<_>>().join("|"))
        });
        lines.collect()
    }

    /// Every edit has exactly one outcome.
    pub(super) fn check_outcomes(&mut self) -> Checked {
        for at in 0..self.devices.len() {
            let queue = self.devices[at].queue();
            for one in &queue {
                self.report.count(parked_event(one));
                let by_time = self.policies[at] == Policy::LastWriteWins;
                if by_time && one.reason == Some(ParkReason::Conflicted) {
                    self.report.count("parked by a later write");
                }
            }
            let schema = self.devices[at].engine().schema().clone();
            let mut kept: Vec<(WrittenEdit, &Mutation)> = Vec::new();
            for one in &queue {
                kept.extend(
                    written::of(&schema, one, at, 0, 0).into_iter().map(|edit| (edit, one)),
                );
            }
            for place in 0..self.written.len() {
                if self.written[place].at == at {
                    self.check_edit(place, &kept)?;
                }
            }
        }
        Ok(())
    }

    fn check_edit(&mut self, place: usize, kept: &[(WrittenEdit, &Mutation)]) -> Checked {
        let edit = &self.written[place];
        let parked = kept.iter().find(|(one, _)| one.id == edit.id && one.name == edit.name);
        let landed = applied_at(&self.server.history(), edit);
        let over = self.is_overwritten(place);
        if edit.discarded {
            // Its reverse may be parked for the app to decide, and so may what continues from it.
            let is_open = kept.iter().any(|(one, _)| {
                let of_it = || self.written.iter().filter(|other| other.id == one.id);
                let continues =
                    |other: &WrittenEdit| other.name == one.name && self.continues(one, other);
                one.name == edit.name && (of_it().next().is_none() || of_it().any(continues))
            });
            let is_kept = parked.is_some() || is_open;
            return if is_kept { Ok(()) } else { self.check_discarded(place, landed) };
        }
        let Some((one, mutation)) = parked else {
            return if landed.is_some() || over || self.cancels_out(place) {
                Ok(())
            } else {
                broken!("queue-loses-nothing", "lost: {edit:?}")
            };
        };
        if (one.cells != edit.cells || one.kind != edit.kind) && !self.continues(one, edit) {
            return broken!(
                "mutation-stays-as-written",
                "parked with another payload: {one:?} was {edit:?}"
            );
        }
        self.check_policy(edit, mutation, kept)?;
        match landed.filter(|_| edit.kind != Kind::Delete) {
            None => {
                self.report.count("an edit parked and never applied");
                self.check_parked_reason(place, mutation, kept)
            }
            Some(tick) => {
                let history = self.server.history();
                // The row with a random key can only come from its create, unless it was deleted
                // since: that, and another row under its key, are for the app to decide.
                let is_clear = edit.kind == Kind::Create
                    && self.random.contains(&edit.name.1)
                    && !history.was_deleted(&edit.name, tick);
                let excused = history.others_wrote(&edit.name, edit.at, tick);
                // A request of it may arrive after it was parked.
                let is_late = self.late.contains(&edit.name);
                if !is_late && (is_clear || !excused) {
                    return broken!(
                        "parked-is-not-applied",
                        "parked though applied, and it was clear: {edit:?}"
                    );
                }
                self.report.count(RESIDUE);
                Ok(())
            }
        }
    }

    /// Whether the parked mutation is this create, as an edit of the row that an earlier create of
    /// the device has made: the server had that create although the app had discarded it.
    fn continues(&self, parked: &WrittenEdit, edit: &WrittenEdit) -> bool {
        let is_of_row = |one: &&WrittenEdit| one.at == edit.at && one.name == edit.name;
        let is_new = |cell: &written::Cell| {
            let same = |wrote: &written::Cell| (wrote.0, &wrote.2) == (cell.0, &cell.2);
            cell.2.is_none() || edit.cells.iter().any(same) // A create leaves the other columns NULL.
        };
        (edit.kind, parked.kind) == (Kind::Create, Kind::Update)
            && parked.cells.iter().all(is_new)
            && self.written.iter().filter(is_of_row).any(|one| one.discarded)
    }

    /// A policy that overwrites foreign values leaves a conflict to the app only if a row is gone.
    fn check_policy(
        &self,
        edit: &WrittenEdit,
        mutation: &Mutation,
        kept: &[(WrittenEdit, &Mutation)],
    ) -> Checked {
        let insists = matches!(self.policies[edit.at], Policy::Rebase | Policy::KeepLocal);
        if !insists || mutation.reason != Some(ParkReason::Conflicted) {
            return Ok(());
        }
        let history = self.server.history();
        let is_gone = |one: &WrittenEdit| {
            let later = |change: &&Change| change.tick > one.known;
            let versions = history.versions(&one.name);
            versions.iter().filter(later).any(|change| !change.is_there())
                || !versions.last().is_some_and(Change::is_there)
        };
        let mut whole = self.written.iter().filter(|one| one.id == edit.id && one.at == edit.at);
        let upon_parked = kept
            .iter()
            .any(|(earlier, parked)| earlier.name == edit.name && parked.seq < mutation.seq);
        if upon_parked || whole.any(is_gone) {
            return Ok(());
        }
        let detail = mutation.detail.as_deref().unwrap_or_default();
        broken!("policy-decides", "parked against the policy ({detail}): {edit:?}")
    }

    /// Whether the same device overwrote all of it later.
    fn is_overwritten(&self, place: usize) -> bool {
        let edit = &self.written[place];
        let later = self.written[place + 1..].iter();
        let mut over: Vec<&str> = Vec::new();
        for other in later.filter(|other| other.at == edit.at && other.name == edit.name) {
            if other.kind != Kind::Update || edit.kind == Kind::Delete {
                return true;
            }
            over.extend(other.cells.iter().map(|cell| cell.0));
        }
        edit.cells.iter().any(|cell| over.contains(&cell.0))
    }

    /// Whether it deletes a row that the device created and the server never had, or that the device
    /// created to reverse a discarded delete: the two cancel out.
    fn cancels_out(&self, place: usize) -> bool {
        let edit = &self.written[place];
        let of_row = |one: &&WrittenEdit| one.at == edit.at && one.name == edit.name;
        let mut earlier = self.written[..place].iter().rev().filter(of_row);
        let mut discarded = earlier.clone().take_while(|one| one.discarded);
        let reverses = discarded.any(|one| one.kind == Kind::Delete);
        let create = earlier.find(|one| one.kind == Kind::Create);
        let is_unknown =
            create.is_some_and(|create| applied_at(&self.server.history(), create).is_none());
        edit.kind == Kind::Delete && (reverses || is_unknown)
    }

    /// A discarded value is not on the server in the end, unless another writer changed the row.
    fn check_discarded(&mut self, place: usize, landed: Option<usize>) -> Checked {
        let edit = &self.written[place];
        let Some(tick) = landed.filter(|_| edit.kind != Kind::Delete) else { return Ok(()) };
        let history = self.server.history();
        let Some(row) = history.now(&edit.name).filter(|row| row.is_there) else { return Ok(()) };
        // Each edit names the parent again, so its presence shows nothing.
        let is_there = |cell: &written::Cell| {
            cell.0 != "note_id" && cell.2.is_some() && row.cells.get(cell.0) == cell.2.as_ref()
        };
        if !edit.cells.iter().any(is_there) {
            return Ok(());
        }
        // A create that was sent, and that the app made again, is not reversed: the second create
        // becomes an edit of the row. If that is discarded as well, the row stays.
        let created_again = self.written[place + 1..].iter().any(|one| {
            (one.at, one.kind, one.discarded) == (edit.at, Kind::Create, true)
                && one.name == edit.name
                && edit.kind == Kind::Create
        });
        // A device that has pulled only an older delete has no row from which to restore the value,
        // and a request that arrives late writes the value again after it was reversed.
        let excused = created_again
            || history.others_wrote(&edit.name, edit.at, tick)
            || history.came_back(&edit.name, edit.known, tick)
            || self.late.contains(&edit.name);
        let detail = format!("{edit:?} was discarded, and the server has it");
        drop(history);
        if excused {
            self.report.count(ALIVE);
            return Ok(());
        }
        broken!("given-up-is-taken-back", "{detail}")
    }

    /// Whether there was a reason to park an edit: another writer changed one of its rows, or the
    /// server's database refused one of them.
    fn check_parked_reason(
        &self,
        place: usize,
        mutation: &Mutation,
        kept: &[(WrittenEdit, &Mutation)],
    ) -> Checked {
        let edit = &self.written[place];
        let reason = mutation.reason;
        if matches!(reason, Some(ParkReason::Depends)) || edit.bad {
            return Ok(());
        }
        let history = self.server.history();
        let mut whole = self.written.iter().filter(|one| one.id == edit.id && one.at == edit.at);
        let touched = |name: &Name, one: &WrittenEdit| {
            // A delete that arrives late is applied, because the server compares nothing when it deletes.
            let is_late = self.late.contains(name);
            is_late || self.poisoned.contains(name) || history.others_wrote(name, one.at, one.known)
        };
        let explained = whole.any(|one| {
            let parent = one.cells.iter().find(|cell| cell.0 == "note_id");
            let parent = parent.and_then(|cell| Some(("notes".to_owned(), cell.2.clone()?)));
            // The result of an earlier edit of the row is missing.
            let upon_parked = kept
                .iter()
                .any(|(earlier, parked)| earlier.name == one.name && parked.seq < mutation.seq);
            // A page may end between a delete and the following create: then the row only seems to
            // be deleted.
            let deleted = |earlier: &WrittenEdit| {
                earlier.at == one.at && earlier.name == one.name && earlier.kind == Kind::Delete
            };
            let stale = one.kind == Kind::Create
                && (self.written[..place].iter().any(deleted)
                    || history.came_back(&one.name, one.known, one.tick));
            let upon_discarded = self.written[..place].iter().any(|earlier| {
                earlier.at == one.at && earlier.name == one.name && earlier.discarded
            });
            // The foreign keys of a plain schema are not rules of this device: a child is sent on
            // its own.
            let orphan = parent.as_ref().is_some_and(|name| {
                touched(name, one)
                    || kept.iter().any(|(earlier, _)| earlier.name == *name)
                    || self
                        .written
                        .iter()
                        .any(|one| one.name == *name && (one.discarded || one.kind == Kind::Delete))
            });
            one.bad || stale || upon_discarded || upon_parked || orphan || touched(&one.name, one)
        });
        if explained {
            return Ok(());
        }
        let detail = mutation.detail.as_deref().unwrap_or_default();
        if detail.contains("too_large") {
            return Ok(());
        }
        broken!(
            "parked-for-a-reason",
            "an innocent edit is parked ({reason:?}, {detail}): {edit:?}"
        )
    }
}
