//! A file that another process writes, opened for reading.

use std::sync::Arc;

use rejoin_core::{self as core, Client};
use rejoin_ffi_bytes::FfiBytes;

use crate::error::Result;
use crate::value::{SqlValue, Statement, bytes, statements, values};
use crate::watch::QueryWatch;

/// A file that another process may have open, for reading: in a widget, an app extension, a tool.
///
/// It closes when no reference is left; `shutdown` waits for that.
#[derive(Debug, uniffi::Object)]
pub struct ReadOnlyClient {
    inner: core::ReadOnlyClient,
}

#[uniffi::export]
impl ReadOnlyClient {
    /// Opens the file; works offline. An app must have created it, with this release of the engine.
    ///
    /// Throws `Storage` if it does not exist, is no database or is damaged, and `InvalidInput` if it
    /// belongs to another application or an older release.
    #[uniffi::constructor]
    pub async fn open(path: String) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { inner: Client::open_read_only(path).await? }))
    }

    /// The rows of a query, as a row buffer, from the last commit of any process.
    ///
    /// Throws `InvalidInput` if the statement does not compile, or writes.
    #[uniffi::method(default(params = []))]
    pub async fn query(&self, sql: String, params: Vec<SqlValue>) -> Result<FfiBytes> {
        bytes(&self.inner.query(&sql, values(params)).await?)
    }

    /// The rows of several queries, a row buffer each, all from one state of the database.
    ///
    /// Throws as `query` does.
    pub async fn query_many(&self, statements: Vec<Statement>) -> Result<Vec<FfiBytes>> {
        let results = self.inner.query_many(self::statements(statements)).await?;
        results.iter().map(bytes).collect()
    }

    /// Watches a query: delivers its result now, and after each commit of any process that changes
    /// it. Commits of another process are noticed within a quarter of a second.
    ///
    /// Returns immediately; the first `next` throws errors of the query. `key` names the columns
    /// that identify a row: each update then lists the added, changed and removed rows.
    #[uniffi::method(default(params = [], key = []))]
    pub fn watch(&self, sql: String, params: Vec<SqlValue>, key: Vec<String>) -> Arc<QueryWatch> {
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        Arc::new(QueryWatch::new(self.inner.watch(&sql, values(params), &key)))
    }

    /// Ends reads and watches, and closes the file. Closing twice is no error.
    pub async fn shutdown(&self) -> Result<()> {
        Ok(self.inner.shutdown().await?)
    }
}
