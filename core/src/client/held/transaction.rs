//! A transaction that a handle holds: the writer's thread serves it, and nobody else, until it ends.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::Client;
use super::super::open::Brake;
use super::{Line, Order};
use crate::ending::{Ending, Keeper as _};
use crate::engine::{Engine, Savepoint, Transaction};
use crate::error::{Error, Result};
use crate::ids::MutationId;
use crate::params::IntoParams;
use crate::row_buffer::{Row, RowBuffer};
use crate::value::Value;
use crate::writer::{Answer, bug, caught};

/// A transaction that lasts until it is committed or rolled back, made by [`Client::begin`].
///
/// Its methods may be called from any thread and from asynchronous code; each begins its work at once, works are done one
/// after the other, and dropping an answer only means not to hear of the end. What it writes to synced tables is **one**
/// mutation, captured with the commit. A part that can be undone alone is a [`savepoint`](Self::savepoint); a commit waits for
/// none of them, so each must have ended before.
///
/// It ends by [`commit`](Self::commit), by [`rollback`](Self::rollback) or by being dropped, which rolls back. It is rolled
/// back as well when no statement came for [`transaction_idle`](crate::Config::transaction_idle)
/// ([`Error::TransactionTimeout`]), by a statement that leaves no way on ([`Error::PartialStatement`]), by a commit while a
/// savepoint is open, and by [`Client::suspend`] and [`Client::shutdown`], which do not wait for it. Every later call answers
/// why it ended.
#[derive(Debug)]
pub struct HeldTransaction {
    line: Arc<Line<Wish>>,
    edited: Arc<OnceLock<MutationId>>,
}

/// What the holder wants.
enum Wish {
    Work(Work),
    /// To commit, or to roll back.
    End(bool, oneshot::Sender<Result<()>>),
}

type Work = Box<dyn FnOnce(Result<&mut Desk<'_, '_>>) + Send>;

/// What lies before the writer's thread while it serves.
struct Desk<'a, 'engine> {
    tx: &'a mut Transaction<'engine>,
    /// Those that are open, with their numbers, the innermost last.
    savepoints: Vec<(i64, Savepoint)>,
    /// The number that was given last.
    numbered: i64,
    /// The engine has a bug, in these words.
    broken: Option<String>,
}

impl Order for Wish {
    fn refuse(self, error: Error) {
        match self {
            Self::Work(work) => work(Err(error)),
            Self::End(_, tell) => drop(tell.send(Err(error))),
        }
    }
}

impl Client {
    /// Begins a transaction that a handle holds, for code that waits between two statements; the answer comes when it is its
    /// turn. Where nothing has to be waited for, [`Client::transaction`] is simpler and cannot be left open.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, block_on};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// # client.create_table("stock", "id TEXT PRIMARY KEY, n INTEGER").wait()?;
    /// # block_on(async {
    /// let tx = client.begin().await?;
    /// tx.execute("INSERT INTO stock VALUES ('here', 3)", ()).await?;
    /// let count = tx.query("SELECT n FROM stock", ()).await?; // It sees what it wrote, others do not yet.
    /// assert_eq!((count.len(), client.query("SELECT n FROM stock", ()).await?.len()), (1, 0));
    /// tx.commit().await?;
    /// assert_eq!(client.query("SELECT n FROM stock", ()).await?.len(), 1);
    /// # client.shutdown().await
    /// # })?;
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// While it is held, whatever else needs the writer waits: other writes and transactions, `pending`, `row_sync_state`,
    /// remote changes. So does the holder's own `client.execute`; a holder that waits for that is silent, so the transaction is
    /// rolled back by its timeout, and then the client's write is done, alone: use the handle. Reads never wait and see the
    /// state before.
    ///
    /// # Errors
    /// [`Error::Reentrant`] inside the closure of a transaction; [`Error::Suspended`], [`Error::Shutdown`].
    pub fn begin(&self) -> Answer<HeldTransaction> {
        self.hold(|engine, body, _| engine.transaction(body))
    }

    /// [`Client::edit`] for code that waits between two statements: the handle's transaction begins with what the mutation wrote
    /// laid upon the rows as they stand now. With [`commit`](HeldTransaction::commit) what comes out is a new mutation in its
    /// place, and [`HeldTransaction::edited`] names it. Ended otherwise, nothing was changed.
    ///
    /// # Errors
    /// As [`Client::edit`] and [`Client::begin`].
    pub fn begin_edit(&self, id: MutationId) -> Answer<HeldTransaction> {
        self.hold(move |engine, body, edited| {
            if let Some(new) = engine.edit(id, body)? {
                let _ = edited.set(new);
            }
            Ok(())
        })
    }

    /// A handle for the transaction that `open` opens.
    fn hold(
        &self,
        open: impl FnOnce(&mut Engine, &mut Body<'_>, &OnceLock<MutationId>) -> Result<()>
        + Send
        + 'static,
    ) -> Answer<HeldTransaction> {
        let core = self.core();
        let (tell, told) = oneshot::channel();
        let (brake, idle) = (Arc::clone(&core.brake), core.config.transaction_idle);
        let handed_in = core.writer.hold(move |engine| match engine {
            Ok(engine) => serve(engine, &brake, idle, tell, open),
            Err(error) => drop(tell.send(Err(error))),
        });
        match handed_in {
            Ok(()) => Answer::coming(told),
            Err(error) => Answer::ready(Err(error)),
        }
    }
}

/// What is done in the transaction.
type Body<'a> = dyn FnMut(&mut Transaction<'_>) -> Result<()> + 'a;

/// One transaction, from begin to end, on the writer's thread.
fn serve(
    engine: &mut Engine,
    brake: &Brake,
    idle: Duration,
    tell: oneshot::Sender<Result<HeldTransaction>>,
    open: impl FnOnce(&mut Engine, &mut Body<'_>, &OnceLock<MutationId>) -> Result<()>,
) {
    let line = Line::new(Arc::clone(&engine.host), idle);
    // Before it begins: whoever suspends or ends sees this line, or this sees them.
    if let Err(error) = brake.hold(Arc::clone(&line) as _) {
        return drop(tell.send(Err(error)));
    }
    let mut begun = Some(tell);
    let mut wanted = None;
    let edited = Arc::default();
    let served = caught(|| {
        let mut body = |tx: &mut Transaction<'_>| {
            line.rest();
            let handle = HeldTransaction { line: Arc::clone(&line), edited: Arc::clone(&edited) };
            // Where nobody waits any more, the handle is dropped here, which ends it.
            let _ = begun.take().map(|tell| tell.send(Ok(handle)));
            let (ending, last) = Desk::new(tx).serve(&line);
            let result =
                if matches!(ending, Ending::Committed) { Ok(()) } else { Err(ending.error()) };
            wanted = Some((ending, last));
            result
        };
        open(engine, &mut body, &edited)
    });
    brake.release();
    let served = served.unwrap_or_else(|panic| Err(bug(&*panic)));
    let (ending, last, answer) = match (wanted, served) {
        (Some((Ending::Committed, last)), Err(error)) => {
            let error = line.explain(error);
            (Ending::of_failure(&error), last, Err(error))
        }
        (Some((Ending::RolledBack, last)), _) => (Ending::RolledBack, last, Ok(())),
        (Some((ending, last)), served) => (ending, last, served),
        (None, Ok(())) => return,
        (None, Err(error)) => {
            line.end(Ending::of_failure(&error));
            return drop(begun.take().map(|tell| tell.send(Err(error))));
        }
    };
    line.end(ending);
    if let Some(tell) = last {
        let _ = tell.send(answer);
    }
}

impl<'a, 'engine> Desk<'a, 'engine> {
    fn new(tx: &'a mut Transaction<'engine>) -> Self {
        Self { tx, savepoints: Vec::new(), numbered: 0, broken: None }
    }

    /// Does what is ordered until it ends: how it is to end, and who wants to hear of it.
    fn serve(mut self, line: &Arc<Line<Wish>>) -> (Ending, Option<oneshot::Sender<Result<()>>>) {
        loop {
            match line.take() {
                Err(ending) => return (ending, None),
                Ok(Wish::End(true, tell)) => return (self.at_commit(), Some(tell)),
                Ok(Wish::End(false, tell)) => return (Ending::RolledBack, Some(tell)),
                Ok(Wish::Work(work)) => work(Ok(&mut self)),
            }
            if let Some(ended) = self.tx.ended() {
                return (Ending::Ended(ended.clone()), None);
            }
            if let Some(words) = self.broken {
                return (Ending::Failed(words), None);
            }
        }
    }

    /// How a commit ends it: of a part that is open nobody knows whether it is wanted, so nothing is kept by half.
    fn at_commit(&self) -> Ending {
        if self.savepoints.is_empty() {
            return Ending::Committed;
        }
        let open: Vec<_> = self.savepoints.iter().map(|(number, _)| number.to_string()).collect();
        Ending::Failed(format!(
            "a part was not ended at the commit, savepoint {}; release it or roll back to it before",
            open.join(", ")
        ))
    }

    fn end_savepoint(&mut self, number: i64, keep: bool) -> Result<()> {
        let why = match self.savepoints.last() {
            Some((innermost, savepoint)) if *innermost == number => {
                // Could it not be ended, it stays open, and nothing is committed.
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
        Err(Error::Refused { what: format!("ending savepoint {number}"), why })
    }
}

impl HeldTransaction {
    /// Runs one statement; how many rows it changed.
    ///
    /// # Errors
    /// As [`Client::execute`]: the transaction goes on without what the statement did, except after
    /// [`Error::PartialStatement`], a full disk and what else says that the transaction was rolled back. Why it ended, if it
    /// has.
    pub fn execute(&self, sql: &str, params: impl IntoParams) -> Answer<usize> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.order(move |desk| desk.tx.execute(&sql, &params))
    }

    /// The rows of a statement, which may also write (`RETURNING`); it sees what this transaction wrote.
    ///
    /// # Errors
    /// As [`HeldTransaction::execute`].
    pub fn query(&self, sql: &str, params: impl IntoParams) -> Answer<RowBuffer> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.order(move |desk| desk.tx.rows(&sql, &params))
    }

    /// The first row of a statement.
    ///
    /// # Errors
    /// As [`HeldTransaction::execute`].
    pub fn query_one(&self, sql: &str, params: impl IntoParams) -> Answer<Option<Row<'static>>> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.order(move |desk| Ok(desk.tx.rows(&sql, &params)?.into_first()))
    }

    /// Runs several statements, all or none of them; how many rows each changed.
    ///
    /// # Errors
    /// [`Error::Batch`] with the statement that failed: the transaction goes on without any of them. Otherwise as
    /// [`HeldTransaction::execute`].
    pub fn batch(&self, statements: Vec<(String, Vec<Value>)>) -> Answer<Vec<usize>> {
        self.order(move |desk| desk.tx.savepoint(|tx| run_all(tx, &statements)))
    }

    /// Begins a part that can be undone alone, and answers its number: each is greater than those before in this transaction.
    /// Parts nest: [`release`](Self::release) and [`rollback_to`](Self::rollback_to) end the innermost, and each must have ended
    /// before the commit.
    ///
    /// # Errors
    /// Why the transaction ended, if it has.
    pub fn savepoint(&self) -> Answer<i64> {
        self.order(|desk| {
            let savepoint = desk.tx.open_savepoint()?;
            desk.numbered += 1;
            desk.savepoints.push((desk.numbered, savepoint));
            Ok(desk.numbered)
        })
    }

    /// Ends the savepoint of that number and keeps what was written since.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is not the innermost one that is open: nothing has changed, the transaction goes on, and what
    /// is open stays so. Why the transaction ended, if it has.
    pub fn release(&self, number: i64) -> Answer<()> {
        self.order(move |desk| desk.end_savepoint(number, true))
    }

    /// Ends the savepoint of that number and undoes what was written since.
    ///
    /// # Errors
    /// As [`HeldTransaction::release`].
    pub fn rollback_to(&self, number: i64) -> Answer<()> {
        self.order(move |desk| desk.end_savepoint(number, false))
    }

    /// Commits: when this is done, what was written is on disk and in the queue, and watches are told. If the answer is an
    /// error, nothing of the transaction was written.
    ///
    /// # Errors
    /// [`Error::Refused`] if a savepoint is open: the whole transaction is rolled back, since nobody knows whether that part
    /// is wanted. [`Error::Full`], [`Error::Io`] and others of the commit itself; why the transaction ended, if it has.
    pub fn commit(&self) -> Answer<()> {
        self.finish(true)
    }

    /// Rolls back: nothing of the transaction was written.
    ///
    /// # Errors
    /// Why the transaction ended, if it has; it was rolled back then too, unless it was committed.
    pub fn rollback(&self) -> Answer<()> {
        self.finish(false)
    }

    /// The mutation that [`Client::begin_edit`] has become, when it is committed; `None` before, if nothing is left of it, and
    /// for any other transaction.
    pub fn edited(&self) -> Option<MutationId> {
        self.edited.get().copied()
    }

    fn finish(&self, keep: bool) -> Answer<()> {
        let (tell, told) = oneshot::channel();
        self.line.push(Wish::End(keep, tell));
        Answer::coming(told)
    }

    fn order<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Desk<'_, '_>) -> Result<R> + Send + 'static,
    ) -> Answer<R> {
        let (tell, told) = oneshot::channel();
        let line = Arc::clone(&self.line);
        let work: Work = Box::new(move |desk| {
            let result = desk.and_then(|desk| {
                caught(|| body(desk)).unwrap_or_else(|panic| {
                    let error = bug(&*panic);
                    desk.broken = Some(error.to_string());
                    Err(error)
                })
            });
            line.rest();
            let _ = tell.send(result.map_err(|error| line.explain(error)));
        });
        self.line.push(Wish::Work(work));
        Answer::coming(told)
    }
}

impl Drop for HeldTransaction {
    fn drop(&mut self) {
        // A commit that was asked for before is still done.
        self.line.close(Ending::RolledBack);
    }
}

/// Runs statements one after the other; the first that fails is named.
pub(in crate::client) fn run_all(
    tx: &mut Transaction<'_>,
    statements: &[(String, Vec<Value>)],
) -> Result<Vec<usize>> {
    let run = |(index, (sql, params)): (usize, &(String, Vec<Value>))| {
        tx.execute(sql, params).map_err(|error| error.in_batch(index))
    };
    statements.iter().enumerate().map(run).collect()
}
