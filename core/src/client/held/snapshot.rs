//! A snapshot that a handle holds: one reader serves it until it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::Client;
use super::{Line, Order};
use crate::ending::Ending;
use crate::engine::Reader;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::params::IntoParams;
use crate::readers::Readers;
use crate::row_buffer::{Row, RowBuffer};
use crate::writer::{Answer, bug, caught};

/// One state of the database that lasts until it is finished, made by [`Client::begin_read`].
///
/// Its methods may be called from any thread and from asynchronous code. It ends by [`finish`](Self::finish) or by being
/// dropped; with [`Error::TransactionTimeout`] when no query came for [`transaction_idle`](crate::Config::transaction_idle), or when
/// the write-ahead log has grown to 16 times [`wal_limit`](crate::Config::wal_limit) since it began; and by
/// [`Client::suspend`] and [`Client::shutdown`], which do not wait for it. Every later call answers why it ended.
#[derive(Debug)]
pub struct HeldSnapshot {
    line: Arc<Line<Wish>>,
}

/// What the holder wants.
enum Wish {
    Work(Work),
    Finish(oneshot::Sender<Result<()>>),
}

type Work = Box<dyn FnOnce(Result<&mut Reader>) + Send>;

impl Order for Wish {
    fn refuse(self, error: Error) {
        match self {
            Self::Work(work) => work(Err(error)),
            Self::Finish(tell) => drop(tell.send(Err(error))),
        }
    }
}

impl Client {
    /// Several queries on one state, for code that waits between two of them: what is committed meanwhile is not seen. Where
    /// nothing has to be waited for, [`Client::read`] and [`Client::query_all`] are simpler.
    ///
    /// Each takes one of the [`readers`](crate::Config::readers) for as long as it lasts, so that other queries have fewer;
    /// when all are taken, further ones wait. The log of writes cannot begin anew before it ends: keep it short.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, block_on};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// # client.create_table("note", "id TEXT PRIMARY KEY").wait()?;
    /// # block_on(async {
    /// let snapshot = client.begin_read().await?;
    /// client.execute("INSERT INTO note VALUES ('a')", ()).await?;
    /// assert_eq!(snapshot.query("SELECT * FROM note", ()).await?.len(), 0);
    /// snapshot.finish().await?;
    /// # client.shutdown().await
    /// # })?;
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Reentrant`] inside the closure of [`Client::read`]; [`Error::Suspended`], [`Error::Shutdown`].
    pub fn begin_read(&self) -> Answer<HeldSnapshot> {
        let core = self.core();
        let (tell, told) = oneshot::channel();
        let (pool, host) = (core.readers.clone(), Arc::clone(&core.host));
        let idle = core.config.transaction_idle;
        let handed_in = core.readers.hold(move |reader| match reader {
            Ok(reader) => serve(reader, &pool, host, idle, tell),
            Err(error) => drop(tell.send(Err(error))),
        });
        match handed_in {
            Ok(()) => Answer::coming(told),
            Err(error) => Answer::ready(Err(error)),
        }
    }
}

/// One snapshot, from begin to end, on a reader's thread.
fn serve(
    reader: &mut Reader,
    pool: &Readers,
    host: Arc<dyn Host>,
    idle: Duration,
    tell: oneshot::Sender<Result<HeldSnapshot>>,
) {
    let line = Line::new(host, idle);
    // Before it begins: whoever suspends or ends sees this line, or this sees them.
    let _held = match pool.note_held(Arc::clone(&line) as _) {
        Ok(held) => held,
        Err(error) => return drop(tell.send(Err(error))),
    };
    let mut begun = Some(tell);
    let served = caught(|| {
        reader.snapshot(|reader| {
            line.rest();
            let handle = HeldSnapshot { line: Arc::clone(&line) };
            let _ = begun.take().map(|tell| tell.send(Ok(handle)));
            loop {
                match line.take() {
                    Err(ending) => return Ok((ending, None)),
                    Ok(Wish::Finish(tell)) => return Ok((Ending::Finished, Some(tell))),
                    Ok(Wish::Work(work)) if reader.is_overdue() => {
                        work(Err(Error::TransactionTimeout));
                        return Ok((Ending::TimedOut, None));
                    }
                    Ok(Wish::Work(work)) => work(Ok(reader)),
                }
            }
        })
    });
    match served.unwrap_or_else(|panic| Err(bug(&*panic))) {
        Ok((ending, last)) => {
            line.end(ending);
            drop(last.map(|tell| tell.send(Ok(()))));
        }
        Err(error) => {
            let error = line.explain(error);
            line.end(Ending::of_failure(&error));
            drop(begun.take().map(|tell| tell.send(Err(error))));
        }
    }
}

impl HeldSnapshot {
    /// The rows of a query, as of the snapshot.
    ///
    /// # Errors
    /// As [`Client::query`]; the snapshot goes on. Why it ended, if it has.
    pub fn query(&self, sql: &str, params: impl IntoParams) -> Answer<RowBuffer> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.order(move |reader| reader.rows(&sql, &params))
    }

    /// The first row of a query.
    ///
    /// # Errors
    /// As [`HeldSnapshot::query`].
    pub fn query_one(&self, sql: &str, params: impl IntoParams) -> Answer<Option<Row<'static>>> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.order(move |reader| Ok(reader.rows(&sql, &params)?.into_first()))
    }

    /// Ends it; its reader is free for others.
    ///
    /// # Errors
    /// Why it ended, if it has.
    pub fn finish(&self) -> Answer<()> {
        let (tell, told) = oneshot::channel();
        self.line.push(Wish::Finish(tell));
        Answer::coming(told)
    }

    fn order<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Reader) -> Result<R> + Send + 'static,
    ) -> Answer<R> {
        let (tell, told) = oneshot::channel();
        let line = Arc::clone(&self.line);
        let work: Work = Box::new(move |reader| {
            let result = reader.and_then(|reader| {
                caught(|| body(reader)).unwrap_or_else(|panic| Err(bug(&*panic)))
            });
            line.rest();
            let _ = tell.send(result.map_err(|error| line.explain(error)));
        });
        self.line.push(Wish::Work(work));
        Answer::coming(told)
    }
}

impl Drop for HeldSnapshot {
    fn drop(&mut self) {
        self.line.close(Ending::Finished);
    }
}
