//! Faults at each call of the server's SQLite disk: power cut, I/O error or full disk. Everything
//! that was confirmed in a response must survive.

use std::cell::RefCell;
use std::path::PathBuf;

use fastrand::Rng;
use rejoin_core::sync::rows::digest;
use rejoin_core::sync::session::{Request, Response};
use rejoin_core::{Error, SyncFault};
use rejoin_tests::{Backend, Device, Peer, Store, tables};
use rejoin_vfs::{Disk, Fault, Style};
use rusqlite::Connection;

use crate::points::{images, points, seed};

#[derive(Debug, Clone, Copy)]
enum Step {
    Write,
    Pass,
    /// Another program writes a place of this name.
    Outside(&'static str),
    Compact,
}

use Step::{Compact, Outside, Pass, Write};

const STEPS: [Step; 9] =
    [Write, Pass, Outside("o1"), Write, Write, Pass, Compact, Outside("o2"), Pass];

/// A server on a faulty disk, and a device on a reliable one.
struct World {
    server: Backend,
    path: PathBuf,
    device: Device,
    disk: Disk,
    begun: u32,
    /// Names of rows that other programs have committed.
    outside: Vec<&'static str>,
    epoch: String,
}

/// Server responses by status.
struct Statuses<'a>(&'a Backend, RefCell<Vec<u16>>);

impl Peer for Statuses<'_> {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        let response = self.0.answer(user, request);
        self.1.borrow_mut().push(response.status);
        Some(response)
    }
}

const EPOCH: &str = "SELECT value FROM rejoin_meta WHERE key = 'epoch'";

impl World {
    fn new() -> Self {
        rejoin_vfs::install();
        let mut server = Backend::over(Store::Sqlite, tables::BOOK);
        let path = PathBuf::from(server.connect().path().unwrap());
        let mut device = Device::new("ana", 1);
        device.sync(&server);
        let epoch = server.see(EPOCH);
        let disk = Disk::watch(path.parent().unwrap());
        server.restart();
        disk.fail(Fault::Io, u64::MAX, 0);
        Self { server, path, device, disk, begun: 0, outside: Vec::new(), epoch }
    }

    fn step(&mut self, step: Step) -> anyhow::Result<()> {
        match step {
            Write => {
                let number = self.begun;
                self.device.write(&format!(
                    "INSERT INTO places (id, name, user_id) VALUES ('t{number}', 't{number}', 'ana');
                     INSERT INTO visits (id, place_id, day) VALUES ('t{number}', 't{number}', 'monday')"
                ));
                self.begun += 1;
            }
            Pass => {
                let peer = Statuses(&self.server, RefCell::default());
                let done = self.device.pass(&peer);
                let statuses = peer.1.into_inner();
                let failed = statuses.iter().filter(|status| **status != 200);
                assert!(failed.clone().all(|status| [500, 503].contains(status)), "{statuses:?}");
                if let Err(Some(Error::Sync(SyncFault::Server { retryable, .. }))) =
                    done.as_ref().map_err(|error| error.downcast_ref::<Error>())
                {
                    assert!(retryable, "{statuses:?}: {done:?}");
                }
                done?;
            }
            Outside(name) => {
                let row = format!(
                    "INSERT INTO places (id, name, user_id) VALUES ('{name}', 'Place', 'ana')"
                );
                // As in SQLite's shell: the default is synchronous FULL.
                #[allow(clippy::disallowed_methods)]
                Connection::open(&self.path)?.execute_batch(&row)?;
                self.outside.push(name);
            }
            Compact => drop(self.server.server().compact()?),
        }
        Ok(())
    }

    /// Checks that confirmed data survived, syncs, and checks that device and server agree, with
    /// each transaction applied once.
    fn settle(&mut self) {
        assert_eq!(self.server.see("PRAGMA integrity_check"), "ok");
        assert_eq!(
            self.server.see(EPOCH),
            self.epoch,
            "no new epoch: nothing that was confirmed is lost"
        );
        for name in &self.outside {
            let there =
                self.server.see(&format!("SELECT count(*) FROM places WHERE id = '{name}'"));
            assert_eq!(there, "1", "{name} was committed");
        }
        // Mutations confirmed as accepted have left the device's queue.
        let waiting = self.device.queue().len();
        let applied =
            self.server.see("SELECT count(*) FROM book WHERE name GLOB 't*' AND what = 'place'");
        assert!(
            applied.parse::<usize>().unwrap() + waiting >= self.begun as usize,
            "an accepted mutation is lost"
        );
        self.device.sync(&self.server);
        self.device.sync(&self.server);
        assert_eq!(self.device.waiting(), "");
        for table in ["places", "visits"] {
            let theirs = self.server.digest("ana", table);
            assert_eq!(digest::digest(self.device.engine(), table).unwrap(), theirs, "{table}");
        }
        let book = self
            .server
            .see("SELECT count(*), count(DISTINCT name || what) FROM book WHERE name GLOB 't*'");
        assert_eq!(
            book,
            format!("{0}|{0}", self.begun * 2),
            "each transaction is applied completely and once"
        );
    }

    /// Retries each step until it succeeds. Returns whether the server had to be restarted.
    fn persist(&mut self, steps: &[Step]) -> bool {
        let mut was_restarted = false;
        for step in steps {
            let mut tries = 0;
            while let Err(error) = self.step(*step) {
                tries += 1;
                if tries > 40 {
                    assert!(!was_restarted, "{step:?} does not recover: {error:#}");
                    self.server.restart();
                    (was_restarted, tries) = (true, 0);
                }
            }
        }
        was_restarted
    }
}

fn calls() -> u64 {
    let mut world = World::new();
    assert!(!world.persist(&STEPS));
    let (calls, _) = world.disk.calls();
    world.settle();
    calls
}

#[test]
fn power_cut_at_each_call_of_a_server_loses_no_answer() {
    let mut rng = Rng::with_seed(seed());
    let calls = calls();
    let points = points(calls, 40, u64::MAX, &mut rng);
    for at in &points {
        for _ in 0..images() {
            let style = Style::choose(&mut rng);
            println!("server: power cut at call {at}, {style:?}");
            let mut world = World::new();
            world.disk.fail(Fault::PowerCut, *at, 1);
            let _ = STEPS.iter().find_map(|step| world.step(*step).err());
            world.disk.restore_power(style, &mut rng);
            world.server.restart();
            world.settle();
        }
    }
    println!("server: {} of {calls} calls", points.len());
}

#[test]
fn failing_disk_of_a_server_answers_retryably_and_recovers() {
    let mut rng = Rng::with_seed(seed());
    let calls = calls();
    let (mut runs, mut failed) = (0, 0);
    for (fault, times) in [(Fault::Io, 1), (Fault::Io, 12), (Fault::Full, 1), (Fault::Full, 12)] {
        for at in points(calls, 10, u64::MAX, &mut rng) {
            println!("server: {fault:?} at call {at}, {times} times");
            let mut world = World::new();
            world.disk.fail(fault, at, times);
            let was_restarted = world.persist(&STEPS);
            failed += world.disk.recover();
            runs += 1;
            assert!(!was_restarted, "the running server must recover");
            world.settle();
        }
    }
    println!("server: {runs} runs, {failed} calls of {calls} failed");
}
