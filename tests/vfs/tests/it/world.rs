//! A device on a disk that fails, a server, and what must hold whatever happened to the disk.
//!
//! The device writes transactions `t0`, `t1`, ..., each a place, a visit and a note at the place before, so that half a
//! transaction shows. The server keeps a book: what is applied twice stands in it twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use rejoin_core::engine::CheckpointMode;
use rejoin_core::{Actions, Error, Inspection};
use rejoin_tests::{Backend, Device, Store, tables};
use rejoin_vfs::{Disk, Fault, Style};
use serde_json::json;

/// What happens in a story.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// The app writes a transaction.
    Write,
    /// The app performs an action, which reads and writes.
    Act,
    /// The device exchanges what there is.
    Pass,
    /// Somebody else writes on the server.
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
    /// Transactions that were begun, and those of them whose commit has returned.
    pub(crate) begun: u32,
    pub(crate) acknowledged: BTreeSet<u32>,
    /// So many were acknowledged before a checkpoint that was complete: no power cut may take them.
    pub(crate) floor: u32,
    /// Actions that the device has performed.
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

    /// The app is started on the file.
    pub(crate) fn reopen(&mut self) {
        self.device.crash();
        let actions = Arc::new(Actions::new().declare(ACTION));
        self.device.engine().set_actions(actions, true).unwrap();
    }

    /// One step of a story.
    pub(crate) fn step(&mut self, step: Step) -> anyhow::Result<()> {
        match step {
            Step::Write => {
                let number = self.begun;
                // An attempt that failed left nothing, so the next may have its name.
                self.device.engine().execute_batch(&transaction(number))?;
                self.begun += 1;
                self.acknowledged.insert(number);
            }
            Step::Act => {
                self.device.engine().perform("count", &json!({}))?;
                self.acted += 1;
            }
            Step::Pass => drop(self.device.pass(&self.server)?),
            Step::Outside(sql) => self.server.outside(sql),
            Step::Alter(sql) => self.server.alter(sql),
            Step::Checkpoint(mode) => {
                let done = self.device.engine().checkpoint(mode)?;
                if !done.busy && done.pages == done.moved {
                    self.floor = self.begun;
                }
            }
        }
        Ok(())
    }

    /// The power comes back, the app is started, and the file is whole: the last transactions may be missing, no others, and
    /// none that a complete checkpoint has moved.
    pub(crate) fn restore(&mut self, style: Style, rng: &mut Rng) {
        self.disk.restore_power(style, rng);
        self.reopen();
        let there = self.written();
        let expected: BTreeSet<u32> = (0..u32::try_from(there.len()).unwrap()).collect();
        assert_eq!(there, expected, "transactions are lost from the end only");
        // One was perhaps on its way to its commit.
        assert!(there.len() <= self.begun as usize + 1, "more than was written");
        assert!(there.len() >= self.floor as usize, "{} were moved, {there:?}", self.floor);
        self.is_consistent(&there);
        self.acknowledged = there;
        // A name is given once: what the server has accepted may be unknown here.
        self.begun += 1;
    }

    /// The transactions that the device shows, each whole.
    pub(crate) fn written(&mut self) -> BTreeSet<u32> {
        let numbers = |ids: String| -> BTreeSet<u32> {
            ids.split_whitespace().map(|id| id[1..].parse().unwrap()).collect()
        };
        let places = numbers(self.device.see("SELECT id FROM places WHERE id GLOB 't[0-9]*'"));
        let visits = numbers(self.device.see("SELECT id FROM visits WHERE id GLOB 't[0-9]*'"));
        assert_eq!(places, visits, "a transaction is there whole");
        places
    }

    /// File, rows, queue and history agree.
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
        assert_eq!(&known, written, "each transaction that is seen waits or is accepted");
        for table in seen.tables {
            let made = table.rows - table.base_rows;
            assert_eq!(made, waiting.len() as u64, "{}: the rows are base and queue", table.name);
        }
    }

    /// The device syncs, and device and server have the same: every transaction that the device had, or that the server had
    /// accepted before, whole and once; and nothing waits.
    pub(crate) fn settle(&mut self) {
        let before: BTreeSet<u32> = self.book().into_keys().collect();
        let mine = self.written();
        self.device.sync(&self.server);
        self.device.sync(&self.server);
        assert_eq!(self.device.waiting(), "", "nothing waits");
        let expected: BTreeSet<u32> = before.union(&mine).copied().collect();
        let book = self.book();
        assert_eq!(book.keys().copied().collect::<BTreeSet<_>>(), expected, "none lost, none made");
        for (number, what) in &book {
            assert_eq!(what, "place visit", "transaction {number} is applied whole and once");
        }
        for table in ["places", "visits"] {
            let theirs = self.server.digest("ana", table);
            assert_eq!(self.device.engine().digest(table).unwrap(), theirs, "{table}");
        }
        assert_eq!(self.written(), expected);
        assert_eq!(self.device.raw("PRAGMA integrity_check"), "ok");
    }

    /// What the server has applied, by transaction.
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

/// The error is one of those that a full or failing disk has, and is no bug by its own words.
#[track_caller]
pub(crate) fn is_typed(error: &anyhow::Error) {
    if let Some(error) = error.downcast_ref::<Error>() {
        let inner = if let Error::Batch { error, .. } = error { error } else { error };
        assert!(matches!(inner, Error::Io(_) | Error::Full), "{inner:?}");
    }
}
