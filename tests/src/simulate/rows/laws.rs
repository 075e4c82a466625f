//! Invariants at every step: the queue loses nothing, a mutation keeps its content, the app sees
//! base plus pending mutations, no unseen value is overwritten, and no row is shown without access.

use std::collections::BTreeSet;

use rejoin_core::Policy;
use rejoin_core::engine::queue::mutation::{Mutation, MutationState};
use rejoin_core::engine::rows::patch::{ColumnPatch, PatchKind, RowPatch};
use rejoin_core::engine::schema::model::Schema;
use rejoin_core::ids::MutationId;

use super::book::{Cell, Doing, Written, number};
use super::history::{Name, Row, Rows, is_live};
use super::meaning::{is_as_sent, leaves_none_behind};
use super::offers::Withdrawn;
use super::schema::{self, TINT};
use super::sight::{self, name};
use super::site::Over;
use super::world::World;
use crate::simulate::{Checked, broken};

/// Why a device is checked, which determines the allowed changes of its queue.
#[derive(Debug)]
pub(super) enum Why {
    /// It was opened: no change.
    Opened,
    /// Its app wrote: one more mutation.
    Wrote { doing: Option<Doing>, bad: bool },
    /// It exchanged messages with the server: some mutations have their verdict, some were
    /// reverted.
    Exchanged,
    /// Its app decided about these, and made this one of them.
    Decided { gone: Vec<MutationId>, made: Option<MutationId>, reverse: bool },
}

impl World<'_> {
    /// Checks a device, and compares its state with its previous state.
    pub(super) fn look(&mut self, at: usize, why: &Why) -> Checked {
        let seen = sight::look(self.seats[at].device.engine())?;
        let schema = self.seats[at].device.engine().schema().clone();
        let before = std::mem::replace(&mut self.seats[at].sight, seen);
        self.seats[at].remember();
        if matches!(why, Why::Decided { .. }) {
            self.offers.start_epoch();
        }
        let queue = self.seats[at].sight.queue.clone();
        let had = |id: MutationId| before.queue.iter().any(|one| one.id == id);
        for one in queue.iter().filter(|one| !had(one.id)) {
            self.is_new(at, one, why)?;
        }
        let has: BTreeSet<MutationId> = queue.iter().map(|one| one.id).collect();
        for one in before.queue.iter().filter(|one| !has.contains(&one.id)) {
            self.is_gone(at, one, why)?;
        }
        for one in &queue {
            self.is_unchanged(one)?;
            if self.book.runs_over(one, &schema) {
                self.report.count("an action that writes other rows when it runs again");
            }
            let was = before.queue.iter().find(|was| was.id == one.id);
            was.map_or(Ok(()), |was| is_as_sent(was, one))?;
            if one.state == MutationState::Parked
                && was.is_none_or(|was| was.state != MutationState::Parked)
            {
                self.is_parked(at, one)?;
                leaves_none_behind(&schema, &self.seats[at].sight.base, &queue, one)?;
                if was.is_some_and(|was| was.state == MutationState::Pending) {
                    self.waits_unjudged(at, one)?;
                }
            }
        }
        let seat = &self.seats[at];
        // A mutation that the history offers again is applied as recorded, and does not run.
        let recalled = |one: &Mutation| self.site.ever_accepted(&self.known_as(one.id));
        let runs = |one: &Mutation| !seat.is_older && !recalled(one);
        let doing = |one: &Mutation| self.book.doing(one).filter(|_| runs(one));
        seat.sight.is_base_with_mutations(&schema, doing)?;
        self.shows_only_granted_rows(at)
    }

    fn is_new(&mut self, at: usize, one: &Mutation, why: &Why) -> Checked {
        let known = self.book.of(one.id).is_some();
        let (doing, bad, reverse) = match why {
            Why::Wrote { doing, bad } if !known => (doing.clone(), *bad, false),
            Why::Decided { made: Some(made), reverse, .. } if *made == one.id => {
                (None, false, *reverse)
            }
            Why::Exchanged if known => return self.is_back(at, one),
            Why::Exchanged => {
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
        let schema = self.seats[at].device.engine().schema().clone();
        let rows: Vec<Name> =
            one.effect.rows.iter().filter_map(|patch| name(&schema, patch)).collect();
        let known = self.knows(at, one.id, &rows);
        let cells = sight::cells(&schema, one);
        let written = Written {
            id: one.id,
            user: self.seats[at].device.user.clone(),
            doing,
            first: one.clone(),
            saw: self.seats[at].versions(&rows),
            rows,
            known,
            epoch: self.seats[at].epoch,
            copied: false,
            unseeing: self.seats[at].is_reset,
            bad,
            reverse,
            has_action: false,
            cells,
            columns: schema::columns(&schema),
            gained: edits_gained(&schema, one),
            given_up: false,
            is_elsewhere: false,
            groundless: false,
            retried: false,
        };
        self.report.say(|| format!("   {at} has {} {:?}", one.id, written.rows));
        self.book.written.push(written);
        Ok(())
    }

    /// A mutation that had left the queue is in it again: a device offers a restored server what
    /// it, or another copy of it, had.
    fn is_back(&mut self, at: usize, one: &Mutation) -> Checked {
        let is_elsewhere = self.book.of(one.id).is_some_and(|one| one.is_elsewhere);
        if !is_elsewhere && !self.site.ever_accepted(&self.known_as(one.id)) {
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
    fn knows(&self, at: usize, id: MutationId, rows: &[Name]) -> usize {
        let seat = &self.seats[at];
        let open =
            |one: &&Mutation| matches!(one.state, MutationState::Sent | MutationState::Uncertain);
        let open = seat.sight.queue.iter().filter(|one| one.id != id).filter(open);
        let over = open.filter_map(|one| self.book.of(one.id));
        let over = over.filter(|one| one.rows.iter().any(|name| rows.contains(name)));
        over.map(|one| one.known).chain([seat.known]).min().unwrap_or_default()
    }

    pub(super) fn known_as(&self, id: MutationId) -> (String, String) {
        let user = self.book.of(id).map(|one| one.user.clone()).unwrap_or_default();
        (user, id.to_string())
    }

    /// Whether the server accepted the content under other ids: those of mutations that were sent,
    /// and then edited into this one. A column that was added in between, and that no device wrote,
    /// has the server's default.
    fn is_on_the_server(&self, one: &Mutation) -> bool {
        let Some(written) = self.book.of(one.id) else { return false };
        let given_up = self.book.written.iter().filter(|old| old.given_up);
        let accepted: Vec<_> =
            given_up.filter(|old| self.site.has_accepted(&self.known_as(old.id))).collect();
        let has = |old: &Written, cell: &Cell| {
            let mut same =
                old.cells.iter().filter(|(row, column, _)| (row, column) == (&cell.0, &cell.1));
            let is_added = cell.2.is_none() && same.next().is_none() && old.rows.contains(&cell.0);
            is_added || old.cells.contains(cell)
        };
        written.cells.iter().all(|cell| accepted.iter().any(|old| has(old, cell)))
    }

    /// A mutation that left the queue was accepted, or discarded by the app.
    fn is_gone(&mut self, at: usize, one: &Mutation, why: &Why) -> Checked {
        match why {
            Why::Exchanged if self.site.has_accepted(&self.known_as(one.id)) => {
                self.report.count("mutations accepted");
                if one.action.is_some() {
                    self.report.count("actions accepted");
                }
                self.seats[at].accepted.push(one.id);
                Ok(())
            }
            Why::Exchanged if self.is_on_the_server(one) => {
                if let Some(written) = self.book.of_mut(one.id) {
                    written.is_elsewhere = true;
                }
                Ok(())
            }
            Why::Decided { gone, .. }
                if gone.contains(&one.id) || one.state != MutationState::Pending =>
            {
                if matches!(one.state, MutationState::Sent | MutationState::Uncertain) {
                    let (id, seq) = (one.id, one.seq);
                    let rows = self.book.of(id).map(|one| one.rows.clone()).unwrap_or_default();
                    self.seats[at].withdrawn.push(Withdrawn { id, seq, rows });
                }
                // A mutation that was sent on top of a discarded row is discarded with it.
                if let Some(written) = self.book.of_mut(one.id) {
                    written.given_up = true;
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
    fn goes_on_with(&self, one: &Mutation, written: &Written) -> bool {
        let schema_of = |patch: &RowPatch| (patch.row.table, patch.row.key.clone());
        let given_up = self.book.written.iter().filter(|other| other.given_up);
        let rows: Vec<_> =
            given_up.flat_map(|other| &other.first.effect.rows).map(schema_of).collect();
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
    fn is_unchanged(&self, one: &Mutation) -> Checked {
        let Some(written) = self.book.of(one.id) else {
            return broken!("queue-has-what-was-written", "no device wrote {}", one.id);
        };
        let is_kept = one.effect == written.first.effect || self.goes_on_with(one, written);
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
    fn shows_only_granted_rows(&self, at: usize) -> Checked {
        let seat = &self.seats[at];
        let user = &seat.device.user;
        for (name, row) in &seat.sight.base {
            let Some(owner) = row.get("user_id") else { continue };
            if owner != user && !self.granted.contains(&(user.clone(), owner.clone())) {
                return broken!("rows-are-the-users", "{name:?} of {owner} is with {user}");
            }
        }
        Ok(())
    }

    /// No push overwrites a value that its device never had, and the server's numbers change by
    /// what actions take.
    pub(super) fn look_at_writing(&mut self, at: usize) -> Checked {
        let over: Vec<Over> = self.site.written_over.take();
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
            if is_compared && !by_time && !self.seats[at].seen.contains(&cell) {
                return broken!("no-blind-overwrite", "{at} wrote over what it never saw: {one:?}");
            }
        }
        self.takes_what_it_says()
    }

    /// On the server, `n` and the rows that record what was taken from it balance.
    fn takes_what_it_says(&self) -> Checked {
        // Withdrawn mutations, and those that the history offers again, are written whole or
        // parked. A client-wins edit overwrites later changes.
        let insists = |one: &Written| {
            let runs = !one.reverse && !self.site.ever_accepted(&self.known_as(one.id));
            !runs && one.retried && one.rows.iter().any(|name| name.0 == "takings")
        };
        if self.book.written.iter().any(insists) {
            return Ok(());
        }
        let history = self.site.history();
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
    pub(super) fn agrees_with_server(&mut self, at: usize) -> Checked {
        if self.seats[at].stale || self.seats[at].pulled != self.site.history().tick() {
            return Ok(());
        }
        let shown = self.shown(at);
        let base = &self.seats[at].sight.base;
        if *base == shown {
            self.report.count("passes after which device and server agree");
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
        let schema = self.seats[at].device.engine().schema().clone();
        let user = self.seats[at].device.user.clone();
        let mut owners = self.site.buckets(&user);
        owners.insert(user);
        let history = self.site.history();
        let sees = |row: &Row| row.get("user_id").is_some_and(|owner| owners.contains(owner));
        let mut rows = Rows::new();
        for ((table, id), row) in history.now.iter().filter(|(_, row)| is_live(row)) {
            let item = row.get("item_id").map(|item| ("items".to_owned(), item.clone()));
            let above = item.and_then(|item| history.now.get(&item)).unwrap_or(row);
            let is_everybodys = ["items", "parts", "kinds"].contains(&table.as_str());
            if !sees(above) && (above.contains_key("user_id") || !is_everybodys) {
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
