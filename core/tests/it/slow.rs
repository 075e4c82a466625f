//! Tests of slow app code: it delays only itself and is reported.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rejoin_core::transport::{EventStream, HttpRequest, HttpResponse, TransportError};
use rejoin_core::{
    Client, Config, Error, InputFault, Services, SlowPart, SyncFault, SyncState, Transport,
};
use tempfile::TempDir;

use crate::world::{PATIENCE, World, next, within};

/// Waits until the condition holds.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn slow_callbacks_delay_no_others_and_are_reported() {
    let world = World::with_notes();
    let client = &world.client;
    let mut held: Vec<Sender<()>> = Vec::new();
    let mut subscriptions = Vec::new();
    // Three blocked callbacks, one after the other.
    for _ in 0..3 {
        let (release, wait) = mpsc::channel::<()>();
        let (sender, receiver) = mpsc::channel();
        subscriptions.push(client.on_status(move |_| {
            let _ = sender.send(());
            let _ = wait.recv();
        }));
        next(&receiver);
        held.push(release);
    }
    let (sender, receiver) = mpsc::channel();
    let changes = client.on_change(&["note"], move |change| drop(sender.send(change)));
    for id in ["a", "b"] {
        world.run(&format!("INSERT INTO note (id) VALUES ('{id}')"));
        next(&receiver);
    }
    until("the slow callback is named", || client.sync().slow() == [SlowPart::Callback]);
    drop(held);
    until("nothing is slow any more", || client.sync().slow().is_empty());
    drop((subscriptions, changes));
}

#[test]
fn slow_callback_runs_once_at_a_time_and_gets_the_latest() {
    let world = World::with_notes();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let shown = Arc::new(Mutex::new(0));
    let (inside, peak, latest) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&shown));
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
    until("the last result arrives", || *shown.lock().unwrap() == 20);
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

/// A closure that computes until it is released.
fn computing() -> (impl FnOnce() + Send + 'static, Receiver<()>, Sender<()>) {
    let (release, wait) = mpsc::channel::<()>();
    let (sender, receiver) = mpsc::channel();
    let compute = move || {
        let _ = sender.send(());
        let _ = wait.recv();
    };
    (compute, receiver, release)
}

#[test]
fn computing_transaction_does_not_delay_suspend() {
    let world = World::with_notes();
    let (compute, receiver, release) = computing();
    let writing = world.client.transaction(move |tx| {
        tx.execute("INSERT INTO note (id) VALUES ('a')", ())?;
        compute();
        Ok(())
    });
    next(&receiver);
    until("the transaction is reported as slow", || {
        world.client.sync().slow() == [SlowPart::Transaction]
    });
    suspended_in_time(&world, "transaction");
    // The closure continues and is rolled back; the file is closed and can be opened again.
    drop(release);
    assert!(matches!(within(writing), Err(Error::Suspended)));
    within(world.client.sync().resume()).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM note"), 0);
}

#[test]
fn computing_read_does_not_delay_suspend() {
    let world = World::with_notes();
    let (compute, receiver, release) = computing();
    let reading = world.client.read(move |_| {
        compute();
        Ok(())
    });
    next(&receiver);
    suspended_in_time(&world, "read");
    drop(release);
    within(reading).unwrap();
    within(world.client.sync().resume()).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM note"), 0);
}

/// Suspending returns within its limit and names what still uses the file; the client is suspended.
#[track_caller]
fn suspended_in_time(world: &World, what: &str) {
    let begun = Instant::now();
    let outcome = within(world.client.sync().suspend());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    match outcome {
        Err(Error::InvalidInput(InputFault::Refused { reason: why, .. })) => {
            assert!(why.contains(what), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let refused = within(world.client.query("SELECT 1", ()));
    assert!(matches!(refused, Err(Error::Suspended)), "{refused:?}");
}

/// A transport that blocks its thread instead of waiting.
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
fn blocking_transport_does_not_block_the_client() {
    let (release, wait) = mpsc::channel();
    let (sender, receiver) = mpsc::channel();
    let transport = Blocking(Mutex::new(wait), Mutex::new(sender));
    let folder = TempDir::new().unwrap();
    let config = Config::new(folder.path().join("app.db"))
        .ack_deadline(Duration::from_secs(1))
        .sync_interval(Duration::from_secs(1));
    let services = Services { transport: Some(Arc::new(transport)), ..Services::default() };
    let client = Client::open_with(config, services).wait().unwrap();
    client.start().unwrap();
    next(&receiver);
    let begun = Instant::now();
    let outcome = within(client.sync().run(None));
    assert!(matches!(outcome, Err(Error::Sync(SyncFault::Offline(_)))), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let begun = Instant::now();
    within(client.sync().suspend()).unwrap();
    within(client.sync().resume()).unwrap();
    within(client.stop()).unwrap();
    within(client.shutdown()).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(release);
}

/// A transport that never responds, and whose `disconnect` blocks until it is released.
#[derive(Debug)]
struct Sticky {
    requests: Mutex<Sender<()>>,
    ends: Mutex<Sender<()>>,
    release: Mutex<Receiver<()>>,
}

impl Transport for Sticky {
    fn send(&self, _: HttpRequest) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        let _ = self.requests.lock().unwrap().send(());
        Box::pin(std::future::pending())
    }

    fn events(&self, _: HttpRequest) -> BoxFuture<'static, Result<EventStream, TransportError>> {
        Box::pin(std::future::pending())
    }

    fn disconnect(&self) {
        let _ = self.ends.lock().unwrap().send(());
        let _ = self.release.lock().unwrap().recv();
    }
}

#[test]
fn slow_stop_does_not_hide_the_status_of_a_new_start() {
    let (requests, request) = mpsc::channel();
    let (ends, end) = mpsc::channel();
    let (release, wait) = mpsc::channel();
    let [requests, ends] = [requests, ends].map(Mutex::new);
    let transport = Sticky { requests, ends, release: Mutex::new(wait) };
    let folder = TempDir::new().unwrap();
    let services = Services { transport: Some(Arc::new(transport)), ..Services::default() };
    let config = Config::new(folder.path().join("app.db"));
    let client = Client::open_with(config, services).wait().unwrap();
    client.start().unwrap();
    next(&request);
    let stopped = client.stop();
    next(&end);
    client.start().unwrap();
    next(&request);
    drop(release);
    within(stopped).unwrap();
    let (sender, statuses) = mpsc::channel();
    let _subscription = client.on_status(move |status| drop(sender.send(status)));
    assert_ne!(next(&statuses).state, SyncState::Stopped);
}
