//! Interactive transactions and snapshots.

use crate::error::Result;
use crate::value::bytes;
use crate::value::{SqlValue, Statement, count, counts, statements, values};
use rejoin_ffi_bytes::FfiBytes;

/// A transaction that lasts until it is committed or rolled back.
///
/// Statements run in call order. The writes to synced tables are one mutation, which the server
/// accepts or rejects as a whole. It is rolled back when no reference is left, when it is idle for
/// the configured time (`TransactionTimeout`), by a commit with an open savepoint, and by `suspend`
/// and `shutdown`. Every later call throws the reason.
#[derive(Debug, uniffi::Object)]
pub struct HeldTransaction {
    inner: rejoin_core::HeldTransaction,
}

/// One state of the database that lasts until it is finished.
///
/// It ends when no reference is left, when it is idle for the configured time
/// (`TransactionTimeout`), and by `suspend` and `shutdown`. Every later call throws the reason.
#[derive(Debug, uniffi::Object)]
pub struct HeldSnapshot {
    pub(crate) inner: rejoin_core::HeldSnapshot,
}

impl HeldTransaction {
    pub(crate) fn new(inner: rejoin_core::HeldTransaction) -> Self {
        Self { inner }
    }
}

#[uniffi::export]
impl HeldTransaction {
    /// Runs one statement and returns the number of changed rows.
    ///
    /// Throws as the client's `execute` does; the transaction continues without the statement,
    /// unless the reason says that it was rolled back.
    #[uniffi::method(default(params = []))]
    pub async fn execute(&self, sql: String, params: Vec<SqlValue>) -> Result<i64> {
        Ok(count(self.inner.execute(&sql, values(params)).await?))
    }

    /// The rows of a statement, which may write (`RETURNING`), as a row buffer; it sees earlier
    /// writes.
    ///
    /// Throws as `execute` does.
    #[uniffi::method(default(params = []))]
    pub async fn query(&self, sql: String, params: Vec<SqlValue>) -> Result<FfiBytes> {
        bytes(&self.inner.query(&sql, values(params)).await?)
    }

    /// Runs several statements, all or none; returns the number of changed rows of each.
    ///
    /// Throws as `execute` does, naming the failed statement; the transaction continues without all
    /// of them.
    pub async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<i64>> {
        Ok(counts(self.inner.batch(self::statements(statements)).await?))
    }

    /// Begins a savepoint and returns its number, which is greater than all earlier ones.
    /// Savepoints nest; `release` and `rollback_to` end the innermost, and each must have ended
    /// before the commit.
    pub async fn savepoint(&self) -> Result<i64> {
        Ok(self.inner.savepoint().await?)
    }

    /// Ends the savepoint with this number and keeps its writes.
    ///
    /// Throws `InvalidInput` if it is not the innermost open one; the transaction continues.
    pub async fn release(&self, number: i64) -> Result<()> {
        Ok(self.inner.release(number).await?)
    }

    /// Ends the savepoint with this number and rolls its writes back. Throws as `release` does.
    pub async fn rollback_to(&self, number: i64) -> Result<()> {
        Ok(self.inner.rollback_to(number).await?)
    }

    /// Commits. When this completes, the writes are on disk and in the queue, and watches are
    /// notified. If it throws, nothing was written.
    ///
    /// Throws `InvalidInput` if a savepoint is open: then the whole transaction is rolled back.
    pub async fn commit(&self) -> Result<()> {
        Ok(self.inner.commit().await?)
    }

    /// Rolls back all writes of the transaction. Throws the reason for the end, if it has ended.
    pub async fn rollback(&self) -> Result<()> {
        Ok(self.inner.rollback().await?)
    }

    /// After the commit of `begin_edit`, the id of the new mutation; nothing before, if nothing is
    /// left of it, and for any other transaction.
    pub fn edited(&self) -> Option<String> {
        self.inner.edited().map(|id| id.to_string())
    }
}

#[uniffi::export]
impl HeldSnapshot {
    /// The rows of a query, as a row buffer. Throws as the client's `query` does; the snapshot
    /// continues.
    #[uniffi::method(default(params = []))]
    pub async fn query(&self, sql: String, params: Vec<SqlValue>) -> Result<FfiBytes> {
        bytes(&self.inner.query(&sql, values(params)).await?)
    }

    /// Ends the snapshot. Throws the reason for the end, if it has already ended.
    pub async fn finish(&self) -> Result<()> {
        Ok(self.inner.finish().await?)
    }
}
