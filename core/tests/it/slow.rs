//! Slow code of the app: it delays nothing but itself, and is named.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rejoin_core::transport::{EventStream, HttpRequest, HttpResponse, TransportError};
use rejoin_core::{Client, Config, Error, Services, SlowPart, Transport};
use tempfile::TempDir;

use crate::world::{PATIENCE, World, next, within};

/// Waits until it holds.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn slow_callbacks_delay_no_other_and_are_named() {
    let world = World::with_notes();
    let client = &world.client;
    let mut held: Vec<Sender<()>> = Vec::new();
    let mut subscriptions = Vec::new();
    // Three that do not come back, one after the other.
    for _ in 0..3 {
        let (let_go, wait) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        subscriptions.push(client.on_status(move |_| {
            let _ = tell.send(());
            let _ = wait.recv();
        }));
        next(&told);
        held.push(let_go);
    }
    let (tell, told) = mpsc::channel();
    let changes = client.on_change(&["note"], move |change| drop(tell.send(change)));
    for id in ["a", "b"] {
        world.run(&format!("INSERT INTO note (id) VALUES ('{id}')"));
        next(&told);
    }
    until("the slow callback is named", || client.slow() == [SlowPart::Callback]);
    drop(held);
    until("nothing is slow any more", || client.slow().is_empty());
    drop((subscriptions, changes));
}

#[test]
fn slow_callback_is_called_once_at_a_time_and_gets_the_latest() {
    let world = World::with_notes();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::new(Mutex::new(0));
    let (inside, peak, latest) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&seen));
    let watch = within(world.client.watch("SELECT id FROM note", (), &[])).unwrap();
    let _subscription = watch.each(move |update| {
        peak.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(1_300));
        *latest.lock().unwrap() = update.unwrap().rows.len();
        inside.fetch_sub(1, Ordering::SeqCst);
    });
    for number in 0..20 {
        world.run(&format!("INSERT INTO note (id) VALUES ('n{number}')"));
        std::thread::sleep(Duration::from_millis(100));
    }
    until("the last result arrives", || *seen.lock().unwrap() == 20);
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

/// A closure that computes, until it is let go.
fn computing() -> (impl FnOnce() + Send + 'static, Receiver<()>, Sender<()>) {
    let (let_go, wait) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let compute = move || {
        let _ = tell.send(());
        let _ = wait.recv();
    };
    (compute, told, let_go)
}

#[test]
fn transaction_that_computes_does_not_delay_suspend() {
    let world = World::with_notes();
    let (compute, told, let_go) = computing();
    let writing = world.client.transaction(move |tx| {
        tx.execute("INSERT INTO note (id) VALUES ('a')", ())?;
        compute();
        Ok(())
    });
    next(&told);
    until("the transaction is named", || world.client.slow() == [SlowPart::Transaction]);
    suspended_in_time(&world, "transaction");
    // It goes on, and comes to nothing; the file is let go, and can be opened again.
    drop(let_go);
    assert!(matches!(within(writing), Err(Error::Suspended)));
    within(world.client.resume()).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM note"), 0);
}

#[test]
fn read_that_computes_does_not_delay_suspend() {
    let world = World::with_notes();
    let (compute, told, let_go) = computing();
    let reading = world.client.read(move |_| {
        compute();
        Ok(())
    });
    next(&told);
    suspended_in_time(&world, "read");
    drop(let_go);
    within(reading).unwrap();
    within(world.client.resume()).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM note"), 0);
}

/// Suspending ends within its limit and says what still holds the file; the client is suspended all the same.
#[track_caller]
fn suspended_in_time(world: &World, what: &str) {
    let begun = Instant::now();
    let outcome = within(world.client.suspend());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    match outcome {
        Err(Error::Refused { why, .. }) => assert!(why.contains(what), "{why}"),
        other => panic!("{other:?}"),
    }
    let refused = within(world.client.query("SELECT 1", ()));
    assert!(matches!(refused, Err(Error::Suspended)), "{refused:?}");
}

/// A transport of the app's that blocks its thread instead of waiting.
#[derive(Debug)]
struct Blocking(Mutex<Receiver<()>>, Mutex<Sender<()>>);

impl Transport for Blocking {
    fn send(&self, _: HttpRequest) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        let _ = self.1.lock().unwrap().send(());
        let _ = self.0.lock().unwrap().recv();
        Box::pin(std::future::pending())
    }

    fn events(&self, _: HttpRequest) -> BoxFuture<'static, Result<EventStream, TransportError>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn transport_that_blocks_its_thread_holds_nobody_up() {
    let (let_go, wait) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let transport = Blocking(Mutex::new(wait), Mutex::new(tell));
    let folder = TempDir::new().unwrap();
    let config = Config {
        ack_deadline: Duration::from_secs(1),
        sync_interval: Duration::from_secs(1),
        ..Config::new(folder.path().join("app.db"))
    };
    let services = Services { transport: Some(Arc::new(transport)), ..Services::default() };
    let client = Client::open_with(config, services).wait().unwrap();
    client.start().unwrap();
    next(&told);
    let begun = Instant::now();
    let outcome = within(client.sync_and_wait(None));
    assert!(matches!(outcome, Err(Error::Offline(_))), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let begun = Instant::now();
    within(client.suspend()).unwrap();
    within(client.resume()).unwrap();
    within(client.stop()).unwrap();
    within(client.shutdown()).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(let_go);
}
