//! A server, the file of a device, and the oracle: the expected state of the server after a kill,
//! by the device's output.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rejoin_core::death::Failpoint;
use rejoin_core::engine::action::perform::{perform, set_actions};
use rejoin_core::{Actions, Client, Config, Inspection, Services};
use rejoin_server::{Limits, TableConfig};
use rejoin_tests::crash_device::{COUNT, OutputLine};
use rejoin_tests::{Backend, Device, Store, tables};
use serde_json::json;
use tempfile::TempDir;

use crate::client::{PATIENCE, Served};

/// The file of the bundled tables.
const SCHEMA: &str = "schema.json";

/// A table of the log, also with an entry in the book for each row that is inserted.
const SEATS: &str = "CREATE TABLE seats (id TEXT PRIMARY KEY, event TEXT, number INTEGER);
    WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 29)
        INSERT INTO seats SELECT 'counter' || n, 'e1', 0 FROM n;
    CREATE TRIGGER book_seats AFTER INSERT ON seats
        BEGIN INSERT INTO book VALUES (new.id, 'seat'); END";

/// Changes before each run: a new schema, and so a snapshot to merge, and outside writes.
fn change_schema(run: u32) -> String {
    format!(
        "ALTER TABLE places ADD COLUMN extra_{run} TEXT;
         INSERT INTO places (id, name, user_id) VALUES ('new {run}', 'Place', 'ana');
         UPDATE places SET score = {} WHERE user_id = 'ana' AND id GLOB '*1';",
        run % 5
    )
}

fn is_count(name: &str) -> bool {
    name.starts_with("count")
}

/// When to kill a process that only reports.
#[derive(Debug, Clone, Copy)]
pub(super) struct KillMoment(Option<(Failpoint, u32)>);

impl KillMoment {
    /// Never.
    pub(super) fn never() -> Self {
        Self(None)
    }

    /// After a random pass of this point.
    pub(super) fn random(rng: &mut fastrand::Rng, place: Failpoint) -> Self {
        // At most as often as a run passes the point, or the process would end first.
        let most = match place {
            Failpoint::BeforeCommit | Failpoint::AfterCommit => 20,
            Failpoint::MidMigration | Failpoint::MidReset => 1,
            Failpoint::MidMerge | Failpoint::Checkpoint => 2,
            _ => 4,
        };
        Self(Some((place, rng.u32(1..=most))))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Killed,
    ByItself,
}

/// The output of a run.
#[derive(Debug)]
pub(super) struct ProcessRun {
    pub(super) ended: Ended,
    lines: Vec<OutputLine>,
    /// Whether it was to be killed where it waited, and did not write while it synced.
    is_ordered: bool,
}

impl ProcessRun {
    /// How often it passed a point.
    pub(super) fn passed(&self, place: Failpoint) -> u32 {
        self.lines.iter().map(|line| u32::from(*line == OutputLine::At(place))).sum()
    }

    /// The point that it passed last.
    pub(super) fn last(&self) -> Option<Failpoint> {
        let at = |line: &OutputLine| {
            if let OutputLine::At(place) = line { Some(*place) } else { None }
        };
        self.lines.iter().rev().find_map(at)
    }

    fn done(&self) -> impl Iterator<Item = &String> {
        self.lines
            .iter()
            .filter_map(|line| if let OutputLine::Done(name) = line { Some(name) } else { None })
    }

    /// The transactions that were begun and whose ends were not reported.
    fn in_doubt(&self) -> Vec<&String> {
        let begun = self.lines.iter().filter_map(|line| match line {
            OutputLine::Begun(name) => Some(name),
            _ => None,
        });
        let ended = |name: &String| {
            self.lines
                .iter()
                .any(|line| matches!(line, OutputLine::Done(end) | OutputLine::Empty(end) if end == name))
        };
        begun.filter(|begun| !ended(begun)).collect()
    }
}

/// A server and a device.
pub(super) struct CrashHarness {
    backend: Backend,
    folder: TempDir,
    devices: u32,
    runs: u32,
    /// The rows that must be on the server.
    kept: Vec<String>,
    /// Another user's device, whose counts arrive a life late.
    ben: Device,
    /// The expected number of the current device's counter.
    counted: i64,
}

impl CrashHarness {
    pub(super) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let tables = vec![
            TableConfig::owned("places", "user_id"),
            TableConfig::child("visits", "places", "place_id"),
            TableConfig::log("seats", "event", "event:"),
        ];
        let sql = format!("{};{};{SEATS}", tables::SERVER, tables::BOOK);
        let backend = Backend::made(Store::Sqlite, &sql, tables, Limits::default());
        for user in ["ana", "ben"] {
            backend.server().grant(user, "event:e1").unwrap();
        }
        let schema = serde_json::to_vec(&backend.manifest()).unwrap();
        std::fs::write(folder.path().join(SCHEMA), schema).unwrap();
        let mut ben = Device::with("ben", 1, None, |_| {});
        ben.sync(&backend);
        set_actions(ben.engine(), Arc::new(Actions::new().declare(COUNT)), false).unwrap();
        Self { backend, folder, devices: 0, runs: 0, kept: Vec::new(), ben, counted: 0 }
    }

    fn counter(&self) -> String {
        format!("counter{}", self.devices)
    }

    /// Sends what ben counted before the last life, and counts once more.
    fn count_as_ben(&mut self) {
        let counter = self.counter();
        let waits = !self.ben.queue().is_empty();
        self.ben.sync(&self.backend);
        self.counted += i64::from(waits);
        perform(self.ben.engine(), "count", &json!({ "id": counter })).unwrap();
    }

    /// Runs SQL of an outside writer on the server.
    pub(super) fn outside(&self, sql: &str) {
        self.backend.outside(sql);
    }

    /// Continues with another device of the same user, with its own file.
    pub(super) fn another_device(&mut self) {
        self.ben.sync(&self.backend);
        (self.devices, self.counted) = (self.devices + 1, 0);
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(format!("device{}.db", self.devices))
    }

    /// Runs the device until it waits at the point where it is to be killed, or until the random
    /// kill. A run that may end by itself must succeed.
    pub(super) fn run_process(
        &mut self,
        place: Option<(Failpoint, u32)>,
        moment: Option<KillMoment>,
    ) -> ProcessRun {
        self.runs += 1;
        self.backend.alter(&change_schema(self.runs));
        self.count_as_ben();
        let served = Served::new(&self.backend);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin-crash-device"));
        command.arg("--file").arg(self.file()).args(["--url", &served.url]);
        command.arg("--schema").arg(self.folder.path().join(SCHEMA));
        command.args(["--name", &format!("life{}", self.runs), "--counter", &self.counter()]);
        if let Some((place, nth)) = place {
            command.args(["--failpoint", &format!("{place:?}"), "--nth", &nth.to_string()]);
        }
        let killed_at = place.or(moment.and_then(|moment| moment.0));
        if place.is_none() && killed_at.is_some() {
            command.arg("--busy");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = listen(&mut child, killed_at);
        let status = child.wait().unwrap();
        let ended =
            if lines.last() == Some(&OutputLine::Ended) { Ended::ByItself } else { Ended::Killed };
        assert!(ended == Ended::ByItself || status.code().is_none(), "it failed: {status}");
        let run = ProcessRun { ended, lines, is_ordered: place.is_some() };
        let (counts, names) = run.done().cloned().partition(|name| is_count(name));
        self.kept.extend::<Vec<_>>(names);
        self.counted += i64::try_from(Vec::<String>::len(&counts)).unwrap();
        run
    }

    /// Opens the file again and syncs; panics with any problem.
    #[track_caller]
    pub(super) fn settle(&mut self, run: &ProcessRun) {
        if let Some(problem) = self.problems(run) {
            panic!("after a kill at {:?}: {problem}", run.last());
        }
    }

    /// Opens the file again and syncs; returns any problem.
    pub(super) fn problems(&mut self, run: &ProcessRun) -> Option<String> {
        let report = self.sync();
        let in_doubt = run.in_doubt();
        let number = self.number();
        let is_there = |name: &&String| {
            if is_count(name) { number > self.counted } else { self.written(name) > 0 }
        };
        let written: Vec<_> = in_doubt.iter().map(is_there).collect();
        if !written.is_sorted_by(|earlier, later| earlier >= later) {
            return Some(format!("of {in_doubt:?} the server has not the first: {written:?}"));
        }
        // If it was killed while one waited, nothing else was written meanwhile, and its progress is
        // known: of those that shared a commit, that of the first and of the last.
        let is_wrong = match run.last() {
            Some(Failpoint::AfterTrigger | Failpoint::BeforeCommit) => {
                written.last() == Some(&true)
            }
            Some(Failpoint::AfterCommit) => written.first() == Some(&false),
            _ => written.len() == 1,
        };
        if run.is_ordered && is_wrong {
            return Some(format!("{in_doubt:?} are on the server: {written:?}"));
        }
        for (name, is_there) in in_doubt.iter().zip(&written) {
            if *is_there && is_count(name) {
                self.counted += 1;
            } else if *is_there {
                self.kept.push((*name).clone());
            }
        }
        if (report.parked, report.still_pending) != (0, 0) {
            return Some(format!("{report:?}"));
        }
        let counted = self.counted;
        let wrong = || format!("counted {number}, {counted} was expected");
        self.check_book().or_else(|| self.digests()).or_else(|| (number != counted).then(wrong))
    }

    fn number(&self) -> i64 {
        let counter = self.counter();
        let number = self.backend.see(&format!("SELECT number FROM seats WHERE id = '{counter}'"));
        number.parse().unwrap()
    }

    fn sync(&self) -> rejoin_core::SyncReport {
        let served = Served::new(&self.backend);
        let mut config = Config::new(self.file());
        config.server = Some(served.url.clone());
        config.user_id = Some("ana".to_owned());
        config.sync_interval = Duration::from_hours(1);
        config.page_size = 100;
        let actions = Some(Actions::new().declare(COUNT).into());
        let services = Services { actions, ..Services::default() };
        let client = Client::open_with(config, services).wait().unwrap();
        let report = client.sync().run(Some(PATIENCE)).wait().unwrap();
        client.shutdown().wait().unwrap();
        report
    }

    fn written(&self, name: &str) -> u32 {
        let sql = format!("SELECT count(*) FROM book WHERE name = '{name}'");
        self.backend.see(&sql).parse().unwrap()
    }

    /// Each transaction is on the server whole and once, and no other is there.
    fn check_book(&self) -> Option<String> {
        let mut expected = BTreeMap::new();
        for name in &self.kept {
            let what = match (name.starts_with("seat"), name.ends_with("-0")) {
                (true, _) => "seat",
                (false, true) => "place,visit",
                (false, false) => "note,place,visit",
            };
            expected.insert(name.clone(), what.to_owned());
        }
        let mut found = BTreeMap::new();
        let sql = "SELECT name || '=' || group_concat(what, ',' ORDER BY what) FROM book
                   WHERE name GLOB 'life*' OR name GLOB 'seat*' GROUP BY name";
        for line in self.backend.see(sql).split_whitespace() {
            let (name, what) = line.split_once('=').unwrap();
            found.insert(name.to_owned(), what.to_owned());
        }
        (expected != found).then(|| {
            let lost: Vec<_> =
                expected.iter().filter(|(name, _)| !found.contains_key(*name)).collect();
            let other: Vec<_> =
                found.iter().filter(|(name, what)| expected.get(*name) != Some(what)).collect();
            format!("lost: {lost:?}; unexpected: {other:?}")
        })
    }

    /// The file shows what the server has, and nothing is pending.
    fn digests(&self) -> Option<String> {
        let seen = Inspection::of(self.file()).unwrap();
        let mut problems = Vec::new();
        let seats: u64 = self.backend.see("SELECT count(*) FROM seats").parse().unwrap();
        for table in &seen.tables {
            if table.name == "seats" {
                if table.rows != seats {
                    problems.push(format!("{} seats, server {seats}", table.rows));
                }
                continue;
            }
            let theirs = self.backend.digest("ana", &table.name);
            if table.base_rows != theirs.count || table.digest != theirs.sum_text() {
                problems.push(format!("{} differs: {table:?}, server {theirs:?}", table.name));
            }
            if table.rows != table.base_rows {
                problems.push(format!(
                    "{} shows rows without a pending mutation: {table:?}",
                    table.name
                ));
            }
        }
        if !seen.queue.is_empty() {
            problems.push(format!("{} wait", seen.queue.len()));
        }
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}

/// Reads the output to the end; kills the process after the chosen pass.
fn listen(child: &mut Child, killed_at: Option<(Failpoint, u32)>) -> Vec<OutputLine> {
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    let mut passed = 0;
    // A cut line is ignored.
    for line in out.lines().map_while(Result::ok) {
        let Ok(one) = line.parse::<OutputLine>() else { break };
        passed += u32::from(killed_at.is_some_and(|(place, _)| one == OutputLine::At(place)));
        lines.push(one);
        if killed_at.is_some_and(|(_, nth)| nth == passed) {
            child.kill().unwrap();
        }
    }
    lines
}
