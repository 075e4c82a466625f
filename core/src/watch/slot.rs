//! Where a watch's latest result lies until its reader fetches it.
//!
//! Promise: all results that are kept for a watch lie here, and go when it is cancelled, not when the next commit comes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::delivery::{Callback, Cancel, Deliver, Dispatcher};
use super::difference::{Difference, Update};
use crate::error::Result;
use crate::row_buffer::RowBuffer;

/// One result, the newest. Who watches has one end, the hub the other.
pub(crate) struct Slot {
    itself: Weak<Slot>,
    /// Columns that name a row; empty for none.
    key: Vec<String>,
    state: Mutex<State>,
    waker: AtomicWaker,
    dispatcher: Arc<Dispatcher>,
}

#[derive(Default)]
struct State {
    latest: Option<Result<RowBuffer>>,
    /// The last result of a run, to compare with; none after an error.
    last: Option<RowBuffer>,
    /// What the reader got last: differences are against this.
    given: Option<RowBuffer>,
    /// Whether an error came after that.
    failed: bool,
    course: Course,
    callback: Option<Arc<Callback<Result<Update>>>>,
    queued: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Course {
    #[default]
    Going,
    /// The client ended: what lies here can still be fetched.
    Ended,
    /// Nobody watches any more: no result is kept.
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

    /// The columns that name a row.
    pub(crate) fn key(&self) -> &[String] {
        &self.key
    }

    /// Whether nobody watches any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.state().course == Course::Cancelled
    }

    /// Whether the last run gave these rows too.
    pub(crate) fn shows(&self, rows: &RowBuffer) -> bool {
        let last = self.state().last.clone();
        last.as_ref() == Some(rows)
    }

    /// Lays a new result down, in place of one that was not fetched.
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

    /// No result will come any more.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        if state.course == Course::Going {
            state.course = Course::Ended;
        }
        drop(state);
        self.waker.wake();
    }

    /// From now on results go to `function`, the one that lies here first.
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

    /// Fetches the latest result, if it is not what the reader has.
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
            // A result can change and change back before anybody looks.
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

    /// Tells whoever waits that there is something.
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
        drop(was); // The results, which may be large, with no lock held.
    }
}
