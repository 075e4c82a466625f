//! The end of a run: the network recovers, all remaining devices sync until nothing changes, then
//! the final state is checked. In the first rounds users decide about parked entries: most are parked
//! only then.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use rejoin_log::ids::{AuthorId, EntryId};
use rejoin_log::key::Key;

use super::ids;
use super::oracle::{describe_difference, seen};
use super::run::{LogRun, MessageFault};
use crate::simulate::{Checked, broken};
use rejoin_log::replica::snapshot;

/// Number of rounds in which a user decides about a parked entry.
const DECISIONS: usize = 3;

/// Maximum number of pages that a device needs to catch up.
const PAGES: usize = 600;

impl LogRun<'_> {
    /// Syncs all remaining devices until nothing changes.
    pub(super) fn recover(&mut self) -> Checked {
        self.report.trace(|| "-- the network heals".to_owned());
        self.deliver_all()?;
        let most = 20 + 3 * self.written.len();
        for round in 0..most {
            self.now += 1;
            if round < DECISIONS {
                self.decide(round, &mut Rng::with_seed(self.now))?;
            }
            let before = self.positions()?;
            let mut quiet = true;
            for number in 0..self.devices.len() {
                if self.devices[number].has_left {
                    continue;
                }
                self.catch_up(number)?;
                if !self.devices[number].pending()?.is_empty() {
                    quiet = false;
                    self.publish(number, MessageFault::None, 100)?;
                }
            }
            self.run_authority(false)?;
            if quiet && before == self.positions()? {
                return Ok(());
            }
            self.report.count("rounds until nothing changes");
        }
        broken!("corrections-are-bounded", "corrections do not stop: {most} rounds were not enough")
    }

    fn positions(&self) -> Checked<(u64, usize)> {
        Ok((self.server.facts()?.head, self.expected.finals.len()))
    }

    /// Fetches until the device has everything.
    fn catch_up(&mut self, number: usize) -> Checked {
        for _ in 0..PAGES {
            self.fetch(number, MessageFault::None, self.setting.page)?;
            self.replace_copied_author(number)?;
            let device = &self.devices[number];
            if device.at_head() && !snapshot::needs_snapshot(&device.replica) {
                return Ok(());
            }
        }
        broken!("feed-shows-what-concerns", "c{number} fetches without end")
    }

    /// Checks every promise of the log model.
    pub(super) fn check_final_state(&mut self) -> Checked {
        self.check_server_fold()?;
        self.check_agreement()?;
        self.check_nothing_lost()?;
        self.check_author_order()?;
        self.check_plain_sql()?;
        self.check_order_as_taken()
    }

    /// Every device has its part of the server's rows, whatever authors and handlers did.
    fn check_agreement(&self) -> Checked {
        for (number, device) in
            self.devices.iter().enumerate().filter(|(_, device)| !device.has_left)
        {
            let due = seen(&self.expected.rows, &self.buckets(device.user));
            if let Some(difference) = describe_difference(&device.rows()?, &due) {
                return broken!(
                    "devices-agree",
                    "c{number} does not agree with the server: {difference}"
                );
            }
        }
        Ok(())
    }

    /// Every entry is in the log once, or is parked with its author, unless its author is gone.
    fn check_nothing_lost(&self) -> Checked {
        let present: BTreeSet<EntryId> =
            self.expected.entries.iter().map(|entry| entry.id).collect();
        if let Some(id) = present.intersection(&self.expected.finals).next() {
            return broken!("horizon-is-final", "{} is in the log twice", ids::entry(*id));
        }
        let mut parked = BTreeMap::new();
        for (number, device) in self.devices.iter().enumerate() {
            for id in device.parked()? {
                parked.insert(id, number);
            }
        }
        for (id, written) in &self.written {
            let accepted = present.contains(id) || self.expected.finals.contains(id);
            let is_parked = parked.contains_key(id);
            let excused = self.devices[written.device].has_left
                || self.restored && self.folded
                || self.may_lose_entries();
            if !accepted && !is_parked && !excused {
                return broken!("nothing-lost", "{} is lost", ids::entry(*id));
            }
            if accepted && is_parked && !self.may_lose_entries() {
                return broken!("accepted-or-parked", "{} is parked and accepted", ids::entry(*id));
            }
        }
        Ok(())
    }

    /// Whether a device was restored from a backup: entries that it wrote since exist nowhere else.
    fn may_lose_entries(&self) -> bool {
        self.setting.copies
    }

    /// The entries of each author are in the order in which it wrote them.
    fn check_author_order(&self) -> Checked {
        let mut last: BTreeMap<AuthorId, (EntryId, Key)> = BTreeMap::new();
        let mut own: Vec<(EntryId, Key)> =
            self.expected.entries.iter().map(|entry| (entry.id, entry.key)).collect();
        own.sort_by_key(|(id, _)| *id);
        for (id, key) in own {
            if self.written.get(&id).is_none_or(|written| written.decided)
                || self.may_lose_entries()
            {
                continue;
            }
            if let Some((earlier, other)) = last.insert(key.author, (id, key))
                && other > key
            {
                return broken!(
                    "author-order-kept",
                    "{} came before {}",
                    ids::entry(id),
                    ids::entry(earlier)
                );
            }
        }
        Ok(())
    }

    /// Plain SQL has the same effects as when it was written.
    fn check_plain_sql(&self) -> Checked {
        for entry in self.expected.entries.iter().filter(|entry| !entry.by_authority) {
            let Some(written) = self.written.get(&entry.id) else { continue };
            if let Some(plain) = &written.plain
                && *plain != entry.effects
            {
                return broken!(
                    "plain-sql-unchanged",
                    "{} was {plain:?}, and is {:?}",
                    ids::entry(entry.id),
                    entry.effects
                );
            }
        }
        Ok(())
    }

    /// Checks the order in which actions were taken, exactly, where it is promised.
    fn check_order_as_taken(&mut self) -> Checked {
        if self.authority.is_none() && self.devices.iter().any(|device| device.has_left) {
            self.inexact = Some("an author is away");
        }
        if self.inexact.is_some() {
            return Ok(());
        }
        self.report.count("the order as taken equals the oracle's");
        let written_by = |author: AuthorId| self.written_by(author);
        match describe_difference(
            &self.expected.rows,
            &self.expected.state_in_order(&self.first, written_by),
        ) {
            Some(difference) => broken!("order-as-taken", "{difference}"),
            None => Ok(()),
        }
    }

    /// The server's incremental state equals its own full fold, and the one computed here.
    pub(super) fn check_server_fold(&self) -> Checked {
        if self.server.fold()? == self.server.rows()? {
            Ok(())
        } else {
            broken!("server-rows-are-the-fold", "the server's links differ from its full fold")
        }
    }
}
