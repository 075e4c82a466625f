//! The companion server of Rejoin, as a library to mount and as a binary.
//!
//! The application's own tables are in a SQLite file or a PostgreSQL database. Devices register,
//! pull, push and take snapshots over HTTP, as specified in `docs/protocol.md`. Rows belong to
//! users through an owner column or a chain of parents; without either, access is denied.
//!
//! ```no_run
//! use rejoin_server::{Config, Server, TableConfig};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new("todo.db").with_table(TableConfig::owned("tasks", "owner_id"));
//! let server = Server::open(config)?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! server.serve(listener).await?;
//! # Ok(())
//! # }
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::exit
    )
)]

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::Request;
use rejoin_protocol::time;
use tokio::net::TcpListener;
use tower::ServiceExt;

pub mod admission;
mod auth;
pub mod bucket_resolver;
pub mod clock;
pub mod config;
mod engine;
pub mod error;
mod events;
mod feeder;
#[cfg(feature = "otel")]
mod gauges;
pub mod hooks;
mod http;
mod listener;
mod log_limit;
pub mod model;
mod observe;
mod operate;
mod page_store;
mod quota;
mod ready;
mod routes;
mod share;
pub mod store;
#[cfg(feature = "otel")]
pub mod telemetry;

pub use admission::{Admission, Endpoint, Gatekeeper, Incoming};
pub use bucket_resolver::{BucketResolver, RowWrite};
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::{
    ActionConfig, Auth, Check, Config, Jwks, JwtAlgorithm, JwtConfig, Limits, MembershipConfig,
    ParentConfig, PostgresUrl, Retention, RowSecurity, StreamConfig, TableConfig,
};
use error::Fault;
pub use error::{Bypass, Problem, ProblemKind, RowSecurityProblem, SchemaProblem, ServerError};
pub use hooks::Hooks;
pub use model::resolver::{Contention, Resolution, Resolve, Resolver};
pub use model::{
    BucketFailure, Compaction, Feed, Grant, LeftOut, ManifestVersion, PlanStep, PushPolicy,
    QueryPlan, Replayed,
};

pub use auth::User;

use auth::Authenticator;
use engine::Engine;
use engine::checks::{self, Checks};
pub use engine::log_import::Imported;
use engine::log_model;
use engine::push::own_rights::DecidingTables;
use engine::subscriptions::Streams;
use events::Hub;
use feeder::Feeder;
use log_limit::LogLimit;
pub use operate::{ClientStatus, LogStatus};
use page_store::PageStore;
use quota::Quotas;
pub use ready::{Probe, Readiness};
use share::HourlyShares;
use store::postgres::{PostgresStore, ServedTables};
use store::sqlite::SqliteStore;
use store::{Store, Strictness, Writing};

/// State shared by all requests.
#[derive(Debug)]
struct Shared {
    engine: Engine,
    authenticator: Authenticator,
    /// What the requests in progress hold.
    quotas: Quotas,
    hub: Arc<Hub>,
    config: Config,
    /// Held by the one readiness check that runs at a time.
    looking: Arc<tokio::sync::Mutex<()>>,
    /// When `/readyz` last tested a write to the store, in microseconds since 1970; 0 if never.
    written: AtomicI64,
    /// Rate limit for log lines about server failures, by endpoint and status.
    failures: LogLimit<(&'static str, u16)>,
    /// Where shared pages are stored, if somewhere.
    pages: Option<Arc<PageStore>>,
    /// The feeder, if there are bucket resolvers.
    feeder: OnceLock<Arc<Feeder>>,
}

impl Shared {
    /// The user header is accepted only if the server listens on loopback.
    fn is_header_trusted(&self) -> bool {
        !matches!(self.config.auth, Auth::Header { .. }) || self.config.listen.ip().is_loopback()
    }
}

/// A server over one database. Clones share it.
#[derive(Debug, Clone)]
pub struct Server {
    shared: Arc<Shared>,
    router: Router,
}

/// Options for opening a PostgreSQL store.
fn plan(config: &Config, looks: bool) -> ServedTables {
    let (tables, dropped) = (config.served_tables(), config.drop_resolvers.clone());
    let security = config.row_security.clone().filter(|_| !looks);
    let membership = config.membership.clone();
    let strictness = Strictness::of(config.strict);
    ServedTables { tables, dropped, looks, strictness, membership, security }
}

/// Opens the page store, if there is one.
fn pages_of(config: &Config) -> Result<Option<Arc<PageStore>>, ServerError> {
    let Some(place) = &config.page_store else { return Ok(None) };
    let refused = |why| ServerError::Config(vec![Problem::new("page_store", why)]);
    let database = match &config.store {
        Some(url) => url.parse().map_err(refused)?.place(),
        None => std::path::absolute(&config.database)?.to_string_lossy().into_owned(),
    };
    // Variables of other programs may not be UTF-8.
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment = std::env::vars_os().filter_map(text);
    let opened = PageStore::open(place, &database, environment);
    Ok(Some(Arc::new(opened.map_err(refused)?)))
}

/// The row level security policies, as SQL for an operator to run. Like a start, it creates missing
/// tables and triggers of Rejoin, because the policies refer to them.
pub fn row_security(config: &Config) -> Result<String, ServerError> {
    let mut problems = config.problems();
    let Some(url) = &config.store else {
        let why = "row level security is PostgreSQL's: set a store";
        problems.push(Problem::new("store", why));
        return Err(ServerError::Config(problems));
    };
    if !problems.is_empty() {
        return Err(ServerError::Config(problems));
    }
    let wait = Duration::from_millis(u64::from(config.limits.wait_ms));
    let now = time::format(SystemClock.now());
    let urls = (url, config.pooler.as_ref());
    // The policies need not be there.
    let plan = ServedTables { security: None, ..plan(config, false) };
    let store = PostgresStore::planned(urls, plan, wait, &now)?;
    Ok(store.policies(&config.row_security.clone().unwrap_or_default()))
}

impl Server {
    /// Opens the database, checks configuration and tables, installs the triggers. Needs no runtime.
    pub fn open(config: Config) -> Result<Self, ServerError> {
        Self::open_at(config, Arc::new(SystemClock))
    }

    /// Like [`open`](Self::open), with another clock, for tests.
    pub fn open_at(config: Config, clock: Arc<dyn Clock>) -> Result<Self, ServerError> {
        Self::open_to(config, clock, false)
    }

    /// Opens the database for inspection: devices and served schemas. In PostgreSQL, Rejoin's own
    /// tables are migrated as by `open`, but nothing is installed on the application's tables. Not
    /// for serving: writes fail.
    pub fn look(config: Config) -> Result<Self, ServerError> {
        Self::open_to(config, Arc::new(SystemClock), true)
    }

    fn open_to(config: Config, clock: Arc<dyn Clock>, looks: bool) -> Result<Self, ServerError> {
        let mut problems = config.problems();
        problems.extend(auth::problems(&config.auth));
        if !problems.is_empty() {
            return Err(ServerError::Config(problems));
        }
        let now = time::format(clock.now());
        let wait = Duration::from_millis(u64::from(config.limits.wait_ms));
        let mut with_resolvers = None;
        let store: Arc<dyn Store> = if let Some(url) = &config.store {
            let (plan, urls) = (plan(&config, looks), (url, config.pooler.as_ref()));
            let store = PostgresStore::planned(urls, plan, wait, &now)?.with_clock(clock.clone());
            let store = match &config.row_security {
                Some(security) if !looks => store.secured(security.clone())?,
                _ => store,
            };
            let store = Arc::new(match &config.replica {
                Some(replica) if !looks => store.replicated(replica)?,
                _ => store,
            });
            with_resolvers = (!looks && store.needs_feeder()).then(|| Arc::clone(&store));
            store
        } else {
            let start = (now.as_str(), Strictness::of(config.strict));
            let store = SqliteStore::open_with(
                &config.database,
                &config.tables,
                wait,
                start,
                config.membership.as_ref(),
            )?;
            Arc::new(store.with_clock(clock.clone()))
        };
        let (problems, is_whole) = store::read(&*store, |reading| {
            let mut problems = checks::problems(&config.actions, reading);
            problems.extend(Streams::new(&config.streams).problems(reading));
            Ok((problems, reading.schema().left_out.is_empty()))
        })?;
        if is_whole && !problems.is_empty() {
            return Err(ServerError::Config(problems));
        }
        for problem in problems {
            // It may read a table that is left out: its action stays undecided.
            tracing::error!(%problem, "the check of an action does not run");
        }
        let pages = if looks { None } else { pages_of(&config)? };
        let server = Self::of_parts(config, (store, pages), clock);
        if !looks {
            log_model::load_tables(&server.shared.engine)?;
        }
        if let Some(store) = with_resolvers {
            let hub = Arc::clone(&server.shared.hub);
            let feeder = Feeder::start(store, move || hub.look())?;
            server.shared.feeder.get_or_init(|| Arc::new(feeder));
        }
        Ok(server)
    }

    /// A server over a custom store, which must pass the contract suite. The configuration's
    /// database, tables and page store are ignored. Action checks are not tested at start; a check that fails
    /// to run leaves the action undecided.
    pub fn over(config: Config, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self::of_parts(config, (store, None), clock)
    }

    fn of_parts(
        config: Config,
        (store, pages): (Arc<dyn Store>, Option<Arc<PageStore>>),
        clock: Arc<dyn Clock>,
    ) -> Self {
        let engine = Engine {
            store: Arc::clone(&store),
            clock,
            limits: config.limits,
            retention: config.retention,
            min_app_version: config.min_app_version.clone(),
            checks: Checks::new(&config.actions),
            streams: Streams::new(&config.streams),
            deciding: DecidingTables::new(config.membership.as_ref(), &config.streams),
            hooks: config.hooks.clone(),
            staged_turn: Arc::default(),
            refused_devices: Arc::default(),
            rejections: Arc::new(HourlyShares::new(
                "rejections_per_user",
                config.limits.rejections_per_user,
            )),
            log_entries: Arc::new(HourlyShares::new(
                "log_entries_per_user",
                config.limits.log_entries_per_user,
            )),
        };
        let authenticator = Authenticator::new(&config.auth);
        // A store without connections of its own has one writer.
        let quotas = Quotas::new(&config.limits, store.connections().is_none());
        let shared = Arc::new(Shared {
            engine,
            authenticator,
            quotas,
            hub: Hub::new(store),
            config,
            looking: Arc::default(),
            written: AtomicI64::new(0),
            failures: LogLimit::default(),
            pages,
            feeder: OnceLock::new(),
        });
        #[cfg(feature = "otel")]
        gauges::watch(&shared);
        let router = routes::router(Arc::clone(&shared));
        Self { shared, router }
    }

    /// The routes, to merge or nest into a host's router.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The configuration that this server was opened with.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Handles one request without a socket. Not for the event stream, which does not end.
    pub async fn handle(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: impl Into<Bytes>,
    ) -> (u16, Vec<(String, String)>, Bytes) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let Ok(request) = request.body(Body::from(body.into())) else {
            return (400, Vec::new(), Bytes::new());
        };
        let answered = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (parts, body) = answered.into_parts();
        let text =
            |value: &axum::http::HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
        let headers =
            parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        (parts.status.as_u16(), headers, body)
    }

    /// Serves until [`shutdown`](Self::shutdown), then waits for running requests, at most
    /// `limits.grace_ms`. On Unix, the listener's backlog is raised to 16,384.
    pub async fn serve(&self, listener: TcpListener) -> Result<(), ServerError> {
        let address: SocketAddr = listener.local_addr()?;
        if matches!(self.shared.config.auth, Auth::Header { .. }) && !address.ip().is_loopback() {
            return Err(ServerError::NotLoopback(address));
        }
        let hub = Arc::clone(&self.shared.hub);
        let closing = async move { hub.closed().await };
        let limits = self.shared.config.limits;
        let connections = listener::connections(&limits);
        self.shared.hub.leave_room(connections);
        let serving = listener::serve(listener, self.router(), (connections, limits), closing);
        let hub = Arc::clone(&self.shared.hub);
        let grace = Duration::from_millis(u64::from(self.shared.config.limits.grace_ms));
        let too_late = async move {
            hub.closed().await;
            tokio::time::sleep(grace).await;
            tracing::warn!(?grace, "requests are left alone that did not end in time");
        };
        tokio::select! {
            () = serving => Ok(()),
            () = too_late => Ok(()),
            () = operate::keep_compacting(&self.shared) => Ok(()),
        }
    }

    /// Ends event streams, [`serve`](Self::serve) and the feeder.
    pub fn shutdown(&self) {
        self.shared.hub.close();
        self.shared.feeder.get().inspect(|feeder| feeder.end());
    }

    /// Lets a user read the rows of a bucket, and write those of the tables whose rows are written by
    /// their bucket. It replaces an earlier right of the user to the bucket; returns whether anything
    /// changed. The user's devices get the rows with their next pull. Same as a row in `rejoin_bucket`
    /// (in PostgreSQL `rejoin.bucket`). An error for a name that no bucket has.
    pub fn grant(&self, user: &str, bucket: &str) -> Result<bool, ServerError> {
        self.set_grant(user, &Grant { bucket: bucket.to_owned(), reads: true, writes: true })
    }

    /// Like [`grant`](Self::grant), for reading only. Tables of the log know no such right: the user
    /// neither reads nor writes their rows of this bucket.
    pub fn grant_read(&self, user: &str, bucket: &str) -> Result<bool, ServerError> {
        self.set_grant(user, &Grant { bucket: bucket.to_owned(), reads: true, writes: false })
    }

    /// Like [`grant`](Self::grant), for writing only. In tables of rows the user creates rows in the
    /// bucket, which leave the device when the server has accepted them; in tables of the log, the user
    /// writes its rows without reading them.
    pub fn grant_write(&self, user: &str, bucket: &str) -> Result<bool, ServerError> {
        self.set_grant(user, &Grant { bucket: bucket.to_owned(), reads: false, writes: true })
    }

    fn set_grant(&self, user: &str, grant: &Grant) -> Result<bool, ServerError> {
        check_bucket(&grant.bucket)?;
        self.change(|writing| writing.put_grant(user, grant))
    }

    /// Removes a user's right to a bucket; returns whether there was one. At the next pull, devices drop
    /// rows that only this bucket gave. Edits that the server has accepted stay; later ones are refused.
    pub fn revoke(&self, user: &str, bucket: &str) -> Result<bool, ServerError> {
        self.change(|writing| writing.remove_grant(user, bucket))
    }

    /// A user's rights to buckets besides the user's own and the public one, by name.
    pub fn grants(&self, user: &str) -> Result<Vec<Grant>, ServerError> {
        Ok(store::read(&*self.shared.engine.store, |reading| reading.grants(user))?)
    }

    /// How the database runs the queries that decide what a user holds: [`Config::membership`], and those
    /// of [`Config::streams`].
    pub fn query_plans(&self) -> Result<Vec<QueryPlan>, ServerError> {
        let Config { membership, streams, .. } = &self.shared.config;
        let membership = membership.iter().map(|of| {
            let sql = format!("SELECT * FROM ({}) AS m WHERE m.user_id = :user", of.query);
            (String::from("membership.query"), sql)
        });
        let streams = streams.iter().map(|stream| (stream.place("allow"), stream.allow.clone()));
        let plan = |(place, sql): (String, String)| {
            Ok(QueryPlan { place, steps: self.shared.engine.store.plan(&sql)? })
        };
        membership.chain(streams).map(plan).collect()
    }

    /// The rows for which the bucket function failed: they are in none of its buckets.
    pub fn bucket_failures(&self) -> Result<Vec<BucketFailure>, ServerError> {
        Ok(store::read(&*self.shared.engine.store, |reading| reading.bucket_failures())?)
    }

    /// Runs the bucket functions again for those rows, after the cause is fixed.
    pub fn replay_buckets(&self) -> Result<Replayed, ServerError> {
        self.change(|writing| writing.replay_buckets())
    }

    /// The configured tables, and the parts of tables, that are not served because they cannot be synced.
    /// They are served again as soon as that has changed.
    pub fn left_out(&self) -> Result<Vec<LeftOut>, ServerError> {
        let store = &*self.shared.engine.store;
        Ok(store::read(store, |reading| Ok(reading.schema().left_out.clone()))?)
    }

    /// Number of wake-ups sent to listening devices; changes sent together count once.
    pub fn wakes(&self) -> u64 {
        self.shared.hub.wakes()
    }

    /// Number and age of changes that wait for bucket resolvers, and whether a feeder is running.
    pub fn feed(&self) -> Result<Feed, ServerError> {
        Ok(self.shared.engine.store.feed()?)
    }

    fn change<T>(
        &self,
        work: impl FnMut(&dyn Writing) -> Result<T, Fault>,
    ) -> Result<T, ServerError> {
        let engine = &self.shared.engine;
        let done = store::write(&*engine.store, &engine.now(), work)?;
        self.shared.hub.look();
        Ok(done)
    }
}

fn check_bucket(bucket: &str) -> Result<(), ServerError> {
    let why = match bucket {
        "" => "it has no name",
        name if name.starts_with('#') => "a name does not begin with #",
        name if name.contains(char::is_control) => "a name has no control characters",
        _ => return Ok(()),
    };
    Err(ServerError::Bucket { bucket: bucket.to_owned(), why })
}

/// The examples of the hooks page, compiled.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../docs/hooks.md")]
    struct HooksPage;
}
