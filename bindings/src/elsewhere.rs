//! Work that wakes whoever waits in an asynchronous call, done on a thread that belongs to nobody else.
//!
//! Promise: a caller of another language never wakes a waiting call on its own thread. UniFFI holds a lock of the call while
//! it tells the other language that there is news, and in JavaScript that telling waits for JavaScript's only thread: if
//! that thread were just then to wake the same call, it would wait for the lock, and each for the other, for ever. Border: what
//! the engine's own threads wake needs none of this.

use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use rejoin_core::Error;

type Work = Box<dyn FnOnce() + Send>;

/// Does the work soon, in the order of the calls; at once and here if there is no thread to be had.
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
    started.map_err(|error| Error::Io(format!("starting the thread rejoin-{name}: {error}")))
}
