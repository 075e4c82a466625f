//! The thread on which the app's callbacks run: one after the other, with no lock of ours held.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::runtime;
use crate::writer::{caught, panic_text};

/// Something that has news for a callback.
pub(crate) trait Deliver: Send + Sync {
    /// Calls back with what there is now; on the dispatcher's thread only.
    fn deliver(&self);
}

/// Something that a subscription ends.
pub(crate) trait Cancel: Send + Sync {
    /// No call begins after this.
    fn cancel(&self);
}

/// Takes what has news, and calls back in that order.
pub(crate) struct Dispatcher {
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<dyn Deliver>>,
    ended: bool,
}

impl Dispatcher {
    /// Starts the thread.
    pub(crate) fn start() -> Result<Arc<Self>> {
        let dispatcher = Arc::new(Self { queue: Mutex::default(), ready: Condvar::new() });
        let thread = Arc::clone(&dispatcher);
        runtime::thread("callbacks", move || thread.serve())?;
        Ok(dispatcher)
    }

    /// Puts `what` in the queue. It is the caller's to put nothing there twice.
    pub(crate) fn push(&self, what: Arc<dyn Deliver>) {
        let mut queue = self.queue();
        if !queue.ended {
            queue.waiting.push_back(what);
            self.ready.notify_one();
        }
    }

    /// Ends after the call that runs; never waited for, since it may be made by that very call.
    pub(crate) fn shutdown(&self) {
        let waiting = {
            let mut queue = self.queue();
            queue.ended = true;
            std::mem::take(&mut queue.waiting)
        };
        self.ready.notify_one();
        drop(waiting); // What callbacks own goes without the lock.
    }

    fn serve(&self) {
        let mut queue = self.queue();
        while !queue.ended {
            if let Some(next) = queue.waiting.pop_front() {
                drop(queue);
                next.deliver();
                drop(next);
                queue = self.queue();
            } else {
                queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}

/// A function of the app, called by one thread at a time, and gone when it is cancelled.
pub(crate) struct Callback<T> {
    state: Mutex<State<T>>,
}

type Function<T> = Box<dyn FnMut(T) + Send>;

enum State<T> {
    Here(Function<T>),
    /// On its way through the app's code.
    Away,
    Cancelled,
}

impl<T> Callback<T> {
    pub(crate) fn new(function: Function<T>) -> Self {
        Self { state: Mutex::new(State::Here(function)) }
    }

    /// Calls it, unless it was cancelled. A panic is logged and changes nothing.
    pub(crate) fn call(&self, value: T) {
        let State::Here(mut function) =
            self.swap(|state| matches!(state, State::Here(_)), State::Away)
        else {
            return;
        };
        if let Err(panic) = caught(|| function(value)) {
            tracing::error!(panic = panic_text(&*panic), "a callback panicked");
        }
        let came_back = self.swap(|state| matches!(state, State::Away), State::Here(function));
        drop(came_back); // If it was cancelled on the way, this is the function.
    }

    /// Drops it, now or when it comes back.
    pub(crate) fn cancel(&self) {
        let dropped = self.swap(|_| true, State::Cancelled);
        drop(dropped);
    }

    /// Puts `new` in its place if `fits`; gives back what is not in place, to be dropped without the lock.
    fn swap(&self, fits: impl FnOnce(&State<T>) -> bool, new: State<T>) -> State<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if fits(&state) { std::mem::replace(&mut state, new) } else { new }
    }
}
