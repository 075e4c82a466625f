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
use super::central::Central;
use super::deed::{ITEM, MINE, fresh};
use super::device::Device;
use super::judge::Judge;
use super::mirror::Mirror;
use super::oracle::{self, Names, Rows};
use super::setting::Setting;
use super::step::{Step, What};
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
pub(super) enum Letter {
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
pub(super) enum Fate {
    Arrives,
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
pub(super) struct Written {
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
pub(super) struct World<'t> {
    pub(super) setting: Setting,
    pub(super) server: Central,
    pub(super) mirror: Mirror,
    /// The rows before the first entry.
    pub(super) first: Rows,
    pub(super) backup: Option<(Central, Mirror)>,
    pub(super) devices: Vec<Device>,
    pub(super) judge: Option<Judge>,
    pub(super) letters: Vec<(usize, Letter)>,
    /// The true time, in milliseconds.
    pub(super) now: u64,
    pub(super) written: BTreeMap<EntryId, Written>,
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
const MORNING: u64 = 1_000_000_000;

/// The bucket of a user's own rows.
pub(super) fn private(user: usize) -> String {
    format!("P{user}")
}

pub(super) fn user_id(user: usize) -> UserId {
    UserId(Name::from(format!("u{user}")))
}

impl<'t> World<'t> {
    /// A run before its first step.
    pub(super) fn new(setting: Setting, seed: u64, report: &'t mut RunReport) -> Checked<Self> {
        let mut rng = Rng::with_seed(seed ^ 0x0eed);
        let limits = Limits { drift: setting.drift, retention: setting.retention };
        let mut server = Central::create(limits, setting.database, seed)?;
        let first = first_rows(&setting, &mut rng);
        server.load(&first)?;
        let mirror = Mirror::of(first.clone());
        let mut world = Self {
            server,
            mirror,
            first,
            backup: None,
            devices: Vec::new(),
            judge: None,
            letters: Vec::new(),
            now: MORNING,
            written: BTreeMap::new(),
            inexact: (!setting.deterministic()).then_some("an action is not deterministic"),
            forged: 0,
            restored: false,
            folded: false,
            epochs: 1,
            report,
            setting,
        };
        if world.setting.devices_in_files {
            world.report.count("devices are in files");
        }
        if world.setting.database.is_some() {
            world.report.count("the log is in a database");
        }
        for number in 0..world.setting.users.len() {
            let user = world.setting.users[number];
            let mut buckets: Names =
                world.setting.members[user].iter().map(|name| (*name).to_owned()).collect();
            buckets.insert(private(user));
            world.be_member(user, &buckets, &Names::new())?;
            world.newcomer(user, world.setting.skews[number])?;
        }
        for number in 0..world.devices.len() {
            // Some devices write before their first contact with the server.
            if rng.u8(..8) > 0 {
                world.fetch(number, Fate::Arrives, 0)?;
            }
        }
        if world.setting.authority {
            world.judge = Some(Judge::new(&mut world.server)?);
        }
        world.look()?;
        Ok(world)
    }

    pub(super) fn look(&mut self) -> Checked {
        let for_views = self.mirror.look(&self.server, self.now)?;
        self.report.add("an item is sent again for its changed view", for_views);
        self.report.add("the server crashes before a commit", self.server.take_crashes());
        Ok(())
    }

    pub(super) fn be_member(
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
        self.now += step.after;
        let number = step.who % self.devices.len();
        let mut rng = Rng::with_seed(step.chance);
        if self.devices[number].gone && step.what != What::Arrive {
            return Ok(());
        }
        match step.what {
            What::Write => self.write(number, &mut rng),
            What::Fetch => {
                let fate = self.fate_of_page(&mut rng);
                self.fetch(number, fate, self.setting.page)
            }
            What::Publish => self.publish_after_fetching(number, &mut rng),
            What::Sync => {
                for _ in 0..3 {
                    self.publish_after_fetching(number, &mut rng)?;
                }
                Ok(())
            }
            What::Arrive => self.arrive(&mut rng),
            What::Restart => self.restart(number),
            What::Decide => {
                let waits = |at: &usize| {
                    !self.devices[*at].gone
                        && self.devices[*at].parked().is_ok_and(|parked| !parked.is_empty())
                };
                let number = (0..self.devices.len()).find(waits).unwrap_or(number);
                self.decide(number, &mut rng)
            }
            What::Judge => self.judge_or_release(&mut rng),
            What::Compact => self.compact(&mut rng),
            What::Member => self.member(number, &mut rng),
            What::Leave => {
                self.report.say(|| format!("c{number} disappears"));
                self.report.count("a device disappears");
                self.devices[number].gone = true;
                Ok(())
            }
            What::Newcomer if self.devices.len() > 8 => Ok(()),
            What::Newcomer => {
                let (user, other) = (self.devices[number].user, self.devices.len());
                self.report.say(|| format!("u{user} has another device, c{other}"));
                self.report.count("a user gets one more device");
                self.newcomer(user, self.setting.skews[user])
            }
            What::Backup => self.backup(),
            What::Copy => self.copy(number, &mut rng),
            What::Upgrade => self.upgrade(number, &mut rng),
            What::Forge => self.forge(self.devices[number].user, &mut rng),
        }
    }

    pub(super) fn write(&mut self, number: usize, rng: &mut Rng) -> Checked {
        let device = &mut self.devices[number];
        let Some(written) = device.write(&self.setting, self.now, rng, self.report)? else {
            return Ok(());
        };
        self.written.insert(written.0, written.1);
        device.holds()
    }
}

fn first_rows(setting: &Setting, rng: &mut Rng) -> Rows {
    let mut rows = Rows::new();
    for number in 0..setting.rows {
        let bucket = setting.buckets[rng.usize(..setting.buckets.len())];
        rows.insert(RowName::new(ITEM, format!("r{number}")), fresh(bucket, "", rng.i64(0..2)));
    }
    for user in 0..setting.members.len() {
        let row = fresh(&private(user), &format!("secret of {user}"), rng.i64(0..9));
        rows.insert(RowName::new(MINE, format!("p{user}")), row);
    }
    rows
}
