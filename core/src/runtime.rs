//! The only module that starts threads and tasks: one tokio runtime of two threads per client, more
//! runtimes for app code, and named plain threads.
//!
//! Dropping a [`Runtime`] never blocks and never panics, even on one of its own workers (a foreign
//! callback may drop the last reference to a client there). Clippy's `disallowed-methods` forbids
//! other code to spawn. All timers and sockets run in tasks of this runtime, so that callers may
//! await the results on any executor.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::{Error, Result, StorageFault};
use rejoin_protocol::mutant;

/// Two threads for the transport and the driver, and separate threads for app code that may block.
#[derive(Debug)]
pub struct Runtime {
    inner: Option<tokio::runtime::Runtime>,
    /// For the token provider.
    tokens: Option<tokio::runtime::Runtime>,
    /// For a custom transport.
    transport: Option<tokio::runtime::Runtime>,
}

/// App code that may block its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// The token provider.
    Tokens,
    /// A transport.
    Transport,
}

impl Runtime {
    /// Starts the threads, named `rejoin-net`. Fails with [`StorageFault::Io`] if no thread can be
    /// started.
    pub fn new() -> Result<Self> {
        Self::beside(&[])
    }

    /// [`Runtime::new`] with separate threads for these kinds of app code.
    pub fn beside(foreign: &[Foreign]) -> Result<Self> {
        let own =
            |which, name, count| foreign.contains(&which).then(|| threads(name, count)).transpose();
        let tokens = own(Foreign::Tokens, "rejoin-tokens", 1)?;
        let transport = own(Foreign::Transport, "rejoin-transport", 2)?;
        Ok(Self { inner: Some(threads("rejoin-net", 2)?), tokens, transport })
    }

    /// A handle that starts tasks here; it does not keep the runtime alive.
    pub fn spawner(&self) -> Spawner {
        // Only `drop` takes them.
        let handle = |inner: &Option<tokio::runtime::Runtime>| {
            inner.as_ref().map(|one| one.handle().clone())
        };
        let own = handle(&self.inner);
        let tokens = handle(&self.tokens).or_else(|| own.clone());
        let transport = handle(&self.transport).or_else(|| own.clone());
        Spawner { own, tokens, transport }
    }
}

fn threads(name: &str, count: usize) -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(count)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| {
            Error::Storage(StorageFault::Io(format!("starting the threads {name}: {error}")))
        })
}

impl Drop for Runtime {
    fn drop(&mut self) {
        for inner in [self.inner.take(), self.tokens.take(), self.transport.take()] {
            // A plain drop blocks on the workers, and panics on one of them.
            inner.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
        }
    }
}

/// Starts tasks on a [`Runtime`].
#[derive(Debug, Clone)]
pub struct Spawner {
    own: Option<tokio::runtime::Handle>,
    tokens: Option<tokio::runtime::Handle>,
    transport: Option<tokio::runtime::Handle>,
}

impl Spawner {
    /// Starts tasks on the current tokio runtime: for tests and simulations with paused time.
    pub fn current() -> Self {
        let own = tokio::runtime::Handle::try_current().ok();
        Self { own: own.clone(), tokens: own.clone(), transport: own }
    }

    /// Starts a task; it ends on completion, when the [`SpawnedTask`] is dropped, or with the runtime.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> SpawnedTask<T> {
        SpawnedTask(self.own.as_ref().map(|handle| handle.spawn(future)))
    }

    /// [`Spawner::spawn`] for app code: if it blocks its thread, only its own kind waits.
    pub fn spawn_foreign<T: Send + 'static>(
        &self,
        which: Foreign,
        future: impl Future<Output = T> + Send + 'static,
    ) -> SpawnedTask<T> {
        let handle = match which {
            Foreign::Tokens => &self.tokens,
            Foreign::Transport => &self.transport,
        };
        SpawnedTask(handle.as_ref().map(|handle| handle.spawn(future)))
    }
}

/// A running task, aborted when dropped. Works on any executor.
#[derive(Debug)]
pub struct SpawnedTask<T = ()>(Option<tokio::task::JoinHandle<T>>);

impl<T> SpawnedTask<T> {
    /// Lets the task run without a handle.
    pub fn detach(mut self) {
        self.0 = None;
    }
}

impl<T> Drop for SpawnedTask<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.abort();
        }
    }
}

impl<T> Future for SpawnedTask<T> {
    type Output = Result<T>;

    /// The task's result; [`Error::Closed`] if it was aborted.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(handle) = self.0.as_mut() else {
            return Poll::Ready(Err(Error::Closed));
        };
        Pin::new(handle).poll(context).map(|outcome| outcome.map_err(|_| Error::Closed))
    }
}

/// Starts a plain thread, named `rejoin-` and `name`, for blocking work such as the writer.
pub fn thread(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("rejoin-{name}"))
        .spawn(mutant::inherited(body))
        .map_err(|error| {
            Error::Storage(StorageFault::Io(format!("starting the thread rejoin-{name}: {error}")))
        })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::{Runtime, thread};
    use crate::block_on::block_on;
    use crate::error::Error;

    #[test]
    fn runtime_dropped_on_its_own_worker_does_not_panic() {
        let runtime = Runtime::new().unwrap();
        let spawner = runtime.spawner();
        let (sender, receiver) = mpsc::channel();
        spawner
            .spawn(async move {
                let name = std::thread::current().name().map(str::to_owned);
                let outcome =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(runtime)));
                sender.send((name, outcome.is_ok())).unwrap();
            })
            .detach();
        let (name, dropped_without_panic) = receiver.recv().unwrap();
        assert_eq!(name.as_deref(), Some("rejoin-net"));
        assert!(dropped_without_panic);
    }

    #[test]
    fn task_result_is_awaited_without_a_runtime() {
        let runtime = Runtime::new().unwrap();
        let task = runtime.spawner().spawn(async { 7 });
        assert_eq!(block_on(task).unwrap(), 7);
        let spawner = runtime.spawner();
        let endless = spawner.spawn(std::future::pending::<()>());
        drop(runtime);
        assert!(matches!(block_on(endless), Err(Error::Closed)));
    }

    #[test]
    fn thread_name_starts_with_rejoin() {
        let (sender, receiver) = mpsc::channel();
        let handle = thread("writer", move || {
            sender.send(std::thread::current().name().map(str::to_owned)).unwrap();
        });
        handle.unwrap().join().unwrap();
        assert_eq!(receiver.recv().unwrap().as_deref(), Some("rejoin-writer"));
    }
}
