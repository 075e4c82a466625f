//! The reader pool: connections that see the last committed state and never wait for the writer.
//!
//! A few threads take queries from a queue in order; each uses its own connection. Threads start on
//! demand. While the app is suspended, and after shutdown, no connection is open.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::ending::{CancelHandle, EndReason};
use crate::engine::{ReadStop, Reader};
use crate::error::{Error, InputFault, Result};
use crate::runtime;
use crate::writer::{Task, caught, panic_text};

thread_local! {
    /// The address of the pool that this thread serves; 0 for none.
    static SERVING: Cell<usize> = const { Cell::new(0) };
}

/// A pool of readers. Clones share the pool.
#[derive(Clone)]
pub(crate) struct Readers {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Mutex<PoolState>,
    work: Condvar,
    /// Interrupts running reads.
    stop: Arc<ReadStop>,
}

/// A task gets a reader, or the error why there is none.
type Work = Box<dyn FnOnce(Result<&mut Reader>) + Send>;

struct PoolState {
    queue: VecDeque<Work>,
    idle: Vec<Reader>,
    busy: usize,
    threads: usize,
    waiting: usize,
    limit: usize,
    state: State,
    /// Callers waiting until no reader is open.
    leaving: Vec<oneshot::Sender<Result<()>>>,
    /// Open interactive snapshots.
    held: Vec<Arc<dyn CancelHandle>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Suspended,
    Ended,
}

impl Readers {
    /// Creates a pool of these connections.
    pub(crate) fn new(readers: Vec<Reader>, stop: Arc<ReadStop>) -> Result<Self> {
        let pool = PoolState {
            queue: VecDeque::new(),
            idle: Vec::new(),
            busy: 0,
            threads: 0,
            waiting: 0,
            limit: readers.len(),
            state: State::Suspended,
            leaving: Vec::new(),
            held: Vec::new(),
        };
        let shared = Shared { pool: Mutex::new(pool), work: Condvar::new(), stop };
        let pool = Self { shared: Arc::new(shared) };
        pool.resume(readers)?;
        Ok(pool)
    }

    /// Runs `body` with a reader.
    ///
    /// # Errors
    /// Those of `body`; [`Error::Callback`] if it panics; [`InputFault::Reentrant`] inside another body
    /// of this pool, which could deadlock; [`Error::Suspended`]; [`Error::Closed`].
    pub(crate) fn call<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Reader) -> Result<R> + Send + 'static,
    ) -> Task<R> {
        if self.is_current() {
            return Task::ready(Err(Error::InvalidInput(InputFault::Reentrant)));
        }
        let (reply, receiver) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let work: Work = Box::new(move |reader| {
            let result = reader.and_then(|reader| {
                caught(|| body(reader)).unwrap_or_else(|panic| Err(foreign(&*panic)))
            });
            // Replaces the error of an interrupted read by its cause.
            let result = match result {
                Err(Error::Suspended) if shared.pool().state == State::Ended => Err(Error::Closed),
                result => result,
            };
            let _ = reply.send(result);
        });
        match self.shared.hand_in(work) {
            Ok(()) => Task::coming(receiver),
            Err(error) => Task::ready(Err(error)),
        }
    }

    /// Passes a reader, or the error why there is none, to `body`, which returns its results
    /// itself.
    ///
    /// # Errors
    /// [`InputFault::Reentrant`], [`Error::Suspended`], [`Error::Closed`]: `body` was dropped.
    pub(crate) fn hold(
        &self,
        body: impl FnOnce(Result<&mut Reader>) + Send + 'static,
    ) -> Result<()> {
        if self.is_current() {
            return Err(InputFault::Reentrant.into());
        }
        self.shared.hand_in(Box::new(move |reader| {
            if let Err(panic) = caught(|| body(reader)) {
                tracing::error!(panic = panic_text(&*panic), "reader closure panicked");
            }
        }))
    }

    /// Ends `held` when the pool is suspended or shut down, until the returned guard is dropped.
    ///
    /// # Errors
    /// [`Error::Suspended`], [`Error::Closed`]: the pool is already closing.
    pub(crate) fn note_held(&self, held: Arc<dyn CancelHandle>) -> Result<impl Drop + use<>> {
        struct Noted(Arc<Shared>, Arc<dyn CancelHandle>);
        impl Drop for Noted {
            fn drop(&mut self) {
                self.0.pool().held.retain(|other| !Arc::ptr_eq(other, &self.1));
            }
        }
        let mut pool = self.shared.pool();
        if pool.state != State::Open {
            return Err(pool.state.refusal());
        }
        pool.held.push(Arc::clone(&held));
        drop(pool);
        Ok(Noted(Arc::clone(&self.shared), held))
    }

    /// Whether this thread runs a task of this pool.
    pub(crate) fn is_current(&self) -> bool {
        SERVING.get() == self.shared.address()
    }

    /// Interrupts running reads and closes all connections. Completes when none is open.
    pub(crate) fn suspend(&self) -> Task<()> {
        self.leave(State::Suspended)
    }

    /// [`Readers::suspend`], permanently.
    pub(crate) fn shutdown(&self) -> Task<()> {
        self.leave(State::Ended)
    }

    /// Continues with new connections.
    pub(crate) fn resume(&self, mut readers: Vec<Reader>) -> Result<()> {
        let mut pool = self.shared.pool();
        if pool.state != State::Suspended {
            return Ok(());
        }
        self.shared.stop.set_all(false);
        for reader in &mut readers {
            reader.stop_when(Arc::clone(&self.shared.stop))?;
        }
        pool.idle = readers;
        pool.state = State::Open;
        Ok(())
    }

    fn leave(&self, state: State) -> Task<()> {
        let (reply, receiver) = oneshot::channel();
        let mut pool = self.shared.pool();
        if pool.state != State::Ended {
            pool.state = state;
        }
        self.shared.stop.set_all(true);
        let closing = std::mem::take(&mut pool.idle);
        let refused = std::mem::take(&mut pool.queue);
        if pool.busy == 0 {
            let _ = reply.send(Ok(()));
        } else {
            pool.leaving.push(reply);
        }
        let (state, held) = (pool.state, std::mem::take(&mut pool.held));
        drop(pool);
        self.shared.work.notify_all();
        for held in held {
            held.leave(&state.ending());
        }
        drop(closing);
        for work in refused {
            work(Err(state.refusal()));
        }
        Task::coming(receiver)
    }
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, PoolState> {
        // No code under the lock can panic.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    fn hand_in(self: &Arc<Self>, work: Work) -> Result<()> {
        let mut pool = self.pool();
        if pool.state != State::Open {
            return Err(pool.state.refusal());
        }
        if pool.waiting <= pool.queue.len() && pool.threads < pool.limit {
            let shared = Arc::clone(self);
            match runtime::thread("reader", move || shared.serve()) {
                Ok(_) => pool.threads += 1,
                Err(error) if pool.threads == 0 => return Err(error),
                Err(_) => {} // The running threads take it.
            }
        }
        pool.queue.push_back(work);
        drop(pool);
        self.work.notify_one();
        Ok(())
    }

    /// The main loop of a thread.
    fn serve(self: Arc<Self>) {
        SERVING.set(self.address());
        let mut pool = self.pool();
        while pool.state != State::Ended {
            let Some(work) = pool.queue.pop_front() else {
                pool.waiting += 1;
                pool = self.work.wait(pool).unwrap_or_else(PoisonError::into_inner);
                pool.waiting -= 1;
                continue;
            };
            // There are as many readers as threads, so one is idle.
            let reader = pool.idle.pop();
            pool.busy += 1;
            drop(pool);
            let reader = self.work_with(reader, work);
            pool = self.pool();
            if pool.state == State::Open {
                pool.idle.extend(reader);
            } else {
                drop(pool);
                drop(reader);
                pool = self.pool();
            }
            // The reader counts as busy until it is closed, so that waiting callers find no lock on
            // the file.
            pool.busy -= 1;
            if pool.state != State::Open && pool.busy == 0 {
                pool.leaving.drain(..).for_each(|reply| drop(reply.send(Ok(()))));
            }
        }
    }

    fn work_with(&self, reader: Option<Reader>, work: Work) -> Option<Reader> {
        let Some(mut reader) = reader else {
            work(Err(self.pool().state.refusal()));
            return None;
        };
        reader.begin_work();
        work(Ok(&mut reader));
        Some(reader)
    }
}

impl State {
    fn ending(self) -> EndReason {
        if self == Self::Ended { EndReason::Shutdown } else { EndReason::Suspended }
    }

    fn refusal(self) -> Error {
        if self == Self::Ended { Error::Closed } else { Error::Suspended }
    }
}

/// The error for a panic of the app's closure.
pub(crate) fn foreign(panic: &(dyn Any + Send)) -> Error {
    Error::Callback(format!("panicked: {}", panic_text(panic)))
}

impl fmt::Debug for Readers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Readers").finish_non_exhaustive()
    }
}
