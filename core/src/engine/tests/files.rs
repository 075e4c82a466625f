//! Files that are new, damaged, read-only, locked or full: each has its own error, nothing is
//! changed, and the next operation works.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::{all, mutations, notes, open, queued};
use crate::engine::checkpoint;
use crate::engine::checkpoint::Durability;
use crate::engine::{CheckpointMode, Engine};
use crate::error::{Error, InputFault, StorageFault};

/// A closed file with one note and one mutation.
fn closed() -> TempDir {
    let (folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id, body) VALUES ('a', 'x')", &[]).unwrap();
    checkpoint::checkpoint(&mut engine, CheckpointMode::Truncate).unwrap();
    engine.close().unwrap();
    folder
}

fn file(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("app.db")
}

#[allow(clippy::disallowed_methods)] // Tests use another program's connection.
fn raw(folder: &TempDir) -> Connection {
    Connection::open(file(folder)).unwrap()
}

/// Checks that the file opens with its contents.
fn is_well(folder: &TempDir) {
    let mut engine = open(folder, None).unwrap();
    assert_eq!(all(&mut engine, "SELECT body FROM notes WHERE id = 'a'"), ["'x'"]);
    assert_eq!(mutations(&engine), 1);
    engine.execute("INSERT INTO notes (id) VALUES ('next')", &[]).unwrap();
    assert_eq!(mutations(&engine), 2);
}

#[test]
fn file_of_a_newer_release_is_refused_unchanged() {
    let folder = closed();
    raw(&folder).execute_batch("PRAGMA user_version = 99").unwrap();
    let before = (fs::read(file(&folder)).unwrap(), fs::read_dir(folder.path()).unwrap().count());
    let error = open(&folder, None).unwrap_err();
    assert!(
        matches!(error, Error::Storage(StorageFault::TooNew { found: 99, known }) if known < 99),
        "{error}"
    );
    let after = (fs::read(file(&folder)).unwrap(), fs::read_dir(folder.path()).unwrap().count());
    assert!(before == after);
    let known = crate::engine::migrate::FORMAT;
    raw(&folder).execute_batch(&format!("PRAGMA user_version = {known}")).unwrap();
    is_well(&folder);
}

#[test]
fn file_of_another_application_is_refused() {
    for sql in ["PRAGMA application_id = 7", "PRAGMA user_version = 3"] {
        let folder = tempfile::tempdir().unwrap();
        raw(&folder).execute_batch(&format!("CREATE TABLE theirs (x); {sql}")).unwrap();
        let before = fs::read(file(&folder)).unwrap();
        assert!(
            matches!(open(&folder, None), Err(Error::InvalidInput(InputFault::Refused { .. }))),
            "{sql}"
        );
        assert!(before == fs::read(file(&folder)).unwrap());
    }
}

#[test]
fn non_database_file_is_corrupt_and_not_overwritten() {
    for bytes in [b"x".repeat(5000), b"SQLite format 3\0 but cut".to_vec()] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(file(&folder), &bytes).unwrap();
        assert!(matches!(open(&folder, None), Err(Error::Storage(StorageFault::Corrupt(_)))));
        assert_eq!(fs::read(file(&folder)).unwrap(), bytes);
        fs::remove_file(file(&folder)).unwrap();
        open(&folder, None).unwrap();
    }
}

#[test]
fn damaged_file_is_corrupt_until_restored() {
    let folder = closed();
    let whole = fs::read(file(&folder)).unwrap();
    let mut scribbled = whole.clone();
    for byte in &mut scribbled[4096..] {
        *byte = 0x5a;
    }
    for damaged in [&whole[..4096 + 100], &scribbled[..]] {
        fs::write(file(&folder), damaged).unwrap();
        let result = open(&folder, None);
        assert!(matches!(result, Err(Error::Storage(StorageFault::Corrupt(_)))), "{result:?}");
    }
    fs::write(file(&folder), &whole).unwrap();
    is_well(&folder);
}

#[test]
fn second_process_gets_locked_until_the_first_closes() {
    let folder = closed();
    let first = open(&folder, None).unwrap();
    // The lock belongs to an open file, so a second one in this process behaves like another
    // process.
    let error = open(&folder, None).unwrap_err();
    assert!(
        matches!(&error, Error::Storage(StorageFault::Locked { path }) if path.ends_with("app.db")),
        "{error}"
    );
    first.close().unwrap();
    is_well(&folder);
}

#[test]
fn file_written_by_another_program_is_locked() {
    let folder = closed();
    let mut engine = open(&folder, None).unwrap();
    engine.db.conn().busy_timeout(std::time::Duration::ZERO).unwrap();
    let other = raw(&folder);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let result = engine.execute("DELETE FROM notes", &[]);
    assert!(matches!(result, Err(Error::Storage(StorageFault::Locked { .. }))), "{result:?}");
    other.execute_batch("COMMIT").unwrap();
    drop((other, engine));
    is_well(&folder);
}

#[test]
fn another_sqlite_cannot_write_a_synced_table() {
    let folder = closed();
    let other = raw(&folder);
    let result = other.execute("INSERT INTO notes (id) VALUES ('sly')", []);
    assert!(result.unwrap_err().to_string().contains("no such function: rejoin_capture"));
    let body: String = other.query_row("SELECT body FROM notes", [], |row| row.get(0)).unwrap();
    assert_eq!(body, "x", "reading still works");
    drop(other);
    is_well(&folder);
}

#[test]
fn dropped_or_changed_triggers_are_created_again() {
    let folder = closed();
    raw(&folder)
        .execute_batch(
            "DROP TRIGGER rejoin_insert_1; DROP TRIGGER rejoin_update_1;
             CREATE TRIGGER rejoin_update_1 AFTER UPDATE ON notes BEGIN SELECT 1; END",
        )
        .unwrap();
    let mut engine = open(&folder, None).unwrap();
    engine.execute("INSERT INTO notes (id) VALUES ('b')", &[]).unwrap();
    engine.execute("UPDATE notes SET n = 1 WHERE id = 'b'", &[]).unwrap();
    assert_eq!(queued(&engine)[1..], ["notes b insert", "notes b update n NULL>1"]);
}

#[test]
fn foreign_trigger_cannot_write_a_synced_table() {
    let folder = closed();
    raw(&folder)
        .execute_batch(
            "CREATE TRIGGER sly AFTER INSERT ON notes BEGIN DELETE FROM notes WHERE id = 'a'; END",
        )
        .unwrap();
    let mut engine = open(&folder, None).unwrap();
    let local = engine.execute("INSERT INTO notes (id) VALUES ('b')", &[]);
    assert!(
        matches!(&local, Err(Error::InvalidInput(InputFault::Refused { what, .. })) if what.contains("sly")),
        "{local:?}"
    );
    let base = engine.write(crate::engine::change::Origin::Remote, |engine| {
        Ok(engine.db.conn().execute("INSERT INTO notes (id) VALUES ('b')", [])?)
    });
    assert!(base.is_err(), "it fails for engine writes as well");
    assert_eq!(all(&mut engine, "SELECT id FROM notes"), ["'a'"]);
    assert_eq!(mutations(&engine), 1);
}

#[test]
fn full_disk_rolls_back_and_the_next_write_works() {
    let folder = closed();
    let mut engine = open(&folder, None).unwrap();
    let limit = |engine: &Engine, pages: i64| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        engine.db.conn().query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let pages = limit(&engine, 1);
    let big = "INSERT INTO notes (id, body) VALUES ('big', hex(zeroblob(200000)))";
    let result = engine.execute(big, &[]);
    assert!(matches!(result, Err(Error::Storage(StorageFault::Full))), "{result:?}");
    // Also if a closure continues after it.
    let result = engine.transaction(|tx| {
        tx.execute("UPDATE notes SET body = 'y'", &[])?;
        tx.execute(big, &[]).unwrap_err();
        tx.execute("UPDATE notes SET n = 1", &[])
    });
    let committed = result.is_ok();
    assert_eq!(
        all(&mut engine, "SELECT count(*) FROM notes WHERE n = 1"),
        [i32::from(committed).to_string()]
    );
    assert_eq!(mutations(&engine), 1 + usize::from(committed));
    limit(&engine, pages + 1000);
    engine.execute(big, &[]).unwrap();
    assert_eq!(mutations(&engine), 2 + usize::from(committed));
}

/// Set in a child process that runs without root, because root ignores permissions.
const READ_ONLY: &str = "REJOIN_TEST_READ_ONLY_FOLDER";

#[cfg(target_os = "linux")]
#[test]
fn unwritable_file_or_folder_is_read_only_and_unchanged() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    if let Some(path) = std::env::var_os(READ_ONLY) {
        return expect_read_only(Path::new(&path));
    }
    for folder_mode in [0o555, 0o777] {
        let folder = closed();
        let before = fs::read(file(&folder)).unwrap();
        let name = "unwritable_file_or_folder_is_read_only_and_unchanged";
        let mut child = std::process::Command::new("/proc/self/exe");
        child.args(["--exact", &format!("engine::tests::files::{name}")]);
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&file(&folder), 0o444);
        mode(folder.path(), 0o555);
        if fs::write(folder.path().join("probe"), "x").is_ok() {
            child.uid(65534).gid(65534);
        }
        mode(folder.path(), folder_mode);
        let output = child.env(READ_ONLY, folder.path()).output().unwrap();
        mode(folder.path(), 0o755);
        mode(&file(&folder), 0o644);
        let output_text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && output_text.contains("1 passed"), "{output_text}");
        assert!(before == fs::read(file(&folder)).unwrap());
        is_well(&folder);
    }
}

fn expect_read_only(folder: &Path) {
    let open = |name: &str| {
        let options = crate::engine::OpenOptions { path: folder.join(name), manifest: None };
        Engine::open(&options, std::sync::Arc::new(crate::host::TestHost::new(1)))
    };
    let result = open("app.db");
    assert!(matches!(result, Err(Error::Storage(StorageFault::ReadOnly(_)))), "{result:?}");
    if fs::write(folder.join("probe2"), "x").is_err() {
        assert!(matches!(open("new.db"), Err(Error::Storage(StorageFault::ReadOnly(_)))));
    }
}

#[test]
fn copy_during_writes_has_consistent_rows_and_queue() {
    let folder = closed();
    let mut engine = open(&folder, None).unwrap();
    engine.execute("UPDATE notes SET body = 'y'", &[]).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        fs::copy(
            folder.path().join(format!("app.db{suffix}")),
            copy.path().join(format!("app.db{suffix}")),
        )
        .unwrap();
    }
    let mut reopened = open(&copy, None).unwrap();
    assert_eq!(all(&mut reopened, "SELECT body FROM notes"), ["'y'"]);
    assert_eq!(queued(&reopened), queued(&engine));
}

#[cfg(target_os = "linux")]
#[test]
fn closed_engine_holds_no_file_lock() {
    use std::os::unix::fs::MetadataExt;
    let locked = |inodes: &[u64]| {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let inode = |line: &str| {
            line.split_whitespace().find_map(|word| {
                word.rsplit_once(':')?
                    .1
                    .parse::<u64>()
                    .ok()
                    .filter(|_| word.matches(':').count() == 2)
            })
        };
        locks.lines().filter_map(inode).filter(|inode| inodes.contains(inode)).count()
    };
    let folder = closed();
    let mut engine = open(&folder, None).unwrap();
    let mut reader = engine.open_reader().unwrap();
    reader.query("SELECT * FROM notes", &[], |_| Ok(())).unwrap();
    engine.execute("DELETE FROM notes", &[]).unwrap();
    checkpoint::checkpoint(&mut engine, CheckpointMode::Passive).unwrap();
    // The log's files are removed with the last connection, and their inodes are reused by other
    // tests.
    let inodes = [file(&folder), folder.path().join("app.db-rejoin-lock")]
        .map(|path| fs::metadata(path).unwrap().ino());
    // The kernel's list may skip a lock while others change.
    assert!((0..100).any(|_| locked(&inodes) > 0), "an open engine holds locks");
    drop(reader);
    engine.close().unwrap();
    assert_eq!(locked(&inodes), 0);
}

/// With a write-ahead log, NORMAL syncs the log before it is written back into the database: a
/// power cut loses the last commits at most, and never the file.
#[test]
fn every_connection_that_writes_syncs_the_log() {
    let (folder, mut engine) = notes();
    let of = |conn: &Connection| {
        let number = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let mode: String = conn.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        (number("synchronous").unwrap(), mode)
    };
    let expected = (1, "wal".to_owned());
    assert_eq!(of(engine.db.conn()), expected, "a new file");
    engine.execute("INSERT INTO notes (id) VALUES ('a')", &[]).unwrap();
    checkpoint::checkpoint(&mut engine, CheckpointMode::Passive).unwrap();
    assert_eq!(of(engine.db.maintenance.as_ref().unwrap()), expected, "the checkpoint connection");
    engine.execute_batch("PRAGMA synchronous = OFF").unwrap_err();
    engine.close().unwrap();
    let mut engine = open(&folder, None).unwrap();
    assert_eq!(of(engine.db.conn()), expected, "an existing file");
    checkpoint::set_durability(&mut engine, Durability::Full).unwrap();
    assert_eq!(of(engine.db.conn()).0, 2, "each commit is synced");
}

#[test]
fn commit_checkpoints_a_log_without_upkeep_at_its_cap() {
    let (folder, mut engine) = notes();
    let size = || fs::metadata(folder.path().join("app.db-wal")).map_or(0, |data| data.len());
    let write = |engine: &mut Engine, at: i64| {
        let sql = "INSERT OR REPLACE INTO notes (id, body) VALUES (?1, hex(randomblob(40000)))";
        engine.execute(sql, &[format!("k{}", at % 50).into()]).unwrap();
    };
    for at in 0..1200 {
        write(&mut engine, at);
    }
    assert!(size() < 80 << 20, "{}", size());
}

/// Other users of the machine cannot read a new file, nor what SQLite and the engine put beside it.
#[cfg(unix)]
#[test]
fn new_files_are_for_their_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id, body) VALUES ('a', 'x')", &[]).unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has {mode:o}", entry.file_name());
        names.push(entry.file_name());
    }
    assert!(names.len() >= 3, "{names:?}");
}
