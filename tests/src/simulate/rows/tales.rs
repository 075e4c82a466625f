//! Fixed sequences of steps that rarely occur by chance, each with its own random choices.

use fastrand::Rng;
use rejoin_core::Policy;
use rejoin_core::engine::queue::mutation::{Mutation, MutationState, ParkReason};
use rejoin_core::ids::MutationId;
use rejoin_core::sync::session::Phase;

use super::book::Doing;
use super::history::Name;
use super::laws::Why;
use super::schema::TINT;
use super::setting::USERS;
use super::world::{KINDS, World};
use crate::simulate::{Checked, broken};
use crate::{Fault, Moment};

/// A sequence of steps.
#[derive(Debug, Clone, Copy)]
pub enum Tale {
    /// An outside writer changes the same row before each push of a device arrives.
    Beset,
    /// A sent mutation is discarded, its row is written again, and the verdict is delayed.
    Withdraw,
    /// Access is revoked before a push is answered, and granted again before the pull.
    Flicker,
    /// The log was compacted past a device's cursor. The device writes before the first page, and
    /// an outside writer deletes the row.
    Early,
    /// A pending mutation is edited although another write has overwritten it.
    Repair,
    /// A parked edit is retried, and no other writer changes anything.
    Again,
    /// An outside writer makes the same change first, in a part of an edit that is then undone.
    Alike,
    /// An app of an older version, without actions, meets a conflict of one.
    Older,
    /// An action in conflict has written what another has read.
    Tied,
    /// A cache has a shared page of a state that the server loses, and another device receives it.
    Lost,
}

impl Tale {
    pub(super) fn any(rng: &mut Rng) -> Self {
        use Tale::{Again, Alike, Beset, Early, Flicker, Lost, Older, Repair, Tied, Withdraw};
        [Beset, Withdraw, Flicker, Early, Repair, Again, Again, Alike, Older, Tied, Lost]
            [rng.usize(..11)]
    }
}

impl World<'_> {
    fn lose_a_page(&mut self, at: usize, number: u32) -> Checked {
        self.site.back_up();
        for row in 0..KINDS {
            self.outside_sql(&format!(
                "INSERT INTO kinds (id, name) VALUES ('k{row}', 'l{number}')
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name"
            ));
        }
        self.reset(at)?;
        self.sync(at)?;
        self.restore();
        let other = (at + 1) % self.seats.len();
        self.reset(other)?;
        self.sync(other)?;
        self.report.count("a cached page of a lost state");
        Ok(())
    }

    pub(super) fn tell(&mut self, at: usize, tale: Tale, number: u32, rng: &mut Rng) -> Checked {
        match tale {
            Tale::Beset => self.beset(at, number, rng),
            Tale::Withdraw => self.withdraw(at, number, rng),
            Tale::Flicker => self.flicker(at, number, rng),
            Tale::Early => self.write_before_first_page(at, number, rng),
            Tale::Repair => self.repair(at, number, rng),
            Tale::Again => self.again(at, number, rng),
            Tale::Alike => self.alike(at, number, rng),
            Tale::Older => self.older(at, number, rng),
            Tale::Tied => self.tied(at, rng),
            Tale::Lost => self.lose_a_page(at, number),
        }
    }

    fn beset(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let gives_way = |policy| matches!(policy, Policy::Rebase | Policy::KeepLocal);
        let fits = |name: &Name| gives_way(self.setting.policy(&name.0));
        let Some((table, id)) = self.own_row(at, rng, fits) else { return Ok(()) };
        let sql = format!("UPDATE {table} SET name = 'v{number}' WHERE id = '{id}'");
        let Some(mine) = self.put(at, &sql)? else { return Ok(()) };
        for turn in 0..7 {
            if !self.until_push(at)? {
                return Ok(());
            }
            self.outside_sql(&format!(
                "UPDATE {table} SET name = 'w{number}.{turn}' WHERE id = '{id}'"
            ));
            self.exchanges(at, 1, None)?;
            self.report.count("an edit with a conflict at each push");
            let queue = &self.seats[at].sight.queue;
            if queue.iter().all(|one| one.id != mine || one.state == MutationState::Parked) {
                break;
            }
        }
        Ok(())
    }

    fn withdraw(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let Some((table, id)) = self.own_row(at, rng, |_| true) else { return Ok(()) };
        let write = |value: &str| format!("UPDATE {table} SET name = '{value}' WHERE id = '{id}'");
        let Some(mine) = self.put(at, &write(&format!("g{number}")))? else { return Ok(()) };
        if !self.until_push(at)? {
            return Ok(());
        }
        let fault = [Fault::AnswerLost, Fault::AnswerLost, Fault::RequestLost][rng.usize(..3)];
        self.exchanges(at, 1, Some((0, fault)))?;
        let queue = self.seats[at].sight.queue.iter();
        let sent = |state| matches!(state, MutationState::Sent | MutationState::Uncertain);
        let Some(one) = queue.clone().find(|one| one.id == mine && sent(one.state)).cloned() else {
            return Ok(());
        };
        self.give_up(at, &one, rng.bool())?;
        self.put(at, &write(&format!("h{number}")))?;
        if rng.bool()
            && self.until_push(at)?
            && self.seats[at].device.push_undecided(&self.site).is_ok()
        {
            self.report.count("a withdrawal without a verdict yet");
            self.look(at, &Why::Exchanged)?;
        }
        self.exchanges(at, rng.usize(1..7), None)
    }

    fn flicker(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let user = self.seats[at].device.user.clone();
        let whose = USERS[rng.usize(..2)];
        if user == whose {
            return Ok(());
        }
        if !self.site.buckets(&user).contains(whose) {
            self.allow(&user, whose, true);
            self.sync(at)?;
        }
        let view = self.seats[at].sight.view.iter();
        let is_theirs = |name: &Name| name.0 == "items" || name.0 == "marks";
        let rows = view.filter(|(name, row)| {
            is_theirs(name) && row.get("user_id").is_some_and(|owner| owner == whose)
        });
        let Some((table, id)) = rng.choice(rows.map(|(name, _)| name.clone()).collect::<Vec<_>>())
        else {
            return Ok(());
        };
        let sql = format!("UPDATE {table} SET name = 'f{number}' WHERE id = '{id}'");
        if self.put(at, &sql)?.is_none() || !self.until_push(at)? {
            return Ok(());
        }
        self.allow(&user, whose, false);
        self.exchanges(at, 1, None)?;
        self.allow(&user, whose, true);
        self.report.count("access missing while a push is answered");
        if rng.bool() {
            self.seats[at].crash();
        }
        self.sync(at)
    }

    fn write_before_first_page(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let first = self.seats[at].device.user[..1].to_owned();
        self.outside(number + 4_000, rng);
        self.compact(40);
        self.outside(number + 5_000, rng);
        if !self.until(at, Phase::Snapshot)? {
            return Ok(());
        }
        self.exchanges(at, rng.usize(..2), None)?;
        self.seats[at].crash();
        self.look(at, &Why::Opened)?;
        let id = format!("{first}{}", rng.u8(..=self.setting.rows));
        let has = self.seats[at].sight.view.contains_key(&("marks".to_owned(), id.clone()));
        let sql = if has {
            format!("UPDATE marks SET name = 'n{number}' WHERE id = '{id}'")
        } else {
            format!("INSERT INTO marks (id, name) VALUES ('{id}', 'n{number}')")
        };
        self.put(at, &sql)?;
        if self.until_push(at)? && self.until(at, Phase::Snapshot)? {
            self.report.count("a write before the first page of a snapshot");
            self.outside_sql(&format!("DELETE FROM marks WHERE id = '{id}'"));
        }
        self.sync(at)
    }

    fn repair(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let Some((table, id)) = self.own_row(at, rng, |_| true) else { return Ok(()) };
        let sql =
            format!("UPDATE {table} SET name = 'd{number}', note = 'd{number}' WHERE id = '{id}'");
        let Some(mine) = self.put(at, &sql)? else { return Ok(()) };
        self.put(at, &format!("UPDATE {table} SET note = 'c{number}' WHERE id = '{id}'"))?;
        let queue = &self.seats[at].sight.queue;
        match queue.iter().find(|one| one.id == mine).cloned() {
            Some(one) => self.replace(at, &one, number),
            None => Ok(()),
        }
    }

    /// A retry compares with what its author saw, so it is in no conflict while no other writer is
    /// active.
    fn again(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        self.sync(at)?;
        let parks = |name: &Name| self.setting.policy(&name.0) == Policy::AcceptServer;
        if let Some((table, id)) = self.own_row(at, rng, parks) {
            let write =
                |value| format!("UPDATE {table} SET name = '{value}{number}' WHERE id = '{id}'");
            self.put(at, &write('y'))?;
            self.outside_sql(&write('z'));
            self.sync(at)?;
        }
        // The pass may have begun before the last change on the server, which the app has not seen
        // then.
        if self.seats[at].stale || self.seats[at].pulled != self.site.history().tick() {
            return Ok(());
        }
        let base = &self.seats[at].sight.base;
        let queue = &self.seats[at].sight.queue;
        // Nor may a pending edit hide what another writer has written there.
        let is_hidden = |name: &Name| {
            let waiting = queue.iter().filter(|other| other.state != MutationState::Parked);
            let mut waiting = waiting.filter_map(|other| self.book.of(other.id));
            waiting.any(|other| other.rows.contains(name))
        };
        let fits = |id: MutationId| {
            self.book.of(id).is_some_and(|one| {
                !one.bad
                    // The other copy of the file may have retried it before, as the same attempt.
                    && !one.copied
                    && !one.cells.iter().any(|(name, column, _)| name.0 == "marks" && column == TINT)
                    && !one.rows.iter().any(is_hidden)
                    && one.first.action.is_none()
                    && self.offers.is_of_one(id)
                    && one.rows.iter().all(|name| {
                        let is_own = name.1.starts_with(&one.user[..1]);
                        is_own && base.contains_key(name) && ["items", "marks"].contains(&&*name.0)
                    })
            })
        };
        let parked = queue.iter().filter(|one| {
            one.state == MutationState::Parked
                && one.reason == Some(ParkReason::Conflicted)
                && fits(one.id)
        });
        let Some(one) = rng.choice(parked.collect::<Vec<_>>()).cloned() else { return Ok(()) };
        self.offer_again(at, &one, false)?;
        self.sync(at)?;
        self.report.count("a retry without other writers");
        let queue = &self.seats[at].sight.queue;
        let still = queue
            .iter()
            .find(|other| other.id == one.id && other.reason == Some(ParkReason::Conflicted));
        match still {
            Some(still) => {
                broken!("retry-compares-with-what-was-seen", "offered again as it was: {still:?}")
            }
            None => Ok(()),
        }
    }

    fn alike(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        let Some((table, id)) = self.own_row(at, rng, |_| true) else { return Ok(()) };
        let whose = format!("WHERE id = '{id}'");
        let sql = format!("UPDATE {table} SET name = 'q{number}', note = 'q{number}' {whose}");
        let Some(mine) = self.put(at, &sql)? else { return Ok(()) };
        self.outside_sql(&format!("UPDATE {table} SET name = 'q{number}' {whose}"));
        self.sync(at)?;
        if self.seats[at].accepted.contains(&mine) {
            self.report.count("an undo of what another writer wrote in part");
            self.take_back(at, mine, false)?;
        }
        Ok(())
    }

    /// A policy does not overwrite the row with an action that cannot run again.
    fn older(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        // Pending actions run again in this app; in the older one they would not.
        self.sync(at)?;
        let waits = |one: &Mutation| one.action.is_some() && one.state != MutationState::Parked;
        if self.seats[at].sight.queue.iter().any(waits) {
            return Ok(());
        }
        let user = self.seats[at].device.user.clone();
        let tally = format!("{}t", &user[..1]);
        let count = Doing::Count(tally.clone(), i64::from(rng.u8(1..5)));
        self.act(at, count, rng)?;
        // More than the action takes: if both leave the same value, an app that cannot run it again
        // sees no conflict and leaves it to the server.
        self.outside_sql(&format!(
            "UPDATE tallies SET n = n - 7 WHERE id = '{tally}';
             INSERT INTO takings (id, tally_id, n, user_id) VALUES ('w{number}', '{tally}', 7, '{user}')"
        ));
        self.seats[at].is_older = true;
        self.seats[at].crash();
        self.look(at, &Why::Opened)?;
        self.sync(at)?;
        self.report.count("an app without its former actions");
        self.seats[at].is_older = false;
        self.seats[at].crash();
        self.look(at, &Why::Opened)
    }

    fn tied(&mut self, at: usize, rng: &mut Rng) -> Checked {
        self.sync(at)?;
        let Some((_, mark)) = self.own_row(at, rng, |name| name.0 == "marks") else {
            return Ok(());
        };
        let tally = format!("{}t", &self.seats[at].device.user[..1]);
        self.act(at, Doing::Take(tally.clone(), 1), rng)?;
        self.act(at, Doing::Tell(mark, tally.clone()), rng)?;
        self.outside_sql(&format!("UPDATE tallies SET m = m + 1 WHERE id = '{tally}'"));
        self.report.count("two actions of which the first is in conflict");
        self.exchanges(at, rng.usize(1..4), None)
    }

    /// A row of a device's user that the device has.
    fn own_row(&self, at: usize, rng: &mut Rng, fits: impl Fn(&Name) -> bool) -> Option<Name> {
        let seat = &self.seats[at];
        let rows = seat.sight.view.iter().filter(|(name, row)| {
            ["items", "marks"].contains(&&*name.0)
                && row.get("user_id").is_some_and(|owner| *owner == seat.device.user)
                && !row.contains_key("deleted_at")
                && fits(name)
        });
        rng.choice(rows.map(|(name, _)| name.clone()).collect::<Vec<_>>())
    }

    /// The app executes this write; returns the mutation, if it was kept.
    fn put(&mut self, at: usize, sql: &str) -> Checked<Option<MutationId>> {
        let last = self.seats[at].sight.queue.iter().map(|one| one.seq).max();
        let kept = self.seats[at].device.try_write(sql);
        self.report.say(|| format!("   {at} writes {sql}{}", if kept { "" } else { " (refused)" }));
        self.look(at, &Why::Wrote { doing: None, bad: false })?;
        let new = self.seats[at].sight.queue.iter().find(|one| Some(one.seq) > last);
        Ok(new.map(|one| one.id))
    }

    /// Continues until a push of a device is ready to be sent; returns whether there is one.
    fn until_push(&mut self, at: usize) -> Checked<bool> {
        self.until(at, Phase::Pushing)
    }

    fn until(&mut self, at: usize, phase: Phase) -> Checked<bool> {
        for _ in 0..40 {
            match self.seats[at].device.prepare() {
                Ok(Moment::Leaving(next)) if next == phase => {
                    self.look(at, &Why::Exchanged)?;
                    return Ok(true);
                }
                Ok(Moment::Leaving(_)) => self.exchanges(at, 1, None)?,
                Ok(Moment::Finished(_)) | Err(_) => break,
            }
        }
        self.look(at, &Why::Exchanged)?;
        Ok(false)
    }
}
