//! Power cuts and failures while a database file is created, migrated to a newer format, or
//! imported from an old Synchro database.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fastrand::Rng;
use rejoin_core::engine::{Engine, OpenOptions};
use rejoin_core::host::TestHost;
use rejoin_core::{Client, Config, Error, Manifest, StorageFault};
use rejoin_tests::{Backend, OldApp};
use rejoin_vfs::{Disk, Fault, Style};
use tempfile::TempDir;

use crate::points::{images, points, seed};

/// An operation on a file, its preparation and its check.
struct Opening {
    name: &'static str,
    prepare: fn(&Place),
    run: fn(&Place) -> Result<(), Error>,
    /// Checks that the file works and contains everything that it contained before.
    check: fn(&Place),
}

/// A folder and the tables bundled with the app.
struct Place {
    folder: TempDir,
    manifest: Manifest,
}

impl Place {
    fn path(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    /// The database of an old app. It is on another disk, because it is only read.
    fn old(&self) -> PathBuf {
        self.folder.path().join("old.db")
    }

    fn open(&self) -> Result<Engine, Error> {
        let options = OpenOptions { path: self.path(), manifest: Some(self.manifest.clone()) };
        Engine::open(&options, Arc::new(TestHost::new(fastrand::u64(..))))
    }

    fn client(&self) -> Result<Client, Error> {
        let config = Config::new(self.path()).schema(self.manifest.clone());
        Client::open(config).wait()
    }
}

const OPENINGS: [Opening; 2] = [
    Opening {
        name: "new file",
        prepare: |_| {},
        run: |place| place.open()?.close(),
        check: |place| {
            let mut engine = place.open().unwrap();
            engine.execute_batch(&insert("n1")).unwrap();
            assert_eq!(engine.pending().unwrap().len(), 1);
        },
    },
    Opening {
        name: "import",
        prepare: |place| {
            let old = OldApp::new(&place.old());
            old.pulled("INSERT INTO places (id, name, user_id) VALUES ('p1', 'A', 'ana'), ('p2', 'B', 'ana')");
            old.run("UPDATE places SET name = 'C' WHERE id = 'p1'");
            old.run("INSERT INTO places (id, name, user_id) VALUES ('p3', 'D', 'ana')");
            old.end();
        },
        run: |place| {
            let client = place.client()?;
            let done = client.storage().import_synchro(place.old()).wait();
            let ended = client.shutdown().wait();
            done.and(ended)
        },
        check: |place| {
            let client = place.client().unwrap();
            client.storage().import_synchro(place.old()).wait().unwrap();
            let rows = client.query("SELECT id, name FROM places ORDER BY id", ()).wait().unwrap();
            let rows: Vec<String> = rows.iter().map(|row| row.get(1).unwrap()).collect();
            assert_eq!(rows, ["C", "B", "D"]);
            assert_eq!(client.queue().all().wait().unwrap().len(), 2, "imported once");
            client.shutdown().wait().unwrap();
        },
    },
];

fn insert(id: &str) -> String {
    format!("INSERT INTO places (id, name, user_id) VALUES ('{id}', 'A', 'ana')")
}

#[allow(clippy::disallowed_methods)] // Connection of another program.
fn connect(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

impl Opening {
    /// A prepared folder and its disk, before any fault.
    fn prepared(&self, manifest: &Manifest) -> (Place, Disk) {
        let place = Place { folder: TempDir::new().unwrap(), manifest: manifest.clone() };
        let disk = Disk::watch(place.folder.path());
        (self.prepare)(&place);
        disk.sync_all();
        (place, disk)
    }

    fn calls(&self, manifest: &Manifest) -> u64 {
        let (place, disk) = self.prepared(manifest);
        disk.fail(Fault::Io, u64::MAX, 0);
        (self.run)(&place).unwrap();
        let (calls, _) = disk.calls();
        (self.check)(&place);
        calls
    }

    fn cut(&self, manifest: &Manifest, at: u64, style: Style, rng: &mut Rng) {
        let (place, disk) = self.prepared(manifest);
        disk.fail(Fault::PowerCut, at, 1);
        let _ = (self.run)(&place);
        disk.restore_power(style, rng);
        (self.check)(&place);
        assert_eq!(integrity(&place), "ok");
    }

    fn fail(&self, manifest: &Manifest, fault: Fault, at: u64, times: u64) -> u64 {
        let (place, disk) = self.prepared(manifest);
        disk.fail(fault, at, times);
        let done = (self.run)(&place);
        assert!(
            matches!(done, Ok(()) | Err(Error::Storage(StorageFault::Io(_) | StorageFault::Full))),
            "{done:?}"
        );
        let struck = disk.recover();
        (self.check)(&place);
        assert_eq!(integrity(&place), "ok");
        struck
    }
}

fn integrity(place: &Place) -> String {
    connect(&place.path()).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

#[test]
fn power_cut_during_opening_leaves_a_file_that_opens() {
    let mut rng = Rng::with_seed(seed());
    let manifest = Backend::new().manifest();
    for opening in &OPENINGS {
        let calls = opening.calls(&manifest);
        let points = points(calls, 16, u64::MAX, &mut rng);
        for at in &points {
            for _ in 0..images() {
                let style = Style::choose(&mut rng);
                println!("{}: power cut at call {at}, {style:?}", opening.name);
                opening.cut(&manifest, *at, style, &mut rng);
            }
        }
        println!("{}: {} of {calls} calls", opening.name, points.len());
    }
}

#[test]
fn failed_opening_has_a_typed_error_and_the_next_one_works() {
    let mut rng = Rng::with_seed(seed());
    let manifest = Backend::new().manifest();
    for opening in &OPENINGS {
        let calls = opening.calls(&manifest);
        let mut failed = 0;
        for fault in [Fault::Io, Fault::Full] {
            for times in [1, 1000] {
                for at in points(calls, 6, u64::MAX, &mut rng) {
                    println!("{}: {fault:?} at call {at}, {times} times", opening.name);
                    failed += opening.fail(&manifest, fault, at, times);
                }
            }
        }
        println!("{}: {failed} calls failed", opening.name);
    }
}

/// The first page of a new file is written with a rollback journal. If it is torn, it has no
/// header, and the journal restores it.
#[test]
fn torn_first_page_of_a_new_file_is_rolled_back() {
    let mut rng = Rng::with_seed(seed());
    let manifest = Backend::new().manifest();
    for at in 3..=9 {
        for _ in 0..8 {
            OPENINGS[0].cut(&manifest, at, Style::Scattered, &mut rng);
        }
    }
}
