//! One connection: statements prepared once, waited for by the thread that asks.
//!
//! The engine is synchronous, and may be called from within somebody's runtime. So the socket is served by a runtime of the
//! store's own, and a caller parks until its answer is there: no runtime has to be entered, and none can be blocked that
//! the answer would need. A database that answers nothing for longer than a statement may take is lost: the connection is closed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement};

/// Statements that a connection keeps prepared; past it all are given up and prepared again as they come.
const KEPT_STATEMENTS: usize = 512;

/// Parameters of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How much longer than a statement may take its answer may be on its way.
const MARGIN: Duration = Duration::from_secs(5);

struct Unpark {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Waits for a future on this thread. What it waits for must be driven elsewhere.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    wait_within(future, None, &|| {})
}

/// The same. `on_silence` is called once if nothing at all happens for as long as `most`; it must end the future.
fn wait_within<F: Future>(
    future: F,
    mut most: Option<Duration>,
    on_silence: &dyn Fn(),
) -> F::Output {
    let unpark = Arc::new(Unpark { thread: thread::current(), is_woken: AtomicBool::new(false) });
    let waker = Arc::clone(&unpark).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        let since = Instant::now();
        while !unpark.is_woken.swap(false, Ordering::Acquire) {
            match most.map(|most| most.saturating_sub(since.elapsed())) {
                None => thread::park(),
                Some(Duration::ZERO) => {
                    most = None;
                    on_silence();
                }
                Some(left) => thread::park_timeout(left),
            }
        }
    }
}

/// Sends all before it waits for one: in this order, because in this order they are first asked. So they are answered, too.
async fn each_in_order<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut early = poll_fn(|context| {
        let first = futures.iter_mut().map(|future| match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        });
        Poll::Ready(first.collect::<Vec<_>>())
    })
    .await;
    let mut found = Vec::with_capacity(futures.len());
    for (future, early) in futures.into_iter().zip(early.drain(..)) {
        found.push(match early {
            Some(output) => output,
            None => future.await,
        });
    }
    found
}

/// A statement with the types of its parameters, so that the text need not tell them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sql<'a> {
    pub(super) text: &'a str,
    pub(super) types: &'a [Type],
}

/// A connection of the pool.
pub(super) struct Connection {
    client: Client,
    /// What serves the socket.
    runtime: Handle,
    /// Ends what serves the socket.
    driver: AbortHandle,
    /// How long a statement of a request may take.
    limit: Duration,
    /// Whether statements take as long as they take.
    is_unlimited: Cell<bool>,
    statements: RefCell<HashMap<String, Statement>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Connection").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(
        client: Client,
        runtime: Handle,
        driver: AbortHandle,
        limit: Duration,
    ) -> Self {
        let statements = RefCell::default();
        Self { client, runtime, driver, limit, is_unlimited: Cell::new(false), statements }
    }

    /// How long a statement of a request may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Runs work of which a statement may take as long as it takes: an index is built, a migration runs.
    pub(super) fn unlimited<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = self.is_unlimited.replace(true);
        let done = work();
        self.is_unlimited.set(before);
        done
    }

    /// Waits for what the database answers. After a silence that is longer than any statement may last, the connection is closed,
    /// and the answer is that it is closed.
    fn wait<F: Future>(&self, future: F) -> F::Output {
        let most = (!self.is_unlimited.get()).then(|| self.limit + MARGIN);
        wait_within(future, most, &|| {
            tracing::warn!("the database has not answered in time: the connection is closed");
            self.driver.abort();
        })
    }

    /// Whether the other side is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements without parameters.
    pub(super) fn batch(&self, sql: &str) -> Result<(), Error> {
        self.wait(self.client.batch_execute(sql))
    }

    /// Every row of a query whose parameters are typed by its text.
    pub(super) fn rows(&self, text: &str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        self.typed(Sql { text, types: &[] }, params)
    }

    /// Every row of a query.
    pub(super) fn typed(&self, sql: Sql<'_>, params: Params<'_>) -> Result<Vec<Row>, Error> {
        let statement = self.statement(sql)?;
        self.wait(self.query(&statement, params))
    }

    /// Runs a query and takes its rows. What does not come at once is collected where the socket is served: to wake the thread
    /// that waits for each piece of it takes longer than to make the rows.
    #[allow(clippy::disallowed_methods)] // On the runtime of the store's own, beside its connections.
    async fn query(&self, statement: &Statement, params: Params<'_>) -> Result<Vec<Row>, Error> {
        let rows = self.client.query_raw(statement, params.iter().copied()).await?;
        let (mut rows, mut found) = (Box::pin(rows), Vec::new());
        while let Some(row) = rows.next().now_or_never() {
            match row {
                Some(row) => found.push(row?),
                None => return Ok(found),
            }
        }
        let rest = self.runtime.spawn(async move {
            while let Some(row) = rows.next().await {
                found.push(row?);
            }
            Ok(found)
        });
        match rest.await {
            Ok(found) => found,
            // The runtime ends, and the connection with it: whoever asks it is told so.
            Err(_) => self.client.query(statement, params).await,
        }
    }

    /// Several queries in one round trip, answered in their order; of their errors the first is told.
    pub(super) fn all(&self, asked: &[(Sql<'_>, Params<'_>)]) -> Result<Vec<Vec<Row>>, Error> {
        let statements = self.statements_of(asked)?;
        let queries = statements.iter().zip(asked);
        let queries = queries.map(|(statement, (_, params))| self.query(statement, params));
        self.wait(each_in_order(queries)).into_iter().collect()
    }

    /// The same between a savepoint and its end: if one of them fails, the transaction is as it was before.
    pub(super) fn all_guarded(
        &self,
        asked: &[(Sql<'_>, Params<'_>)],
    ) -> Result<Vec<Vec<Row>>, Error> {
        let is_known = asked.iter().all(|(sql, _)| self.statements.borrow().contains_key(sql.text));
        if !is_known {
            self.batch("SAVEPOINT rejoin_row")?;
            let prepared = self.statements_of(asked).map(drop);
            prepared.map_err(|error| self.undone(error))?;
            self.batch("RELEASE rejoin_row")?;
        }
        let statements = self.statements_of(asked)?;
        let queries = statements.iter().zip(asked);
        let queries = queries.map(|(statement, (_, params))| self.query(statement, params));
        let (begun, found, ended) = self.wait(async {
            tokio::join!(biased; self.client.batch_execute("SAVEPOINT rejoin_row"),
                each_in_order(queries),
                self.client.batch_execute("RELEASE rejoin_row"),
            )
        });
        begun?;
        match found.into_iter().collect::<Result<_, _>>() {
            Ok(found) => ended.map(|()| found),
            Err(error) => Err(self.undone(error)),
        }
    }

    /// Statements that none of them waits for, between what begins and what ends them; which of them failed first, and how.
    /// `None` for the place: the beginning or the end.
    pub(super) fn pipelined(
        &self,
        mut before: Option<&str>,
        written: &[(&str, Params<'_>)],
        after: Option<&str>,
    ) -> Result<(), (Option<usize>, Error)> {
        let nowhere = |error| (None, error);
        let is_known = |text: &str| self.statements.borrow().contains_key(text);
        let mut statements = Vec::with_capacity(written.len());
        for (at, (text, _)) in written.iter().enumerate() {
            if !is_known(text)
                && let Some(before) = before.take()
            {
                self.batch(before).map_err(nowhere)?; // One that cannot be prepared would end the transaction.
            }
            let statement = self.statement(Sql { text, types: &[] });
            statements.push(statement.map_err(|error| (Some(at), error))?);
        }
        let batch = async |text: Option<&str>| match text {
            Some(text) => self.client.batch_execute(text).await,
            None => Ok(()),
        };
        let all = statements.iter().zip(written);
        let all = all.map(|(statement, (_, params))| self.client.execute(statement, params));
        let (begun, done, ended) = self
            .wait(async { tokio::join!(biased; batch(before), each_in_order(all), batch(after)) });
        begun.map_err(nowhere)?;
        for (at, done) in done.into_iter().enumerate() {
            done.map_err(|error| (Some(at), error))?;
        }
        ended.map_err(nowhere)
    }

    /// The same, one after the other: each answer is handed to `work` while the next one is already asked for, until it says
    /// that it is enough. What was asked in vain is passed over.
    pub(super) fn each_ahead(
        &self,
        asked: &[(Sql<'_>, Params<'_>)],
        work: &mut dyn FnMut(Vec<Row>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let statements = self.statements_of(asked)?;
        let mut queries = statements.iter().zip(asked).map(|(statement, (_, params))| {
            let mut query = Box::pin(self.query(statement, params));
            // It is sent when it is first asked.
            let at_once = (&mut query).now_or_never();
            (at_once, query)
        });
        let mut coming = queries.next();
        while let Some((at_once, query)) = coming {
            let found = at_once.unwrap_or_else(|| self.wait(query))?;
            coming = queries.next();
            if !work(found)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The first row of a query, if it has any.
    pub(super) fn first(&self, text: &str, params: Params<'_>) -> Result<Option<Row>, Error> {
        Ok(self.rows(text, params)?.into_iter().next())
    }

    /// Runs a statement; how many rows it touched.
    pub(super) fn execute(&self, text: &str, params: Params<'_>) -> Result<u64, Error> {
        let statement = self.statement(Sql { text, types: &[] })?;
        self.wait(self.client.execute(&statement, params))
    }

    /// Runs a statement between a savepoint and its end, in one round trip: if it fails, the transaction lives.
    pub(super) fn guarded(&self, text: &str, params: Params<'_>) -> Result<u64, Error> {
        let statement = match self.statement_in_savepoint(text) {
            Ok(statement) => statement,
            Err(error) => return Err(self.undone(error)),
        };
        let (begun, done, ended) = self.wait(async {
            // In this order they are sent, because in this order they are first asked.
            tokio::join!(biased; self.client.batch_execute("SAVEPOINT rejoin_row"),
                self.client.execute(&statement, params),
                self.client.batch_execute("RELEASE rejoin_row"),
            )
        });
        begun?;
        match done {
            Ok(count) => ended.map(|()| count),
            Err(error) => Err(self.undone(error)),
        }
    }

    /// A first question on the way into a transaction: the sequencer's, in a transaction of its own, the beginning, one
    /// query within, and what the transaction begins with; one round trip for all.
    pub(super) fn enter(
        &self,
        before: Option<&str>,
        begin: &str,
        (text, params): (&str, Params<'_>),
        after: Option<&str>,
    ) -> Result<Vec<Row>, Error> {
        let before = before.map(|text| self.statement(Sql { text, types: &[] })).transpose()?;
        let statement = self.statement(Sql { text, types: &[] })?;
        let (earlier, entered, found, last_done) = self.wait(async {
            let first = async {
                match &before {
                    Some(statement) => self.client.query(statement, &[]).await.map(drop),
                    None => Ok(()),
                }
            };
            let last = async {
                match after {
                    Some(batch) => self.client.batch_execute(batch).await,
                    None => Ok(()),
                }
            };
            tokio::join!(biased; first,
                self.client.batch_execute(begin),
                self.client.query(&statement, params),
                last
            )
        });
        earlier?;
        entered?;
        let found = found?;
        last_done.map(|()| found)
    }

    /// Commits, and fails if there is nothing to commit: the COMMIT of a transaction that failed reports no error.
    pub(super) fn commit(&self) -> Result<(), Error> {
        self.commit_behind(("SELECT 1", &[]))
    }

    /// Commits behind a last statement, which fails where the transaction has.
    pub(super) fn commit_behind(&self, (text, params): (&str, Params<'_>)) -> Result<(), Error> {
        let last = self.statement(Sql { text, types: &[] })?;
        let (last, committed) = self.wait(async {
            tokio::join!(biased; self.client.query(&last, params), self.client.batch_execute("COMMIT"))
        });
        last?;
        committed
    }

    /// Ends a transaction that has only read, and does not wait for it: whoever asks next comes behind it.
    pub(super) fn leave(&self) {
        let _ = self.client.batch_execute("ROLLBACK").now_or_never();
    }

    /// Whether a query could be run; its columns and parameters are not looked at.
    pub(super) fn can_prepare(&self, text: &str) -> Result<(), Error> {
        self.wait(self.client.prepare(text)).map(drop)
    }

    fn statement(&self, sql: Sql<'_>) -> Result<Statement, Error> {
        if let Some(known) = self.statements.borrow().get(sql.text) {
            return Ok(known.clone());
        }
        let statement = self.wait(self.client.prepare_typed(sql.text, sql.types))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= KEPT_STATEMENTS {
            statements.clear();
        }
        statements.insert(sql.text.to_owned(), statement.clone());
        Ok(statement)
    }

    fn statements_of(&self, asked: &[(Sql<'_>, Params<'_>)]) -> Result<Vec<Statement>, Error> {
        asked.iter().map(|(sql, _)| self.statement(*sql)).collect()
    }

    /// A statement is prepared in a savepoint, too: one that cannot be would end the transaction.
    fn statement_in_savepoint(&self, text: &str) -> Result<Statement, Error> {
        if let Some(known) = self.statements.borrow().get(text) {
            return Ok(known.clone());
        }
        self.batch("SAVEPOINT rejoin_row")?;
        let statement = self.statement(Sql { text, types: &[] })?;
        self.batch("RELEASE rejoin_row")?;
        Ok(statement)
    }

    /// Takes the transaction back to before the statement; the statement's error is what is told.
    fn undone(&self, error: Error) -> Error {
        match self.batch("ROLLBACK TO rejoin_row; RELEASE rejoin_row") {
            Ok(()) => error,
            Err(worse) => worse,
        }
    }
}
