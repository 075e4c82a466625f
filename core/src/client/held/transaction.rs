//! Interactive transactions: the writer's thread serves one handle until it ends.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::Core;
use super::super::lifecycle::InterruptHandle;
use super::{CommandQueue, HandleCommand};
use crate::ending::{EndReason, LeaseOwner as _};
use crate::engine::rebase::decide;
use crate::engine::{Engine, EngineTransaction, Savepoint};
use crate::error::{Error, InputFault, Result};
use crate::ids::MutationId;
use crate::params::IntoParams;
use crate::row_buffer::{Row, RowBuffer};
use crate::value::Value;
use crate::writer::{Task, bug, caught};

/// A transaction that lasts until it is committed or rolled back, created by [`Client::begin`](crate::Client::begin).
///
/// Its methods may be called from any thread and from asynchronous code. Each starts its work at
/// the call, in call order; dropping a future does not cancel it. The writes to synced tables are
/// **one** mutation, captured at the commit. [`savepoint`](Self::savepoint) begins a part that can
/// be rolled back alone; all savepoints must have ended before the commit.
///
/// It ends by [`commit`](Self::commit), [`rollback`](Self::rollback) or drop, which rolls back. It
/// is also rolled back when it is idle for [`transaction_idle`](crate::Config::transaction_idle)
/// ([`Error::TransactionTimeout`]), by [`InputFault::PartialStatement`], by a commit with an open
/// savepoint, and by [`SyncHandle::suspend`](crate::SyncHandle::suspend) and [`Client::shutdown`](crate::Client::shutdown). Every later call returns the
/// reason.
#[derive(Debug)]
pub struct HeldTransaction {
    line: Arc<CommandQueue<Command>>,
    edited: Arc<OnceLock<MutationId>>,
}

/// A command from the handle.
enum Command {
    Work(Work),
    /// Commit (true) or rollback (false).
    End(bool, oneshot::Sender<Result<()>>),
}

type Work = Box<dyn FnOnce(Result<&mut Worker<'_, '_>>) + Send>;

/// State of the writer's thread while it serves the transaction.
struct Worker<'a, 'engine> {
    tx: &'a mut EngineTransaction<'engine>,
    /// Open savepoints with their numbers, the innermost last.
    savepoints: Vec<(i64, Savepoint)>,
    /// The last assigned number.
    numbered: i64,
    /// The message of a panic in the engine.
    broken: Option<String>,
}

impl HandleCommand for Command {
    fn refuse(self, error: Error) {
        match self {
            Self::Work(work) => work(Err(error)),
            Self::End(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

/// Begins a transaction that the handle serves.
pub(in super::super) fn begin(core: &Core) -> Task<HeldTransaction> {
    hold(core, |engine, body, _| engine.transaction(body))
}

/// Begins a transaction that edits a mutation.
pub(in super::super) fn begin_edit(core: &Core, id: MutationId) -> Task<HeldTransaction> {
    hold(core, move |engine, body, edited| {
        if let Some(new) = decide::edit(engine, id, body)? {
            let _ = edited.set(new);
        }
        Ok(())
    })
}

/// A handle for the transaction that `open` begins.
fn hold(
    core: &Core,
    open: impl FnOnce(&mut Engine, &mut Body<'_>, &OnceLock<MutationId>) -> Result<()> + Send + 'static,
) -> Task<HeldTransaction> {
    let (reply, receiver) = oneshot::channel();
    let (interrupt, idle) = (Arc::clone(&core.interrupt), core.config.transaction_idle);
    let handed_in = core.writer.hold(move |engine| match engine {
        Ok(engine) => serve(engine, &interrupt, idle, reply, open),
        Err(error) => drop(reply.send(Err(error))),
    });
    match handed_in {
        Ok(()) => Task::coming(receiver),
        Err(error) => Task::ready(Err(error)),
    }
}

/// What runs inside the transaction.
type Body<'a> = dyn FnMut(&mut EngineTransaction<'_>) -> Result<()> + 'a;

/// Serves one transaction, on the writer's thread.
fn serve(
    engine: &mut Engine,
    interrupt: &InterruptHandle,
    idle: Duration,
    reply: oneshot::Sender<Result<HeldTransaction>>,
    open: impl FnOnce(&mut Engine, &mut Body<'_>, &OnceLock<MutationId>) -> Result<()>,
) {
    let line = CommandQueue::new(Arc::clone(&engine.host), idle);
    // Registered before it begins, so that a concurrent suspend or shutdown ends it.
    if let Err(error) = interrupt.hold(Arc::clone(&line) as _) {
        return drop(reply.send(Err(error)));
    }
    let mut begun = Some(reply);
    let mut end = None;
    let edited = Arc::default();
    let served = caught(|| {
        let mut body = |tx: &mut EngineTransaction<'_>| {
            line.rest();
            let handle = HeldTransaction { line: Arc::clone(&line), edited: Arc::clone(&edited) };
            // If the caller no longer waits, the handle is dropped here, which ends the
            // transaction.
            let _ = begun.take().map(|reply| reply.send(Ok(handle)));
            let (ending, last) = Worker::new(tx).serve(&line);
            let result =
                if matches!(ending, EndReason::Committed) { Ok(()) } else { Err(ending.error()) };
            end = Some((ending, last));
            result
        };
        open(engine, &mut body, &edited)
    });
    interrupt.release();
    let served = served.unwrap_or_else(|panic| Err(bug(&*panic)));
    let (ending, last, answer) = match (end, served) {
        (Some((EndReason::Committed, last)), Err(error)) => {
            let error = line.explain(error);
            (EndReason::of_failure(&error), last, Err(error))
        }
        (Some((EndReason::RolledBack, last)), _) => (EndReason::RolledBack, last, Ok(())),
        (Some((ending, last)), served) => (ending, last, served),
        (None, Ok(())) => return,
        (None, Err(error)) => {
            line.end(EndReason::of_failure(&error));
            return drop(begun.take().map(|reply| reply.send(Err(error))));
        }
    };
    line.end(ending);
    if let Some(reply) = last {
        let _ = reply.send(answer);
    }
}

impl<'a, 'engine> Worker<'a, 'engine> {
    fn new(tx: &'a mut EngineTransaction<'engine>) -> Self {
        Self { tx, savepoints: Vec::new(), numbered: 0, broken: None }
    }

    /// Runs commands until the end; returns the reason and who waits for the result.
    fn serve(
        mut self,
        line: &Arc<CommandQueue<Command>>,
    ) -> (EndReason, Option<oneshot::Sender<Result<()>>>) {
        loop {
            match line.take() {
                Err(ending) => return (ending, None),
                Ok(Command::End(true, reply)) => return (self.at_commit(), Some(reply)),
                Ok(Command::End(false, reply)) => return (EndReason::RolledBack, Some(reply)),
                Ok(Command::Work(work)) => work(Ok(&mut self)),
            }
            if let Some(ended) = self.tx.ended() {
                return (EndReason::Ended(ended.clone()), None);
            }
            if let Some(message) = self.broken {
                return (EndReason::Failed(message), None);
            }
        }
    }

    /// The result of a commit: with an open savepoint, it is unclear whether to keep that part.
    fn at_commit(&self) -> EndReason {
        if self.savepoints.is_empty() {
            return EndReason::Committed;
        }
        let open: Vec<_> = self.savepoints.iter().map(|(number, _)| number.to_string()).collect();
        EndReason::Failed(format!(
            "a part was not ended at the commit, savepoint {}; release it or roll back to it before",
            open.join(", ")
        ))
    }

    fn end_savepoint(&mut self, number: i64, keep: bool) -> Result<()> {
        let why = match self.savepoints.last() {
            Some((innermost, savepoint)) if *innermost == number => {
                // If closing fails, it stays open, and nothing is committed.
                self.tx.close_savepoint(savepoint, keep)?;
                self.savepoints.pop();
                return Ok(());
            }
            Some((innermost, _)) => {
                format!(
                    "savepoint {innermost} is the innermost one that is open; end that one first"
                )
            }
            None => "none is open in this transaction; begin one with savepoint()".to_owned(),
        };
        Err(Error::InvalidInput(InputFault::Refused {
            what: format!("ending savepoint {number}"),
            reason: why,
        }))
    }
}

impl HeldTransaction {
    /// Runs one statement and returns the number of changed rows.
    ///
    /// # Errors
    /// As [`Client::execute`](crate::Client::execute): the transaction continues without the statement, except after
    /// [`InputFault::PartialStatement`], a full disk, and other errors that roll it back. The reason for
    /// the end, if it has ended.
    pub fn execute(&self, sql: &str, params: impl IntoParams) -> Task<usize> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.order(move |worker| worker.tx.execute(&sql, &params))
    }

    /// The rows of a statement, which may write (`RETURNING`); it sees earlier writes of the
    /// transaction.
    ///
    /// # Errors
    /// As [`HeldTransaction::execute`].
    pub fn query(&self, sql: &str, params: impl IntoParams) -> Task<RowBuffer> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.order(move |worker| worker.tx.rows(&sql, &params))
    }

    /// The first row of a statement.
    ///
    /// # Errors
    /// As [`HeldTransaction::execute`].
    pub fn query_one(&self, sql: &str, params: impl IntoParams) -> Task<Option<Row<'static>>> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.order(move |worker| Ok(worker.tx.rows(&sql, &params)?.into_first()))
    }

    /// Runs several statements, all or none; returns the number of changed rows of each.
    ///
    /// # Errors
    /// [`Error::Batch`] with the failed statement: the transaction continues without all of them.
    /// Otherwise as [`HeldTransaction::execute`].
    pub fn batch(&self, statements: Vec<(String, Vec<Value>)>) -> Task<Vec<usize>> {
        self.order(move |worker| worker.tx.savepoint(|tx| run_all(tx, &statements)))
    }

    /// Begins a savepoint and returns its number, which is greater than all earlier ones of this
    /// transaction. Savepoints nest: [`release`](Self::release) and
    /// [`rollback_to`](Self::rollback_to) end the innermost, and each must have ended before the
    /// commit.
    ///
    /// # Errors
    /// The reason for the end, if the transaction has ended.
    pub fn savepoint(&self) -> Task<i64> {
        self.order(|worker| {
            let savepoint = worker.tx.open_savepoint()?;
            worker.numbered += 1;
            worker.savepoints.push((worker.numbered, savepoint));
            Ok(worker.numbered)
        })
    }

    /// Ends the savepoint with this number and keeps its writes.
    ///
    /// # Errors
    /// [`InputFault::Refused`] if it is not the innermost open one: nothing changes and the transaction
    /// continues. The reason for the end, if the transaction has ended.
    pub fn release(&self, number: i64) -> Task<()> {
        self.order(move |worker| worker.end_savepoint(number, true))
    }

    /// Ends the savepoint with this number and rolls its writes back.
    ///
    /// # Errors
    /// As [`HeldTransaction::release`].
    pub fn rollback_to(&self, number: i64) -> Task<()> {
        self.order(move |worker| worker.end_savepoint(number, false))
    }

    /// Commits. When this completes, the writes are on disk and in the queue, and watches are
    /// notified. On an error nothing was written.
    ///
    /// # Errors
    /// [`InputFault::Refused`] if a savepoint is open: the whole transaction is rolled back.
    /// [`StorageFault::Full`](crate::StorageFault::Full), [`StorageFault::Io`](crate::StorageFault::Io) and others of the commit; the reason for the end, if it has
    /// ended.
    pub fn commit(&self) -> Task<()> {
        self.finish(true)
    }

    /// Rolls back all writes of the transaction.
    ///
    /// # Errors
    /// The reason for the end, if it has ended; it was rolled back then too, unless it was
    /// committed.
    pub fn rollback(&self) -> Task<()> {
        self.finish(false)
    }

    /// After the commit of [`crate::QueueHandle::begin_edit`], the id of the new mutation; `None` before, if
    /// nothing is left of it, and for any other transaction.
    pub fn edited(&self) -> Option<MutationId> {
        self.edited.get().copied()
    }

    fn finish(&self, keep: bool) -> Task<()> {
        let (reply, receiver) = oneshot::channel();
        self.line.push(Command::End(keep, reply));
        Task::coming(receiver)
    }

    fn order<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Worker<'_, '_>) -> Result<R> + Send + 'static,
    ) -> Task<R> {
        let (reply, receiver) = oneshot::channel();
        let line = Arc::clone(&self.line);
        let work: Work = Box::new(move |worker| {
            let result = worker.and_then(|worker| {
                caught(|| body(worker)).unwrap_or_else(|panic| {
                    let error = bug(&*panic);
                    worker.broken = Some(error.to_string());
                    Err(error)
                })
            });
            line.rest();
            let _ = reply.send(result.map_err(|error| line.explain(error)));
        });
        self.line.push(Command::Work(work));
        Task::coming(receiver)
    }
}

impl Drop for HeldTransaction {
    fn drop(&mut self) {
        // A commit that is already queued still runs.
        self.line.close(EndReason::RolledBack);
    }
}

/// Runs statements in order; the error has the index of the first that fails.
pub(in crate::client) fn run_all(
    tx: &mut EngineTransaction<'_>,
    statements: &[(String, Vec<Value>)],
) -> Result<Vec<usize>> {
    let run = |(index, (sql, params)): (usize, &(String, Vec<Value>))| {
        tx.execute(sql, params).map_err(|error| error.in_batch(index))
    };
    statements.iter().enumerate().map(run).collect()
}
