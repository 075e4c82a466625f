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

use super::crash_point::CrashPoint;
use super::edit_times::EditTimes;
use super::history::is_live;
use super::invariants::CheckCause;
use super::mutations::MutationLog;
use super::push_invariants::PushHistory;
use super::server::RowsFixture;
use super::setting::{Setting, USERS, actions};
use super::slot::DeviceSlot;
use super::step::StepKind;
use crate::simulate::exchange::{ExchangeRun as _, Step, device, jump_clock};
use crate::simulate::{Checked, RunReport, broken};
use crate::{Moment, Store};

const DAY: i64 = 86_400_000_000;

/// Maximum number of devices of a run.
const DEVICES: usize = 6;

/// The rows that `kinds` may have.
pub(super) const KINDS: u8 = 6;

pub(super) struct RowsRun<'t> {
    pub(super) setting: Setting,
    pub(super) server: RowsFixture,
    pub(super) slots: Vec<DeviceSlot>,
    pub(super) report: &'t mut RunReport,
    pub(super) mutations: MutationLog,
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
    pub(super) push_history: PushHistory,
    pub(super) times: EditTimes,
}

impl<'t> RowsRun<'t> {
    pub(super) fn new(seed: u64, store: Store, report: &'t mut RunReport) -> Checked<Self> {
        // Other random numbers than those of the steps, so that each is independent.
        let mut rng = Rng::with_seed(seed ^ 0x0072_0077_0073);
        let setting = Setting::new(&mut rng, seed);
        let server = RowsFixture::new(setting.server(store), setting.tables().collect(), seed);
        let times = EditTimes::of(setting.by_time());
        let mut run = Self {
            setting,
            server,
            slots: Vec::new(),
            report,
            mutations: MutationLog::default(),
            epoch: 0,
            written_by: Vec::new(),
            forgotten: 0,
            aged: 0,
            granted: BTreeSet::new(),
            is_healing: false,
            columns: 0,
            seed,
            actions: actions(),
            push_history: PushHistory::default(),
            times,
        };
        run.write_first_rows(&mut rng);
        if run.setting.teams {
            run.write_first_teams(seed);
        }
        if Rng::with_seed(seed ^ 0x006c_6561_7665).bool() {
            run.server.add_leaves();
        }
        for at in 0..run.setting.users.len() {
            let device = device(
                run.setting.users[at],
                seed * 16 + at as u64,
                |rng| rng.bool().then(|| run.server.backend.manifest()),
                &mut rng,
            );
            run.slots.push(DeviceSlot::new(at, device, run.actions.clone()));
            run.check_device(at, &CheckCause::Opened)?;
            // Most devices begin with the present rows, as most users do.
            if rng.u8(..5) > 0 {
                run.sync(at)?;
            }
        }
        Ok(run)
    }

    /// Writes the rows that exist before any device.
    fn write_first_rows(&mut self, rng: &mut Rng) {
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
        self.server.write(&sql.join("; ")).expect("the first rows");
        self.server.record_changes(None);
    }

    pub(super) fn execute(&mut self, step: &Step<StepKind>) -> Checked {
        let mut rng = Rng::with_seed(step.seed);
        self.report.trace(|| format!("{}: {:?}", step.number, step.kind));
        let count = self.slots.len();
        self.advance_clocks(Duration::from_secs(rng.u64(1..60)));
        match step.kind {
            StepKind::Write(at) => self.write(at % count, step.number, &mut rng),
            StepKind::Scenario(at, scenario) => {
                self.run_scenario(at % count, scenario, step.number, &mut rng)
            }
            StepKind::PerformAction(at) => self.perform(at % count, &mut rng),
            StepKind::Exchange(at, times, fault) => self.exchanges(at % count, times, fault),
            StepKind::Sync(at) => self.sync(at % count),
            StepKind::WriteMidPass(at) => self.write_mid_pass(at % count, step.number, &mut rng),
            StepKind::CrashAtPoint(at, place) => self.crash_at_point(at % count, place),
            StepKind::SwitchUser(at) => self.switch_user(at % count, &mut rng),
            StepKind::DeliverLate(at) => self.deliver_late(at % count),
            StepKind::CrashBeforeSend(at) => {
                let slot = &mut self.slots[at % count];
                if matches!(slot.device.prepare(), Ok(Moment::Leaving(Phase::Pushing))) {
                    self.report.count("a crash between commit and send");
                }
                // The local work after the last response is done by now.
                self.check_device(at % count, &CheckCause::Exchanged)?;
                self.crash(at % count)
            }
            StepKind::Crash(at) => self.crash(at % count),
            StepKind::Discard(at, chain) => self.discard(at % count, chain, &mut rng),
            StepKind::Retry(at, chain) => self.retry(at % count, chain, &mut rng),
            StepKind::Edit(at) => self.edit(at % count, step.number, &mut rng),
            StepKind::Undo(at) => self.undo(at % count, false, &mut rng),
            StepKind::Redo(at) => self.undo(at % count, true, &mut rng),
            StepKind::ReadVerdicts(at) => self.read_verdicts(at % count, rng.u8(..3)),
            StepKind::JumpClock(at) => {
                let slot = &mut self.slots[at % count];
                let before = slot.device.host.now_micros();
                jump_clock(&slot.device, &mut rng);
                slot.subscriptions.is_set_back |= slot.device.host.now_micros() < before;
                self.report.count("a clock jump");
                Ok(())
            }
            StepKind::Team(at) => self.team_step(at % count, &mut rng),
            StepKind::Copy(at) if count < DEVICES => self.copy(at % count),
            StepKind::Copy(_) => Ok(()),
            StepKind::ChangeSchema(at) => self.change_schema(at % count, &mut rng),
            StepKind::Reset(at) => self.reset(at % count),
            StepKind::PruneHistory(at) => self.prune(at % count),
            _ => {
                self.execute_on_server(step, &mut rng);
                Ok(())
            }
        }
    }

    fn execute_on_server(&mut self, step: &Step<StepKind>, rng: &mut Rng) {
        match step.kind {
            StepKind::OutsideWrite => self.write_outside(step.number, rng),
            StepKind::Compact(days) => self.compact(days),
            StepKind::AddColumn => self.add_column(rng),
            StepKind::Backup => self.server.back_up(),
            StepKind::Restore => self.restore(),
            StepKind::ChangeAccess => self.change_access(rng),
            StepKind::ChangeOwner => self.change_owner(rng),
            _ => {}
        }
    }

    pub(super) fn compact(&mut self, days: u16) {
        let clock = &self.server.backend.clock;
        self.written_by.push((clock.now(), self.mutations.written.len()));
        clock.advance(DAY * i64::from(days));
        let now = clock.now();
        let older_than = |days: i64| {
            let mut older = self.written_by.iter().rev();
            older.find(|(at, _)| *at < now - days * DAY).map_or(0, |(_, count)| *count)
        };
        (self.aged, self.forgotten) = (older_than(30), older_than(90));
        self.server.compact();
        self.report.count("the log is compacted");
    }

    /// Runs SQL of an outside writer, which may be refused.
    pub(super) fn outside_sql(&mut self, sql: &str) {
        let done = self.server.write(sql);
        self.report.trace(|| format!("   outside writer: {sql}: {done:?}"));
        self.server.record_changes(None);
    }

    pub(super) fn write_outside(&mut self, number: u32, rng: &mut Rng) {
        if self.setting.teams && rng.u8(..4) == 0 {
            let sql = self.team_statement(None, &format!("o{number}"), rng);
            return self.outside_sql(&sql);
        }
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
    pub(super) fn write_tally_outside(&mut self, at: usize) {
        let first = &self.slots[at].device.user.clone()[..1];
        self.outside_sql(&format!("UPDATE tallies SET m = m - 1 WHERE id = '{first}t'"));
        self.report.count("writes of outside writers");
    }

    fn change_access(&mut self, rng: &mut Rng) {
        let reader = USERS[rng.usize(..2)];
        let mut owner = USERS[rng.usize(..3)].to_owned();
        let granted = self.server.buckets(reader);
        if reader == owner {
            let Some(first) = granted.first() else { return };
            owner.clone_from(first);
        }
        let may = granted.contains(&owner);
        self.report.count(if may { "access revoked" } else { "access granted" });
        self.set_access(reader, &owner, !may);
    }

    /// Grants or revokes a user's access to the rows of another.
    pub(super) fn set_access(&mut self, reader: &str, owner: &str, may: bool) {
        self.access_changed();
        if may {
            self.granted.insert((reader.to_owned(), owner.to_owned()));
            self.outside_sql(&format!(
                "INSERT INTO rejoin_bucket(user_id, bucket) VALUES ('{reader}', 'user:{owner}')"
            ));
        } else {
            self.outside_sql(&format!(
                "DELETE FROM rejoin_bucket WHERE user_id = '{reader}' AND bucket = 'user:{owner}'"
            ));
        }
    }

    /// The rights of users have changed.
    pub(super) fn access_changed(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.stale = true);
        self.push_history.forget_conflicts();
    }

    fn change_owner(&mut self, rng: &mut Rng) {
        let first = &USERS[rng.usize(..2)][..1];
        let id = format!("{first}{}", rng.u8(..=self.setting.rows));
        let table = ["items", "items", "marks"][rng.usize(..3)];
        // The parts of an item get the same owner.
        let parts: Vec<String> = self
            .server
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
        self.push_history.forget_conflicts();
        self.report.count("a row given to another owner");
        self.outside_sql(&format!("UPDATE {table} SET user_id = {owner} WHERE id = '{id}'"));
    }

    fn crash(&mut self, at: usize) -> Checked {
        self.report.count("a restart");
        self.slots[at].crash();
        self.check_device(at, &CheckCause::Opened)
    }

    /// Crashes a device at a point on its way: only the files at that moment remain. The server
    /// continues.
    fn crash_at_point(&mut self, at: usize, place: usize) -> Checked {
        self.server.sender.set(at);
        let path = self.slots[at].device.path().to_owned();
        let point = CrashPoint::arm(&path, place);
        let mut left = false;
        for _ in 0..6 {
            let prepared = self.slots[at].device.prepare();
            // A crash before the send means that nothing was sent.
            if point.has_crashed() || !matches!(prepared, Ok(Moment::Leaving(_))) {
                break;
            }
            left = true;
            // The app has seen what was received so far: a policy may send on top of it before this
            // ends.
            self.check_device(at, &CheckCause::Exchanged)?;
            self.server.schema_changed.take();
            let _ = self.slots[at].device.step(&self.server);
            if point.has_crashed() {
                break;
            }
        }
        let Some(files) = point.take_files() else { return self.after_exchange(at, true) };
        self.report.count("a crash inside a step");
        self.report
            .trace(|| format!("   {at} crashes{}", if left { ", after sending" } else { "" }));
        self.slots[at].restore_files(&files);
        self.after_exchange(at, false)
    }

    /// Signs in another user: no mutation of the file is sent under that user. Then the user comes
    /// back, or the next user takes over the file.
    fn switch_user(&mut self, at: usize, rng: &mut Rng) -> Checked {
        let user = self.slots[at].device.user.clone();
        let other = USERS[rng.usize(..3)].to_owned();
        let is_known = self.slots[at].device.engine().meta("subject").ok().flatten().is_some();
        if other == user || !is_known {
            return Ok(());
        }
        self.slots[at].device.user.clone_from(&other);
        self.slots[at].crash();
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
        self.slots[at].device.user = user;
        self.after_exchange(at, false)?;
        if rng.bool() {
            self.slots[at].crash();
            return self.check_device(at, &CheckCause::Opened);
        }
        let named: Vec<_> = self.slots[at].state.queue.iter().map(|one| one.id).collect();
        let engine = self.slots[at].device.engine();
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
        self.slots[at].reset_for_new_user();
        self.slots[at].device.user = other;
        self.check_device(at, &CheckCause::Decided { gone: named, made: None, reverse: false })?;
        // No verdict is expected on them.
        self.slots[at].withdrawn.clear();
        Ok(())
    }

    /// Restores the server's last backup, if there is one.
    pub(super) fn restore(&mut self) {
        if self.server.restore() {
            self.slots.iter_mut().for_each(|slot| slot.stale = true);
            self.epoch += 1;
            self.push_history.forget_conflicts();
            self.report.count("the server is restored");
        }
    }

    /// Removes the server rows; the next pass fetches them like a first one.
    pub(super) fn reset(&mut self, at: usize) -> Checked {
        let done = reset::reset(self.slots[at].device.engine(), Keep::Pending, &[]);
        let emptied = done.map_err(|error| format!("a reset that keeps what waits: {error}"))?;
        self.report.trace(|| format!("   {at} removes {} rows", emptied.rows));
        self.report.count("a reset that keeps pending mutations");
        let slot = &mut self.slots[at];
        (slot.pulled, slot.known, slot.stale, slot.is_reset) = (0, 0, true, true);
        self.push_history.forget_conflicts();
        self.check_device(at, &CheckCause::Opened)?;
        if !self.slots[at].state.base.is_empty() {
            return broken!("reset-removes-rows", "{at} has {:?}", self.slots[at].state.base);
        }
        Ok(())
    }

    /// Empties the history: nothing can be undone, and nothing is offered to a restored server.
    fn prune(&mut self, at: usize) -> Checked {
        let none = HistoryBounds { count: 0, ..HistoryBounds::default() };
        let done = self.slots[at].device.engine().prune(&none);
        let gone = done.map_err(|error| format!("the history is emptied: {error}"))?;
        self.report.trace(|| format!("   {at} forgets {gone} accepted mutations"));
        self.report.count("an emptied history");
        self.slots[at].accepted.clear();
        self.check_device(at, &CheckCause::Opened)
    }

    /// Runs one exchange with credentials that may not be those of the file; returns whether a
    /// request after register succeeded.
    fn exchange_as(&mut self, at: usize, user: &str) -> bool {
        self.server.sender.set(at);
        let mut through = false;
        for _ in 0..3 {
            match self.slots[at].device.step(&self.server) {
                Ok(Moment::Leaving(Phase::Registering | Phase::FetchingSchema)) => {}
                Ok(_) => through = true,
                Err(error) => {
                    self.report.trace(|| format!("   {user} on {at}: {error:#}"));
                    break;
                }
            }
        }
        through
    }

    fn copy(&mut self, at: usize) -> Checked {
        self.read_verdicts(at, 0)?;
        let number = self.slots.len();
        let copy = self.slots[at].copy(self.seed * 16 + number as u64);
        // Both copies offer a restored server the mutations whose acceptance the file contains.
        let accepted = copy.reported.values().filter(|(.., kind)| *kind == VerdictKind::Accepted);
        let accepted = accepted.map(|(id, ..)| *id);
        for id in copy.state.queue.iter().map(|one| one.id).chain(accepted) {
            if let Some(written) = self.mutations.get_mut(id) {
                written.copied = true;
            }
        }
        self.slots.push(copy);
        self.report.count("a copied file");
        self.report.trace(|| format!("   {number} is a copy of {at}"));
        self.check_device(number, &CheckCause::Opened)
    }

    pub(super) fn deliver_late(&mut self, at: usize) -> Checked {
        self.server.sender.set(at);
        self.slots[at].device.deliver_late(&self.server);
        self.after_exchange(at, false)
    }

    /// Advances all clocks.
    pub(super) fn advance_clocks(&self, time: Duration) {
        self.server.backend.clock.advance(i64::try_from(time.as_micros()).unwrap_or(0));
        self.slots.iter().for_each(|slot| slot.device.host.advance(time));
    }
}
