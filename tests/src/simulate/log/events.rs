//! Other events of a run: restarts, decisions, bucket members who join and leave, horizons,
//! backups, copies, upgrades.

use fastrand::Rng;
use rejoin_log::ids::{EntryId, Epoch};
use rejoin_log::key::Key;
use rejoin_log::message::Corrected;
use uuid::Uuid;

use super::device::Device;
use super::ids;
use super::run::{LogRun, user_id};
use crate::simulate::Checked;

impl LogRun<'_> {
    pub(super) fn add_device(&mut self, user: usize, skew: i64) -> Checked {
        let device = Device::new(self.devices.len(), user, skew, self.setting.devices_in_files)?;
        self.server.register(device.author, &user_id(user))?;
        self.devices.push(device);
        Ok(())
    }

    pub(super) fn restart(&mut self, number: usize) -> Checked {
        self.report.trace(|| format!("c{number} restarts"));
        self.report.count("a device starts again");
        self.devices[number].restart()?;
        self.devices[number].check_invariants()
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
            if decided.discarded {
                self.written.remove(&decided.of);
            }
            return self.devices[number].check_invariants();
        }
        Ok(())
    }

    /// Runs the authority, perhaps with a late correction, or restarts it; or the operator releases
    /// an entry.
    pub(super) fn run_authority_or_release(&mut self, rng: &mut Rng) -> Checked {
        let by_authority: Vec<EntryId> = self
            .expected
            .entries
            .iter()
            .filter(|entry| entry.by_authority)
            .map(|entry| entry.id)
            .collect();
        if !by_authority.is_empty() && rng.u8(..2) == 0 {
            let id = by_authority[rng.usize(..by_authority.len())];
            self.server.release(id, self.now)?;
            self.report.trace(|| format!("the operator releases {}", ids::entry(id)));
            self.report.count("an entry is released by the operator");
            return self.update_expected();
        }
        if let Some(authority) = &mut self.authority
            && rng.u8(..4) == 0
        {
            authority.restart()?;
        }
        self.run_authority(rng.u8(..3) == 0)
    }

    /// The authority fetches and corrects. A late correction arrives before its next fetch.
    pub(super) fn run_authority(&mut self, late: bool) -> Checked {
        let Some(authority) = &mut self.authority else { return Ok(()) };
        let done = authority.deliver_late(&mut self.server, &self.expected, self.now)?;
        self.check_corrected("a late message of the authority arrives", &done)?;
        let Some(authority) = &mut self.authority else { return Ok(()) };
        let done = authority.fetch_and_correct(&mut self.server, &self.expected, self.now, late)?;
        self.check_corrected("the authority fetches", &done)
    }

    /// Checks what the server did with corrections.
    fn check_corrected(&mut self, what: &str, Corrected { taken, refused }: &Corrected) -> Checked {
        self.report.trace(|| format!("{what}: {taken} corrected, {} refused", refused.len()));
        self.report.add("the authority corrects", *taken as u64);
        if !refused.is_empty() {
            self.report.add("a correction is refused", refused.len() as u64);
            self.inexact = Some("a row has left the buckets of an entry's author");
        }
        let before = self.expected.entries.clone();
        self.update_expected()?;
        self.expected.check_write_access(&before)
    }

    pub(super) fn compact(&mut self, rng: &mut Rng) -> Checked {
        let Some(entry) =
            self.expected.entries.get(rng.usize(..self.expected.entries.len().max(1)))
        else {
            return Ok(());
        };
        let to = Key::end_of(entry.key.millis);
        // A few entries at a time, as the server does.
        while self.server.raise_horizon(to, self.now, 3)? {}
        let reached = self.server.facts()?.horizon;
        let folded = self.expected.fold_to_horizon(&reached, self.setting.retention, self.now)?;
        self.report.trace(|| format!("the horizon rises to {reached:?}, past {folded} entries"));
        if folded > 0 {
            self.report.count("the horizon passes entries");
            self.folded = true;
            self.inexact = Some("entries were folded");
        }
        self.update_expected()
    }

    pub(super) fn change_membership(&mut self, number: usize, rng: &mut Rng) -> Checked {
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
            self.report.trace(|| format!("u{user} leaves {bucket}"));
            self.set_membership(user, &buckets, &write_only)?;
            return self.publish_in_left_buckets(self.devices[number].author);
        }
        if !writes && rng.u8(..4) == 0 {
            self.report.count("a user may only write a bucket");
            self.report.trace(|| format!("u{user} may only write {bucket}"));
            self.inexact = Some("a user writes what it does not read");
            write_only.insert(bucket);
        } else {
            self.report.count("a user joins a bucket");
            self.report.trace(|| format!("u{user} joins {bucket}"));
            buckets.insert(bucket);
        }
        self.set_membership(user, &buckets, &write_only)
    }

    pub(super) fn backup(&mut self) -> Checked {
        match &self.backup {
            None => {
                let Some(copy) = self.server.copied()? else { return Ok(()) };
                self.backup = Some((copy, self.expected.clone()));
                self.report.trace(|| "the server is backed up".to_owned());
                Ok(())
            }
            Some((backup, expected)) => {
                let Some(mut server) = backup.copied()? else { return Ok(()) };
                let expected = expected.clone();
                self.epochs += 1;
                server.begin_epoch(Epoch(Uuid::from_u128(self.epochs)))?;
                for device in &self.devices {
                    server.register(device.author, &user_id(device.user))?;
                }
                (self.server, self.expected, self.restored) = (server, expected, true);
                self.report.count("the server is restored from a backup");
                self.report.trace(|| "the server is restored from its backup".to_owned());
                self.update_expected()
            }
        }
    }

    pub(super) fn copy(&mut self, number: usize, rng: &mut Rng) -> Checked {
        match rng.u8(..4) {
            0 if self.devices.len() < 9 => {
                let other = self.devices.len();
                let copy = self.devices[number].copy(other)?;
                self.report.trace(|| format!("c{number} is copied: c{other}"));
                self.report.count("a database is copied");
                self.devices.push(copy);
            }
            1 if rng.bool() => self.devices[number].back_up()?,
            _ => {
                if !self.devices[number].restore_backup()? {
                    self.devices[number].back_up()?;
                    return Ok(());
                }
                self.report.trace(|| format!("c{number} is restored from its backup"));
                self.report.count("a device is restored from a backup");
            }
        }
        self.inexact = Some("a database was copied");
        Ok(())
    }

    pub(super) fn upgrade(&mut self, number: usize, rng: &mut Rng) -> Checked {
        let without = self.devices[number].upgrade(rng)?;
        self.report.trace(|| format!("c{number} has another version of the app"));
        self.report.count("another version of the app is installed");
        if without {
            self.inexact = Some("an app has lost a handler");
        }
        Ok(())
    }
}
