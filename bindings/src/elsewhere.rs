//! Executes wake-ups of asynchronous calls on a separate thread.
//!
//! A caller of another language must not wake a waiting call on its own thread. UniFFI holds a lock
//! of the call while it notifies the other language, and in JavaScript the notification waits for
//! the only JavaScript thread. If that thread woke the same call at that moment, it would wait for
//! the lock: a deadlock. Wake-ups from the engine's own threads do not need this.

use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use rejoin_core::{Error, StorageFault};

type Work = Box<dyn FnOnce() + Send>;

/// Runs the work soon, in call order; immediately and on this thread if no thread can be started.
pub(crate) fn soon(work: impl FnOnce() + Send + 'static) {
    static DESK: OnceLock<Option<Sender<Work>>> = OnceLock::new();
    let desk = DESK.get_or_init(|| {
        let (hand_in, todo) = mpsc::channel::<Work>();
        let serve = move || todo.into_iter().for_each(|work| work());
        thread("elsewhere", serve).ok().map(|_| hand_in)
    });
    let work: Work = Box::new(work);
    let left = match desk {
        Some(desk) => desk.send(work).err().map(|refused| refused.0),
        None => Some(work),
    };
    if let Some(work) = left {
        work();
    }
}

/// Starts a thread named `rejoin-` and `name`.
pub(crate) fn thread(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> rejoin_core::Result<JoinHandle<()>> {
    let started = std::thread::Builder::new().name(format!("rejoin-{name}")).spawn(body);
    started.map_err(|error| {
        Error::Storage(StorageFault::Io(format!("starting the thread rejoin-{name}: {error}")))
    })
}
