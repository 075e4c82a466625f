//! Invariants of parking: a mutation is parked only for a reason that the server's history shows.

use rejoin_core::Policy;
use rejoin_core::engine::queue::mutation::{Mutation, MutationState, ParkReason};
use rejoin_core::engine::rows::patch::{PatchKind, RowPatch};

use super::exceptions::{CONFLICTED, POLICY, REJECTED};
use super::history::{Name, is_live};
use super::mutations::WrittenMutation;
use super::run::RowsRun;
use super::schema::{self, TINT};
use super::setting::LEAVES;
use super::teams::is_of_team;
use crate::simulate::exchange::parked_event;
use crate::simulate::{Checked, broken};

impl RowsRun<'_> {
    /// Checks that the history of the server explains why a mutation is parked.
    pub(super) fn check_parked(&mut self, at: usize, one: &Mutation) -> Checked {
        let Some(written) = self.mutations.get(one.id) else { return Ok(()) };
        self.report.count(parked_event(one));
        if written.lost_right {
            self.report.count("parked, perhaps for a lost right");
        }
        let history = self.server.history();
        let touched = written.rows.iter().any(|name| history.others_wrote(name, at, written.known));
        drop(history);
        let invariant = match one.reason {
            Some(ParkReason::Rejected) if !self.may_be_rejected(written) => REJECTED,
            Some(ParkReason::Refused) if lacks_right(one) && !self.may_be_rejected(written) => {
                REJECTED
            }
            // Time alone decides, and the last writer of the row may be this very device.
            Some(ParkReason::Conflicted) if is_superseded(one) => return Ok(()),
            Some(ParkReason::Conflicted) if self.is_decided_on_device(written, one) => {
                "server-alone-compares-times"
            }
            Some(ParkReason::Conflicted) if self.is_for_policy(at, written, one) => POLICY,
            Some(ParkReason::Conflicted) if !touched && !self.may_be_in_conflict(at, written) => {
                CONFLICTED
            }
            Some(ParkReason::Depends) if one.because_of.is_none() => "parked-for-a-reason",
            None => "parked-for-a-reason",
            _ => return Ok(()),
        };
        broken!(invariant, "an innocent edit of {at} is parked: {one:?}, {:?}", written.rows)
    }

    /// In a table where the later edit wins, no device reports a conflict: only the server does,
    /// with a code.
    fn is_decided_on_device(&self, written: &WrittenMutation, one: &Mutation) -> bool {
        let by_time = |name: &Name| self.setting.policy(&name.0) == Policy::LastWriteWins;
        let has_code = one.detail.as_deref().is_some_and(|detail| detail.contains("\"code\":"));
        let is_offered_again = self.server.ever_accepted(&self.mutation_key(one.id));
        // A reverse is compare-only, and so is what an action wrote.
        let is_edit = one.action.is_none() && !written.has_action && !written.reverse;
        !has_code && is_edit && !is_offered_again && written.rows.iter().all(by_time)
    }

    fn may_be_rejected(&self, written: &WrittenMutation) -> bool {
        // The item of a part may be gone, and so may a leaf's table; or its name may be taken.
        let may = |name: &Name| name.0 == "parts" || name.0 == LEAVES;
        written.bad
            || self.is_excepted(REJECTED, written)
            || names_tint(written)
            || written.rows.iter().any(may)
            || self.is_foreign(written)
    }

    /// Whether one of its keys belongs to another user.
    fn is_foreign(&self, written: &WrittenMutation) -> bool {
        let history = self.server.history();
        let access = self.server.access(&written.user, None);
        let is_others = |name: &Name| {
            if is_of_team(name) {
                let is_member = |row| access.member_writes(row);
                return written.lost_right || !history.now.get(name).is_none_or(is_member);
            }
            // No user may write a row without an owner; a part belongs to the owner of its item.
            let row = history.now.get(name).filter(|_| name.0 != "parts");
            row.is_some_and(|row| row.get("user_id") != Some(&written.user))
                || name.0 != "takings" && !name.1.starts_with(&written.user[..1])
        };
        written.rows.iter().any(is_others)
    }

    /// While the rows exist, a policy overwrites them, or the server names the last writer.
    fn is_for_policy(&self, at: usize, written: &WrittenMutation, one: &Mutation) -> bool {
        // A later mutation of the same push, or a later page of the same pull, may have created the
        // row again.
        let detail = one.detail.as_deref().unwrap_or_default();
        let gone = ["row.deleted", "row.not_found", "\"theirs\":null"];
        let was_gone = gone.iter().any(|word| detail.contains(word));
        let state = &self.slots[at].state;
        let updates = |patch: &RowPatch| patch.kind == PatchKind::Update;
        let updates = written.first.effect.rows.iter().all(updates);
        // One part that the app must decide parks the whole: each of two policies may leave the
        // other's rows to the app.
        let policies: Vec<Policy> =
            written.rows.iter().map(|name| self.setting.policy(&name.0)).collect();
        // A retried edit comes after later edits of its own device, which may have deleted the row.
        let is_there = |name: &Name| {
            state.base.contains_key(name)
                && state.view.get(name).is_some_and(is_live)
                && match self.setting.policy(&name.0) {
                    Policy::LastWriteWins => updates,
                    Policy::Rebase | Policy::KeepLocal => {
                        self.push_history.has_one_sender(written.id)
                    }
                    Policy::AcceptServer | Policy::Manual => false,
                }
        };
        written.call.is_none()
            && !written.reverse
            && !self.is_excepted(POLICY, written)
            && !self.is_foreign(written)
            // The replacement of a sent mutation may meet it on the server.
            && !self.depends_on_discarded(written)
            && !written.retried_on_missing_row
            && !was_gone
            && policies.windows(2).all(|two| two[0] == two[1])
            && written.rows.iter().all(is_there)
    }

    fn depends_on_discarded(&self, written: &WrittenMutation) -> bool {
        let mut others = self.mutations.written.iter().filter(|one| one.discarded);
        others.any(|one| one.rows.iter().any(|name| written.rows.contains(name)))
    }

    /// Whether another device has deleted one of its rows. The history does not show a delete in
    /// the push that created the row, which two copies of a file can send.
    fn is_deleted_elsewhere(&self, at: usize, written: &WrittenMutation) -> bool {
        let deletes = |other: &WrittenMutation| {
            let mut rows = other.rows.iter().filter(|name| written.rows.contains(name));
            let is_deleted = |name: &Name| {
                let mut patches = other.first.effect.rows.iter();
                let key = Some(name.1.as_str());
                patches.any(|one| one.kind == PatchKind::Delete && one.row.key.as_text() == key)
            };
            rows.any(is_deleted)
        };
        let own = &self.slots[at].accepted;
        let mut others = self.mutations.written.iter().filter(|other| !own.contains(&other.id));
        others
            .any(|other| deletes(other) && self.server.ever_accepted(&self.mutation_key(other.id)))
    }

    fn may_be_in_conflict(&self, at: usize, written: &WrittenMutation) -> bool {
        // A mutation on the same row conflicts with another user's write, which that pending edit
        // hides on the device.
        let queue = self.slots[at].state.queue.iter();
        let upon_parked = queue.filter(|one| one.id != written.id).any(|one| {
            let meets =
                |one: &WrittenMutation| one.rows.iter().any(|name| written.rows.contains(name));
            let met = matches!(one.reason, Some(ParkReason::Conflicted | ParkReason::Depends));
            // This one deleted a row that the parked one creates again.
            let again = one.state == MutationState::Parked && creates(written);
            (met || again) && self.mutations.get(one.id).is_some_and(meets)
        });
        self.is_excepted(CONFLICTED, written)
            || upon_parked
            || self.is_deleted_elsewhere(at, written)
            || written.reverse
            || written.retried_on_missing_row
            || written.call.is_some()
            || written.gained
            || self.is_foreign(written)
            || self.depends_on_discarded(written)
            || self.follows_copied_action(written)
    }

    /// Whether it was written over what an action of a copied file had written: the other copy ran
    /// the action too, and may have written something else.
    fn follows_copied_action(&self, written: &WrittenMutation) -> bool {
        let of_action =
            |one: &&WrittenMutation| one.copied && one.call.is_some() && one.id != written.id;
        let mut others = self.mutations.written.iter().filter(of_action);
        others.any(|one| one.rows.iter().any(|name| written.rows.contains(name)))
    }
}

fn creates(written: &WrittenMutation) -> bool {
    written.first.effect.rows.iter().any(|patch| patch.kind == PatchKind::Insert)
}

/// Whether the server's reason is a missing right.
fn lacks_right(parked: &Mutation) -> bool {
    parked.detail.as_deref().unwrap_or_default().contains("\"ownership\"")
}

fn is_superseded(parked: &Mutation) -> bool {
    parked.detail.as_deref().unwrap_or_default().contains("row.superseded")
}

/// Whether it wrote the optional column: an insert with its default, or without it, did
/// not.
fn names_tint(written: &WrittenMutation) -> bool {
    let mut patches = written.first.effect.rows.iter();
    let updates = patches.any(|patch| patch.kind == PatchKind::Update);
    let wrote =
        |value: &Option<String>| value.as_deref().is_some_and(|text| text != schema::DEFAULT);
    let mut cells = written.cells.iter();
    cells.any(|(name, column, value)| {
        name.0 == "marks" && column == TINT && (updates || wrote(value))
    })
}
