//! A run: a server, its recomputed state, devices, perhaps an authority, and messages in transit; and
//! the execution of each step.
//!
//! A step contains all its input, so the same steps give the same run, and fewer steps give another
//! one.

use std::collections::BTreeMap;

use fastrand::Rng;
use rejoin_log::ids::{AuthorId, Buckets, EntryId, Name, UserId};
use rejoin_log::message::snapshot::SnapshotAnswer;
use rejoin_log::message::{Fetched, LogSnapshot, Publish, Published};
use rejoin_log::row::{LogRow, Placement, RowName};
use rejoin_log::server::Limits;
use rejoin_log::server::store::Membership;

use super::RunReport;
use super::actions::{ITEM, MINE, fresh};
use super::authority::SimulatedAuthority;
use super::device::Device;
use super::expected_server::ExpectedServer;
use super::oracle::{self, Names, Rows};
use super::server::LogServer;
use super::setting::Setting;
use super::step::{Step, StepKind};
use crate::simulate::{Checked, Failure};

/// An error of the log model, where none is expected.
pub(super) fn unexpected(error: impl std::fmt::Display) -> Failure {
    Failure::Other(format!("the log model failed: {error}"))
}

/// The buckets of a row are in two of its columns.
#[derive(Debug)]
pub(super) struct Columns;

impl Placement for Columns {
    fn buckets(&self, _: &RowName, image: &LogRow) -> Buckets {
        oracle::place(image.columns()).into_iter().collect()
    }
}

/// A message in transit.
#[derive(Debug, Clone)]
pub(super) enum Message {
    /// To the server.
    Request(AuthorId, Publish),
    /// To a device.
    Answer(Published),
    /// To a device.
    Page(Fetched),
    /// To a device.
    Snapshot(LogSnapshot),
    /// To a device with this client id: a page of a snapshot.
    SnapshotPage(AuthorId, SnapshotAnswer, Option<LogSnapshot>),
}

/// A fault of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageFault {
    None,
    /// It never reaches the server.
    Lost,
    /// It reaches the server, and the response is lost.
    AnswerLost,
    /// It arrives later, if ever.
    Late,
    /// It arrives, and a second time later.
    Twice,
    /// The response arrives later, if ever.
    AnswerLate,
}

/// An entry as it was written.
#[derive(Debug, Clone)]
pub(super) struct WrittenEntry {
    /// The device, by number.
    pub(super) device: usize,
    /// Its effects, if they must never change (plain SQL).
    pub(super) plain: Option<rejoin_log::effect::Effects>,
    /// Whether the user decided about it later: then its position among the author's entries may
    /// differ from the order of writing.
    pub(super) decided: bool,
}

/// A run.
#[derive(Debug)]
pub(super) struct LogRun<'t> {
    pub(super) setting: Setting,
    pub(super) server: LogServer,
    pub(super) expected: ExpectedServer,
    /// The rows before the first entry.
    pub(super) first: Rows,
    pub(super) backup: Option<(LogServer, ExpectedServer)>,
    pub(super) devices: Vec<Device>,
    pub(super) authority: Option<SimulatedAuthority>,
    pub(super) in_transit: Vec<(usize, Message)>,
    /// The true time, in milliseconds.
    pub(super) now: u64,
    pub(super) written: BTreeMap<EntryId, WrittenEntry>,
    /// Why the order of taking is no longer promised.
    pub(super) inexact: Option<&'static str>,
    /// How many requests modified clients have sent.
    pub(super) forged: u64,
    /// Whether the server was ever restored, and whether entries were ever folded.
    pub(super) restored: bool,
    pub(super) folded: bool,
    pub(super) epochs: u128,
    pub(super) report: &'t mut RunReport,
}

/// The start time of a run.
const START_TIME: u64 = 1_000_000_000;

/// The bucket of a user's own rows.
pub(super) fn private_bucket(user: usize) -> String {
    format!("P{user}")
}

pub(super) fn user_id(user: usize) -> UserId {
    UserId(Name::from(format!("u{user}")))
}

impl<'t> LogRun<'t> {
    /// A run before its first step.
    pub(super) fn new(setting: Setting, seed: u64, report: &'t mut RunReport) -> Checked<Self> {
        let mut rng = Rng::with_seed(seed ^ 0x0eed);
        let limits = Limits { drift: setting.drift, retention: setting.retention };
        let mut server = LogServer::create(limits, setting.database, seed)?;
        let first = first_rows(&setting, &mut rng);
        server.load(&first)?;
        let expected = ExpectedServer::of(first.clone());
        let mut run = Self {
            server,
            expected,
            first,
            backup: None,
            devices: Vec::new(),
            authority: None,
            in_transit: Vec::new(),
            now: START_TIME,
            written: BTreeMap::new(),
            inexact: (!setting.deterministic()).then_some("an action is not deterministic"),
            forged: 0,
            restored: false,
            folded: false,
            epochs: 1,
            report,
            setting,
        };
        if run.setting.devices_in_files {
            run.report.count("devices are in files");
        }
        if run.setting.database.is_some() {
            run.report.count("the log is in a database");
        }
        for number in 0..run.setting.users.len() {
            let user = run.setting.users[number];
            let mut buckets: Names =
                run.setting.members[user].iter().map(|name| (*name).to_owned()).collect();
            buckets.insert(private_bucket(user));
            run.set_membership(user, &buckets, &Names::new())?;
            run.add_device(user, run.setting.skews[number])?;
        }
        for number in 0..run.devices.len() {
            // Some devices write before their first contact with the server.
            if rng.u8(..8) > 0 {
                run.fetch(number, MessageFault::None, 0)?;
            }
        }
        if run.setting.authority {
            run.authority = Some(SimulatedAuthority::new(&mut run.server)?);
        }
        run.update_expected()?;
        Ok(run)
    }

    pub(super) fn update_expected(&mut self) -> Checked {
        let for_views = self.expected.update(&self.server, self.now)?;
        self.report.add("an item is sent again for its changed view", for_views);
        self.report.add("the server crashes before a commit", self.server.take_crashes());
        Ok(())
    }

    pub(super) fn set_membership(
        &mut self,
        user: usize,
        buckets: &Names,
        write_only: &Names,
    ) -> Checked {
        let [buckets, write_only] =
            [buckets, write_only].map(|names| names.iter().map(String::as_str).collect());
        self.server.set_buckets(&user_id(user), &buckets, &write_only)
    }

    pub(super) fn membership(&self, user: usize) -> Membership {
        self.server.membership(&user_id(user)).unwrap_or_default()
    }

    /// The buckets that a user reads and writes, according to the server.
    pub(super) fn buckets(&self, user: usize) -> Names {
        oracle::names(&self.membership(user).buckets)
    }

    /// The buckets that a user writes and does not read, according to the server.
    pub(super) fn write_only(&self, user: usize) -> Names {
        oracle::names(&self.membership(user).write_only)
    }

    /// Executes a step.
    pub(super) fn step(&mut self, step: &Step) -> Checked {
        self.now += step.delay;
        let number = step.target % self.devices.len();
        let mut rng = Rng::with_seed(step.seed);
        if self.devices[number].has_left && step.kind != StepKind::DeliverDelayed {
            return Ok(());
        }
        match step.kind {
            StepKind::Write => self.write(number, &mut rng),
            StepKind::Fetch => {
                let fault = self.page_fault(&mut rng);
                self.fetch(number, fault, self.setting.page)
            }
            StepKind::Publish => self.publish_after_fetching(number, &mut rng),
            StepKind::Sync => {
                for _ in 0..3 {
                    self.publish_after_fetching(number, &mut rng)?;
                }
                Ok(())
            }
            StepKind::DeliverDelayed => self.deliver_delayed(&mut rng),
            StepKind::Restart => self.restart(number),
            StepKind::Decide => {
                let waits = |at: &usize| {
                    !self.devices[*at].has_left
                        && self.devices[*at].parked().is_ok_and(|parked| !parked.is_empty())
                };
                let number = (0..self.devices.len()).find(waits).unwrap_or(number);
                self.decide(number, &mut rng)
            }
            StepKind::RunAuthority => self.run_authority_or_release(&mut rng),
            StepKind::Compact => self.compact(&mut rng),
            StepKind::ChangeMembership => self.change_membership(number, &mut rng),
            StepKind::RemoveDevice => {
                self.report.trace(|| format!("c{number} disappears"));
                self.report.count("a device disappears");
                self.devices[number].has_left = true;
                Ok(())
            }
            StepKind::AddDevice if self.devices.len() > 8 => Ok(()),
            StepKind::AddDevice => {
                let (user, other) = (self.devices[number].user, self.devices.len());
                self.report.trace(|| format!("u{user} has another device, c{other}"));
                self.report.count("a user gets one more device");
                self.add_device(user, self.setting.skews[user])
            }
            StepKind::Backup => self.backup(),
            StepKind::Copy => self.copy(number, &mut rng),
            StepKind::Upgrade => self.upgrade(number, &mut rng),
            StepKind::PublishForged => self.publish_forged(self.devices[number].user, &mut rng),
        }
    }

    pub(super) fn write(&mut self, number: usize, rng: &mut Rng) -> Checked {
        let device = &mut self.devices[number];
        let Some(written) = device.write(&self.setting, self.now, rng, self.report)? else {
            return Ok(());
        };
        self.written.insert(written.0, written.1);
        device.check_invariants()
    }
}

fn first_rows(setting: &Setting, rng: &mut Rng) -> Rows {
    let mut rows = Rows::new();
    for number in 0..setting.rows {
        let bucket = setting.buckets[rng.usize(..setting.buckets.len())];
        rows.insert(RowName::new(ITEM, format!("r{number}")), fresh(bucket, "", rng.i64(0..2)));
    }
    for user in 0..setting.members.len() {
        let row = fresh(&private_bucket(user), &format!("secret of {user}"), rng.i64(0..9));
        rows.insert(RowName::new(MINE, format!("p{user}")), row);
    }
    rows
}
