//! Writing: statements, batches, actions and transactions.

use std::sync::Arc;

use serde::Serialize;

use super::Client;
use super::held::run_all;
use super::held::{HeldTransaction, transaction};
use super::typed::members;
use crate::engine;
use crate::engine::action::Performed;
use crate::engine::action::perform;
use crate::error::Result;
use crate::params::IntoParams;
use crate::readers::foreign;
use crate::row_buffer::{Row, RowBuffer};
use crate::value::Value;
use crate::writer::{Task, caught};

/// A transaction, for the duration of its closure; it commits completely or not at all.
#[derive(Debug)]
pub struct Transaction<'a, 'engine> {
    inner: &'a mut engine::EngineTransaction<'engine>,
}

impl Transaction<'_, '_> {
    /// Runs one statement and returns the number of changed rows.
    ///
    /// # Errors
    /// As [`Client::execute`]. The transaction continues without the statement, unless the error
    /// says otherwise.
    pub fn execute(&mut self, sql: &str, params: impl IntoParams) -> Result<usize> {
        self.inner.execute(sql, &params.into_params())
    }

    /// The rows of a statement, which may write (`RETURNING`); it sees earlier writes of the
    /// transaction.
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub fn query(&mut self, sql: &str, params: impl IntoParams) -> Result<RowBuffer> {
        self.inner.rows(sql, &params.into_params())
    }

    /// The first row of a statement.
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub fn query_one(
        &mut self,
        sql: &str,
        params: impl IntoParams,
    ) -> Result<Option<Row<'static>>> {
        Ok(self.query(sql, params)?.into_first())
    }

    /// Runs `body` in a savepoint: if it returns an error, its writes are rolled back and the
    /// transaction continues.
    ///
    /// # Errors
    /// Those of `body`.
    pub fn savepoint<T>(
        &mut self,
        body: impl FnOnce(&mut Transaction<'_, '_>) -> Result<T>,
    ) -> Result<T> {
        self.inner.savepoint(|inner| body(&mut Transaction { inner }))
    }
}

impl Client {
    /// Runs one statement in a transaction and returns the number of changed rows: 0 for one that
    /// changes no rows, such as a SELECT or a CREATE TABLE. For the key of a new row, use
    /// [`Client::execute_returning`].
    ///
    /// A write to a synced table is queued in the same transaction, as one mutation, and is pushed
    /// when there is a network.
    ///
    /// Writes to synced tables that wait at the same time share a commit, which makes many calls at
    /// once several times as fast as one after the other. They stay independent: each is a mutation
    /// of its own, and one that fails leaves the others.
    ///
    /// # Errors
    /// [`InputFault::Sql`](crate::InputFault::Sql), [`Error::Constraint`](crate::Error::Constraint),
    /// [`InputFault::Value`](crate::InputFault::Value), [`InputFault::Refused`](crate::InputFault::Refused): nothing
    /// changed. [`InputFault::Reentrant`](crate::InputFault::Reentrant) inside a transaction's closure.
    pub fn execute(&self, sql: &str, params: impl IntoParams) -> Task<usize> {
        let (sql, params): (Arc<str>, _) = (sql.into(), params.into_params());
        let text = Arc::clone(&sql);
        let shares = move |engine: &mut engine::Engine| engine.shares(&text);
        self.core().writer.write(shares, move |engine| engine.execute_within(&sql, &params))
    }

    /// [`Client::execute`] on this thread, if no other write or task of the writer waits or runs;
    /// otherwise `None`, and nothing was done.
    ///
    /// Blocks the thread for the time of the statement and its commit, but never waits for other
    /// work. A small write takes a fraction of the time of `execute`, which passes it to the
    /// writer's thread and back.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, Error};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// # client.schema().create_table("stock", "id TEXT PRIMARY KEY, n INTEGER").wait()?;
    /// let insert = "INSERT INTO stock VALUES ('nails', 5)";
    /// let inserted = match client.try_execute(insert, ()) {
    ///     Some(result) => result?,
    ///     None => client.execute(insert, ()).wait()?,
    /// };
    /// assert_eq!(inserted, 1);
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::execute`].
    pub fn try_execute(&self, sql: &str, params: impl IntoParams) -> Option<Result<usize>> {
        let params = params.into_params();
        self.core().writer.call_if_free(|engine| engine.execute(sql, &params)).ok()
    }

    /// Runs one statement that returns rows (`INSERT ... RETURNING`) in its own transaction.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// # client.schema().create_table("stock", "id INTEGER PRIMARY KEY, name TEXT").wait()?;
    /// let insert = "INSERT INTO stock (name) VALUES (?) RETURNING id";
    /// let row = client.execute_returning(insert, ("nails",)).wait()?.into_first();
    /// assert_eq!(row.map(|row| row.get::<i64>("id")).transpose()?, Some(1));
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::execute`].
    pub fn execute_returning(&self, sql: &str, params: impl IntoParams) -> Task<RowBuffer> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.core().writer.call(move |engine| engine.transaction(|tx| tx.rows(&sql, &params)))
    }

    /// Runs several statements without parameters, separated by `;`, in one transaction.
    ///
    /// # Errors
    /// As [`Client::execute`]; then none of the statements has an effect.
    pub fn execute_script(&self, sql: &str) -> Task<()> {
        let sql = sql.to_owned();
        self.core().writer.call(move |engine| engine.execute_batch(&sql))
    }

    /// Runs several statements with parameters in one transaction and returns the number of changed
    /// rows of each. Their writes to synced tables are **one** mutation.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, Error};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// # client.schema().create_table("stock", "id TEXT PRIMARY KEY, n INTEGER").wait()?;
    /// let put = |id: &str| ("INSERT INTO stock VALUES (?, 1)".to_owned(), vec![id.into()]);
    /// assert_eq!(client.batch(vec![put("here"), put("there")]).wait()?, [1, 1]);
    /// let twice = client.batch(vec![put("far"), put("here")]).wait();
    /// assert!(matches!(twice, Err(Error::Batch { index: 1, .. })), "nothing of it was written");
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Batch`](crate::Error::Batch) with the index and error of the failed statement; then
    /// none has an effect. Otherwise as [`Client::execute`].
    pub fn batch(&self, statements: Vec<(String, Vec<Value>)>) -> Task<Vec<usize>> {
        self.core().writer.call(move |engine| engine.single(|tx| run_all(tx, &statements)))
    }

    /// Performs an action of [`Services::actions`](crate::Services) in one transaction. It becomes
    /// **one** mutation with the action's name and arguments. Until the server has accepted it, it
    /// runs again when remote changes affect it. Waiting calls of declared actions share a commit,
    /// like those of [`Client::execute`].
    ///
    /// ```
    /// # use rejoin_core::{Actions, Client, Config, Services};
    /// # use serde_json::json;
    /// # const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "stock",
    /// #   "push_policy": "owner_only", "updated_at_column": "", "deleted_at_column": "", "primary_key": ["id"],
    /// #   "columns": [{"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
    /// #     {"name": "n", "db_type": "integer", "logical_type": "int64"}]}]}"#;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let config = Config::new(folder.path().join("a.db")).schema(serde_json::from_str(SCHEMA).unwrap());
    /// let actions = Actions::new().declare(r#"{"name": "take",
    ///     "parameters": [{"name": "id", "type": "text"}, {"name": "n", "type": "integer"}],
    ///     "preconditions": [{"sql": "SELECT n >= :n FROM stock WHERE id = :id", "message": "not enough in stock"}],
    ///     "statements": ["UPDATE stock SET n = n - :n WHERE id = :id"],
    ///     "result": "SELECT n AS left FROM stock WHERE id = :id"}"#);
    /// let services = Services { actions: Some(actions.into()), ..Services::default() };
    /// let client = Client::open_with(config, services).wait()?;
    /// client.execute("INSERT INTO stock (id, n) VALUES ('nails', 5)", ()).wait()?;
    /// let taken = client.perform("take", json!({"id": "nails", "n": 2})).wait()?;
    /// assert_eq!(taken.value, json!({"left": 3}));
    /// let error = client.perform("take", json!({"id": "nails", "n": 4})).wait().unwrap_err();
    /// assert_eq!(error.to_string(), "action take: not enough in stock");
    /// # client.shutdown().wait()?;
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Action`](crate::Error::Action) for an unknown action, invalid arguments, and failed
    /// preconditions; [`Error::Callback`](crate::Error::Callback) if its code panics;
    /// otherwise as [`Client::transaction`]. Nothing changed.
    pub fn perform(&self, name: &str, arguments: serde_json::Value) -> Task<Performed> {
        let name = name.to_owned();
        let shares = {
            let name = name.clone();
            move |engine: &mut engine::Engine| perform::shares(engine, &name)
        };
        let act = move |engine: &mut _| perform::perform_within(engine, &name, &arguments);
        self.core().writer.write(shares, act)
    }

    /// Runs `body` in one transaction on the writer's thread; an error or panic rolls it back. Its
    /// writes to synced tables are **one** mutation, which the server accepts or rejects as a
    /// whole.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, Error};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// # client.execute("CREATE TABLE stock (id TEXT PRIMARY KEY, n INTEGER)", ()).wait()?;
    /// let moved = client.transaction(|tx| {
    ///     tx.execute("INSERT INTO stock VALUES ('here', 3), ('there', 0)", ())?;
    ///     let optional = tx.savepoint(|tx| tx.execute("INSERT INTO stock VALUES ('here', 9)", ()));
    ///     assert!(optional.is_err(), "rolled back, and the transaction continues");
    ///     tx.execute("UPDATE stock SET n = n - 1 WHERE id = 'here'", ())
    /// });
    /// assert_eq!(moved.wait()?, 1);
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// Keep it short: other writes and remote changes wait for it. Dropping the future does not
    /// stop it. Writes through the client inside `body` fail with
    /// [`InputFault::Reentrant`](crate::InputFault::Reentrant): use the transaction. Reads through the client
    /// see the state before the transaction.
    ///
    /// # Errors
    /// Those of `body`; [`Error::Callback`](crate::Error::Callback) if it panics;
    /// [`InputFault::PartialStatement`](crate::InputFault::PartialStatement).
    pub fn transaction<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Transaction<'_, '_>) -> Result<T> + Send + 'static,
    ) -> Task<T> {
        self.core().writer.call(|engine| engine.transaction(|inner| run_body(inner, body)))
    }

    /// Inserts a row: each member of the struct or map is the column of its name. Columns without a
    /// member get their default. [`Client::query_as`] has an example.
    ///
    /// Booleans are stored as 0 and 1, lists and structs as JSON text (which has null for an
    /// infinite number), lists of bytes in a column of type BLOB as bytes.
    ///
    /// # Errors
    /// [`InputFault::Refused`](crate::InputFault::Refused) for an unknown table, a member without a column,
    /// and a value that SQLite cannot store; as [`Client::execute`]. Nothing was written.
    pub fn insert(&self, table: &str, value: &impl Serialize) -> Task<()> {
        let (table, members) = (table.to_owned(), members(table, value));
        self.transaction(move |tx| tx.insert_members(&table, members))
    }

    /// Updates the row with the key of this value: sets the column of each other member. Returns
    /// whether there is such a row.
    ///
    /// A member that has the row's value changes nothing and is not sent. Values are stored as by
    /// [`Client::insert`].
    ///
    /// # Errors
    /// As [`Client::insert`], and if the value lacks a column of the key.
    pub fn update(&self, table: &str, value: &impl Serialize) -> Task<bool> {
        let (table, members) = (table.to_owned(), members(table, value));
        self.transaction(move |tx| tx.update_members(&table, members))
    }

    /// Deletes the row with this key. Returns whether there was one.
    ///
    /// # Errors
    /// [`InputFault::Refused`](crate::InputFault::Refused) for an unknown table or one whose key is not one
    /// column; as [`Client::execute`].
    pub fn delete(&self, table: &str, key: impl Into<Value>) -> Task<bool> {
        let (table, key) = (table.to_owned(), key.into());
        self.transaction(move |tx| tx.delete(&table, key))
    }

    /// Begins an interactive transaction, for code that waits between statements; completes when
    /// the writer is free. Without waits, [`Client::transaction`] is simpler and cannot be left
    /// open.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, block_on};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// # client.schema().create_table("stock", "id TEXT PRIMARY KEY, n INTEGER").wait()?;
    /// # block_on(async {
    /// let tx = client.begin().await?;
    /// tx.execute("INSERT INTO stock VALUES ('here', 3)", ()).await?;
    /// let count = tx.query("SELECT n FROM stock", ()).await?; // It sees its writes, others do not yet.
    /// assert_eq!((count.len(), client.query("SELECT n FROM stock", ()).await?.len()), (1, 0));
    /// tx.commit().await?;
    /// assert_eq!(client.query("SELECT n FROM stock", ()).await?.len(), 1);
    /// # client.shutdown().await
    /// # })?;
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// While it is open, other work of the writer waits: other writes and transactions, `pending`,
    /// `row_sync_state`, remote changes. This includes `client.execute` of the code that holds the
    /// handle: if it waits for that, the transaction times out, is rolled back, and the write then
    /// runs alone. Use the handle instead. Reads never wait and see the state before.
    ///
    /// # Errors
    /// [`InputFault::Reentrant`](crate::InputFault::Reentrant) inside the closure of a transaction; [`Error::Suspended`](crate::Error::Suspended), [`Error::Closed`](crate::Error::Closed).
    pub fn begin(&self) -> Task<HeldTransaction> {
        transaction::begin(self.core())
    }
}

/// Runs a closure of the app in a transaction; its panic becomes an error.
pub(super) fn run_body<T>(
    inner: &mut engine::EngineTransaction<'_>,
    body: impl FnOnce(&mut Transaction<'_, '_>) -> Result<T>,
) -> Result<T> {
    caught(|| body(&mut Transaction { inner })).unwrap_or_else(|panic| Err(foreign(&*panic)))
}
