//! The client: opening, reading, writing, watching, and the end.

use std::sync::Arc;

use rejoin_core::{Actions, Client, Config, Services, Subscription as CoreSubscription};

use crate::actions::ActionRegistry;
use crate::change::{self, ChangeObserver};
use crate::config::ClientConfig;
use crate::error::Result;
use crate::status::{self, StatusObserver, SyncStatus};
use crate::subscription::Subscription;
use crate::tokens::{ForeignTokens, TokenProvider};
use crate::transport::{ForeignTransport, HttpTransport};
use crate::value::{SqlValue, Statement, bytes, count, counts, statements, values};
use crate::watch::QueryWatch;

/// An open database that keeps itself in step with a server.
///
/// Everything but syncing works without a network. Work begins when a method is called, and goes on if the caller stops
/// waiting for it. When nobody holds the client any more it shuts itself down; `shutdown` waits for that.
#[derive(Debug, uniffi::Object)]
pub struct RejoinClient {
    pub(crate) inner: Client,
}

#[uniffi::export]
impl RejoinClient {
    /// Opens the file, and makes it if there is none; works offline.
    ///
    /// A file that is open already in this process is shared, and must be opened with the same configuration; its token provider,
    /// transport and actions stay those of the first to open it. `tokens` gives the token that names the user; without it requests carry the configured user, which a server believes on its own
    /// machine only. `transport` replaces the built-in HTTP. `actions` are what `perform` can perform.
    ///
    /// Throws `Configuration` with every problem, and `Storage` where the file cannot be opened; nothing was changed then.
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

    /// The file, by its full name.
    pub fn path(&self) -> String {
        self.inner.path().to_string_lossy().into_owned()
    }

    /// The rows of a query, as a row buffer, from the last committed state.
    ///
    /// Works offline and never waits for a write. Throws `InvalidInput` if the statement does not compile, or writes.
    #[uniffi::method(default(params = []))]
    pub async fn query(&self, sql: String, params: Vec<SqlValue>) -> Result<Vec<u8>> {
        bytes(&self.inner.query(&sql, values(params)).await?)
    }

    /// The rows of several queries, a row buffer each, all from one state of the database.
    ///
    /// Throws as `query` does.
    pub async fn query_all(&self, statements: Vec<Statement>) -> Result<Vec<Vec<u8>>> {
        let results = self.inner.query_all(self::statements(statements)).await?;
        results.iter().map(bytes).collect()
    }

    /// Runs one statement in a transaction of its own, and tells how many rows it changed.
    ///
    /// What it writes to synced tables is on disk, in the queue, when this is done; it is pushed when there is a network.
    /// Throws `InvalidInput` or `Constraint`: nothing was changed then.
    #[uniffi::method(default(params = []))]
    pub async fn execute(&self, sql: String, params: Vec<SqlValue>) -> Result<i64> {
        Ok(count(self.inner.execute(&sql, values(params)).await?))
    }

    /// Runs one statement that writes and gives rows (`INSERT ... RETURNING`), as a row buffer, in a transaction of its own.
    ///
    /// Throws as `execute` does.
    #[uniffi::method(default(params = []))]
    pub async fn execute_returning(&self, sql: String, params: Vec<SqlValue>) -> Result<Vec<u8>> {
        bytes(&self.inner.execute_returning(&sql, values(params)).await?)
    }

    /// Runs several statements without parameters, separated by `;`, in one transaction.
    ///
    /// Throws as `execute` does; nothing of any of them was done then.
    pub async fn execute_batch(&self, sql: String) -> Result<()> {
        Ok(self.inner.execute_batch(&sql).await?)
    }

    /// Runs several statements in one transaction, and tells how many rows each changed.
    ///
    /// What they write to synced tables is one mutation: the server accepts or refuses it as a whole. Throws as `execute`
    /// does, and says which statement failed; nothing of any of them was done then.
    pub async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<i64>> {
        Ok(counts(self.inner.batch(self::statements(statements)).await?))
    }

    /// Watches a query: its result now, and again after each commit that changes it, whoever wrote.
    ///
    /// Returns at once; what is wrong with the query is thrown by the first `next`. With the names of the columns that
    /// identify a row as `key`, each update also says which rows were added, changed and removed.
    #[uniffi::method(default(params = [], key = []))]
    pub fn watch(&self, sql: String, params: Vec<SqlValue>, key: Vec<String>) -> Arc<QueryWatch> {
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        Arc::new(QueryWatch::new(self.inner.watch(&sql, values(params), &key)))
    }

    /// Tells the observer of each commit that touched one of the tables, or of any if none is named, until the subscription is
    /// cancelled.
    pub fn on_change(
        &self,
        tables: Vec<String>,
        observer: Arc<dyn ChangeObserver>,
    ) -> Arc<Subscription> {
        let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
        subscribed(self.inner.on_change(&tables, change::telling(observer)))
    }

    /// Tells the observer the status now and after each change, until the subscription is cancelled.
    pub fn on_status(&self, observer: Arc<dyn StatusObserver>) -> Arc<Subscription> {
        subscribed(self.inner.on_status(status::telling(observer)))
    }

    /// What syncing is doing.
    pub fn status(&self) -> SyncStatus {
        self.inner.status().into()
    }

    /// Lets go of the file: rolls back what runs, closes every connection and drops every lock, as iOS demands of an app in the
    /// background. Nothing committed is lost; calls throw `Suspended` until `resume`.
    pub async fn suspend(&self) -> Result<()> {
        Ok(self.inner.suspend().await?)
    }

    /// Opens the file again after `suspend`; watched queries run once, for what was missed.
    ///
    /// Throws what opening throws; the client stays suspended then.
    pub async fn resume(&self) -> Result<()> {
        Ok(self.inner.resume().await?)
    }

    /// Ends the client: what was handed in before is done, watches and observers end, syncing stops, the file is closed.
    ///
    /// Pending work stays in the file. Later calls throw `Ended`. Shutting down twice is no error.
    pub async fn shutdown(&self) -> Result<()> {
        Ok(self.inner.shutdown().await?)
    }

    /// One bundle of JSON for a bug report: versions, configuration, what waits and why, the schema, sizes.
    ///
    /// It holds no data of the app's rows and no credentials.
    pub async fn diagnose(&self) -> Result<String> {
        Ok(self.inner.diagnose().await?.to_string())
    }
}

fn services(
    config: &Config,
    tokens: Option<Arc<dyn TokenProvider>>,
    transport: Option<Arc<dyn HttpTransport>>,
    actions: Option<Actions>,
) -> Services {
    let server = config.server_url.as_deref();
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
