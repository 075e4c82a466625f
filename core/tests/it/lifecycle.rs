//! Tests of opening, sharing, suspending and shutting down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rejoin_core::{
    ActionFault, Actions, Client, Config, Error, Services, StorageFault, SyncState, TokenError,
    TokenProvider, runtime,
};
use serde_json::json;

use crate::world::{World, next, number, shown, within};

#[test]
fn file_opened_twice_shares_one_client() {
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
    assert!(
        matches!(other.query("SELECT 1", ()).wait(), Err(Error::Closed)),
        "the shared client is still open"
    );
}

#[test]
fn second_open_with_another_configuration_is_refused() {
    let world = World::new();
    let config = world.client.config().clone().device_name("other").page_size(500);
    match Client::open(config).wait() {
        Err(Error::Configuration(problems)) => assert_eq!(
            problems,
            [
                "device_name: the file is open already, with another value",
                "page_size: the file is open already, with another value"
            ]
        ),
        other => panic!("{other:?}"),
    }
}

/// A widget opens the file first, without credentials: a later open must not lose its token
/// provider silently.
#[test]
fn later_token_provider_is_refused() {
    #[derive(Debug)]
    struct SignedOut;
    impl TokenProvider for SignedOut {
        fn token(&self, _: bool) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
            std::future::ready(Ok(None)).boxed()
        }
    }
    let world = World::new();
    let services = Services { tokens: Some(Arc::new(SignedOut)), ..Services::default() };
    match Client::open_with(world.client.config().clone(), services.clone()).wait() {
        Err(Error::Configuration(problems)) => assert_eq!(
            problems,
            ["tokens: the file is already open without one; shut that client down first"]
        ),
        other => panic!("{other:?}"),
    }
    let config = world.client.config().clone();
    world.client.shutdown().wait().unwrap();
    let first = Client::open_with(config.clone(), services.clone()).wait().unwrap();
    let second = Client::open_with(config.clone(), services).wait();
    assert!(second.is_ok(), "an equal configuration was refused");
    assert!(Client::open(config).wait().is_ok(), "a later open without a provider was refused");
    drop(first);
}

/// After a reload of JavaScript, the provider and the handlers of the old runtime are dead, and the
/// new ones were not used.
#[test]
fn services_of_a_later_open_replace_those_of_the_first() {
    #[derive(Debug, Default)]
    struct Counted(AtomicU64);
    impl TokenProvider for Counted {
        fn token(&self, _: bool) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Err(TokenError("not now".to_owned()))).boxed()
        }
    }
    let declared = |name: &str| {
        let action = format!(r#"{{"name": "{name}", "statements": ["SELECT 1"]}}"#);
        Some(Arc::new(Actions::new().declare(&action)))
    };
    let config = Config::temporary().server("http://127.0.0.1:9");
    let open = |tokens: &Arc<Counted>, actions| {
        let tokens = Some(Arc::clone(tokens) as Arc<dyn TokenProvider>);
        let services = Services { tokens, actions, ..Services::default() };
        Client::open_with(config.clone(), services).wait().unwrap()
    };
    let (old, new) = <(Arc<Counted>, Arc<Counted>)>::default();
    let first = open(&old, declared("old"));
    first.sync().run(Some(Duration::from_secs(20))).wait().unwrap_err();
    let asked = old.0.load(Ordering::Relaxed);
    assert!(asked > 0);
    let second = open(&new, declared("new"));
    first.sync().run(Some(Duration::from_secs(20))).wait().unwrap_err();
    assert!(new.0.load(Ordering::Relaxed) > 0);
    assert_eq!(old.0.load(Ordering::Relaxed), asked);
    for _ in 0..2 {
        second.perform("new", json!({})).wait().unwrap();
        let unknown = first.perform("old", json!({})).wait();
        let unknown = matches!(unknown, Err(Error::Action { fault: ActionFault::Unknown, .. }));
        assert!(unknown, "it is registered no longer");
        // A suspension opens the engine again.
        first.sync().suspend().wait().unwrap();
        first.sync().resume().wait().unwrap();
    }
    second.shutdown().wait().unwrap();
}

#[test]
fn file_opens_after_a_failed_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    std::fs::write(&path, vec![7; 4096]).unwrap();
    let failed = within(Client::open(Config::new(&path)));
    assert!(matches!(failed, Err(Error::Storage(StorageFault::Corrupt(_)))), "{failed:?}");
    std::fs::remove_file(&path).unwrap();
    assert!(within(Client::open(Config::new(&path))).is_ok());
}

/// The result of `ask` on another thread, so that a hang fails the test.
fn on_thread<T: Send + 'static>(
    client: &Client,
    ask: impl FnOnce(&Client) -> T + Send + 'static,
) -> T {
    let (client, (sender, receiver)) = (client.clone(), mpsc::channel());
    runtime::thread("on_thread", move || drop(sender.send(ask(&client)))).unwrap();
    next(&receiver)
}

/// A long-running transaction delays the suspension, but no other call of the client.
#[test]
fn calls_during_a_suspension_return_at_once() {
    let world = World::with(|config| config.server = Some("http://127.0.0.1:9".into()));
    let (sender, receiver) = mpsc::channel();
    let _statuses = world.client.on_status(move |status| drop(sender.send(status.state)));
    let reach = |is_reached: fn(&SyncState) -> bool| while !is_reached(&next(&receiver)) {};
    world.client.start().unwrap();
    reach(|state| matches!(state, SyncState::Offline { .. }));
    let (sender, begun) = mpsc::channel();
    let (open_gate, gate) = mpsc::channel();
    let computing = world.client.transaction(move |_| {
        sender.send(()).unwrap();
        next(&gate);
        Ok(())
    });
    next(&begun);
    let suspending = world.client.sync().suspend();
    reach(|state| matches!(state, SyncState::Suspended));

    assert!(matches!(on_thread(&world.client, Client::start), Err(Error::Suspended)));
    assert!(matches!(
        on_thread(&world.client, |client| client.sync().request()),
        Err(Error::Suspended)
    ));
    let report = on_thread(&world.client, |client| client.sync().run(None));
    assert!(matches!(within(report), Err(Error::Suspended)));
    let shared = within(Client::open(world.client.config().clone())).unwrap();
    assert_eq!(shared.path(), world.client.path());
    let other = Config::new(world.folder.path().join("other.db"));
    assert!(within(Client::open(other)).is_ok());

    open_gate.send(()).unwrap();
    within(suspending).unwrap();
    assert!(within(computing).is_err(), "the transaction was committed");
    within(world.client.sync().resume()).unwrap();
    world.client.start().unwrap();
}

#[test]
fn open_does_not_wait_for_the_close_of_another_file() {
    let world = World::with_notes();
    let (sender, begun) = mpsc::channel();
    let (open_gate, gate) = mpsc::channel();
    let computing = world.client.transaction(move |tx| {
        sender.send(()).unwrap();
        next(&gate);
        tx.execute("INSERT INTO note (id) VALUES ('a')", ())
    });
    next(&begun);
    let ending = world.client.shutdown();
    while !matches!(on_thread(&world.client, Client::start), Err(Error::Closed)) {
        std::thread::yield_now(); // The shutdown has not begun.
    }
    let again = Client::open(world.client.config().clone());
    let other = Config::new(world.folder.path().join("other.db"));
    assert!(within(Client::open(other)).is_ok());

    open_gate.send(()).unwrap();
    assert_eq!(within(computing).unwrap(), 1);
    within(ending).unwrap();
    let again = within(again).unwrap();
    assert_eq!(number(&again, "SELECT count(*) FROM note"), 1, "the file was not reopened");
}

#[test]
fn committed_rows_survive_drop_of_the_last_client() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    for round in 0..10 {
        // Reopens the file while it may still be closing in the background.
        let client = Client::open(Config::new(&path)).wait().unwrap();
        client.execute("CREATE TABLE IF NOT EXISTS t (a)", ()).wait().unwrap();
        assert_eq!(number(&client, "SELECT count(*) FROM t"), round);
        drop(client.execute("INSERT INTO t VALUES (1)", ()));
        drop(client);
    }
}

#[test]
fn invalid_configuration_or_missing_folder_is_an_error() {
    let config = Config::new("").page_size(1).readers(99);
    match Client::open(config).wait() {
        Err(Error::Configuration(problems)) => assert_eq!(problems.len(), 3, "{problems:?}"),
        other => panic!("{other:?}"),
    }
    let missing = Client::open(Config::new("/nowhere/at/all/app.db")).wait();
    assert!(matches!(missing, Err(Error::Storage(StorageFault::Io(_)))), "{missing:?}");
}

#[test]
fn shutdown_from_a_callback_ends_the_client() {
    let world = World::with_notes();
    let (sender, receiver) = mpsc::channel();
    let client = world.client.clone();
    let _subscription = world.client.on_change(&[], move |_| {
        sender.send(client.shutdown().wait()).unwrap();
    });
    world.run("INSERT INTO note (id) VALUES ('a')");
    next(&receiver).unwrap();
    assert!(matches!(world.client.execute("DELETE FROM note", ()).wait(), Err(Error::Closed)));
    assert!(matches!(world.client.query("SELECT 1", ()).wait(), Err(Error::Closed)));
    let watch = within(world.client.watch("SELECT 1", (), &[]));
    assert!(matches!(watch, Err(Error::Closed)));
    world.client.shutdown().wait().unwrap();
}

#[test]
fn shutdown_drops_callbacks_and_later_ones_are_not_kept() {
    let world = World::with_notes();
    let (held, receiver) = mpsc::channel::<()>();
    let (of_changes, of_status) = (held.clone(), held.clone());
    let changes = world.client.on_change(&[], move |_| drop(of_changes.clone()));
    let status = world.client.on_status(move |_| drop(of_status.clone()));
    world.client.shutdown().wait().unwrap();
    let (of_changes, of_status) = (held.clone(), held);
    let later = world.client.on_change(&[], move |_| drop(of_changes.clone()));
    let latest = world.client.on_status(move |_| drop(of_status.clone()));
    // All senders are dropped, although every subscription still exists.
    assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Err(RecvTimeoutError::Disconnected));
    drop((changes, status, later, latest));
}

#[test]
fn last_client_may_be_dropped_in_a_callback() {
    let world = World::with_notes();
    let (sender, receiver) = mpsc::channel();
    let (give, taken) = mpsc::channel::<Client>();
    let subscription = world.client.on_change(&[], move |_| {
        drop(next(&taken));
        sender.send(()).unwrap();
    });
    world.run("INSERT INTO note (id) VALUES ('a')");
    let path = world.client.path().to_owned();
    give.send(world.client).unwrap();
    next(&receiver);
    drop(subscription);
    let again = Client::open(Config::new(path)).wait().unwrap();
    assert_eq!(number(&again, "SELECT count(*) FROM note"), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn suspend_releases_all_locks_and_resume_continues() {
    use crate::world::locks;

    let world = World::with_notes();
    let folder = world.folder.path();
    let mut watch = within(world.client.watch("SELECT id FROM note", (), &[])).unwrap();
    assert!(shown(&mut watch).rows.is_empty());
    assert!(!locks(folder).is_empty(), "the open file has no lock, so the test proves nothing");

    world.client.sync().suspend().wait().unwrap();
    assert_eq!(locks(folder), [""; 0].map(String::from).into());
    assert!(matches!(world.client.execute("DELETE FROM note", ()).wait(), Err(Error::Suspended)));
    assert!(matches!(world.client.query("SELECT 1", ()).wait(), Err(Error::Suspended)));
    let second = world.client.watch("SELECT count(*) FROM note", (), &[]);

    world.client.sync().resume().wait().unwrap();
    world.client.sync().resume().wait().unwrap();
    let mut second = within(second).unwrap();
    assert_eq!(shown(&mut second).rows.len(), 1, "the watch of the suspended client did not start");
    world.run("INSERT INTO note (id) VALUES ('a')");
    assert_eq!(shown(&mut watch).rows.len(), 1, "the watch did not continue");
}

#[test]
fn suspend_interrupts_and_rolls_back_running_work() {
    let world = World::with_notes();
    let (begun, receiver) = mpsc::channel();
    let sender = begun.clone();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) ";
    let writing = world.client.transaction(move |tx| {
        tx.execute("INSERT INTO note (id) VALUES ('a')", ())?;
        sender.send(()).unwrap();
        tx.execute(&format!("{endless} INSERT INTO note (id, n) SELECT i, 1 FROM n"), ())
    });
    let reading = world.client.read(move |snapshot| {
        begun.send(()).unwrap();
        snapshot.query(&format!("{endless} SELECT count(*) FROM n"), ())
    });
    let queued = world.client.execute("INSERT INTO note (id) VALUES ('later')", ());
    next(&receiver);
    next(&receiver);

    world.client.sync().suspend().wait().unwrap();
    assert!(matches!(writing.wait(), Err(Error::Suspended)));
    assert!(matches!(reading.wait(), Err(Error::Suspended)));
    assert!(matches!(queued.wait(), Err(Error::Suspended)));
    world.client.sync().resume().wait().unwrap();
    assert_eq!(world.number("SELECT count(*) FROM note"), 0);
}

#[test]
fn shutdown_interrupts_a_running_read() {
    let world = World::with_notes();
    let (begun, receiver) = mpsc::channel();
    let reading = world.client.read(move |snapshot| {
        begun.send(()).unwrap();
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";
        snapshot.query(&format!("{endless} SELECT count(*) FROM n"), ())
    });
    next(&receiver);
    world.client.shutdown().wait().unwrap();
    assert!(matches!(reading.wait(), Err(Error::Closed)));
}

#[test]
fn file_opened_after_a_call_of_shutdown_is_not_the_closing_client() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(folder.path().join("app.db"));
    let mut closing = Vec::new();
    for _ in 0..100 {
        let client = Client::open(config.clone()).wait().unwrap();
        closing.push(client.shutdown());
        let next = Client::open(config.clone()).wait().unwrap();
        next.query("SELECT 1", ()).wait().expect("the client was shut down before it was opened");
        closing.push(next.shutdown());
    }
    for closing in closing {
        closing.wait().unwrap();
    }
}

#[test]
fn suspended_client_can_be_shut_down() {
    let world = World::with_notes();
    world.client.sync().suspend().wait().unwrap();
    let waiting = world.client.watch("SELECT 1", (), &[]);
    world.client.shutdown().wait().unwrap();
    assert!(matches!(world.client.sync().resume().wait(), Err(Error::Closed)));
    assert!(matches!(within(waiting), Err(Error::Closed)));
    let again = Client::open(world.client.config().clone()).wait().unwrap();
    assert_eq!(number(&again, "SELECT count(*) FROM note"), 0);
}
