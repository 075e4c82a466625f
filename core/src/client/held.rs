//! Interactive transactions and snapshots, controlled by a handle across several calls.
//!
//! A closure cannot wait for asynchronous app code without blocking a thread, so code behind the
//! FFI boundary gets a handle. The thread that owns the connection serves the handle's [`CommandQueue`]
//! until it ends. Commands run in order and each gets a result. The reason for the end (commit,
//! rollback, drop, timeout, suspension, shutdown) is stored and returned to every later command.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use crate::ending::{CancelHandle, EndReason};
use crate::error::Error;
use crate::host::Host;

mod action;
pub(super) mod snapshot;
pub(super) mod transaction;

pub use action::{AsyncAction, HeldContext};
pub use snapshot::HeldSnapshot;
pub use transaction::HeldTransaction;
pub(super) use transaction::run_all;

/// A command from a handle.
pub(super) trait HandleCommand: Send + 'static {
    /// Returns this error instead of running the command.
    fn refuse(self, error: Error);
}

/// The command queue from a handle to the thread that serves it.
pub(super) struct CommandQueue<O> {
    state: Mutex<State<O>>,
    news: Condvar,
    host: Arc<dyn Host>,
    /// Idle timeout: the maximum wait for a command.
    idle: Duration,
    /// Absolute deadline.
    until: Option<Duration>,
}

struct State<O> {
    orders: VecDeque<O>,
    /// When the current wait times out; set while waiting.
    deadline: Option<Duration>,
    /// No new commands are accepted; the queued ones still run.
    closing: Option<EndReason>,
    /// No command runs any more.
    ended: Option<EndReason>,
}

impl<O: HandleCommand> CommandQueue<O> {
    pub(super) fn new(host: Arc<dyn Host>, idle: Duration) -> Arc<Self> {
        Self::within(host, idle, None)
    }

    /// A queue with an absolute deadline, however busy it is.
    pub(super) fn within(
        host: Arc<dyn Host>,
        idle: Duration,
        until: Option<Duration>,
    ) -> Arc<Self> {
        let state = State { orders: VecDeque::new(), deadline: None, closing: None, ended: None };
        Arc::new(Self { state: Mutex::new(state), news: Condvar::new(), host, idle, until })
    }

    /// Queues a command; it always gets a result.
    pub(super) fn push(&self, order: O) {
        let mut state = self.state();
        self.expire(&mut state);
        let Some(over) = state.ended.as_ref().or(state.closing.as_ref()) else {
            state.orders.push_back(order);
            self.news.notify_all();
            return;
        };
        let error = over.error();
        drop(state);
        order.refuse(error);
    }

    /// Starts the idle timeout; called just before the result of a command is sent.
    pub(super) fn rest(&self) {
        self.state().deadline = Some(self.host.elapsed() + self.idle);
    }

    /// Waits for the next command; returns the reason if there will be none.
    pub(super) fn take(self: &Arc<Self>) -> Result<O, EndReason> {
        let mut state = self.state();
        loop {
            if let Some(ended) = &state.ended {
                return Err(ended.clone());
            }
            if self.until.is_some_and(|until| self.host.elapsed() >= until) {
                state.ended = Some(EndReason::TimedOut);
                continue;
            }
            if let Some(order) = state.orders.pop_front() {
                state.deadline = None;
                return Ok(order);
            }
            let closing = state.closing.clone();
            if closing.is_some() {
                state.ended = closing;
                continue;
            }
            // Registered before the clock is read, so that no change of the clock is missed.
            self.host.on_moved(Waker::from(Arc::clone(self)));
            let now = self.host.elapsed();
            let deadline = *state.deadline.get_or_insert(now + self.idle);
            let deadline = self.until.map_or(deadline, |until| until.min(deadline));
            let left = deadline.saturating_sub(now);
            if left.is_zero() {
                state.ended = Some(EndReason::TimedOut);
                continue;
            }
            let waited = self.news.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Accepts no more commands; ends with `ending` after the queued ones.
    pub(super) fn close(&self, ending: EndReason) {
        let mut state = self.state();
        self.expire(&mut state);
        state.closing.get_or_insert(ending);
        self.news.notify_all();
    }

    /// Ends the queue and refuses the remaining commands.
    pub(super) fn end(&self, ending: EndReason) {
        let mut state = self.state();
        let error = || ending.error();
        let refused = std::mem::take(&mut state.orders);
        let errors: Vec<_> = refused.iter().map(|_| error()).collect();
        state.ended = Some(ending);
        drop(state);
        refused.into_iter().zip(errors).for_each(|(order, error)| order.refuse(error));
    }

    /// Replaces the error of an interrupted statement by its cause.
    pub(super) fn explain(&self, error: Error) -> Error {
        let state = self.state();
        match (error, state.ended.as_ref().or(state.closing.as_ref())) {
            (Error::Suspended, Some(EndReason::Shutdown)) => Error::Closed,
            (error, _) => error,
        }
    }
}

impl<O> CommandQueue<O> {
    fn state(&self) -> MutexGuard<'_, State<O>> {
        // No code under the lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command after the deadline always fails, even if the serving thread has not noticed it
    /// yet.
    fn expire(&self, state: &mut State<O>) {
        let late = || state.deadline.is_some_and(|deadline| self.host.elapsed() >= deadline);
        if state.ended.is_none() && state.orders.is_empty() && late() {
            state.ended = Some(EndReason::TimedOut);
            self.news.notify_all();
        }
    }
}

impl<O: HandleCommand> CancelHandle for CommandQueue<O> {
    fn leave(&self, ending: &EndReason) {
        if matches!(ending, EndReason::Suspended) {
            // The system may stop the process at any moment: discards queued commands.
            let mut state = self.state();
            self.expire(&mut state);
            state.ended.get_or_insert(EndReason::Suspended);
            self.news.notify_all();
        } else {
            self.close(ending.clone());
        }
    }
}

impl<O: Send + 'static> Wake for CommandQueue<O> {
    fn wake(self: Arc<Self>) {
        // Under the lock; otherwise it falls between the thread's clock reading and its sleep.
        let _state = self.state();
        self.news.notify_all();
    }
}

impl<O> fmt::Debug for CommandQueue<O> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Line").finish_non_exhaustive()
    }
}
