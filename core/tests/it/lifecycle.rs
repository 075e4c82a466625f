//! Opening, sharing, suspending, ending.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rejoin_core::{Client, Config, Error, Services, SyncState, TokenError, TokenProvider, runtime};

use crate::world::{World, next, number, shown, within};

#[test]
fn a_file_opened_twice_is_one_client() {
    let world = World::with_notes();
    let path = world.folder.path().join("app.db");
    let other = Client::open(Config::new(&path)).wait().unwrap();
    let linked = world.folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &linked).unwrap();
    let through_link = Client::open(Config::new(&linked)).wait().unwrap();
    let hard = world.folder.path().join("hard.db");
    std::fs::hard_link(&path, &hard).unwrap();
    let through_inode = Client::open(Config::new(&hard)).wait().unwrap();

    world.run("INSERT INTO note (id) VALUES ('a')");
    for client in [&other, &through_link, &through_inode] {
        assert_eq!(number(client, "SELECT count(*) FROM note"), 1);
        assert_eq!(client.path(), world.client.path());
    }
    world.client.shutdown().wait().unwrap();
    assert!(matches!(other.query("SELECT 1", ()).wait(), Err(Error::Shutdown)), "they end as one");
}

#[test]
fn the_second_open_must_have_the_same_configuration() {
    let world = World::new();
    let config =
        Config { device_name: "other".into(), page_size: 500, ..world.client.config().clone() };
    match Client::open(config).wait() {
        Err(Error::Config(problems)) => assert_eq!(
            problems,
            [
                "device_name: the file is open already, with another value",
                "page_size: the file is open already, with another value"
            ]
        ),
        other => panic!("{other:?}"),
    }
}

/// A widget opens the file first, without credentials; whoever brings them then must hear that they are not asked for.
#[test]
fn a_token_provider_that_comes_too_late_is_told_so() {
    #[derive(Debug)]
    struct Nobody;
    impl TokenProvider for Nobody {
        fn token(&self, _: bool) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
            std::future::ready(Ok(None)).boxed()
        }
    }
    let world = World::new();
    let services = Services { tokens: Some(Arc::new(Nobody)), ..Services::default() };
    match Client::open_with(world.client.config().clone(), services.clone()).wait() {
        Err(Error::Config(problems)) => assert_eq!(
            problems,
            ["tokens: the file is open already, without; shut that client down first"]
        ),
        other => panic!("{other:?}"),
    }
    let config = world.client.config().clone();
    world.client.shutdown().wait().unwrap();
    let first = Client::open_with(config.clone(), services.clone()).wait().unwrap();
    let second = Client::open_with(config.clone(), services).wait();
    assert!(second.is_ok(), "one that was there from the start is no problem");
    assert!(Client::open(config).wait().is_ok(), "nor is coming without one");
    drop(first);
}

#[test]
fn a_file_that_could_not_be_opened_can_be_opened_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    std::fs::write(&path, vec![7; 4096]).unwrap();
    let failed = within(Client::open(Config::new(&path)));
    assert!(matches!(failed, Err(Error::Corrupt(_))), "{failed:?}");
    std::fs::remove_file(&path).unwrap();
    assert!(within(Client::open(Config::new(&path))).is_ok());
}

/// What `ask` gives, from a thread of its own: a story that waits in vain fails instead of hanging.
fn aside<T: Send + 'static>(client: &Client, ask: impl FnOnce(&Client) -> T + Send + 'static) -> T {
    let (client, (tell, told)) = (client.clone(), mpsc::channel());
    runtime::thread("aside", move || drop(tell.send(ask(&client)))).unwrap();
    next(&told)
}

/// A transaction that computes for long holds up the suspending, and nobody who asks something meanwhile.
#[test]
fn whoever_asks_a_client_that_is_suspending_is_answered_at_once() {
    let world = World::with(|config| config.server_url = Some("http://127.0.0.1:9".into()));
    let (tell, told) = mpsc::channel();
    let _statuses = world.client.on_status(move |status| drop(tell.send(status.state)));
    let reach = |wanted: fn(&SyncState) -> bool| while !wanted(&next(&told)) {};
    world.client.start().unwrap();
    reach(|state| matches!(state, SyncState::Offline { .. }));
    let (tell, begun) = mpsc::channel();
    let (open_gate, gate) = mpsc::channel();
    let computing = world.client.transaction(move |_| {
        tell.send(()).unwrap();
        next(&gate);
        Ok(())
    });
    next(&begun);
    let suspending = world.client.suspend();
    reach(|state| matches!(state, SyncState::Suspended));

    assert!(matches!(aside(&world.client, Client::start), Err(Error::Suspended)));
    assert!(matches!(aside(&world.client, Client::sync_now), Err(Error::Suspended)));
    let report = aside(&world.client, |client| client.sync_and_wait(None));
    assert!(matches!(within(report), Err(Error::Suspended)));
    let shared = within(Client::open(world.client.config().clone())).unwrap();
    assert_eq!(shared.path(), world.client.path());
    let other = Config::new(world.folder.path().join("other.db"));
    assert!(within(Client::open(other)).is_ok());

    open_gate.send(()).unwrap();
    within(suspending).unwrap();
    assert!(within(computing).is_err(), "it was ended, late");
    within(world.client.resume()).unwrap();
    world.client.start().unwrap();
}

#[test]
fn opening_one_file_does_not_wait_for_the_end_of_another() {
    let world = World::with_notes();
    let (tell, begun) = mpsc::channel();
    let (open_gate, gate) = mpsc::channel();
    let computing = world.client.transaction(move |tx| {
        tell.send(()).unwrap();
        next(&gate);
        tx.execute("INSERT INTO note (id) VALUES ('a')", ())
    });
    next(&begun);
    let ending = world.client.shutdown();
    while !matches!(aside(&world.client, Client::start), Err(Error::Shutdown)) {
        std::thread::yield_now(); // The shutdown has not begun.
    }
    let again = Client::open(world.client.config().clone());
    let other = Config::new(world.folder.path().join("other.db"));
    assert!(within(Client::open(other)).is_ok());

    open_gate.send(()).unwrap();
    assert_eq!(within(computing).unwrap(), 1);
    within(ending).unwrap();
    let again = within(again).unwrap();
    assert_eq!(number(&again, "SELECT count(*) FROM note"), 1, "opened when it was closed");
}

#[test]
fn what_was_written_is_there_after_the_last_client_went() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    for round in 0..10 {
        // The file is reopened while it may still be closing in the background.
        let client = Client::open(Config::new(&path)).wait().unwrap();
        client.execute("CREATE TABLE IF NOT EXISTS t (a)", ()).wait().unwrap();
        assert_eq!(number(&client, "SELECT count(*) FROM t"), round);
        drop(client.execute("INSERT INTO t VALUES (1)", ()));
        drop(client);
    }
}

#[test]
fn a_wrong_configuration_or_a_missing_folder_is_an_error() {
    let config = Config { page_size: 1, readers: 99, ..Config::new("") };
    match Client::open(config).wait() {
        Err(Error::Config(problems)) => assert_eq!(problems.len(), 3, "{problems:?}"),
        other => panic!("{other:?}"),
    }
    let missing = Client::open(Config::new("/nowhere/at/all/app.db")).wait();
    assert!(matches!(missing, Err(Error::Io(_))), "{missing:?}");
}

#[test]
fn a_shutdown_from_a_callback_ends_the_client() {
    let world = World::with_notes();
    let (tell, told) = mpsc::channel();
    let client = world.client.clone();
    let _subscription = world.client.on_change(&[], move |_| {
        tell.send(client.shutdown().wait()).unwrap();
    });
    world.run("INSERT INTO note (id) VALUES ('a')");
    next(&told).unwrap();
    assert!(matches!(world.client.execute("DELETE FROM note", ()).wait(), Err(Error::Shutdown)));
    assert!(matches!(world.client.query("SELECT 1", ()).wait(), Err(Error::Shutdown)));
    let watch = within(world.client.watch("SELECT 1", (), &[]));
    assert!(matches!(watch, Err(Error::Shutdown)));
    world.client.shutdown().wait().unwrap();
}

#[test]
fn a_shutdown_lets_go_of_callbacks_and_later_ones_are_not_kept() {
    let world = World::with_notes();
    let (held, told) = mpsc::channel::<()>();
    let (of_changes, of_status) = (held.clone(), held.clone());
    let changes = world.client.on_change(&[], move |_| drop(of_changes.clone()));
    let status = world.client.on_status(move |_| drop(of_status.clone()));
    world.client.shutdown().wait().unwrap();
    let (of_changes, of_status) = (held.clone(), held);
    let later = world.client.on_change(&[], move |_| drop(of_changes.clone()));
    let latest = world.client.on_status(move |_| drop(of_status.clone()));
    // Nobody holds a sender any more, although every subscription lives.
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Err(RecvTimeoutError::Disconnected));
    drop((changes, status, later, latest));
}

#[test]
fn the_last_client_may_be_dropped_in_a_callback() {
    let world = World::with_notes();
    let (tell, told) = mpsc::channel();
    let (give, taken) = mpsc::channel::<Client>();
    let subscription = world.client.on_change(&[], move |_| {
        drop(next(&taken));
        tell.send(()).unwrap();
    });
    world.run("INSERT INTO note (id) VALUES ('a')");
    let path = world.client.path().to_owned();
    give.send(world.client).unwrap();
    next(&told);
    drop(subscription);
    let again = Client::open(Config::new(path)).wait().unwrap();
    assert_eq!(number(&again, "SELECT count(*) FROM note"), 1);
}

/// The locks that this process holds on the file and what stands beside it, by inode, as the kernel lists them.
#[cfg(target_os = "linux")]
fn locks(path: &std::path::Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let folder = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let inodes: Vec<String> =
        folder.map(|file| format!(":{} ", file.unwrap().metadata().unwrap().ino())).collect();
    let listed = std::fs::read_to_string("/proc/locks").unwrap();
    listed
        .lines()
        .filter(|line| inodes.iter().any(|inode| line.contains(inode.as_str())))
        .map(str::to_owned)
        .collect()
}

#[cfg(target_os = "linux")]
#[test]
fn suspended_means_no_lock_and_resumed_means_all_as_before() {
    let world = World::with_notes();
    let path = world.client.path().to_owned();
    let mut watch = within(world.client.watch("SELECT id FROM note", (), &[])).unwrap();
    assert!(shown(&mut watch).rows.is_empty());
    assert!(!locks(&path).is_empty(), "an open file is locked, or this test shows nothing");

    world.client.suspend().wait().unwrap();
    assert_eq!(locks(&path), [""; 0]);
    assert!(matches!(world.client.execute("DELETE FROM note", ()).wait(), Err(Error::Suspended)));
    assert!(matches!(world.client.query("SELECT 1", ()).wait(), Err(Error::Suspended)));
    let second = world.client.watch("SELECT count(*) FROM note", (), &[]);

    world.client.resume().wait().unwrap();
    world.client.resume().wait().unwrap();
    let mut second = within(second).unwrap();
    assert_eq!(shown(&mut second).rows.len(), 1, "what was begun meanwhile begins now");
    world.run("INSERT INTO note (id) VALUES ('a')");
    assert_eq!(shown(&mut watch).rows.len(), 1, "the watch goes on");
}

#[test]
fn suspending_ends_what_runs_and_rolls_it_back() {
    let world = World::with_notes();
    let (begun, told) = mpsc::channel();
    let tell = begun.clone();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) ";
    let writing = world.client.transaction(move |tx| {
        tx.execute("INSERT INTO note (id) VALUES ('a')", ())?;
        tell.send(()).unwrap();
        tx.execute(&format!("{endless} INSERT INTO note (id, n) SELECT i, 1 FROM n"), ())
    });
    let reading = world.client.read(move |snapshot| {
        begun.send(()).unwrap();
        snapshot.query(&format!("{endless} SELECT count(*) FROM n"), ())
    });
    let queued = world.client.execute("INSERT INTO note (id) VALUES ('later')", ());
    next(&told);
    next(&told);

    world.client.suspend().wait().unwrap();
    assert!(matches!(writing.wait(), Err(Error::Suspended)));
    assert!(matches!(reading.wait(), Err(Error::Suspended)));
    assert!(matches!(queued.wait(), Err(Error::Suspended)));
    world.client.resume().wait().unwrap();
    assert_eq!(world.number("SELECT count(*) FROM note"), 0);
}

#[test]
fn a_shutdown_ends_what_is_being_read() {
    let world = World::with_notes();
    let (begun, told) = mpsc::channel();
    let reading = world.client.read(move |snapshot| {
        begun.send(()).unwrap();
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";
        snapshot.query(&format!("{endless} SELECT count(*) FROM n"), ())
    });
    next(&told);
    world.client.shutdown().wait().unwrap();
    assert!(matches!(reading.wait(), Err(Error::Shutdown)));
}

#[test]
fn a_suspended_client_can_be_shut_down() {
    let world = World::with_notes();
    world.client.suspend().wait().unwrap();
    let waiting = world.client.watch("SELECT 1", (), &[]);
    world.client.shutdown().wait().unwrap();
    assert!(matches!(world.client.resume().wait(), Err(Error::Shutdown)));
    assert!(matches!(within(waiting), Err(Error::Shutdown)));
    let again = Client::open(world.client.config().clone()).wait().unwrap();
    assert_eq!(number(&again, "SELECT count(*) FROM note"), 0);
}
