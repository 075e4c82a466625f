//! The threads that run the app's callbacks, without holding locks.
//!
//! Callbacks run one at a time, in queue order. One that exceeds [`BUDGET`] is late: it runs on,
//! and another thread continues with the others. No callback runs on two threads at once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Result;
use crate::runtime;
use crate::writer::{caught, panic_text};

/// How long a callback may run before others stop waiting for it.
pub(crate) const BUDGET: Duration = Duration::from_secs(1);

/// Maximum number of threads. If all have late callbacks, the others wait.
const THREADS: usize = 8;

/// Maximum number of idle threads.
const SPARE: usize = 2;

/// A source of callback invocations.
pub(crate) trait Deliver: Send + Sync {
    /// Invokes the callback with the current news; only on the dispatcher's threads, one at a time.
    fn deliver(&self);
}

/// Something that a subscription cancels.
pub(crate) trait Cancel: Send + Sync {
    /// No call starts after this.
    fn cancel(&self);
}

/// The queue of callback invocations.
pub(crate) struct Dispatcher {
    queue: Mutex<Queue>,
    news: Condvar,
}

/// A call with its number.
type Numbered = (u64, Arc<dyn Deliver>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<dyn Deliver>>,
    /// Running calls with their numbers.
    running: Vec<Numbered>,
    /// The last assigned number.
    numbered: u64,
    /// The call that others wait for; other running calls are late.
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

    /// Queues `what`. The caller must not queue it twice.
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
            tracing::warn!(%error, "no new thread; callbacks wait for a slow one");
        }
        drop(queue);
        self.news.notify_all();
    }

    /// The number of late callbacks.
    pub(crate) fn late(&self) -> usize {
        let queue = self.queue();
        queue.running.iter().filter(|(number, _)| Some(*number) != queue.awaited).count()
    }

    /// Shuts down after the running calls; does not wait, because one of them may be the caller.
    pub(crate) fn shutdown(&self) {
        let waiting = {
            let mut queue = self.queue();
            queue.ended = true;
            std::mem::take(&mut queue.waiting)
        };
        self.news.notify_all();
        drop(waiting); // Drops the callbacks' captures without the lock.
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

    /// Waits for the next call, or for the end of this thread.
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
    /// The first queued call that is not already running.
    fn first_ready(&self) -> Option<usize> {
        let is_running = |what: &Arc<dyn Deliver>| {
            self.running
                .iter()
                .any(|(_, other)| std::ptr::addr_eq(&raw const **other, &raw const **what))
        };
        self.waiting.iter().position(|what| !is_running(what))
    }

    /// Starts the call at this position.
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

/// A function of the app that is called by one thread at a time and dropped when cancelled.
pub(crate) struct Callback<T> {
    state: Mutex<State<T>>,
}

type Function<T> = Box<dyn FnMut(T) + Send>;

enum State<T> {
    Here(Function<T>),
    /// Currently running.
    Away,
    Cancelled,
}

impl<T> Callback<T> {
    pub(crate) fn new(function: Function<T>) -> Self {
        Self { state: Mutex::new(State::Here(function)) }
    }

    /// Calls it, unless cancelled. A panic is logged and ignored.
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
        drop(came_back); // The function, if it was cancelled during the call.
    }

    /// Drops the function, now or after the running call.
    pub(crate) fn cancel(&self) {
        let dropped = self.swap(|_| true, State::Cancelled);
        drop(dropped);
    }

    /// Stores `new` if `fits`; returns the value that is not stored, to be dropped without the
    /// lock.
    fn swap(&self, fits: impl FnOnce(&State<T>) -> bool, new: State<T>) -> State<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if fits(&state) { std::mem::replace(&mut state, new) } else { new }
    }
}
