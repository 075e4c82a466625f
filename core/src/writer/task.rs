//! The result of a call that runs on another thread: a future that needs no runtime.
//!
//! Dropping it does not cancel the call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::block_on::{block_on, block_until};
use crate::error::{Error, Result};

/// A future for the result of a task. Dropping it does not cancel the task.
#[must_use = "the call has started; await it or call `wait` to get its result and its errors"]
pub struct Task<R>(TaskState<R>);

enum TaskState<R> {
    Ready(Option<Result<R>>),
    Coming(oneshot::Receiver<Result<R>>),
}

impl<R> Task<R> {
    /// A future that is already complete.
    pub(crate) fn ready(result: Result<R>) -> Self {
        Self(TaskState::Ready(Some(result)))
    }

    /// A future for the value from `receiver`; [`Error::Closed`] if its sender is dropped.
    pub(crate) fn coming(receiver: oneshot::Receiver<Result<R>>) -> Self {
        Self(TaskState::Coming(receiver))
    }

    /// Waits on this thread, without an executor.
    pub fn wait(self) -> Result<R> {
        block_on(self)
    }

    /// [`Task::wait`] with a deadline; `None` after it. The task runs on.
    pub(crate) fn wait_until(self, until: Instant) -> Option<Result<R>> {
        block_until(self, Some(until))
    }
}

// Nothing in it is pinned.
impl<R> Unpin for Task<R> {}

impl<R> Future for Task<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        match &mut self.0 {
            TaskState::Ready(result) => Poll::Ready(result.take().unwrap_or(Err(Error::Closed))),
            TaskState::Coming(receiver) => {
                Pin::new(receiver).poll(context).map(|result| result.unwrap_or(Err(Error::Closed)))
            }
        }
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Task").finish_non_exhaustive()
    }
}
