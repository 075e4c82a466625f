//! Reading: one query, several queries on one state, and watches.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Weak};

use serde::de::DeserializeOwned;

use super::held::{HeldSnapshot, snapshot};
use super::{Client, Core};
use crate::engine::Reader;
use crate::engine::change::Change;
use crate::error::Result;
use crate::params::IntoParams;
use crate::row_buffer::{FromCell, Row, RowBuffer};
use crate::value::Value;
use crate::watch::{Cancel, Concern, Hub, Listener, Query, Subscription, Watch};
use crate::writer::Task;

/// One state of the database, while the closure of [`Client::read`] runs.
#[derive(Debug)]
pub struct Snapshot<'a> {
    pub(super) reader: &'a mut Reader,
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
    /// [`InputFault::Sql`](crate::InputFault::Sql) if it does not compile or fails; [`InputFault::Refused`](crate::InputFault::Refused) if it
    /// writes: use [`Client::execute_returning`].
    pub fn query(&self, sql: &str, params: impl IntoParams) -> Task<RowBuffer> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.core().readers.call(move |reader| reader.rows(&sql, &params))
    }

    /// The first row of a query, if there is one.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub fn query_one(&self, sql: &str, params: impl IntoParams) -> Task<Option<Row<'static>>> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.core().readers.call(move |reader| Ok(reader.rows(&sql, &params)?.into_first()))
    }

    /// The rows of a query as values of `T`: a struct with a member for each column, or a single
    /// value for a query of one column.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Task { id: String, title: String, done: bool }
    ///
    /// client.schema().create_table("task", "id TEXT PRIMARY KEY, title TEXT, done INTEGER").wait()?;
    /// let milk = Task { id: "t1".into(), title: "Milk".into(), done: false };
    /// client.insert("task", &milk).wait()?;
    /// client.update("task", &Task { done: true, ..milk }).wait()?;
    /// let done: Vec<Task> = client.query_as("SELECT * FROM task WHERE done", ()).wait()?;
    /// let count: Option<i64> = client.query_scalar("SELECT count(*) FROM task", ()).wait()?;
    /// assert_eq!((done[0].title.as_str(), count), ("Milk", Some(1)));
    /// client.delete("task", "t1").wait()?;
    /// assert!(!client.exists("SELECT 1 FROM task", ()).wait()?);
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::query`], and as [`RowBuffer::decode`].
    pub fn query_as<T: DeserializeOwned + Send + 'static>(
        &self,
        sql: &str,
        params: impl IntoParams,
    ) -> Task<Vec<T>> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.core().readers.call(move |reader| reader.rows(&sql, &params)?.decode())
    }

    /// The first column of the first row, as a value of `T`; `None` without a row. A `T` of
    /// `Option<_>` also accepts NULL.
    ///
    /// # Errors
    /// As [`Client::query`]; [`InputFault::Refused`](crate::InputFault::Refused) if the cell is no `T`.
    pub fn query_scalar<T>(&self, sql: &str, params: impl IntoParams) -> Task<Option<T>>
    where
        T: for<'cell> FromCell<'cell> + Send + 'static,
    {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.core().readers.call(move |reader| {
            reader.rows(&sql, &params)?.into_first().map(|row| row.get(0)).transpose()
        })
    }

    /// Whether a query has a row.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub fn exists(&self, sql: &str, params: impl IntoParams) -> Task<bool> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.core().readers.call(move |reader| Ok(!reader.rows(&sql, &params)?.is_empty()))
    }

    /// Runs several queries on one state; commits during the closure, local or remote, are not
    /// visible.
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
    /// # Errors Those of `body`; [`Error::Callback`](crate::Error::Callback) if it panics. Other
    /// queries of this client inside it fail with [`InputFault::Reentrant`](crate::InputFault::Reentrant):
    /// use the snapshot.
    pub fn read<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Snapshot<'_>) -> Result<T> + Send + 'static,
    ) -> Task<T> {
        self.core().readers.call(|reader| reader.snapshot(|reader| body(&mut Snapshot { reader })))
    }

    /// Runs several queries with their parameters on one state.
    ///
    /// # Errors
    /// As [`Client::query`], in [`Error::Batch`](crate::Error::Batch) with the index of the query.
    pub fn query_many(&self, queries: Vec<(String, Vec<Value>)>) -> Task<Vec<RowBuffer>> {
        self.core().readers.call(move |reader| many(reader, queries))
    }

    /// Watches a query: delivers its result now, and after each commit that changes it.
    ///
    /// The query runs again only after a commit to a table that it reads, and delivers only if its
    /// rows changed. All watches that one commit affects run on one state, so they agree. `key`
    /// names the columns that identify a row: each update then lists the added, changed and removed
    /// rows. Without a key pass `&[]`.
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
    /// A watch that is created while the client is suspended starts with [`SyncHandle::resume`](crate::SyncHandle::resume).
    ///
    /// # Errors
    /// As [`Client::query`]; [`InputFault::Refused`](crate::InputFault::Refused) if a key column is not in
    /// the result.
    pub fn watch(
        &self,
        sql: &str,
        params: impl IntoParams,
        key: &[&str],
    ) -> impl Future<Output = Result<Watch>> + Send + 'static {
        watch(&self.core().hub, sql, params, key)
    }

    /// Calls `callback` after each commit to one of `tables`, or to any table if the list is empty. Several
    /// writes may share a commit.
    /// It ends, and drops `callback`, when the subscription is dropped or the client shuts down.
    /// Commits during a call are combined, local and remote ones separately.
    pub fn on_change(
        &self,
        tables: &[&str],
        callback: impl FnMut(Change) + Send + 'static,
    ) -> Subscription {
        let tables: BTreeSet<_> = tables.iter().map(|table| table.to_ascii_lowercase()).collect();
        let core = self.core();
        let dispatcher = Arc::clone(&core.hub.dispatcher);
        let concern = if tables.is_empty() { Concern::All } else { Concern::Tables(tables) };
        let listener = Listener::new(concern, Box::new(callback), dispatcher);
        self.listening(&listener)
    }

    /// Registers a listener for commits, until the subscription is dropped.
    pub(super) fn listening(&self, listener: &Arc<Listener>) -> Subscription {
        let core = self.core();
        core.hub.listen(Arc::clone(listener));
        let listener = Arc::clone(listener);
        Subscription::new(Arc::new(Listening { listener, core: Arc::downgrade(core) }))
    }

    /// Several queries on one state, with waits between them; later commits are not visible.
    /// Without waits, [`Client::read`] and [`Client::query_many`] are simpler.
    ///
    /// Each snapshot uses one of the [`readers`](crate::Config::readers) until it ends; when all
    /// are in use, further ones wait. The write-ahead log cannot be reused before it ends: keep it
    /// short.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, block_on};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// # client.schema().create_table("note", "id TEXT PRIMARY KEY").wait()?;
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
    /// [`InputFault::Reentrant`](crate::InputFault::Reentrant) inside the closure of [`Client::read`]; [`Error::Suspended`](crate::Error::Suspended), [`Error::Closed`](crate::Error::Closed).
    pub fn begin_read(&self) -> Task<HeldSnapshot> {
        snapshot::begin(self.core())
    }
}

/// The rows of several queries on one state.
pub(super) fn many(
    reader: &mut Reader,
    queries: Vec<(String, Vec<Value>)>,
) -> Result<Vec<RowBuffer>> {
    reader.snapshot(|reader| {
        let run = |(index, (sql, params)): (usize, (String, Vec<Value>))| {
            reader.rows(&sql, &params).map_err(|error| error.in_batch(index))
        };
        queries.into_iter().enumerate().map(run).collect()
    })
}

/// Starts a watch, whose first result the future waits for.
pub(super) fn watch(
    hub: &Hub,
    sql: &str,
    params: impl IntoParams,
    key: &[&str],
) -> impl Future<Output = Result<Watch>> + Send + 'static {
    let query = Query { sql: sql.to_owned(), params: params.into_params() };
    let key = key.iter().map(|&column| column.to_owned()).collect();
    let (slot, first) = hub.watch(query, key);
    let watch = Watch::new(slot);
    async move { first.await.map(|()| watch) }
}

/// A listener that can remove itself from its list.
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
