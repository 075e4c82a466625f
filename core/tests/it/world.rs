//! What the stories share: a folder with a file, and waiting that ends.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rejoin_core::{Client, Config, Update, Watch};
use tempfile::TempDir;

/// No story waits longer than this; whoever does has hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of its own, with a client on a file in it.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let folder = TempDir::new().unwrap();
        let mut config = Config::new(folder.path().join("app.db"));
        configure(&mut config);
        let client = Client::open(config).wait().unwrap();
        Self { client, folder }
    }

    /// With a local table of notes.
    pub(crate) fn with_notes() -> Self {
        let world = Self::new();
        world.run("CREATE TABLE note (id TEXT PRIMARY KEY, n INTEGER, body TEXT)");
        world
    }

    pub(crate) fn run(&self, sql: &str) -> usize {
        self.client.execute(sql, ()).wait().unwrap()
    }

    /// One number out of the database.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        number(&self.client, sql)
    }
}

pub(crate) fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, ()).wait().unwrap().unwrap().get(0).unwrap()
}

/// The next message; a story that waits in vain fails instead of hanging.
pub(crate) fn next<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(PATIENCE).unwrap_or_else(|error| match error {
        RecvTimeoutError::Timeout => panic!("nobody told anything"),
        RecvTimeoutError::Disconnected => panic!("whoever should tell is gone"),
    })
}

/// The future's output; a story that waits in vain fails instead of hanging.
pub(crate) fn within<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park_timeout(PATIENCE);
    }
    panic!("nothing came")
}

/// The next result of a watch.
pub(crate) fn shown(watch: &mut Watch) -> Update {
    within(watch.next()).expect("the watch has ended").expect("the query fails")
}
