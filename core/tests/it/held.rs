//! Tests of interactive transactions and snapshots.

use std::sync::Arc;
use std::time::Duration;

use rejoin_core::host::TestHost;
use rejoin_core::{
    Client, Config, Error, HeldTransaction, InputFault, MutationState, Services, Value,
};

use crate::world::{World, number, shown, within};

/// Longer than an interactive transaction may be idle.
const TOO_LONG: Duration = Duration::from_secs(6);

const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
    "push_policy": "owner_only", "updated_at_column": "updated_at", "deleted_at_column": "", "primary_key": ["id"],
    "columns": [
      {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
      {"name": "title", "db_type": "text", "logical_type": "string"},
      {"name": "updated_at", "db_type": "text", "logical_type": "datetime", "nullable": true}]}]}"#;

const COUNT: &str = "SELECT count(*) FROM note";

/// A client with a manual clock.
fn timed() -> (World, Arc<TestHost>) {
    let folder = tempfile::tempdir().unwrap();
    let host = Arc::new(TestHost::new(1));
    let config =
        Config::new(folder.path().join("app.db")).schema(serde_json::from_str(SCHEMA).unwrap());
    let services = Services { host: Some(host.clone()), ..Services::default() };
    let client = Client::open_with(config, services).wait().unwrap();
    let world = World { client, folder };
    world.run("CREATE TABLE note (id TEXT PRIMARY KEY, n INTEGER, body TEXT)");
    (world, host)
}

fn begin(world: &World) -> HeldTransaction {
    within(world.client.begin()).unwrap()
}

fn add(tx: &HeldTransaction, id: &str) {
    assert_eq!(within(tx.execute("INSERT INTO note (id) VALUES (?)", (id,))).unwrap(), 1);
}

fn is_over(error: &Error, why: &str) -> bool {
    matches!(error, Error::InvalidInput(InputFault::Refused { reason: message, .. }) if message.contains(why))
}

#[test]
fn requested_commit_completes_after_the_handle_is_dropped() {
    let (world, _) = timed();
    let tx = begin(&world);
    drop(tx.execute("INSERT INTO note (id) VALUES ('a')", ()));
    drop(tx.commit());
    drop(tx);
    world.run("INSERT INTO note (id) VALUES ('b')");
    assert_eq!(world.number(COUNT), 2);
}

#[test]
fn idle_handles_time_out_on_the_system_clock() {
    let world = World::with(|config| config.transaction_idle = Duration::from_millis(100));
    world.run("CREATE TABLE note (id TEXT PRIMARY KEY)");
    let tx = begin(&world);
    add(&tx, "a");
    world.run("INSERT INTO note VALUES ('b')");
    assert!(matches!(within(tx.commit()), Err(Error::TransactionTimeout)));
    let other = World::with(|config| {
        config.transaction_idle = Duration::from_millis(100);
        config.readers = 1;
    });
    let taken = within(other.client.begin_read()).unwrap();
    assert_eq!(other.number("SELECT 1"), 1, "the only reader is still in use");
    assert!(matches!(within(taken.query("SELECT 1", ())), Err(Error::TransactionTimeout)));
}

#[test]
fn commit_with_an_open_savepoint_rolls_everything_back() {
    let (world, _) = timed();
    for ended in [true, false] {
        let tx = begin(&world);
        within(tx.execute("INSERT INTO task (id, title) VALUES ('t', 't')", ())).unwrap();
        let outer = within(tx.savepoint()).unwrap();
        add(&tx, "a part of it");
        let inner = within(tx.savepoint()).unwrap();
        let open = if ended {
            within(tx.release(inner)).unwrap();
            format!("savepoint {outer};")
        } else {
            format!("savepoint {outer}, {inner};")
        };
        for error in [
            within(tx.commit()).unwrap_err(),
            within(tx.release(inner)).unwrap_err(),
            within(tx.execute("SELECT 1", ())).unwrap_err(),
            within(tx.commit()).unwrap_err(),
        ] {
            let message = error.to_string();
            assert!(
                is_over(&error, "rolled back: a part was not ended at the commit"),
                "{message}"
            );
            assert!(message.contains(&open), "{message}");
        }
        assert_eq!(world.number("SELECT (SELECT count(*) FROM task) + count(*) FROM note"), 0);
        assert!(within(world.client.queue().all()).unwrap().is_empty());
    }
}

#[test]
fn only_the_innermost_savepoint_can_be_ended() {
    let (world, _) = timed();
    let tx = begin(&world);
    let refused = |number: i64, why: &str| {
        for error in [within(tx.release(number)), within(tx.rollback_to(number))] {
            let error = error.unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, Error::InvalidInput(InputFault::Refused { .. })), "{text}");
            assert!(text.contains(&format!("ending savepoint {number}: {why}")), "{text}");
        }
    };
    refused(0, "none is open");
    let outer = within(tx.savepoint()).unwrap();
    add(&tx, "kept");
    let inner = within(tx.savepoint()).unwrap();
    add(&tx, "undone");
    for wrong in [outer, inner + 1, -1] {
        refused(wrong, &format!("savepoint {inner} is the innermost"));
    }
    within(tx.rollback_to(inner)).unwrap();
    refused(inner, &format!("savepoint {outer} is the innermost"));
    within(tx.release(outer)).unwrap();
    let later = within(tx.savepoint()).unwrap();
    assert!(outer < inner && inner < later, "a savepoint number was reused");
    within(tx.release(later)).unwrap();
    within(tx.commit()).unwrap();
    assert_eq!(world.number(COUNT), 1);
    // A rollback or a dropped handle needs no ended savepoints.
    for rolls_back in [true, false] {
        let tx = begin(&world);
        within(tx.savepoint()).unwrap();
        if rolls_back {
            within(tx.rollback()).unwrap();
        }
    }
    assert_eq!(world.run("INSERT INTO note (id) VALUES ('b')"), 1, "the writer is still in use");
}

#[test]
fn transaction_is_one_mutation_without_rolled_back_writes() {
    let (world, _) = timed();
    let tx = begin(&world);
    let put = |id: &str| within(tx.execute("INSERT INTO task (id, title) VALUES (?, 't')", (id,)));
    put("a").unwrap();
    let part = within(tx.savepoint()).unwrap();
    put("b").unwrap();
    within(tx.rollback_to(part)).unwrap();
    assert!(put("a").is_err(), "the duplicate key was accepted");
    put("c").unwrap();
    let found = within(tx.query_one("SELECT title FROM task WHERE id = ?", ("c",))).unwrap();
    assert_eq!(found.unwrap().get::<String>(0).unwrap(), "t");
    within(tx.commit()).unwrap();
    let pending = within(world.client.queue().all()).unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].state, MutationState::Pending);
    let keys: Vec<_> = pending[0].rows.iter().map(|row| row.key.clone()).collect();
    assert_eq!(keys, [Value::from("a"), Value::from("c")]);
}

#[test]
fn partial_statement_ends_the_transaction() {
    let (world, _) = timed();
    world.run("INSERT INTO task (id, title) VALUES ('there', 't')");
    let tx = begin(&world);
    add(&tx, "a");
    let partial = "INSERT OR FAIL INTO task (id, title) VALUES ('new', 't'), ('there', 't')";
    assert!(matches!(
        within(tx.execute(partial, ())),
        Err(Error::InvalidInput(InputFault::PartialStatement(_)))
    ));
    assert_eq!(world.run("INSERT INTO note (id) VALUES ('b')"), 1, "the writer is still in use");
    assert!(matches!(
        within(tx.commit()),
        Err(Error::InvalidInput(InputFault::PartialStatement(_)))
    ));
    assert_eq!(world.number("SELECT count(*) FROM task"), 1);
    assert_eq!(world.number(COUNT), 1);
}

#[test]
fn failed_commit_returns_its_error_and_writes_nothing() {
    let (world, _) = timed();
    world.run("CREATE TABLE page (note TEXT REFERENCES note (id) DEFERRABLE INITIALLY DEFERRED)");
    let tx = begin(&world);
    add(&tx, "a");
    within(tx.execute("INSERT INTO page VALUES ('no such note')", ())).unwrap();
    let error = within(tx.commit()).unwrap_err();
    assert!(error.to_string().contains("FOREIGN KEY"), "{error}");
    let error = within(tx.commit()).unwrap_err();
    assert!(is_over(&error, "it failed and was rolled back: "), "{error}");
    assert_eq!(world.number(COUNT), 0);
    assert_eq!(world.run("INSERT INTO note (id) VALUES ('b')"), 1);
}

#[test]
fn failed_batch_in_a_transaction_is_rolled_back_alone() {
    let (world, _) = timed();
    let put =
        |id: &str| ("INSERT INTO task (id, title) VALUES (?, 't')".to_owned(), vec![id.into()]);
    let tx = begin(&world);
    assert_eq!(within(tx.batch(vec![put("a"), put("b")])).unwrap(), [1, 1]);
    match within(tx.batch(vec![put("c"), put("d"), put("a")])) {
        Err(Error::Batch { index: 2, error }) => {
            assert!(matches!(*error, Error::Constraint { .. }));
        }
        other => panic!("{other:?}"),
    }
    within(tx.commit()).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM task"), 2);
    let pending = within(world.client.queue().all()).unwrap();
    assert_eq!((pending.len(), pending[0].rows.len()), (1, 2));
}

#[test]
fn batch_is_one_mutation_and_names_the_failed_statement() {
    let (world, _) = timed();
    let put =
        |id: &str| ("INSERT INTO task (id, title) VALUES (?, 't')".to_owned(), vec![id.into()]);
    let rename = ("UPDATE task SET title = 'x'".to_owned(), Vec::new());
    let done = within(world.client.batch(vec![put("a"), put("b"), rename])).unwrap();
    assert_eq!(done, [1, 1, 2]);
    assert_eq!(within(world.client.queue().all()).unwrap().len(), 1);
    let wrong = within(world.client.batch(vec![put("c"), ("nonsense".to_owned(), Vec::new())]));
    match wrong {
        Err(Error::Batch { index: 1, error }) => {
            assert!(matches!(*error, Error::InvalidInput(InputFault::Sql(_))));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(within(world.client.queue().all()).unwrap().len(), 1);
    let queries = vec![
        ("SELECT id FROM task ORDER BY id".to_owned(), Vec::new()),
        ("SELECT title FROM task WHERE id = ?".to_owned(), vec!["a".into()]),
    ];
    let rows = within(world.client.query_many(queries)).unwrap();
    assert_eq!((rows[0].len(), rows[1].row(0).unwrap().get::<&str>(0).unwrap()), (2, "x"));
    let wrong = within(world.client.query_many(vec![("DELETE FROM task".to_owned(), Vec::new())]));
    assert!(matches!(wrong, Err(Error::Batch { index: 0, .. })));
}

#[test]
fn suspend_ends_interactive_transaction_and_snapshot() {
    let (world, _) = timed();
    let tx = begin(&world);
    add(&tx, "a");
    let snapshot = within(world.client.begin_read()).unwrap();
    let waiting = world.client.begin();
    let write = world.client.execute("INSERT INTO note (id) VALUES ('b')", ());
    within(world.client.sync().suspend()).unwrap();
    assert!(matches!(within(tx.commit()), Err(Error::Suspended)));
    assert!(matches!(within(snapshot.query(COUNT, ())), Err(Error::Suspended)));
    assert!(matches!(within(snapshot.finish()), Err(Error::Suspended)));
    assert!(matches!(within(waiting), Err(Error::Suspended)));
    assert!(matches!(within(write), Err(Error::Suspended)));
    assert!(matches!(within(world.client.begin()), Err(Error::Suspended)));
    assert!(matches!(within(world.client.begin_read()), Err(Error::Suspended)));
    within(world.client.sync().resume()).unwrap();
    assert!(
        matches!(within(tx.execute("SELECT 1", ())), Err(Error::Suspended)),
        "the transaction continued after resume"
    );
    assert_eq!(world.number(COUNT), 0);
    let tx = begin(&world);
    add(&tx, "c");
    within(tx.commit()).unwrap();
}

#[test]
fn shutdown_ends_handles_after_queued_commands() {
    let (world, _) = timed();
    let tx = begin(&world);
    add(&tx, "a");
    let snapshot = within(world.client.begin_read()).unwrap();
    let waiting = world.client.begin();
    let write = world.client.execute("INSERT INTO note (id) VALUES ('b')", ());
    within(world.client.shutdown()).unwrap();
    assert!(matches!(within(tx.commit()), Err(Error::Closed)));
    assert!(matches!(within(snapshot.query(COUNT, ())), Err(Error::Closed)));
    assert!(matches!(within(waiting), Err(Error::Closed)));
    assert_eq!(within(write).unwrap(), 1, "an earlier write was not completed");
    assert!(matches!(within(world.client.begin()), Err(Error::Closed)));
    assert!(matches!(within(world.client.begin_read()), Err(Error::Closed)));

    let again = Client::open(Config::new(world.folder.path().join("app.db"))).wait().unwrap();
    assert_eq!(number(&again, COUNT), 1);
    let tx = within(again.begin()).unwrap();
    add(&tx, "c");
    let commit = tx.commit();
    within(again.shutdown()).unwrap();
    within(commit).unwrap();
    let again = Client::open(Config::new(world.folder.path().join("app.db"))).wait().unwrap();
    assert_eq!(number(&again, COUNT), 2);
}

#[test]
fn drop_of_the_last_client_ends_open_handles() {
    let (world, _) = timed();
    let tx = begin(&world);
    let path = world.folder.path().join("app.db");
    let World { client, folder: _folder } = world;
    drop(client);
    let again = Client::open(Config::new(path)).wait().unwrap();
    assert!(matches!(within(tx.commit()), Err(Error::Closed)));
    drop(again);
}

#[test]
fn begin_inside_a_closure_is_reentrant() {
    let (world, _) = timed();
    let client = world.client.clone();
    let inner = world.client.transaction(move |_| client.begin().wait().map(drop)).wait();
    assert!(matches!(inner, Err(Error::InvalidInput(InputFault::Reentrant))));
    let client = world.client.clone();
    let inner = world.client.read(move |_| client.begin_read().wait().map(drop)).wait();
    assert!(matches!(inner, Err(Error::InvalidInput(InputFault::Reentrant))));
}

#[test]
fn watch_is_updated_by_the_commit_only() {
    let (world, _) = timed();
    let mut watch = within(world.client.watch("SELECT id FROM note", (), &["id"])).unwrap();
    assert!(shown(&mut watch).rows.is_empty());
    let tx = begin(&world);
    add(&tx, "a");
    add(&tx, "b");
    within(tx.commit()).unwrap();
    assert_eq!(shown(&mut watch).difference.unwrap().added, [0, 1]);
}

#[test]
fn snapshot_shows_one_state_until_it_ends() {
    let (world, host) = timed();
    let snapshot = within(world.client.begin_read()).unwrap();
    world.run("INSERT INTO note (id) VALUES ('a')");
    let read = |sql| within(snapshot.query_one(sql, ())).unwrap().unwrap().get::<i64>(0).unwrap();
    assert_eq!(read(COUNT), 0);
    assert!(matches!(
        within(snapshot.query("nonsense", ())),
        Err(Error::InvalidInput(InputFault::Sql(_)))
    ));
    assert!(matches!(
        within(snapshot.query("DELETE FROM note", ())),
        Err(Error::InvalidInput(InputFault::Refused { .. }))
    ));
    world.run("INSERT INTO note (id) VALUES ('b')");
    assert_eq!((read(COUNT), world.number(COUNT)), (0, 2));
    within(snapshot.finish()).unwrap();
    assert!(is_over(&within(snapshot.query(COUNT, ())).unwrap_err(), "was finished before"));

    let snapshot = within(world.client.begin_read()).unwrap();
    host.advance(TOO_LONG);
    assert!(matches!(within(snapshot.finish()), Err(Error::TransactionTimeout)));
}

#[test]
fn snapshot_uses_one_reader_until_it_ends() {
    let world = World::with(|config| config.readers = 2);
    let first = within(world.client.begin_read()).unwrap();
    let second = within(world.client.begin_read()).unwrap();
    let third = world.client.begin_read();
    let query = world.client.query("SELECT 1", ());
    drop(second);
    let third = within(third).unwrap();
    drop(first);
    assert_eq!(within(query).unwrap().len(), 1);
    within(third.finish()).unwrap();
}
