//! Invariants at every step: the queue loses nothing, a mutation keeps its content, the app sees
//! base plus pending mutations, no unseen value is overwritten, and no row is shown without access.

use std::collections::BTreeSet;

use rejoin_core::Policy;
use rejoin_core::engine::queue::mutation::{Mutation, MutationState};
use rejoin_core::engine::rows::patch::{ColumnPatch, PatchKind, RowPatch};
use rejoin_core::engine::schema::model::Schema;
use rejoin_core::ids::MutationId;

use super::device_state::{self, name};
use super::history::{Name, Row, Rows, is_live};
use super::mutations::{ActionCall, Cell, WrittenMutation, number};
use super::push_content::{check_dependents_parked, check_sent_unchanged};
use super::push_invariants::WithdrawnMutation;
use super::pushes::OverwrittenCell;
use super::run::RowsRun;
use super::schema::{self, TINT};
use super::setting::JOBS;
use super::teams::is_of_team;
use crate::simulate::{Checked, broken};

/// Why a device is checked, which determines the allowed changes of its queue.
#[derive(Debug)]
pub(super) enum CheckCause {
    /// It was opened: no change.
    Opened,
    /// Its app wrote: one more mutation.
    Wrote { call: Option<ActionCall>, bad: bool },
    /// It exchanged messages with the server: some mutations have their verdict, some were
    /// reverted.
    Exchanged,
    /// Its app decided about these, and made this one of them.
    Decided { gone: Vec<MutationId>, made: Option<MutationId>, reverse: bool },
}

impl RowsRun<'_> {
    /// Checks a device, and compares its state with its previous state.
    pub(super) fn check_device(&mut self, at: usize, why: &CheckCause) -> Checked {
        let seen = device_state::read(self.slots[at].device.engine())?;
        let schema = self.slots[at].device.engine().schema().clone();
        let before = std::mem::replace(&mut self.slots[at].state, seen);
        self.slots[at].record_seen_cells();
        if matches!(why, CheckCause::Decided { .. }) {
            self.push_history.forget_conflicts();
        }
        let queue = self.slots[at].state.queue.clone();
        let had = |id: MutationId| before.queue.iter().any(|one| one.id == id);
        for one in queue.iter().filter(|one| !had(one.id)) {
            self.check_added(at, one, why)?;
        }
        let has: BTreeSet<MutationId> = queue.iter().map(|one| one.id).collect();
        for one in before.queue.iter().filter(|one| !has.contains(&one.id)) {
            self.check_removed(at, one, why)?;
        }
        for one in &queue {
            self.check_content(one)?;
            if self.mutations.record_new_rows(one, &schema) {
                self.report.count("an action that writes other rows when it runs again");
            }
            let was = before.queue.iter().find(|was| was.id == one.id);
            was.map_or(Ok(()), |was| check_sent_unchanged(was, one))?;
            if one.state == MutationState::Parked
                && was.is_none_or(|was| was.state != MutationState::Parked)
            {
                self.check_parked(at, one)?;
                check_dependents_parked(&schema, &self.slots[at].state.base, &queue, one)?;
                if was.is_some_and(|was| was.state == MutationState::Pending) {
                    self.check_follower_parked(at, one)?;
                }
            }
        }
        let slot = &self.slots[at];
        // A mutation that the history offers again is applied as recorded, and does not run.
        let recalled = |one: &Mutation| self.server.ever_accepted(&self.mutation_key(one.id));
        let runs = |one: &Mutation| !slot.is_older && !recalled(one);
        let call = |one: &Mutation| self.mutations.call(one).filter(|_| runs(one));
        slot.state.check_view(&schema, call)?;
        self.check_granted_rows(at)
    }

    fn check_added(&mut self, at: usize, one: &Mutation, why: &CheckCause) -> Checked {
        let known = self.mutations.get(one.id).is_some();
        let (call, bad, reverse) = match why {
            CheckCause::Wrote { call, bad } if !known => (call.clone(), *bad, false),
            CheckCause::Decided { made: Some(made), reverse, .. } if *made == one.id => {
                (None, false, *reverse)
            }
            CheckCause::Exchanged if known => return self.check_returned(at, one),
            CheckCause::Exchanged => {
                self.report.count("a discarded mutation is reverted");
                (None, false, true)
            }
            _ => {
                return broken!(
                    "queue-has-what-was-written",
                    "{} is in the queue of {at}, by {why:?}",
                    one.id
                );
            }
        };
        let schema = self.slots[at].device.engine().schema().clone();
        let rows: Vec<Name> =
            one.effect.rows.iter().filter_map(|patch| name(&schema, patch)).collect();
        let known = self.known_changes(at, one.id, &rows);
        let cells = device_state::cells(&schema, one);
        let written = WrittenMutation {
            id: one.id,
            user: self.slots[at].device.user.clone(),
            call,
            first: one.clone(),
            saw: self.slots[at].versions(&rows),
            lost_right: self.may_lack_right(at, &rows),
            rows,
            known,
            epoch: self.slots[at].epoch,
            copied: false,
            after_reset: self.slots[at].is_reset,
            bad,
            reverse,
            has_action: false,
            cells,
            columns: schema::columns(&schema),
            gained: edits_gained(&schema, one),
            discarded: false,
            accepted_under_other_id: false,
            retried_on_missing_row: false,
            retried: false,
        };
        self.report.trace(|| format!("   {at} has {} {:?}", one.id, written.rows));
        self.mutations.written.push(written);
        Ok(())
    }

    /// A mutation that had left the queue is in it again: a device offers a restored server what
    /// it, or another copy of it, had.
    fn check_returned(&mut self, at: usize, one: &Mutation) -> Checked {
        let accepted_under_other_id =
            self.mutations.get(one.id).is_some_and(|one| one.accepted_under_other_id);
        if !accepted_under_other_id && !self.server.ever_accepted(&self.mutation_key(one.id)) {
            return broken!(
                "queue-has-what-was-written",
                "{} is in the queue of {at} again",
                one.id
            );
        }
        self.report.count("offered again to a restored server");
        Ok(())
    }

    /// The number of the server's changes that the author of an edit of these rows has certainly
    /// seen. Under an edit without a verdict the base may have changes that were never shown.
    fn known_changes(&self, at: usize, id: MutationId, rows: &[Name]) -> usize {
        let slot = &self.slots[at];
        let open =
            |one: &&Mutation| matches!(one.state, MutationState::Sent | MutationState::Uncertain);
        let open = slot.state.queue.iter().filter(|one| one.id != id).filter(open);
        let over = open.filter_map(|one| self.mutations.get(one.id));
        let over = over.filter(|one| one.rows.iter().any(|name| rows.contains(name)));
        over.map(|one| one.known).chain([slot.known]).min().unwrap_or_default()
    }

    pub(super) fn mutation_key(&self, id: MutationId) -> (String, String) {
        let user = self.mutations.get(id).map(|one| one.user.clone()).unwrap_or_default();
        (user, id.to_string())
    }

    /// Whether the server accepted the content under other ids: those of mutations that were sent,
    /// and then edited into this one. A column that was added in between, and that no device wrote,
    /// has the server's default.
    fn is_on_server(&self, one: &Mutation) -> bool {
        let Some(written) = self.mutations.get(one.id) else { return false };
        let discarded = self.mutations.written.iter().filter(|old| old.discarded);
        let accepted: Vec<_> =
            discarded.filter(|old| self.server.has_accepted(&self.mutation_key(old.id))).collect();
        let has = |old: &WrittenMutation, cell: &Cell| {
            let mut same =
                old.cells.iter().filter(|(row, column, _)| (row, column) == (&cell.0, &cell.1));
            let is_added = cell.2.is_none() && same.next().is_none() && old.rows.contains(&cell.0);
            is_added || old.cells.contains(cell)
        };
        written.cells.iter().all(|cell| accepted.iter().any(|old| has(old, cell)))
    }

    /// A mutation that left the queue was accepted, or discarded by the app.
    fn check_removed(&mut self, at: usize, one: &Mutation, why: &CheckCause) -> Checked {
        match why {
            CheckCause::Exchanged if self.server.has_accepted(&self.mutation_key(one.id)) => {
                self.report.count("mutations accepted");
                if one.action.is_some() {
                    self.report.count("actions accepted");
                }
                self.slots[at].accepted.push(one.id);
                Ok(())
            }
            CheckCause::Exchanged if self.is_on_server(one) => {
                if let Some(written) = self.mutations.get_mut(one.id) {
                    written.accepted_under_other_id = true;
                }
                Ok(())
            }
            CheckCause::Decided { gone, .. }
                if gone.contains(&one.id) || one.state != MutationState::Pending =>
            {
                if matches!(one.state, MutationState::Sent | MutationState::Uncertain) {
                    let (id, seq) = (one.id, one.seq);
                    let rows =
                        self.mutations.get(id).map(|one| one.rows.clone()).unwrap_or_default();
                    self.slots[at].withdrawn.push(WithdrawnMutation { id, seq, rows });
                }
                // A mutation that was sent on top of a discarded row is discarded with it.
                if let Some(written) = self.mutations.get_mut(one.id) {
                    written.discarded = true;
                }
                Ok(())
            }
            _ => broken!(
                "queue-loses-nothing",
                "{} has left the queue of {at}, by {why:?}: {one:?}",
                one.id
            ),
        }
    }

    /// Whether it differs only in rows that a discarded mutation had created and that the server
    /// has. It is then an edit of such a row in the columns that differ, or no longer touches it.
    fn continues(&self, one: &Mutation, written: &WrittenMutation) -> bool {
        let schema_of = |patch: &RowPatch| (patch.row.table, patch.row.key.clone());
        let discarded = self.mutations.written.iter().filter(|other| other.discarded);
        let rows: Vec<_> =
            discarded.flat_map(|other| &other.first.effect.rows).map(schema_of).collect();
        written.first.effect.rows.iter().all(|first| {
            let now = one.effect.rows.iter().find(|patch| patch.row == first.row);
            let same = |column: &ColumnPatch| {
                let mut known = first.columns.iter();
                known.any(|known| known.column == column.column && known.new == column.new)
            };
            let is_part =
                |now: &RowPatch| now.kind == PatchKind::Update && now.columns.iter().all(same);
            let made = first.kind == PatchKind::Insert && rows.contains(&schema_of(first));
            now == Some(first) || made && now.is_none_or(is_part)
        })
    }

    /// The content of a mutation does not change; only an action writes something else in another
    /// run.
    fn check_content(&self, one: &Mutation) -> Checked {
        let Some(written) = self.mutations.get(one.id) else {
            return broken!("queue-has-what-was-written", "no device wrote {}", one.id);
        };
        let is_kept = one.effect == written.first.effect || self.continues(one, written);
        if one.action.is_none() && !is_kept {
            return broken!("mutation-stays-as-written", "{one:?} was {:?}", written.first);
        }
        if one.action != written.first.action {
            return broken!(
                "mutation-stays-as-written",
                "{one:?} was another action: {:?}",
                written.first
            );
        }
        Ok(())
    }

    /// A device has the rows of its user, rows without an owner, and rows of users that granted
    /// access.
    fn check_granted_rows(&self, at: usize) -> Checked {
        let slot = &self.slots[at];
        let user = &slot.device.user;
        for (name, row) in &slot.state.base {
            let Some(owner) = row.get("user_id").or(row.get("team")) else { continue };
            if owner != user && !self.granted.contains(&(user.clone(), owner.clone())) {
                return broken!("rows-are-the-users", "{name:?} of {owner} is with {user}");
            }
        }
        Ok(())
    }

    /// No push overwrites a value that its device never had, and the server's numbers change by
    /// what actions take.
    pub(super) fn check_overwritten(&mut self, at: usize) -> Checked {
        let over: Vec<OverwrittenCell> = self.server.overwritten.take();
        for one in &over {
            if one.forced {
                self.report.count("a forced overwrite");
                continue;
            }
            let is_compared = ["name", "note"].contains(&one.column.as_str()) || one.old_only;
            let by_time = self.setting.policy(&one.name.0) == Policy::LastWriteWins;
            let cell = (one.name.clone(), one.column.clone(), one.was.clone());
            // Edits that may overwrite unseen values are checked by their time, where it is
            // carried.
            if is_compared && !by_time && !self.slots[at].seen.contains(&cell) {
                return broken!("no-blind-overwrite", "{at} wrote over what it never saw: {one:?}");
            }
        }
        self.check_tally_balance()
    }

    /// On the server, `n` and the rows that record what was taken from it balance.
    fn check_tally_balance(&self) -> Checked {
        // Withdrawn mutations, and those that the history offers again, are written whole or
        // parked. A client-wins edit overwrites later changes.
        let insists = |one: &WrittenMutation| {
            let runs = !one.reverse && !self.server.ever_accepted(&self.mutation_key(one.id));
            !runs && one.retried && one.rows.iter().any(|name| name.0 == "takings")
        };
        if self.mutations.written.iter().any(insists) {
            return Ok(());
        }
        let history = self.server.history();
        for ((table, id), row) in history.now.iter().filter(|(name, _)| name.0 == "tallies") {
            let of = |taking: &&Row| taking.get("tally_id") == Some(id);
            let takings = history.now.iter().filter(|(name, _)| name.0 == "takings");
            let taken: i64 =
                takings.map(|(_, row)| row).filter(of).filter_map(|row| number(row, "n")).sum();
            if number(row, "n").unwrap_or(0) + taken != 100 {
                return broken!("actions-balance", "{table} {id}: {row:?}, and {taken} were taken");
            }
        }
        Ok(())
    }

    /// After a whole pass without other writers, the base is what the server shows the user.
    pub(super) fn check_base(&mut self, at: usize) -> Checked {
        if self.slots[at].stale || self.slots[at].pulled != self.server.history().tick() {
            return Ok(());
        }
        let shown = self.shown(at);
        let base = &self.slots[at].state.base;
        if *base == shown {
            self.report.count("passes after which device and server agree");
            if base.keys().any(|name| name.0 == JOBS) {
                self.report.count("rows of a subscription");
            }
            return Ok(());
        }
        let names: BTreeSet<_> = base.keys().chain(shown.keys()).collect();
        let name = names.iter().find(|name| base.get(**name) != shown.get(**name));
        let both = name.map(|name| (name, base.get(*name), shown.get(*name)));
        broken!(
            "base-is-what-the-server-shows",
            "{at} finished a pass, and differs from the server: {both:?}"
        )
    }

    /// The rows that the server shows the user of a device, in the columns that the device has.
    pub(super) fn shown(&mut self, at: usize) -> Rows {
        let schema = self.slots[at].device.engine().schema().clone();
        let user = self.slots[at].device.user.clone();
        let mut owners = self.server.buckets(&user);
        let access = self.server.access(&user, self.slots[at].header.as_deref());
        owners.insert(user);
        let history = self.server.history();
        let sees = |row: &Row| row.get("user_id").is_some_and(|owner| owners.contains(owner));
        let mut rows = Rows::new();
        for (name, row) in history.now.iter().filter(|(_, row)| is_live(row)) {
            let (table, id) = name;
            let item = row.get("item_id").map(|item| ("items".to_owned(), item.clone()));
            let above = item.and_then(|item| history.now.get(&item)).unwrap_or(row);
            let is_everybodys = ["items", "parts", "kinds"].contains(&table.as_str());
            if is_of_team(name) {
                if !access.reads(name, row) {
                    continue;
                }
            } else if !sees(above) && (above.contains_key("user_id") || !is_everybodys) {
                continue;
            }
            let Some(known) = schema.named(table) else { continue };
            let has = |name: &String| known.columns.iter().any(|column| column.name == *name);
            let row = row.iter().filter(|(name, _)| has(name));
            let row = row.map(|(name, value)| (name.clone(), value.clone())).collect();
            rows.insert((table.clone(), id.clone()), row);
        }
        rows
    }
}

/// Whether it edits a column that its device had gained and the server had not filled yet: its old
/// value is NULL.
fn edits_gained(schema: &Schema, one: &Mutation) -> bool {
    let Some(marks) = schema.named("marks") else { return false };
    let tint = marks.column_named(TINT).map(|at| marks.columns[at].id);
    let mut columns = one.effect.rows.iter().flat_map(|patch| {
        let updates = patch.row.table == marks.number && patch.kind == PatchKind::Update;
        patch.columns.iter().filter(move |column| updates && column.is_change())
    });
    columns.any(|column| Some(column.column) == tint && column.old.is_null())
}
