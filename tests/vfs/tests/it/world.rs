//! A device on a faulty disk, a server, and the invariants that hold after any fault.
//!
//! The device writes transactions `t0`, `t1`, ... Each inserts a place, a visit, and a note at the
//! previous place, so that a partial transaction is visible. The server records applied writes in a
//! book, where a repeated write appears twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use rejoin_core::engine::CheckpointMode;
use rejoin_core::engine::action::perform;
use rejoin_core::engine::checkpoint;
use rejoin_core::sync::rows::digest;
use rejoin_core::{Actions, Error, Inspection, StorageFault};
use rejoin_tests::{Backend, Device, Store, tables};
use rejoin_vfs::{Disk, Fault, Style};
use serde_json::json;

/// A step of a scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// The app writes a transaction.
    Write,
    /// The app performs an action that reads and writes.
    Act,
    /// The device syncs.
    Pass,
    /// Another client writes on the server.
    Outside(&'static str),
    /// The server is deployed with other tables.
    Alter(&'static str),
    Checkpoint(CheckpointMode),
}

/// Reads the score of one place and writes one more to another.
const ACTION: &str = r#"{"name": "count", "statements": [
    "UPDATE places SET score = (SELECT coalesce(score, 0) + 1 FROM places WHERE id = 'server 1') WHERE id = 'server 2'"]}"#;

pub(crate) struct World {
    pub(crate) server: Backend,
    pub(crate) device: Device,
    pub(crate) disk: Disk,
    /// Transactions started, and those whose commit has returned.
    pub(crate) begun: u32,
    pub(crate) acknowledged: BTreeSet<u32>,
    /// Number of transactions acknowledged before a complete checkpoint: no power cut may lose
    /// them.
    pub(crate) floor: u32,
    /// Actions performed by the device.
    pub(crate) acted: u32,
}

impl World {
    /// A server with rows, and a device that has the tables and, if `is_synced`, the rows.
    pub(crate) fn new(is_synced: bool) -> Self {
        rejoin_vfs::install();
        let server = Backend::over(Store::Sqlite, tables::BOOK);
        let page = |config: &mut rejoin_core::sync::session::SessionConfig| config.page_size = 50;
        let mut device = Device::with("ana", 1, Some(server.manifest()), page);
        if is_synced {
            device.sync(&server);
        }
        let disk = Disk::watch(device.path().parent().unwrap());
        let mut world = Self {
            server,
            device,
            disk,
            begun: 0,
            acknowledged: BTreeSet::new(),
            floor: 0,
            acted: 0,
        };
        world.reopen();
        world.disk.fail(Fault::Io, u64::MAX, 0);
        world
    }

    /// Restarts the app on the file.
    pub(crate) fn reopen(&mut self) {
        self.device.crash();
        let actions = Arc::new(Actions::new().declare(ACTION));
        perform::set_actions(self.device.engine(), actions, true).unwrap();
    }

    /// Executes one step.
    pub(crate) fn step(&mut self, step: Step) -> anyhow::Result<()> {
        match step {
            Step::Write => {
                let number = self.begun;
                // A failed attempt left nothing, so the next one may reuse its name.
                self.device.engine().execute_batch(&transaction(number))?;
                self.begun += 1;
                self.acknowledged.insert(number);
            }
            Step::Act => {
                perform::perform(self.device.engine(), "count", &json!({}))?;
                self.acted += 1;
            }
            Step::Pass => drop(self.device.pass(&self.server)?),
            Step::Outside(sql) => self.server.outside(sql),
            Step::Alter(sql) => self.server.alter(sql),
            Step::Checkpoint(mode) => {
                let done = checkpoint::checkpoint(self.device.engine(), mode)?;
                if !done.busy && done.pages == done.moved {
                    self.floor = self.begun;
                }
            }
        }
        Ok(())
    }

    /// Restores the power, restarts the app and checks the file. Only the last transactions may be
    /// missing, and none before a complete checkpoint.
    pub(crate) fn restore(&mut self, style: Style, rng: &mut Rng) {
        self.disk.restore_power(style, rng);
        self.reopen();
        let there = self.written();
        let expected: BTreeSet<u32> = (0..u32::try_from(there.len()).unwrap()).collect();
        assert_eq!(there, expected, "only the last transactions may be lost");
        // One transaction may have been committing.
        assert!(there.len() <= self.begun as usize + 1, "more than was written");
        assert!(
            there.len() >= self.floor as usize,
            "{} are in a checkpoint, {there:?}",
            self.floor
        );
        self.is_consistent(&there);
        self.acknowledged = there;
        // Names are not reused: the server may have accepted a write that is unknown here.
        self.begun += 1;
    }

    /// The transactions visible on the device, each complete.
    pub(crate) fn written(&mut self) -> BTreeSet<u32> {
        let numbers = |ids: String| -> BTreeSet<u32> {
            ids.split_whitespace().map(|id| id[1..].parse().unwrap()).collect()
        };
        let places = numbers(self.device.see("SELECT id FROM places WHERE id GLOB 't[0-9]*'"));
        let visits = numbers(self.device.see("SELECT id FROM visits WHERE id GLOB 't[0-9]*'"));
        assert_eq!(places, visits, "every transaction is complete");
        places
    }

    /// Checks that file, rows, queue and history agree.
    fn is_consistent(&mut self, written: &BTreeSet<u32>) {
        assert_eq!(self.device.raw("PRAGMA integrity_check"), "ok");
        let seen = Inspection::of(self.device.path()).unwrap();
        let name = |rows: &[rejoin_core::PendingRow]| {
            rows.iter().filter(|row| row.table == "places").find_map(|row| {
                row.key.to_id().and_then(|key| key.strip_prefix('t')?.parse::<u32>().ok())
            })
        };
        let creates =
            |rows: &[rejoin_core::PendingRow]| rows.iter().any(|row| row.table == "visits");
        let waiting: Vec<u32> = seen
            .queue
            .iter()
            .filter(|one| creates(&one.rows))
            .filter_map(|one| name(&one.rows))
            .collect();
        let accepted =
            seen.history.iter().filter(|one| creates(&one.rows)).filter_map(|one| name(&one.rows));
        let known: BTreeSet<u32> = waiting.iter().copied().chain(accepted).collect();
        assert_eq!(&known, written, "each visible transaction is pending or accepted");
        for table in seen.tables {
            let made = table.rows - table.base_rows;
            assert_eq!(
                made,
                waiting.len() as u64,
                "{}: the rows must equal base plus queue",
                table.name
            );
        }
    }

    /// Syncs, then checks that device and server agree. Every transaction that the device had or
    /// the server had accepted is applied completely and once; none is pending.
    pub(crate) fn settle(&mut self) {
        let before: BTreeSet<u32> = self.book().into_keys().collect();
        let mine = self.written();
        self.device.sync(&self.server);
        self.device.sync(&self.server);
        assert_eq!(self.device.waiting(), "", "nothing is pending");
        let expected: BTreeSet<u32> = before.union(&mine).copied().collect();
        let book = self.book();
        assert_eq!(
            book.keys().copied().collect::<BTreeSet<_>>(),
            expected,
            "no transaction is lost or added"
        );
        for (number, what) in &book {
            assert_eq!(what, "place visit", "transaction {number} is applied completely and once");
        }
        for table in ["places", "visits"] {
            let theirs = self.server.digest("ana", table);
            assert_eq!(digest::digest(self.device.engine(), table).unwrap(), theirs, "{table}");
        }
        assert_eq!(self.written(), expected);
        assert_eq!(self.device.raw("PRAGMA integrity_check"), "ok");
    }

    /// The transactions applied on the server, by number.
    pub(crate) fn book(&self) -> BTreeMap<u32, String> {
        let sql = "SELECT name || '=' || group_concat(what, '+' ORDER BY what) FROM book
                   WHERE name GLOB 't[0-9]*' AND what <> 'note' GROUP BY name";
        let lines = self.server.see(sql);
        lines
            .split_whitespace()
            .map(|line| {
                let (name, what) = line.split_once('=').unwrap();
                (name[1..].parse().unwrap(), what.replace('+', " "))
            })
            .collect()
    }
}

/// A transaction of the app.
fn transaction(number: u32) -> String {
    format!(
        "INSERT INTO places (id, name, user_id) VALUES ('t{number}', 't{number}', 'ana');
         INSERT INTO visits (id, place_id, day) VALUES ('t{number}', 't{number}', 'monday');"
    )
}

/// Checks that the error is one that a full or failing disk causes, and not an internal error.
#[track_caller]
pub(crate) fn is_typed(error: &anyhow::Error) {
    if let Some(error) = error.downcast_ref::<Error>() {
        let inner = if let Error::Batch { error, .. } = error { error } else { error };
        assert!(
            matches!(inner, Error::Storage(StorageFault::Io(_) | StorageFault::Full)),
            "{inner:?}"
        );
    }
}
