//! Statements of a connection: prepared by name once, or sent whole each time through a pooler.
//!
//! Through a pooler the next transaction may be in another session, so no name outlives the
//! transaction in which it was prepared. Names that the driver keeps for itself are noticed, and the
//! connection is then not used again. A migration may change the types of a statement of a hook: after
//! an error that this causes, statements are prepared again.

use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio_postgres::types::Type;
use tokio_postgres::{Column, Error, RowStream, Statement};

use super::super::error;
use super::{Connection, KEPT_STATEMENTS, Params, Sql};

/// The rest of the transaction goes on when its connection is closed. PostgreSQL 13 has no such setting, and does so.
const GOES_ON: &str = "SELECT CASE WHEN current_setting('client_connection_check_interval', true) IS NOT NULL \
    THEN set_config('client_connection_check_interval', '0', true) END";

/// A statement that the connection knows.
#[derive(Debug, Clone)]
pub(super) enum Prepared {
    /// Prepared by name.
    Named(Statement),
    /// Parsed again by each execution: the next transaction may be in another session, which has no
    /// names of this one.
    Unnamed { text: Arc<str>, types: Arc<[Type]> },
}

/// What runs in a transaction of its own, before another one begins.
pub(super) enum Before {
    Statement(Prepared),
    /// With its begin and its end.
    Transaction(String),
}

impl Connection {
    /// How a single query begins through a pooler, whose session may have any settings; `None` if
    /// the session has those of a query.
    pub(super) fn beginning(&self) -> Option<String> {
        let settings = self.settings.as_deref()?;
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
        Some(format!("{begin}; {settings}; SET LOCAL statement_timeout = 0; {GOES_ON}"))
    }

    pub(super) fn beginning_with(&self, text: &str) -> Result<Before, Error> {
        match self.beginning() {
            Some(begin) => Ok(Before::Transaction(format!("{begin}; {text}; COMMIT"))),
            None => self.statement(Sql { text, types: &[] }).map(Before::Statement),
        }
    }

    pub(super) async fn run_alone(&self, before: &Before) -> Result<(), Error> {
        match before {
            Before::Statement(statement) => self.done(statement, &[]).await.map(drop),
            Before::Transaction(batch) => self.client.batch_execute(batch).await,
        }
    }

    /// The statement that ends a transaction. It removes the driver's names from a session that
    /// other connections use next; this one is then closed.
    pub(super) fn ending(&self, end: &str) -> String {
        let names = if self.has_names.get() { "; DEALLOCATE ALL" } else { "" };
        format!("{end}{names}")
    }

    pub(super) fn statement(&self, sql: Sql<'_>) -> Result<Prepared, Error> {
        if let Some(known) = self.statements.borrow().get(sql.text) {
            return Ok(known.clone());
        }
        let statement = if self.settings.is_none() {
            Prepared::Named(self.wait(self.client.prepare_typed(sql.text, sql.types))?)
        } else if sql.types.is_empty() {
            // Prepared by name once, for the types, and closed within the transaction.
            let types = self.named(sql)?.params().into();
            Prepared::Unnamed { text: sql.text.into(), types }
        } else {
            Prepared::Unnamed { text: sql.text.into(), types: sql.types.into() }
        };
        self.make_room(1);
        self.statements.borrow_mut().insert(sql.text.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Prepares by name; the statement is closed when it is dropped.
    fn named(&self, sql: Sql<'_>) -> Result<Statement, Error> {
        let named = self.wait(self.client.prepare_typed(sql.text, sql.types));
        let named = self.noted(named)?;
        self.note_types(named.params().iter().chain(named.columns().iter().map(Column::type_)));
        Ok(named)
    }

    /// Whether a query can be prepared; its columns and parameters are not checked.
    pub(in super::super) fn can_prepare(&self, text: &str) -> Result<(), Error> {
        self.named(Sql { text, types: &[] }).map(drop)
    }

    /// The columns of a query, with the names of their types.
    pub(in super::super) fn columns(&self, text: &str) -> Result<Vec<(String, String)>, Error> {
        let named = self.named(Sql { text, types: &[] })?;
        let column = |of: &Column| (of.name().to_owned(), of.type_().name().to_owned());
        Ok(named.columns().iter().map(column).collect())
    }

    /// Prepares this statement again the next time.
    pub(in super::super) fn forget(&self, text: &str) {
        self.statements.borrow_mut().remove(text);
    }

    fn make_room(&self, count: usize) {
        let mut statements = self.statements.borrow_mut();
        if statements.len() + count > KEPT_STATEMENTS {
            statements.clear();
        }
    }

    pub(super) fn statements_of(
        &self,
        asked: &[(Sql<'_>, Params<'_>)],
    ) -> Result<Vec<Prepared>, Error> {
        asked.iter().map(|(sql, _)| self.statement(*sql)).collect()
    }

    /// Prepares within a savepoint: a failed prepare would abort the transaction.
    pub(super) fn statement_in_savepoint(&self, text: &str) -> Result<Prepared, Error> {
        if let Some(known) = self.statements.borrow().get(text) {
            return Ok(known.clone());
        }
        self.batch("SAVEPOINT rejoin_row")?;
        let statement = self.statement(Sql { text, types: &[] })?;
        self.batch("RELEASE rejoin_row")?;
        Ok(statement)
    }

    /// Asks for the types of these statements in a transaction of its own, before one begins: what
    /// is prepared by name must be closed in the same session.
    pub(super) fn learn<'a>(&self, statements: impl Iterator<Item = Sql<'a>>) -> Result<(), Error> {
        if self.settings.is_none() {
            return Ok(());
        }
        let statements: Vec<Sql<'_>> = statements.collect();
        self.make_room(statements.len());
        let is_unknown = |sql: &Sql<'_>| {
            sql.types.is_empty() && !self.statements.borrow().contains_key(sql.text)
        };
        let unknown: Vec<Sql<'_>> = statements.into_iter().filter(is_unknown).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        self.batch("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")?;
        let learnt = unknown.into_iter().try_for_each(|sql| self.statement(sql).map(drop));
        self.roll_back()?;
        learnt
    }

    /// Sends a statement with its first poll; returns its rows.
    pub(super) async fn sent(
        &self,
        statement: &Prepared,
        params: Params<'_>,
    ) -> Result<RowStream, Error> {
        let params = params.iter().copied();
        match statement {
            Prepared::Named(statement) => {
                self.noted(self.client.query_raw(statement, params).await)
            }
            Prepared::Unnamed { text, types } => {
                let typed = params.zip(types.iter().cloned());
                self.noted(self.client.query_typed_raw(text, typed).await)
            }
        }
    }

    /// Runs a statement; returns the number of affected rows.
    pub(super) async fn done(
        &self,
        statement: &Prepared,
        params: Params<'_>,
    ) -> Result<u64, Error> {
        if let Prepared::Named(statement) = statement {
            return self.noted(self.client.execute(statement, params).await);
        }
        let mut rows = Box::pin(self.sent(statement, params).await?);
        while rows.next().await.transpose()?.is_some() {}
        Ok(rows.rows_affected().unwrap_or(0))
    }

    /// The driver asks for a type that it does not know with a statement that it keeps by name.
    fn note_types<'a>(&self, mut types: impl Iterator<Item = &'a Type>) {
        if self.settings.is_some() && types.any(|of| Type::from_oid(of.oid()).is_none()) {
            self.has_names.set(true);
        }
    }

    /// Notes a name of the driver that another session has, or has not, and types that are no longer
    /// those of the tables.
    fn noted<T>(&self, done: Result<T, Error>) -> Result<T, Error> {
        done.inspect_err(|error| {
            self.has_names.set(self.has_names.get() || error::is_of_names(error));
            if error::may_be_of_types(error) {
                self.statements.borrow_mut().clear();
            }
        })
    }
}
