//! The client: opening, reading, writing, watching and shutting down.

use std::sync::Arc;

use rejoin_core::{Actions, Client, Config, Services, Subscription as CoreSubscription};
use rejoin_ffi_bytes::FfiBytes;

use crate::actions::{ActionRegistry, Performed, arguments};
use crate::change::{self, ChangeObserver};
use crate::config::ClientConfig;
use crate::error::Result;
use crate::held::{HeldSnapshot, HeldTransaction};
use crate::status::{self, StatusObserver, SyncStatus};
use crate::subscription::Subscription;
use crate::tokens::{ForeignTokens, TokenProvider};
use crate::transport::{ForeignTransport, HttpTransport};
use crate::value::{SqlValue, Statement, bytes, count, counts, statements, values};
use crate::watch::QueryWatch;

/// An open database that syncs with a server.
///
/// Everything except syncing works without a network. Each call starts its work immediately, and
/// the work continues if the caller stops waiting. When no reference is left, the client shuts
/// itself down; `shutdown` waits for that.
#[derive(Debug, uniffi::Object)]
pub struct RejoinClient {
    pub(crate) inner: Client,
}

#[uniffi::export]
impl RejoinClient {
    /// Opens the file, or creates it; works offline.
    ///
    /// A file that is already open in this process is shared. The configuration must then be equal;
    /// its token provider, transport and actions are replaced by those that are given now. A kind
    /// of service that the first open lacked is a `Configuration` error. `tokens` provides the token that identifies
    /// the user; without it, requests carry the configured user, which a server accepts on its own
    /// machine only. `transport` replaces the built-in HTTP. `actions` are the actions for
    /// `perform`.
    ///
    /// Throws `Configuration` with all problems, and `Storage` if the file cannot be opened.
    #[uniffi::constructor(default(tokens = None, transport = None, actions = None))]
    pub async fn open(
        config: ClientConfig,
        tokens: Option<Arc<dyn TokenProvider>>,
        transport: Option<Arc<dyn HttpTransport>>,
        actions: Option<Arc<ActionRegistry>>,
    ) -> Result<Arc<Self>> {
        let config = Config::try_from(config)?;
        let actions = actions.map(|actions| actions.actions()).transpose()?;
        let services = services(&config, tokens, transport, actions);
        Ok(Arc::new(Self { inner: Client::open_with(config, services).await? }))
    }

    /// The canonical path of the file.
    pub fn path(&self) -> String {
        self.inner.path().to_string_lossy().into_owned()
    }

    /// The rows of a query, as a row buffer, from the last committed state.
    ///
    /// Works offline and never waits for a write. Throws `InvalidInput` if the statement does not compile, or writes.
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

    /// Runs one statement in its own transaction and returns the number of changed rows.
    ///
    /// A write to a synced table is queued in the same transaction, and pushed when there is a
    /// network. Throws `InvalidInput` or `Constraint`; then nothing was changed.
    #[uniffi::method(default(params = []))]
    pub async fn execute(&self, sql: String, params: Vec<SqlValue>) -> Result<i64> {
        Ok(count(self.inner.execute(&sql, values(params)).await?))
    }

    /// `execute` on the caller's thread, if no other work waits for the writer or runs there; otherwise
    /// nothing is done, and nothing is returned.
    ///
    /// Blocks the thread for the time of the statement and its commit, and never waits for other
    /// work. Throws as `execute` does.
    #[uniffi::method(default(params = []))]
    pub fn try_execute(&self, sql: String, params: Vec<SqlValue>) -> Result<Option<i64>> {
        Ok(self.inner.try_execute(&sql, values(params)).transpose()?.map(count))
    }

    /// Runs one statement that writes and returns rows (`INSERT ... RETURNING`), as a row buffer,
    /// in its own transaction.
    ///
    /// Throws as `execute` does.
    #[uniffi::method(default(params = []))]
    pub async fn execute_returning(&self, sql: String, params: Vec<SqlValue>) -> Result<FfiBytes> {
        bytes(&self.inner.execute_returning(&sql, values(params)).await?)
    }

    /// Runs several statements without parameters, separated by `;`, in one transaction.
    ///
    /// Throws as `execute` does; then none of the statements has an effect.
    pub async fn execute_script(&self, sql: String) -> Result<()> {
        Ok(self.inner.execute_script(&sql).await?)
    }

    /// Runs several statements in one transaction and returns the number of changed rows of each.
    ///
    /// Their writes to synced tables are one mutation, which the server accepts or rejects as a
    /// whole. Throws as `execute` does, naming the failed statement; then none has an effect.
    pub async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<i64>> {
        Ok(counts(self.inner.batch(self::statements(statements)).await?))
    }

    /// Watches a query: delivers its result now, and after each commit that changes it.
    ///
    /// Returns immediately; the first `next` throws errors of the query. `key` names the columns
    /// that identify a row: each update then lists the added, changed and removed rows.
    #[uniffi::method(default(params = [], key = []))]
    pub fn watch(&self, sql: String, params: Vec<SqlValue>, key: Vec<String>) -> Arc<QueryWatch> {
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        Arc::new(QueryWatch::new(self.inner.watch(&sql, values(params), &key)))
    }

    /// Calls the observer after each commit to one of the tables, or to any table if the list is
    /// empty, until the subscription is cancelled.
    pub fn on_change(
        &self,
        tables: Vec<String>,
        observer: Arc<dyn ChangeObserver>,
    ) -> Arc<Subscription> {
        let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
        subscribed(self.inner.on_change(&tables, change::telling(observer)))
    }

    /// Calls the observer with the status now and after each change, until the subscription is
    /// cancelled.
    pub fn on_status(&self, observer: Arc<dyn StatusObserver>) -> Arc<Subscription> {
        subscribed(self.inner.on_status(status::telling(observer)))
    }

    /// The sync status.
    pub fn status(&self) -> SyncStatus {
        self.inner.status().into()
    }

    /// Shuts the client down: earlier calls complete, watches and observers end, syncing stops, the
    /// file is closed.
    ///
    /// The queue stays in the file. Later calls throw `Ended`. Shutting down twice is no error.
    pub async fn shutdown(&self) -> Result<()> {
        Ok(self.inner.shutdown().await?)
    }

    /// Begins a transaction when the writer is free. Without waits between statements, `batch` is
    /// faster.
    ///
    /// While it is open, other work of the writer waits: other writes, `pending`, `row_sync_state`
    /// and remote changes. Write through the transaction: code that waits for a write of the client
    /// instead is idle, so the transaction times out, is rolled back, and the write then runs
    /// alone. Reads never wait.
    pub async fn begin(&self) -> Result<Arc<HeldTransaction>> {
        Ok(Arc::new(HeldTransaction::new(self.inner.begin().await?)))
    }

    /// Begins several queries on one state; later commits are not visible. Without waits between
    /// queries, `query_many` is faster.
    ///
    /// Each snapshot uses one of the configured readers until it ends: keep it short.
    pub async fn begin_read(&self) -> Result<Arc<HeldSnapshot>> {
        Ok(Arc::new(HeldSnapshot { inner: self.inner.begin_read().await? }))
    }

    /// Performs a registered action in one transaction. It becomes one mutation with the action's
    /// name and arguments. Until the server has accepted it, it runs again when remote changes
    /// affect it.
    ///
    /// `arguments_json` is an object with the parameters by name, or empty. Works offline. Throws
    /// `Action` for an unknown action, invalid arguments, a failed rule or a timeout of its code;
    /// `ActionTooSlow` and `ActionTooLarge` beyond the budget; other exceptions of its code as
    /// `Callback`; otherwise as `execute`. Then nothing was changed.
    pub async fn perform(&self, name: String, arguments_json: String) -> Result<Performed> {
        let arguments = arguments(&format!("action {name}"), &arguments_json)?;
        Ok(self.inner.perform(&name, arguments).await?.into())
    }
}

fn services(
    config: &Config,
    tokens: Option<Arc<dyn TokenProvider>>,
    transport: Option<Arc<dyn HttpTransport>>,
    actions: Option<Actions>,
) -> Services {
    let server = config.server.as_deref();
    Services {
        host: None,
        tokens: tokens.map(|tokens| Arc::new(ForeignTokens(tokens)) as _),
        transport: transport.map(|it| Arc::new(ForeignTransport::new(it, server)) as _),
        actions: actions.map(Arc::new),
    }
}

pub(crate) fn subscribed(inner: CoreSubscription) -> Arc<Subscription> {
    Arc::new(Subscription::new(inner))
}
