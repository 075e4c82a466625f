//! A run: its devices and its server, and the execution of each step.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use rejoin_core::VerdictKind;
use rejoin_core::engine::reset;
use rejoin_core::host::Host as _;
use rejoin_core::sync::session::Phase;
use rejoin_core::{Actions, HistoryBounds, Keep};
use rejoin_server::Clock as _;

use super::book::Book;
use super::death::Watch;
use super::history::is_live;
use super::laws::Why;
use super::offers::Offers;
use super::seat::Seat;
use super::setting::{Setting, USERS, actions};
use super::site::Site;
use super::step::{Step, What};
use super::time::Times;
use crate::simulate::{Checked, RunReport, broken};
use crate::{Device, Moment, Store};

const DAY: i64 = 86_400_000_000;

/// Maximum number of devices of a run.
const DEVICES: usize = 6;

/// The rows that `kinds` may have.
pub(super) const KINDS: u8 = 6;

pub(super) struct World<'t> {
    pub(super) setting: Setting,
    pub(super) site: Site,
    pub(super) seats: Vec<Seat>,
    pub(super) report: &'t mut RunReport,
    pub(super) book: Book,
    /// Number of restores of the server.
    pub(super) epoch: usize,
    /// Number of mutations written up to a time of the server's clock, in microseconds.
    written_by: Vec<(i64, usize)>,
    /// Number of mutations that were written before the server may have forgotten verdicts.
    pub(super) forgotten: usize,
    /// Number of mutations that were written before devices may have forgotten that they were
    /// accepted.
    pub(super) aged: usize,
    /// Buckets that were ever granted, as pairs of user and owner.
    pub(super) granted: BTreeSet<(String, String)>,
    /// Whether all faults have ended.
    pub(super) is_healing: bool,
    /// Number of added columns.
    pub(super) columns: u32,
    seed: u64,
    pub(super) actions: Arc<Actions>,
    pub(super) offers: Offers,
    pub(super) times: Times,
}

impl<'t> World<'t> {
    pub(super) fn new(seed: u64, store: Store, report: &'t mut RunReport) -> Checked<Self> {
        // Other random numbers than those of the steps, so that each is independent.
        let mut rng = Rng::with_seed(seed ^ 0x0072_0077_0073);
        let setting = Setting::new(&mut rng);
        let site = Site::new(setting.server(store), seed);
        let times = Times::of(setting.by_time());
        let mut world = Self {
            setting,
            site,
            seats: Vec::new(),
            report,
            book: Book::default(),
            epoch: 0,
            written_by: Vec::new(),
            forgotten: 0,
            aged: 0,
            granted: BTreeSet::new(),
            is_healing: false,
            columns: 0,
            seed,
            actions: actions(),
            offers: Offers::default(),
            times,
        };
        world.begin(&mut rng);
        if Rng::with_seed(seed ^ 0x006c_6561_7665).bool() {
            world.site.add_leaves();
        }
        for at in 0..world.setting.users.len() {
            let device = device(seed, at, world.setting.users[at], &world.site, &mut rng);
            world.seats.push(Seat::new(at, device, world.actions.clone()));
            world.look(at, &Why::Opened)?;
            // Most devices begin with the present rows, as most users do.
            if rng.u8(..5) > 0 {
                world.sync(at)?;
            }
        }
        Ok(world)
    }

    /// Writes the rows that exist before any device.
    fn begin(&mut self, rng: &mut Rng) {
        let mut sql =
            vec!["INSERT INTO items (id, name, level) VALUES ('x1', 'all', 1)".to_owned()];
        for user in USERS {
            let first = &user[..1];
            sql.push(format!(
                "INSERT INTO tallies (id, m, n, user_id) VALUES ('{first}t', {}, 100, '{user}')",
                rng.u8(3..30)
            ));
            for row in 0..rng.u8(..=self.setting.rows) {
                sql.push(format!(
                    "INSERT INTO items (id, name, level, user_id) VALUES ('{first}{row}', 's{first}{row}', 1, '{user}');
                     INSERT INTO marks (id, name, user_id) VALUES ('{first}{row}', 'k{first}{row}', '{user}')"
                ));
            }
        }
        for row in 0..rng.u8(..KINDS) {
            sql.push(format!("INSERT INTO kinds (id, name) VALUES ('k{row}', 'n{row}')"));
        }
        self.site.write(&sql.join("; ")).expect("the first rows");
        self.site.note(None);
    }

    pub(super) fn happen(&mut self, step: &Step) -> Checked {
        let mut rng = Rng::with_seed(step.chance);
        self.report.say(|| format!("{}: {:?}", step.number, step.what));
        let count = self.seats.len();
        self.move_on(Duration::from_secs(rng.u64(1..60)));
        match step.what {
            What::Write(at) => self.write(at % count, step.number, &mut rng),
            What::Tell(at, tale) => self.tell(at % count, tale, step.number, &mut rng),
            What::Perform(at) => self.perform(at % count, &mut rng),
            What::Exchange(at, times, fault) => self.exchanges(at % count, times, fault),
            What::Sync(at) => self.sync(at % count),
            What::Midway(at) => self.midway(at % count, step.number, &mut rng),
            What::DieWithin(at, place) => self.die_within(at % count, place),
            What::Switch(at) => self.switch(at % count, &mut rng),
            What::Late(at) => self.late(at % count),
            What::DieLeaving(at) => {
                let seat = &mut self.seats[at % count];
                if matches!(seat.device.prepare(), Ok(Moment::Leaving(Phase::Pushing))) {
                    self.report.count("a crash between commit and send");
                }
                // The local work after the last response is done by now.
                self.look(at % count, &Why::Exchanged)?;
                self.die(at % count)
            }
            What::Die(at) => self.die(at % count),
            What::Discard(at, chain) => self.discard(at % count, chain, &mut rng),
            What::Retry(at, chain) => self.retry(at % count, chain, &mut rng),
            What::Edit(at) => self.edit(at % count, step.number, &mut rng),
            What::Undo(at) => self.undo(at % count, false, &mut rng),
            What::Redo(at) => self.undo(at % count, true, &mut rng),
            What::Read(at) => self.read_verdicts(at % count, rng.u8(..3)),
            What::Clock(at) => {
                let host = &self.seats[at % count].device.host;
                let hours = [-9000, -30, -1, 1, 30, 9000][rng.usize(..6)];
                host.set(host.now_micros() + hours * 3_600_000_000);
                self.report.count("a clock jump");
                Ok(())
            }
            What::Copy(at) if count < DEVICES => self.copy(at % count),
            What::Copy(_) => Ok(()),
            What::Rework(at) => self.rework(at % count, &mut rng),
            What::Reset(at) => self.reset(at % count),
            What::Prune(at) => self.prune(at % count),
            _ => {
                self.happen_to_server(step, &mut rng);
                Ok(())
            }
        }
    }

    fn happen_to_server(&mut self, step: &Step, rng: &mut Rng) {
        match step.what {
            What::Outside => self.outside(step.number, rng),
            What::Compact(days) => self.compact(days),
            What::Alter => self.alter(rng),
            What::Backup => self.site.back_up(),
            What::Restore => self.restore(),
            What::Grant => self.grant(rng),
            What::Give => self.give(rng),
            _ => {}
        }
    }

    pub(super) fn compact(&mut self, days: u16) {
        let clock = &self.site.backend.clock;
        self.written_by.push((clock.now(), self.book.written.len()));
        clock.advance(DAY * i64::from(days));
        let now = clock.now();
        let older_than = |days: i64| {
            let mut older = self.written_by.iter().rev();
            older.find(|(at, _)| *at < now - days * DAY).map_or(0, |(_, count)| *count)
        };
        (self.aged, self.forgotten) = (older_than(30), older_than(90));
        self.site.compact();
        self.report.count("the log is compacted");
    }

    /// Runs SQL of an outside writer, which may be refused.
    pub(super) fn outside_sql(&mut self, sql: &str) {
        let done = self.site.write(sql);
        self.report.say(|| format!("   outside writer: {sql}: {done:?}"));
        self.site.note(None);
    }

    pub(super) fn outside(&mut self, number: u32, rng: &mut Rng) {
        let user = USERS[rng.usize(..2)];
        let id = format!("{}{}", &user[..1], rng.u8(..=self.setting.rows));
        let own = format!("WHERE id = '{id}'");
        let value = format!("o{number}");
        let kind = rng.u8(..KINDS);
        let sql = match rng.u8(..17) {
            0..4 => format!("UPDATE items SET name = '{value}' {own}"),
            4 => format!("UPDATE items SET note = '{value}', level = {} {own}", rng.u8(..10)),
            5..7 => format!("UPDATE marks SET name = '{value}' {own}"),
            7 => format!("UPDATE marks SET note = '{value}' {own}"),
            8 => format!("UPDATE items SET deleted_at = '2026-01-01T00:00:00.000000Z' {own}"),
            9 => format!("DELETE FROM marks {own}"),
            10 => format!("DELETE FROM parts WHERE item_id = '{id}'; DELETE FROM items {own}"),
            11 => format!(
                "INSERT INTO items (id, name, level, user_id) VALUES ('{id}', '{value}', 2, '{user}')
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, deleted_at = NULL"
            ),
            12 => format!("INSERT INTO marks (id, name, user_id) VALUES ('{id}', '{value}', '{user}')"),
            13..15 => format!(
                "INSERT INTO kinds (id, name) VALUES ('k{kind}', '{value}')
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name"
            ),
            15 => format!("DELETE FROM kinds WHERE id = 'k{kind}'"),
            _ => format!(
                "UPDATE tallies SET m = {} WHERE id = '{}t'",
                rng.u8(..20),
                &user[..1]
            ),
        };
        self.outside_sql(&sql);
        self.report.count("writes of outside writers");
    }

    /// An outside writer decrements the number that a device's actions use.
    pub(super) fn take_outside(&mut self, at: usize) {
        let first = &self.seats[at].device.user.clone()[..1];
        self.outside_sql(&format!("UPDATE tallies SET m = m - 1 WHERE id = '{first}t'"));
        self.report.count("writes of outside writers");
    }

    fn grant(&mut self, rng: &mut Rng) {
        let who = USERS[rng.usize(..2)];
        let mut whose = USERS[rng.usize(..3)].to_owned();
        let granted = self.site.buckets(who);
        if who == whose {
            let Some(first) = granted.first() else { return };
            whose.clone_from(first);
        }
        let may = granted.contains(&whose);
        self.report.count(if may { "access revoked" } else { "access granted" });
        self.allow(who, &whose, !may);
    }

    /// Grants or revokes a user's access to the rows of another.
    pub(super) fn allow(&mut self, who: &str, whose: &str, may: bool) {
        self.seats.iter_mut().for_each(|seat| seat.stale = true);
        self.offers.start_epoch();
        if may {
            self.granted.insert((who.to_owned(), whose.to_owned()));
            self.outside_sql(&format!(
                "INSERT INTO rejoin_bucket(user_id, bucket) VALUES ('{who}', 'user:{whose}')"
            ));
        } else {
            self.outside_sql(&format!(
                "DELETE FROM rejoin_bucket WHERE user_id = '{who}' AND bucket = 'user:{whose}'"
            ));
        }
    }

    fn give(&mut self, rng: &mut Rng) {
        let first = &USERS[rng.usize(..2)][..1];
        let id = format!("{first}{}", rng.u8(..=self.setting.rows));
        let table = ["items", "items", "marks"][rng.usize(..3)];
        // The parts of an item get the same owner.
        let parts: Vec<String> = self
            .site
            .history()
            .now
            .iter()
            .filter(|(name, row)| name.0 == "parts" && is_live(row))
            .filter_map(|(_, row)| row.get("item_id").cloned())
            .collect();
        let id = rng.choice(parts).filter(|_| table == "items" && rng.bool()).unwrap_or(id);
        let owner = match rng.u8(..7) {
            0 if table == "items" => "NULL".to_owned(),
            other => format!("'{}'", USERS[usize::from(other) % 2]),
        };
        self.offers.start_epoch();
        self.report.count("a row given to another owner");
        self.outside_sql(&format!("UPDATE {table} SET user_id = {owner} WHERE id = '{id}'"));
    }

    fn die(&mut self, at: usize) -> Checked {
        self.report.count("a restart");
        self.seats[at].crash();
        self.look(at, &Why::Opened)
    }

    /// Crashes a device at a point on its way: only the files at that moment remain. The server
    /// continues.
    fn die_within(&mut self, at: usize, place: usize) -> Checked {
        self.site.who.set(at);
        let path = self.seats[at].device.path().to_owned();
        let watch = Watch::begin(&path, place);
        let mut left = false;
        for _ in 0..6 {
            let prepared = self.seats[at].device.prepare();
            // A crash before the send means that nothing was sent.
            if watch.is_dead() || !matches!(prepared, Ok(Moment::Leaving(_))) {
                break;
            }
            left = true;
            // The app has seen what was received so far: a policy may send on top of it before this
            // ends.
            self.look(at, &Why::Exchanged)?;
            self.site.moved.take();
            let _ = self.seats[at].device.step(&self.site);
            if watch.is_dead() {
                break;
            }
        }
        let Some(files) = watch.end() else { return self.after_exchange(at, true) };
        self.report.count("a crash inside a step");
        self.report.say(|| format!("   {at} crashes{}", if left { ", after sending" } else { "" }));
        self.seats[at].put(&files);
        self.after_exchange(at, false)
    }

    /// Signs in another user: no mutation of the file is sent under that user. Then the user comes
    /// back, or the next user takes over the file.
    fn switch(&mut self, at: usize, rng: &mut Rng) -> Checked {
        let user = self.seats[at].device.user.clone();
        let other = USERS[rng.usize(..3)].to_owned();
        let is_known = self.seats[at].device.engine().meta("subject").ok().flatten().is_some();
        if other == user || !is_known {
            return Ok(());
        }
        self.seats[at].device.user.clone_from(&other);
        self.seats[at].crash();
        self.report.count("another user signs in");
        for _ in 0..2 {
            if self.exchange_as(at, &other) {
                return broken!(
                    "file-belongs-to-one-user",
                    "{other} was accepted with the file of {user}"
                );
            }
        }
        // The file still belongs to the former user.
        self.seats[at].device.user = user;
        self.after_exchange(at, false)?;
        if rng.bool() {
            self.seats[at].crash();
            return self.look(at, &Why::Opened);
        }
        let named: Vec<_> = self.seats[at].sight.queue.iter().map(|one| one.id).collect();
        let engine = self.seats[at].device.engine();
        let unnamed = reset::reset(engine, Keep::Local, &[]);
        if named.is_empty() == unnamed.is_err() {
            return broken!(
                "reset-names-what-it-discards",
                "a reset that names nothing: {unnamed:?}, with {named:?}"
            );
        }
        if unnamed.is_err() {
            let done = reset::reset(engine, Keep::Local, &named);
            done.map_err(|error| format!("a reset that names all: {error}"))?;
        }
        self.report.count("another user takes a file");
        self.seats[at].start_epoch();
        self.seats[at].device.user = other;
        self.look(at, &Why::Decided { gone: named, made: None, reverse: false })?;
        // No verdict is expected on them.
        self.seats[at].withdrawn.clear();
        Ok(())
    }

    /// Removes the server rows; the next pass fetches them like a first one.
    /// Restores the server's last backup, if there is one.
    pub(super) fn restore(&mut self) {
        if self.site.restore() {
            self.seats.iter_mut().for_each(|seat| seat.stale = true);
            self.epoch += 1;
            self.offers.start_epoch();
            self.report.count("the server is restored");
        }
    }

    pub(super) fn reset(&mut self, at: usize) -> Checked {
        let done = reset::reset(self.seats[at].device.engine(), Keep::Pending, &[]);
        let emptied = done.map_err(|error| format!("a reset that keeps what waits: {error}"))?;
        self.report.say(|| format!("   {at} removes {} rows", emptied.rows));
        self.report.count("a reset that keeps pending mutations");
        let seat = &mut self.seats[at];
        (seat.pulled, seat.known, seat.stale, seat.is_reset) = (0, 0, true, true);
        self.offers.start_epoch();
        self.look(at, &Why::Opened)?;
        if !self.seats[at].sight.base.is_empty() {
            return broken!("reset-removes-rows", "{at} has {:?}", self.seats[at].sight.base);
        }
        Ok(())
    }

    /// Empties the history: nothing can be undone, and nothing is offered to a restored server.
    fn prune(&mut self, at: usize) -> Checked {
        let none = HistoryBounds { count: 0, ..HistoryBounds::default() };
        let done = self.seats[at].device.engine().prune(&none);
        let gone = done.map_err(|error| format!("the history is emptied: {error}"))?;
        self.report.say(|| format!("   {at} forgets {gone} accepted mutations"));
        self.report.count("an emptied history");
        self.seats[at].accepted.clear();
        self.look(at, &Why::Opened)
    }

    /// Runs one exchange with credentials that may not be those of the file; returns whether a
    /// request after register succeeded.
    fn exchange_as(&mut self, at: usize, user: &str) -> bool {
        self.site.who.set(at);
        let mut through = false;
        for _ in 0..3 {
            match self.seats[at].device.step(&self.site) {
                Ok(Moment::Leaving(Phase::Registering | Phase::FetchingSchema)) => {}
                Ok(_) => through = true,
                Err(error) => {
                    self.report.say(|| format!("   {user} on {at}: {error:#}"));
                    break;
                }
            }
        }
        through
    }

    fn copy(&mut self, at: usize) -> Checked {
        self.read_verdicts(at, 0)?;
        let number = self.seats.len();
        let copy = self.seats[at].copy(self.seed * 16 + number as u64);
        // Both copies offer a restored server the mutations whose acceptance the file contains.
        let accepted = copy.ends.values().filter(|(.., kind)| *kind == VerdictKind::Accepted);
        let accepted = accepted.map(|(id, ..)| *id);
        for id in copy.sight.queue.iter().map(|one| one.id).chain(accepted) {
            if let Some(written) = self.book.of_mut(id) {
                written.copied = true;
            }
        }
        self.seats.push(copy);
        self.report.count("a copied file");
        self.report.say(|| format!("   {number} is a copy of {at}"));
        self.look(number, &Why::Opened)
    }

    pub(super) fn late(&mut self, at: usize) -> Checked {
        self.site.who.set(at);
        self.seats[at].device.deliver_late(&self.site);
        self.after_exchange(at, false)
    }

    /// Advances all clocks.
    pub(super) fn move_on(&self, time: Duration) {
        self.site.backend.clock.advance(i64::try_from(time.as_micros()).unwrap_or(0));
        self.seats.iter().for_each(|seat| seat.device.host.advance(time));
    }
}

/// A device of a run, whose clock may be wrong.
fn device(seed: u64, at: usize, user: &str, site: &Site, rng: &mut Rng) -> Device {
    let page = [1, 2, 3, 5, 100][rng.usize(..5)];
    let batch = [1, 2, 4, 100, 100][rng.usize(..5)];
    let bundled = rng.bool().then(|| site.backend.manifest());
    let device = Device::with(user, seed * 16 + at as u64, bundled, |config| {
        config.page_size = page;
        config.batch_size = batch;
    });
    let hours = [0, 0, 0, -400, -2, 2, 30, 9000][rng.usize(..8)];
    device.host.set(device.host.now_micros() + hours * 3_600_000_000);
    device
}
