//! Suspending, resuming and closing a client: one after another, each once.
//!
//! Long operations run on their own thread and complete even if the future is dropped. The status
//! can be read at any time without waiting.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Core, SyncHandle};
use crate::block_on::block_until;
use crate::ending::{CancelHandle, EndReason, LeaseOwner};
use crate::engine::{Engine, Interrupt, Reader};
use crate::error::{Error, InputFault, Result};
use crate::runtime;
use crate::writer::Task;

/// The lifecycle state of a client.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    suspended: bool,
    ended: bool,
}

/// Interrupts an engine from any thread. Each opened engine has its own, so it is never reset.
#[derive(Default)]
pub(crate) struct InterruptHandle(Mutex<Braked>);

#[derive(Default)]
struct Braked {
    interrupt: Option<Interrupt>,
    /// The open interactive transaction.
    held: Option<Arc<dyn CancelHandle>>,
    /// Set with the reason once interrupted: no interactive transaction may begin.
    pulled: Option<EndReason>,
}

impl InterruptHandle {
    pub(super) fn of(&self, engine: &Engine) {
        let mut now = self.now();
        now.interrupt = Some(engine.interrupt_handle());
        now.pulled = None;
    }

    /// Interrupts what runs; it is rolled back.
    fn pull(&self) {
        if let Some(interrupt) = &self.now().interrupt {
            interrupt.suspend();
        }
        self.let_go(&EndReason::Suspended);
    }

    /// Ends the interactive transaction and lets no other begin; closures continue.
    fn let_go(&self, ending: &EndReason) {
        let mut now = self.now();
        let held = now.held.take();
        now.pulled = Some(ending.clone());
        drop(now);
        drop(held.inspect(|held| held.leave(ending)));
    }

    fn now(&self) -> MutexGuard<'_, Braked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeaseOwner for InterruptHandle {
    fn hold(&self, held: Arc<dyn CancelHandle>) -> Result<()> {
        let mut now = self.now();
        if let Some(pulled) = &now.pulled {
            return Err(pulled.error());
        }
        now.held = Some(held);
        Ok(())
    }

    fn release(&self) {
        let held = self.now().held.take();
        drop(held);
    }
}

impl Lifecycle {
    /// Whether work can begin.
    pub(super) fn check(&self) -> Result<()> {
        match (self.ended, self.suspended) {
            (true, _) => Err(Error::Closed),
            (_, true) => Err(Error::Suspended),
            _ => Ok(()),
        }
    }
}

impl SyncHandle<'_> {
    /// Releases the file: rolls back what runs, closes every connection and drops every lock, as
    /// iOS requires of an app in the background. Later calls return [`Error::Suspended`] until
    /// [`SyncHandle::resume`].
    ///
    /// An interactive transaction or snapshot ends immediately. The closure of
    /// [`Client::transaction`](crate::Client::transaction) or [`Client::read`](crate::Client::read), or the code of an action, ends at its next
    /// statement.
    ///
    /// # Errors
    /// [`InputFault::Reentrant`] as for [`Client::shutdown`](crate::Client::shutdown); [`Error::Closed`]. [`InputFault::Refused`] if
    /// a closure runs for three seconds without a statement: the client is suspended, but the file
    /// stays open until the closure returns, and the closure's writes are rolled back.
    pub fn suspend(&self) -> Task<()> {
        let core = Arc::clone(self.0.core());
        if core.writer.is_current() || core.readers.is_current() {
            return Task::ready(Err(Error::InvalidInput(InputFault::Reentrant)));
        }
        in_background("suspend", move || core.suspend())
    }

    /// Opens the file again after [`SyncHandle::suspend`]; watched queries run once to catch up.
    ///
    /// # Errors
    /// Those of opening, including [`StorageFault::Locked`](crate::StorageFault::Locked); the client then stays suspended.
    /// [`InputFault::Reentrant`], [`Error::Closed`].
    pub fn resume(&self) -> Task<()> {
        let core = Arc::clone(self.0.core());
        if core.writer.is_current() || core.readers.is_current() {
            return Task::ready(Err(Error::InvalidInput(InputFault::Reentrant)));
        }
        in_background("resume", move || core.resume())
    }
}

/// Maximum duration of a suspend: iOS gives an app about five seconds.
const SUSPEND: Duration = Duration::from_secs(3);

/// The error if the file could not be closed in time.
fn still_open(what: &str) -> Error {
    Error::InvalidInput(InputFault::Refused {
        what: "suspending".to_owned(),
        reason: format!(
            "{what} has not returned within {SUSPEND:?}; the file closes when it does. Keep closures short, or split the work"
        ),
    })
}

impl Core {
    /// The lifecycle state; its lock is never held during a wait.
    pub(crate) fn lifecycle(&self) -> MutexGuard<'_, Lifecycle> {
        self.lifecycle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serializes suspend, resume and shutdown.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn suspend(&self) -> Result<()> {
        let _turn = self.turn();
        {
            let mut lifecycle = self.lifecycle();
            if lifecycle.ended {
                return Err(Error::Closed);
            }
            // Refuses syncs that start from now on; the running one is suspended below.
            lifecycle.suspended = true;
        }
        let until = Instant::now() + SUSPEND;
        self.interrupt.pull();
        // Signals all parts before waiting for any.
        let syncing = self.syncing.suspend();
        let (writer, readers, hub) =
            (self.writer.suspend(), self.readers.suspend(), self.hub.suspend());
        for (what, answer) in [
            ("a read's closure", readers),
            ("a watched query", hub),
            ("a transaction's closure", writer),
        ] {
            answer.wait_until(until).unwrap_or_else(|| Err(still_open(what)))?;
        }
        // The driver holds no file; a custom transport that blocks its thread may be late.
        block_until(syncing, Some(until));
        Ok(())
    }

    fn resume(&self) -> Result<()> {
        let _turn = self.turn();
        match self.lifecycle().check() {
            Err(Error::Suspended) => {}
            settled => return settled,
        }
        // In one turn of the writer: the next queued task may be a long interactive transaction.
        let count = self.config.readers;
        let (first, rest) =
            self.writer.resume_with(move |engine| connections(engine, count)).wait()?;
        let opened = self.readers.resume(rest).and_then(|()| self.hub.resume(first));
        if let Err(error) = opened {
            // Suspended as before, without a lock.
            self.interrupt.pull();
            let left = (self.readers.suspend(), self.hub.suspend(), self.writer.suspend());
            let _ = (left.0.wait(), left.1.wait(), left.2.wait());
            return Err(error);
        }
        let mut lifecycle = self.lifecycle();
        self.syncing.resume();
        lifecycle.suspended = false;
        Ok(())
    }

    /// Closes everything, once, on a thread of its own. Opening the file from now on does not return
    /// this client, but waits until it is closed.
    pub(super) fn end_in_background(self: Arc<Self>) -> Task<()> {
        self.place.closing();
        in_background("shutdown", move || {
            self.end();
            Ok(())
        })
    }

    /// Closes everything, once; a second call waits for the first.
    pub(super) fn end(&self) {
        self.place.closing();
        let turn = self.turn();
        if std::mem::replace(&mut self.lifecycle().ended, true) {
            return;
        }
        // Its holder may be idle for long; commands that are already queued still run.
        self.interrupt.let_go(&EndReason::Shutdown);
        // Earlier writes complete; then readers close before the writer, whose last connection
        // empties the log.
        let done = [
            self.syncing.stop().wait(),
            self.writer.call(|_| Ok(())).wait(),
            self.readers.shutdown().wait(),
            self.hub.shutdown().wait(),
            self.writer.shutdown().wait(),
        ];
        for error in done.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "closing the client");
        }
        self.hub.dispatcher.shutdown();
        drop(turn);
        self.hub.hang_up();
        self.syncing.hang_up();
        self.streams.hang_up();
        self.place.leave();
        if let Some(folder) = &self.config.temporary_folder {
            remove(folder);
        }
    }
}

/// Removes the folder of a temporary file.
pub(super) fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!(%error, folder = %folder.display(), "removing a temporary database");
    }
}

/// New read connections: one for watched queries, and those of the pool.
pub(super) fn connections(engine: &mut Engine, count: u32) -> Result<(Reader, Vec<Reader>)> {
    let rest = (0..count).map(|_| engine.open_reader()).collect::<Result<_>>()?;
    Ok((engine.open_reader()?, rest))
}

/// Runs `body` on its own thread, even if the future is dropped.
pub(super) fn in_background<R: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> Result<R> + Send + 'static,
) -> Task<R> {
    let (reply, receiver) = oneshot::channel();
    match runtime::thread(name, move || drop(reply.send(body()))) {
        Ok(_) => Task::coming(receiver),
        Err(error) => Task::ready(Err(error)),
    }
}
