//! Tests of a file that is opened for reading while a client writes it.
//!
//! The client is in the same process here; `examples/cli` tests another process.

use rejoin_core::{Client, Error, InputFault, Inspection, ReadOnlyClient, StorageFault};
use tempfile::TempDir;

use crate::world::{World, within};

const STATE: &str = "SELECT rejoin_row_state('task', id) FROM task";

fn opened(world: &World) -> ReadOnlyClient {
    Client::open_read_only(world.client.path()).wait().unwrap()
}

/// A client with one synced table.
fn synced() -> World {
    let manifest = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
        "push_policy": "owner_only", "updated_at_column": "updated_at", "deleted_at_column": "",
        "primary_key": ["id"], "columns": [
        {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
        {"name": "updated_at", "db_type": "text", "logical_type": "datetime", "nullable": true}]}]}"#;
    World::with(|config| config.schema = Some(serde_json::from_str(manifest).unwrap()))
}

#[test]
fn rows_and_their_states_are_those_of_the_last_commit() {
    let world = synced();
    let reader = opened(&world);
    let state = || {
        let rows = reader.query(STATE, ()).wait().unwrap();
        rows.row(0).map(|row| row.get::<String>(0).unwrap())
    };
    assert_eq!(state(), None);
    world.run("INSERT INTO task (id) VALUES ('a')");
    assert_eq!(state().as_deref(), Some("pending"));
    let pending = world.client.queue().all().wait().unwrap();
    world.client.queue().discard(pending[0].id).wait().unwrap();
    assert_eq!(state(), None);
}

#[test]
fn watch_delivers_commits_of_the_writer_only_if_its_rows_changed() {
    let world = World::with_notes();
    world.run("CREATE TABLE other (id TEXT PRIMARY KEY)");
    let reader = opened(&world);
    let mut watch = within(reader.watch("SELECT id FROM note", (), &["id"])).unwrap();
    assert!(within(watch.next()).unwrap().unwrap().rows.is_empty());
    world.run("INSERT INTO other VALUES ('x')");
    world.run("INSERT INTO note (id) VALUES ('a')");
    let update = within(watch.next()).unwrap().unwrap();
    assert_eq!((update.rows.len(), update.difference.unwrap().added), (1, vec![0]));
    world.run("DROP TABLE note");
    assert!(within(watch.next()).unwrap().is_err(), "the table has gone");
    world.run("CREATE TABLE note (id TEXT PRIMARY KEY)");
    assert!(within(watch.next()).unwrap().unwrap().rows.is_empty());
}

#[test]
fn queries_in_read_see_one_state() {
    let world = World::with_notes();
    let client = world.client.clone();
    let all = "SELECT * FROM note";
    let counts = opened(&world).read(move |snapshot| {
        let before = snapshot.query(all, ())?.len();
        client.execute("INSERT INTO note (id) VALUES ('a')", ()).wait()?;
        Ok((before, snapshot.query(all, ())?.len()))
    });
    assert_eq!(counts.wait().unwrap(), (0, 0));
}

#[test]
fn writing_statement_is_refused() {
    let world = World::with_notes();
    let reader = opened(&world);
    let refused = reader.query("DELETE FROM note RETURNING id", ()).wait();
    assert!(matches!(refused, Err(Error::InvalidInput(InputFault::Refused { .. }))), "{refused:?}");
}

#[test]
fn file_that_no_app_has_created_is_an_error_that_names_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("missing.db");
    let error = Client::open_read_only(&path).wait().unwrap_err();
    assert!(
        matches!(&error, Error::Storage(StorageFault::Io(text)) if text.contains("missing.db")),
        "{error}"
    );
    assert!(!path.exists(), "a reader creates nothing");
    std::fs::write(&path, "no database, but a text that is longer than a hundred bytes; SQLite looks at the first page of a file").unwrap();
    let error = Client::open_read_only(&path).wait().unwrap_err();
    assert!(matches!(error, Error::Storage(StorageFault::Corrupt(_))), "{error}");
}

#[test]
fn shutdown_ends_watches_and_later_calls() {
    let world = World::with_notes();
    let reader = opened(&world);
    let mut watch = within(reader.watch("SELECT id FROM note", (), &[])).unwrap();
    within(watch.next()).unwrap().unwrap();
    reader.shutdown().wait().unwrap();
    assert!(within(watch.next()).is_none());
    let error = reader.query("SELECT 1", ()).wait().unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
    reader.shutdown().wait().unwrap();
    world.run("INSERT INTO note (id) VALUES ('a')");
}

#[test]
fn file_that_the_writer_has_closed_stays_readable() {
    let world = World::with_notes();
    world.run("INSERT INTO note (id) VALUES ('a')");
    let path = world.client.path().to_owned();
    world.client.shutdown().wait().unwrap();
    let reader = Client::open_read_only(path).wait().unwrap();
    assert_eq!(reader.query("SELECT id FROM note", ()).wait().unwrap().len(), 1);
}

/// iOS kills an app extension that is suspended with a lock on a file, also one whose reader is
/// shut down but not yet released.
#[cfg(target_os = "linux")]
#[test]
fn shutdown_closes_every_connection_of_a_reader_that_is_still_referenced() {
    let world = World::with_notes();
    let path = world.client.path().canonicalize().unwrap();
    world.client.shutdown().wait().unwrap();
    let reader = Client::open_read_only(&path).wait().unwrap();
    reader.query("SELECT id FROM note", ()).wait().unwrap();
    let open = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        all.filter(|one| std::fs::read_link(one.path()).is_ok_and(|file| file == path)).count()
    };
    assert!(open() > 0);
    reader.shutdown().wait().unwrap();
    assert_eq!(open(), 0);
}

/// POSIX locks belong to the process: closing any other descriptor of a file releases them. Another
/// program could then remove the log of a file that is in use.
#[cfg(target_os = "linux")]
#[test]
fn reading_in_the_process_of_the_writer_keeps_its_locks() {
    use crate::world::locks;

    let world = World::with_notes();
    let path = world.client.path();
    let before = locks(path);
    assert!(!before.is_empty());
    Inspection::of(path).unwrap();
    assert_eq!(locks(path), before, "after an inspection");
    opened(&world).shutdown().wait().unwrap();
    assert_eq!(locks(path), before, "after a reader");
}
