//! Transactions and snapshots that a handle holds, for code that waits between two statements.

use std::sync::Arc;

use crate::RejoinClient;
use crate::error::Result;
use crate::value::bytes;
use crate::value::{SqlValue, Statement, count, counts, statements, values};

/// A transaction that lasts until it is committed or rolled back.
///
/// Statements are done one after the other, in the order in which they were asked for. What it writes to synced tables is one
/// mutation, which the server accepts or refuses as a whole. It is rolled back when nobody holds it any more, when no statement
/// came for the configured time (`TransactionTimeout`), by a commit while a savepoint is open, and by `suspend` and `shutdown`,
/// which do not wait for it. Every later call throws why it ended.
#[derive(Debug, uniffi::Object)]
pub struct HeldTransaction {
    inner: rejoin_core::HeldTransaction,
}

/// One state of the database that lasts until it is finished.
///
/// It ends when nobody holds it any more, when no query came for the configured time (`TransactionTimeout`), and by `suspend`
/// and `shutdown`, which do not wait for it. Every later call throws why it ended.
#[derive(Debug, uniffi::Object)]
pub struct HeldSnapshot {
    inner: rejoin_core::HeldSnapshot,
}

impl HeldTransaction {
    pub(crate) fn new(inner: rejoin_core::HeldTransaction) -> Self {
        Self { inner }
    }
}

#[uniffi::export]
impl RejoinClient {
    /// Begins a transaction, when it is its turn. Where nothing has to be waited for between two statements, `batch` is faster.
    ///
    /// While it is held, whatever else needs to write waits, and so do `pending`, `row_sync_state` and remote changes. Write by
    /// the transaction, not by the client: whoever waits for that inside is silent, so the transaction is rolled back by its
    /// timeout, and then the client's write is done, alone. Reads never wait and see the state before.
    pub async fn begin(&self) -> Result<Arc<HeldTransaction>> {
        Ok(Arc::new(HeldTransaction::new(self.inner.begin().await?)))
    }

    /// Begins several queries on one state: what is committed meanwhile is not seen. Where nothing has to be waited for between
    /// two queries, `query_all` is faster.
    ///
    /// Each takes one of the configured readers for as long as it lasts, so that other queries have fewer: keep it short.
    pub async fn begin_read(&self) -> Result<Arc<HeldSnapshot>> {
        Ok(Arc::new(HeldSnapshot { inner: self.inner.begin_read().await? }))
    }
}

#[uniffi::export]
impl HeldTransaction {
    /// Runs one statement, and tells how many rows it changed.
    ///
    /// Throws as the client's `execute` does; the transaction goes on without what the statement did, unless the reason says
    /// that it was rolled back.
    #[uniffi::method(default(params = []))]
    pub async fn execute(&self, sql: String, params: Vec<SqlValue>) -> Result<i64> {
        Ok(count(self.inner.execute(&sql, values(params)).await?))
    }

    /// The rows of a statement, which may also write (`RETURNING`), as a row buffer; it sees what this transaction wrote.
    ///
    /// Throws as `execute` does.
    #[uniffi::method(default(params = []))]
    pub async fn query(&self, sql: String, params: Vec<SqlValue>) -> Result<Vec<u8>> {
        bytes(&self.inner.query(&sql, values(params)).await?)
    }

    /// Runs several statements, all or none of them, and tells how many rows each changed.
    ///
    /// Throws as `execute` does, and says which statement failed; the transaction goes on without any of them.
    pub async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<i64>> {
        Ok(counts(self.inner.batch(self::statements(statements)).await?))
    }

    /// Begins a part that can be undone alone, and tells its number: each is greater than those before in this transaction.
    /// Parts nest; `release` and `rollback_to` end the innermost, and each must have ended before the commit.
    pub async fn savepoint(&self) -> Result<i64> {
        Ok(self.inner.savepoint().await?)
    }

    /// Ends the savepoint of that number and keeps what was written since.
    ///
    /// Throws `InvalidInput` if it is not the innermost one that is open; the transaction goes on, and what is open stays so.
    pub async fn release(&self, number: i64) -> Result<()> {
        Ok(self.inner.release(number).await?)
    }

    /// Ends the savepoint of that number and undoes what was written since. Throws as `release` does.
    pub async fn rollback_to(&self, number: i64) -> Result<()> {
        Ok(self.inner.rollback_to(number).await?)
    }

    /// Commits: when this is done, what was written is on disk and in the queue, and watches are told. If it throws, nothing of
    /// the transaction was written.
    ///
    /// Throws `InvalidInput` if a savepoint is open: nobody knows whether that part is wanted, so all of it is rolled back.
    pub async fn commit(&self) -> Result<()> {
        Ok(self.inner.commit().await?)
    }

    /// Rolls back: nothing of the transaction was written. Throws why the transaction ended, if it has.
    pub async fn rollback(&self) -> Result<()> {
        Ok(self.inner.rollback().await?)
    }

    /// The mutation that `begin_edit` has become, when it is committed; nothing before, if nothing is left of it, and for any
    /// other transaction.
    pub fn edited(&self) -> Option<String> {
        self.inner.edited().map(|id| id.to_string())
    }
}

#[uniffi::export]
impl HeldSnapshot {
    /// The rows of a query, as a row buffer, as of the snapshot. Throws as the client's `query` does; the snapshot goes on.
    #[uniffi::method(default(params = []))]
    pub async fn query(&self, sql: String, params: Vec<SqlValue>) -> Result<Vec<u8>> {
        bytes(&self.inner.query(&sql, values(params)).await?)
    }

    /// Ends it. Throws why it ended, if it has.
    pub async fn finish(&self) -> Result<()> {
        Ok(self.inner.finish().await?)
    }
}
