//! The threads on which the app's callbacks run, with no lock of ours held.
//!
//! Callbacks run one after the other, in the order in which they got news. One that takes longer than [`BUDGET`] is late: it
//! runs on, and another thread goes on with the others. The same callback is never called by two threads at once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Result;
use crate::runtime;
use crate::writer::{caught, panic_text};

/// How long a callback may take before others no longer wait for it.
pub(crate) const BUDGET: Duration = Duration::from_secs(1);

/// Threads that callbacks may hold. Once as many are late, the others wait for one of them.
const THREADS: usize = 8;

/// Threads that wait for news; more end.
const SPARE: usize = 2;

/// Something that has news for a callback.
pub(crate) trait Deliver: Send + Sync {
    /// Calls back with what there is now; on the dispatcher's threads only, one call at a time.
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
    news: Condvar,
}

/// A call with its number.
type Numbered = (u64, Arc<dyn Deliver>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<dyn Deliver>>,
    /// Calls under way, with their numbers.
    running: Vec<Numbered>,
    /// The number that was given last.
    numbered: u64,
    /// The call that the others wait for; the rest of those under way are late.
    awaited: Option<u64>,
    threads: usize,
    /// Threads without a call.
    idle: usize,
    ended: bool,
}

impl Dispatcher {
    /// Starts the first thread.
    pub(crate) fn start() -> Result<Arc<Self>> {
        let dispatcher = Arc::new(Self { queue: Mutex::default(), news: Condvar::new() });
        dispatcher.add_thread(&mut dispatcher.queue())?;
        Ok(dispatcher)
    }

    /// Puts `what` in the queue. It is the caller's to put nothing there twice.
    pub(crate) fn push(self: &Arc<Self>, what: Arc<dyn Deliver>) {
        let mut queue = self.queue();
        if queue.ended {
            return;
        }
        queue.waiting.push_back(what);
        if queue.idle == 0
            && queue.threads < THREADS
            && let Err(error) = self.add_thread(&mut queue)
        {
            tracing::warn!(%error, "callbacks wait for a slow one");
        }
        drop(queue);
        self.news.notify_all();
    }

    /// How many callbacks have been running for longer than they may.
    pub(crate) fn late(&self) -> usize {
        let queue = self.queue();
        queue.running.iter().filter(|(number, _)| Some(*number) != queue.awaited).count()
    }

    /// Ends after the calls that run; never waited for, since it may be made by one of them.
    pub(crate) fn shutdown(&self) {
        let waiting = {
            let mut queue = self.queue();
            queue.ended = true;
            std::mem::take(&mut queue.waiting)
        };
        self.news.notify_all();
        drop(waiting); // What callbacks own goes without the lock.
    }

    fn add_thread(self: &Arc<Self>, queue: &mut Queue) -> Result<()> {
        let thread = Arc::clone(self);
        runtime::thread("callbacks", move || thread.serve())?;
        queue.threads += 1;
        queue.idle += 1;
        Ok(())
    }

    fn serve(&self) {
        let mut queue = self.queue();
        loop {
            let (next, back) = self.next(queue);
            queue = back;
            let Some((number, what)) = next else { break };
            queue.idle -= 1;
            drop(queue);
            what.deliver();
            drop(what);
            queue = self.queue();
            queue.idle += 1;
            let done = queue.running.extract_if(.., |(other, _)| *other == number);
            let done: Vec<_> = done.collect();
            if queue.awaited == Some(number) {
                queue.awaited = None;
            }
            drop(queue);
            drop(done);
            self.news.notify_all();
            queue = self.queue();
        }
        queue.idle -= 1;
        queue.threads -= 1;
    }

    /// What to call next, or the end of this thread; waits for it.
    fn next<'a>(
        &'a self,
        mut queue: MutexGuard<'a, Queue>,
    ) -> (Option<Numbered>, MutexGuard<'a, Queue>) {
        loop {
            if queue.ended {
                return (None, queue);
            }
            let Some(at) = queue.first_ready() else {
                if queue.idle > SPARE {
                    return (None, queue);
                }
                queue = self.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let Some(awaited) = queue.awaited else {
                let next = queue.take(at);
                return (next, queue);
            };
            let waited = self
                .news
                .wait_timeout_while(queue, BUDGET, |queue| {
                    queue.awaited == Some(awaited) && !queue.ended
                })
                .unwrap_or_else(PoisonError::into_inner);
            queue = waited.0;
            if waited.1.timed_out() && queue.awaited == Some(awaited) {
                tracing::warn!(
                    "a callback takes longer than {BUDGET:?}; others no longer wait for it"
                );
                queue.awaited = None;
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// The first that is not being called already.
    fn first_ready(&self) -> Option<usize> {
        let is_running = |what: &Arc<dyn Deliver>| {
            self.running
                .iter()
                .any(|(_, other)| std::ptr::addr_eq(&raw const **other, &raw const **what))
        };
        self.waiting.iter().position(|what| !is_running(what))
    }

    /// Begins the call of the one at this place.
    fn take(&mut self, at: usize) -> Option<Numbered> {
        let what = self.waiting.remove(at)?;
        self.numbered += 1;
        self.awaited = Some(self.numbered);
        self.running.push((self.numbered, Arc::clone(&what)));
        Some((self.numbered, what))
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
