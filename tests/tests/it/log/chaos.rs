//! Rows and entries in one file, written at random by several devices under everything that may go wrong:
//! faults of the network, crashes, clocks that differ and jump, copied files, a server that is restored,
//! a column that is added, and a member who leaves and returns. A third of the runs have an authority.

use std::time::Duration;

use fastrand::Rng;
use rejoin_core::ParkReason;
use rejoin_core::engine::action::perform::perform;
use rejoin_core::engine::rebase::decide;
use rejoin_tests::{Backend, Backup, Device, Fault, Store, cases};
use serde_json::json;

use super::{authority, devices, first_snapshot, rounds, sell, server, settle, with_actions};

/// More than the drift that the server allows.
const JUMP: i64 = 3_600_000_000;

struct ChaosRun {
    rng: Rng,
    server: Backend,
    /// The authors, then perhaps an authority.
    devices: Vec<Device>,
    authors: usize,
    /// A backup of the server, and whether Ben was a member then.
    backup: Option<(Backup, bool)>,
    /// The rows that were inserted into `halls`.
    halls: usize,
    has_price: bool,
    has_ben: bool,
}

impl ChaosRun {
    fn new(seed: u64) -> Self {
        let server = server(if seed.is_multiple_of(4) { Store::Postgres } else { Store::Sqlite });
        let mut devices = Vec::from(devices(&server, ["ana", "ben", "ana"]));
        devices.push(first_snapshot::new_device(&server, 4));
        for device in &mut devices {
            with_actions(device);
        }
        let authors = devices.len();
        if seed.is_multiple_of(3) {
            devices.push(authority::authority(&server));
        }
        let rng = Rng::with_seed(seed);
        let (backup, halls, has_price, has_ben) = (None, 0, false, true);
        Self { rng, server, devices, authors, backup, halls, has_price, has_ben }
    }

    fn step(&mut self, step: usize) {
        let at = self.rng.usize(0..self.devices.len());
        self.devices[at].host.advance(Duration::from_millis(self.rng.u64(0..90_000)));
        self.server.clock.advance(self.rng.i64(0..30_000_000));
        if self.rng.u8(0..8) == 0 {
            self.inject_rare_event(at);
        } else if at < self.authors && self.rng.u8(0..7) < 4 {
            self.write(at, step);
        } else if self.rng.u8(0..6) == 0 {
            with_actions(self.devices[at].crash());
        } else {
            self.sync(at);
        }
    }

    fn write(&mut self, at: usize, step: usize) {
        let (device, seat) = (&mut self.devices[at], self.rng.usize(0..4));
        let sql = match self.rng.u8(0..10) {
            0..3 => format!(
                "INSERT OR REPLACE INTO seats (id, event, owner, note, number)
                   VALUES ('s{seat}', 'e1', NULL, 'w{step}', {step})"
            ),
            3 | 4 => format!("UPDATE seats SET note = 'n{step}' WHERE id = 's{seat}'"),
            5 => format!("UPDATE seats SET owner = 'o{step}', number = number + 1"),
            6 => format!("DELETE FROM seats WHERE id = 's{seat}'"),
            7 => {
                self.halls += 1;
                format!("INSERT INTO halls (id, name) VALUES ('p{step}', 'x')")
            }
            8 => {
                let seat = json!({"id": format!("s{seat}")});
                return drop(perform(device.engine(), "count", &seat).unwrap());
            }
            _ => return drop(sell(device, &format!("b{step}"))),
        };
        // Refused if its bucket is not the user's.
        device.try_write(&sql);
    }

    fn sync(&mut self, at: usize) {
        let device = &mut self.devices[at];
        if self.rng.bool() {
            let fault = || Fault::ALL[self.rng.usize(0..Fault::ALL.len())];
            device.faults.extend(std::iter::repeat_with(fault).take(2));
        }
        if device.pass(&self.server).is_err() {
            device.faults.clear();
        }
        device.deliver_late(&self.server);
    }

    /// What seldom happens.
    fn inject_rare_event(&mut self, at: usize) {
        match self.rng.u8(0..6) {
            0 => {
                let now = rejoin_server::Clock::now(&self.server.clock);
                self.devices[at].host.set(now + self.rng.i64(-JUMP..JUMP));
            }
            1 if !self.has_price => {
                self.has_price = true;
                self.server.alter("ALTER TABLE seats ADD COLUMN price INTEGER DEFAULT 7");
            }
            2 if at < self.authors && self.authors < 6 => {
                let mut copy = self.devices[at].copy(100 + self.authors as u64);
                with_actions(&mut copy);
                self.devices.insert(self.authors, copy);
                self.authors += 1;
            }
            3 => {
                self.has_ben = !self.has_ben;
                let server = self.server.server();
                if self.has_ben {
                    server.grant("ben", "event:e1").unwrap();
                } else {
                    server.revoke("ben", "event:e1").unwrap();
                }
            }
            4 => match self.backup.take() {
                None => self.backup = Some((self.server.backup(), self.has_ben)),
                Some((backup, has_ben)) => {
                    self.has_ben = has_ben;
                    self.server.restore(&backup);
                    self.server.server().begin_epoch().unwrap();
                }
            },
            _ => self.server.compact(),
        }
    }

    /// Everything works again: nothing waits, and all have equal rows.
    fn end(mut self) {
        // What was made by a clock that was ahead is acceptable now.
        self.server.clock.advance(2 * JUMP);
        if !self.has_ben {
            self.server.server().grant("ben", "event:e1").unwrap();
        }
        rounds(&self.server, &mut self.devices);
        for device in &mut self.devices {
            for parked in device.queue() {
                // An action that now rejects, and a write into a bucket that the user had left.
                let reason = parked.reason;
                let is_due = matches!(reason, Some(ParkReason::Unreplayable | ParkReason::Refused));
                assert!(is_due, "{parked:?}");
                decide::discard(device.engine(), parked.id).unwrap();
            }
        }
        settle(&self.server, &mut self.devices);
        let halls = self.server.see("SELECT count(*) FROM halls");
        assert_eq!(halls, self.halls.to_string(), "rows beside the log");
    }
}

fn chaos(seed: u64) {
    let mut chaos = ChaosRun::new(seed);
    for step in 0..40 {
        chaos.step(step);
    }
    chaos.end();
}

#[test]
fn random_writes_under_faults_leave_equal_rows_everywhere() {
    for seed in 0..cases(14) {
        let caught = std::panic::catch_unwind(|| chaos(seed));
        assert!(caught.is_ok(), "seed {seed}");
    }
}
