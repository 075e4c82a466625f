//! The app gives a mutation up, by name (I3). What a server may have is withdrawn there as well (O12, P10).

use std::collections::HashSet;

use super::footprint;
use super::work::Work;
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::queue::Entry;
use crate::engine::queue::cancel::SERVER_CANCELS;
use crate::engine::queue::mutation::State;
use crate::engine::queue::step::{Fate, Step};
use crate::error::{Error, Result};
use crate::ids::{MutationId, Seq};

impl Engine {
    /// Removes a pending or parked mutation for good; what it wrote leaves the rows, and what stands on what it created is
    /// parked (R10). Works offline. Of a mutation that a plain server has accepted in part, that part stays accepted.
    ///
    /// With a plain server, one that was sent and has no verdict leaves the rows at once too. It is still sent until the
    /// server's word on it is known, and then taken back, should the server have it (P10). Such a server cannot tell in
    /// every case whether it has it: rarely (3 of 20,000 in our model) a value that was given up stays there.
    ///
    /// With a Rejoin server, one that was sent and has no verdict leaves the rows at once, with what was sent and stands on what
    /// it made. It is withdrawn by its id; should the server have it, its reverse takes its place in the queue (O12). What
    /// follows from it waits for the server's word.
    ///
    /// # Errors
    /// `UnknownMutation`; `Uncertain` for one that a Rejoin server of an older release may have: nothing was changed.
    pub fn discard(&mut self, id: MutationId) -> Result<()> {
        let entry = self.can_go(id)?;
        self.rebase(Origin::Local, Triggers::Fire, |work, _| work.give_up(&entry)).map(drop)
    }

    /// [`Engine::discard`] of a mutation and of all that stands on what it created, parked already or only now. Which they
    /// are, it first. What stands on it and was sent without a verdict is left to that.
    ///
    /// # Errors
    /// As [`Engine::discard`].
    pub fn discard_chain(&mut self, id: MutationId) -> Result<Vec<MutationId>> {
        let entry = self.can_go(id)?;
        let parked = self.parked_chain(id)?;
        let mut gone = vec![id];
        self.rebase(Origin::Local, Triggers::Fire, |work, _| {
            gone.truncate(1); // It may be done once more.
            work.give_up(&entry)?;
            for (seq, other) in parked.iter().filter(|(_, other)| *other != id) {
                work.discard_parked(*seq)?;
                gone.push(*other);
            }
            for seq in work.parked_for(id) {
                let step = work.step_mut(seq)?;
                step.fate = Fate::Discarded;
                gone.push(step.id);
            }
            Ok(())
        })?;
        Ok(gone)
    }

    /// The mutation, if it can be given up.
    pub(super) fn can_go(&self, id: MutationId) -> Result<Entry> {
        let entry = self.queue.find(id).ok_or(Error::UnknownMutation(id))?;
        match entry.state {
            State::Sent | State::Uncertain if !self.queue.records().knows(entry.seq) => {
                let cancels = self.meta(SERVER_CANCELS)?.is_some();
                if cancels { Ok(entry.clone()) } else { Err(Error::Uncertain(id)) }
            }
            _ => Ok(entry.clone()),
        }
    }
}

impl Work<'_> {
    /// Takes a mutation out for good, as far as this device has a say in it.
    pub(super) fn give_up(&mut self, entry: &Entry) -> Result<()> {
        match entry.state {
            State::Sent | State::Uncertain if self.queue.records().knows(entry.seq) => {
                self.hide(entry.seq)
            }
            State::Sent | State::Uncertain => self.withdraw(entry.seq),
            State::Pending => self.discard(entry.seq),
            State::Parked => self.discard_parked(entry.seq),
        }
    }

    /// What this rebase withdraws with a mutation, in the order of the queue.
    pub(super) fn withdrawn_with(&self, id: MutationId) -> Vec<Seq> {
        let with = |step: &Step| step.fate == Fate::Withdrawn(id) && step.id != id;
        self.steps.iter().filter(|(_, step)| with(step)).map(|(seq, _)| *seq).collect()
    }

    /// Lifts what this rebase would park because of a mutation, and what was written upon that: all of it, in the order of the
    /// queue. Offered again in this order, what was written later stays on top. What a server may have keeps its place.
    pub(super) fn lift_followers(&mut self, id: MutationId) -> Vec<Seq> {
        let followers = self.parked_for(id);
        let queue = self.queue;
        let rows = |seq| queue.entry(seq).map_or(&[][..], |entry| &entry.rows);
        let tables = self.tables.as_ref();
        let seeds = followers.iter().copied();
        let mut lifted: Vec<Seq> =
            footprint::closure(seeds, self.states, tables, rows, |_| false).into_iter().collect();
        lifted.retain(|seq| {
            let Some(step) = self.steps.get_mut(seq) else { return false };
            let waits = step.stays() && step.state == State::Pending && step.parts.is_empty();
            let lifts = followers.contains(seq) || waits && !queue.awaiting().contains_key(seq);
            if lifts {
                step.fate = Fate::Lifted;
            }
            lifts
        });
        lifted
    }

    /// What this rebase parks because of a mutation, and because of that, in the order of the queue.
    pub(super) fn parked_for(&self, id: MutationId) -> Vec<Seq> {
        let mut causes = HashSet::from([id]);
        let mut found = Vec::new();
        // What stands on a mutation comes after it.
        for (seq, step) in &self.steps {
            if let Fate::Parked(parking) = &step.fate
                && parking.because_of.is_some_and(|cause| causes.contains(&cause))
            {
                causes.insert(step.id);
                found.push(*seq);
            }
        }
        found
    }
}
