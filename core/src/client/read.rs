//! Reading: one query, or several on one state; and watching.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Weak};

use super::{Client, Core};
use crate::engine::Reader;
use crate::engine::change::Change;
use crate::error::Result;
use crate::params::IntoParams;
use crate::row_buffer::{Row, RowBuffer};
use crate::value::Value;
use crate::watch::{Cancel, Listener, Query, Subscription, Watch};
use crate::writer::Answer;

/// One state of the database, for as long as the closure of [`Client::read`] runs.
#[derive(Debug)]
pub struct Snapshot<'a> {
    reader: &'a mut Reader,
}

impl Snapshot<'_> {
    /// The rows of a query, as of the snapshot.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub fn query(&mut self, sql: &str, params: impl IntoParams) -> Result<RowBuffer> {
        self.reader.rows(sql, &params.into_params())
    }

    /// The first row of a query.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub fn query_one(
        &mut self,
        sql: &str,
        params: impl IntoParams,
    ) -> Result<Option<Row<'static>>> {
        Ok(self.query(sql, params)?.into_first())
    }
}

impl Client {
    /// The rows of a query, from the last committed state.
    ///
    /// Works offline; never waits for a write. Inside a transaction's closure it sees the state before that transaction.
    ///
    /// # Errors
    /// [`Error::Sql`](crate::Error::Sql) if it does not compile or fails; [`Error::Refused`](crate::Error::Refused) if it
    /// writes: use [`Client::execute_returning`].
    pub fn query(&self, sql: &str, params: impl IntoParams) -> Answer<RowBuffer> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.core().readers.call(move |reader| reader.rows(&sql, &params))
    }

    /// The first row of a query, if there is one.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub fn query_one(&self, sql: &str, params: impl IntoParams) -> Answer<Option<Row<'static>>> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.core().readers.call(move |reader| Ok(reader.rows(&sql, &params)?.into_first()))
    }

    /// Several queries on one state: what is committed meanwhile, here or by a pull, is not seen.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// # client.execute("CREATE TABLE note (id TEXT PRIMARY KEY)", ()).wait()?;
    /// let both = client.read(|snapshot| {
    ///     let all = snapshot.query("SELECT * FROM note", ())?;
    ///     let count = snapshot.query_one("SELECT count(*) FROM note", ())?;
    ///     Ok((all.len(), count.map(|row| row.get::<usize>(0)).transpose()?))
    /// });
    /// assert_eq!(both.wait()?, (0, Some(0)));
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `body`; [`Error::Foreign`](crate::Error::Foreign) if it panics. Inside it other queries of this client are
    /// [`Error::Reentrant`](crate::Error::Reentrant): use the snapshot.
    pub fn read<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Snapshot<'_>) -> Result<T> + Send + 'static,
    ) -> Answer<T> {
        self.core().readers.call(|reader| reader.snapshot(|reader| body(&mut Snapshot { reader })))
    }

    /// The rows of several queries on one state, each with its parameters.
    ///
    /// # Errors
    /// As [`Client::query`], in [`Error::Batch`](crate::Error::Batch) with the query that failed.
    pub fn query_all(&self, queries: Vec<(String, Vec<Value>)>) -> Answer<Vec<RowBuffer>> {
        self.core().readers.call(move |reader| {
            reader.snapshot(|reader| {
                let run = |(index, (sql, params)): (usize, (String, Vec<Value>))| {
                    reader.rows(&sql, &params).map_err(|error| error.in_batch(index))
                };
                queries.into_iter().enumerate().map(run).collect()
            })
        })
    }

    /// Watches a query: its result now, and again after each commit that changes it, whoever wrote.
    ///
    /// It is run again only when a commit touched a table that it reads, and told only when its rows changed. All watches
    /// that one commit touched are run on one state, so they agree. With the names of the columns that identify a row as
    /// `key` each update also says which rows were added, changed and removed; without, pass `&[]`.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, block_on};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// # client.execute("CREATE TABLE note (id TEXT PRIMARY KEY)", ()).wait()?;
    /// # block_on(async {
    /// let mut notes = client.watch("SELECT id FROM note", (), &["id"]).await?;
    /// assert!(notes.next().await.unwrap()?.rows.is_empty());
    /// client.execute("INSERT INTO note VALUES ('a')", ()).await?;
    /// let update = notes.next().await.unwrap()?;
    /// assert_eq!(update.difference.unwrap().added, [0]);
    /// # Ok::<(), rejoin_core::Error>(())
    /// # })?;
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// Begun while the client is suspended, it waits for [`Client::resume`].
    ///
    /// # Errors
    /// As [`Client::query`] otherwise; [`Error::Refused`](crate::Error::Refused) if a column of the key is not in the result.
    pub fn watch(
        &self,
        sql: &str,
        params: impl IntoParams,
        key: &[&str],
    ) -> impl Future<Output = Result<Watch>> + Send + 'static {
        let query = Query { sql: sql.to_owned(), params: params.into_params() };
        let key = key.iter().map(|&column| column.to_owned()).collect();
        let (slot, first) = self.core().hub.watch(query, key);
        let watch = Watch::new(slot);
        async move { first.await.map(|()| watch) }
    }

    /// Calls `callback` after each commit that touched one of `tables`, or any if none is named, until the subscription is
    /// dropped or the client shuts down, which drops `callback`. Commits that come while it runs are told together, the app's and the server's apart.
    pub fn on_change(
        &self,
        tables: &[&str],
        callback: impl FnMut(Change) + Send + 'static,
    ) -> Subscription {
        let tables: BTreeSet<_> = tables.iter().map(|table| table.to_ascii_lowercase()).collect();
        let core = self.core();
        let dispatcher = Arc::clone(&core.hub.dispatcher);
        let listener = Listener::new(tables, Box::new(callback), dispatcher);
        self.listening(&listener)
    }

    /// Lets a listener hear of commits, until the subscription is dropped.
    pub(super) fn listening(&self, listener: &Arc<Listener>) -> Subscription {
        let core = self.core();
        core.hub.listen(Arc::clone(listener));
        let listener = Arc::clone(listener);
        Subscription::new(Arc::new(Listening { listener, core: Arc::downgrade(core) }))
    }
}

/// A listener and where it stands in a list.
struct Listening {
    listener: Arc<Listener>,
    core: Weak<Core>,
}

impl Cancel for Listening {
    fn cancel(&self) {
        self.listener.cancel();
        if let Some(core) = self.core.upgrade() {
            core.hub.forget(&self.listener);
        }
    }
}
