//! Interactive snapshots: one reader serves a handle until it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::Core;
use super::{CommandQueue, HandleCommand};
use crate::ending::EndReason;
use crate::engine::Reader;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::params::IntoParams;
use crate::readers::Readers;
use crate::row_buffer::{Row, RowBuffer};
use crate::writer::{Task, bug, caught};

/// One state of the database that lasts until it is finished, created by [`Client::begin_read`](crate::Client::begin_read).
///
/// Its methods may be called from any thread and from asynchronous code. It ends by
/// [`finish`](Self::finish) or drop; with [`Error::TransactionTimeout`] when it is idle for
/// [`transaction_idle`](crate::Config::transaction_idle), or when the write-ahead log has grown to
/// 16 times [`wal_limit`](crate::Config::wal_limit); and by [`SyncHandle::suspend`](crate::SyncHandle::suspend) and
/// [`Client::shutdown`](crate::Client::shutdown). Every later call returns the reason for the end.
#[derive(Debug)]
pub struct HeldSnapshot {
    line: Arc<CommandQueue<Command>>,
}

/// A command from the handle.
enum Command {
    Work(Work),
    Finish(oneshot::Sender<Result<()>>),
}

type Work = Box<dyn FnOnce(Result<&mut Reader>) + Send>;

impl HandleCommand for Command {
    fn refuse(self, error: Error) {
        match self {
            Self::Work(work) => work(Err(error)),
            Self::Finish(reply) => drop(reply.send(Err(error))),
        }
    }
}

/// Begins a snapshot of `core`'s database.
pub(in super::super) fn begin(core: &Core) -> Task<HeldSnapshot> {
    let (reply, receiver) = oneshot::channel();
    let (pool, host) = (core.readers.clone(), Arc::clone(&core.host));
    let idle = core.config.transaction_idle;
    let handed_in = core.readers.hold(move |reader| match reader {
        Ok(reader) => serve(reader, &pool, host, idle, reply),
        Err(error) => drop(reply.send(Err(error))),
    });
    match handed_in {
        Ok(()) => Task::coming(receiver),
        Err(error) => Task::ready(Err(error)),
    }
}

/// Serves one snapshot, on a reader's thread.
fn serve(
    reader: &mut Reader,
    pool: &Readers,
    host: Arc<dyn Host>,
    idle: Duration,
    reply: oneshot::Sender<Result<HeldSnapshot>>,
) {
    let line = CommandQueue::new(host, idle);
    // Registered before it begins, so that a concurrent suspend or shutdown ends it.
    let _held = match pool.note_held(Arc::clone(&line) as _) {
        Ok(held) => held,
        Err(error) => return drop(reply.send(Err(error))),
    };
    let mut begun = Some(reply);
    let served = caught(|| {
        reader.snapshot(|reader| {
            line.rest();
            let handle = HeldSnapshot { line: Arc::clone(&line) };
            let _ = begun.take().map(|reply| reply.send(Ok(handle)));
            loop {
                match line.take() {
                    Err(ending) => return Ok((ending, None)),
                    Ok(Command::Finish(reply)) => return Ok((EndReason::Finished, Some(reply))),
                    Ok(Command::Work(work)) if reader.is_overdue() => {
                        work(Err(Error::TransactionTimeout));
                        return Ok((EndReason::TimedOut, None));
                    }
                    Ok(Command::Work(work)) => work(Ok(reader)),
                }
            }
        })
    });
    match served.unwrap_or_else(|panic| Err(bug(&*panic))) {
        Ok((ending, last)) => {
            line.end(ending);
            drop(last.map(|reply| reply.send(Ok(()))));
        }
        Err(error) => {
            let error = line.explain(error);
            line.end(EndReason::of_failure(&error));
            drop(begun.take().map(|reply| reply.send(Err(error))));
        }
    }
}

impl HeldSnapshot {
    /// The rows of a query, as of the snapshot.
    ///
    /// # Errors
    /// As [`Client::query`](crate::Client::query); the snapshot continues. The reason for the end, if it has ended.
    pub fn query(&self, sql: &str, params: impl IntoParams) -> Task<RowBuffer> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.order(move |reader| reader.rows(&sql, &params))
    }

    /// The first row of a query.
    ///
    /// # Errors
    /// As [`HeldSnapshot::query`].
    pub fn query_one(&self, sql: &str, params: impl IntoParams) -> Task<Option<Row<'static>>> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.order(move |reader| Ok(reader.rows(&sql, &params)?.into_first()))
    }

    /// Ends the snapshot and releases its reader.
    ///
    /// # Errors
    /// The reason for the end, if it has already ended.
    pub fn finish(&self) -> Task<()> {
        let (reply, receiver) = oneshot::channel();
        self.line.push(Command::Finish(reply));
        Task::coming(receiver)
    }

    fn order<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Reader) -> Result<R> + Send + 'static,
    ) -> Task<R> {
        let (reply, receiver) = oneshot::channel();
        let line = Arc::clone(&self.line);
        let work: Work = Box::new(move |reader| {
            let result = reader.and_then(|reader| {
                caught(|| body(reader)).unwrap_or_else(|panic| Err(bug(&*panic)))
            });
            line.rest();
            let _ = reply.send(result.map_err(|error| line.explain(error)));
        });
        self.line.push(Command::Work(work));
        Task::coming(receiver)
    }
}

impl Drop for HeldSnapshot {
    fn drop(&mut self) {
        self.line.close(EndReason::Finished);
    }
}
