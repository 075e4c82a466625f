//! The writer: one thread that owns the engine, and a queue of work for it.
//!
//! Whoever wants to write hands in a closure and gets a future, which needs no runtime and may be dropped: what was handed
//! in runs all the same, so a caller that went away never cuts a transaction in two. Work runs in the order in which it
//! was handed in. A closure that panics becomes an error; the engine has rolled back, and the next one finds it well.
//!
//! The thread also lets go of the engine, file and lock, while the app is suspended (D18), and takes it up again.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::thread::ThreadId;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::block_on::{block_on, block_until};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::runtime;
use crate::slow::{self, Calls};

/// The thread that owns the engine. A clone speaks to the same thread; it ends by [`Writer::shutdown`], or with the last
/// clone.
pub struct Writer<T = Engine> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    work: Sender<Work<T>>,
    thread: OnceLock<ThreadId>,
    /// Set before the engine is let go, so that what waits in the queue is answered at once.
    suspended: AtomicBool,
    /// The piece of work that is under way.
    calls: Calls,
}

/// What the thread does next; `None` stands for an engine that was let go.
type Work<T> = Box<dyn FnOnce(&mut Desk<T>) + Send>;

/// What lies before the thread.
struct Desk<T> {
    engine: Option<T>,
    open: Box<dyn FnMut() -> Result<T> + Send>,
    between: Between<T>,
    ended: bool,
}

/// What is done between two pieces of work; told whether no work waits.
type Between<T> = Box<dyn FnMut(&mut T, bool) + Send>;

/// The answer to work that was handed in. Dropping it changes nothing.
pub struct Answer<R>(State<R>);

enum State<R> {
    Ready(Option<Result<R>>),
    Coming(oneshot::Receiver<Result<R>>),
}

impl<T: 'static> Writer<T> {
    /// Starts the thread, which makes its engine with `open`; the answer comes when it is open.
    ///
    /// # Errors
    /// Those of `open`, and [`Error::Io`] where the machine has no thread to give.
    pub fn start(open: impl FnMut() -> Result<T> + Send + 'static) -> Answer<Self> {
        Self::start_with(open, |_, _| {})
    }

    /// [`Writer::start`], with something to do between two pieces of work, when the first has been answered; it is told
    /// whether no work waits.
    pub(crate) fn start_with(
        open: impl FnMut() -> Result<T> + Send + 'static,
        between: impl FnMut(&mut T, bool) + Send + 'static,
    ) -> Answer<Self> {
        let (work, todo) = mpsc::channel();
        let (tell, told) = oneshot::channel();
        let thread = OnceLock::new();
        let calls = Calls::default();
        let begun = calls.clone();
        let suspended = AtomicBool::new(false);
        let writer = Self { shared: Arc::new(Shared { work, thread, suspended, calls }) };
        let started = runtime::thread("writer", move || {
            let mut desk = Desk {
                engine: None,
                open: Box::new(open),
                between: Box::new(between),
                ended: false,
            };
            let _ = writer.shared.thread.set(std::thread::current().id());
            // The thread itself keeps no clone: else it would never see the last one go.
            let _ = match desk.open() {
                Ok(()) => tell.send(Ok(writer)),
                Err(error) => return drop(tell.send(Err(error))),
            };
            serve(&mut desk, &todo, &begun);
        });
        match started {
            Ok(_) => Answer(State::Coming(told)),
            Err(error) => Answer::ready(Err(error)),
        }
    }

    /// Runs `body` with the engine, after what was handed in before.
    ///
    /// # Errors
    /// Those of `body`; [`Error::Reentrant`] on the writer's own thread; [`Error::Internal`] if it panics;
    /// [`Error::Suspended`] and [`Error::Shutdown`] as they say: `body` did not run.
    pub fn call<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut T) -> Result<R> + Send + 'static,
    ) -> Answer<R> {
        let shared = Arc::downgrade(&self.shared);
        self.hand_in(move |desk| {
            let engine = desk.engine(&shared)?;
            caught(|| body(engine)).unwrap_or_else(|panic| Err(bug(&*panic)))
        })
    }

    /// Leaves the engine to `body` in its turn, or the reason why there is none; whatever `body` has to say, it says itself.
    /// If the thread ends before its turn, it is dropped.
    ///
    /// # Errors
    /// [`Error::Reentrant`], [`Error::Shutdown`]: it was dropped at once.
    pub(crate) fn hold(&self, body: impl FnOnce(Result<&mut T>) + Send + 'static) -> Result<()> {
        if self.is_current() {
            return Err(Error::Reentrant);
        }
        let shared = Arc::downgrade(&self.shared);
        let work: Work<T> = Box::new(move |desk| {
            if let Err(panic) = caught(|| body(desk.engine(&shared))) {
                tracing::error!(panic = panic_text(&*panic), "while the engine was held");
            }
        });
        self.shared.work.send(work).map_err(|_| Error::Shutdown)
    }

    /// [`Writer::call`], waited for on this thread.
    pub fn call_blocking<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut T) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.call(body).wait()
    }

    /// Lets the engine go, with its connection and its lock. What waits in the queue is answered [`Error::Suspended`].
    pub fn suspend(&self) -> Answer<()> {
        if !self.is_current() {
            self.shared.suspended.store(true, Ordering::Release);
        }
        self.hand_in(|desk| {
            desk.engine = None;
            Ok(())
        })
    }

    /// Opens the engine again, unless it is open, and then runs `body`, before any work that waits.
    ///
    /// # Errors
    /// Those of opening and of `body`; the writer stays suspended then.
    pub fn resume_with<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut T) -> Result<R> + Send + 'static,
    ) -> Answer<R> {
        let shared = Arc::downgrade(&self.shared);
        self.hand_in(move |desk| {
            if desk.engine.is_none() {
                desk.open()?;
            }
            let engine = desk.engine.as_mut().ok_or(Error::Suspended)?;
            let result = caught(|| body(engine)).unwrap_or_else(|panic| Err(bug(&*panic)));
            if result.is_err() {
                desk.engine = None;
            } else if let Some(shared) = shared.upgrade() {
                shared.suspended.store(false, Ordering::Release);
            }
            result
        })
    }

    /// Ends the thread after what was handed in before; the file is closed when the answer comes. What is handed in later
    /// is answered [`Error::Shutdown`].
    pub fn shutdown(&self) -> Answer<()> {
        self.hand_in(|desk| {
            desk.engine = None;
            desk.ended = true;
            Ok(())
        })
    }

    /// Whether the piece of work that is under way takes long.
    pub(crate) fn is_slow(&self) -> bool {
        self.shared.calls.are_slow(slow::WORK)
    }

    /// Whether this is the writer's own thread.
    pub fn is_current(&self) -> bool {
        self.shared.thread.get() == Some(&std::thread::current().id())
    }

    fn hand_in<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Desk<T>) -> Result<R> + Send + 'static,
    ) -> Answer<R> {
        if self.is_current() {
            return Answer::ready(Err(Error::Reentrant));
        }
        let (tell, told) = oneshot::channel();
        let work: Work<T> = Box::new(move |desk| {
            let _ = tell.send(body(desk));
        });
        match self.shared.work.send(work) {
            Ok(()) => Answer(State::Coming(told)),
            Err(_) => Answer::ready(Err(Error::Shutdown)),
        }
    }
}

impl<T> Desk<T> {
    /// The engine, unless the app is suspended.
    fn engine(&mut self, shared: &Weak<Shared<T>>) -> Result<&mut T> {
        let suspended =
            shared.upgrade().is_some_and(|shared| shared.suspended.load(Ordering::Acquire));
        self.engine.as_mut().filter(|_| !suspended).ok_or(Error::Suspended)
    }

    fn open(&mut self) -> Result<()> {
        let open = &mut self.open;
        self.engine = Some(caught(open).unwrap_or_else(|panic| Err(bug(&*panic)))?);
        Ok(())
    }
}

/// Does what is handed in until there is nobody left, or somebody ends it.
fn serve<T>(desk: &mut Desk<T>, todo: &Receiver<Work<T>>, calls: &Calls) {
    let mut next = todo.recv().ok();
    while let Some(work) = next {
        let call = calls.begin();
        work(desk);
        drop(call);
        if desk.ended {
            return;
        }
        let waiting = todo.try_recv().ok();
        if let Some(engine) = &mut desk.engine {
            let between = &mut desk.between;
            if let Err(panic) = caught(|| between(engine, waiting.is_none())) {
                tracing::error!(panic = panic_text(&*panic), "between two pieces of work");
            }
        }
        next = waiting.or_else(|| todo.recv().ok());
    }
}

/// Runs `body`; a panic is given back as what it carried.
pub(crate) fn caught<R>(body: impl FnOnce() -> R) -> std::result::Result<R, Box<dyn Any + Send>> {
    // Whatever the closure shares with others it shares behind locks or in the engine, which rolls back as it unwinds.
    catch_unwind(AssertUnwindSafe(body))
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// A panic of the engine.
pub(crate) fn bug(panic: &(dyn Any + Send)) -> Error {
    Error::Internal(format!("panicked: {}", panic_text(panic)))
}

impl<R> Answer<R> {
    /// An answer that is there already.
    pub(crate) fn ready(result: Result<R>) -> Self {
        Self(State::Ready(Some(result)))
    }

    /// An answer that `told` will bring; if its sender goes away, [`Error::Shutdown`].
    pub(crate) fn coming(told: oneshot::Receiver<Result<R>>) -> Self {
        Self(State::Coming(told))
    }

    /// Waits on this thread, without an executor.
    pub fn wait(self) -> Result<R> {
        block_on(self)
    }

    /// [`Answer::wait`] until that moment; `None` if it does not come in time, which changes nothing of the work.
    pub(crate) fn wait_until(self, until: Instant) -> Option<Result<R>> {
        block_until(self, Some(until))
    }
}

// Nothing in it is pinned.
impl<R> Unpin for Answer<R> {}

impl<R> Future for Answer<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        match &mut self.0 {
            State::Ready(result) => Poll::Ready(result.take().unwrap_or(Err(Error::Shutdown))),
            State::Coming(told) => {
                Pin::new(told).poll(context).map(|told| told.unwrap_or(Err(Error::Shutdown)))
            }
        }
    }
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

impl<R> fmt::Debug for Answer<R> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Answer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list stands for the engine: the thread does not care what it owns.
    fn list() -> Writer<Vec<i32>> {
        Writer::start(|| Ok(Vec::new())).wait().unwrap()
    }

    #[test]
    fn work_runs_in_the_order_in_which_it_was_handed_in() {
        let writer = list();
        let answers: Vec<_> = (0..100)
            .map(|number| {
                writer.call(move |list| {
                    list.push(number);
                    Ok(list.len())
                })
            })
            .collect();
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.wait().unwrap(), number + 1);
        }
        let list = writer.call_blocking(|list| Ok(list.clone())).unwrap();
        assert_eq!(list, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn suspended_means_let_go_and_resumed_means_opened_anew() {
        let mut opened = 0;
        let writer = Writer::start(move || {
            opened += 1;
            Ok(vec![opened])
        });
        let writer = writer.wait().unwrap();
        writer.suspend().wait().unwrap();
        assert!(matches!(writer.call_blocking(|_| Ok(())), Err(Error::Suspended)));
        writer.resume_with(|_| Ok(())).wait().unwrap();
        writer.resume_with(|_| Ok(())).wait().unwrap();
        assert_eq!(writer.call_blocking(|list| Ok(list.clone())).unwrap(), [2]);
    }

    #[test]
    fn the_engine_goes_with_the_last_clone() {
        struct Told(Sender<()>);
        impl Drop for Told {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (tell, told) = mpsc::channel();
        let writer = Writer::start(move || Ok(Told(tell.clone()))).wait().unwrap();
        drop(writer.clone());
        drop(writer);
        told.recv().unwrap();
    }
}
