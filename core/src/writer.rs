//! The writer: one thread that owns the engine, and its task queue.
//!
//! A caller passes a closure and gets a future, which needs no runtime. Dropping the future does
//! not cancel the closure, so a caller never interrupts a transaction halfway. Closures run in the
//! order of the calls. A panic in a closure becomes an error after the engine has rolled back.
//!
//! Writes that wait at the same time share a transaction (`group`). A caller that blocks anyway runs
//! its closure on its own thread if no task waits or runs: waking the writer's thread and being woken
//! by it costs more than a small write.
//!
//! While the app is suspended, the thread drops the engine with its file and lock, and reopens it
//! later.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use tokio::sync::oneshot;

use crate::engine::Engine;
use crate::error::{Error, InputFault, Result};
use crate::runtime;
use crate::slow::{self, Calls};

mod group;
mod task;

pub use group::Transact;
pub use task::Task;

use group::{OneWrite, Write, Writes};

/// The thread that owns the engine. Clones share the thread; it ends by [`Writer::shutdown`], or
/// with the last clone.
pub struct Writer<T = Engine> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    work: Sender<Job<T>>,
    /// Tasks that were passed to the thread and have not begun, and writes that have not ended.
    waiting: Arc<AtomicUsize>,
    /// Held by the thread only, so that the engine is dropped there.
    desk: Weak<Mutex<WorkerState<T>>>,
    /// Set before the engine is dropped, so that queued tasks fail immediately.
    suspended: Arc<AtomicBool>,
    /// The running task.
    calls: Calls,
}

/// A task for the thread. The engine is `None` while suspended.
enum Job<T> {
    Alone(Alone<T>),
    Write(Box<dyn Write<T>>),
}

type Alone<T> = Box<dyn FnOnce(&mut WorkerState<T>) + Send>;

/// State of the writer thread.
struct WorkerState<T> {
    engine: Option<T>,
    open: Box<dyn FnMut() -> Result<T> + Send>,
    between: Between<T>,
    suspended: Arc<AtomicBool>,
    calls: Calls,
    ended: bool,
}

/// Runs between two tasks; the flag says whether the queue is empty.
type Between<T> = Box<dyn FnMut(&mut T, bool) + Send>;

thread_local! {
    /// The writer whose task runs on this thread, by the address of its count of waiting tasks.
    static RUNNING: Cell<*const AtomicUsize> = const { Cell::new(std::ptr::null()) };
}

impl<T: Transact + Send + 'static> Writer<T> {
    /// Starts the thread, which creates its engine with `open`. Completes when the engine is open.
    ///
    /// # Errors
    /// Those of `open`, and [`StorageFault::Io`](crate::StorageFault::Io) if no thread can be started.
    pub fn start(open: impl FnMut() -> Result<T> + Send + 'static) -> Task<Self> {
        Self::start_with(open, |_, _| {})
    }

    /// [`Writer::start`] with a function that runs between two tasks, after the result of the first
    /// was sent. Its flag says whether the queue is empty.
    pub(crate) fn start_with(
        open: impl FnMut() -> Result<T> + Send + 'static,
        between: impl FnMut(&mut T, bool) + Send + 'static,
    ) -> Task<Self> {
        let (work, todo) = mpsc::channel();
        let (reply, receiver) = oneshot::channel();
        let desk = Arc::new(Mutex::new(WorkerState {
            engine: None,
            open: Box::new(open),
            between: Box::new(between),
            suspended: Arc::default(),
            calls: Calls::default(),
            ended: false,
        }));
        let (suspended, calls) = {
            let desk = locked(&desk);
            (Arc::clone(&desk.suspended), desk.calls.clone())
        };
        let waiting = Arc::default();
        let shared = Shared { work, waiting, desk: Arc::downgrade(&desk), suspended, calls };
        let waiting = Arc::clone(&shared.waiting);
        let writer = Self { shared: Arc::new(shared) };
        let started = runtime::thread("writer", move || {
            RUNNING.set(Arc::as_ptr(&waiting));
            let opened = locked(&desk).open();
            // The thread keeps no clone, so that it ends when the last one is dropped.
            let _ = match opened {
                Ok(()) => reply.send(Ok(writer)),
                Err(error) => return drop(reply.send(Err(error))),
            };
            serve(&desk, &todo, &waiting);
        });
        match started {
            Ok(_) => Task::coming(receiver),
            Err(error) => Task::ready(Err(error)),
        }
    }

    /// Runs `body` with the engine, after all earlier tasks.
    ///
    /// # Errors
    /// Those of `body`; [`InputFault::Reentrant`] on the writer's own thread; [`Error::Internal`] if it
    /// panics; [`Error::Suspended`] and [`Error::Closed`] if `body` did not run.
    pub fn call<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut T) -> Result<R> + Send + 'static,
    ) -> Task<R> {
        self.hand_in(move |desk| desk.with_engine(body))
    }

    /// Runs `body` in a transaction, after all earlier tasks. If `shares`, other writes that wait may be
    /// in the same transaction, and both closures may run again after a rollback.
    ///
    /// # Errors
    /// As [`Writer::call`].
    pub(crate) fn write<R: Send + 'static>(
        &self,
        shares: impl FnMut(&mut T) -> bool + Send + 'static,
        body: impl FnMut(&mut T) -> Result<R> + Send + 'static,
    ) -> Task<R> {
        let (reply, receiver) = oneshot::channel();
        self.pass(Job::Write(Box::new(OneWrite::new(shares, body, reply))), receiver)
    }

    /// Passes the engine, or the error why there is none, to `body` after all earlier tasks. `body`
    /// returns its results itself. It is dropped if the thread ends before.
    ///
    /// # Errors
    /// [`InputFault::Reentrant`], [`Error::Closed`]: `body` was dropped without running.
    pub(crate) fn hold(&self, body: impl FnOnce(Result<&mut T>) + Send + 'static) -> Result<()> {
        if self.is_current() {
            return Err(InputFault::Reentrant.into());
        }
        let work = Box::new(move |desk: &mut WorkerState<T>| {
            if let Err(panic) = caught(|| body(desk.engine())) {
                tracing::error!(panic = panic_text(&*panic), "engine closure panicked");
            }
        });
        self.shared.send(Job::Alone(work))
    }

    /// [`Writer::call`] that blocks this thread, or runs `body` on it if the writer is free.
    pub fn call_blocking<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut T) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.call_if_free(body).unwrap_or_else(|body| self.call(body).wait())
    }

    /// Runs `body` on this thread if no task waits or runs; otherwise gives it back.
    ///
    /// # Errors
    /// The inner ones are those of [`Writer::call`].
    pub(crate) fn call_if_free<R, F>(&self, body: F) -> std::result::Result<Result<R>, F>
    where
        F: FnOnce(&mut T) -> Result<R>,
    {
        // The caller's own earlier tasks are counted, so they run first.
        if self.shared.waiting.load(Ordering::Acquire) != 0 {
            return Err(body);
        }
        let Some(desk) = self.shared.desk.upgrade() else { return Err(body) };
        let mut desk = match desk.try_lock() {
            Ok(desk) => desk,
            Err(TryLockError::Poisoned(desk)) => desk.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(body),
        };
        let outer = RUNNING.replace(Arc::as_ptr(&self.shared.waiting));
        let mut result = None;
        desk.run(|desk| result = Some(desk.with_engine(body)));
        desk.look_after(self.shared.waiting.load(Ordering::Acquire) == 0);
        RUNNING.set(outer);
        Ok(result.unwrap_or(Err(Error::Closed)))
    }

    /// Drops the engine with its connection and lock. Queued tasks fail with [`Error::Suspended`].
    pub fn suspend(&self) -> Task<()> {
        if !self.is_current() {
            self.shared.suspended.store(true, Ordering::Release);
        }
        self.hand_in(|desk| {
            desk.engine = None;
            Ok(())
        })
    }

    /// Opens the engine again, unless it is open, and runs `body` before any queued task.
    ///
    /// # Errors
    /// Those of opening and of `body`; the writer then stays suspended.
    pub fn resume_with<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut T) -> Result<R> + Send + 'static,
    ) -> Task<R> {
        self.hand_in(move |desk| {
            if desk.engine.is_none() {
                desk.open()?;
            }
            let engine = desk.engine.as_mut().ok_or(Error::Suspended)?;
            let result = caught(|| body(engine)).unwrap_or_else(|panic| Err(bug(&*panic)));
            if result.is_err() {
                desk.engine = None;
            } else {
                desk.suspended.store(false, Ordering::Release);
            }
            result
        })
    }

    /// Ends the thread after all earlier tasks; the file is closed when this completes. Later calls
    /// fail with [`Error::Closed`].
    pub fn shutdown(&self) -> Task<()> {
        self.hand_in(|desk| {
            desk.engine = None;
            desk.ended = true;
            Ok(())
        })
    }

    /// Whether the running task exceeds its time budget.
    pub(crate) fn is_slow(&self) -> bool {
        self.shared.calls.are_slow(slow::WORK)
    }

    /// Whether a task of this writer runs on this thread.
    pub fn is_current(&self) -> bool {
        RUNNING.get() == Arc::as_ptr(&self.shared.waiting)
    }

    fn hand_in<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut WorkerState<T>) -> Result<R> + Send + 'static,
    ) -> Task<R> {
        let (reply, receiver) = oneshot::channel();
        let work = Box::new(move |desk: &mut WorkerState<T>| {
            let _ = reply.send(body(desk));
        });
        self.pass(Job::Alone(work), receiver)
    }

    /// Passes a task to the thread; its result comes from `receiver`.
    fn pass<R>(&self, work: Job<T>, receiver: oneshot::Receiver<Result<R>>) -> Task<R> {
        if self.is_current() {
            return Task::ready(Err(Error::InvalidInput(InputFault::Reentrant)));
        }
        match self.shared.send(work) {
            Ok(()) => Task::coming(receiver),
            Err(error) => Task::ready(Err(error)),
        }
    }
}

impl<T> Shared<T> {
    fn send(&self, work: Job<T>) -> Result<()> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.work.send(work).map_err(|_| Error::Closed)
    }
}

impl<T> WorkerState<T> {
    /// The engine, unless the app is suspended or the writer was shut down.
    fn engine(&mut self) -> Result<&mut T> {
        if self.ended {
            return Err(Error::Closed);
        }
        let suspended = self.suspended.load(Ordering::Acquire);
        self.engine.as_mut().filter(|_| !suspended).ok_or(Error::Suspended)
    }

    fn with_engine<R>(&mut self, body: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        let engine = self.engine()?;
        caught(|| body(engine)).unwrap_or_else(|panic| Err(bug(&*panic)))
    }

    fn open(&mut self) -> Result<()> {
        let open = &mut self.open;
        self.engine = Some(caught(open).unwrap_or_else(|panic| Err(bug(&*panic)))?);
        Ok(())
    }

    fn run(&mut self, work: impl FnOnce(&mut Self)) {
        let call = self.calls.begin();
        work(self);
        drop(call);
    }

    fn look_after(&mut self, idle: bool) {
        let Some(engine) = &mut self.engine else { return };
        let between = &mut self.between;
        if let Err(panic) = caught(|| between(engine, idle)) {
            tracing::error!(panic = panic_text(&*panic), "the function between two tasks panicked");
        }
    }
}

fn locked<T>(desk: &Mutex<WorkerState<T>>) -> MutexGuard<'_, WorkerState<T>> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs tasks until shutdown, or until the last [`Writer`] is dropped.
fn serve<T: Transact>(
    desk: &Mutex<WorkerState<T>>,
    todo: &Receiver<Job<T>>,
    waiting: &AtomicUsize,
) {
    let (mut writes, mut next) = (Writes::default(), None);
    loop {
        // The writes that wait, up to the next task of another kind.
        while next.is_none() && !writes.is_full() {
            let job = if writes.is_empty() { todo.recv().ok() } else { todo.try_recv().ok() };
            match job {
                Some(Job::Write(write)) => writes.push(write),
                Some(Job::Alone(work)) => next = Some(work),
                None if writes.is_empty() => return,
                None => break,
            }
        }
        let mut desk = locked(desk);
        let counted_off = |count| {
            waiting.fetch_sub(count, Ordering::AcqRel);
        };
        if !writes.is_empty() {
            desk.run(|desk| writes.run(desk.engine(), counted_off));
        } else if let Some(work) = next.take() {
            counted_off(1);
            desk.run(work);
        }
        if desk.ended {
            return;
        }
        desk.look_after(waiting.load(Ordering::Acquire) == 0);
    }
}

/// Runs `body` and returns a panic as its payload.
pub(crate) fn caught<R>(body: impl FnOnce() -> R) -> std::result::Result<R, Box<dyn Any + Send>> {
    // State that the closure shares is behind locks or in the engine, which rolls back on
    // unwinding.
    catch_unwind(AssertUnwindSafe(body))
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The error for a panic of the engine.
pub(crate) fn bug(panic: &(dyn Any + Send)) -> Error {
    Error::Internal(format!("panicked: {}", panic_text(panic)))
}

impl<T> Clone for Writer<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Writer<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Writer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
