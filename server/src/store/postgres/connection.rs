//! One connection: statements are prepared once, and the calling thread waits for their results.
//!
//! The engine is synchronous and may be called within a host's runtime. The store therefore serves
//! the socket on its own runtime, and a caller parks until its result arrives. No runtime is
//! entered or blocked. If the database sends nothing for longer than a statement may take, the
//! connection is closed.

mod statement;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use statement::Prepared;

/// Pauses between attempts to connect: each twice the last.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Maximum number of prepared statements per connection; beyond it all are dropped and prepared
/// again on use.
const KEPT_STATEMENTS: usize = 512;

/// Parameters of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Time for the transfer of a result, in addition to the statement timeout.
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

/// Waits for a future on this thread. Its work must be driven by another thread.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    wait_within(future, None, &|| {})
}

/// Like [`wait`]. `on_silence` is called once if nothing happens for `most`; it must end the
/// future.
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

/// Starts all futures in order before it waits for the first, so requests are sent, and answered,
/// in this order.
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

/// A statement with the types of its parameters, which the text then need not declare.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sql<'a> {
    pub(super) text: &'a str,
    pub(super) types: &'a [Type],
}

/// A connection of the pool.
pub(super) struct Connection {
    client: Client,
    /// The runtime that serves the socket.
    runtime: Handle,
    /// Aborts the task that serves the socket.
    driver: AbortHandle,
    /// The statement timeout of requests.
    limit: Duration,
    /// Whether the statement timeout is disabled.
    is_unlimited: Cell<bool>,
    statements: RefCell<HashMap<String, Prepared>>,
    /// What each transaction sets after its begin, because a pooler chooses a session for each.
    /// `None` if the connection is a session of its own.
    settings: Option<Arc<str>>,
    /// Whether the driver has asked for a type that the database defines, with a statement that it
    /// keeps by name, in the pooler's session of that moment.
    has_names: Cell<bool>,
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
        settings: Option<Arc<str>>,
    ) -> Self {
        let (is_unlimited, has_names) = (Cell::new(false), Cell::new(false));
        let statements = RefCell::default();
        Self { client, runtime, driver, limit, is_unlimited, statements, settings, has_names }
    }

    /// What a transaction sets after its begin; `None` if the session has all settings.
    pub(super) fn settings(&self) -> Option<&str> {
        self.settings.as_deref()
    }

    /// The statement timeout of requests.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Runs work without the statement timeout: index builds, migrations.
    pub(super) fn unlimited<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = self.is_unlimited.replace(true);
        let done = work();
        self.is_unlimited.set(before);
        done
    }

    /// Waits for a result. If nothing arrives for longer than any statement may take, closes the
    /// connection and returns the error of a closed connection.
    fn wait<F: Future>(&self, future: F) -> F::Output {
        let most = (!self.is_unlimited.get()).then(|| self.limit + MARGIN);
        wait_within(future, most, &|| {
            tracing::warn!("the database has not answered in time: the connection is closed");
            self.driver.abort();
        })
    }

    /// Whether further transactions may use the connection.
    pub(super) fn is_reusable(&self) -> bool {
        !self.is_closed() && !self.has_names.get()
    }

    /// Whether the connection is known to be closed.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements without parameters.
    pub(super) fn batch(&self, sql: &str) -> Result<(), Error> {
        self.wait(self.client.batch_execute(sql))
    }

    /// All rows of a query whose parameter types follow from its text.
    pub(super) fn rows(&self, text: &str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        self.typed(Sql { text, types: &[] }, params)
    }

    /// All rows of a query.
    pub(super) fn typed(&self, sql: Sql<'_>, params: Params<'_>) -> Result<Vec<Row>, Error> {
        let statement = self.statement(sql)?;
        self.wait(self.query(&statement, params))
    }

    /// Runs a query and collects its rows. Rows that do not arrive at once are collected on the
    /// socket's runtime: waking the waiting thread for each packet is more expensive than building
    /// the rows.
    #[allow(clippy::disallowed_methods)] // On the store's own runtime.
    async fn query(&self, statement: &Prepared, params: Params<'_>) -> Result<Vec<Row>, Error> {
        let (mut rows, mut found) = (Box::pin(self.sent(statement, params).await?), Vec::new());
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
            // The runtime and its connection are ending; the query reports that.
            Err(_) => self.sent(statement, params).await?.try_collect().await,
        }
    }

    /// Runs several queries in one round trip, in order; reports the first error.
    pub(super) fn all(&self, asked: &[(Sql<'_>, Params<'_>)]) -> Result<Vec<Vec<Row>>, Error> {
        let statements = self.statements_of(asked)?;
        let queries = statements.iter().zip(asked);
        let queries = queries.map(|(statement, (_, params))| self.query(statement, params));
        self.wait(each_in_order(queries)).into_iter().collect()
    }

    /// Like [`all`](Self::all) within a savepoint: if a query fails, the transaction is unchanged.
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

    /// Runs independent statements between a begin and an end statement; returns the first failed
    /// statement and its error. Position `None`: the begin or end statement.
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
                self.batch(before).map_err(nowhere)?; // A failed prepare would abort the transaction.
            }
            let statement = self.statement(Sql { text, types: &[] });
            statements.push(statement.map_err(|error| (Some(at), error))?);
        }
        let batch = async |text: Option<&str>| match text {
            Some(text) => self.client.batch_execute(text).await,
            None => Ok(()),
        };
        let all = statements.iter().zip(written);
        let all = all.map(|(statement, (_, params))| self.done(statement, params));
        let (begun, done, ended) = self
            .wait(async { tokio::join!(biased; batch(before), each_in_order(all), batch(after)) });
        begun.map_err(nowhere)?;
        for (at, done) in done.into_iter().enumerate() {
            done.map_err(|error| (Some(at), error))?;
        }
        ended.map_err(nowhere)
    }

    /// Runs the queries in order. Each result is passed to `work` while the next query is already
    /// running, until `work` returns `false`. Surplus results are dropped.
    pub(super) fn each_ahead(
        &self,
        asked: &[(Sql<'_>, Params<'_>)],
        work: &mut dyn FnMut(Vec<Row>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let statements = self.statements_of(asked)?;
        let mut queries = statements.iter().zip(asked).map(|(statement, (_, params))| {
            let mut query = Box::pin(self.query(statement, params));
            // The first poll sends the query.
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

    /// The rows of a query outside of a transaction, without the statement timeout.
    pub(super) fn alone(&self, text: &str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        let Some(begin) = self.beginning() else { return self.rows(text, params) };
        Ok(self.enter(None, &begin, (text, params), Some("COMMIT"), &[])?.0)
    }

    /// The first row of a query, if any.
    pub(super) fn first(&self, text: &str, params: Params<'_>) -> Result<Option<Row>, Error> {
        Ok(self.rows(text, params)?.into_iter().next())
    }

    /// Runs a statement; returns the number of affected rows.
    pub(super) fn execute(&self, text: &str, params: Params<'_>) -> Result<u64, Error> {
        let statement = self.statement(Sql { text, types: &[] })?;
        self.wait(self.done(&statement, params))
    }

    /// Runs a statement within a savepoint, in one round trip: if it fails, the transaction stays
    /// usable.
    pub(super) fn guarded(&self, text: &str, params: Params<'_>) -> Result<u64, Error> {
        let statement = match self.statement_in_savepoint(text) {
            Ok(statement) => statement,
            Err(error) => return Err(self.undone(error)),
        };
        let (begun, done, ended) = self.wait(async {
            // Sent in this order, because they are polled in this order.
            tokio::join!(biased; self.client.batch_execute("SAVEPOINT rejoin_row"),
                self.done(&statement, params),
                self.client.batch_execute("RELEASE rejoin_row"),
            )
        });
        begun?;
        match done {
            Ok(count) => ended.map(|()| count),
            Err(error) => Err(self.undone(error)),
        }
    }

    /// Enters a transaction in one round trip: the sequencer in its own transaction, BEGIN, one
    /// query, a last statement, and further queries. Returns the rows of the query, and those of the
    /// others or their first error.
    #[allow(clippy::type_complexity)] // The names of the parts say less.
    pub(super) fn enter(
        &self,
        before: Option<&str>,
        begin: &str,
        (text, params): (&str, Params<'_>),
        after: Option<&str>,
        asked: &[(Sql<'_>, Params<'_>)],
    ) -> Result<(Vec<Row>, Result<Vec<Vec<Row>>, Error>), Error> {
        self.learn(asked.iter().map(|(sql, _)| *sql).chain([Sql { text, types: &[] }]))?;
        let before = before.map(|text| self.beginning_with(text)).transpose()?;
        let statement = self.statement(Sql { text, types: &[] })?;
        let statements = self.statements_of(asked)?;
        let queries = statements.iter().zip(asked);
        let queries = queries.map(|(statement, (_, params))| self.query(statement, params));
        let (earlier, entered, found, last_done, others) = self.wait(async {
            let first = async {
                match &before {
                    Some(before) => self.run_alone(before).await,
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
                self.query(&statement, params),
                last,
                each_in_order(queries)
            )
        });
        earlier?;
        entered?;
        let found = found?;
        last_done?;
        Ok((found, others.into_iter().collect()))
    }

    /// Commits. Fails if the transaction was aborted, for which COMMIT alone reports no error.
    pub(super) fn commit(&self) -> Result<(), Error> {
        self.commit_behind(("SELECT 1", &[]))
    }

    /// Runs a last statement, which fails if the transaction was aborted, and commits.
    pub(super) fn commit_behind(&self, (text, params): (&str, Params<'_>)) -> Result<(), Error> {
        let last = self.statement(Sql { text, types: &[] })?;
        let (last, committed) = self.wait(async {
            let commit = self.ending("COMMIT");
            tokio::join!(biased; self.query(&last, params), self.client.batch_execute(&commit))
        });
        last?;
        committed
    }

    /// Runs the last statements, of which one fails if the transaction was aborted, commits, and runs `next` in a transaction
    /// of its own, then a query; in one round trip. The inner error is that of what follows the commit.
    pub(super) fn commit_then(
        &self,
        last: &[(&str, Params<'_>)],
        next: &str,
        query: &str,
    ) -> Result<Result<Vec<Row>, Error>, Error> {
        let last: Vec<_> =
            last.iter().map(|(text, params)| (Sql { text, types: &[] }, *params)).collect();
        let statements = self.statements_of(&last)?;
        let next = self.beginning_with(next)?;
        let query = self.statement(Sql { text: query, types: &[] })?;
        let commit = self.ending("COMMIT");
        let last = statements.iter().zip(&last);
        let last = last.map(|(statement, (_, params))| self.query(statement, params));
        let (last, committed, next_done, found) = self.wait(async {
            tokio::join!(biased; each_in_order(last), self.client.batch_execute(&commit),
                self.run_alone(&next), self.query(&query, &[]))
        });
        last.into_iter().collect::<Result<Vec<_>, _>>()?;
        committed?;
        Ok(next_done.and(found))
    }

    /// Ends a read-only transaction without waiting for the result; the next request queues after
    /// it.
    pub(super) fn leave(&self) {
        let _ = self.client.batch_execute(&self.ending("ROLLBACK")).now_or_never();
    }

    /// Ends a transaction whatever its state.
    pub(super) fn roll_back(&self) -> Result<(), Error> {
        self.batch(&self.ending("ROLLBACK"))
    }

    /// Rolls back to before the statement; returns the statement's error.
    fn undone(&self, error: Error) -> Error {
        match self.batch("ROLLBACK TO rejoin_row; RELEASE rejoin_row") {
            Ok(()) => error,
            Err(worse) => worse,
        }
    }
}
