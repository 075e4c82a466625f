//! Other events of a run: restarts, decisions, bucket members who join and leave, horizons,
//! backups, copies, upgrades.

use fastrand::Rng;
use rejoin_log::ids::{EntryId, Epoch};
use rejoin_log::key::Key;
use rejoin_log::message::Corrected;
use uuid::Uuid;

use super::device::Device;
use super::words;
use super::world::{World, user_id};
use crate::simulate::Checked;

impl World<'_> {
    pub(super) fn newcomer(&mut self, user: usize, skew: i64) -> Checked {
        let device = Device::new(self.devices.len(), user, skew, self.setting.devices_in_files)?;
        self.server.register(device.author, &user_id(user))?;
        self.devices.push(device);
        Ok(())
    }

    pub(super) fn restart(&mut self, number: usize) -> Checked {
        self.report.say(|| format!("c{number} restarts"));
        self.report.count("a device starts again");
        self.devices[number].restart()?;
        self.devices[number].holds()
    }

    /// The next device, from `number` on, whose user has a decision to make.
    pub(super) fn decide(&mut self, number: usize, rng: &mut Rng) -> Checked {
        let count = self.devices.len();
        for number in (number..number + count).map(|at| at % count) {
            let device = &mut self.devices[number];
            let Some(decided) = device.decide(&self.setting, self.now, rng, self.report)? else {
                continue;
            };
            if let Some(written) = self.written.get_mut(&decided.of) {
                written.decided = true;
            }
            if let Some((id, written)) = decided.instead {
                self.written.insert(id, written);
            }
            if decided.dropped {
                self.written.remove(&decided.of);
            }
            return self.devices[number].holds();
        }
        Ok(())
    }

    /// Runs the authority, perhaps with a late correction, or restarts it; or the operator releases
    /// an entry.
    pub(super) fn judge_or_release(&mut self, rng: &mut Rng) -> Checked {
        let by_authority: Vec<EntryId> =
            self.mirror.facts.iter().filter(|fact| fact.by_authority).map(|fact| fact.id).collect();
        if !by_authority.is_empty() && rng.u8(..2) == 0 {
            let id = by_authority[rng.usize(..by_authority.len())];
            self.server.release(id, self.now)?;
            self.report.say(|| format!("the operator releases {}", words::entry(id)));
            self.report.count("an entry is released by the operator");
            return self.look();
        }
        if let Some(judge) = &mut self.judge
            && rng.u8(..4) == 0
        {
            judge.restart()?;
        }
        self.run_authority(rng.u8(..3) == 0)
    }

    /// The authority fetches and corrects. A late correction arrives before its next fetch.
    pub(super) fn run_authority(&mut self, late: bool) -> Checked {
        let Some(judge) = &mut self.judge else { return Ok(()) };
        let done = judge.late_word(&mut self.server, &self.mirror, self.now)?;
        self.corrected("a late message of the authority arrives", &done)?;
        let Some(judge) = &mut self.judge else { return Ok(()) };
        let done = judge.look(&mut self.server, &self.mirror, self.now, late)?;
        self.corrected("the authority fetches", &done)
    }

    /// Checks what the server did with corrections.
    fn corrected(&mut self, what: &str, Corrected { taken, refused }: &Corrected) -> Checked {
        self.report.say(|| format!("{what}: {taken} corrected, {} refused", refused.len()));
        self.report.add("the authority corrects", *taken as u64);
        if !refused.is_empty() {
            self.report.add("a correction is refused", refused.len() as u64);
            self.inexact = Some("a row has left the buckets of an entry's author");
        }
        let before = self.mirror.facts.clone();
        self.look()?;
        self.mirror.changed_within_rights(&before)
    }

    pub(super) fn compact(&mut self, rng: &mut Rng) -> Checked {
        let Some(fact) = self.mirror.facts.get(rng.usize(..self.mirror.facts.len().max(1))) else {
            return Ok(());
        };
        let to = Key::end_of(fact.key.millis);
        // A few entries at a time, as the server does.
        while self.server.raise_horizon(to, self.now, 3)? {}
        let reached = self.server.facts()?.horizon;
        let folded = self.mirror.fold_away(&reached, self.setting.retention, self.now)?;
        self.report.say(|| format!("the horizon rises to {reached:?}, past {folded} entries"));
        if folded > 0 {
            self.report.count("the horizon passes entries");
            self.folded = true;
            self.inexact = Some("entries were folded");
        }
        self.look()
    }

    pub(super) fn member(&mut self, number: usize, rng: &mut Rng) -> Checked {
        let user = self.devices[number].user;
        let bucket = self.setting.buckets[rng.usize(..self.setting.buckets.len())].to_owned();
        let (mut buckets, mut write_only) = (self.buckets(user), self.write_only(user));
        let (reads, writes) = (buckets.remove(&bucket), write_only.remove(&bucket));
        if reads || writes && rng.bool() {
            if !self.setting.leaves {
                return Ok(());
            }
            self.report.count("a user leaves a bucket");
            self.inexact = Some("a user left a bucket");
            self.report.say(|| format!("u{user} leaves {bucket}"));
            self.be_member(user, &buckets, &write_only)?;
            return self.overreach(self.devices[number].author);
        }
        if !writes && rng.u8(..4) == 0 {
            self.report.count("a user may only write a bucket");
            self.report.say(|| format!("u{user} may only write {bucket}"));
            self.inexact = Some("a user writes what it does not read");
            write_only.insert(bucket);
        } else {
            self.report.count("a user joins a bucket");
            self.report.say(|| format!("u{user} joins {bucket}"));
            buckets.insert(bucket);
        }
        self.be_member(user, &buckets, &write_only)
    }

    pub(super) fn backup(&mut self) -> Checked {
        match &self.backup {
            None => {
                let Some(copy) = self.server.copied()? else { return Ok(()) };
                self.backup = Some((copy, self.mirror.clone()));
                self.report.say(|| "the server is backed up".to_owned());
                Ok(())
            }
            Some((backup, mirror)) => {
                let Some(mut server) = backup.copied()? else { return Ok(()) };
                let mirror = mirror.clone();
                self.epochs += 1;
                server.begin_epoch(Epoch(Uuid::from_u128(self.epochs)))?;
                for device in &self.devices {
                    server.register(device.author, &user_id(device.user))?;
                }
                (self.server, self.mirror, self.restored) = (server, mirror, true);
                self.report.count("the server is restored from a backup");
                self.report.say(|| "the server is restored from its backup".to_owned());
                self.look()
            }
        }
    }

    pub(super) fn copy(&mut self, number: usize, rng: &mut Rng) -> Checked {
        match rng.u8(..4) {
            0 if self.devices.len() < 9 => {
                let other = self.devices.len();
                let copy = self.devices[number].copy(other)?;
                self.report.say(|| format!("c{number} is copied: c{other}"));
                self.report.count("a database is copied");
                self.devices.push(copy);
            }
            1 if rng.bool() => self.devices[number].keep()?,
            _ => {
                if !self.devices[number].set_back()? {
                    self.devices[number].keep()?;
                    return Ok(());
                }
                self.report.say(|| format!("c{number} is restored from its backup"));
                self.report.count("a device is restored from a backup");
            }
        }
        self.inexact = Some("a database was copied");
        Ok(())
    }

    pub(super) fn upgrade(&mut self, number: usize, rng: &mut Rng) -> Checked {
        let without = self.devices[number].upgrade(rng)?;
        self.report.say(|| format!("c{number} has another version of the app"));
        self.report.count("another version of the app is installed");
        if without {
            self.inexact = Some("an app has lost a handler");
        }
        Ok(())
    }
}
