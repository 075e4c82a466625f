//! Tests of app callbacks that are slow, never return, or call the client.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rejoin_core::{
    Client, Config, Error, Services, Subscription, Task, TokenError, TokenProvider, Watch,
};

use crate::world::{World, next, shown, within};

/// Counts wake-ups.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn watch(world: &World) -> Watch {
    within(world.client.watch("SELECT id FROM note ORDER BY id", (), &["id"])).unwrap()
}

#[test]
fn dropped_next_future_loses_no_result() {
    let world = World::with_notes();
    let mut watch = watch(&world);
    assert!(shown(&mut watch).rows.is_empty());
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);

    // Dropped before a result arrives.
    {
        let waiting = pin!(watch.next());
        assert!(waiting.poll(&mut context).is_pending());
    }
    world.run("INSERT INTO note (id) VALUES ('a')");
    assert_eq!(shown(&mut watch).difference.unwrap().added, [0]);

    // Dropped after a result has arrived and woken the waiter.
    {
        let before = woken.0.load(Ordering::SeqCst);
        let waiting = pin!(watch.next());
        assert!(waiting.poll(&mut context).is_pending());
        world.run("INSERT INTO note (id) VALUES ('b')");
        let mut other = within(world.client.watch("SELECT 1", (), &[])).unwrap();
        drop(shown(&mut other)); // The watch thread has processed the write.
        assert!(woken.0.load(Ordering::SeqCst) > before);
    }
    world.run("INSERT INTO note (id) VALUES ('c')");
    let mut rows = 1;
    while rows < 3 {
        let update = shown(&mut watch);
        let difference = update.difference.unwrap();
        assert_eq!(
            (update.rows.len() - rows, difference.removed.len()),
            (difference.added.len(), 0)
        );
        rows = update.rows.len();
    }
}

/// A callback that reports its call and then blocks.
fn blocking<T>() -> (impl FnMut(T) + Send + 'static, Receiver<()>, Sender<()>) {
    let (sender, receiver) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    let callback = move |_| {
        // The receiver may be gone.
        let _ = sender.send(());
        let _ = wait.recv();
    };
    (callback, receiver, release)
}

#[test]
fn blocked_callback_does_not_block_drop_of_its_subscription() {
    for kind in ["watch", "change", "status"] {
        let world = World::with_notes();
        let client = &world.client;
        let (receiver, release, subscription) = match kind {
            "watch" => {
                let (callback, receiver, release) = blocking();
                (receiver, release, watch(&world).each(callback))
            }
            "change" => {
                let (callback, receiver, release) = blocking();
                let subscription = client.on_change(&[], callback);
                world.run("INSERT INTO note (id) VALUES ('x')");
                (receiver, release, subscription)
            }
            _ => {
                let (callback, receiver, release) = blocking();
                (receiver, release, client.on_status(callback))
            }
        };
        next(&receiver);
        // On another thread, so that a hang fails the test.
        let (sender, dropped) = mpsc::channel();
        std::thread::spawn(move || {
            drop(subscription);
            sender.send(()).unwrap();
        });
        next(&dropped);
        within(client.stop()).unwrap();
        within(client.sync().suspend()).unwrap();
        within(client.sync().resume()).unwrap();
        within(within(client.begin()).unwrap().commit()).unwrap();
        within(client.shutdown()).unwrap();
        drop(release);
    }
}

/// All calls of a client that a callback may make and wait for.
fn everything(client: &Client) {
    client.stop().wait().unwrap();
    let tx = client.begin().wait().unwrap();
    tx.rollback().wait().unwrap();
    client.begin_read().wait().unwrap().finish().wait().unwrap();
    client.sync().suspend().wait().unwrap();
    assert!(matches!(client.begin().wait(), Err(Error::Suspended)));
    client.sync().resume().wait().unwrap();
    client.shutdown().wait().unwrap();
    assert!(matches!(client.begin().wait(), Err(Error::Closed)));
}

#[test]
fn callback_may_call_anything_and_drop_its_subscription() {
    for kind in ["watch", "change", "status"] {
        let world = World::with_notes();
        let client = world.client.clone();
        let (sender, receiver) = mpsc::channel();
        let own: Arc<Mutex<Option<Subscription>>> = Arc::default();
        let (mine, mut first) = (Arc::clone(&own), true);
        let mut body = move || {
            // The subscription may not be stored yet; then the next call drops it.
            if !std::mem::take(&mut first) {
                return;
            }
            everything(&client);
            drop(mine.lock().unwrap().take());
            sender.send(()).unwrap();
        };
        let subscription = match kind {
            "watch" => watch(&world).each(move |_| body()),
            "change" => world.client.on_change(&[], move |_| body()),
            _ => world.client.on_status(move |_| body()),
        };
        *own.lock().unwrap() = Some(subscription);
        if kind == "change" {
            world.run("INSERT INTO note (id) VALUES ('x')");
        }
        next(&receiver);
    }
}

/// The behavior of a token provider when called.
type Behaviour =
    Box<dyn Fn() -> BoxFuture<'static, Result<Option<String>, TokenError>> + Send + Sync>;

struct Provider {
    called: Mutex<Sender<()>>,
    behaviour: Behaviour,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Provider")
    }
}

impl TokenProvider for Provider {
    fn token(&self, _: bool) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
        let _ = self.called.lock().unwrap().send(());
        (self.behaviour)()
    }
}

/// A client that is syncing and whose provider is being called.
fn asking(behaviour: Behaviour) -> (World, Receiver<()>) {
    let folder = tempfile::tempdir().unwrap();
    let (called, receiver) = mpsc::channel();
    let config = Config::new(folder.path().join("app.db")).server("http://127.0.0.1:9");
    let provider = Provider { called: Mutex::new(called), behaviour };
    let services = Services { tokens: Some(Arc::new(provider)), ..Services::default() };
    let client = within(Client::open_with(config, services)).unwrap();
    client.start().unwrap();
    next(&receiver);
    (World { client, folder }, receiver)
}

#[test]
fn pending_token_provider_does_not_block_the_client() {
    let (world, _asked) = asking(Box::new(|| std::future::pending().boxed()));
    within(world.client.sync().credentials_changed()).unwrap();
    within(world.client.sync().suspend()).unwrap();
    within(world.client.sync().resume()).unwrap();
    within(world.client.stop()).unwrap();
    world.client.start().unwrap();
    within(world.client.shutdown()).unwrap();
}

#[test]
fn blocking_token_provider_does_not_block_the_client() {
    for end in [(|client: &Client| client.sync().suspend()), Client::stop, Client::shutdown]
        as [fn(&Client) -> Task<()>; 3]
    {
        let (release, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let (world, _asked) = asking(Box::new(move || {
            let _ = wait.lock().unwrap().recv();
            async { Ok(None) }.boxed()
        }));
        within(end(&world.client)).unwrap();
        drop(release);
    }
}

#[test]
fn token_provider_may_call_its_client() {
    let (give, given) = mpsc::channel::<Client>();
    let given = Mutex::new(given);
    let (sender, receiver) = mpsc::channel();
    let (world, _asked) = asking(Box::new(move || {
        let client = given.lock().unwrap().recv().unwrap();
        let sender = sender.clone();
        async move {
            client.sync().credentials_changed().await.unwrap();
            client.begin().await.unwrap().commit().await.unwrap();
            // Stopping aborts this future; code after it may not run.
            sender.send(client.stop()).unwrap();
            Ok(None)
        }
        .boxed()
    }));
    give.send(world.client.clone()).unwrap();
    within(next(&receiver)).unwrap();
    within(world.client.shutdown()).unwrap();
}
