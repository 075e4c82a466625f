//! A small simulation: two SDKs and a Rejoin device on one server, edits offline and online, lost
//! and doubled exchanges.
//!
//! The apps write while their SDK is idle: the SDKs' own losses are covered by other tests. In the
//! end all have the server's rows, no row is lost, and no SDK ever received a member that v0.1.2
//! does not define.

use fastrand::Rng;
use rejoin_core::engine::queue::mutation::MutationState;
use rejoin_tests::plain_client::Sdk;
use rejoin_tests::{Backend, Device, Fault, PlainClient, cases};

/// 2026-01-01T00:00:00Z, where the server's clock begins.
const NOW: i64 = 1_767_225_600_000_000;

struct ClientsRun {
    rng: Rng,
    server: Backend,
    apps: Vec<PlainClient>,
    device: Device,
    now: i64,
    /// The error of each SDK's clock, in microseconds.
    skews: Vec<i64>,
    /// Rows that an app inserted and did not delete before they were sent.
    inserted: Vec<(usize, &'static str, String)>,
    trace: Vec<String>,
    tokens: u32,
}

impl ClientsRun {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let server = Backend::new();
        let sdks = [Sdk::Swift, Sdk::Kotlin];
        let apps = sdks
            .iter()
            .enumerate()
            .map(|(at, sdk)| PlainClient::new(*sdk, "ana", &format!("sdk{at}"), rng.i64(1..5)));
        let apps = apps.collect();
        let skews = sdks.iter().map(|_| rng.i64(-20_000_000..20_000_000)).collect();
        let device = Device::with("ana", seed, rng.bool().then(|| server.manifest()), |config| {
            config.page_size = 3;
            config.batch_size = 2;
        });
        let (inserted, trace) = (Vec::new(), Vec::new());
        let mut run =
            Self { rng, server, apps, device, now: NOW, skews, inserted, trace, tokens: 0 };
        run.advance_clocks(0);
        run
    }

    fn advance_clocks(&mut self, micros: i64) {
        self.now += micros;
        self.server.clock.advance(micros);
        for (app, skew) in self.apps.iter_mut().zip(&self.skews) {
            app.set_clock(self.now + skew);
        }
    }

    fn token(&mut self) -> String {
        self.tokens += 1;
        format!("t{}", self.tokens)
    }

    fn edit_in_app(&mut self, at: usize) {
        if !self.apps[at].runs() || self.apps[at].request().is_some() {
            return;
        }
        let (token, row, score) = (self.token(), self.rng.usize(..6), self.rng.u8(..6));
        let live = "deleted_at IS NULL";
        let pick = format!("(SELECT id FROM places WHERE {live} ORDER BY id LIMIT 1 OFFSET {row})");
        let sql = match self.rng.u8(..11) {
            0..3 => {
                self.inserted.push((at, "places", token.clone()));
                format!(
                    "INSERT INTO places (id, name, score, user_id) VALUES ('{token}', 'n', {score}, 'ana')"
                )
            }
            3 => format!(
                "INSERT OR IGNORE INTO places (id, name, user_id) VALUES ('same{row}', '{token}', 'ana')"
            ),
            4..6 => format!("UPDATE places SET name = '{token}' WHERE id = {pick}"),
            6 => format!("UPDATE places SET note = '{token}', score = {score} WHERE id = {pick}"),
            7 => {
                let parent = self.apps[at].see(&pick.replace(['(', ')'], ""));
                if parent.is_empty() {
                    return;
                }
                self.inserted.push((at, "visits", token.clone()));
                format!("INSERT INTO visits (id, place_id) VALUES ('{token}', '{parent}')")
            }
            8 => format!("UPDATE visits SET day = '{token}' WHERE {live} AND place_id = {pick}"),
            9 => format!("DELETE FROM visits WHERE {live} AND place_id = {pick}"),
            _ => format!(
                "DELETE FROM places WHERE id = {pick} AND id NOT IN (SELECT place_id FROM visits)"
            ),
        };
        self.trace.push(format!("sdk {at} writes {sql}"));
        self.apps[at].write(&sql);
        // A row that was deleted before it was sent was never visible to other devices.
        let gone = |table: &str, id: &str| {
            let sql = format!(
                "SELECT count(*) FROM {table} WHERE id = '{id}' AND deleted_at IS NOT NULL"
            );
            self.apps[at].see(&sql) == "1"
        };
        self.inserted.retain(|(by, table, id)| *by != at || !gone(table, id));
    }

    fn exchange_app(&mut self, at: usize) {
        let fault = self.fault();
        let app = &mut self.apps[at];
        if !app.runs() {
            app.start();
        } else if app.request().is_none() {
            app.begin_cycle();
        }
        let path = app.request().map(|request| request.path);
        let done = app.step(&self.server, fault);
        self.trace.push(format!("sdk {at} {path:?} {fault:?}: {done:?}"));
    }

    fn fault(&mut self) -> Option<Fault> {
        let faulty = self.rng.u8(..10) < 3;
        faulty.then(|| self.rng.choice(Fault::ALL)).flatten()
    }

    fn edit_on_device(&mut self) {
        let (token, row, score) = (self.token(), self.rng.usize(..6), self.rng.u8(..6));
        let pick = format!("(SELECT id FROM places ORDER BY id LIMIT 1 OFFSET {row})");
        let sql = match self.rng.u8(..8) {
            0..2 => {
                format!("INSERT INTO places (id, name, score) VALUES ('{token}', 'n', {score})")
            }
            2 => format!("INSERT OR IGNORE INTO places (id, name) VALUES ('same{row}', '{token}')"),
            3..5 => format!("UPDATE places SET note = '{token}' WHERE id = {pick}"),
            5 => format!(
                "INSERT INTO visits (id, place_id) SELECT '{token}', id FROM places WHERE id = {pick}"
            ),
            6 => format!("UPDATE visits SET day = '{token}' WHERE place_id = {pick}"),
            _ => format!(
                "DELETE FROM places WHERE id = {pick} AND id NOT IN (SELECT place_id FROM visits)"
            ),
        };
        if self.device.try_write(&sql) {
            self.trace.push(format!("device writes {sql}"));
        }
    }

    fn exchange_device(&mut self) {
        let fault = self.fault();
        self.device.faults.clear();
        self.device.faults.extend(fault);
        let moment = self.device.step(&self.server).map_err(|error| error.to_string());
        self.trace.push(format!("device {fault:?}: {moment:?}"));
    }

    fn execute_step(&mut self) {
        let seconds = self.rng.i64(0..5_000_000);
        self.advance_clocks(seconds);
        let at = self.rng.usize(..self.apps.len());
        match self.rng.u8(..100) {
            0..25 => self.edit_in_app(at),
            25..70 => self.exchange_app(at),
            70..80 => self.edit_on_device(),
            80..98 => self.exchange_device(),
            98 => {
                self.device.crash();
                self.trace.push("device crashes".to_owned());
            }
            _ => {
                self.device.deliver_late(&self.server);
                self.trace.push("late requests of the device arrive".to_owned());
            }
        }
    }

    fn settle(&mut self) {
        self.device.faults.clear();
        self.device.deliver_late(&self.server);
        for _ in 0..4 {
            self.advance_clocks(1_000_000);
            for app in &mut self.apps {
                // A running exchange ends, and a failed start is tried again.
                while app.step(&self.server, None).is_some_and(|done| done.is_ok()) {}
                app.cycle(&self.server).unwrap();
            }
            self.device.sync(&self.server);
        }
    }

    fn check(&mut self) {
        let places =
            "SELECT id, name, note, score FROM places WHERE deleted_at IS NULL ORDER BY id";
        let visits = "SELECT id, place_id, day FROM visits WHERE deleted_at IS NULL ORDER BY id";
        for sql in [places, visits] {
            let server = self.server.see(sql);
            for (at, app) in self.apps.iter().enumerate() {
                assert_eq!(app.see(sql), server, "sdk {at}");
            }
            assert_eq!(
                self.device.see(&sql.replace(" WHERE deleted_at IS NULL", "")),
                server,
                "device"
            );
        }
        for (at, app) in self.apps.iter().enumerate() {
            assert_eq!(app.waiting(), 0, "sdk {at} still waits");
            assert_eq!(app.strangers, Vec::<String>::new(), "sdk {at}");
            assert_eq!(app.dropped, Vec::<serde_json::Value>::new(), "sdk {at}");
        }
        for (at, table, id) in &self.inserted {
            let sql = format!(
                "SELECT count(*) FROM {table} WHERE id = '{id}' AND (deleted_at IS NULL OR 1)"
            );
            assert_eq!(self.server.see(&sql), "1", "sdk {at} inserted {id} into {table}");
        }
        let open =
            self.device.queue().iter().filter(|one| one.state != MutationState::Parked).count();
        assert_eq!(open, 0, "device still waits");
    }
}

fn run(seed: u64) {
    let mut run = ClientsRun::new(seed);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..run.rng.usize(40..160) {
            run.execute_step();
        }
        run.settle();
        run.check();
    }));
    let trace = run.trace.join("\n");
    assert!(outcome.is_ok(), "{trace}\nrepeat with REJOIN_SEED={seed}");
}

#[test]
fn sdks_and_a_rejoin_device_agree_in_the_end() {
    match std::env::var("REJOIN_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => run(seed),
        None => (0..cases(20)).for_each(run),
    }
}
