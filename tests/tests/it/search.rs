//! Full-text search through every operation that changes rows: pulls, rebases, rejections,
//! snapshots, crashes.

use fastrand::Rng;
use rejoin_tests::{Backend, Device, Fault, Store, cases};

use crate::{apply, each_store};
use rejoin_core::engine::search;

const WORDS: [&str; 6] = ["milk", "oats", "honey", "bread", "salt", "tea"];

struct SearchRun {
    rng: Rng,
    server: Backend,
    devices: Vec<Device>,
    /// Rows that remote changes added to an index.
    remote: usize,
}

impl SearchRun {
    fn new(store: Store, seed: u64) -> Self {
        let server = Backend::on(store);
        let mut devices: Vec<Device> =
            (0..2).map(|at| Device::new("ana", seed * 10 + at)).collect();
        for device in &mut devices {
            device.sync(&server);
            search::create_search_index(device.engine(), "places", &["name", "note"], None)
                .unwrap();
        }
        Self { rng: Rng::with_seed(seed), server, devices, remote: 0 }
    }

    fn step(&mut self) {
        let Self { rng, server, devices, .. } = self;
        let (id, word) = (rng.u8(..5), WORDS[rng.usize(..WORDS.len())]);
        let device = &mut devices[rng.usize(..2)];
        let write = match rng.u8(..12) {
            0..2 => format!("INSERT OR IGNORE INTO places (id, name) VALUES ('p{id}', '{word}')"),
            2..4 => format!("UPDATE places SET note = '{word}' WHERE id = 'p{id}'"),
            // The server rejects such a score: the written row is removed from the index again.
            4 => format!("UPDATE places SET name = '{word}', score = 9 WHERE id = 'p{id}'"),
            5 => format!("DELETE FROM places WHERE id = 'p{id}'"),
            6 => {
                return server.outside(&format!(
                    "INSERT INTO places (id, name, user_id) VALUES ('p{id}', '{word}', 'ana')
                     ON CONFLICT (id) DO UPDATE SET name = excluded.name, deleted_at = NULL"
                ));
            }
            7 => {
                let update = format!("UPDATE places SET note = '{word}' WHERE id = 'p{id}'");
                return server.outside(&update);
            }
            8 => {
                device.crash();
                return;
            }
            9 => {
                device.faults.push_back(Fault::ALL[rng.usize(..Fault::ALL.len())]);
                let _ = device.pass(server);
                return;
            }
            _ => {
                let before = device.see(ROWS);
                let _ = device.pass(server);
                self.remote += usize::from(device.see(ROWS) != before);
                return;
            }
        };
        let _ = device.try_write(&write);
    }
}

const ROWS: &str = "SELECT id, name, note FROM places ORDER BY id";
const ENTRIES: &str = "SELECT id, name, note FROM search_places ORDER BY id";

/// Checks that the index equals a newly built one.
fn check_index(device: &mut Device, when: &str) {
    assert_eq!(device.see(ENTRIES), device.see(ROWS), "{when}");
    for word in WORDS {
        let found =
            format!("SELECT id FROM search_places WHERE search_places MATCH '{word}' ORDER BY id");
        let scanned =
            format!("SELECT id FROM places WHERE name = '{word}' OR note = '{word}' ORDER BY id");
        assert_eq!(device.see(&found), device.see(&scanned), "{when}: {word}");
    }
    device.write("INSERT INTO search_places (search_places) VALUES ('integrity-check')");
}

#[apply(each_store)]
fn index_equals_a_rebuilt_one_after_every_step(store: Store) {
    let mut remote = 0;
    for seed in 0..cases(if store == Store::Sqlite { 20 } else { 6 }) {
        let mut run = SearchRun::new(store, seed);
        for step in 0..30 {
            run.step();
            for device in &mut run.devices {
                check_index(device, &format!("seed {seed}, step {step}"));
            }
        }
        remote += run.remote;
    }
    assert!(remote > 5, "only {remote} passes pulled rows");
}

#[apply(each_store)]
fn snapshot_into_indexed_tables_fills_the_index(store: Store) {
    let server = Backend::on(store);
    let mut device = Device::bundled("ana", 1, server.manifest());
    search::create_search_index(device.engine(), "places", &["name"], None).unwrap();
    let row = |number| format!("('p{number}', '{}', 'ana')", WORDS[number % WORDS.len()]);
    let rows: Vec<String> = (0..250).map(row).collect();
    server.outside(&format!("INSERT INTO places (id, name, user_id) VALUES {}", rows.join(", ")));
    device.sync(&server);
    assert_eq!(
        device.see("SELECT count(*) FROM search_places WHERE search_places MATCH 'tea'"),
        "41"
    );
}
