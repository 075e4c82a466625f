//! What the app's own code does while the client calls it: it may take long, never come back, or call anything.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rejoin_core::{
    Answer, Client, Config, Error, Services, Subscription, TokenError, TokenProvider, Watch,
};

use crate::world::{World, next, shown, within};

/// Notes that somebody was woken.
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
fn whoever_gives_up_waiting_for_a_watch_loses_nothing() {
    let world = World::with_notes();
    let mut watch = watch(&world);
    assert!(shown(&mut watch).rows.is_empty());
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);

    // Given up before anything came.
    {
        let waiting = pin!(watch.next());
        assert!(waiting.poll(&mut context).is_pending());
    }
    world.run("INSERT INTO note (id) VALUES ('a')");
    assert_eq!(shown(&mut watch).difference.unwrap().added, [0]);

    // Given up when the result lay ready and had woken whoever waited.
    {
        let before = woken.0.load(Ordering::SeqCst);
        let waiting = pin!(watch.next());
        assert!(waiting.poll(&mut context).is_pending());
        world.run("INSERT INTO note (id) VALUES ('b')");
        let mut other = within(world.client.watch("SELECT 1", (), &[])).unwrap();
        drop(shown(&mut other)); // The thread that runs watches has come past the write.
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

/// What a callback does: says that it was called, and waits.
fn blocking<T>() -> (impl FnMut(T) + Send + 'static, Receiver<()>, Sender<()>) {
    let (tell, told) = mpsc::channel();
    let (let_go, wait) = mpsc::channel::<()>();
    let callback = move |_| {
        // Whoever listened may have gone.
        let _ = tell.send(());
        let _ = wait.recv();
    };
    (callback, told, let_go)
}

#[test]
fn nothing_waits_for_a_callback_that_does_not_come_back() {
    for kind in ["watch", "change", "status"] {
        let world = World::with_notes();
        let client = &world.client;
        let (told, let_go, subscription) = match kind {
            "watch" => {
                let (callback, told, let_go) = blocking();
                (told, let_go, watch(&world).each(callback))
            }
            "change" => {
                let (callback, told, let_go) = blocking();
                let subscription = client.on_change(&[], callback);
                world.run("INSERT INTO note (id) VALUES ('x')");
                (told, let_go, subscription)
            }
            _ => {
                let (callback, told, let_go) = blocking();
                (told, let_go, client.on_status(callback))
            }
        };
        next(&told);
        // On a thread of its own, so that it fails instead of hanging.
        let (tell, dropped) = mpsc::channel();
        std::thread::spawn(move || {
            drop(subscription);
            tell.send(()).unwrap();
        });
        next(&dropped);
        within(client.stop()).unwrap();
        within(client.suspend()).unwrap();
        within(client.resume()).unwrap();
        within(within(client.begin()).unwrap().commit()).unwrap();
        within(client.shutdown()).unwrap();
        drop(let_go);
    }
}

/// Everything that a callback may do to its client, one after the other, waited for.
fn everything(client: &Client) {
    client.stop().wait().unwrap();
    let tx = client.begin().wait().unwrap();
    tx.rollback().wait().unwrap();
    client.begin_read().wait().unwrap().finish().wait().unwrap();
    client.suspend().wait().unwrap();
    assert!(matches!(client.begin().wait(), Err(Error::Suspended)));
    client.resume().wait().unwrap();
    client.shutdown().wait().unwrap();
    assert!(matches!(client.begin().wait(), Err(Error::Shutdown)));
}

#[test]
fn a_callback_may_do_everything_to_its_client_and_drop_its_own_subscription() {
    for kind in ["watch", "change", "status"] {
        let world = World::with_notes();
        let client = world.client.clone();
        let (tell, told) = mpsc::channel();
        let own: Arc<Mutex<Option<Subscription>>> = Arc::default();
        let (mine, mut first) = (Arc::clone(&own), true);
        let mut body = move || {
            // The subscription may not lie there yet; the call after it finds it.
            if !std::mem::take(&mut first) {
                return;
            }
            everything(&client);
            drop(mine.lock().unwrap().take());
            tell.send(()).unwrap();
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
        next(&told);
    }
}

/// How a provider behaves once it is asked.
type Behaviour =
    Box<dyn Fn() -> BoxFuture<'static, Result<Option<String>, TokenError>> + Send + Sync>;

struct Provider {
    asked: Mutex<Sender<()>>,
    behaviour: Behaviour,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Provider")
    }
}

impl TokenProvider for Provider {
    fn token(&self, _: bool) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
        let _ = self.asked.lock().unwrap().send(());
        (self.behaviour)()
    }
}

/// A client that has begun to sync, and whose provider is being asked.
fn asking(behaviour: Behaviour) -> (World, Receiver<()>) {
    let folder = tempfile::tempdir().unwrap();
    let (asked, told) = mpsc::channel();
    let config = Config {
        server_url: Some("http://127.0.0.1:9".into()),
        ..Config::new(folder.path().join("app.db"))
    };
    let provider = Provider { asked: Mutex::new(asked), behaviour };
    let services = Services { tokens: Some(Arc::new(provider)), ..Services::default() };
    let client = within(Client::open_with(config, services)).unwrap();
    client.start().unwrap();
    next(&told);
    (World { client, folder }, told)
}

#[test]
fn a_provider_that_never_answers_holds_nobody_up() {
    let (world, _asked) = asking(Box::new(|| std::future::pending().boxed()));
    within(world.client.credentials_changed()).unwrap();
    within(world.client.suspend()).unwrap();
    within(world.client.resume()).unwrap();
    within(world.client.stop()).unwrap();
    world.client.start().unwrap();
    within(world.client.shutdown()).unwrap();
}

#[test]
fn a_provider_that_blocks_its_thread_holds_nobody_up() {
    for end in [Client::suspend, Client::stop, Client::shutdown] as [fn(&Client) -> Answer<()>; 3] {
        let (let_go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let (world, _asked) = asking(Box::new(move || {
            let _ = wait.lock().unwrap().recv();
            async { Ok(None) }.boxed()
        }));
        within(end(&world.client)).unwrap();
        drop(let_go);
    }
}

#[test]
fn a_provider_may_do_everything_to_its_client() {
    let (give, given) = mpsc::channel::<Client>();
    let given = Mutex::new(given);
    let (tell, told) = mpsc::channel();
    let (world, _asked) = asking(Box::new(move || {
        let client = given.lock().unwrap().recv().unwrap();
        let tell = tell.clone();
        async move {
            client.credentials_changed().await.unwrap();
            client.begin().await.unwrap().commit().await.unwrap();
            // This ends who calls it; what comes after it is not sure to run.
            tell.send(client.stop()).unwrap();
            Ok(None)
        }
        .boxed()
    }));
    give.send(world.client.clone()).unwrap();
    within(next(&told)).unwrap();
    within(world.client.shutdown()).unwrap();
}
