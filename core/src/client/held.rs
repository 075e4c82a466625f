//! Transactions and snapshots that a handle holds, from code that waits between two statements.
//!
//! A closure cannot wait for somebody else's asynchronous code without holding a thread of theirs, so what comes over a
//! border gets a handle instead: the thread that has the connection serves the handle's [`Line`] until it ends. Orders are
//! done in the order in which they were given; each is answered. Whatever ends a line (commit, rollback, the handle's drop,
//! silence, suspension, shutdown) is remembered, and is the answer of every later order: nobody waits for a line that is gone.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use crate::ending::{Ending, Leave};
use crate::error::Error;
use crate::host::Host;

mod action;
mod snapshot;
mod transaction;

pub use action::{AsyncAction, HeldContext};
pub use snapshot::HeldSnapshot;
pub use transaction::HeldTransaction;
pub(super) use transaction::run_all;

/// What the holder of a handle wants done.
pub(super) trait Order: Send + 'static {
    /// Answers instead of doing it.
    fn refuse(self, error: Error);
}

/// Orders on their way from a handle to the thread that serves it.
pub(super) struct Line<O> {
    state: Mutex<State<O>>,
    news: Condvar,
    host: Arc<dyn Host>,
    /// How long the server waits for an order.
    idle: Duration,
    /// When it stops in any case.
    until: Option<Duration>,
}

struct State<O> {
    orders: VecDeque<O>,
    /// When the server stops waiting; set while it waits.
    deadline: Option<Duration>,
    /// No order is taken on any more; those that are here will be done.
    closing: Option<Ending>,
    /// Nothing will be done any more.
    ended: Option<Ending>,
}

impl<O: Order> Line<O> {
    pub(super) fn new(host: Arc<dyn Host>, idle: Duration) -> Arc<Self> {
        Self::within(host, idle, None)
    }

    /// One that ends at that moment of the clock, however busy it is.
    pub(super) fn within(
        host: Arc<dyn Host>,
        idle: Duration,
        until: Option<Duration>,
    ) -> Arc<Self> {
        let state = State { orders: VecDeque::new(), deadline: None, closing: None, ended: None };
        Arc::new(Self { state: Mutex::new(state), news: Condvar::new(), host, idle, until })
    }

    /// Gives an order; it is answered in any case.
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

    /// The server is done with an order, and about to tell: from here on it waits.
    pub(super) fn rest(&self) {
        self.state().deadline = Some(self.host.elapsed() + self.idle);
    }

    /// The next order, or why there will be none; waits for it.
    pub(super) fn take(self: &Arc<Self>) -> Result<O, Ending> {
        let mut state = self.state();
        loop {
            if let Some(ended) = &state.ended {
                return Err(ended.clone());
            }
            if self.until.is_some_and(|until| self.host.elapsed() >= until) {
                state.ended = Some(Ending::TimedOut);
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
            // Before the clock is looked at, so that no move of it goes unheard.
            self.host.on_moved(Waker::from(Arc::clone(self)));
            let now = self.host.elapsed();
            let deadline = *state.deadline.get_or_insert(now + self.idle);
            let deadline = self.until.map_or(deadline, |until| until.min(deadline));
            let left = deadline.saturating_sub(now);
            if left.is_zero() {
                state.ended = Some(Ending::TimedOut);
                continue;
            }
            let waited = self.news.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes no more orders; those that are here are done, then it ends so.
    pub(super) fn close(&self, ending: Ending) {
        let mut state = self.state();
        self.expire(&mut state);
        state.closing.get_or_insert(ending);
        self.news.notify_all();
    }

    /// It is over; what was not done is refused.
    pub(super) fn end(&self, ending: Ending) {
        let mut state = self.state();
        let error = || ending.error();
        let refused = std::mem::take(&mut state.orders);
        let errors: Vec<_> = refused.iter().map(|_| error()).collect();
        state.ended = Some(ending);
        drop(state);
        refused.into_iter().zip(errors).for_each(|(order, error)| order.refuse(error));
    }

    /// What stopped a statement that says it was suspended.
    pub(super) fn explain(&self, error: Error) -> Error {
        let state = self.state();
        match (error, state.ended.as_ref().or(state.closing.as_ref())) {
            (Error::Suspended, Some(Ending::Shutdown)) => Error::Shutdown,
            (error, _) => error,
        }
    }
}

impl<O> Line<O> {
    fn state(&self) -> MutexGuard<'_, State<O>> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whatever comes too late comes after the end, however late the server itself notices.
    fn expire(&self, state: &mut State<O>) {
        let late = || state.deadline.is_some_and(|deadline| self.host.elapsed() >= deadline);
        if state.ended.is_none() && state.orders.is_empty() && late() {
            state.ended = Some(Ending::TimedOut);
            self.news.notify_all();
        }
    }
}

impl<O: Order> Leave for Line<O> {
    fn leave(&self, ending: &Ending) {
        if matches!(ending, Ending::Suspended) {
            // The system may stop the process at any moment: at once, whatever was ordered.
            let mut state = self.state();
            self.expire(&mut state);
            state.ended.get_or_insert(Ending::Suspended);
            self.news.notify_all();
        } else {
            self.close(ending.clone());
        }
    }
}

impl<O: Send + 'static> Wake for Line<O> {
    fn wake(self: Arc<Self>) {
        // With the lock, or it falls between the server's look at the clock and its sleep.
        let _state = self.state();
        self.news.notify_all();
    }
}

impl<O> fmt::Debug for Line<O> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Line").finish_non_exhaustive()
    }
}
