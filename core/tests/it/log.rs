//! Tests of the write-ahead log's size.

use std::path::PathBuf;
use std::sync::mpsc;

use rejoin_core::{CheckpointMode, Error, block_on};

use crate::world::{World, next, within};

fn log_size(world: &World) -> u64 {
    let mut path = world.client.path().as_os_str().to_owned();
    path.push("-wal");
    PathBuf::from(path).metadata().map_or(0, |file| file.len())
}

#[test]
fn log_stays_bounded_under_writes_with_readers() {
    let limit = 256 << 10;
    let world = World::with(|config| config.wal_limit = limit);
    world.run("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)");
    let (mut largest, mut written) = (0, 0_u64);
    let mut reading = None;
    for n in 0..3_000_i64 {
        if n % 100 == 0 {
            // A reader that keeps its state for the next fifty writes.
            let (go, wait) = mpsc::channel::<()>();
            let (sender, receiver) = mpsc::channel();
            let read = world.client.read(move |snapshot| {
                let count = snapshot.query("SELECT count(*) FROM t", ())?;
                sender.send(()).unwrap();
                let _ = wait.recv();
                Ok(count.len())
            });
            next(&receiver);
            reading = Some((go, read));
        }
        if n % 100 == 50
            && let Some((go, read)) = reading.take()
        {
            drop(go);
            read.wait().unwrap();
        }
        let body = vec![7_u8; 4000];
        let write = world.client.execute("INSERT INTO t VALUES (?, ?)", (n, body));
        assert_eq!(write.wait().unwrap(), 1);
        written += 4000;
        largest = largest.max(log_size(&world));
    }
    assert!(written > 10_000_000);
    // The limit, the reader's fifty writes, and the higher limit while writes are queued.
    assert!(largest < 8 * limit, "{largest} bytes of log for {written} written");
    assert!(largest > limit, "the log never reached the limit, so the test proves nothing");
}

/// SQLite cannot reuse the log while a read needs it: without the limit it grew to 280 MB in 12 s.
#[test]
fn long_read_is_ended_before_the_log_grows_without_bound() {
    let limit = 64 << 10;
    let world = World::with(|config| config.wal_limit = limit);
    world.run("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)");
    let (sender, began) = mpsc::channel();
    let closure = world.client.read(move |snapshot| {
        loop {
            snapshot.query("SELECT count(*) FROM t", ())?;
            let _ = sender.send(());
        }
        #[allow(unreachable_code)]
        Ok(())
    });
    next(&began);
    let held = block_on(world.client.begin_read()).unwrap();
    let mut largest = 0;
    for n in 0..1_500_i64 {
        world.client.execute("INSERT INTO t VALUES (?, ?)", (n, vec![7_u8; 4000])).wait().unwrap();
        largest = largest.max(log_size(&world));
        // A snapshot in use; an idle one ends by `transaction_idle`.
        let _ = block_on(held.query("SELECT 1", ()));
    }
    // All writes are 95 limits. A read that must end at 16 may continue until its thread runs.
    assert!(largest < 48 * limit, "{largest} bytes of log");
    assert!(matches!(closure.wait(), Err(Error::TransactionTimeout)));
    let ended = block_on(held.query("SELECT 1", ()));
    assert!(matches!(ended, Err(Error::TransactionTimeout)), "{ended:?}");
    let count = world.client.query("SELECT count(*) FROM t", ());
    assert!(count.wait().is_ok(), "a new read failed");
}

#[test]
fn checkpoint_in_each_mode_reports_its_result() {
    let world = World::with_notes();
    for mode in [
        CheckpointMode::Passive,
        CheckpointMode::Full,
        CheckpointMode::Restart,
        CheckpointMode::Truncate,
    ] {
        world.run("INSERT INTO note (id) VALUES (random())");
        let done = world.client.storage().checkpoint(mode).wait().unwrap();
        assert!(!done.busy, "{mode:?}");
        assert_eq!(done.moved, done.pages, "{mode:?}");
        assert_eq!(done.pages == 0, mode == CheckpointMode::Truncate, "{mode:?}: {done:?}");
    }
    assert_eq!(log_size(&world), 0);
}

#[test]
fn checkpoint_with_a_reader_reports_busy_without_waiting() {
    let world = World::with_notes();
    let (go, wait) = mpsc::channel::<()>();
    let (sender, receiver) = mpsc::channel();
    let read = world.client.read(move |snapshot| {
        snapshot.query("SELECT * FROM note", ())?;
        sender.send(()).unwrap();
        let _ = wait.recv();
        Ok(())
    });
    next(&receiver);
    world.run("INSERT INTO note (id) VALUES ('a')");
    let done = world.client.storage().checkpoint(CheckpointMode::Truncate).wait().unwrap();
    assert!(done.busy);
    drop(go);
    within(read).unwrap();
    assert!(!world.client.storage().checkpoint(CheckpointMode::Truncate).wait().unwrap().busy);
}

/// The log keeps its size until the next write starts it again; that ends no read.
#[test]
fn reads_after_one_large_transaction_are_not_ended() {
    let limit = 64 << 10;
    let world = World::with(|config| config.wal_limit = limit);
    world.run("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)");
    world.run(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO t SELECT i, randomblob(4000) FROM n",
    );
    assert!(log_size(&world) > 32 * limit, "the log is too small, so the test proves nothing");
    for _ in 0..50 {
        let held = block_on(world.client.begin_read()).unwrap();
        block_on(held.query("SELECT count(*) FROM t", ())).unwrap();
        // A task of the writer that writes nothing.
        world.client.storage().diagnose().wait().unwrap();
        block_on(held.query("SELECT count(*) FROM t", ())).unwrap();
    }
}
