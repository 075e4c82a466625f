//! A small simulation: up to three devices, the server, outside writers, faults, crashes, by seed.
//!
//! Whatever happened, in the end every device has what the server has, nothing waits, and every mutation ended once:
//! accepted there, or parked here and never applied there.

use std::collections::BTreeMap;

use fastrand::Rng;
use rejoin_core::engine::queue::mutation::State;
use rejoin_tests::{Backend, Device, Fault, Moment};

/// Worlds in one run; `REJOIN_SEEDS` asks for more, `REJOIN_SEED` for one.
const WORLDS: u64 = 120;

struct World {
    rng: Rng,
    server: Backend,
    devices: Vec<Device>,
    /// Whether nobody else writes, and no value breaks a rule: then nothing may be parked.
    innocent: bool,
    restored: bool,
    compacted: u8,
    /// Mutations by id: the device that wrote it.
    written: BTreeMap<String, usize>,
    told: Vec<String>,
    tokens: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let server = Backend::new();
        let innocent = rng.u8(..4) == 0;
        let count = if innocent { 1 } else { rng.usize(1..=3) };
        for number in 0..rng.usize(0..5) {
            server.outside(&format!(
                "INSERT INTO places (id, name, note, score, user_id) VALUES ('p{number}', 's', 's', 1, 'ana')"
            ));
        }
        let bundled = rng.bool().then(|| server.manifest());
        let mut devices: Vec<Device> = (0..count)
            .map(|number| {
                let (page, batch) = (rng.u32(1..5), rng.u32(1..5));
                Device::with("ana", seed * 10 + number as u64, bundled.clone(), |config| {
                    config.page_size = page;
                    config.batch_size = batch;
                })
            })
            .collect();
        if innocent {
            // Before it has seen what is there it could only guess which keys are free.
            devices[0].sync(&server);
        }
        let (written, told) = (BTreeMap::new(), Vec::new());
        Self {
            rng,
            server,
            devices,
            innocent,
            restored: false,
            compacted: 0,
            written,
            told,
            tokens: 0,
        }
    }

    fn token(&mut self) -> String {
        self.tokens += 1;
        format!("t{}", self.tokens)
    }

    fn statement(&mut self) -> String {
        let id = self.rng.u8(..5);
        let token = self.token();
        let bad = !self.innocent && self.rng.u8(..10) == 0;
        let score = if bad { 9 } else { self.rng.u8(..6) };
        match self.rng.u8(..12) {
            0..3 => format!("INSERT OR IGNORE INTO places (id, name, score) VALUES ('p{id}', '{token}', {score})"),
            3..5 => format!("UPDATE places SET name = '{token}' WHERE id = 'p{id}' AND deleted_at IS NULL"),
            5..7 => format!("UPDATE places SET note = '{token}', score = {score} WHERE id = 'p{id}' AND deleted_at IS NULL"),
            7 => format!("UPDATE places SET score = {score} WHERE id = 'p{id}' AND deleted_at IS NULL"),
            8 => format!("DELETE FROM places WHERE id = 'p{id}' AND id NOT IN (SELECT place_id FROM visits)"),
            9 => format!(
                "UPDATE places SET deleted_at = '2026-01-01T00:00:00.000000Z'
                 WHERE id = 'p{id}' AND deleted_at IS NULL AND id NOT IN (SELECT place_id FROM visits)"
            ),
            10 => format!(
                "INSERT INTO visits (id, place_id, day) SELECT 'v{token}', id, 'd' FROM places
                 WHERE id = 'p{id}' AND deleted_at IS NULL"
            ),
            _ => format!("UPDATE visits SET day = '{token}' WHERE place_id = 'p{id}'"),
        }
    }

    fn edit(&mut self, at: usize) {
        let mut sql = self.statement();
        if self.rng.u8(..4) == 0 {
            sql = format!("{sql}; {}", self.statement());
        }
        let device = &mut self.devices[at];
        if device.try_write(&sql) {
            for mutation in device.queue() {
                self.written.entry(mutation.id.to_string()).or_insert(at);
            }
            self.told.push(format!("{at} writes {sql}"));
        }
    }

    fn outside(&mut self) {
        let id = self.rng.u8(..5);
        let token = self.token();
        let sql = match self.rng.u8(..6) {
            0 => format!(
                "INSERT INTO places (id, name, note, score, user_id) VALUES ('p{id}', '{token}', 's', 2, 'ana')
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, deleted_at = NULL"
            ),
            1..4 => format!("UPDATE places SET name = '{token}' WHERE id = 'p{id}'"),
            4 => format!("UPDATE places SET note = '{token}' WHERE id = 'p{id}'"),
            _ => format!("DELETE FROM places WHERE id = 'p{id}' AND id NOT IN (SELECT place_id FROM visits)"),
        };
        self.told.push(format!("outside {sql}"));
        self.server.outside(&sql);
    }

    fn exchange(&mut self, at: usize) {
        let faulty = self.rng.u8(..10) < 4;
        let device = &mut self.devices[at];
        device.faults.clear();
        let fault = faulty.then(|| self.rng.choice(Fault::ALL)).flatten();
        device.faults.extend(fault);
        let moment = device.step(&self.server);
        let word = match moment {
            Ok(moment) => format!("{moment:?}"),
            Err(_) => "failed".to_owned(),
        };
        self.told.push(format!("{at} {fault:?}: {word}"));
    }

    fn happen(&mut self) {
        let at = self.rng.usize(..self.devices.len());
        match self.rng.u8(..100) {
            0..28 => self.edit(at),
            28..80 => self.exchange(at),
            80..84 => {
                self.told.push(format!("{at} crashes"));
                self.devices[at].crash();
            }
            84..88 => {
                self.told.push(format!("{at}'s late requests arrive"));
                self.devices[at].deliver_late(&self.server);
            }
            88..97 if !self.innocent => self.outside(),
            97 if !self.innocent && self.compacted < 2 => {
                // What no device has read yet goes too: they rebuild. Verdicts are kept for longer than these days.
                self.compacted += 1;
                self.server.clock.advance(40 * 86_400_000_000);
                self.server.compact();
                self.told.push("the log is compacted".to_owned());
            }
            98 if !self.innocent && !self.restored => {
                self.restored = true;
                let backup = self.server.backup();
                for _ in 0..self.rng.usize(..12) {
                    self.happen();
                }
                self.server.restore(&backup);
                self.told.push("the server is restored".to_owned());
            }
            _ => {}
        }
    }

    /// What everybody has, for the one who looks for the cause.
    fn look(&mut self) -> Vec<String> {
        let places = "SELECT id, name, note, score FROM places ORDER BY id";
        let life = "SELECT value FROM rejoin_meta WHERE key IN ('epoch', 'watermark') ORDER BY key";
        let log = self.server.see("SELECT seq, record_id, tx FROM rejoin_changelog");
        let (rows, life) = (self.server.see(places), self.server.see(life));
        let mut seen = vec![format!("server: {rows} | {life}"), format!("log: {log}")];
        for (at, device) in self.devices.iter_mut().enumerate() {
            let epoch = device.engine().meta("epoch");
            seen.push(format!("{at}: {} | {} | {epoch:?}", device.see(places), device.waiting()));
        }
        seen
    }

    fn settle(&mut self) {
        for round in 0..6 {
            for at in 0..self.devices.len() {
                self.devices[at].faults.clear();
                if round == 1 {
                    self.devices[at].deliver_late(&self.server);
                    self.devices[at].crash();
                }
                self.devices[at].sync(&self.server);
            }
        }
    }

    fn check(&mut self) {
        for at in 0..self.devices.len() {
            let queue = self.devices[at].queue();
            let open: Vec<_> = queue.iter().filter(|one| one.state != State::Parked).collect();
            assert!(open.is_empty(), "device {at} still waits: {open:#?}");
            for table in ["places", "visits"] {
                let (mine, theirs) =
                    (self.devices[at].engine().digest(table), self.server.digest("ana", table));
                assert_eq!(mine.unwrap(), theirs, "{table} of device {at}");
            }
            let places = "SELECT id, name, note, score FROM places ORDER BY id";
            assert_eq!(self.devices[at].see(places), self.server.see(places), "device {at}");
            let parked: Vec<String> = queue.iter().map(|one| one.id.to_string()).collect();
            for id in self.written.iter().filter(|(_, by)| **by == at).map(|(id, _)| id) {
                let verdict = format!(
                    "SELECT ending FROM rejoin_verdict WHERE mutation_id = '{id}' AND ending = 'accepted'"
                );
                let accepted = self.server.see(&verdict) == "accepted";
                let is_parked = parked.contains(id);
                assert!(!(accepted && is_parked), "{id} is parked though applied");
                assert!(accepted || is_parked, "{id} is nowhere");
            }
            assert!(!self.innocent || queue.is_empty(), "an innocent edit is parked: {queue:#?}");
        }
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..world.rng.usize(15..60) {
            world.happen();
        }
        world.settle();
        world.check();
    }));
    if told.is_err() {
        let mut story = world.told.clone();
        story.extend(world.look());
        panic!("{}\nREJOIN_SEED={seed} tells it again", story.join("\n"));
    }
}

#[test]
fn whatever_happens_all_agree_in_the_end() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("REJOIN_SEED") {
        Some(seed) => run(seed),
        None => (0..number("REJOIN_SEEDS").unwrap_or(WORLDS)).for_each(run),
    }
}

#[test]
fn a_world_of_a_seed_is_the_same_world_again() {
    let story = |seed| {
        let mut world = World::new(seed);
        for _ in 0..80 {
            world.happen();
        }
        world.told
    };
    let told = story(7);
    for (one, other) in told.iter().zip(story(7)) {
        assert_eq!(*one, other);
    }
    assert!(
        told.iter().any(|line| line.contains(&format!(
            "{:?}",
            Moment::Leaving(rejoin_core::sync::session::Phase::Pushing)
        ))),
        "{told:#?}"
    );
}
