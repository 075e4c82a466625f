//! The latest result of a watch until its reader fetches it.
//!
//! All stored results of a watch are here, and are dropped when it is cancelled, not at the next
//! commit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::delivery::{Callback, Cancel, Deliver, Dispatcher};
use super::difference::{Difference, Update};
use crate::error::Result;
use crate::row_buffer::RowBuffer;

/// The newest result, shared by the watch and the hub.
pub(crate) struct Slot {
    itself: Weak<Slot>,
    /// Columns that identify a row; empty for none.
    key: Vec<String>,
    state: Mutex<State>,
    waker: AtomicWaker,
    dispatcher: Arc<Dispatcher>,
}

#[derive(Default)]
struct State {
    latest: Option<Result<RowBuffer>>,
    /// The last result, for comparison; none after an error.
    last: Option<RowBuffer>,
    /// The result that the reader has: differences are relative to it.
    given: Option<RowBuffer>,
    /// Whether an error followed that result.
    failed: bool,
    course: Course,
    callback: Option<Arc<Callback<Result<Update>>>>,
    queued: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Course {
    #[default]
    Going,
    /// The client has shut down; the stored result can still be fetched.
    Ended,
    /// Cancelled: no result is stored.
    Cancelled,
}

impl Slot {
    pub(crate) fn new(key: Vec<String>, dispatcher: Arc<Dispatcher>) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            itself: Weak::clone(itself),
            key,
            state: Mutex::default(),
            waker: AtomicWaker::new(),
            dispatcher,
        })
    }

    /// The columns that identify a row.
    pub(crate) fn key(&self) -> &[String] {
        &self.key
    }

    /// Whether the watch is cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.state().course == Course::Cancelled
    }

    /// Whether the last run had the same rows.
    pub(crate) fn shows(&self, rows: &RowBuffer) -> bool {
        let last = self.state().last.clone();
        last.as_ref() == Some(rows)
    }

    /// Stores a new result, replacing one that was not fetched.
    pub(crate) fn put(&self, result: Result<RowBuffer>) {
        let mut state = self.state();
        if state.course == Course::Cancelled {
            return;
        }
        let before = std::mem::replace(&mut state.last, result.as_ref().ok().cloned());
        let replaced = state.latest.replace(result);
        self.announce(state);
        drop((before, replaced));
    }

    /// Marks the end: no more results follow.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        if state.course == Course::Going {
            state.course = Course::Ended;
        }
        drop(state);
        self.waker.wake();
    }

    /// Delivers results to `function`, beginning with the stored one.
    pub(crate) fn deliver_to(&self, function: Box<dyn FnMut(Result<Update>) + Send>) {
        let mut state = self.state();
        state.callback = Some(Arc::new(Callback::new(function)));
        if state.latest.is_some() {
            self.announce(state);
        }
    }

    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Result<Update>>> {
        self.waker.register(context.waker());
        if let Some(update) = self.take() {
            return Poll::Ready(Some(update));
        }
        if self.state().course == Course::Going { Poll::Pending } else { Poll::Ready(None) }
    }

    /// Takes the latest result, unless the reader already has it.
    fn take(&self) -> Option<Result<Update>> {
        let (rows, before) = {
            let mut state = self.state();
            let rows = match state.latest.take()? {
                Ok(rows) => rows,
                Err(error) => {
                    state.failed = true;
                    return Some(Err(error));
                }
            };
            // A result can change and change back before it is fetched.
            let failed = std::mem::take(&mut state.failed);
            if !failed && state.given.as_ref() == Some(&rows) {
                return None;
            }
            (rows.clone(), state.given.replace(rows))
        };
        let difference = (!self.key.is_empty())
            .then(|| Difference::between(before.as_ref(), &rows, &self.key))
            .transpose();
        Some(difference.map(|difference| Update { rows, difference }))
    }

    /// Wakes the waiting reader.
    fn announce(&self, mut state: MutexGuard<'_, State>) {
        let queue = state.callback.is_some() && !state.queued;
        state.queued |= queue;
        drop(state);
        self.waker.wake();
        if queue && let Some(itself) = self.itself.upgrade() {
            self.dispatcher.push(itself);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deliver for Slot {
    fn deliver(&self) {
        let callback = {
            let mut state = self.state();
            state.queued = false;
            state.callback.clone()
        };
        if let Some(callback) = callback
            && let Some(update) = self.take()
        {
            callback.call(update);
        }
    }
}

impl Cancel for Slot {
    fn cancel(&self) {
        let was = {
            let mut state = self.state();
            std::mem::replace(&mut *state, State { course: Course::Cancelled, ..State::default() })
        };
        if let Some(callback) = &was.callback {
            callback.cancel();
        }
        drop(was); // Drops the results, which may be large, without the lock.
    }
}
