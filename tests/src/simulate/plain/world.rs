//! A run: its devices and its server, and the execution of each step.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result as Done;
use fastrand::Rng;
use rejoin_core::engine::queue::mutation::MutationState;
use rejoin_core::host::Host as _;
use rejoin_core::sync::session::Phase;
use rejoin_plain::{Column, Fault as Inside, Outage, Trigger};
use rejoin_protocol::{Policy, time};
use serde_json::json;

use super::history::{Change, Name, Row};
use super::site::Site;
use super::step::{Step, What};
use super::written::{self, Kind, Values, Written};
use crate::simulate::{Checked, RunReport, broken};
use crate::{Device, Fault, Moment};

/// Edits that were parked though applied, where the server gives no way to decide.
pub(super) const RESIDUE: &str = "an edit parked though applied";
/// Discarded edits that remain on the server.
pub(super) const ALIVE: &str = "a discarded value remains on the server";

/// How often the server may fail on a record: a run ends after few passes.
const ATTEMPTS: u32 = 3;

const DAY: i64 = 86_400_000_000;

/// The user of each device; the keys of the rows begin with the user's initial.
const USERS: [&str; 4] = ["ana", "ana", "ben", "ana"];

pub(super) struct World<'t> {
    pub(super) site: Site,
    pub(super) devices: Vec<Device>,
    pub(super) report: &'t mut RunReport,
    pub(super) written: Vec<Written>,
    /// Rows that the server's database refused for some time.
    pub(super) poisoned: Vec<Name>,
    /// Whether nothing updates `updated_at`.
    pub(super) still: bool,
    /// Whether only one device writes.
    alone: bool,
    /// Rows that a late request has changed.
    pub(super) late: BTreeSet<Name>,
    /// Maximum number of notes of each user, beside those with random keys.
    pub(super) rows: u8,
    /// Keys of notes that were created with a random key.
    pub(super) random: Vec<String>,
    /// The conflict policy of each device.
    pub(super) policies: Vec<Policy>,
    /// The newest checked mutation number of each device.
    pub(super) newest: Vec<i64>,
    /// The number of the server's changes at each device's last response, and at the end of its
    /// last pass.
    pulled: Vec<usize>,
    pub(super) known: Vec<usize>,
    columns: u32,
}

impl<'t> World<'t> {
    pub(super) fn new(seed: u64, report: &'t mut RunReport) -> Self {
        // Other random numbers than those of the steps, so that each is independent.
        let mut rng = Rng::with_seed(seed ^ 0x05ee_d0fa_3041);
        let trigger = match rng.u8(..10) {
            0..5 => Trigger::ClockTime,
            5..8 => Trigger::TransactionTime,
            _ => Trigger::LeftAlone,
        };
        let site = Site::new(trigger);
        let count = [1, 1, 1, 2, 2, 2, 3, 4][rng.usize(..8)];
        let alone = count == 1 && rng.u8(..3) == 0;
        let mut devices: Vec<Device> = (0..count).map(|at| device(seed, at, &mut rng)).collect();
        for device in &mut devices {
            device.limit_faults(ATTEMPTS);
        }
        let policies = policies(seed, &mut devices);
        let mut world = Self {
            site,
            devices,
            report,
            written: Vec::new(),
            poisoned: Vec::new(),
            still: trigger == Trigger::LeftAlone,
            alone,
            late: BTreeSet::new(),
            rows: [1, 2, 4, 4][rng.usize(..4)],
            random: Vec::new(),
            policies,
            newest: vec![0; count],
            pulled: vec![0; count],
            known: vec![0; count],
            columns: 0,
        };
        let first = Step { number: 60_000, chance: rng.u64(..), what: What::Heal };
        for row in 0..rng.usize(..=usize::from(world.rows)) {
            let mut values = Values::new(first.number + u32::try_from(row).unwrap_or(0));
            let row = json!({"id": format!("a{row}"), "user_id": "ana", "title": values.text()});
            world.site.backend.insert("notes", &row);
        }
        world.site.note(None);
        if rng.u8(..3) == 0 {
            world.site.backend.server().compact_to(i64::MAX);
        }
        // Most devices begin with the present rows, as most users do.
        for at in 0..count {
            if rng.u8(..5) > 0 {
                for _ in 0..3 {
                    let _ = world.pass(at);
                }
            }
        }
        world
    }

    pub(super) fn happen(&mut self, step: &Step) -> Checked {
        let mut rng = Rng::with_seed(step.chance);
        self.report.say(|| format!("{}: {:?}", step.number, step.what));
        let count = self.devices.len();
        self.move_on(Duration::from_secs(rng.u64(1..60)));
        match step.what {
            What::Edit(at) => self.edit(at % count, step, &mut rng),
            What::Renew(at) => return self.renew(at % count, step, &mut rng),
            What::Outside(_) if self.alone => {}
            What::Outside(_) => self.outside(step, &mut rng),
            What::Exchange(at, times, fault) => {
                self.exchanges(at % count, times, fault)?;
                // Before the device sends again what had no response.
                if fault.is_some() && !self.alone && rng.u8(..4) == 0 {
                    self.outside(step, &mut rng);
                }
            }
            What::DieLeaving(at) => {
                if let Ok(Moment::Leaving(_)) = self.devices[at % count].prepare() {
                    self.report.count("a crash between request and response");
                }
                self.devices[at % count].crash();
            }
            What::Die(at) => {
                self.report.count("a restart");
                self.devices[at % count].crash();
            }
            What::Late(at) => return self.late(at % count),
            What::Discard(at) => self.discard(at % count, &mut rng),
            What::Clock(at) => {
                let host = &self.devices[at % count].host;
                let hours = [-9000, -30, -1, 1, 30, 9000][rng.usize(..6)];
                host.set(host.now_micros() + hours * 3_600_000_000);
            }
            What::Forget(at) => {
                let device = &mut self.devices[at % count];
                if let Ok(Some(id)) = device.engine().meta("client_id") {
                    self.site.backend.server().forget_client(&device.user.clone(), &id);
                    self.report.count("a client forgotten by the server");
                }
            }
            What::Days => return self.days(&mut rng),
            _ => self.happen_to_server(step.what, &mut rng),
        }
        Ok(())
    }

    fn happen_to_server(&mut self, what: What, rng: &mut Rng) {
        if matches!(what, What::Heal) {
            return self.heal();
        }
        let mut server = self.site.backend.server();
        match what {
            What::Poison(at) => {
                let name = ("notes".to_owned(), format!("a{}", at % 4));
                server.poison(&name.0, &name.1);
                self.poisoned.push(name);
            }
            What::FailInside => {
                let faults = [Inside::FailsAfterCommit, Inside::HangsUpAfter, Inside::Transient];
                for _ in 0..rng.usize(1..4) {
                    server.fail_next(faults[rng.usize(..3)]);
                }
            }
            What::Outage => {
                let outages = [Outage::Closed, Outage::Refusing, Outage::TooMany(1)];
                server.outage(rng.choice(outages));
            }
            What::TooOld => server.config.minimum_version = Some("9.0.0".to_owned()),
            What::Alter if self.columns < 2 => {
                self.columns += 1;
                let name = format!("more{}", self.columns);
                server.alter(|tables| tables[0].add(Column::new(&name, "text").nullable()));
            }
            What::Compact => drop(server.compact()),
            What::Rebuild => server.require_snapshot(),
            What::Lag => {
                let lags = server.behind() == 0 && rng.bool();
                server.lag(lags);
            }
            _ => {}
        }
    }

    /// Eight days pass; some devices sync meanwhile, and the server forgets what the others have
    /// not read.
    fn days(&mut self, rng: &mut Rng) -> Checked {
        self.move_on(Duration::from_micros(8 * DAY.unsigned_abs()));
        let at = rng.usize(..self.devices.len());
        if rng.u8(..3) > 0 {
            self.pass(at)?;
        }
        // Devices that synced have read everything, so nothing of theirs is lost.
        self.site.backend.server().compact();
        Ok(())
    }

    /// The server works again; its rules still refuse what they refuse.
    pub(super) fn heal(&mut self) {
        let mut server = self.site.backend.server();
        server.heal();
        server.outage(None);
        server.config.minimum_version = None;
    }

    /// Advances all clocks.
    pub(super) fn move_on(&self, time: Duration) {
        self.site.backend.clock.advance(i64::try_from(time.as_micros()).unwrap_or(0));
        self.devices.iter().for_each(|device| device.host.advance(time));
    }

    fn outside(&mut self, step: &Step, rng: &mut Rng) {
        let user = USERS[rng.usize(..self.devices.len())];
        let mut id = format!("{}{}", &user[..1], rng.u8(..self.rows));
        let mut values = Values::new(step.number);
        let there = |id: &String| {
            let history = self.site.history();
            history.now(&("notes".to_owned(), id.clone())).map(|row| row.is_there)
        };
        // A row that no device has sent yet cannot be written by others.
        let mut random = self.random.iter().rev().filter(|id| id.starts_with(&user[..1]));
        // The device may not know yet that the server has the newest one.
        if let Some(newest) = random.find(|id| there(id).is_some()).filter(|_| rng.bool()) {
            id.clone_from(newest);
        }
        let there = there(&id);
        let backend = &self.site.backend;
        match (there, rng.u8(..8)) {
            (None, _) => {
                let row = json!({"id": id, "user_id": user, "title": values.text(), "size": 1});
                backend.insert("notes", &row);
            }
            (Some(true), 0) => backend.soft_delete("notes", &id),
            (Some(true), 1) => backend.update("notes", &id, &json!({"body": values.text()})),
            (Some(true), 2) => backend.update("notes", &id, &json!({"size": values.integer()})),
            (Some(true), 3) => backend.update("notes", &id, &json!({"due": values.instant(rng)})),
            (Some(true), _) => backend.update("notes", &id, &json!({"title": values.text()})),
            (Some(false), 0..3) if backend.server().behind() == 0 => {
                // Refused while it has parts, which is fine.
                let _ = backend.server().remove("notes", &id);
            }
            (Some(false), _) => {
                let row = json!({"deleted_at": null, "title": values.text()});
                backend.update("notes", &id, &row);
            }
        }
        self.report.count("writes of outside writers");
        self.report.say(|| format!("   an outside writer writes {id}"));
        self.site.note(None);
        self.site.take_fresh();
    }

    pub(super) fn exchanges(
        &mut self,
        at: usize,
        times: usize,
        fault: Option<(usize, Fault)>,
    ) -> Checked {
        for time in 0..times {
            let fault = fault.and_then(|(when, fault)| (when == time).then_some(fault));
            match self.exchange(at, fault)? {
                Ok(Moment::Leaving(_)) => {}
                Ok(Moment::Finished(_)) | Err(_) => break,
            }
        }
        Ok(())
    }

    /// Requests that timed out on a device arrive at the server; their responses are lost.
    pub(super) fn late(&mut self, at: usize) -> Checked {
        self.site.who.set(at);
        self.devices[at].deliver_late(&self.site);
        self.site.end_exchange(at, false);
        self.site.take_seen();
        let changed = self.site.changed();
        self.report.add("a late request changes rows", u64::from(!changed.is_empty()));
        self.late.extend(changed);
        self.look_at_changes(at)
    }

    /// Runs one exchange. A response that accepts everything must change nothing that the app sees.
    pub(super) fn exchange(&mut self, at: usize, fault: Option<Fault>) -> Checked<Done<Moment>> {
        self.site.who.set(at);
        self.devices[at].faults.clear();
        // Where no version moves, a late request may overwrite what the device has written since
        // (docs/plain-server.md).
        let is_late = |fault: &Fault| self.still && *fault == Fault::Late;
        let fault = fault.filter(|fault| !is_late(fault));
        self.devices[at].faults.extend(fault);
        let prepared = self.devices[at].prepare();
        let pushes = matches!(prepared, Ok(Moment::Leaving(Phase::Pushing)));
        // Where no version moves, the server lets an edit win over what it never saw. A discarded
        // delete may be pulled before its verdict, and is reverted with the verdict.
        let given_up = self.written.iter().any(|edit| edit.at == at && edit.given_up);
        let watched = pushes && fault.is_none() && !self.still && !given_up;
        let before = if watched { self.view(at) } else { Vec::new() };
        let parked = if watched { self.parked(at) } else { 0 };
        self.site.pulled.set(self.pulled[at]);
        let moment = match prepared {
            Ok(Moment::Leaving(_)) => self.devices[at].step(&self.site),
            over => over,
        };
        self.report.say(|| match &moment {
            Ok(moment) => format!("   {at} {fault:?} {moment:?}"),
            Err(error) => format!("   {at} {fault:?} {error:#}"),
        });
        self.site.wire.tell(self.report);
        for seen in self.site.take_seen() {
            self.report.count(seen);
        }
        let cut = matches!(fault, Some(Fault::AnswerLost | Fault::CutBody));
        self.report.add("answers cut or lost", u64::from(pushes && cut));
        let arrived = matches!(fault, None | Some(Fault::Doubled)) && moment.is_ok();
        self.site.end_exchange(at, arrived);
        match &moment {
            Ok(Moment::Leaving(_)) => self.pulled[at] = self.site.pulled.get(),
            Ok(Moment::Finished(_)) if self.site.backend.server().behind() == 0 => {
                self.known[at] = self.pulled[at];
            }
            _ => {}
        }
        self.look_at_changes(at)?;
        if watched && moment.is_ok() && self.site.all_applied.get() {
            let after = self.view(at);
            // Mutations that are parked with the response leave the rows; they are checked at the
            // end.
            if before != after && self.parked(at) == parked {
                return broken!(
                    "acceptance-changes-no-view",
                    "accepted by {at}, and it shows {after:?} instead of {before:?}"
                );
            }
        }
        Ok(moment)
    }

    fn parked(&mut self, at: usize) -> usize {
        let queue = self.devices[at].queue();
        queue.iter().filter(|one| one.state == MutationState::Parked).count()
    }

    /// No value of another writer is overwritten that the device never received.
    fn look_at_changes(&mut self, at: usize) -> Checked {
        for (name, Change { before, after, .. }) in self.site.take_fresh() {
            self.report.say(|| format!("   the server has {name:?} {after:?}"));
            let (Some(before), Some(after)) = (before, after) else { continue };
            if !before.is_there {
                self.report.add("a create over a tombstone", u64::from(after.is_there));
                continue;
            }
            if self.still {
                continue;
            }
            for (column, new) in &after.cells {
                let Some(old) = before.cells.get(column).filter(|old| *old != new) else {
                    continue;
                };
                let edits = self.written.iter().filter(|edit| edit.at == at && edit.name == name);
                let cells = edits.flat_map(|edit| edit.cells.iter().map(move |cell| (edit, cell)));
                let cells: Vec<_> = cells.filter(|(_, cell)| cell.0 == *column).collect();
                let mine = cells.iter().find(|(_, cell)| cell.2.as_ref() == Some(new));
                let is_known = |(_, cell): &(&Written, &written::Cell)| {
                    [&cell.1, &cell.2].contains(&&Some(old.clone()))
                };
                let Some((edit, _)) = mine else { continue };
                if cells.iter().any(is_known) {
                    continue;
                }
                if self.may_overwrite(edit, &before, column, old) {
                    self.report.count("an edit over a foreign value by policy");
                } else {
                    return broken!(
                        "no-blind-overwrite",
                        "{at} wrote {new} over {old} in {name:?}, unseen"
                    );
                }
            }
        }
        Ok(())
    }

    /// Whether the policy lets an edit overwrite another writer's value that its author did not
    /// know: one that the device received before, or an older one.
    fn may_overwrite(&self, edit: &Written, before: &Row, column: &'static str, old: &str) -> bool {
        match self.policies[edit.at] {
            Policy::AcceptServer | Policy::Manual => false,
            Policy::Rebase | Policy::KeepLocal => {
                let was_created = edit.kind == Kind::Create && self.random.contains(&edit.name.1);
                !was_created && self.site.was_shown(edit.at, &edit.name, column, old)
            }
            Policy::LastWriteWins => {
                let version = time::parse(&before.version).unwrap_or(i64::MAX);
                // An edit of a device that already had it came later, whatever its clock says.
                let has = |change: &Change| {
                    let after = change.after.as_ref().and_then(|row| row.cells.get(column));
                    change.tick <= edit.tick && after.is_some_and(|value| value == old)
                };
                let came_before = self.site.history().of(&edit.name).iter().any(has);
                edit.time_ms * 1000 > version
                    || came_before && self.site.was_shown(edit.at, &edit.name, column, old)
            }
        }
    }

    /// Runs one pass, to its end or its first error.
    pub(super) fn pass(&mut self, at: usize) -> Checked<bool> {
        // Far more than any pass needs.
        for _ in 0..400 {
            match self.exchange(at, None)? {
                Ok(Moment::Finished(_)) => return Ok(true),
                Ok(Moment::Leaving(_)) => {}
                Err(_) => return Ok(false),
            }
        }
        broken!("pass-ends", "a pass of {at} does not end")
    }
}

/// The conflict policies of the devices: in half of the runs the default, in the others one for
/// each device.
fn policies(seed: u64, devices: &mut [Device]) -> Vec<Policy> {
    let mut rng = Rng::with_seed(seed ^ 0x70_11c1_e50f);
    let is_default = rng.bool();
    let mut chosen = Vec::with_capacity(devices.len());
    for device in devices {
        let policy = if is_default { Policy::AcceptServer } else { Policy::ALL[rng.usize(..5)] };
        device.govern(["notes", "parts"].map(|table| (table.to_owned(), policy)).into());
        chosen.push(policy);
    }
    chosen
}

/// A device of a run, whose clock may be wrong.
fn device(seed: u64, at: usize, rng: &mut Rng) -> Device {
    let page = [1, 2, 3, 5, 100][rng.usize(..5)];
    let batch = [1, 2, 4, 100, 100][rng.usize(..5)];
    let device = Device::with(USERS[at], seed * 8 + at as u64, None, |config| {
        config.page_size = page;
        config.batch_size = batch;
    });
    let hours = [0, 0, 0, -400, -2, 2, 30, 9000][rng.usize(..8)];
    device.host.set(device.host.now_micros() + hours * 3_600_000_000);
    device
}
