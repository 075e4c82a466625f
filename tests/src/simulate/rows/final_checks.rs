//! The end of a run: some quiet passes, then the final invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rejoin_core::VerdictKind;
use rejoin_core::engine::queue::mutation::{MutationState, ParkReason};
use rejoin_core::engine::rebase::decide;
use rejoin_core::ids::MutationId;
use rejoin_core::sync::doctor;
use rejoin_core::sync::rows::digest;

use super::exceptions::{ONCE, PARKED, SURVIVES};
use super::invariants::CheckCause;
use super::mutations::WrittenMutation;
use super::run::RowsRun;
use crate::simulate::{Checked, broken};

/// A mutation that was pending in two copies of a file, was sent by one, and is parked in the
/// other.
pub(super) const RESIDUE: &str = "parked in one copy of a file, though the other's was accepted";

/// Rounds of passes within which everything must have ended, one driver interval apart: 300 s.
const ROUNDS: usize = 10;

impl RowsRun<'_> {
    /// All faults end, and devices sync until nothing is pending.
    pub(super) fn settle(&mut self) -> Checked {
        self.report.trace(|| "all faults end".to_owned());
        self.is_healing = true;
        for at in 0..self.slots.len() {
            self.sync(at)?;
            self.deliver_late(at)?;
            self.slots[at].crash();
            self.check_device(at, &CheckCause::Opened)?;
        }
        let mut rest = Ok(());
        for _ in 0..ROUNDS {
            self.advance_clocks(Duration::from_secs(30));
            for at in 0..self.slots.len() {
                self.sync(at)?;
            }
            rest = self.check_at_rest();
            if rest.is_ok() {
                return self.check_digests();
            }
        }
        rest
    }

    /// Nothing is pending, and all agree.
    fn check_at_rest(&mut self) -> Checked {
        for at in 0..self.slots.len() {
            let state = &self.slots[at].state;
            let open = state.queue.iter().find(|one| one.state != MutationState::Parked);
            if let Some(open) = open {
                return broken!("queue-drains", "device {at} still waits: {open:?}");
            }
            let open = self.slots[at].device.raw("SELECT count(*) FROM rejoin_cancel");
            if open != "0" {
                return broken!(
                    "withdrawal-has-a-verdict",
                    "{open} withdrawals of device {at} have no verdict"
                );
            }
            self.check_subscriptions(at)?;
            let shown = self.shown(at);
            if self.slots[at].state.view != shown {
                let view = &self.slots[at].state.view;
                return broken!("devices-agree", "device {at} has {view:?}, the server {shown:?}");
            }
        }
        Ok(())
    }

    fn check_digests(&mut self) -> Checked {
        for at in 0..self.slots.len() {
            for table in self.setting.tables() {
                let user = self.slots[at].device.user.clone();
                let mine = digest::digest(self.slots[at].device.engine(), table);
                let mine = mine.map_err(|error| error.to_string())?;
                let header = self.slots[at].header.as_deref();
                if mine != self.server.backend.digest_with(&user, table, header) {
                    return broken!(
                        "digests-agree",
                        "the digests of {table} of device {at} differ"
                    );
                }
            }
            self.check_rows(at)?;
        }
        Ok(())
    }

    /// A check of the rows finds nothing.
    fn check_rows(&mut self, at: usize) -> Checked {
        let device = &mut self.slots[at].device;
        let number = doctor::request(device.engine()).map_err(|error| error.to_string())?;
        device.pass(&self.server.backend).map_err(|error| error.to_string())?;
        let found = doctor::report(device.engine(), number).map_err(|error| error.to_string())?;
        if let Some(check) = found.tables.iter().find(|check| check.differing > 0) {
            return broken!("digests-agree", "a check of device {at} found damage: {check:?}");
        }
        Ok(())
    }

    /// Every mutation has exactly one outcome.
    pub(super) fn check_outcomes(&mut self) -> Checked {
        for at in 0..self.slots.len() {
            self.read_verdicts(at, 2)?;
            self.check_reported_once(at)?;
            self.check_residue(at)?;
            self.check_withdrawal_verdicts(at)?;
            self.check_not_lost(at)?;
        }
        for (user, id) in self.server.accepted().iter() {
            let id = MutationId::parse(id).ok_or_else(|| format!("{id} is no id"))?;
            match self.mutations.get(id) {
                None => {
                    return broken!(
                        "accepted-was-written",
                        "the server has {id}, which no device wrote"
                    );
                }
                Some(one) if one.user != *user => {
                    return broken!(
                        "accepted-was-written",
                        "{id} of {} was accepted as one of {user}",
                        one.user
                    );
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The other copy of a file, or a late request, may have sent what this device has parked. A
    /// retry then reports it as accepted.
    fn check_residue(&mut self, at: usize) -> Checked {
        let queue = self.slots[at].state.queue.clone();
        for one in &queue {
            if !self.server.has_accepted(&self.mutation_key(one.id)) || self.is_forgotten(one.id) {
                continue;
            }
            if !self.mutations.get(one.id).is_some_and(|one| self.is_excepted(PARKED, one)) {
                return broken!(PARKED, "parked though applied: {one:?}");
            }
            self.report.count(RESIDUE);
            let again = decide::retry(self.slots[at].device.engine(), one.id);
            self.report.trace(|| format!("   {at} retries {}: {again:?}", one.id));
            self.check_device(
                at,
                &CheckCause::Decided { gone: Vec::new(), made: None, reverse: false },
            )?;
            self.sync(at)?;
            let mut left = self.slots[at].state.queue.iter().filter(|left| left.id == one.id);
            // An action that conflicts with what the other copy wrote cannot run again, so it is
            // not retried.
            if left.any(|left| again.is_ok() && left.reason != Some(ParkReason::Unreplayable)) {
                return broken!(PARKED, "accepted from the other copy, and parked still: {one:?}");
            }
        }
        Ok(())
    }

    /// Whether the server may have forgotten its verdict on a mutation, which is then evaluated a
    /// second time.
    fn is_forgotten(&self, id: MutationId) -> bool {
        self.mutations.written[..self.forgotten].iter().any(|one| one.id == id)
    }

    /// Each acceptance is reported to the app once.
    fn check_reported_once(&mut self, at: usize) -> Checked {
        let slot = &self.slots[at];
        let mut reported: BTreeMap<MutationId, usize> = BTreeMap::new();
        let mut attempts = BTreeSet::new();
        for (id, attempt, kind) in slot.reported.values() {
            if *kind != VerdictKind::Accepted {
                continue;
            }
            if !attempts.insert((*id, *attempt)) {
                return broken!(ONCE, "{at} received the acceptance of {id} twice");
            }
            *reported.entry(*id).or_default() += 1;
        }
        for id in &slot.accepted {
            match reported.get(id) {
                Some(1) => {}
                Some(_)
                    if self.mutations.get(*id).is_some_and(|one| self.is_excepted(ONCE, one)) => {}
                times => {
                    return broken!(ONCE, "{at} received the acceptance of {id} {times:?} times");
                }
            }
        }
        for one in &slot.state.queue {
            let is_reported = slot.reported.values().any(|(id, attempt, kind)| {
                *id == one.id && *attempt == one.attempt && matches!(kind, VerdictKind::Parked(_))
            });
            if !is_reported {
                return broken!(ONCE, "{at} received no verdict for a parked mutation: {one:?}");
            }
        }
        Ok(())
    }

    /// The app receives the server's verdict on every mutation that it discarded after sending.
    fn check_withdrawal_verdicts(&self, at: usize) -> Checked {
        let slot = &self.slots[at];
        let is_reported = |id: MutationId| {
            slot.reported.values().any(|end| end.0 == id && end.2 == VerdictKind::Withdrawn)
        };
        match slot.withdrawn.iter().find(|one| !is_reported(one.id)) {
            None => Ok(()),
            Some(one) => {
                broken!("withdrawal-has-a-verdict", "{at} received no verdict on {one:?}")
            }
        }
    }

    /// A mutation that the server accepted before a restore is accepted again, or the app knows
    /// that it is not.
    fn check_not_lost(&self, at: usize) -> Checked {
        let waits = |id: MutationId| {
            self.slots.iter().any(|slot| slot.state.queue.iter().any(|one| one.id == id))
        };
        let is_lost = |id: &&MutationId| {
            let excepted = |one: &WrittenMutation| one.discarded || self.is_excepted(SURVIVES, one);
            !self.server.has_accepted(&self.mutation_key(**id))
                && !waits(**id)
                && !self.mutations.get(**id).is_none_or(excepted)
        };
        match self.slots[at].accepted.iter().find(is_lost) {
            None => Ok(()),
            Some(id) => {
                broken!(SURVIVES, "{id} of {at} was accepted before a restore, and is lost")
            }
        }
    }
}
