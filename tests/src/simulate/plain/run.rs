//! A run: its devices and its server, and the execution of each step.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use rejoin_core::engine::queue::mutation::MutationState;
use rejoin_core::sync::session::Phase;
use rejoin_plain::{Column, Fault as Inside, Outage, Trigger};
use rejoin_protocol::{Policy, time};
use serde_json::json;

use super::history::{Change, Name, Row};
use super::server::PlainFixture;
use super::step::StepKind;
use super::written::{self, Kind, Values, WrittenEdit};
use crate::simulate::exchange::{ExchangeRun, Step, device, jump_clock};
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

pub(super) struct PlainRun<'t> {
    pub(super) server: PlainFixture,
    pub(super) devices: Vec<Device>,
    pub(super) report: &'t mut RunReport,
    pub(super) written: Vec<WrittenEdit>,
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

impl<'t> PlainRun<'t> {
    pub(super) fn new(seed: u64, report: &'t mut RunReport) -> Self {
        // Other random numbers than those of the steps, so that each is independent.
        let mut rng = Rng::with_seed(seed ^ 0x05ee_d0fa_3041);
        let trigger = match rng.u8(..10) {
            0..5 => Trigger::ClockTime,
            5..8 => Trigger::TransactionTime,
            _ => Trigger::LeftAlone,
        };
        let server = PlainFixture::new(trigger);
        let count = [1, 1, 1, 2, 2, 2, 3, 4][rng.usize(..8)];
        let alone = count == 1 && rng.u8(..3) == 0;
        let mut devices: Vec<Device> = (0..count)
            .map(|at| device(USERS[at], seed * 8 + at as u64, |_| None, &mut rng))
            .collect();
        for device in &mut devices {
            device.limit_faults(ATTEMPTS);
        }
        let policies = policies(seed, &mut devices);
        let mut run = Self {
            server,
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
        let first = Step { number: 60_000, seed: rng.u64(..), kind: StepKind::Recover };
        for row in 0..rng.usize(..=usize::from(run.rows)) {
            let mut values = Values::new(first.number + u32::try_from(row).unwrap_or(0));
            let row = json!({"id": format!("a{row}"), "user_id": "ana", "title": values.text()});
            run.server.backend.insert("notes", &row);
        }
        run.server.record_changes(None);
        if rng.u8(..3) == 0 {
            run.server.backend.server().compact_to(i64::MAX);
        }
        // Most devices begin with the present rows, as most users do.
        for at in 0..count {
            if rng.u8(..5) > 0 {
                for _ in 0..3 {
                    let _ = run.pass(at);
                }
            }
        }
        run
    }

    pub(super) fn execute(&mut self, step: &Step<StepKind>) -> Checked {
        let mut rng = Rng::with_seed(step.seed);
        self.report.trace(|| format!("{}: {:?}", step.number, step.kind));
        let count = self.devices.len();
        self.advance_clocks(Duration::from_secs(rng.u64(1..60)));
        match step.kind {
            StepKind::Edit(at) => self.edit(at % count, step, &mut rng),
            StepKind::Recreate(at) => return self.recreate(at % count, step, &mut rng),
            StepKind::OutsideWrite(_) if self.alone => {}
            StepKind::OutsideWrite(_) => self.write_outside(step, &mut rng),
            StepKind::Exchange(at, times, fault) => {
                self.exchanges(at % count, times, fault)?;
                // Before the device sends again what had no response.
                if fault.is_some() && !self.alone && rng.u8(..4) == 0 {
                    self.write_outside(step, &mut rng);
                }
            }
            StepKind::CrashBeforeSend(at) => {
                if let Ok(Moment::Leaving(_)) = self.devices[at % count].prepare() {
                    self.report.count("a crash between request and response");
                }
                self.devices[at % count].crash();
            }
            StepKind::Crash(at) => {
                self.report.count("a restart");
                self.devices[at % count].crash();
            }
            StepKind::DeliverLate(at) => return self.deliver_late(at % count),
            StepKind::Discard(at) => self.discard(at % count, &mut rng),
            StepKind::JumpClock(at) => jump_clock(&self.devices[at % count], &mut rng),
            StepKind::ForgetDevice(at) => {
                let device = &mut self.devices[at % count];
                if let Ok(Some(id)) = device.engine().meta("client_id") {
                    self.server.backend.server().forget_client(&device.user.clone(), &id);
                    self.report.count("a client forgotten by the server");
                }
            }
            StepKind::AdvanceDays => return self.advance_days(&mut rng),
            _ => self.execute_on_server(step.kind, &mut rng),
        }
        Ok(())
    }

    fn execute_on_server(&mut self, kind: StepKind, rng: &mut Rng) {
        if matches!(kind, StepKind::Recover) {
            return self.recover();
        }
        let mut server = self.server.backend.server();
        match kind {
            StepKind::Poison(at) => {
                let name = ("notes".to_owned(), format!("a{}", at % 4));
                server.poison(&name.0, &name.1);
                self.poisoned.push(name);
            }
            StepKind::FailInside => {
                let faults = [Inside::FailsAfterCommit, Inside::HangsUpAfter, Inside::Transient];
                for _ in 0..rng.usize(1..4) {
                    server.fail_next(faults[rng.usize(..3)]);
                }
            }
            StepKind::Outage => {
                let outages = [Outage::Closed, Outage::Refusing, Outage::TooMany(1)];
                server.outage(rng.choice(outages));
            }
            StepKind::TooOld => server.config.minimum_version = Some("9.0.0".to_owned()),
            StepKind::AddColumn if self.columns < 2 => {
                self.columns += 1;
                let name = format!("more{}", self.columns);
                server.alter(|tables| tables[0].add(Column::new(&name, "text").nullable()));
            }
            StepKind::Compact => drop(server.compact()),
            StepKind::RequireSnapshot => server.require_snapshot(),
            StepKind::Lag => {
                let lags = server.behind() == 0 && rng.bool();
                server.lag(lags);
            }
            _ => {}
        }
    }

    /// Eight days pass; some devices sync meanwhile, and the server forgets what the others have
    /// not read.
    fn advance_days(&mut self, rng: &mut Rng) -> Checked {
        self.advance_clocks(Duration::from_micros(8 * DAY.unsigned_abs()));
        let at = rng.usize(..self.devices.len());
        if rng.u8(..3) > 0 {
            let _ = self.pass(at)?;
        }
        // Devices that synced have read everything, so nothing of theirs is lost.
        self.server.backend.server().compact();
        Ok(())
    }

    /// The server works again; its rules still refuse what they refuse.
    pub(super) fn recover(&mut self) {
        let mut server = self.server.backend.server();
        server.heal();
        server.outage(None);
        server.config.minimum_version = None;
    }

    /// Advances all clocks.
    pub(super) fn advance_clocks(&self, time: Duration) {
        self.server.backend.clock.advance(i64::try_from(time.as_micros()).unwrap_or(0));
        self.devices.iter().for_each(|device| device.host.advance(time));
    }

    fn write_outside(&mut self, step: &Step<StepKind>, rng: &mut Rng) {
        let user = USERS[rng.usize(..self.devices.len())];
        let mut id = format!("{}{}", &user[..1], rng.u8(..self.rows));
        let mut values = Values::new(step.number);
        let there = |id: &String| {
            let history = self.server.history();
            history.now(&("notes".to_owned(), id.clone())).map(|row| row.is_there)
        };
        // A row that no device has sent yet cannot be written by others.
        let mut random = self.random.iter().rev().filter(|id| id.starts_with(&user[..1]));
        // The device may not know yet that the server has the newest one.
        if let Some(newest) = random.find(|id| there(id).is_some()).filter(|_| rng.bool()) {
            id.clone_from(newest);
        }
        let there = there(&id);
        let backend = &self.server.backend;
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
        self.report.trace(|| format!("   an outside writer writes {id}"));
        self.server.record_changes(None);
        self.server.take_unchecked();
    }

    /// Requests that timed out on a device arrive at the server; their responses are lost.
    pub(super) fn deliver_late(&mut self, at: usize) -> Checked {
        self.server.sender.set(at);
        self.devices[at].deliver_late(&self.server);
        self.server.end_exchange(at, false);
        self.server.wire.clear();
        let changed = self.server.changed();
        self.report.add("a late request changes rows", u64::from(!changed.is_empty()));
        self.late.extend(changed);
        self.check_overwrites(at)
    }

    fn parked(&mut self, at: usize) -> usize {
        let queue = self.devices[at].queue();
        queue.iter().filter(|one| one.state == MutationState::Parked).count()
    }

    /// No value of another writer is overwritten that the device never received.
    fn check_overwrites(&mut self, at: usize) -> Checked {
        for (name, Change { before, after, .. }) in self.server.take_unchecked() {
            self.report.trace(|| format!("   the server has {name:?} {after:?}"));
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
                let is_known = |(_, cell): &(&WrittenEdit, &written::Cell)| {
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
    fn may_overwrite(
        &self,
        edit: &WrittenEdit,
        before: &Row,
        column: &'static str,
        old: &str,
    ) -> bool {
        match self.policies[edit.at] {
            Policy::AcceptServer | Policy::Manual => false,
            Policy::Rebase | Policy::KeepLocal => {
                let was_created = edit.kind == Kind::Create && self.random.contains(&edit.name.1);
                !was_created && self.server.has_received(edit.at, &edit.name, column, old)
            }
            Policy::LastWriteWins => {
                let version = time::parse(&before.version).unwrap_or(i64::MAX);
                // An edit of a device that already had it came later, whatever its clock says.
                let has = |change: &Change| {
                    let after = change.after.as_ref().and_then(|row| row.cells.get(column));
                    change.tick <= edit.tick && after.is_some_and(|value| value == old)
                };
                let came_before = self.server.history().versions(&edit.name).iter().any(has);
                edit.time_ms * 1000 > version
                    || came_before && self.server.has_received(edit.at, &edit.name, column, old)
            }
        }
    }
}

impl ExchangeRun for PlainRun<'_> {
    /// Runs one exchange. A response that accepts everything must change nothing that the app sees.
    fn exchange(&mut self, at: usize, fault: Option<Fault>) -> Checked<anyhow::Result<Moment>> {
        self.server.sender.set(at);
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
        let discarded = self.written.iter().any(|edit| edit.at == at && edit.discarded);
        let watched = pushes && fault.is_none() && !self.still && !discarded;
        let before = if watched { self.view(at) } else { Vec::new() };
        let parked = if watched { self.parked(at) } else { 0 };
        self.server.pulled.set(self.pulled[at]);
        let moment = match prepared {
            Ok(Moment::Leaving(_)) => self.devices[at].step(&self.server),
            over => over,
        };
        self.report.trace(|| match &moment {
            Ok(moment) => format!("   {at} {fault:?} {moment:?}"),
            Err(error) => format!("   {at} {fault:?} {error:#}"),
        });
        self.server.wire.write_to(self.report);
        let cut = matches!(fault, Some(Fault::AnswerLost | Fault::CutBody));
        self.report.add("answers cut or lost", u64::from(pushes && cut));
        let arrived = matches!(fault, None | Some(Fault::Doubled)) && moment.is_ok();
        self.server.end_exchange(at, arrived);
        match &moment {
            Ok(Moment::Leaving(_)) => self.pulled[at] = self.server.pulled.get(),
            Ok(Moment::Finished(_)) if self.server.backend.server().behind() == 0 => {
                self.known[at] = self.pulled[at];
            }
            _ => {}
        }
        self.check_overwrites(at)?;
        if watched && moment.is_ok() && self.server.all_applied.get() {
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
