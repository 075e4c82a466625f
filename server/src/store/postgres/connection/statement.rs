//! Statements of a connection: prepared by name once, or sent whole each time through a pooler.
//!
//! Through a pooler the next transaction may be in another session, so no name outlives the
//! transaction in which it was prepared. Names that the driver keeps for itself are noticed, and the
//! connection is then not used again.

use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio_postgres::types::Type;
use tokio_postgres::{Column, Error, Row, RowStream, Statement};

use super::super::error;
use super::{Connection, KEPT_STATEMENTS, Params, Sql};

/// The first number of a type that a database defines: an enum, a domain, an extension's type.
const FIRST_DEFINED: u32 = 16_384;

/// A statement that the connection knows.
#[derive(Debug, Clone)]
pub(super) enum Prepared {
    /// Prepared by name.
    Named(Statement),
    /// Parsed again by each execution: the next transaction may be in another session, which has no
    /// names of this one.
    Unnamed { text: Arc<str>, types: Arc<[Type]> },
}

impl Connection {
    pub(super) fn statement(&self, sql: Sql<'_>) -> Result<Prepared, Error> {
        if let Some(known) = self.statements.borrow().get(sql.text) {
            return Ok(known.clone());
        }
        let statement = if self.settings.is_none() {
            Prepared::Named(self.wait(self.client.prepare_typed(sql.text, sql.types))?)
        } else if has_all_types(sql) {
            Prepared::Unnamed { text: sql.text.into(), types: sql.types.into() }
        } else {
            // Prepared by name once, for the types, and closed within the transaction.
            let named = self.wait(self.client.prepare_typed(sql.text, sql.types));
            let named = self.noted(named)?;
            self.note_types(named.params().iter().chain(named.columns().iter().map(Column::type_)));
            Prepared::Unnamed { text: sql.text.into(), types: named.params().into() }
        };
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= KEPT_STATEMENTS {
            statements.clear();
        }
        statements.insert(sql.text.to_owned(), statement.clone());
        Ok(statement)
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
    pub(super) fn learn<'a>(
        &self,
        mut statements: impl Iterator<Item = Sql<'a>>,
    ) -> Result<(), Error> {
        let is_unknown = |sql: &Sql<'_>| {
            !has_all_types(*sql) && !self.statements.borrow().contains_key(sql.text)
        };
        if self.settings.is_none() {
            return Ok(());
        }
        let Some(first) = statements.find(is_unknown) else { return Ok(()) };
        self.batch("BEGIN READ ONLY")?;
        let mut rest = std::iter::once(first).chain(statements);
        let learnt = rest.try_for_each(|sql| self.statement(sql).map(drop));
        self.batch("ROLLBACK")?;
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
            Prepared::Named(statement) => self.client.query_raw(statement, params).await,
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
            return self.client.execute(statement, params).await;
        }
        let mut rows = Box::pin(self.sent(statement, params).await?);
        while rows.next().await.transpose()?.is_some() {}
        Ok(rows.rows_affected().unwrap_or(0))
    }

    pub(super) fn note_types_of(&self, rows: &[Row]) {
        let columns = rows.first().map_or(&[][..], Row::columns);
        self.note_types(columns.iter().map(Column::type_));
    }

    fn note_types<'a>(&self, mut types: impl Iterator<Item = &'a Type>) {
        if self.settings.is_some() && types.any(|of| of.oid() >= FIRST_DEFINED) {
            self.has_names.set(true);
        }
    }

    /// Notes a name of the driver that another session has, or has not.
    fn noted<T>(&self, done: Result<T, Error>) -> Result<T, Error> {
        done.inspect_err(|error| {
            let state = error.code();
            let is_name = error::OF_NAMES.iter().any(|one| state == Some(*one));
            self.has_names.set(self.has_names.get() || is_name);
        })
    }
}

/// Whether the types of all parameters are given, or there are none.
fn has_all_types(sql: Sql<'_>) -> bool {
    !sql.types.is_empty() || !sql.text.contains('$')
}
