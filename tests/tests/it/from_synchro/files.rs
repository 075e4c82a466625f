//! Invalid, damaged, truncated or misplaced old files, and crashes of the new app.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rejoin_core::{Client, Error, InputFault, Services, StorageFault, SystemHost};
use rejoin_tests::OldApp;
use rejoin_tests::synchro::connect;

use super::fixture::{App, Migration, counts};

#[test]
fn foreign_file_is_refused_by_name() {
    let (migration, old) = Migration::with(&[]);
    old.run("INSERT INTO places (id, name) VALUES ('n', 'New')");
    let path = old.end();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(migration.path(name), bytes).unwrap();
        migration.path(name)
    };
    let other = |name: &str, sql: &str| {
        connect(&migration.path(name)).execute_batch(sql).unwrap();
        migration.path(name)
    };
    let later = OldApp::bare(&migration.path("later.db"));
    later.run("ALTER TABLE _synchro_pending_changes ADD COLUMN mutation_id TEXT");
    let app = migration.open();
    app.sync();
    app.0.storage().checkpoint(rejoin_core::CheckpointMode::Truncate).wait().unwrap();
    let cases: [(PathBuf, &str); 7] = [
        (migration.path("none.db"), "none.db"),
        (write("text.db", b"hello"), "is no SQLite database"),
        (write("empty.db", b""), "is no SQLite database"),
        (other("other.db", "CREATE TABLE t (a)"), "it is no database of the Synchro SDK"),
        (later.end(), "a version of the Synchro SDK that this release does not know"),
        (migration.path("app.db"), "it is the file of this client itself"),
        (write("ours.db", &std::fs::read(migration.path("app.db")).unwrap()), "open it instead"),
    ];
    for (file, words) in cases {
        let error = app.0.storage().import_synchro(&file).wait().unwrap_err();
        assert!(error.to_string().contains(words), "{}: {error}", file.display());
        assert!(!migration.holds_a_copy(), "{words}");
    }
    assert_eq!(app.pending(), []);
    assert_eq!(counts(&app.import(&path), "places"), (0, 1, 0, 0));
}

#[test]
fn damaged_file_is_refused_until_it_is_repaired() {
    let (migration, old) = Migration::with(&[]);
    for number in 0..400 {
        old.run(&format!(
            "INSERT INTO places (id, name) VALUES ('p{number}', 'Name of some length')"
        ));
    }
    old.run("PRAGMA wal_checkpoint(TRUNCATE)");
    let path = old.end();
    let whole = std::fs::read(&path).unwrap();
    let app = migration.open();
    let mut scribbled = whole.clone();
    let middle = whole.len() / 2;
    scribbled[middle..middle + 4096].fill(0xA5);
    let cut = &whole[..whole.len() - 5000];
    for damaged in [scribbled.as_slice(), cut] {
        std::fs::write(&path, damaged).unwrap();
        let error = app.0.storage().import_synchro(&path).wait().unwrap_err();
        assert!(matches!(error, Error::Storage(StorageFault::Corrupt(_))), "{error}");
        assert!(error.to_string().contains("old.db"), "{error}");
        assert_eq!((app.pending(), app.places()), (Vec::new(), String::new()));
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(counts(&app.import(&path), "places"), (0, 400, 0, 0));
}

#[test]
fn unfinished_transaction_of_old_app_is_not_imported() {
    let migration = Migration::new();
    let path = migration.path("old.db");
    let old = connect(&path);
    drop(OldApp::new(&migration.path("model.db")));
    old.execute_batch(
        "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; PRAGMA cache_spill = 1;",
    )
    .unwrap();
    let tables: Vec<String> = connect(&migration.path("model.db"))
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type = 'trigger'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    for sql in tables {
        old.execute_batch(&sql).unwrap();
    }
    old.execute_batch("INSERT INTO _synchro_meta VALUES ('sync_lock', '0')").unwrap();
    old.execute_batch("INSERT INTO places (id, name) VALUES ('n', 'New')").unwrap();
    // Pages of an open transaction are in the file; the rollback journal is beside it.
    old.execute_batch("BEGIN").unwrap();
    for number in 0..2_000 {
        let sql = format!("INSERT INTO places (id, name) VALUES ('p{number}', '{number:0200}')");
        old.execute_batch(&sql).unwrap();
    }
    let (file, journal) = (migration.path("cut.db"), migration.path("cut.db-journal"));
    std::fs::copy(&path, &file).unwrap();
    std::fs::copy(migration.path("old.db-journal"), &journal).unwrap();
    drop(old);
    assert!(std::fs::metadata(&file).unwrap().len() > 100_000, "nothing was spilled");

    let app = migration.open();
    assert_eq!(counts(&app.import(&file), "places"), (0, 1, 0, 0));
    assert!(journal.exists(), "the old file is as it was");
}

#[test]
fn open_of_an_old_file_names_the_remedy_and_changes_nothing() {
    let migration = Migration::new();
    let old = OldApp::new(&migration.path("app.db"));
    old.run("INSERT INTO places (id, name) VALUES ('n', 'New')");
    let path = old.end();
    let wal = || std::fs::read(migration.path("app.db-wal")).unwrap();
    let before = (std::fs::read(&path).unwrap(), wal());
    let error = Client::open(migration.config(None)).wait().unwrap_err();
    assert!(matches!(error, Error::InvalidInput(InputFault::Refused { .. })), "{error}");
    assert!(error.to_string().contains("take this one over with import_synchro"), "{error}");
    assert!(before == (std::fs::read(&path).unwrap(), wal()), "the old file was changed");

    // As Android's helper leaves it, with a user version of the app.
    let android = migration.path("android.db");
    connect(&android).execute_batch("PRAGMA user_version = 1").unwrap();
    let mut config = migration.config(None);
    config.path = android;
    let error = Client::open(config).wait().unwrap_err();
    assert!(error.to_string().contains("import_synchro"), "{error}");

    // The remedy: another name for the new file.
    for suffix in ["", "-wal"] {
        let name = |base: &str| migration.path(&format!("{base}{suffix}"));
        std::fs::rename(name("app.db"), name("before.db")).unwrap();
    }
    let app = migration.open();
    assert_eq!(counts(&app.import(&migration.path("before.db")), "places"), (0, 1, 0, 0));
    app.sync();
    assert_eq!(migration.see(), "n|New|-|-");
}

/// A host that copies the file at each request for random bytes, where a crash could occur.
#[derive(Debug)]
struct FileRecorder {
    real: SystemHost,
    folder: PathBuf,
    looks: std::sync::Mutex<Option<usize>>,
    panics_at: Option<usize>,
}

impl FileRecorder {
    fn copy(&self, number: usize) {
        for suffix in ["", "-wal"] {
            let from = self.folder.join(format!("app.db{suffix}"));
            std::fs::copy(from, self.folder.join(format!("copy{number}.db{suffix}"))).unwrap();
        }
    }
}

impl rejoin_core::Host for FileRecorder {
    fn now_micros(&self) -> i64 {
        self.real.now_micros()
    }

    fn elapsed(&self) -> Duration {
        self.real.elapsed()
    }

    fn random(&self, bytes: &mut [u8]) {
        self.real.random(bytes);
        let mut looks = self.looks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(number) = looks.as_mut() {
            self.copy(*number);
            *number += 1;
            assert_ne!(Some(*number), self.panics_at, "as a crash would end it");
        }
    }
}

#[test]
fn import_is_atomic_across_a_crash() {
    let (migration, old) = Migration::with(&["a"]);
    for number in 0..5 {
        old.run(&format!("INSERT INTO places (id, name) VALUES ('n{number}', 'New')"));
    }
    old.run("UPDATE places SET name = 'Renamed' WHERE id = 'a'");
    let path = old.end();
    let witness = |panics_at| {
        Arc::new(FileRecorder {
            real: SystemHost::default(),
            folder: migration.folder.path().to_owned(),
            looks: None.into(),
            panics_at,
        })
    };
    let open = |host: &Arc<FileRecorder>| {
        let config = migration.config(Some(migration.backend.manifest()));
        let host: Arc<dyn rejoin_core::Host> = host.clone();
        App(Client::open_with(config, Services { host: Some(host), ..Services::default() })
            .wait()
            .unwrap())
    };

    // A panic at the fourth mutation: nothing was imported, and the client continues.
    let host = witness(Some(4));
    let app = open(&host);
    *host.looks.lock().unwrap() = Some(0);
    let error = app.0.storage().import_synchro(&path).wait().unwrap_err();
    assert!(matches!(error, Error::Internal(_)), "{error}");
    assert_eq!((app.pending(), app.places()), (Vec::new(), String::new()));
    app.0.shutdown().wait().unwrap();

    // The file as it was at each of these moments, and after the end.
    let host = witness(None);
    let app = open(&host);
    *host.looks.lock().unwrap() = Some(0);
    app.import(&path);
    let seen = app.places();
    assert_eq!(*host.looks.lock().unwrap(), Some(6));
    host.copy(6);
    app.0.shutdown().wait().unwrap();
    for number in 0..7 {
        let mut config = migration.config(None);
        config.path = migration.path(&format!("copy{number}.db"));
        config.server = None;
        let app = App(Client::open(config).wait().unwrap());
        if number < 6 {
            assert_eq!((app.pending(), app.places()), (Vec::new(), String::new()), "{number}");
            assert_eq!(counts(&app.import(&path), "places"), (1, 5, 1, 0), "{number}");
        }
        assert_eq!((app.pending().len(), app.places()), (6, seen.clone()), "{number}");
        assert_eq!(app.import(&path).taken_before, 6);
    }
}

#[test]
fn concurrent_imports_take_each_row_once() {
    let (migration, old) = Migration::with(&[]);
    for number in 0..20 {
        old.run(&format!("INSERT INTO places (id, name) VALUES ('n{number}', 'New')"));
    }
    let path = old.end();
    let app = migration.open();
    let other = {
        let mut config = migration.config(Some(migration.backend.manifest()));
        config.path = migration.path("other.db");
        config.server = None;
        App(Client::open(config).wait().unwrap())
    };
    let calls = [&app, &app, &app, &other, &other].map(|app| app.0.storage().import_synchro(&path));
    let reports = calls.map(|call| call.wait().unwrap());
    let created = |at: &[usize]| at.iter().map(|at| counts(&reports[*at], "places").1).sum::<u64>();
    assert_eq!((created(&[0, 1, 2]), created(&[3, 4])), (20, 20), "each file took each row once");
    assert_eq!((app.pending().len(), other.pending().len()), (20, 20));
    assert!(!migration.holds_a_copy());
}
