//! One connection: statements prepared once, waited for by the thread that asks.
//!
//! The engine is synchronous, and may be called from within somebody's runtime. So the socket is served by a runtime of the
//! store's own, and a caller parks until its answer is there: no runtime has to be entered, and none can be blocked that
//! the answer would need.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement};

/// Statements that a connection keeps prepared; past it all are given up and prepared again as they come.
const KEPT_STATEMENTS: usize = 512;

/// Parameters of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread. What it waits for must be driven elsewhere.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
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
    statements: RefCell<HashMap<String, Statement>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Connection").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(client: Client) -> Self {
        Self { client, statements: RefCell::new(HashMap::new()) }
    }

    /// Whether the other side is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements without parameters.
    pub(super) fn batch(&self, sql: &str) -> Result<(), Error> {
        wait(self.client.batch_execute(sql))
    }

    /// Every row of a query whose parameters are typed by its text.
    pub(super) fn rows(&self, text: &str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        self.typed(Sql { text, types: &[] }, params)
    }

    /// Every row of a query.
    pub(super) fn typed(&self, sql: Sql<'_>, params: Params<'_>) -> Result<Vec<Row>, Error> {
        let statement = self.statement(sql)?;
        wait(self.client.query(&statement, params))
    }

    /// Several queries in one round trip, answered in their order; of their errors the first is told.
    pub(super) fn all(&self, asked: &[(Sql<'_>, Params<'_>)]) -> Result<Vec<Vec<Row>>, Error> {
        let statements =
            asked.iter().map(|(sql, _)| self.statement(*sql)).collect::<Result<Vec<_>, _>>()?;
        let mut queries: Vec<_> = statements
            .iter()
            .zip(asked)
            .map(|(statement, (_, params))| Box::pin(self.client.query(statement, params)))
            .collect();
        let mut found: Vec<Option<Result<Vec<Row>, Error>>> =
            queries.iter().map(|_| None).collect();
        wait(poll_fn(|context| {
            // In this order they are sent, because in this order they are first asked.
            for (query, found) in queries.iter_mut().zip(&mut found) {
                if found.is_none()
                    && let Poll::Ready(answer) = query.as_mut().poll(context)
                {
                    *found = Some(answer);
                }
            }
            if found.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
        }));
        found.into_iter().flatten().collect()
    }

    /// The first row of a query, if it has any.
    pub(super) fn first(&self, text: &str, params: Params<'_>) -> Result<Option<Row>, Error> {
        Ok(self.rows(text, params)?.into_iter().next())
    }

    /// Runs a statement; how many rows it touched.
    pub(super) fn execute(&self, text: &str, params: Params<'_>) -> Result<u64, Error> {
        let statement = self.statement(Sql { text, types: &[] })?;
        wait(self.client.execute(&statement, params))
    }

    /// Runs a statement between a savepoint and its end, in one round trip: if it fails, the transaction lives.
    pub(super) fn guarded(&self, text: &str, params: Params<'_>) -> Result<u64, Error> {
        let statement = match self.statement_in_savepoint(text) {
            Ok(statement) => statement,
            Err(error) => return Err(self.undone(error)),
        };
        let (begun, done, ended) = wait(async {
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
        let (earlier, entered, found, last_done) = wait(async {
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
        let alive = self.statement(Sql { text: "SELECT 1", types: &[] })?;
        let (alive, committed) = wait(async {
            tokio::join!(biased; self.client.query(&alive, &[]), self.client.batch_execute("COMMIT"))
        });
        alive?;
        committed
    }

    /// Whether a query could be run; its columns and parameters are not looked at.
    pub(super) fn can_prepare(&self, text: &str) -> Result<(), Error> {
        wait(self.client.prepare(text)).map(drop)
    }

    fn statement(&self, sql: Sql<'_>) -> Result<Statement, Error> {
        if let Some(known) = self.statements.borrow().get(sql.text) {
            return Ok(known.clone());
        }
        let statement = wait(self.client.prepare_typed(sql.text, sql.types))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= KEPT_STATEMENTS {
            statements.clear();
        }
        statements.insert(sql.text.to_owned(), statement.clone());
        Ok(statement)
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
