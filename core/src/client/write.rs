//! Writing: statements, transactions, tables, and bringing the log back into the file.

use super::Client;
use super::held::run_all;
use crate::engine;
use crate::engine::action::Performed;
use crate::error::Result;
use crate::params::IntoParams;
use crate::readers::foreign;
use crate::row_buffer::{Row, RowBuffer};
use crate::value::Value;
use crate::writer::{Answer, caught};

/// A transaction, for as long as its closure runs: all of it is committed, or nothing.
#[derive(Debug)]
pub struct Transaction<'a, 'engine> {
    inner: &'a mut engine::Transaction<'engine>,
}

impl Transaction<'_, '_> {
    /// Runs one statement; how many rows it changed.
    ///
    /// # Errors
    /// As [`Client::execute`]. The transaction goes on without what the statement did, unless the error says otherwise.
    pub fn execute(&mut self, sql: &str, params: impl IntoParams) -> Result<usize> {
        self.inner.execute(sql, &params.into_params())
    }

    /// The rows of a statement, which may also write (`RETURNING`); it sees what this transaction wrote.
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

    /// Runs `body` as a part that can fail alone: if it returns an error, what it wrote is undone, and the transaction may go
    /// on.
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
    /// Runs one statement in a transaction of its own; how many rows it changed.
    ///
    /// What it writes to synced tables is in the queue when this is done, on disk with the rows, and is pushed when there
    /// is a network.
    ///
    /// # Errors
    /// [`Error::Sql`](crate::Error::Sql), [`Error::Rule`](crate::Error::Rule), [`Error::Value`](crate::Error::Value) and
    /// [`Error::Refused`](crate::Error::Refused) as they say: nothing was changed. Inside a transaction's closure
    /// [`Error::Reentrant`](crate::Error::Reentrant).
    pub fn execute(&self, sql: &str, params: impl IntoParams) -> Answer<usize> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.core().writer.call(move |engine| engine.execute(&sql, &params))
    }

    /// Runs one statement that gives rows (`INSERT ... RETURNING`) in a transaction of its own.
    ///
    /// # Errors
    /// As [`Client::execute`].
    pub fn execute_returning(&self, sql: &str, params: impl IntoParams) -> Answer<RowBuffer> {
        let (sql, params) = (sql.to_owned(), params.into_params());
        self.core().writer.call(move |engine| engine.transaction(|tx| tx.rows(&sql, &params)))
    }

    /// Runs several statements without parameters, separated by `;`, in one transaction.
    ///
    /// # Errors
    /// As [`Client::execute`]: nothing of any of them was done.
    pub fn execute_batch(&self, sql: &str) -> Answer<()> {
        let sql = sql.to_owned();
        self.core().writer.call(move |engine| engine.execute_batch(&sql))
    }

    /// Runs several statements with their parameters in one transaction; how many rows each changed. What they write to synced
    /// tables is **one** mutation.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, Error};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// # client.create_table("stock", "id TEXT PRIMARY KEY, n INTEGER").wait()?;
    /// let put = |id: &str| ("INSERT INTO stock VALUES (?, 1)".to_owned(), vec![id.into()]);
    /// assert_eq!(client.batch(vec![put("here"), put("there")]).wait()?, [1, 1]);
    /// let twice = client.batch(vec![put("far"), put("here")]).wait();
    /// assert!(matches!(twice, Err(Error::Batch { index: 1, .. })), "nothing of it was written");
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Batch`](crate::Error::Batch) with the statement that failed, and how: nothing of any of them was done.
    /// Otherwise as [`Client::execute`].
    pub fn batch(&self, statements: Vec<(String, Vec<Value>)>) -> Answer<Vec<usize>> {
        self.core().writer.call(move |engine| engine.single(|tx| run_all(tx, &statements)))
    }

    /// Performs an action of [`Services::actions`](crate::Services): in one transaction, which becomes **one** mutation that
    /// knows its name and arguments. As long as no server has it, it runs again when remote changes come in under it.
    ///
    /// ```
    /// # use rejoin_core::{Actions, Client, Config, Services};
    /// # use serde_json::json;
    /// # const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "stock",
    /// #   "push_policy": "owner_only", "updated_at_column": "", "deleted_at_column": "", "primary_key": ["id"],
    /// #   "columns": [{"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
    /// #     {"name": "n", "db_type": "integer", "logical_type": "int64"}]}]}"#;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let config = Config { schema: Some(serde_json::from_str(SCHEMA).unwrap()), ..Config::new(folder.path().join("a.db")) };
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
    /// [`Error::Action`](crate::Error::Action) if there is no such action, for arguments that it does not take, and for what
    /// its own rules refuse; [`Error::Foreign`](crate::Error::Foreign) if its code panics; otherwise as
    /// [`Client::transaction`]. Nothing of it is kept.
    pub fn perform(&self, name: &str, arguments: serde_json::Value) -> Answer<Performed> {
        let name = name.to_owned();
        self.core().writer.call(move |engine| engine.perform(&name, &arguments))
    }

    /// Runs `body` in one transaction, on the writer's thread: if it returns an error or panics, nothing was written. What it
    /// writes to synced tables is **one** mutation, accepted or refused by the server as a whole.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, Error};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// # client.execute("CREATE TABLE stock (id TEXT PRIMARY KEY, n INTEGER)", ()).wait()?;
    /// let moved = client.transaction(|tx| {
    ///     tx.execute("INSERT INTO stock VALUES ('here', 3), ('there', 0)", ())?;
    ///     let optional = tx.savepoint(|tx| tx.execute("INSERT INTO stock VALUES ('here', 9)", ()));
    ///     assert!(optional.is_err(), "undone, and the transaction goes on");
    ///     tx.execute("UPDATE stock SET n = n - 1 WHERE id = 'here'", ())
    /// });
    /// assert_eq!(moved.wait()?, 1);
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// Keep it short: writes of others and remote changes wait behind it. Dropping the future does not stop it. Inside,
    /// writing by the client itself is [`Error::Reentrant`](crate::Error::Reentrant): use the transaction at hand. Reading
    /// by the client gives the state before.
    ///
    /// # Errors
    /// Those of `body`; [`Error::Foreign`](crate::Error::Foreign) if it panics;
    /// [`Error::PartialStatement`](crate::Error::PartialStatement) as it says.
    pub fn transaction<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Transaction<'_, '_>) -> Result<T> + Send + 'static,
    ) -> Answer<T> {
        self.core().writer.call(|engine| engine.transaction(|inner| run_body(inner, body)))
    }
}

/// Runs a closure of the app in a transaction; its panic is an error.
pub(super) fn run_body<T>(
    inner: &mut engine::Transaction<'_>,
    body: impl FnOnce(&mut Transaction<'_, '_>) -> Result<T>,
) -> Result<T> {
    caught(|| body(&mut Transaction { inner })).unwrap_or_else(|panic| Err(foreign(&*panic)))
}
