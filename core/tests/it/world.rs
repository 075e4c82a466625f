//! Test fixture: a client on a file in a temporary folder, and waits with a timeout.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rejoin_core::{Client, Config, Update, Watch};
use tempfile::TempDir;

/// Timeout of all waits; a longer wait is a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A client on a file in its own folder.
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

    /// With a local-only table of notes.
    pub(crate) fn with_notes() -> Self {
        let world = Self::new();
        world.run("CREATE TABLE note (id TEXT PRIMARY KEY, n INTEGER, body TEXT)");
        world
    }

    pub(crate) fn run(&self, sql: &str) -> usize {
        self.client.execute(sql, ()).wait().unwrap()
    }

    /// One number from the database.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        number(&self.client, sql)
    }
}

pub(crate) fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, ()).wait().unwrap().unwrap().get(0).unwrap()
}

/// The next message, with a timeout.
pub(crate) fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|error| match error {
        RecvTimeoutError::Timeout => panic!("no message within the timeout"),
        RecvTimeoutError::Disconnected => panic!("the sender is dropped"),
    })
}

/// The output of a future, with a timeout.
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
    panic!("no result within the timeout")
}

/// The next result of a watch.
pub(crate) fn shown(watch: &mut Watch) -> Update {
    within(watch.next()).expect("the watch has ended").expect("the query fails")
}

/// The locks of this process on a file, or on the files below a folder. Not from `/proc/locks`: it
/// is read in parts, between which the locks of other tests change.
#[cfg(target_os = "linux")]
pub(crate) fn locks(path: &std::path::Path) -> std::collections::BTreeSet<String> {
    let path = path.canonicalize().unwrap();
    let mut locks = std::collections::BTreeSet::new();
    for one in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        if std::fs::read_link(one.path()).is_ok_and(|file| file.starts_with(&path)) {
            let info = format!("/proc/self/fdinfo/{}", one.file_name().display());
            let info = std::fs::read_to_string(info).unwrap_or_default();
            let lines = info.lines().filter(|line| line.starts_with("lock:"));
            locks.extend(lines.map(str::to_owned));
        }
    }
    locks
}
