//! The end of a run: the network recovers, all remaining devices sync until nothing changes, then
//! the final state is checked. In the first rounds users decide about parked entries: most are parked
//! only then.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use rejoin_log::ids::{AuthorId, EntryId};
use rejoin_log::key::Key;

use super::oracle::{seen, unlike};
use super::words;
use super::world::{Fate, World};
use crate::simulate::{Checked, broken};
use rejoin_log::replica::snapshot;

/// Number of rounds in which a user decides about a parked entry.
const DECISIONS: usize = 3;

/// Maximum number of pages that a device needs to catch up.
const PAGES: usize = 600;

impl World<'_> {
    /// Syncs all remaining devices until nothing changes.
    pub(super) fn heal(&mut self) -> Checked {
        self.report.say(|| "-- the network heals".to_owned());
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
                if self.devices[number].gone {
                    continue;
                }
                self.catch_up(number)?;
                if !self.devices[number].pending()?.is_empty() {
                    quiet = false;
                    self.publish(number, Fate::Arrives, 100)?;
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
        Ok((self.server.facts()?.head, self.mirror.finals.len()))
    }

    /// Fetches until the device has everything.
    fn catch_up(&mut self, number: usize) -> Checked {
        for _ in 0..PAGES {
            self.fetch(number, Fate::Arrives, self.setting.page)?;
            self.rename(number)?;
            let device = &self.devices[number];
            if device.at_head() && !snapshot::needs_snapshot(&device.replica) {
                return Ok(());
            }
        }
        broken!("feed-shows-what-concerns", "c{number} fetches without end")
    }

    /// Checks every promise of the log model.
    pub(super) fn judge_all(&mut self) -> Checked {
        self.server_agrees_with_itself()?;
        self.agree()?;
        self.nothing_lost()?;
        self.own_order_kept()?;
        self.plain_sql_unchanged()?;
        self.order_as_taken()
    }

    /// Every device has its part of the server's rows, whatever authors and handlers did.
    fn agree(&self) -> Checked {
        for (number, device) in self.devices.iter().enumerate().filter(|(_, device)| !device.gone) {
            let due = seen(&self.mirror.rows, &self.buckets(device.user));
            if let Some(difference) = unlike(&device.rows()?, &due) {
                return broken!(
                    "devices-agree",
                    "c{number} does not agree with the server: {difference}"
                );
            }
        }
        Ok(())
    }

    /// Every entry is in the log once, or is parked with its author, unless its author is gone.
    fn nothing_lost(&self) -> Checked {
        let present: BTreeSet<EntryId> = self.mirror.facts.iter().map(|fact| fact.id).collect();
        if let Some(id) = present.intersection(&self.mirror.finals).next() {
            return broken!("horizon-is-final", "{} is in the log twice", words::entry(*id));
        }
        let mut parked = BTreeMap::new();
        for (number, device) in self.devices.iter().enumerate() {
            for id in device.parked()? {
                parked.insert(id, number);
            }
        }
        for (id, written) in &self.written {
            let accepted = present.contains(id) || self.mirror.finals.contains(id);
            let is_parked = parked.contains_key(id);
            let excused =
                self.devices[written.device].gone || self.restored && self.folded || self.forgets();
            if !accepted && !is_parked && !excused {
                return broken!("nothing-lost", "{} is lost", words::entry(*id));
            }
            if accepted && is_parked && !self.forgets() {
                return broken!(
                    "accepted-or-parked",
                    "{} is parked and accepted",
                    words::entry(*id)
                );
            }
        }
        Ok(())
    }

    /// Whether a device was restored from a backup: entries that it wrote since exist nowhere else.
    fn forgets(&self) -> bool {
        self.setting.copies
    }

    /// The entries of each author are in the order in which it wrote them.
    fn own_order_kept(&self) -> Checked {
        let mut last: BTreeMap<AuthorId, (EntryId, Key)> = BTreeMap::new();
        let mut own: Vec<(EntryId, Key)> =
            self.mirror.facts.iter().map(|fact| (fact.id, fact.key)).collect();
        own.sort_by_key(|(id, _)| *id);
        for (id, key) in own {
            if self.written.get(&id).is_none_or(|written| written.decided) || self.forgets() {
                continue;
            }
            if let Some((earlier, other)) = last.insert(key.author, (id, key))
                && other > key
            {
                return broken!(
                    "author-order-kept",
                    "{} came before {}",
                    words::entry(id),
                    words::entry(earlier)
                );
            }
        }
        Ok(())
    }

    /// Plain SQL has the same effects as when it was written.
    fn plain_sql_unchanged(&self) -> Checked {
        for fact in self.mirror.facts.iter().filter(|fact| !fact.by_authority) {
            let Some(written) = self.written.get(&fact.id) else { continue };
            if let Some(plain) = &written.plain
                && *plain != fact.effects
            {
                return broken!(
                    "plain-sql-unchanged",
                    "{} was {plain:?}, and is {:?}",
                    words::entry(fact.id),
                    fact.effects
                );
            }
        }
        Ok(())
    }

    /// Checks the order in which actions were taken, exactly, where it is promised.
    fn order_as_taken(&mut self) -> Checked {
        if self.judge.is_none() && self.devices.iter().any(|device| device.gone) {
            self.inexact = Some("an author is away");
        }
        if self.inexact.is_some() {
            return Ok(());
        }
        self.report.count("the order as taken equals the oracle's");
        let written_by = |author: AuthorId| self.written_by(author);
        match unlike(&self.mirror.rows, &self.mirror.as_taken(&self.first, written_by)) {
            Some(difference) => broken!("order-as-taken", "{difference}"),
            None => Ok(()),
        }
    }

    /// The server's incremental state equals its own full fold, and the one computed here.
    pub(super) fn server_agrees_with_itself(&self) -> Checked {
        if self.server.fold()? == self.server.rows()? {
            Ok(())
        } else {
            broken!("server-rows-are-the-fold", "the server's links differ from its full fold")
        }
    }
}
